"""The levels of a term as entries of a trial: which were tested, and the mean variance of a difference between two of them.

Over q levels with covariance C, the mean over all pairs of Var(u_i - u_j) = C_ii + C_jj - 2 C_ij is

    d(C) = 2 (tr C - 1'C 1 / q) / (q - 1)

With C = G it is the variance that a difference has before anything is observed, 2 vg of unrelated levels; with C = Var(u^ - u)
what is left of it. So neither C nor the pairs are ever formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import GroupedTerm
from openreml_core.covariance.kernel import related
from openreml_core.engines import Evaluation
from openreml_core.errors import DataError
from openreml_core.reml import Estimates


@dataclass(frozen=True, eq=False)
class Entries:
    """One effect of the levels of a term.

    Attributes
    ----------
    estimates : Estimates
    place : int
        Which random term.
    effect : int
        Which of its effects.
    """

    estimates: Estimates
    place: int
    effect: int = 0

    @cached_property
    def term(self) -> GroupedTerm:
        """The term; of one with a Z of single ones, as the same with its basis written out."""
        term = self.estimates.engine.model.terms[self.place]
        if isinstance(term, GroupedTerm):
            return term
        assert hasattr(term, "index") and hasattr(term, "codes")
        basis = torch.nn.functional.one_hot(term.index, term.structure.size).double()
        return GroupedTerm(term.name, term.structure, term.levels, term.codes, basis, term.kernel)

    @cached_property
    def rows(self) -> np.ndarray:
        """Rows that show the effect, (n,) bool."""
        return (self.term.basis[:, self.effect] != 0).numpy()

    @cached_property
    def counts(self) -> np.ndarray:
        """Rows of every level that show the effect, (q,)."""
        return np.bincount(self.term.codes.numpy()[self.rows], minlength=len(self.term.levels))

    @cached_property
    def tested(self) -> np.ndarray:
        """Levels that have such rows; of a relationship, others may be there too.

        Raises
        ------
        DataError
            Fewer than two.
        """
        found = np.flatnonzero(self.counts)
        if len(found) < 2:
            raise DataError(
                f"*{self.term.name}* has one level with data: a heritability is about differences of levels."
            )
        return found

    @cached_property
    def kernel(self) -> Tensor | None:
        """K among the tested levels."""
        if self.term.kernel is None:
            return None
        columns = torch.zeros(len(self.term.levels), len(self.tested), dtype=torch.float64)
        columns[self.tested, np.arange(len(self.tested))] = 1.0
        return related(self.term.kernel, columns)[self.tested]

    @cached_property
    def spread(self) -> float:
        """Half the mean variance of a difference in units of the effect's variance: 1 for unrelated levels."""
        if self.kernel is None:
            return 1.0
        return mean_difference(float(self.kernel.trace()), float(self.kernel.sum()), len(self.tested)) / 2

    @cached_property
    def inbreeding(self) -> float:
        """Mean of K_jj, 1 + F by pedigree; 1 for unrelated levels."""
        return 1.0 if self.kernel is None else float(self.kernel.diagonal().mean())

    def variance(self, at: Evaluation) -> float:
        """The effect's variance Sigma_aa over sigma2."""
        model = self.estimates.engine.model
        part = model.split(at.theta)[self.place]
        return float(self.term.structure.matrix(part)[self.effect, self.effect])


def prediction_errors(entries: Sequence[Entries], at: Evaluation) -> list[tuple[float, float]]:
    """For every effect of a term the mean of Var(u^_j - u_j) over its tested levels, and that of their differences."""
    estimates, place = entries[0].estimates, entries[0].place
    engine, model = estimates.engine, estimates.engine.model
    blocks = engine.random_effects(at)[place].prediction
    count = len(entries)
    together = [torch.zeros(len(t.levels), t.structure.size, count, dtype=torch.float64) for t in model.terms]
    for column, own in enumerate(entries):
        together[place][own.tested, own.effect, column] = 1.0
    totals = engine.prediction_covariance(at, torch.zeros(count, model.p, dtype=torch.float64), together).diagonal()
    out = []
    for own, total in zip(entries, totals.tolist(), strict=True):
        trace, q = float(blocks[own.tested, own.effect, own.effect].sum()), len(own.tested)
        out.append((trace / q, mean_difference(trace, total, q)))
    return out


def mean_difference(trace: float, total: float, q: int) -> float:
    """d(C) from tr C and 1'C 1."""
    return 2 * (trace - total / q) / (q - 1)
