"""Random terms to level codes and a basis: row i of Z has ``basis[i]`` at level ``codes[i]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openreml_core.design.coding import Coding
from openreml_core.design.columns import Factor, as_factor, combine, match_levels
from openreml_core.design.evaluate import Coded
from openreml_core.design.finite import check_finite
from openreml_core.design.table import Table
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation.bars import RandomTerm
from openreml_core.notation.structures import SERIAL

INTERCEPT = "(Intercept)"


@dataclass(frozen=True, eq=False)
class RandomDesign:
    """A random term over the rows of a table.

    Parameters
    ----------
    name : str
        ``"gen"``, ``"rep:block"``; a second term on the same grouping is ``"gen.1"``.
    term : RandomTerm
    structure : str
        The covariance of a level's effects.
    options : tuple of (name, value)
    group : tuple of str
        The grouping columns.
    levels : tuple of q str
        The combinations that occur, ``"R1:B1"``, in the order of the factors.
    effects : tuple of k str
        ``"(Intercept)"``, ``"Days"``, ``"Machine[T.B]"``.
    codes : int64 array of shape (n,)
    basis : float64 array of shape (n, k)
    """

    name: str
    term: RandomTerm
    structure: str
    options: tuple[tuple[str, float | bool | str], ...]
    group: tuple[str, ...]
    levels: tuple[str, ...]
    effects: tuple[str, ...]
    codes: np.ndarray = field(repr=False)
    basis: np.ndarray = field(repr=False)
    coding: Coding = field(repr=False, compare=False)
    factors: tuple[Factor, ...] = field(repr=False, compare=False)
    combinations: np.ndarray = field(repr=False, compare=False)

    def matrix(self, newdata: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return codes (-1 for a level that the fit has not seen) and basis over the rows of `newdata`."""
        found = [
            match_levels(newdata.column(name, self.term.text), factor.levels)
            for name, factor in zip(self.group, self.factors, strict=True)
        ]
        sizes = [len(factor.levels) for factor in self.factors]
        table = {tuple(row): code for code, row in enumerate(self.combinations.tolist())} if len(sizes) > 1 else None
        if table is None:
            codes = found[0].codes
        else:
            rows = np.column_stack([factor.codes for factor in found]).tolist()
            codes = np.array([table.get(tuple(row), -1) for row in rows], dtype=np.int64)
        return codes, _basis(self.coding, newdata, complete=False)[0]


def random_designs(
    terms: Sequence[RandomTerm],
    table: Table,
    known_groups: frozenset[str],
    plain_residual: bool,
) -> tuple[tuple[RandomDesign, ...], list[str]]:
    """Return the random terms over the rows of `table`, and what the user should be told.

    Parameters
    ----------
    terms : sequence of RandomTerm
    table : Table of n complete rows
    known_groups : frozenset of str
        Groupings whose covariance is given, which may have a level for every row.
    plain_residual : bool
        Whether the residual is independent, so that a level per row cannot be told from it.
    """
    factors: dict[str, Factor] = {}
    joined: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray, tuple[str, ...]]] = {}
    taken: dict[str, int] = {}
    designs: list[RandomDesign] = []
    warnings: list[str] = []
    for term in terms:
        if not term.group or term.positions or term.parts:
            raise FormulaError(
                f"The term {term.text} can be written but not fitted yet.",
                hint="Terms that can be fitted have the form (x | g), (x || g), us(x | g) or diag(x | g).",
            )
        for name in term.group:
            if name not in factors:
                factors[name] = as_factor(table.column(name, term.text))
        if term.group not in joined:
            joined[term.group] = _levels([factors[name] for name in term.group])
        combinations, codes, levels = joined[term.group]
        coding = Coding(term.intercept, term.terms, levels_only=term.structure in SERIAL)
        basis, effects = _basis(coding, table, complete=True)
        count = taken.get(term.group_name, 0)
        taken[term.group_name] = count + 1
        design = RandomDesign(
            name=term.group_name if count == 0 else f"{term.group_name}.{count}",
            term=term,
            structure=term.structure,
            options=term.options,
            group=term.group,
            levels=levels,
            effects=effects,
            codes=codes,
            basis=basis,
            coding=coding,
            factors=tuple(factors[name] for name in term.group),
            combinations=combinations,
        )
        checked = not (term.structure == "known" or term.group_name in known_groups)
        warnings += _check(design, len(table), identified=checked and plain_residual)
        designs.append(design)
    warnings += _repeated(designs)
    return tuple(designs), warnings


def _levels(factors: Sequence[Factor]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    combinations, codes = combine(factors)
    if len(factors) == 1:
        return combinations, codes, factors[0].levels
    named = [[factor.levels[code] for code in combinations[:, j]] for j, factor in enumerate(factors)]
    return combinations, codes, tuple(":".join(level) for level in zip(*named, strict=True))


def _basis(coding: Coding, table: Table, *, complete: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the basis over the rows of `table` and the names of its effects."""
    values = coding.values(table)
    for text, value in values.items():
        if complete and not isinstance(value, Coded):
            check_finite(coding.variables[text].expression, value, table)
    n = len(table)
    blocks = coding.blocks(values, n)
    names = tuple(name for _, block_names in blocks for name in block_names)
    if not coding.intercept and len(blocks) == 1:
        return blocks[0][0], names
    if coding.intercept and not blocks:
        return np.ones((n, 1)), (INTERCEPT,)
    arrays = ([np.ones((n, 1))] if coding.intercept else []) + [block for block, _ in blocks]
    return np.hstack(arrays), ((INTERCEPT,) if coding.intercept else ()) + names


def _check(design: RandomDesign, n: int, *, identified: bool) -> list[str]:
    q, k = len(design.levels), len(design.effects)
    name = design.term.group_name
    if k == 0:
        raise DataError(
            f"The term {design.term.text} has no effects: its factor has one level.", hint="Leave the term out."
        )
    if q < 2:
        raise DataError(
            f"The grouping factor *{name}* of {design.term.text} has one level ({design.levels[0]}): "
            "a variance needs several.",
            hint="Leave the term out, or choose another grouping factor.",
        )
    if not identified:
        return []
    if q >= n and design.effects == (INTERCEPT,):
        raise DataError(
            f"The grouping factor *{name}* has {q} levels for {n} rows: its effects cannot be told from the residual.",
            hint=f"Leave {design.term.text} out; the residual is that variance.",
        )
    if k > 1 and q * k >= n:
        return [
            f"The term {design.term.text} has {q * k} random effects for {n} rows: "
            "its variances may not be separable from the residual's."
        ]
    return []


def _repeated(designs: Sequence[RandomDesign]) -> list[str]:
    plain = [design for design in designs if design.structure in ("us", "diag", "id")]
    warnings = []
    for place, later in enumerate(plain):
        for earlier in plain[:place]:
            if frozenset(earlier.group) != frozenset(later.group):
                continue
            both = [effect for effect in later.effects if effect in earlier.effects]
            if both and set(earlier.effects) == set(later.effects):
                raise FormulaError(
                    f"The random term {later.term.text} stands twice in the formula.", hint="Leave one of them out."
                )
            if both:
                warnings.append(
                    f"{earlier.term.text} and {later.term.text} both hold {', '.join(both)} for each level of "
                    f"{later.term.group_name}: only the sum of the two variances can be estimated."
                )
    return warnings
