"""Random terms to level codes and a basis: row i of Z has ``basis[i]`` at level ``codes[i]``, or a 1 at place ``index[i]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openreml_core.design.coding import Coding
from openreml_core.design.columns import Factor, as_factor, combine, match_levels
from openreml_core.design.effects import INTERCEPT, Columns, Effects, Product
from openreml_core.design.positions import Positions
from openreml_core.design.spline import SmoothingSpline
from openreml_core.design.surface import surface_parts
from openreml_core.design.table import Table
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation.bars import RandomTerm
from openreml_core.notation.expression import Expression
from openreml_core.notation.structures import SERIAL, SPATIAL
from openreml_core.notation.tokens import quote

#: Elements of a term's matrices, levels x effects x effects, that find room.
MAX_ELEMENTS = 50_000_000


@dataclass(frozen=True, eq=False)
class RandomDesign:
    """A random term over the rows of a table.

    Parameters
    ----------
    name : str
        ``"gen"``, ``"rep:block"``, ``"spl(x)"``; a second term on the same grouping is ``"gen.1"``.
    term : RandomTerm
    structure : str
        The covariance of a level's effects.
    options : tuple of (name, value)
    group : tuple of str
        The grouping columns; none for a spline without a bar.
    levels : tuple of q str
        The combinations that occur, ``"R1:B1"``, in the order of the factors; ``("",)`` without a grouping.
    effects : tuple of k str
        ``"(Intercept)"``, ``"Days"``, ``"Machine[T.B]"``.
    codes : int64 array of shape (n,)
    basis : float64 array of shape (n, k)
        Without columns where rows have an ``index``.
    left : Effects
        What stands left of the bar, as learned from these rows.
    index : int64 array of shape (n,), optional
        For a spatial term, whose effects are positions, or a product of factors: which of them each row has.
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
    left: Effects = field(repr=False, compare=False)
    factors: tuple[Factor, ...] = field(repr=False, compare=False)
    combinations: np.ndarray = field(repr=False, compare=False)
    index: np.ndarray | None = field(default=None, repr=False)

    def matrix(self, newdata: Table) -> tuple[np.ndarray, np.ndarray]:
        """Return codes (-1 for a level that the fit has not seen) and basis over the rows of `newdata`.

        A row at a position that the fit has not seen is NaN, as one with a value missing is.
        """
        return self.level_codes(newdata), self.left.basis(newdata)

    def level_codes(self, newdata: Table) -> np.ndarray:
        """Return the level of each row of `newdata`, int64 (m,); -1 where the fit has not seen it or it is missing."""
        found = [
            match_levels(newdata.column(name, self.term.text), factor.levels)
            for name, factor in zip(self.group, self.factors, strict=True)
        ]
        if not found:
            codes = np.zeros(len(newdata), dtype=np.int64)
        elif len(found) == 1:
            codes = found[0].codes
        else:
            table = {tuple(row): code for code, row in enumerate(self.combinations.tolist())}
            rows = np.column_stack([factor.codes for factor in found]).tolist()
            codes = np.array([table.get(tuple(row), -1) for row in rows], dtype=np.int64)
        return codes


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
    joined: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray, tuple[str, ...]]] = {
        (): (np.zeros((1, 0), dtype=np.int64), np.zeros(len(table), dtype=np.int64), ("",))
    }
    taken: dict[str, int] = {}
    designs: list[RandomDesign] = []
    warnings: list[str] = []
    for term in terms:
        for name in term.group:
            if name not in factors:
                factors[name] = as_factor(table.column(name, term.text))
        if term.group not in joined:
            joined[term.group] = _levels([factors[name] for name in term.group])
        combinations, codes, levels = joined[term.group]
        for label, left in _sides(term, table):
            count = taken.get(label, 0)
            taken[label] = count + 1
            index = left.index if isinstance(left, Positions) else None
            basis = np.empty((len(table), 0)) if index is not None else left.basis(table)
            if isinstance(left, Product) and _one_each(basis):
                index, basis = basis.argmax(axis=1), basis[:, :0]
            design = RandomDesign(
                name=label if count == 0 else f"{label}.{count}",
                term=term,
                structure=term.structure,
                options=term.options,
                group=term.group,
                levels=levels,
                effects=left.names,
                codes=codes,
                basis=basis,
                left=left,
                factors=tuple(factors[name] for name in term.group),
                combinations=combinations,
                index=index,
            )
            checked = not (term.structure == "known" or term.group_name in known_groups)
            warnings += check_term(design, len(table), identified=checked and plain_residual)
            designs.append(design)
    warnings += repeated_terms(designs) + _level_and_slope(terms)
    return tuple(designs), warnings


def _sides(term: RandomTerm, table: Table) -> list[tuple[str, Effects]]:
    """Return the names of a term's random parts, five of a surface, and what stands left of the bar in each."""
    if term.structure == "spl2d":
        return [(f"{term.name}: {part.label}", part) for part in surface_parts(term, table)]
    if term.structure == "spl":
        knots = dict(term.options).get("knots")
        spline = SmoothingSpline(term.positions[0], term.text, table, None if knots is None else int(knots))
        return [(term.name, spline)]
    if term.parts:
        # Bare columns of a product are factors; with an intercept written, numbers are covariates.
        return [(term.name, Product([_left(part, table, levels_only=not part.intercept) for part in term.parts]))]
    return [(term.name, _left(term, table, levels_only=term.structure in SERIAL))]


def _left(term: RandomTerm, table: Table, *, levels_only: bool) -> Effects:
    if term.structure in SPATIAL:
        return Positions(term.positions, term.text, table, aniso=bool(term.option("aniso", False)))
    return Columns(Coding(term.intercept, term.terms, levels_only=levels_only), table)


def _one_each(basis: np.ndarray) -> bool:
    """Whether every row has one of the effects, whole."""
    return bool(((basis == 1).sum(axis=1) == 1).all() and ((basis != 0).sum(axis=1) == 1).all())


def _levels(factors: Sequence[Factor]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    combinations, codes = combine(factors)
    if len(factors) == 1:
        return combinations, codes, factors[0].levels
    named = [[factor.levels[code] for code in combinations[:, j]] for j, factor in enumerate(factors)]
    return combinations, codes, tuple(":".join(level) for level in zip(*named, strict=True))


def check_term(design: RandomDesign, n: int, *, identified: bool) -> list[str]:
    """Refuse a term that n rows do not carry; return what the user should be told."""
    q, k = len(design.levels), len(design.effects)
    name, term = design.term.group_name, design.term
    if k == 0:
        raise DataError(f"The term {term.text} has no effects: its factor has one level.", hint="Leave the term out.")
    if q * k * k > MAX_ELEMENTS:
        raise DataError(
            f"The term {term.text} has {q:,} levels of {k:,} effects each: too large to hold.",
            hint="Count positions from each level's own corner, so that levels share them." if design.index is not None
            else "Leave factors of many levels right of the bar.",
        )  # fmt: skip
    if term.is_smooth:
        return []
    if q < 2 and not _learns_within(term, k):
        raise DataError(
            f"The grouping factor *{name}* of {term.text} has one level ({design.levels[0]}): "
            "a variance needs several.",
            hint="Leave the term out, or choose another grouping factor.",
        )
    if not identified:
        return []
    if q >= n and design.effects == (INTERCEPT,):
        raise DataError(
            f"The grouping factor *{name}* has {q} levels for {n} rows: its effects cannot be told from the residual.",
            hint=f"Leave {term.text} out; the residual is that variance.",
        )
    if k > 1 and q * k >= n and not isinstance(design.left, Positions):
        return [
            f"The term {term.text} has {q * k} random effects for {n} rows: "
            "its variances may not be separable from the residual's."
        ]
    return []


def _learns_within(term: RandomTerm, k: int) -> bool:
    """Whether a single level tells the parameters: its many effects are correlated by order or distance, of one variance."""
    if term.parts:
        return any(_learns_within(part, k) for part in term.parts)
    return k > 2 and term.structure in (SERIAL | SPATIAL) and term.structure in ("ar1", "ar2", *_ONE_VARIANCE)


_ONE_VARIANCE = tuple(name for name in SPATIAL if not name.endswith("h"))


def _level_and_slope(terms: Sequence[RandomTerm]) -> list[str]:
    """Say where a spline bends the curves of levels that have no level and slope of their own."""
    warnings = []
    for term in terms:
        if term.structure == "spl" and term.group:
            (x,) = term.positions
            others = [
                t for t in terms if t.group == term.group and t.intercept and (x,) in [f.names for f in _single(t)]
            ]
            if not others:
                warnings.append(
                    f"{term.text} lets the curves of {term.group_name} bend apart but gives them one level and slope; "
                    f"({quote(x)} | {':'.join(map(quote, term.group))}) beside it gives each its own."
                )
    return warnings


def _single(term: RandomTerm) -> list[Expression]:
    return [factors[0] for factors in term.terms if len(factors) == 1]


def repeated_terms(designs: Sequence[RandomDesign]) -> list[str]:
    """Refuse a term that stands twice; return what the user should be told of terms that overlap."""
    plain = [design for design in designs if design.structure in ("us", "diag", "id")]
    smooth = [design.name for design in designs if design.term.is_smooth]
    for design in designs:
        if design.term.is_smooth and f"{design.name}.1" in smooth:
            raise FormulaError(f"{design.term.text} stands twice in the formula.", hint="Leave one of them out.")
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
