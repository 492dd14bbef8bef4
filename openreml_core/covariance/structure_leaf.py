"""Structures and correlations as leaves of a tree: the same classes that formulas use.

``Diagonal(3)``, ``Unstructured(3)``, ``FactorAnalytic(4, 2)`` are covariance matrices, ``AR1(5)``, ``Equicorrelation(5)``,
``Exponential(positions)`` correlation matrices: ``Scaled(AR1(5))`` gives those a variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.constant import Constant
from openreml_core.covariance.correlation import Correlation
from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.parameters import Parameter, default_transform, is_variance
from openreml_core.covariance.structure import Structure, jacobian
from openreml_core.covariance.transforms import Identity
from openreml_core.errors import ModelError


def as_matrix(what: Any) -> Matrix:
    """A node of a tree: nodes as they are, structures and correlations as leaves, tensors and arrays as constants.

    A structure has one leaf: in two places of a tree it has one set of parameters, as any node has.
    """
    if isinstance(what, Matrix):
        return what
    if not isinstance(what, Structure | Correlation):
        return Constant(what)
    if what.leaf is None:
        what.leaf = StructureLeaf(what) if isinstance(what, Structure) else CorrelationLeaf(what)
    leaf: Matrix = what.leaf
    return leaf


class _Leaf(Matrix):
    """A leaf whose matrix a structure computes from its own free parameters."""

    has_manual = True

    def __init__(self, size: int, own: Sequence[Parameter]) -> None:
        super().__init__((size, size), own)
        self._changed = False  # whether a parameter has a transform of the user's


class StructureLeaf(_Leaf):
    """A covariance structure in a tree.

    Parameters
    ----------
    structure : Structure
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        start = structure.start(torch.ones(structure.size, dtype=torch.float64))
        low, high = structure.bounds()
        values = structure.natural_values(start).tolist()
        own = []
        for i, (q, value) in enumerate(zip(structure.natural, values, strict=True)):
            bounded = (float(low[i]), float(high[i])) if not is_variance(q.kind) else (0.0, float("inf"))
            pair = ",".join(n for n in (q.name1, q.name2) if n)
            name = q.label or (f"{q.kind}({pair})" if pair else q.kind)
            own.append(Parameter(name.replace("/", "|"), value, default_transform(q.kind), q.kind, *bounded))
        super().__init__(structure.size, own)
        #: Whether natural and free parameters belong to each other one by one.
        self.one_by_one = _one_by_one(structure)

    @property
    def title(self) -> str:
        return type(self.structure).__name__

    def _check(self, place: int, parameter: Parameter, path: str) -> None:
        changed = parameter.transform is not self._own[place].transform
        if changed and not self.one_by_one:
            raise ModelError(
                f"{self.title} has no transform for single elements: they make one matrix together.",
                hint="Choose Unconstrained for free elements, or Unstructured(k, log=True) for the log-Cholesky form.",
            )
        super()._check(place, parameter, path)
        self._changed = self._changed or changed

    def own_natural(self, free: Tensor) -> Tensor:
        return super().own_natural(free) if self._changed else self.structure.natural_values(free)

    def own_free(self, natural: Tensor) -> Tensor:
        fixed = [p.fixed for p in self._own]
        if any(fixed) and not all(fixed) and not self.one_by_one:
            raise ModelError(
                f"Some but not all elements of {self.title} are fixed: they make one matrix together.",
                hint="Fix all of them, or none.",
            )
        return super().own_free(natural) if self._changed else self.structure.from_natural(natural)

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self.structure.matrix(self.structure.from_natural(values))

    def of_free(self, free: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return super().of_free(free, operands) if self._changed else self.structure.matrix(free)

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        if not self._changed:
            yield from self.structure.derivatives(free)
            return
        slopes = [p.transform.derivative(x) for p, x in zip(self._own, free, strict=True)]
        for slope, d in zip(slopes, self.own_natural_derivatives(free, operands), strict=True):
            yield slope * d

    def own_natural_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        inner = self.structure.from_natural(self.own_natural(free)) if self._changed else free
        return self.structure.natural_derivatives(inner)

    def _scale(self, start: Tensor) -> Tensor:
        """Standard deviations (k,) that are typical of the structure, given where it starts."""
        deviations = self.structure.matrix(start).diagonal().clamp_min(0).sqrt()
        return torch.where(deviations > 0, deviations, deviations.max().clamp_min(1e-150))

    def own_sizes(self, start: Tensor) -> Tensor:
        return super().own_sizes(start) if self._changed else self.structure.typical(self._scale(start))

    def own_marks(self, free: Tensor, start: Tensor, tolerance: float) -> list[str]:
        if self._changed:
            return super().own_marks(free, start, tolerance)
        return list(self.structure.boundary(free, self._scale(start), tolerance))

    def own_settled(self, free: Tensor, start: Tensor, tolerance: float) -> Tensor:
        if self._changed:
            return super().own_settled(free, start, tolerance)
        return self.structure.settle(free, self._scale(start), tolerance)


class CorrelationLeaf(_Leaf):
    """A correlation matrix in a tree.

    Parameters
    ----------
    correlation : Correlation
    """

    def __init__(self, correlation: Correlation) -> None:
        self.correlation = correlation
        low, high = correlation.bounds()
        start = correlation.start()
        own = [
            Parameter(label, value, default_transform(correlation.kind), correlation.kind, *ends)
            for label, value, *ends in zip(correlation.labels, start.tolist(), low.tolist(), high.tolist(), strict=True)
        ]
        super().__init__(correlation.size, own)

    @property
    def title(self) -> str:
        return type(self.correlation).__name__

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self.correlation.matrix(values)

    def own_sizes(self, start: Tensor) -> Tensor:
        sizes = zip(self._own, super().own_sizes(start), self.correlation.typical(), strict=True)
        return torch.stack(
            [t if isinstance(p.transform, Identity) else s for p, s, t in sizes] or [start.new_zeros(())]
        )[: len(self._own)]

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        values = self.own_natural(free)
        slopes = [p.transform.derivative(x) for p, x in zip(self._own, free, strict=True)]
        for slope, d in zip(slopes, self.correlation.derivatives(values), strict=True):
            yield slope * d


def _one_by_one(structure: Structure) -> bool:
    """Whether each natural parameter depends on one free parameter alone."""
    theta = structure.start(torch.ones(structure.size, dtype=torch.float64)) + 0.1
    slopes = jacobian(structure.natural_values, theta)
    return bool(((slopes != 0) == torch.eye(len(theta), dtype=torch.bool)).all())
