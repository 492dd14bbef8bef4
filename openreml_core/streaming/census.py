"""The first reading: which levels there are, which rows are complete, what terms must know of all rows.

Censuses of portions add up, in whatever order and wherever they were taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pandas as pd

from openreml_core.design.build import offset_values
from openreml_core.design.checks import check_weights, column_or_array, response_values
from openreml_core.design.evaluate import Variable
from openreml_core.design.learning import Question, answer, merged
from openreml_core.design.table import Table
from openreml_core.errors import DataError
from openreml_core.notation import Formula
from openreml_core.streaming.column import ColumnCensus, column_census
from openreml_core.streaming.source import Portion

#: Rows kept as an example of what the columns hold.
EXAMPLES = 8


@dataclass(frozen=True)
class Wanted:
    """What a model must know of its rows.

    Attributes
    ----------
    formula : Formula
    columns : tuple of str
        The columns that rows must have a value of.
    levels : frozenset of str
        Those that are levels whatever they hold.
    groups : tuple of tuples of str
        Sets of columns whose combinations are levels.
    questions : tuple of Question
    weights, offset : str or None
        Columns.
    missing : {"drop", "error"}
    """

    formula: Formula
    columns: tuple[str, ...]
    levels: frozenset[str]
    groups: tuple[tuple[str, ...], ...]
    questions: tuple[Question, ...]
    weights: str | None
    offset: str | None
    missing: str


@dataclass(frozen=True, eq=False)
class Response:
    """The smallest and the largest y, and the sum of y less its offset."""

    low: float
    high: float
    total: float


@dataclass(frozen=True, eq=False)
class Census:
    """What was found in some rows.

    Attributes
    ----------
    rows, dropped : int
        Rows used, and rows that lack a value.
    columns : dict of str to ColumnCensus
    combinations : dict of group to int64 array of shape (m, columns of the group)
        The combinations that occur, as places among each column's values.
    answers : tuple of float64 arrays
        To the questions.
    response : Response or None
    example : DataFrame or None
        A few complete rows.
    """

    rows: int
    dropped: int
    columns: dict[str, ColumnCensus]
    combinations: dict[tuple[str, ...], np.ndarray]
    answers: tuple[np.ndarray, ...]
    response: Response | None
    example: pd.DataFrame | None


EMPTY = Census(0, 0, {}, {}, (), None, None)


def complete(table: Table, names: Sequence[str]) -> np.ndarray:
    """Which rows have a value of every column, bool (n,)."""
    lost = np.zeros(len(table), dtype=bool)
    for name in names:
        lost |= table.column(name).isna().to_numpy()
    return ~lost


def take_census(portion: Portion, wanted: Wanted) -> Census:
    """The census of a portion."""
    with portion.named():
        whole = Table.of(portion.frame)
        keep = complete(whole, wanted.columns)
        if wanted.missing == "error" and not keep.all():
            places = np.flatnonzero(~keep)
            absent = [n for n in wanted.columns if whole.column(n).isna().iloc[places[0]]]
            raise DataError(
                f"Values are missing in {whole.rows(places)} (in the first of them {', '.join(absent)}).",
                hint="missing='drop' leaves such rows out.",
            )
        table = whole.kept(keep, wanted.columns)
        dropped = int((~keep).sum())
        if not len(table):
            return replace(EMPTY, dropped=dropped)
        columns, codes = {}, {}
        for name in wanted.columns:
            columns[name], found = column_census(name, table.column(name), portion.name, levels=name in wanted.levels)
            if found is not None:
                codes[name] = found
        return Census(
            rows=len(table),
            dropped=dropped,
            columns=columns,
            combinations={group: unique_rows(np.column_stack([codes[n] for n in group])) for group in wanted.groups},
            answers=tuple(answer(question, table) for question in wanted.questions),
            response=_response(wanted, table),
            example=table.frame.head(EXAMPLES).reset_index(drop=True),
        )


def _response(wanted: Wanted, table: Table) -> Response:
    y = response_values(wanted.formula, table)
    total = float((y - offset_of(wanted.formula, wanted.offset, table)).sum())
    if wanted.weights is not None:
        weights = column_or_array("weights", wanted.weights, table)
        assert weights is not None
        check_weights(weights, table, wanted.weights)
    return Response(float(y.min()), float(y.max()), total)


def offset_of(formula: Formula, column: str | None, table: Table) -> np.ndarray:
    """The formula's offsets and the column given as one, (n,)."""
    total = offset_values([Variable(expression) for expression in formula.offset_expressions], table)
    own = column_or_array("offset", column, table)
    return total if own is None else total + own


def together(first: Census, second: Census, questions: Sequence[Question]) -> Census:
    """The census of the rows of both."""
    if not second.rows:
        return replace(first, dropped=first.dropped + second.dropped)
    if not first.rows:
        return replace(second, dropped=first.dropped + second.dropped)
    columns = {name: census.and_then(second.columns[name]) for name, census in first.columns.items()}
    combinations = {}
    for group, own in first.combinations.items():
        moved = [
            columns[name].values.get_indexer(second.columns[name].values)[second.combinations[group][:, j]]  # type: ignore[union-attr]
            for j, name in enumerate(group)
        ]
        combinations[group] = unique_rows(np.vstack([own, np.column_stack(moved)]))
    assert first.response is not None and second.response is not None
    return Census(
        rows=first.rows + second.rows,
        dropped=first.dropped + second.dropped,
        columns=columns,
        combinations=combinations,
        answers=tuple(merged(q, a, b) for q, a, b in zip(questions, first.answers, second.answers, strict=True)),
        response=Response(
            min(first.response.low, second.response.low),
            max(first.response.high, second.response.high),
            first.response.total + second.response.total,
        ),
        example=first.example,
    )


def unique_rows(rows: np.ndarray) -> np.ndarray:
    """The different rows of an int64 array (n, c), in order."""
    sizes = rows.max(axis=0) + 1
    if float(np.prod(sizes.astype(float))) >= 2.0**63:
        return np.unique(rows, axis=0)
    keys = reduce(lambda key, j: key * sizes[j] + rows[:, j], range(rows.shape[1]), np.zeros(len(rows), dtype=np.int64))
    _, first = np.unique(keys, return_index=True)
    return rows[first]
