"""A tree of matrices as the whole of V: the component that an engine evaluates, its parameters those of the tree.

The frame is the identity: what a matrix M (n, n) is to the tree, <M, dV / d theta>, the tree answers in one reverse sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.components import columns
from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.structure import NaturalParameter, Structure


class TreeStructure(Structure):
    """A tree as a structure: theta its free values, the natural parameters by path.

    Parameters
    ----------
    tree : Matrix
        Square.
    start : Tensor of shape (m,)
        Free values to start from, whose sizes are typical of the parameters.
    """

    keyword = "tree"

    def __init__(self, tree: Matrix, start: Tensor) -> None:
        super().__init__(tree.shape[0])
        self.root, self._start = tree, start
        self.paths = tree.free_names
        self.own = [tree.parameters[path] for path in self.paths]
        #: 1 where V is linear in variances and covariances that are free as deviations, 1/2 elsewhere.
        linear = all(p.kind == "covariance" or p.is_deviation for p in self.own)
        self.curvature_weight = 1.0 if linear else 0.5
        self._ranks: dict[int, int] = {}

    @property
    def n_parameters(self) -> int:
        return len(self.own)

    @property
    def natural(self) -> tuple[NaturalParameter, ...]:
        pairs = zip(self.paths, self.own, strict=True)
        return tuple(NaturalParameter(p.kind, path, label=path, scales=p.degree > 0) for path, p in pairs)

    def start(self, scale: Tensor) -> Tensor:
        return self._start

    def _by_node(self, ask: Callable[[Matrix, Tensor, Tensor], Any], theta: Tensor) -> list[Any]:
        """What every node answers, given its own parameters at theta and at the start; for those that are not fixed."""
        parts, starts, out = self.root._parted(theta), self.root._parted(self._start), []
        for node in self.root.nodes().values():
            if node._own:
                answers = ask(node, parts[id(node)], starts[id(node)])
                out += [answer for answer, p in zip(answers, node._own, strict=True) if not p.fixed]
        return out

    def typical(self, scale: Tensor) -> Tensor:
        return torch.stack(self._by_node(lambda node, _, start: node.own_sizes(start), self._start)).clamp_min(1e-300)

    def bounds(self) -> tuple[Tensor, Tensor]:
        lower, upper = [], []
        for p in self.own:
            low, high = p.free_bounds()
            lower.append(low)
            upper.append(high)
        return torch.tensor(lower, dtype=torch.float64), torch.tensor(upper, dtype=torch.float64)

    def matrix(self, theta: Tensor) -> Tensor:
        try:
            return self.root._evaluate(theta, {})
        except (ValueError, ArithmeticError, torch.linalg.LinAlgError):
            # Where the tree has no value a step must not lead; the engine takes what is no number as not positive definite.
            return torch.full((self.size, self.size), torch.nan, dtype=torch.float64)

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        return self.root.derivatives(theta)

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        return self.root.gradient(theta, m)

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        return self.root.curvature(theta, m)

    def natural_values(self, theta: Tensor) -> Tensor:
        found = torch.cat(self.root._naturals(theta))
        return found[torch.tensor([not p.fixed for p in self.root.parameters.values()], dtype=torch.bool)]

    def from_natural(self, values: Tensor) -> Tensor:
        return self.root.theta(dict(zip(self.paths, values.tolist(), strict=True)))

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        return self.root.natural_derivatives(theta)

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        return tuple(self._by_node(lambda node, x, start: node.own_marks(x, start, tolerance), theta))

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        return any(self.boundary(theta, scale, tolerance))

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        return torch.stack(self._by_node(lambda node, x, start: node.own_settled(x, start, tolerance), theta))

    def em_update(self, theta: Tensor, sigma: Tensor) -> Tensor | None:
        """For V = sum_k s_k K_k with fixed K_k:  s_k <- s_k + (2 / rank K_k) s_k^2 <S, K_k>.

        ``sigma`` is V + 2 V S V.
        """
        if not all(p.kind == "variance" and p.is_deviation for p in self.own):
            return None
        v, values = self.matrix(theta), self.natural_values(theta)
        kernels = list(self.natural_derivatives(theta))
        there = self.matrix(2 * theta)  # variances four times as large: a V linear in them, and nothing else in it, too
        if not torch.allclose(there, 4 * v, rtol=1e-9, atol=0) or not torch.allclose(
            sum((s * k for s, k in zip(values, kernels, strict=True)), torch.zeros_like(v)), v, rtol=1e-9, atol=1e-300
        ):
            return None
        s = torch.linalg.solve(v, torch.linalg.solve(v, (sigma - v) / 2).T)
        new = [
            x + 2 / self._rank(i, k) * x * x * (s * k).sum()
            for i, (x, k) in enumerate(zip(values, kernels, strict=True))
        ]
        return self.from_natural(torch.stack(new).clamp_min(0))

    def _rank(self, place: int, kernel: Tensor) -> int:
        """The rank of a K_k, which stays what it is."""
        if place not in self._ranks:
            self._ranks[place] = int(torch.linalg.matrix_rank(kernel, hermitian=True))
        return self._ranks[place]

    def restarts(self, theta: Tensor, sizes: Sequence[float], whole: bool) -> list[Tensor]:
        """Other starts where a variance has ended at zero: deviations of other sizes, what is diagonal in V left alone.

        Parameters
        ----------
        theta : Tensor of shape (m,)
            Where the search ended.
        sizes : sequence of float
            Sizes to try: at 1 a parameter alone adds as much to the average row as its part of V does at the start.
        whole : bool
            Whether every combination is asked for, or one deviation at a time of those that ended at zero.
        """
        marks = self.boundary(theta, torch.ones(self.size, dtype=torch.float64))
        if not any(p.is_deviation and mark == "at zero" for p, mark in zip(self.own, marks, strict=True)):
            return []
        share = float(self.matrix(self._start).diagonal().mean()) / len(self.own)
        units: dict[int, float] = {}
        for i, (p, slope) in enumerate(zip(self.own, self.natural_derivatives(self._start), strict=True)):
            diagonal = float(slope.diagonal().mean())
            if p.is_deviation and diagonal > 0 and bool((slope != torch.diag(slope.diagonal())).any()):
                units[i] = (share / diagonal) ** 0.5
        if whole and len(units) <= 3:
            grid = [dict(zip(units, factors, strict=True)) for factors in product(sizes, repeat=len(units))]
        else:
            grid = [{i: size} for i in units if marks[i] == "at zero" for size in sizes]
        out = []
        for factors in grid:
            start = self._start.clone()
            for i, factor in factors.items():
                start[i] = units[i] * factor
            out.append(start)
        return out


class WholeCovariance:
    """V itself as a component of a model.

    Parameters
    ----------
    tree : Matrix of shape (n, n)
    start : Tensor of shape (m,)
    """

    name = ""  # its parameters carry their whole paths
    copies = 1

    def __init__(self, tree: Matrix, start: Tensor) -> None:
        self.structure: Structure = TreeStructure(tree, start)
        n = tree.shape[0]
        self.scale = torch.ones(n, dtype=torch.float64)
        self.average = torch.eye(n, dtype=torch.float64) / n

    def add_to(self, v: Tensor, sigma: Tensor) -> Tensor:
        """V + the tree's matrix."""
        v += sigma
        return v

    def pair(self, s: Tensor) -> Tensor:
        """S itself."""
        return s

    def apply(self, direction: Tensor, w: Tensor) -> Tensor:
        """D W."""
        return direction @ w

    def working_variates(self, directions: Iterable[Tensor], w: Tensor) -> Tensor:
        """D w for every direction, (n, m)."""
        return columns((d @ w for d in directions), len(w))

    def frame(self, w: Tensor) -> Tensor:
        """W itself."""
        return w

    def inner(self, direction: Tensor, b: Tensor) -> Tensor:
        """D b."""
        return direction @ b

    def pair_frame(self, m: Tensor) -> Tensor:
        """M itself."""
        return m
