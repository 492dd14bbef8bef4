"""What a fit says of rows that it has not seen, and of how much its parts explain."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from openreml_core.covariance import WholeCovariance
from openreml_core.errors import ModelError
from openreml_core.fitted.base import FittedModel
from openreml_core.notation import parse_residual
from openreml_core.prediction import Asked, predict


class Predictions(FittedModel):
    """Predictions for new rows."""

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        random: bool | str | Sequence[str] = True,
        new_levels: str = "error",
        interval: str | None = None,
        level: float = 0.95,
        std_error: bool = False,
        ddf: str = "satterthwaite",
    ) -> pd.Series | pd.DataFrame:
        """Predict rows: x'b^ + z'u^ and the offset.

        Factors have the coding of the fit; ``poly``, ``ns``, ``scale``, ``spl`` and ``spl2d`` keep what they learned from its
        rows. Levels of a relationship that have no rows have their BLUPs. At a position that the fit has not seen a spatial
        term is kriged: its conditional expectation given the effects at the positions that the fit has seen.

        Parameters
        ----------
        newdata : DataFrame of m rows, optional
            With the columns that the prediction needs, not the response; the fit's rows by default. A row that lacks a value
            is NaN.
        random : bool, str or list of str
            True: all random terms; False: none of them, the population's mean; or those that are named. ``"residual"`` among
            the names adds what correlated residuals say about the plot itself.
        new_levels : {"error", "population"}
            Levels of a random term that the fit has not seen are an error, or predicted at zero with the variance that the
            term gives them.
        interval : {None, "confidence", "prediction"}
            For x'b + z'u; or for a new observation, which has the residual beside it and the random terms that are left out.
        level : float
            Coverage of the interval.
        std_error : bool
            Whether standard errors of prediction are wanted: sqrt Var(x'(b^ - b) + z'(u^ - u)), b^ and u^ - u as they vary
            together. The variance parameters count as known.
        ddf : {"satterthwaite", "residual", "normal"}
            Degrees of freedom of a confidence interval without random terms; others are normal.

        Returns
        -------
        Series or DataFrame of m rows
            The predictions; with ``std_error`` or ``interval`` columns fit, std_error, lower, upper. ``std_error`` is that of
            x'b + z'u whatever the interval. ``attrs["notes"]`` says what could not be predicted.

        Raises
        ------
        DataError
            A level of a fixed factor that the fit has not seen, or one of a random term with ``new_levels="error"``.
        ModelError
            An unknown option or term.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> new = pd.DataFrame({"Days": [10, 10], "Subject": ["330", "newcomer"]})
        >>> fit.predict(new, new_levels="population", std_error=True).round(2)
              fit  std_error
        0  331.63      18.37
        1  356.08      67.52

        References
        ----------
        Henderson (1975), Biometrics 31, 423-447.
        """
        self._needs_formula("predict new rows from")
        asked = Asked(random, new_levels, interval, level, std_error, ddf)
        spec = self.specification
        residual = parse_residual(spec.residual)
        return predict(
            self.design,
            self.estimates,
            self._predicted if asked.random is not False else (),
            residual,
            newdata,
            asked,
            weights=spec.weights,
            offset=spec.offset,
        )

    def _needs_formula(self, doing: str) -> None:
        if any(isinstance(part, WholeCovariance) for part in self._model.residuals):
            raise ModelError(
                f"A tree built by hand has no formula to {doing}.", hint="Fit the model by a formula, reml.fit(...)."
            )
