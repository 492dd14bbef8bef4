"""Operators of a tree: matrices made of matrices. Operands are nodes, structures, tensors or arrays; by place or by name.

    Sum          A + B + ...            Hadamard     A o B o ..., element by element
    Product      A B ...                Kronecker    A (x) B (x) ...
    BlockDiagonal  diag(A, B, ...)      Propagated   Z G Z'
    Gram         X'X or X X'            Transpose    A'
    Inverse      A^-1                   Augment      [A B ...], columns;  Stack  rows

All but Gram and Inverse are linear in each operand: an operand's change dA is passed on by the operator itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.structure_leaf import as_matrix
from openreml_core.errors import ModelError


class Operator(Matrix):
    """A matrix made of other matrices.

    Parameters
    ----------
    *operands, **named
        ``Sum(A, B)`` names them ``0``, ``1``; ``Sum(gen=A, residual=B)`` as they are called.
    derivative : {"manual", "automatic"}, optional
        How the node passes a change on: by its own formula (the default) or by autograd.
    """

    has_manual = True
    least = 1

    def __init__(self, *operands: Any, derivative: str | None = None, **named: Any) -> None:
        self_name = type(self).__name__
        held = {str(i): as_matrix(o) for i, o in enumerate(operands)}
        held |= {name: as_matrix(o) for name, o in named.items()}
        if len(held) < self.least:
            raise ModelError(
                f"{self_name} needs {self.least} or more operands; it has {len(held)}.", hint="Give it matrices."
            )
        for name in held:
            if "/" in name:
                raise ModelError(
                    f"The name {name!r} holds a slash, which parts the steps of a path.", hint="Rename it."
                )
        super().__init__(self._shape(held), (), held)
        if derivative is not None:
            self.derivative(derivative)

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        raise NotImplementedError

    def _alike(self, operands: dict[str, Matrix], axes: tuple[int, ...], what: str) -> None:
        (first_name, first), *rest = operands.items()
        for name, o in rest:
            if any(o.shape[a] != first.shape[a] for a in axes):
                raise ModelError(
                    f"{type(self).__name__}: *{name}* is {o.shape[0]} x {o.shape[1]}, *{first_name}* is "
                    f"{first.shape[0]} x {first.shape[1]}; they need {what}.",
                    hint="Look at the sizes, or at the order of the factors.",
                )

    def _square(self, name: str, o: Matrix) -> None:
        if o.shape[0] != o.shape[1]:
            raise ModelError(
                f"{type(self).__name__}: *{name}* is {o.shape[0]} x {o.shape[1]}, not square.",
                hint="Give a square matrix.",
            )

    def push(self, free: Tensor, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        if self._mode != "manual":
            return super().push(free, operands, which, tangent)
        return self.change(operands, which, tangent)

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        """d value for d operand ``which``; the value with the change in its place where the operator is linear in it."""
        return self.of(tangent.new_zeros(0), [tangent if i == which else o for i, o in enumerate(operands)])


class Sum(Operator):
    """A + B + ...

    Examples
    --------
    >>> from openreml_core.covariance import Identity, Scaled
    >>> V = Sum(gen=Scaled(3), residual=Scaled(3))
    >>> V({"gen/sigma2": 4.0, "residual/sigma2": 1.0}).diagonal()
    tensor([5., 5., 5.], dtype=torch.float64)
    """

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        self._alike(operands, (0, 1), "one shape")
        return next(iter(operands.values())).shape

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return reduce(torch.add, operands)

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        return tangent


class Hadamard(Operator):
    """A o B o ..., element by element."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        self._alike(operands, (0, 1), "one shape")
        return next(iter(operands.values())).shape

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return reduce(torch.mul, operands)


class Product(Operator):
    """A B ..."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        held = list(operands.items())
        for (name_a, a), (name_b, b) in pairwise(held):
            if a.shape[1] != b.shape[0]:
                raise ModelError(
                    f"Product: *{name_a}* has {a.shape[1]} columns, *{name_b}* {b.shape[0]} rows.",
                    hint="Transpose one of them, or change their order.",
                )
        return held[0][1].shape[0], held[-1][1].shape[1]

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return reduce(torch.matmul, operands)


class Kronecker(Operator):
    """A (x) B (x) ..."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        rows = columns = 1
        for o in operands.values():
            rows, columns = rows * o.shape[0], columns * o.shape[1]
        return rows, columns

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return reduce(lambda a, b: torch.kron(a.contiguous(), b.contiguous()), operands)


class BlockDiagonal(Operator):
    """diag(A, B, ...)."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        return sum(o.shape[0] for o in operands.values()), sum(o.shape[1] for o in operands.values())

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return torch.block_diag(*operands)

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        return torch.block_diag(*(tangent if i == which else torch.zeros_like(o) for i, o in enumerate(operands)))


class Propagated(Operator):
    """Z G Z': the covariance of Z u for Var(u) = G.

    Parameters
    ----------
    z : matrix of shape (n, q)
        A Dummy, a tensor, or any node.
    g : matrix of shape (q, q)
    """

    def __init__(self, z: Any, g: Any) -> None:
        super().__init__(Z=z, G=g)

    def silent(self, operand: str) -> bool:
        return True

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        z, g = operands["Z"], operands["G"]
        self._square("G", g)
        if z.shape[1] != g.shape[0]:
            raise ModelError(
                f"Propagated: Z has {z.shape[1]} columns, G is {g.shape[0]} x {g.shape[1]}.",
                hint="G has a row for each level of Z: for two factors each combination of their levels.",
            )
        return z.shape[0], z.shape[0]

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        z, g = operands
        codes = getattr(self.operands["Z"], "codes", None)
        if codes is not None and bool((codes >= 0).all()):
            return g[codes][:, codes]
        return z @ g @ z.T

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        z, g = operands
        if which == 1:
            return self.of(tangent.new_zeros(0), [z, tangent])
        half = tangent @ g @ z.T
        return half + z @ g @ tangent.T


class Gram(Operator):
    """X'X (``"xtx"``) or X X' (``"xxt"``).

    Parameters
    ----------
    x : matrix
    kind : {"xtx", "xxt"}
    """

    def __init__(self, x: Any, kind: str = "xtx") -> None:
        if kind not in ("xtx", "xxt"):
            raise ModelError(f"Gram of kind {kind!r} is not known.", hint="Choose 'xtx' for X'X or 'xxt' for X X'.")
        self.kind = kind
        super().__init__(x)

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        rows, columns = operands["0"].shape
        return (columns, columns) if self.kind == "xtx" else (rows, rows)

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        x = operands[0]
        return x.T @ x if self.kind == "xtx" else x @ x.T

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        x = operands[0]
        half = tangent.T @ x if self.kind == "xtx" else tangent @ x.T
        return half + half.T


class _One(Operator):
    """An operator on one matrix."""

    def __init__(self, x: Any) -> None:
        super().__init__(x)


class Transpose(_One):
    """A'."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        rows, columns = operands["0"].shape
        return columns, rows

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return operands[0].T


class Inverse(_One):
    """A^-1, no numbers where A is singular; d A^-1 = -A^-1 dA A^-1."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        self._square("0", operands["0"])
        return operands["0"].shape

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        inverse, failed = torch.linalg.inv_ex(operands[0])
        return torch.full_like(inverse, torch.nan) if int(failed) else inverse

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        inverse = self.of(tangent.new_zeros(0), operands)
        return -inverse @ tangent @ inverse


class Augment(Operator):
    """[A B ...]: columns side by side."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        self._alike(operands, (0,), "as many rows")
        return next(iter(operands.values())).shape[0], sum(o.shape[1] for o in operands.values())

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(operands), dim=1)

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        return torch.cat([tangent if i == which else torch.zeros_like(o) for i, o in enumerate(operands)], dim=1)


class Stack(Operator):
    """Rows one below the other."""

    def _shape(self, operands: dict[str, Matrix]) -> tuple[int, int]:
        self._alike(operands, (1,), "as many columns")
        return sum(o.shape[0] for o in operands.values()), next(iter(operands.values())).shape[1]

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(operands), dim=0)

    def change(self, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        return torch.cat([tangent if i == which else torch.zeros_like(o) for i, o in enumerate(operands)], dim=0)
