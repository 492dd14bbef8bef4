"""A tree of matrices as the whole of V: the component that an engine evaluates, its parameters those of the tree.

The frame is the identity: what a matrix M (n, n) is to the tree, <M, dV / d theta>, the tree answers in one reverse sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from openreml_core.covariance.components import columns
from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.structure import NaturalParameter, Structure
from openreml_core.covariance.transforms import Pow

#: Natural values this near to a bound, relative to a typical size, are on it.
NEAR = 1e-3


class TreeStructure(Structure):
    """A tree as a structure: theta its free values, the natural parameters by path.

    Parameters
    ----------
    tree : Matrix
        Square.
    start : Tensor of shape (m,)
        Free values to start from, whose sizes are typical of the parameters.
    """

    curvature_weight = 0.5
    keyword = "tree"

    def __init__(self, tree: Matrix, start: Tensor) -> None:
        super().__init__(tree.shape[0])
        self.tree, self._start = tree, start
        self.paths = tree.free_names
        self.own = [tree.parameters[path] for path in self.paths]

    @property
    def n_parameters(self) -> int:
        return len(self.own)

    @property
    def natural(self) -> tuple[NaturalParameter, ...]:
        return tuple(
            NaturalParameter(p.kind, path, label=path, scales=p.kind.endswith("variance"))
            for path, p in zip(self.paths, self.own, strict=True)
        )

    def start(self, scale: Tensor) -> Tensor:
        return self._start

    def typical(self, scale: Tensor) -> Tensor:
        squares = torch.tensor([p.kind.endswith("variance") for p in self.own], dtype=torch.bool)
        largest = float(self._start[squares].abs().max()) if bool(squares.any()) else 1.0
        return self._start.abs().clamp_min(torch.where(squares, 0.1 * largest, 0.1))

    def bounds(self) -> tuple[Tensor, Tensor]:
        lower, upper = [], []
        for p in self.own:
            ends = []
            for value, outward in ((p.lower, -torch.inf), (p.upper, torch.inf)):
                if isinstance(p.transform, Pow) and p.transform.power == 2:
                    # A free deviation of either sign: the bound above holds on both sides, one below zero is none.
                    ends.append(outward if value in (0.0, torch.inf, -torch.inf) or outward < 0 else value**0.5)
                    continue
                low, high = p.transform.domain
                inside = low < value < high
                ends.append(float(p.transform.inverse(torch.tensor(value))) if inside else outward)
            lower.append(min(ends) if ends[0] != -torch.inf else -torch.inf)
            upper.append(max(ends) if ends[1] != torch.inf else torch.inf)
        return torch.tensor(lower, dtype=torch.float64), torch.tensor(upper, dtype=torch.float64)

    def matrix(self, theta: Tensor) -> Tensor:
        return self.tree(theta)

    def derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        return self.tree.derivatives(theta)

    def gradient(self, theta: Tensor, m: Tensor) -> Tensor:
        return self.tree.gradient(theta, m)

    def curvature(self, theta: Tensor, m: Tensor) -> Tensor:
        return self.tree.curvature(theta, m)

    def natural_values(self, theta: Tensor) -> Tensor:
        found = torch.cat(self.tree._naturals(theta))
        return found[torch.tensor([not p.fixed for p in self.tree.parameters.values()], dtype=torch.bool)]

    def from_natural(self, values: Tensor) -> Tensor:
        return self.tree.theta(dict(zip(self.paths, values.tolist(), strict=True)))

    def natural_derivatives(self, theta: Tensor) -> Iterator[Tensor]:
        # dV / d natural = sum_k dV / d theta_k d theta_k / d natural.
        inverse = torch.linalg.pinv(torch.func.jacfwd(self.natural_values)(theta))
        for column in inverse.T:
            weighed = zip(column.tolist(), self.tree.derivatives(theta), strict=True)
            total = torch.zeros(self.size, self.size, dtype=torch.float64)
            for weight, derivative in weighed:
                if weight:
                    total += weight * derivative
            yield total

    def boundary(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> tuple[str, ...]:
        marks = []
        typical = self.typical(scale)
        for p, x, value, size in zip(
            self.own, theta, self.natural_values(theta).tolist(), typical.tolist(), strict=True
        ):
            wide = p.upper - p.lower
            near = NEAR * (wide if wide < torch.inf else max(1.0, abs(value)))
            if p.kind.endswith("variance"):
                root = abs(float(x)) if isinstance(p.transform, Pow) else abs(value) ** 0.5
                zero, high = root < tolerance * size, p.upper - value < 1e-6 * abs(value)
                marks.append("at zero" if zero else "at its bound" if high else "")
            else:
                marks.append("at its bound" if value - p.lower < near or p.upper - value < near else "")
        return tuple(marks)

    def is_singular(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> bool:
        return any(self.boundary(theta, scale, tolerance))

    def settle(self, theta: Tensor, scale: Tensor, tolerance: float = 1e-4) -> Tensor:
        out = theta.clone()
        for i, (p, mark) in enumerate(zip(self.own, self.boundary(theta, scale, tolerance), strict=True)):
            if isinstance(p.transform, Pow) and p.transform.power == 2:
                out[i] = 0.0 if mark == "at zero" else out[i].abs()
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
