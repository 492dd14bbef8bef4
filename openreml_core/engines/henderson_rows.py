"""P at single rows from the mixed-model equations, without a matrix of size n x n.

Symbols as in henderson.py, W = [Z X] here; h stands for R^-1 W by rows:

    P_ii = (R^-1)_ii - h_i'M h_i,      P_JJ = (R^-1)_JJ - h_J M h_J',      Y = R^-1 W x, x b's columns of M

Where R is diagonal h_i'M h_i needs M only where columns meet in a row, which is the pattern of N; where R has blocks, only where
columns meet in a block, which is its pattern too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.covariance import IndependentResidual, SmoothTerm
from openreml_core.engines.block_errors import BlockErrors, SolvedBlocks
from openreml_core.engines.crossproducts import wide_design
from openreml_core.engines.equations import HendersonEvaluation
from openreml_core.engines.henderson import HendersonEngine

#: Elements that are gathered at once.
AT_ONCE = 2**22


class HendersonRows:
    """See :class:`openreml_core.engines.rows.Rows`."""

    def __init__(self, engine: HendersonEngine, at: HendersonEvaluation) -> None:
        self.engine, self.at, self.model = engine, at, engine.model
        blocked = isinstance(engine.errors, BlockErrors)
        self._r: Blocks | Weights = Blocks(engine, at) if blocked else Weights(engine, at)

    @cached_property
    def _design(self) -> sparse.csr_array:
        """[Z X y], (n, Q + 1)."""
        return wide_design(self.model)

    @cached_property
    def _solved_design(self) -> sparse.csr_array:
        """R~^-1 W, (n, Q)."""
        return self._r.solved_design(self._design[:, :-1])

    @cached_property
    def py(self) -> Tensor:
        residual = torch.from_numpy(self._design @ self.at.e.numpy())
        return self._r.solve(residual[:, None])[:, 0] / self.at.sigma2

    @cached_property
    def beta_weights(self) -> Tensor:
        x = self.engine.places.whole(*self.engine.beta_columns(self.at))
        return self._r.solve(torch.from_numpy(self._design[:, :-1] @ x[:-1].numpy()))

    @property
    def diagonal(self) -> Tensor:
        return (self._r.diagonals[0] / self.at.sigma2).clamp_min(0)

    @property
    def left(self) -> Tensor:
        return self._r.diagonals[1]

    @property
    def both(self) -> Tensor:
        return (self._r.diagonals[2] * self.at.sigma2).clamp_min(0)

    def residual_times(self, w: Tensor) -> Tensor:
        return self.at.sigma2 * self._r.times(w)

    def times(self, w: Tensor) -> Tensor:
        equations, places, h = self.at.equations, self.engine.places, self._solved_design
        g = torch.from_numpy(h.T @ w.numpy())
        g_c, g_b = places.parted(torch.nn.functional.pad(g, (0, 0, 0, 1)))
        local, carried = equations.inner.reduce(g_c)
        x_b = self.at.t[:-1, :-1] @ (g_b - carried)
        x = places.whole(local + equations.inner.back(x_b), x_b)
        return (self._r.solve(w) - torch.from_numpy(h @ x[:-1].numpy())) / self.at.sigma2

    def among(self, rows: Tensor) -> Tensor:
        h = torch.from_numpy(self._solved_design[rows.numpy()].toarray().T)
        g_c, g_b = self.engine.places.parted(torch.nn.functional.pad(h, (0, 0, 0, 1)))
        return (self._r.among(rows) - self.engine.quadratic(self.at.equations, g_c, g_b)) / self.at.sigma2


class Weights:
    """A diagonal R, relative to sigma2."""

    def __init__(self, engine: HendersonEngine, at: HendersonEvaluation) -> None:
        self.engine, self.at, model = engine, at, engine.model
        self.variance = torch.zeros(model.n, dtype=torch.float64)
        for part, sigma in zip(model.residuals, model.relative(at.theta)[len(model.terms) :], strict=True):
            assert isinstance(part, IndependentResidual)
            self.variance += sigma[0, 0] * part.variance

    def solve(self, w: Tensor) -> Tensor:
        return w / self.variance[:, None]

    def times(self, w: Tensor) -> Tensor:
        return w * self.variance[:, None]

    def solved_design(self, design: sparse.csr_array) -> sparse.csr_array:
        return sparse.csr_array(design.multiply(1 / self.variance.numpy()[:, None]))

    def among(self, rows: Tensor) -> Tensor:
        return torch.diag(1 / self.variance[rows])

    @cached_property
    def diagonals(self) -> tuple[Tensor, Tensor, Tensor]:
        """P~_ii, (R P)_ii, (R~ P~ R~)_ii."""
        held = self.variance - self._held()
        return held / self.variance.square(), held / self.variance, held

    def _held(self) -> Tensor:
        """w_i'M w_i of every row, (n,): terms whose rows meet a few columns by M's pattern, the others and X densely."""
        engine, at, model, places = self.engine, self.at, self.engine.model, self.engine.places
        smooth = [u for u, term in enumerate(model.terms) if isinstance(term, SmoothTerm)]
        sparse_terms = [u for u in range(len(model.terms)) if u not in smooth]
        dense = torch.cat([*(model.terms[u].incidence[1] for u in smooth), model.X], dim=1)
        columns = torch.cat(
            [
                *(places.of_term[u].reshape(-1) for u in smooth),
                torch.arange(engine.border.random, engine.border.width - 1),
            ]
        )
        of_border = at.t[:-1, columns]
        out = ((dense @ of_border[columns]) * dense).sum(dim=1)
        across = places.by_level(at.equations.inner.back(of_border), of_border)
        for u in sparse_terms:
            out += 2 * (model.terms[u].spread(across[u]) * dense).sum(dim=1)
        if sparse_terms:
            found = [model.terms[u].incidence for u in sparse_terms]
            starts = np.cumsum([0, *(len(t.levels) * t.structure.size for t in model.terms)])
            own = torch.cat([c + int(starts[u]) for u, (c, _) in zip(sparse_terms, found, strict=True)], dim=1)
            values = torch.cat([v for _, v in found], dim=1)
            pattern = at.equations.inner.on_pattern(at.t)
            step = max(AT_ONCE // own.shape[1] ** 2, 1)
            for start in range(0, model.n, step):
                here = slice(start, start + step)
                m = self._entries(own[here].numpy(), pattern)
                out[here] += torch.einsum("na,nab,nb->n", values[here], m, values[here])
        return out

    def _entries(self, columns: np.ndarray, pattern: Tensor) -> Tensor:
        """M (m, c, c) between the columns (m, c) of W that each of some rows meets."""
        levels, places = self.engine.levels, self.engine.places
        count, width = columns.shape
        row = np.repeat(columns, width, axis=1).reshape(-1)
        column = np.tile(columns, (1, width)).reshape(-1)
        inner, place = places.is_inner.numpy(), places.place.numpy()
        out = np.empty(len(row))
        border = ~inner[row] & ~inner[column]
        out[border] = self.at.t.numpy()[place[row[border]], place[column[border]]]
        a, b = row[~border], column[~border]
        first = inner[a]
        a, b = np.where(first, a, b), np.where(first, b, a)
        where = levels.targets(a, b)
        image = where >= levels.entries
        where[image] = levels.targets(b[image], a[image])
        out[~border] = pattern.numpy()[where]
        return torch.from_numpy(out.reshape(count, width, width))


@dataclass(frozen=True, eq=False)
class Portion:
    """Blocks of R that are alike.

    Attributes
    ----------
    rows : Tensor of shape (G, m), int64
    r, inverse : Tensor of shape (m, m)
        R~ and its inverse.
    columns, design : Tensor of shape (G, c), int64, and (G, m, c)
        The columns of W that they meet, and W there.
    m : Tensor of shape (G, c, c)
        M there, where it is asked for.
    """

    rows: Tensor
    r: Tensor
    inverse: Tensor
    columns: Tensor
    design: Tensor
    m: Tensor


class Blocks:
    """R block diagonal, relative to sigma2."""

    def __init__(self, engine: HendersonEngine, at: HendersonEvaluation) -> None:
        self.engine, self.at = engine, at
        assert isinstance(at.equations.errors, SolvedBlocks)
        self.solved = at.equations.errors

    def _portions(self, with_m: bool = False) -> Iterator[Portion]:
        model = self.engine.model
        sigmas = model.relative(self.at.theta)[len(model.terms) :]
        nothing = torch.zeros(0, dtype=torch.float64)
        m = self.engine._on_pattern(self.at.equations, self.at.t) if with_m else nothing
        for shape, inverse in zip(self.solved.errors.shapes, self.solved.inverse, strict=True):
            r = torch.stack([s.spread(sigmas[s.part], shape.rows) for s in shape.shares]).sum(dim=0)
            for batch in shape.batches:
                count, c = batch.columns.shape
                own = m[batch.entries].reshape(count, c, c) if with_m else nothing
                yield Portion(batch.rows, r, inverse, batch.columns, batch.design, own)

    def _by_block(self, w: Tensor, inverse: bool) -> Tensor:
        out = torch.empty_like(w)
        for portion in self._portions():
            out[portion.rows] = (portion.inverse if inverse else portion.r) @ w[portion.rows]
        return out

    def solve(self, w: Tensor) -> Tensor:
        return self._by_block(w, inverse=True)

    def times(self, w: Tensor) -> Tensor:
        return self._by_block(w, inverse=False)

    def solved_design(self, design: sparse.csr_array) -> sparse.csr_array:
        rows, columns, values = [], [], []
        width = design.shape[1]
        for portion in self._portions():
            own = portion.inverse @ portion.design
            kept = (portion.columns < width)[:, None, :].expand(own.shape)
            rows.append(portion.rows[:, :, None].expand(own.shape)[kept].numpy())
            columns.append(portion.columns[:, None, :].expand(own.shape)[kept].numpy())
            values.append(own[kept].numpy())
        places = (np.concatenate(rows), np.concatenate(columns))
        return sparse.csr_array((np.concatenate(values), places), shape=design.shape)

    @cached_property
    def _where(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Of every row its block and its place there; every block's inverse."""
        n = self.engine.model.n
        block, place = torch.zeros(2, n, dtype=torch.int64)
        inverses: list[Tensor] = []
        for portion in self._portions():
            count, m = portion.rows.shape
            block[portion.rows] = len(inverses) + torch.arange(count)[:, None]
            place[portion.rows] = torch.arange(m)
            inverses += [portion.inverse] * count
        return block, place, inverses

    def among(self, rows: Tensor) -> Tensor:
        block, place, inverses = self._where
        out = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for own in block[rows].unique().tolist():
            mine = (block[rows] == own).nonzero()[:, 0]
            at = place[rows[mine]]
            out[mine[:, None], mine] = inverses[own][at[:, None], at]
        return out

    @cached_property
    def diagonals(self) -> tuple[Tensor, Tensor, Tensor]:
        """P~_ii, (R P)_ii, (R~ P~ R~)_ii."""
        p, rp, rpr = torch.empty(3, self.engine.model.n, dtype=torch.float64)
        for portion in self._portions(with_m=True):
            count, m = portion.rows.shape
            step = max(AT_ONCE // m**2, 1)
            for start in range(0, count, step):
                here = slice(start, start + step)
                h = portion.inverse @ portion.design[here]
                inside = portion.inverse - h @ portion.m[here] @ h.mT
                left = portion.r @ inside
                p[portion.rows[here]] = inside.diagonal(dim1=1, dim2=2)
                rp[portion.rows[here]] = left.diagonal(dim1=1, dim2=2)
                rpr[portion.rows[here]] = (left * portion.r).sum(dim=2)
        return p, rp, rpr
