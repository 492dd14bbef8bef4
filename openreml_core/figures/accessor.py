"""``fit.plot``: every figure of a fit, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from openreml_core.errors import DataError, did_you_mean
from openreml_core.figures import theme
from openreml_core.figures.coefficients import forest
from openreml_core.figures.components import variance_shares
from openreml_core.figures.distribution import histogram
from openreml_core.figures.effects import caterpillar
from openreml_core.figures.field import field_map
from openreml_core.figures.groups import residuals_by
from openreml_core.figures.iterations import convergence, parameter_traces
from openreml_core.figures.means import means_plot
from openreml_core.figures.pairs import pairs_plot
from openreml_core.figures.plan import design_map
from openreml_core.figures.quantiles import qq
from openreml_core.figures.scatter import observed_fitted, residuals_fitted, scale_location
from openreml_core.figures.uncertainty import profile_curves


class PlotAccessor:
    """The figures of one fit.

    Parameters
    ----------
    fit : MixedModelFit
        Anything with its tables: random_effects, fixed_effects, variance_components, trace, fitted, residuals, data.
    """

    def __init__(self, fit: Any) -> None:
        self._fit = fit

    def caterpillar(
        self, term: str | None = None, *, top: int | None = None, search: str | None = None,
        highlight: Sequence[Any] = (), effect: str | None = None,
    ) -> go.Figure:  # fmt: skip
        """Predicted effects of a random term (the first, if none is named), sorted, with intervals."""
        term = self._term(term)
        levels = self._levels(term)
        return caterpillar(
            self._fit.random_effects(term), term=term, top=top, search=search, highlight=highlight, effect=effect,
            counts=None if levels is None else levels.value_counts(),
        )  # fmt: skip

    def residuals(self, kind: str = "conditional") -> go.Figure:
        """Residuals of a kind against fitted values."""
        e = self._fit.residuals(kind=kind)
        fitted = self._fit.fitted(random=False) if kind == "marginal" else self._fit.fitted()
        return residuals_fitted(fitted, e, self._rows(e.index), kind=f"{kind.capitalize()} residual")

    def scale_location(self) -> go.Figure:
        """Root of the conditional residuals' size against fitted values."""
        e = self._fit.residuals()
        return scale_location(self._fit.fitted(), e, self._rows(e.index))

    def qq(
        self, term: str | None = None, *, effect: str | None = None, kind: str = "conditional", seed: int = 1
    ) -> go.Figure:
        """Normal quantiles of the residuals, or of a random term's predicted effects."""
        if term is None:
            e = self._fit.residuals(kind=kind)
            return qq(e, seed=seed, hover=self._rows(e.index))
        table = self._fit.random_effects(self._term(term))
        kinds = list(dict.fromkeys(table["effect"]))
        if effect is not None and effect not in kinds:
            raise DataError(f"The term *{term}* has no effect *{effect}*.", hint=did_you_mean(effect, kinds))
        table = table[table["effect"] == (effect if effect is not None else kinds[0])]
        blup = pd.Series(table["blup"].to_numpy(float), index=table["level"].astype(str))
        return qq(blup, seed=seed, what="predicted effect", colour=theme.RANDOM, row_word=term)

    def histogram(self, kind: str = "conditional") -> go.Figure:
        """Histogram of the residuals with the normal curve."""
        return histogram(self._fit.residuals(kind=kind), what=f"{kind.capitalize()} residual")

    def trace(self, upto: int | None = None) -> go.Figure:
        """Criterion and scaled gradient against iteration."""
        return convergence(self._fit.trace, upto)

    def parameters(self, upto: int | None = None) -> go.Figure:
        """Each variance parameter against iteration."""
        return parameter_traces(self._fit.trace, upto)

    def components(self) -> go.Figure:
        """Shares of the variance."""
        return variance_shares(self._fit.variance_components())

    def coefficients(self, *, intercept: bool = False, **options: Any) -> go.Figure:
        """Fixed effects with their intervals; further options go to ``fit.fixed_effects``."""
        return forest(self._fit.fixed_effects(**options), intercept=intercept, level=options.get("level", 0.95))

    def means(self, spec: Any, by: Any = None, *, adjust: str = "tukey", **options: Any) -> go.Figure:
        """Marginal means with intervals and letters; further options go to ``fit.means``."""
        means = self._fit.means(spec, by, **options)
        level = options.get("level", 0.95)
        return means_plot(
            means.letters(1 - level, adjust), by=means.by, response=str(self._fit.response_name), level=level
        )

    def pairs(self, spec: Any, by: Any = None, *, adjust: str = "tukey", **options: Any) -> go.Figure:
        """Differences between marginal means with their intervals; further options go to ``fit.means``."""
        pairs = self._fit.means(spec, by, **options).pairs(adjust)
        return pairs_plot(pairs, level=options.get("level", 0.95), what=f"Difference in {self._fit.response_name}")

    def profile(self, parameters: Any = None, *, level: float = 0.95, **options: Any) -> go.Figure:
        """Profile curves with their intervals; further options go to ``fit.profile``."""
        profile = self._fit.profile(parameters, **options)
        return profile_curves(profile.table, profile.confint(level), level=level)

    def observed(self) -> go.Figure:
        """Observations against fitted values."""
        fitted = self._fit.fitted()
        observed = fitted + self._fit.residuals()
        return observed_fitted(observed, fitted, self._rows(fitted.index), response=str(self._fit.response_name))

    def residuals_by(self, factor: str | pd.Series, *, kind: str = "conditional") -> go.Figure:
        """Residuals at each level of a column, or of several joined by a colon, or along a covariate.

        A column that the model does not use is given itself: ``fit.plot.residuals_by(data["operator"])``.
        """
        e = self._fit.residuals(kind=kind)
        column = self._column(factor, e.index)
        grouping = {part for term in self._fit.random_terms for part in re.sub(r"\.\d+$", "", str(term)).split(":")}
        return residuals_by(e, column.astype("category") if _name(factor) in grouping else column, _name(factor))

    def field(
        self, row: str | pd.Series = "row", col: str | pd.Series = "col", what: str | pd.Series = "residuals", *,
        aspect: float = 1.0,
    ) -> go.Figure:  # fmt: skip
        """Residuals, fitted values, or any column over the field.

        Parameters
        ----------
        row, col : str or Series
            The plots' positions: names of columns the model uses, or the columns themselves.
        what : str or Series
            ``"residuals"``, ``"fitted"``, or a column.
        aspect : float
            A plot's length along a field column, divided by its width along a field row.
        """
        e = self._fit.residuals()
        rows, cols = self._column(row, e.index), self._column(col, e.index)
        words = {"row": "Row", "col": "Column", "column": "Column"}
        row_name, col_name = (words.get(_name(k), _name(k)) for k in (row, col))
        place: dict[str, Any] = dict(aspect=aspect, row_name=row_name, col_name=col_name)
        if isinstance(what, str) and what in {"residuals", "fitted"}:
            at = e if what == "residuals" else self._fit.fitted()
            words_of = "Residual" if what == "residuals" else "Fitted value"
            return field_map(
                rows, cols, at, what=words_of, diverging=what == "residuals", labels=self._first_level(), **place
            )
        return design_map(rows, cols, self._column(what, e.index), name=_name(what), **place)

    def _first_level(self) -> pd.Series | None:
        """The level of the first random term at each row, to name a plot by."""
        for term in self._fit.random_terms:
            levels = self._levels(str(term))
            if levels is not None:
                return levels
        return None

    def _term(self, term: str | None) -> str:
        terms = [str(t) for t in self._fit.random_terms]
        if not terms:
            raise DataError("This model has no random effects.", hint="Add a random term, such as (1 | gen).")
        if term is None:
            return terms[0]
        if term not in terms:
            raise DataError(f"*{term}* is not a random term of this model.", hint=did_you_mean(term, terms))
        return term

    def _levels(self, term: str) -> pd.Series | None:
        """The level of a term at each row, where its columns are in the data."""
        if not getattr(self._fit, "has_rows", True):
            return None
        columns = self._fit.data.columns
        for name in (term, re.sub(r"\.\d+$", "", term)):
            if name in columns or all(part in columns for part in name.split(":")):
                return self._column(name, self._fit.residuals().index).astype(str)
        return None

    def _column(self, name: str | pd.Series, index: pd.Index) -> pd.Series:
        """A column at the rows of the fit; ``a:b`` joins the levels of two."""
        if isinstance(name, pd.Series):
            return name.loc[index] if index.isin(name.index).all() else name
        data = self._fit.data
        data = data if len(data) == len(index) else data.loc[index]
        if name in data.columns:
            return data[name]
        parts = name.split(":")
        unknown = [p for p in parts if p not in data.columns]
        if unknown:
            near = did_you_mean(unknown[0], [str(c) for c in data.columns])
            raise DataError(
                f"The model does not use a column *{unknown[0]}*.",
                hint=f"{near} Any other column can be given itself, as data[...].",
            )
        joined = data[parts[0]].astype(str)
        for part in parts[1:]:
            joined = joined + ":" + data[part].astype(str)
        return joined

    def _rows(self, index: pd.Index) -> pd.DataFrame | None:
        """The columns of the data to name in a row's hover box: the first few that are not numbers."""
        data = self._fit.data
        data = data if len(data) == len(index) else data.loc[index]
        names = [c for c in data.columns if not pd.api.types.is_float_dtype(data[c].dtype)][:5]
        return data[names] if names else None


def _name(column: str | pd.Series) -> str:
    return column if isinstance(column, str) else str(column.name)
