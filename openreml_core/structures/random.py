"""Random terms: from the design of one to its share of V, Z (Sigma (x) K) Z'."""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import (
    Diagonal,
    GroupedTerm,
    Independent,
    KnownInverse,
    PlacedTerm,
    ScaledCorrelation,
    SmoothTerm,
    Structure,
)
from openreml_core.design import RandomDesign
from openreml_core.design.effects import Effects, Product
from openreml_core.design.positions import Positions
from openreml_core.errors import FormulaError
from openreml_core.model import RandomPart
from openreml_core.notation import RandomTerm
from openreml_core.relationship import Relationship
from openreml_core.structures.named import Factor, Levels, product, whole_numbers

_LEVEL = re.compile(r"\[(?:[A-Z]\.)?(.*)\]$")


def random_term(random: RandomDesign, relationship: Relationship | None = None) -> RandomPart:
    """The share of V of a random term.

    Parameters
    ----------
    random : RandomDesign
    relationship : Relationship, optional
        Known covariance of its levels.

    Raises
    ------
    FormulaError
        A structure that needs more effects or rows than the term has, or ``known`` without a relationship.
    """
    levels, kernel = levels_and_kernel(random, relationship)
    structure = random_structure(random, len(random.codes))
    codes = torch.from_numpy(np.array(random.codes, dtype=np.int64))
    if random.index is not None:
        index, seen_only = torch.from_numpy(random.index), isinstance(random.left, Positions)
        return PlacedTerm(random.name, structure, levels, codes, index, kernel, everywhere=not seen_only)
    basis = torch.from_numpy(np.array(random.basis, dtype=np.float64))
    if random.term.is_smooth and not random.group:
        return SmoothTerm(random.name, structure, random.effects, basis)
    return GroupedTerm(random.name, structure, levels, codes, basis, kernel)


def levels_and_kernel(
    random: RandomDesign, relationship: Relationship | None
) -> tuple[tuple[str, ...], Tensor | KnownInverse | None]:
    """A term's levels, those of the data first, and their known covariance K (q, q)."""
    if relationship is not None:
        relationship = relationship.ordered(tuple(random.levels))
        return relationship.labels, _kernel(relationship)
    if random.structure == "known":
        group = ":".join(random.group)
        raise FormulaError(
            f"The term {random.term.text} needs the covariance of the levels of *{group}*, which is not given.",
            hint=f'Give it as relationship={{"{group}": A}}, or write (1 | {group}).',
        )
    return tuple(random.levels), None


def _kernel(relationship: Relationship) -> Tensor | KnownInverse:
    """K as engines take it: by its sparse inverse where that is known."""
    written = None
    if relationship.written is not None:
        written = torch.from_numpy(np.array(relationship.written, dtype=np.float64))
    if relationship.inverse is not None:
        return KnownInverse(relationship.inverse, written)
    assert written is not None
    return written


def random_structure(random: RandomDesign, rows: int) -> Structure:
    """Sigma of a random term over so many rows, by the name its formula gives it."""
    term = random.term
    try:
        structure = _structure(random, rows)
    except ValueError as error:
        raise FormulaError(
            f"The term {term.text} cannot have the structure {term.structure}: {error}.",
            hint="Ask for fewer factors or a lower order.",
        ) from None
    if structure.n_parameters > rows:
        _refuse(random, structure.n_parameters, rows)
    return structure


def _structure(random: RandomDesign, rows: int) -> Structure:
    term, k = random.term, len(random.effects)
    if term.is_smooth:
        # One variance for all effects of a spline; without a grouping they count as levels, in GroupedTerm they do not.
        many = ScaledCorrelation(random.effects, Independent(k))
        structure: Structure = many if random.group else Diagonal([""])
        structure.keyword = term.structure
        return structure
    product_of = random.left.parts if isinstance(random.left, Product) else (random.left,)
    parts = list(zip(term.parts or (term,), product_of, strict=True))
    for part, left in parts:
        # A matrix with a parameter for every pair is not even made where there cannot be enough rows.
        size = len(left.names)
        if part.structure in ("us", "known") and size * (size + 1) // 2 > rows:
            _refuse(random, size * (size + 1) // 2, rows)
    if isinstance(random.left, Product):
        factors = [_factor(part, left, f"{part.text}.") for part, left in parts]
        places = [torch.from_numpy(place) for place in random.left.places]
        return product(factors, random.effects, places, term.text)
    return _factor(term, random.left).structure()


def _refuse(random: RandomDesign, count: int, rows: int) -> NoReturn:
    raise FormulaError(
        f"The term {random.term.text} has {len(random.effects):,} effects and so {count:,} variance parameters; "
        f"there are {rows:,} rows.",
        hint="Leave factors of many levels right of the bar, or give the term a structure with fewer parameters.",
    )


def _factor(term: RandomTerm, left: Effects, prefix: str = "") -> Factor:
    def coordinates() -> Tensor:
        assert isinstance(left, Positions)
        return torch.from_numpy(left.coordinates)

    levels = Levels(left.names, lambda: _effect_positions(left.names), coordinates)
    return Factor(term.structure, dict(term.options), levels, prefix)


def _effect_positions(effects: tuple[str, ...]) -> Tensor:
    """Places of a term's effects on a line: their numbers where the levels are whole numbers, else their order."""
    levels = [found.group(1) if (found := _LEVEL.search(e)) else "" for e in effects]
    try:
        numbers = [float(level) for level in levels]
    except ValueError:
        numbers = []
    if numbers and all(v.is_integer() for v in numbers):
        return torch.tensor([int(v) for v in numbers])
    return whole_numbers(len(effects))
