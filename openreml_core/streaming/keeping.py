"""A model without rows as numbers and tables that a file can hold, and back.

record      levels, answers, sums: JSON's types
example     a few rows, which tell what kind the columns are
products    the upper triangle of the cross-products: row, column, section, value
levels0 ... the combinations of levels of a grouping by several columns
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.assembly import can_profile, residual_is_bound
from openreml_core.engines import CrossProducts
from openreml_core.errors import DataError
from openreml_core.notation import parse_formula
from openreml_core.relationship import Relationship
from openreml_core.streaming.census import Census, Response
from openreml_core.streaming.column import ColumnCensus
from openreml_core.streaming.reading import Asked, Reading, section_of
from openreml_core.streaming.sums import Sums, model_of


def record_of(reading: Reading) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """What is kept of a reading: the record, and the tables by name but for the example."""
    layout, census, sums, cross = reading.layout, reading.census, reading.sums, reading.cross
    assert census.response is not None
    columns = {
        name: {
            "numeric": found.numeric,
            "levels": None if found.values is None else list(found.factor().levels),
            "few": None if found.few is None else found.few.tolist(),
        }
        for name, found in census.columns.items()
    }
    record = {
        "words": reading.words,
        "rows": census.rows,
        "dropped": census.dropped,
        "columns": columns,
        "answers": [answer.tolist() for answer in census.answers],
        "response": [census.response.low, census.response.high, census.response.total],
        "sections": list(layout.section_names),
        "kept": sums.kept.tolist(),
        "coefficients": sums.coefficients.tolist(),
        "deviation": sums.deviation,
        "mean_squares": [square.tolist() for square in sums.mean_squares],
        "section_rows": sums.rows.tolist(),
        "inverse_weights": sums.inverse_weights.tolist(),
        "log_weights": cross.log_weights,
        "size": cross.size,
    }
    upper = cross.row <= cross.column
    parts = {"row": cross.row, "column": cross.column, "section": cross.section, "value": cross.value}
    tables = {"products": pd.DataFrame({name: values[upper] for name, values in parts.items()})}
    for place, group in enumerate(layout.wanted.groups):
        combinations = layout.groupings[group].combinations
        tables[f"levels{place}"] = pd.DataFrame(combinations, columns=[str(j) for j in range(len(group))])
    return record, tables


def reading_of(
    record: Mapping[str, Any],
    example: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    matrices: Mapping[str, Relationship],
    specification: Any,
) -> Reading:
    """The reading that a record and tables are of.

    Parameters
    ----------
    record, tables
        As :func:`record_of` gave them.
    example : DataFrame
    matrices : mapping of group to Relationship
    specification : object
        The options of the fit by name: formula, residual, weights, offset, contrasts, start, fixed, ties, missing, method.

    Raises
    ------
    ModelError, KeyError, TypeError, ValueError, IndexError
        They do not belong together.
    """
    spec = specification
    asked = Asked(
        parse_formula(spec.formula, tuple(record["columns"])),
        section_of(spec.residual),
        spec.weights,
        spec.offset,
        spec.contrasts,
        spec.missing,
        known_groups=frozenset(matrices),
        bound=residual_is_bound(spec.fixed, spec.ties),
        profiled=can_profile(spec.fixed, spec.ties, spec.start),
    )
    wanted, coding = asked.wanted()
    census = Census(
        rows=int(record["rows"]),
        dropped=int(record["dropped"]),
        columns={name: _column(name, **found) for name, found in record["columns"].items()},
        combinations={
            group: tables[f"levels{place}"].to_numpy(dtype=np.int64) for place, group in enumerate(wanted.groups)
        },
        answers=tuple(np.array(answer, dtype=np.float64) for answer in record["answers"]),
        response=Response(*map(float, record["response"])),
        example=example,
    )
    layout = asked.layout(census, wanted, coding, record["words"])
    layout = replace(layout, section_names=tuple(record["sections"]))
    sums = Sums(
        kept=np.array(record["kept"], dtype=np.int64),
        coefficients=np.array(record["coefficients"], dtype=np.float64),
        deviation=float(record["deviation"]),
        mean_squares=tuple(np.array(square, dtype=np.float64) for square in record["mean_squares"]),
        rows=np.array(record["section_rows"], dtype=np.int64),
        inverse_weights=np.array(record["inverse_weights"], dtype=np.float64),
    )
    design, model = model_of(layout, census, sums, matrices, spec.method, asked.profiled_out, record["words"])
    size = sums.random(model) + model.p + 1
    shapes = [(t.structure.size,) * 2 for t in model.terms] == [square.shape for square in sums.mean_squares]
    if size != record["size"] or not shapes or len(sums.rows) != layout.sections:
        raise DataError("its cross-products do not belong to its formula")
    return Reading(
        design, model, _products(tables["products"], sums, record, size), layout, census, sums, record["words"]
    )


def _column(name: str, numeric: bool, levels: list[str] | None, few: list[float] | None) -> ColumnCensus:
    """A column whose values are its levels, in their order."""
    values = None if levels is None else pd.Index(levels, dtype=object)
    return ColumnCensus(name, numeric, "", "", values, values, None if few is None else np.array(few))


def _products(table: pd.DataFrame, sums: Sums, record: Mapping[str, Any], size: int) -> CrossProducts:
    row, column, section = (table[name].to_numpy(dtype=np.int64) for name in ("row", "column", "section"))
    value, sections = table["value"].to_numpy(dtype=np.float64), len(sums.rows)
    inside = (row >= 0) & (row <= column) & (column < size) & (section >= 0) & (section < sections)
    if not inside.all() or not np.isfinite(value).all():
        raise DataError("its cross-products are not those of a model")
    off = row != column
    section = np.concatenate([section, section[off]])
    order = np.argsort(section, kind="stable")
    return CrossProducts(
        row=np.concatenate([row, column[off]])[order],
        column=np.concatenate([column, row[off]])[order],
        section=section[order],
        value=np.concatenate([value, value[off]])[order],
        size=size,
        counts=sums.rows,
        log_weights=float(record["log_weights"]),
    )
