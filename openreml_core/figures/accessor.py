"""``fit.plot``: every figure of a fit, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from openreml_core.errors import DataError, did_you_mean
from openreml_core.figures import theme
from openreml_core.figures.coefficients import forest
from openreml_core.figures.comparison import criteria
from openreml_core.figures.components import variance_shares
from openreml_core.figures.correlogram import correlogram
from openreml_core.figures.distribution import histogram
from openreml_core.figures.effects import caterpillar
from openreml_core.figures.field import field_map
from openreml_core.figures.groups import residuals_by
from openreml_core.figures.influence import influence
from openreml_core.figures.iterations import convergence, parameter_traces
from openreml_core.figures.means import means_plot
from openreml_core.figures.pairs import pairs_plot
from openreml_core.figures.plan import design_map
from openreml_core.figures.quantiles import qq, qq_simulated
from openreml_core.figures.scatter import observed_fitted, residuals_fitted, scale_location
from openreml_core.figures.uncertainty import bootstrap_histograms, profile_curves
from openreml_core.figures.variogram import variogram, variogram_surface
from openreml_core.figures.words import residual_words


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
        return residuals_fitted(self._fitted(kind), e, self._rows(e.index), kind=residual_words(kind).capitalize())

    def scale_location(self, kind: str = "conditional") -> go.Figure:
        """Root of the residuals' size against fitted values."""
        e = self._fit.residuals(kind=kind)
        return scale_location(self._fitted(kind), e, self._rows(e.index))

    def _fitted(self, kind: str) -> pd.Series:
        """The fitted values that residuals of a kind are left by."""
        if kind == "least-confounded":
            raise DataError(
                "Least confounded residuals belong to no single row.", hint="Draw their quantiles, or another kind."
            )
        marginal = kind in ("marginal", "standardized-marginal", "cholesky")
        return self._fit.fitted(random=False) if marginal else self._fit.fitted()

    def qq(
        self, term: str | None = None, *, effect: str | None = None, kind: str = "conditional", seed: int = 1
    ) -> go.Figure:
        """Normal quantiles of the residuals, or of a random term's predicted effects."""
        if term is None:
            e = self._fit.residuals(kind=kind)
            if kind == "least-confounded":
                return qq(e, seed=seed, what=residual_words(kind), row_word="Combination")
            return qq(e, seed=seed, what=residual_words(kind), hover=self._rows(e.index))
        table = self._fit.random_effects(self._term(term))
        kinds = list(dict.fromkeys(table["effect"]))
        if effect is not None and effect not in kinds:
            raise DataError(f"The term *{term}* has no effect *{effect}*.", hint=did_you_mean(effect, kinds))
        table = table[table["effect"] == (effect if effect is not None else kinds[0])]
        blup = pd.Series(table["blup"].to_numpy(float), index=table["level"].astype(str))
        return qq(blup, seed=seed, what="predicted effect", colour=theme.RANDOM, row_word=term)

    def envelope(self, *, simulations: int = 199, level: float = 0.95, seed: int = 1) -> go.Figure:
        """Normal quantiles of the studentised residuals with the envelope of draws from the fitted model."""
        table = self._fit.residual_envelope(simulations=simulations, level=level, seed=seed)
        return qq_simulated(table, level=level, simulations=simulations, hover=self._rows(self._fit.design.index))

    def influence(
        self, group: Any = None, *, measure: str = "cooks_distance", rule: str | float = "4/n", pairs: bool = False,
        refit: bool = False, executor: Any = None,
    ) -> go.Figure:  # fmt: skip
        """A measure of influence by row, by level of ``group`` or by pair, those that the rule names marked."""
        table = self._fit.influence(group, pairs=pairs, refit=refit, executor=executor)
        if measure == "covratio":
            return influence(table, measure=measure)
        found = self._fit.influential_in(table, measure=measure, rule=rule)
        return influence(table, measure=measure, limit=found.attrs["limit"], rule=found.attrs["rule"])

    def variogram(
        self, row: str | pd.Series = "row", col: str | pd.Series = "col", *, direction: str | Sequence[str] = "surface",
        by: str | pd.Series | None = None, what: str = "semivariance", kind: str = "conditional", **options: Any,
    ) -> go.Figure:  # fmt: skip
        """The variogram of the residuals with what the model lets one expect.

        Parameters
        ----------
        row, col, by, kind, options
            As for ``fit.variogram``.
        direction : str or sequence of str
            ``"surface"``, or one or several of ``"all"``, ``"row"``, ``"column"``, ``"diagonal"``.
        what : {"semivariance", "fitted", "expected", "ratio"}
            What the surface shows.
        """
        place: dict[str, Any] = dict(by=by, kind=kind, **options)
        if direction == "surface":
            table = self._fit.variogram(row, col, **place)
            return variogram_surface(table, what=what, row_name=_axis(row), col_name=_axis(col))
        asked = [direction] if isinstance(direction, str) else list(direction)
        tables = {name: self._fit.variogram(row, col, direction=name, **place) for name in asked}
        return variogram(tables if len(tables) > 1 else tables[asked[0]])

    def autocorrelation(self, row: Any = "row", col: Any = "col", **options: Any) -> go.Figure:
        """Correlations of the residuals with their neighbours' by lag; options go to ``fit.autocorrelation``."""
        return correlogram(self._fit.autocorrelation(row, col, **options))

    def histogram(self, kind: str = "conditional") -> go.Figure:
        """Histogram of the residuals with the normal curve."""
        return histogram(self._fit.residuals(kind=kind), what=residual_words(kind).capitalize())

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

    def profile(self, parameters: Any = None, *, level: float = 0.95, what: str = "zeta", **options: Any) -> go.Figure:
        """Profile curves (``what="density"``: the densities they stand for) with their intervals.

        Further options go to ``fit.profile``. A straight zeta is a symmetric likelihood: Wald's interval would do.
        """
        profile = self._fit.profile(parameters, **options)
        return profile_curves(profile.table, profile.confint(level), level=level, what=what)

    def bootstrap(
        self, n_boot: int = 1000, seed: Any = None, *, level: float = 0.95, kind: str = "percentile", **options: Any
    ) -> go.Figure:
        """Histograms of the parametric bootstrap with its intervals; further options go to ``fit.bootstrap``."""
        drawn = self._fit.bootstrap(n_boot, seed, **options)
        return bootstrap_histograms(drawn.replicates, drawn.confint(level, kind))

    def compare(self, *others: Any, labels: Sequence[str] | None = None, refit: bool = True) -> go.Figure:
        """AIC and BIC of this fit and others, each less the smallest; labels in the order of the fits."""
        table = self._fit.compare(*others, refit=refit)
        own = None if labels is None else [labels[i] for i in table.attrs["order"]]
        return criteria(table, own)

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
        return residuals_by(
            e,
            column.astype("category") if _name(factor) in grouping else column,
            _name(factor),
            what=residual_words(kind),
        )

    def field(
        self, row: str | pd.Series = "row", col: str | pd.Series = "col", what: str | pd.Series = "residuals", *,
        aspect: float = 1.0, blocks: str | pd.Series | None = None, trial: tuple[str | pd.Series, Any] | None = None,
    ) -> go.Figure:  # fmt: skip
        """Response, residuals, fitted values, trend, BLUPs, or any column over the field.

        Parameters
        ----------
        row, col : str or Series
            The plots' positions: names of columns the model uses, or the columns themselves.
        what : str or Series
            ``"response"``, ``"residuals"``, ``"fitted"``, ``"trend"`` (what the model finds over the field), a random term (its
            part in every plot), or a column.
        aspect : float
            A plot's length along a field column, divided by its width along a field row.
        blocks : str or Series, optional
            A column whose levels are outlined.
        trial : (column, level), optional
            The plots of one trial alone.
        """
        e = self._fit.residuals()
        kept = np.ones(len(e), dtype=bool)
        if trial is not None:
            kept = (self._column(trial[0], e.index).astype(str) == str(trial[1])).to_numpy()
            if not kept.any():
                raise DataError(f"No plot lies in *{trial[1]}* of *{_name(trial[0])}*.", hint="Name one of its levels.")
        rows, cols = self._column(row, e.index)[kept], self._column(col, e.index)[kept]
        place: dict[str, Any] = dict(aspect=aspect, row_name=_axis(row), col_name=_axis(col))
        found = self._over_field(what, _name(row), _name(col)) if isinstance(what, str) else None
        if found is not None:
            values, words, diverging = found
            place["blocks"] = None if blocks is None else self._column(blocks, e.index)[kept]
            labels = self._first_level()
            named = None if labels is None else labels[kept]
            return field_map(rows, cols, values[kept], what=words, diverging=diverging, labels=named, **place)
        return design_map(rows, cols, self._column(what, e.index)[kept], name=_name(what), **place)

    def _over_field(self, what: str, row: str, col: str) -> tuple[pd.Series, str, bool] | None:
        """A quantity of the fit in every plot, its name, and whether it is coloured about zero."""
        fit = self._fit
        if what == "residuals":
            return fit.residuals(), "Residual", True
        if what == "fitted":
            return fit.fitted(), "Fitted value", False
        if what == "response":
            return fit.response, str(fit.response_name), False
        if what == "trend":
            return fit.field_trend(row, col), "Trend", True
        if what in fit.random_terms:
            return fit.random_part(what), f"BLUP of {what}", True
        return None

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
        data = getattr(self._fit, "table", self._fit.data)
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


def _axis(column: str | pd.Series) -> str:
    """The title of an axis along positions."""
    return {"row": "Row", "col": "Column", "column": "Column"}.get(_name(column), _name(column))


def _name(column: str | pd.Series) -> str:
    return column if isinstance(column, str) else str(column.name)
