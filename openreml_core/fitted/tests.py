"""What is asked about the fixed effects of a fit: tests of terms, marginal means, slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from openreml_core.fitted.base import FittedModel
from openreml_core.fitted.means import Means
from openreml_core.inference.grid import ReferenceGrid
from openreml_core.inference.mean_requests import Asked, marginal_means, marginal_slopes
from openreml_core.inference.variance_analysis import anova_table


class FixedEffectTests(FittedModel):
    """Tests of the fixed effects of a fit."""

    @property
    def fixed_factors(self) -> tuple[str, ...]:
        """The factors of the fixed part, which ``means`` can be taken at."""
        return tuple(axis.name for axis in ReferenceGrid(self.design).axes if axis.is_factor)

    @property
    def fixed_covariates(self) -> dict[str, float]:
        """The covariates of the fixed part, at their means: where ``means`` are taken unless ``at`` says otherwise."""
        return {axis.name: axis.labels[0] for axis in ReferenceGrid(self.design).axes if not axis.is_factor}

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

    def means(
        self,
        spec: str | Sequence[str] = "1",
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        ddf: str = "satterthwaite",
        weights: str = "equal",
        level: float = 0.95,
        random: str | Sequence[str] = (),
    ) -> Means:
        """Marginal means of the response.

        Every combination of the fixed factors' levels counts equally, however often it was observed; covariates stand at their
        means. With ``random`` they are predictions in ASReml's sense: the BLUPs of the random terms named are in them, averaged
        over their levels (or held where ``spec`` names the level), the rest left out. All random terms left out is the broad
        inference space, all of them in it the narrow one.

        Parameters
        ----------
        spec : str or sequence of str
            Factors: ``"gen"``, ``"gen:env"`` (or ``*``), ``"gen | env"``; ``"1"`` for the mean of all.
        by : str or sequence of str, optional
            Factors within whose levels means are compared.
        at : mapping, optional
            Values of covariates, ``{"x": 10}`` or ``{"x": [10, 20]}``; levels of factors to count.
        ddf : {"satterthwaite", "kenward-roger", "residual", "normal"}
        weights : {"equal", "proportional", "outer", "cells"}
            How the levels of other factors count: equally; by the frequency of their combinations; by the product of their own
            frequencies; by how often each occurs with the levels of the row (only combinations that do occur).
        level : float
            Coverage of the intervals.
        random : str or sequence of str
            Random terms whose BLUPs are in the means.

        Returns
        -------
        Means
            A DataFrame: the factors, estimate, std_error, df, lower, upper; with ``pairs()``, ``contrast()``, ``letters()``,
            ``sed``, ``average_sed``, ``lsd``. What cannot be estimated is missing, and ``notes`` says so.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("yield ~ C(nitro) * Variety + (1 | Block/Variety)", reml.load_sample("oats"))
        >>> fit.means("Variety")[["Variety", "estimate", "std_error", "df"]].round(3)
               Variety  estimate  std_error     df
        0  Golden Rain   104.500      7.798  8.869
        1   Marvellous   109.792      7.798  8.869
        2      Victory    97.625      7.798  8.869
        >>> fit.means("nitro").pairs(adjust="tukey")[["contrast", "estimate", "p_value"]].round(4).head(2)
          contrast  estimate  p_value
        0  0 - 0.2  -19.5000   0.0004
        1  0 - 0.4  -34.8333   0.0000

        References
        ----------
        Searle, Speed and Milliken (1980), The American Statistician 34, 216-221. McLean, Sanders and Stroup (1991), The American
        Statistician 45, 54-64, on inference spaces.
        """
        asked = Asked(spec, by, at, ddf, weights, level)
        return Means(marginal_means(self.estimates, self.design, asked, random))

    def trends(
        self,
        variable: str,
        spec: str | Sequence[str] = "1",
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        *,
        ddf: str = "satterthwaite",
        weights: str = "equal",
        level: float = 0.95,
    ) -> Means:
        """Slopes of the mean along a covariate, and their comparisons.

        Parameters
        ----------
        variable : str
            The covariate; where it enters by a curve, the slope is that at its mean, or at the value in ``at``.
        spec, by, at, ddf, weights, level
            As for ``means``.

        Returns
        -------
        Means
        """
        asked = Asked(spec, by, at, ddf, weights, level)
        return Means(marginal_slopes(self.estimates, self.design, variable, asked))
