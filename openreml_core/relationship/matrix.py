"""A relationship matrix K with the names of its rows, in the order that a random term wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from openreml_core.errors import DataError
from openreml_core.factorisation import SparseMatrix
from openreml_core.relationship.labels import a_few


@dataclass(frozen=True, eq=False)
class Relationship:
    """K, u ~ N(0, sigma^2 K).

    Attributes
    ----------
    labels : tuple of q str
        What rows and columns stand for.
    written : float64 array of shape (q, q) or None
        K, symmetric and positive definite (unless a singular one was asked for). None for large K known by their inverse.
    inverse : sparse array of shape (q, q) or None
        K^-1 where it is sparse (pedigrees).
    notices : tuple of str
        What was done to K or its sources.
    """

    labels: tuple[str, ...]
    written: np.ndarray | None = field(repr=False)
    inverse: sparse.csr_array | None = field(default=None, repr=False)
    notices: tuple[str, ...] = ()

    @cached_property
    def _factorised(self) -> SparseMatrix:
        assert self.inverse is not None
        return SparseMatrix(self.inverse)

    @property
    def matrix(self) -> np.ndarray:
        """K (q, q), computed from its inverse where it is not written out."""
        return self.corner(len(self.labels)) if self.written is None else self.written

    def corner(self, count: int) -> np.ndarray:
        """K of the first levels, (count, count)."""
        if self.written is not None:
            return self.written[:count, :count]
        unit = torch.eye(len(self.labels), count, dtype=torch.float64)
        corner = self._factorised.solve(unit)[:count].numpy()
        return (corner + corner.T) / 2

    def diagonal(self) -> np.ndarray:
        """K_jj, (q,)."""
        return self._factorised.inverse_diagonal.numpy() if self.written is None else self.written.diagonal()

    def ordered(self, levels: Sequence[str]) -> Relationship:
        """Return K with the rows of `levels` first, in that order, then the others in the order they have.

        Raises
        ------
        DataError
            Levels without a row, by name.
        """
        place = {label: k for k, label in enumerate(self.labels)}
        absent = [level for level in levels if level not in place]
        if absent:
            one = len(absent) == 1
            raise DataError(
                f"{'A level' if one else f'{len(absent):,} levels'} of the data {'has' if one else 'have'} no row in the "
                f"relationship matrix: {a_few(absent)}.",
                hint="Add them to the relationships, correct their spelling, or take them as related to none: "
                'relationship_matrix(..., absent="unrelated").',
            )
        first = [place[level] for level in dict.fromkeys(levels)]
        taken = set(first)
        order = np.array(first + [k for k in range(len(self.labels)) if k not in taken], dtype=np.int64)
        return replace(
            self,
            labels=tuple(self.labels[k] for k in order),
            written=None if self.written is None else self.written[np.ix_(order, order)],
            inverse=None if self.inverse is None else self.inverse[order][:, order],
        )

    def with_unrelated(self, labels: Sequence[str]) -> Relationship:
        """Return K with further rows that are related to none: the mean of the diagonal, and zeros."""
        if not labels:
            return self
        q, more = len(self.labels), len(labels)
        variance = float(self.diagonal().mean())
        matrix = None
        if self.written is not None:
            matrix = np.zeros((q + more, q + more))
            matrix[:q, :q] = self.written
            matrix[range(q, q + more), range(q, q + more)] = variance
        inverse = self.inverse
        if inverse is not None:
            inverse = sparse.block_diag([inverse, sparse.eye_array(more) / variance]).tocsr()
        what = "level of the data has no row" if more == 1 else "levels of the data have no row"
        taken = f"{more:,} {what} in the relationship matrix and {'is' if more == 1 else 'are'} taken as unrelated"
        notice = f"{taken}: {a_few(labels)}."
        return Relationship((*self.labels, *labels), matrix, inverse, (*self.notices, notice))
