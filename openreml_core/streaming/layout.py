"""Between the readings: from what is known of all rows to how any of them are computed, as one table would be.

W = [Z_1 ... Z_T  X  y - m],   m the response's mean if X can tell it apart (X c = 1 for some c), else zero
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from openreml_core.design import RandomDesign
from openreml_core.design.build import column_names
from openreml_core.design.checks import check_spread, contrast_warnings, fixed_warnings
from openreml_core.design.coding import Coding
from openreml_core.design.columns import Factor
from openreml_core.design.contrasts import contrast_named
from openreml_core.design.effects import Columns, Effects
from openreml_core.design.evaluate import Coded, Variable
from openreml_core.design.learning import Question, questions, teach
from openreml_core.design.random import check_term, repeated_terms
from openreml_core.design.table import Table
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation import Formula, RandomTerm
from openreml_core.notation.structures import SERIAL, SPATIAL
from openreml_core.streaming.absent import RowsElsewhere
from openreml_core.streaming.census import Census, Wanted, unique_rows
from openreml_core.streaming.column import Lookup

#: Numbers of one portion of W that are held at once.
AT_ONCE = 2e7


@dataclass(frozen=True, eq=False)
class Grouping:
    """The levels of a random term.

    Attributes
    ----------
    lookups : tuple of Lookup
        Its columns.
    combinations : int64 array of shape (q, columns)
        The levels of the columns that make each of its levels, in order.
    """

    lookups: tuple[Lookup, ...]
    combinations: np.ndarray

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Names of the q levels."""
        if len(self.lookups) == 1:
            return self.lookups[0].levels
        named = [[lookup.levels[code] for code in self.combinations[:, j]] for j, lookup in enumerate(self.lookups)]
        return tuple(":".join(level) for level in zip(*named, strict=True))

    def _keys(self, codes: Sequence[np.ndarray]) -> np.ndarray:
        sizes = [len(lookup.levels) for lookup in self.lookups]
        return reduce(lambda key, j: key * sizes[j] + codes[j], range(1, len(sizes)), codes[0])

    @cached_property
    def _known(self) -> np.ndarray:
        return self._keys([self.combinations[:, j] for j in range(len(self.lookups))])

    def codes(self, table: Table) -> np.ndarray:
        """The level of each row, int64 (n,)."""
        own = [lookup.level(table.column(lookup.name)) for lookup in self.lookups]
        if len(own) == 1:
            return own[0]
        keys = self._keys(own)
        place = np.minimum(np.searchsorted(self._known, keys), len(self._known) - 1)
        if not np.array_equal(self._known[place], keys):
            raise DataError(
                f"A combination of {':'.join(lookup.name for lookup in self.lookups)} was not there when the levels "
                "were collected.",
                hint="The data changed while they were read: fit again.",
            )
        return place


@dataclass(frozen=True, eq=False)
class Layout:
    """How rows become columns of W.

    Attributes
    ----------
    formula : Formula
    wanted : Wanted
    coding : Coding
        Of the fixed part, with what it must know of all rows.
    names, owner : columns of X before any is left out, and the term each is of
    groupings : dict of group to Grouping
    random : tuple of RandomDesign
        Without rows.
    section : Lookup or None
        The sections of the residual.
    section_names : tuple of str
    mean : float
        m.
    warnings : tuple of str
    """

    formula: Formula
    wanted: Wanted
    coding: Coding
    names: tuple[str, ...]
    owner: tuple[int, ...]
    groupings: Mapping[tuple[str, ...], Grouping]
    random: tuple[RandomDesign, ...]
    section: Lookup | None
    section_names: tuple[str, ...]
    mean: float
    warnings: tuple[str, ...]

    @property
    def sections(self) -> int:
        """S."""
        return 1 if self.section is None else len(self.section.levels)

    @property
    def rows_at_once(self) -> int:
        """How many rows of W find room."""
        width = len(self.names) + 1 + sum(len(r.effects) for r in self.random)
        return max(int(AT_ONCE // max(width, 40)), 1000)

    @cached_property
    def constant(self) -> np.ndarray | None:
        """c (P,) with X c = 1, where the coding says so."""
        return constant_of(self.coding, self.owner)


def constant_of(coding: Coding, owner: Sequence[int]) -> np.ndarray | None:
    """c (P,) with X c = 1: the intercept, or the indicators of the first factor without one; None otherwise."""
    places = np.array(owner, dtype=np.int64)
    if coding.intercept:
        return (places == -1).astype(float)
    for place, (term, in_full) in enumerate(zip(coding.terms, coding.in_full, strict=True)):
        if len(term) == 1 and term[0].text in in_full:
            return (places == place).astype(float)
    return None


def wanted_of(
    formula: Formula,
    coding: Coding,
    *,
    section: str | None,
    weights: str | None,
    offset: str | None,
    missing: str,
) -> Wanted:
    """What the first reading has to find out for a model.

    Raises
    ------
    FormulaError
        A term that needs all rows at once.
    """
    for expression in (formula.response_expression, *formula.offset_expressions):
        if expression is not None and any(q.kind == "moments" for q in questions(Variable(expression))):
            raise FormulaError(
                f"'{expression.label}' needs all rows at once, which files read in portions do not have.",
                hint="Compute it as a column of the files, or fit the table: reml.read_table(...).",
            )
    asked = list(questions_of(coding))
    for term in formula.random:
        refuse_term(term)
        asked += questions_of(left_coding(term))
    columns = [*formula.columns, *([section] if section else []), *(c for c in (weights, offset) if c)]
    grouping = {name for term in formula.random for name in term.group}
    return Wanted(
        formula=formula,
        columns=tuple(dict.fromkeys(columns)),
        levels=frozenset(grouping | ({section} if section else set())),
        groups=tuple(dict.fromkeys(term.group for term in formula.random if len(term.group) > 1)),
        questions=tuple(dict.fromkeys(asked)),
        weights=weights,
        offset=offset,
        missing=missing,
    )


def questions_of(coding: Coding) -> list[Question]:
    """What the variables of a coding must know of all rows."""
    return [question for variable in coding.variables.values() for question in questions(variable)]


def left_coding(term: RandomTerm) -> Coding:
    """The coding of what stands left of a bar."""
    return Coding(term.intercept, term.terms, levels_only=term.structure in SERIAL)


def refuse_term(term: RandomTerm) -> None:
    """Refuse a random term whose effects are not columns that a row has by itself."""
    what = ""
    if term.is_smooth:
        what = "a spline, whose knots are learned from all rows at once"
    elif term.parts:
        what = "a product of structures"
    elif term.structure in SPATIAL:
        what = "by distance between rows"
    if what:
        raise FormulaError(
            f"The term {term.text} is {what}: it cannot be read in portions.",
            hint="Fit the table: reml.fit(formula, reml.read_table(...)), or leave the term out.",
        )


def layout_of(
    census: Census,
    wanted: Wanted,
    coding: Coding,
    where: str,
    *,
    section: str | None,
    contrasts: Mapping[str, str],
    known_groups: frozenset[str],
    plain_residual: bool,
) -> Layout:
    """The layout that a census gives.

    Parameters
    ----------
    census : Census
        Of all rows.
    wanted : Wanted
    coding : Coding
        Of the fixed part; it is taught here.
    where : str
        Where the rows are, for what is asked of them later.
    section : str, optional
    contrasts : mapping
    known_groups, plain_residual
        As in ``design.build_design``.

    Raises
    ------
    DataError
        The rows do not carry the model.
    """
    if not census.rows or census.example is None or census.response is None:
        what = "Every row lacks a value that the model uses." if census.dropped else "There are no rows."
        raise DataError(what, hint="Check the columns that the model names.")
    formula, n = wanted.formula, census.rows
    check_spread(formula, np.array([census.response.low, census.response.high]))
    table = Table.of(census.example)
    lookups = {name: Lookup.of(found) for name, found in census.columns.items() if found.values is not None}
    answers = {(q.of.text, q.place, q.kind): a for q, a in zip(wanted.questions, census.answers, strict=True)}
    text = {name: lookups[name].levels for name, found in census.columns.items() if not found.numeric}
    _teach(coding, answers, text)
    values = coding.values(table)
    names, owner = column_names(coding, coding.blocks(values, len(table)))
    warnings = _fixed_warnings(formula, coding, values, census, table)
    asked = {str(name): contrast_named(kind, str(name)) for name, kind in contrasts.items()}
    warnings += contrast_warnings(asked, coding, values, table)
    groupings = {group: _grouping(group, lookups, census) for group in dict.fromkeys(t.group for t in formula.random)}
    random: list[RandomDesign] = []
    for term in formula.random:
        left = left_coding(term)
        _teach(left, answers, text)
        effects = Columns(left, table)
        count = sum(r.term.group == term.group for r in random)
        design = _random_design(
            term, f"{term.name}.{count}" if count else term.name, groupings[term.group], effects, where
        )
        identified = plain_residual and not (term.structure == "known" or term.group_name in known_groups)
        warnings += check_term(design, n, identified=identified)
        random.append(design)
    warnings += repeated_terms(random)
    kinds = tuple((name, "number" if found.numeric else "factor") for name, found in census.columns.items())
    sections = lookups[section] if section else None
    return Layout(
        formula=replace(formula, kinds=kinds),
        wanted=wanted,
        coding=coding,
        names=tuple(names),
        owner=tuple(owner),
        groupings=groupings,
        random=tuple(random),
        section=sections,
        section_names=("residual",) if sections is None else _section_names(sections),
        mean=census.response.total / n if constant_of(coding, owner) is not None else 0.0,
        warnings=tuple(warnings),
    )


def _teach(
    coding: Coding, answers: Mapping[tuple[str, str, str], np.ndarray], levels: Mapping[str, tuple[str, ...]]
) -> None:
    for variable in coding.variables.values():
        own = {q.place: answers[q.of.text, q.place, q.kind] for q in questions(variable)}
        teach(variable, own, levels)


def _fixed_warnings(
    formula: Formula, coding: Coding, values: dict[str, np.ndarray | Coded], census: Census, table: Table
) -> list[str]:
    """What is said of the fixed part, each covariate shown by the different numbers of all rows."""
    shown = dict(values)
    for text, value in values.items():
        expression = coding.variables[text].expression
        few = census.columns[expression.names[0]].few if expression.is_column else None
        if few is not None and not isinstance(value, Coded):
            shown[text] = np.resize(few, max(len(few), min(census.rows, 6)))
    return fixed_warnings(formula, coding, shown, table)


def _grouping(group: tuple[str, ...], lookups: Mapping[str, Lookup], census: Census) -> Grouping:
    own = tuple(lookups[name] for name in group)
    if len(own) == 1:
        return Grouping(own, np.arange(len(own[0].levels), dtype=np.int64)[:, None])
    found = census.combinations[group]
    codes = np.column_stack([lookup.codes[found[:, j]] for j, lookup in enumerate(own)])
    return Grouping(own, unique_rows(codes))


def _random_design(term: RandomTerm, name: str, grouping: Grouping, effects: Effects, where: str) -> RandomDesign:
    elsewhere = RowsElsewhere(where)
    return RandomDesign(
        name=name,
        term=term,
        structure=term.structure,
        options=term.options,
        group=term.group,
        levels=grouping.levels,
        effects=effects.names,
        codes=elsewhere,  # type: ignore[arg-type]
        basis=elsewhere,  # type: ignore[arg-type]
        left=effects,
        factors=tuple(Factor(lookup.levels, elsewhere) for lookup in grouping.lookups),  # type: ignore[arg-type]
        combinations=grouping.combinations,
    )


def _section_names(section: Lookup) -> tuple[str, ...]:
    """``residual[C1]``, by the first value of each level."""
    _, first = np.unique(section.codes, return_index=True)
    return tuple(f"residual[{section.values[place]}]" for place in first)
