"""What is asked of a fit about space: variograms, correlations of neighbours, the trend over the field."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.covariance import WholeCovariance
from openreml_core.diagnostics import (
    Positions,
    RowView,
    grid_autocorrelation,
    grouping_of,
    kind_named,
    place_numbers,
    places_of,
    positions_of,
    serial_autocorrelation,
    trend_values,
    variogram_table,
)
from openreml_core.errors import DataError, ModelError
from openreml_core.fitted.base import FittedModel
from openreml_core.notation import parse_residual


class Field(FittedModel):
    """Methods of a fit that look at where rows lie."""

    @cached_property
    def _view(self) -> RowView:
        return RowView(self.estimates)

    @property
    def table(self) -> pd.DataFrame:
        """The rows used, with every column of the table they came from, where it is at hand; else the columns used."""
        again = self.again
        if again is not None and isinstance(again.data, pd.DataFrame):
            whole, index = again.data, self.design.index
            if whole.index.is_unique and index.isin(whole.index).all():
                return whole.loc[index]
            if len(whole) == len(index) and whole.index.equals(index):
                return whole
        return self.data

    def places(self, row: str | None = None, col: str | None = None) -> tuple[str, str, str | None] | None:
        """The columns that say where plots lie, as given or as their names say: rows, columns, trials if there are several.

        Examples
        --------
        >>> import openreml_core as reml
        >>> reml.fit("yield ~ rep + (1 | gen)", reml.load_sample("john_alpha")).places()
        ('row', 'col', None)
        """
        return places_of(self.table, row, col)

    def named_rows(self, cases: Any, group: Any = None) -> np.ndarray:
        """The rows that cases name, by their numbers among the rows used, from 0.

        Parameters
        ----------
        cases : label or list of labels, or a table indexed by them
            Rows by the table's labels; levels where ``group`` is given.
        group : str, list of str, Series or array, optional
            Columns, or a label for each row.

        Raises
        ------
        DataError
            Labels that the fit does not have.
        """
        if isinstance(cases, pd.DataFrame):
            cases = list(cases.index)
        elif isinstance(cases, str) or not isinstance(cases, Sequence | np.ndarray | pd.Index | pd.Series):
            cases = [cases]
        wanted = list(cases)
        if group is None:
            known: pd.Index = self.design.index
            held = known.get_indexer_for(pd.Index(wanted)) if wanted else np.zeros(0, dtype=int)
            missing = [w for w in wanted if w not in known]
            rows = held
        else:
            grouping = grouping_of(self.table, group)
            missing = [w for w in wanted if str(w) not in grouping.levels]
            rows = np.flatnonzero(np.isin(np.array([*grouping.levels, ""])[grouping.codes], [str(w) for w in wanted]))
        if missing or not wanted:
            said = ", ".join(str(m) for m in missing[:5])
            raise DataError(
                f"The fit has no {'row' if group is None else 'level'} {said}." if missing else "No case is named.",
                hint="Name rows by the table's labels, or levels of the group that is given.",
            )
        return rows

    def variogram(
        self, row: Any = "row", col: Any = "col", *, by: Any = None, kind: str = "conditional", direction: str = "surface",
        spacing: tuple[float, float] = (1.0, 1.0), width: float | None = None, max_lag: float | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """The sample variogram of the residuals, the fitted one beside it.

        Parameters
        ----------
        row, col : str or Series
            Positions of the plots: columns of the table, or given themselves.
        by : str or Series, optional
            The trials they lie in; pairs of one trial only are compared.
        kind : {"conditional", "marginal"}
        direction : {"surface", "all", "row", "column", "diagonal"}
            By lags in rows and columns (two-dimensional); by distance in any direction; from row to row within a column; from
            column to column within a row; at 45 degrees.
        spacing : (float, float)
            Distance between neighbouring rows and columns.
        width, max_lag : float, optional
            Width of a bin of distance; largest distance.

        Returns
        -------
        DataFrame
            row_lag, col_lag and distance, or distance alone; pairs; semivariance, the mean of (e_i - e_j)^2 / 2; fitted, that of
            the model's errors; expected, that of residuals estimated under the model, with which the sample is to be compared
            (missing above 2,500 rows).

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("yield ~ rep + (1 | gen)", reml.load_sample("john_alpha"))
        >>> fit.variogram(direction="row").round(3).head(2)
           distance  pairs  semivariance  fitted  expected
        0       1.0     71         0.057   0.135     0.099
        1       2.0     70         0.084   0.135     0.099

        References
        ----------
        Gilmour, Cullis and Verbyla (1997), J. Agricultural, Biological and Environmental Statistics 2, 269-293.
        """
        values, marginal = self._residual_values(kind)
        positions = positions_of(self.table, row, col, by)
        return variogram_table(
            self._view, values, positions, direction=direction, spacing=spacing, width=width, max_lag=max_lag,
            marginal=marginal,
        )  # fmt: skip

    def autocorrelation(
        self, row: Any = "row", col: Any = "col", *, by: Any = None, order: Any = None, kind: str = "conditional",
        directions: Sequence[str] = ("row", "column"), max_lag: int | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Correlation of the residuals with their neighbours' by lag.

        Parameters
        ----------
        row, col : str or Series
            Positions of the plots.
        by : str or Series, optional
            Trials, or with ``order`` subjects: what has no neighbours across.
        order : str or Series, optional
            Time, or the order of the harvest, in place of positions; lags then count observations.
        kind : {"conditional", "marginal"}
        directions : sequence of {"row", "column", "serpentine"}
            From row to row within a column, from column to column within a row, along a path up one column and down the next.
        max_lag : int, optional
            Half the longest by default.

        Returns
        -------
        DataFrame
            direction, lag, pairs, correlation; expected under the model (missing above 2,500 rows), lower, upper.
        """
        values, marginal = self._residual_values(kind)
        if order is not None:
            column = self.table[order] if isinstance(order, str) and order in self.table.columns else order
            if isinstance(column, str):
                positions_of(self.table, column, column)  # says that there is no such column
            within = np.zeros(self.n_obs, dtype=np.int64) if by is None else grouping_of(self.table, by).codes
            series = column if isinstance(column, pd.Series) else pd.Series(np.asarray(column))
            place = positions_of(self.table, series, series).row if len(series) != self.n_obs else place_numbers(series)
            name = order if isinstance(order, str) else str(series.name or "order")
            return serial_autocorrelation(self._view, values, place, within, name, max_lag, marginal)
        positions = positions_of(self.table, row, col, by)
        return grid_autocorrelation(self._view, values, positions, list(directions), max_lag, marginal)

    def field_trend(self, row: str = "row", col: str = "col") -> pd.Series:
        """The trend that the model finds over the field, less its mean, indexed as the rows used.

        X b of fixed terms in ``row`` and ``col`` alone, Z u^ of random terms that they are in, and the prediction of the
        correlated residual. ``attrs["parts"]`` names them.

        Raises
        ------
        ModelError
            For a model without any.
        """
        names = {row, col}
        design = self.design
        fixed = [i for t in design.fixed_terms if t.factors and set(t.factors) <= names for i in t.columns]
        chosen = [bool(names & set(d.term.columns)) for d in design.random]
        known = parse_residual(self.specification.residual)
        found = trend_values(self._view, fixed, chosen, bool(names & set(known.columns)))
        if found is None:
            raise ModelError(
                f"This model has no trend over *{row}* and *{col}*.",
                hint=f"Fit residual='ar1({row}):ar1({col}) + id(units)', or a term spl2d({row}, {col}).",
            )
        out = pd.Series(found[0].numpy(), index=design.index, name="trend")
        out.attrs["parts"] = found[1]
        return out

    def random_part(self, term: str | None = None) -> pd.Series:
        """Z u^ of one random term in every row used."""
        place = self._position(term)
        if isinstance(self._model.residuals[0], WholeCovariance):
            raise ModelError("A V built by hand has no random terms by rows.", hint="Ask for fit.random_effects(...).")
        own = self._model.terms[place].spread(self._predicted[place].blup[:, :, None])[:, 0]
        return pd.Series(own.numpy(), index=self.design.index, name=self.random_terms[place])

    def _residual_values(self, kind: str) -> tuple[np.ndarray, bool]:
        name = kind_named(kind)
        if name not in ("conditional", "marginal"):
            raise ModelError(
                f"Variograms are of residuals on the scale of the data, not of kind {kind!r}.",
                hint="Choose 'conditional' or 'marginal'.",
            )
        marginal = name == "marginal"
        return (self.response - self.fitted(random=not marginal)).to_numpy(dtype=float), marginal


__all__ = ["Field", "Positions"]
