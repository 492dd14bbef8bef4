"""What a fit says of rows that it has not seen, and of how much its parts explain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from openreml_core.covariance import WholeCovariance
from openreml_core.errors import ModelError
from openreml_core.fitted.base import FittedModel
from openreml_core.inference.collinearity import vif_table
from openreml_core.inference.correlations import correlation_table
from openreml_core.inference.explained import icc_table, r2_series
from openreml_core.inference.functions import function_table
from openreml_core.inference.heritability import FORMULAS, heritability_table
from openreml_core.notation import parse_residual
from openreml_core.prediction import Asked, predict


class Predictions(FittedModel):
    """Predictions for new rows; heritability, correlations, R2, collinearity; functions of the variance parameters."""

    @property
    def predictors(self) -> tuple[str, ...]:
        """The columns that new rows need for ``predict``: the formula's, but for the response.

        An interval for a new observation needs those of the weights and of the residual too.
        """
        self._needs_formula("take columns from")
        formula = self.design.formula
        terms = [name for term in formula.terms for factor in term for name in factor.names]
        terms += [name for offset in formula.offset_expressions for name in offset.names]
        terms += [name for term in formula.random for name in term.columns]
        offset = self.specification.offset
        own = [offset] if offset is not None and offset in getattr(self.design.frame, "columns", ()) else []
        return tuple(dict.fromkeys([*terms, *own]))

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
        0  331.63      15.85
        1  356.08      67.59

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

    def heritability(
        self, term: str | None = None, method: str | Sequence[str] | None = None, std_error: bool = True
    ) -> pd.DataFrame:
        """Heritabilities of the levels of a random term, each by its own formula.

        Parameters
        ----------
        term : str, optional
            Needed where there are several.
        method : str or list of str, optional
            ``"standard"``, ``"cullis"``, ``"piepho"``, ``"generalized"`` (Oakey), ``"pev"``; all by default. ``"piepho"`` fits
            the model again, with the term as a fixed factor.
        std_error : bool
            Whether standard errors are wanted: they take two evaluations of the model for every variance parameter.

        Returns
        -------
        DataFrame
            By method, of a term with several effects (``us(0 + env | gen)``) by effect and method: estimate, std_error (delta
            method; missing where there is none), formula, and a note on why a number or its error is missing.
            ``attrs["differences"]`` holds the mean variances of a difference between two levels: before anything is observed
            (``genetic``), between BLUPs, and between BLUEs.

        Notes
        -----
        vg is the term's variance, n_t the harmonic mean number of levels of a term t nested in it (gen:env) per level, r that of
        rows, ve the residual variance of the average row, PEV the prediction error variance. Of related levels, vg stands for
        half the mean variance of a difference between levels with data, in ``pev`` for the mean of their variances.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
        >>> fit.heritability("gen", ["cullis", "piepho"])["estimate"].round(4).to_dict()
        {'cullis': 0.8091, 'piepho': 0.803}

        References
        ----------
        Cullis, Smith and Coombes (2006), J. Agric. Biol. Environ. Stat. 11, 381-393. Piepho and Moehring (2007), Genetics 177,
        1881-1888. Oakey et al. (2006), Theor. Appl. Genet. 113, 809-819.
        """
        self._needs_formula("know entries from")
        methods = tuple(FORMULAS) if method is None else (method,) if isinstance(method, str) else tuple(method)
        return heritability_table(self.design, self.estimates, self._natural, self._position(term), methods, std_error)

    def correlations(self, term: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Correlations between the effects of a random term: between environments or traits the genetic ones.

        Parameters
        ----------
        term : str, optional
            Needed where there are several.
        level : float
            Coverage of the intervals, by Fisher's z.

        Returns
        -------
        DataFrame
            A row per pair: name1, name2, covariance, correlation, std_error (delta method, whatever the structure), lower, upper.
        """
        self._needs_formula("know effects from")
        return correlation_table(self.estimates, self._natural, self._position(term), _checked(level))

    def function(self, expression: str | Mapping[str, str], level: float = 0.95) -> pd.Series | pd.DataFrame:
        """A function of the variance parameters, with its standard error by the delta method.

        Parameters
        ----------
        expression : str or mapping of str to str
            Arithmetic of the names in ``fit.parameters``: ``"gen.variance / (gen.variance + residual.variance / 3)"``; a term
            with one parameter may stand for it: ``"gen / (gen + residual / 3)"``. It may hold ``+ - * / ^``, sqrt, exp, log.
        level : float
            Coverage of the interval, which is normal.

        Returns
        -------
        Series or DataFrame
            estimate, std_error, lower, upper; of a mapping a row each, and ``attrs["covariance"]``. Parameters that are held or
            on a boundary count as known.

        Raises
        ------
        FormulaError
            An unknown name, or what is no arithmetic.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
        >>> fit.function("gen / (gen + residual / 3)").round(4).to_dict()
        {'estimate': 0.8401, 'std_error': 0.0625, 'lower': 0.7175, 'upper': 0.9627}
        """
        many = isinstance(expression, Mapping)
        given = dict(expression) if isinstance(expression, Mapping) else {str(expression): expression}
        values, natural = dict(self.parameters), self._natural
        alone = [name for name, _ in self._model.natural]
        alias = {}
        for name, (component, _) in zip(self._model.parameter_names, self._model.natural, strict=True):
            if component and component not in values and alone.count(component) == 1:
                alias[component] = name
        table = function_table(given, values, alias, natural, _checked(level))
        if many:
            return table
        series = table.iloc[0]
        series.attrs = {}
        return series

    def r2(self) -> pd.Series:
        """Marginal and conditional R2: the share of the fixed effects, and of fixed and random effects, in the variance.

        The variance of the average row; random slopes count with their mean over the rows (Johnson 2014).

        Returns
        -------
        Series
            marginal, conditional. ``attrs["variances"]`` are those of the parts.

        References
        ----------
        Nakagawa and Schielzeth (2013), Methods Ecol. Evol. 4, 133-142. Johnson (2014), Methods Ecol. Evol. 5, 944-946.
        """
        self._needs_formula("take random terms from")
        return r2_series(self.estimates)

    def icc(self) -> pd.DataFrame:
        """Intraclass correlations: the share of random terms in the variance that fixed effects leave, or in all of it.

        Returns
        -------
        DataFrame
            A row per random term and one of all: adjusted (of random and residual variance), std_error (delta method),
            unadjusted (of the fixed effects' variance too).
        """
        self._needs_formula("take random terms from")
        return icc_table(self.estimates, self._natural)

    def vif(self) -> pd.DataFrame:
        """Generalised variance inflation factors of the fixed terms (Fox and Monette 1992), from the covariance of b.

        Returns
        -------
        DataFrame
            By term: df, gvif, and gvif_per_df = gvif^(1 / (2 df)), to be compared between terms.
        """
        self._needs_formula("take fixed terms from")
        return vif_table(self.design.fixed_terms, self.estimates.at.beta_covariance.numpy())

    def _needs_formula(self, doing: str) -> None:
        if any(isinstance(part, WholeCovariance) for part in self._model.residuals):
            raise ModelError(
                f"A tree built by hand has no formula to {doing}.", hint="Fit the model by a formula, reml.fit(...)."
            )


def _checked(level: float) -> float:
    if isinstance(level, bool) or not isinstance(level, int | float) or not (math.isfinite(level) and 0 < level < 1):
        raise ModelError(f"level={level!r} is not a probability.", hint="Give a number between 0 and 1, such as 0.95.")
    return float(level)
