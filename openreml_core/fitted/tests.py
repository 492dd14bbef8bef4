"""What is asked about the fixed effects of a fit: tests of terms, marginal means, slopes."""

from __future__ import annotations

import pandas as pd

from openreml_core.fitted.base import FittedModel
from openreml_core.inference.variance_analysis import anova_table


class FixedEffectTests(FittedModel):
    """Tests of the fixed effects of a fit."""

    def anova(self, type: int = 3, ddf: str = "satterthwaite", test: str = "F") -> pd.DataFrame:
        """Test every fixed term: all its effects zero.

        Parameters
        ----------
        type : {1, 2, 3}
            The term adjusted for those before it; for all that do not contain it; as a main effect averaged with equal weights
            over what it interacts with. As lmerTest and SAS define them; the same for every coding of the factors.
        ddf : {"satterthwaite", "kenward-roger", "residual", "normal"}
            Denominator degrees of freedom.
        test : {"F", "chisq"}
            The scaled F, or Wald's chi-square.

        Returns
        -------
        DataFrame
            A row per term: term, sum_sq, mean_sq, num_df, den_df, F, p_value; for ``"chisq"`` term, chisq, df, p_value.
            Mean squares are F (before Kenward and Roger's scaling) times the residual variance.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("yield ~ C(nitro) * Variety + (1 | Block/Variety)", reml.load_sample("oats"))
        >>> fit.anova()[["term", "num_df", "den_df", "F"]].round(3)
                       term  num_df  den_df       F
        0          C(nitro)       3    45.0  37.686
        1           Variety       2    10.0   1.485
        2  C(nitro):Variety       6    45.0   0.303
        """
        return anova_table(self.estimates, self.design, self.sigma**2, type, ddf, test)
