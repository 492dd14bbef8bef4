"""Which random effects are eliminated first.

The equations of a mixed model have a block for each level of a grouping factor as soon as every effect in the blocks belongs
to one level of it: genotypes, and with them genotype by year, by site, by site and year; batches, and casks within batches.
Those effects (the *inner* ones) are eliminated level by level; the rest (the *border*: other terms, X, y) is solved densely.

    A = [ D  B ]    D = diag(D_1 ... D_G),    S = C - sum_j B_j' D_j^-1 B_j
        [ B' C ]

B_j has columns only for what level j meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openreml_core.covariance import KnownInverse, SmoothTerm
from openreml_core.engines.errors import Errors
from openreml_core.model import MixedModel, RandomPart

#: What an operation on small blocks costs, relative to one in a large dense matrix.
SMALL = 8.0


@dataclass(frozen=True, eq=False)
class Elimination:
    """The inner and the border columns of W.

    Attributes
    ----------
    cross : Errors
        Where N has entries.
    level : int64 array of shape (Q,)
        Which level a column is eliminated with, -1 for the border's.
    starts : int64 array of shape (T + 1,)
        Where each term's columns begin.
    sizes : tuple of int
        k of each term.
    """

    cross: Errors
    level: np.ndarray
    starts: np.ndarray
    sizes: tuple[int, ...]

    @cached_property
    def is_inner(self) -> np.ndarray:
        """Which columns are eliminated, (Q,)."""
        return self.level >= 0

    @cached_property
    def border(self) -> np.ndarray:
        """The border's columns in order: random effects, X, y."""
        return np.flatnonzero(~self.is_inner)

    @cached_property
    def inner_terms(self) -> tuple[int, ...]:
        """The terms that are eliminated."""
        return tuple(u for u in range(len(self.sizes)) if self.is_inner[self.starts[u]])

    @cached_property
    def border_place(self) -> np.ndarray:
        """Where each column stands in the border, (Q,)."""
        return np.cumsum(~self.is_inner) - 1

    @cached_property
    def meetings(self) -> np.ndarray:
        """Which border columns each level meets: level * Q + column, in order."""
        row, column = self.cross.row, self.cross.column
        side = self.is_inner[row] & ~self.is_inner[column]
        keys = np.sort(self.level[row[side]] * self.cross.size + column[side])  # np.unique's hashing takes much longer
        return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys

    @cached_property
    def is_valid(self) -> bool:
        """Whether levels meet through the border alone; a residual that is correlated across levels ties them together."""
        row, column = self.level[self.cross.row], self.level[self.cross.column]
        return bool(((row == column) | (row < 0) | (column < 0)).all())

    @property
    def cost(self) -> float:
        """Multiplications of one evaluation, about."""
        border = float(len(self.border))
        if not self.is_inner.any():
            return border**3
        b = np.bincount(self.level[self.is_inner]).astype(float)
        m = np.bincount(self.meetings // self.cross.size, minlength=len(b)).astype(float)
        return float(SMALL * (b**3 + b**2 * m + b * m**2).sum() + border**3)


def one_by_one(term: RandomPart) -> bool:
    """Whether a row belongs to one level of a term, and levels are unrelated: then nothing couples them but the border."""
    return term.kernel is None and not isinstance(term, SmoothTerm)


def choose_elimination(model: MixedModel, cross: Errors, term: int | None = None) -> Elimination:
    """The cheapest elimination, or the one by the levels of ``term`` where that can be."""
    sizes = tuple(t.structure.size for t in model.terms)
    starts = np.cumsum([0] + [len(t.levels) * k for t, k in zip(model.terms, sizes, strict=True)])
    nothing = Elimination(cross, np.full(cross.size, -1, dtype=np.int64), starts, sizes)
    candidates = [u for u, t in enumerate(model.terms) if one_by_one(t) and term in (u, None)]
    # The finer the grouping, the smaller the border it leaves: those of few levels are seldom worth a look.
    candidates = sorted(candidates, key=lambda u: -len(model.terms[u].levels))[:4]
    options = [Elimination(cross, _nested(model, nothing, u), starts, sizes) for u in candidates]
    valid = [option for option in options if option.is_valid]
    if term is None or not valid:
        valid.append(nothing)
    return min(valid, key=lambda e: e.cost)


def eliminate_together(model: MixedModel, cross: Errors) -> Elimination:
    """All terms in one sparse factor but those with a dense Z or a dense relationship: every inner column its own level."""
    sizes = tuple(t.structure.size for t in model.terms)
    starts = np.cumsum([0] + [len(t.levels) * k for t, k in zip(model.terms, sizes, strict=True)])
    level = np.full(cross.size, -1, dtype=np.int64)
    for u in together(model):
        level[starts[u] : starts[u + 1]] = np.arange(starts[u], starts[u + 1])
    return Elimination(cross, level, starts, sizes)


def together(model: MixedModel) -> tuple[int, ...]:
    """The terms that a sparse factor can take: unrelated levels, or a relationship known by its sparse inverse."""
    return tuple(u for u, t in enumerate(model.terms) if one_by_one(t) or isinstance(t.kernel, KnownInverse))


def _nested(model: MixedModel, plain: Elimination, t: int) -> np.ndarray:
    """For every column of W the level of term t that it belongs to, -1 for the border's."""
    cross, starts, sizes = plain.cross, plain.starts, plain.sizes
    out = np.full(cross.size, -1, dtype=np.int64)
    own = slice(starts[t], starts[t + 1])
    out[own] = np.repeat(np.arange(len(model.terms[t].levels)), sizes[t])
    others = [u for u, term in enumerate(model.terms) if u != t and one_by_one(term)]
    if not others:
        return out
    # Of all effects: a level may meet another by its later ones alone, as a genotype does that was seen in one county only.
    beside = (cross.column >= own.start) & (cross.column < own.stop)
    row, level = cross.row[beside], (cross.column[beside] - own.start) // sizes[t]
    for u in others:
        mine = (row >= starts[u]) & (row < starts[u + 1])
        which, met = (row[mine] - starts[u]) // sizes[u], level[mine]
        alone = np.full(len(model.terms[u].levels), -1, dtype=np.int64)
        alone[which] = met
        if (alone >= 0).all() and (alone[which] == met).all():  # every level of u meets one level of t
            out[starts[u] : starts[u + 1]] = np.repeat(alone, sizes[u])
    return out
