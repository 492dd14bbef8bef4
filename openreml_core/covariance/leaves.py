"""Leaves of a tree: matrices that stand on nothing else. k is the size: a number, or a factor whose levels are counted.

Identity            I                          Scaled      sigma2 I, or sigma2 times any matrix
EqualEntry          sigma2 J                   CompoundSymmetric   sigma2 ((1 - rho) I + rho J)
LowerTriangular     elements on and below the diagonal, free
Unconstrained       symmetric, its elements free: positive definite only where they make it so
Known               a given covariance matrix, or the inverse of a given sparse one
Dummy               incidence of one or several factors
Function            any function of parameters
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from openreml_core.covariance.constant import Constant
from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.parameters import Parameter, variance
from openreml_core.covariance.structure import labels_of
from openreml_core.covariance.structure_leaf import as_matrix
from openreml_core.covariance.transforms import Identity as Same
from openreml_core.covariance.transforms import Transform
from openreml_core.design.columns import as_factor
from openreml_core.errors import DataError, ModelError


def size_of(size: Any) -> int:
    """k of a number or of a factor."""
    return len(labels_of(size))


class Identity(Matrix):
    """I, (k, k).

    Examples
    --------
    >>> Identity(2)()
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """

    def __init__(self, size: Any) -> None:
        k = size_of(size)
        super().__init__((k, k))

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return torch.eye(self.shape[0], dtype=torch.float64)


class Scaled(Matrix):
    """sigma2 I of a size, or sigma2 times a matrix: ``Scaled(24)``, ``Scaled(AR1(5))``.

    Parameters
    ----------
    what : int, factor or matrix
    sigma2 : float, optional
        Its starting value.
    transform : Transform, optional
        Of sigma2; by default the square of a free standard deviation.
    """

    has_manual = True

    def __init__(self, what: Any, sigma2: float | None = None, *, transform: Transform | None = None) -> None:
        plain = isinstance(what, int | np.integer) or _is_factor(what)
        self.plain = plain
        operands = {} if plain else {"0": as_matrix(what)}
        k = size_of(what) if plain else 0
        super().__init__((k, k) if plain else operands["0"].shape, [variance(value=sigma2)], operands)
        if transform is not None:
            self.set("sigma2", transform=transform)

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return torch.diag(values[0].expand(self.shape[0])) if self.plain else values[0] * operands[0]

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        slope = self._own[0].transform.derivative(free[0])
        yield slope * (torch.eye(self.shape[0], dtype=torch.float64) if self.plain else operands[0])


class EqualEntry(Matrix):
    """sigma2 J, every element the same; (k, k), or (k, columns)."""

    has_manual = True

    def __init__(self, size: Any, columns: int | None = None, sigma2: float | None = None) -> None:
        k = size_of(size)
        super().__init__((k, k if columns is None else columns), [variance(value=sigma2)])

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return values[0] * torch.ones(self.shape, dtype=torch.float64)

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        yield self._own[0].transform.derivative(free[0]) * torch.ones(self.shape, dtype=torch.float64)


class CompoundSymmetric(Matrix):
    """sigma2 ((1 - rho) I + rho J), -1 / (k - 1) < rho < 1."""

    has_manual = True

    def __init__(self, size: Any, sigma2: float | None = None, rho: float | None = None) -> None:
        k = size_of(size)
        low = -1.0 / max(k - 1, 1)
        own = Parameter("rho", 0.3 if rho is None else rho, Same(), "correlation", low, 1.0, given=rho is not None)
        super().__init__((k, k), [variance(value=sigma2), own])
        self.set("rho", value=own.value)

    @cached_property
    def _parts(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(self.shape[0], dtype=torch.float64)
        return eye, 1 - eye

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        eye, off = self._parts
        return values[0] * (eye + values[1] * off)

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        eye, off = self._parts
        sigma2, rho = self.own_natural(free)
        yield self._own[0].transform.derivative(free[0]) * (eye + rho * off)
        yield self._own[1].transform.derivative(free[1]) * sigma2 * off


class _Elements(Matrix):
    """A matrix of free elements in given places."""

    has_manual = True

    def __init__(self, shape: tuple[int, int], places: Sequence[tuple[int, int]], values: Any, mirrored: bool) -> None:
        kinds = ("variance", "covariance") if mirrored else ("root", "root")
        start = np.eye(*shape) if values is None else np.asarray(values, dtype=float)
        if start.shape != shape:
            raise ModelError(
                f"The values have the shape {start.shape}, the matrix {shape}.", hint="Give one for each element."
            )
        if mirrored and not np.allclose(start, start.T):
            raise ModelError("The values are not symmetric.", hint="Give a symmetric matrix.")
        self.rows = torch.tensor([a for a, _ in places])
        self.columns = torch.tensor([b for _, b in places])
        self.mirrored = mirrored
        own = [
            Parameter(
                f"{a + 1},{b + 1}", float(start[a, b]), Same(), kinds[0] if a == b else kinds[1],
                given=values is not None,
            )
            for a, b in places
        ]  # fmt: skip
        super().__init__(shape, own)

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        out = torch.zeros(self.shape, dtype=values.dtype).index_put((self.rows, self.columns), values)
        return out + out.T - torch.diag(out.diagonal()) if self.mirrored else out

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        for i, (a, b) in enumerate(zip(self.rows.tolist(), self.columns.tolist(), strict=True)):
            out = torch.zeros(self.shape, dtype=torch.float64)
            out[a, b] = self._own[i].transform.derivative(free[i])
            if self.mirrored:
                out[b, a] = out[a, b]
            yield out


class Unconstrained(_Elements):
    """A symmetric matrix of free elements; a step of the search to where V is not positive definite is rejected."""

    def __init__(self, size: Any, values: Any = None) -> None:
        k = size_of(size)
        super().__init__((k, k), [(a, b) for a in range(k) for b in range(a + 1)], values, mirrored=True)


class LowerTriangular(_Elements):
    """A lower triangle of free elements, (rows, columns); ``Gram(LowerTriangular(k), "xxt")`` is unstructured."""

    def __init__(self, size: Any, columns: int | None = None, values: Any = None) -> None:
        k = size_of(size)
        width = k if columns is None else columns
        super().__init__(
            (k, width), [(a, b) for a in range(k) for b in range(min(a + 1, width))], values, mirrored=False
        )


class Known(Constant):
    """A given covariance matrix, checked for symmetry and for being positive semidefinite.

    Parameters
    ----------
    values : array, tensor, DataFrame or sparse matrix of shape (k, k)
    inverse : bool
        Whether it is the inverse that is given, as the sparse A^-1 of a pedigree.
    """

    def __init__(self, values: Any, *, inverse: bool = False) -> None:
        if sparse.issparse(values):
            values = values.toarray()
        super().__init__(values)
        v, (rows, columns) = self.values, self.shape
        if rows != columns or not torch.allclose(v, v.T, rtol=1e-8, atol=1e-10 * float(v.abs().max() + 1e-300)):
            raise DataError(
                "A known covariance matrix is not symmetric.", hint="Give the matrix, not a table of pairs."
            )
        smallest = float(torch.linalg.eigvalsh(v)[0])
        if smallest < -1e-8 * float(v.abs().max()) or (inverse and smallest <= 0):
            raise DataError(
                f"A known covariance matrix is not positive semidefinite: its smallest eigenvalue is {smallest:.3g}.",
                hint="Blend it: 0.99 K + 0.01 I is, when K nearly is.",
            )
        if inverse:
            self.values = torch.cholesky_inverse(torch.linalg.cholesky(v))


class Dummy(Matrix):
    """Incidence of one factor, or of the combinations of several: a row for each observation, a 1 in its column.

    Parameters
    ----------
    *factors : column of labels
        Of the same length. Of several, every combination of their levels has a column, the last factor's levels running
        fastest, so that ``Kronecker(Identity(a), Scaled(b))`` fits ``Dummy(a, b)``.
    occurring : bool
        Whether only combinations that occur have columns.
    drop_first : bool
        Leave the first column out, as treatment coding does.

    Attributes
    ----------
    levels : tuple of str
        Names of the columns, ``"R1:B2"``.
    codes : Tensor of shape (n,), int64
        The column of each row's 1; -1 where it was left out.
    """

    def __init__(self, *factors: Any, occurring: bool = False, drop_first: bool = False) -> None:
        if not factors:
            raise ModelError("Dummy needs a factor.", hint='Write Dummy(data["gen"]).')
        coded = [_coded(f, i) for i, f in enumerate(factors)]
        if len({len(c) for c, _ in coded}) > 1:
            lengths = ", ".join(str(len(c)) for c, _ in coded)
            raise DataError(
                f"The factors of Dummy have different lengths: {lengths}.", hint="Give columns of one table."
            )
        codes, names = np.zeros(len(coded[0][0]), dtype=np.int64), [""]
        for c, levels in coded:
            codes = codes * len(levels) + c
            names = [f"{a}:{b}" if a else b for a in names for b in levels]
        if occurring:
            met, codes = np.unique(codes, return_inverse=True)
            names = [names[i] for i in met]
        if drop_first:
            codes, names = codes - 1, names[1:]
        self.codes, self.levels = torch.from_numpy(np.asarray(codes, dtype=np.int64)), tuple(names)
        super().__init__((len(codes), len(names)))

    @cached_property
    def _matrix(self) -> Tensor:
        out = torch.zeros(self.shape, dtype=torch.float64)
        rows = (self.codes >= 0).nonzero()[:, 0]
        out[rows, self.codes[rows]] = 1.0
        return out

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self._matrix


class Function(Matrix):
    """A matrix that any function of parameters gives.

    Parameters
    ----------
    function : callable
        Takes the natural values as a tensor (m,) and returns a tensor of ``shape``, by torch operations.
    parameters : mapping of str to float, or sequence of Parameter
        Names and starting values.
    shape : (int, int), optional
        By default that of the value at the start.
    derivative : callable, optional
        Takes the natural values, returns the m derivatives; by autograd without it.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        parameters: Mapping[str, float] | Sequence[Parameter],
        shape: tuple[int, int] | None = None,
        derivative: Callable[[Tensor], Sequence[Tensor]] | None = None,
    ) -> None:
        if isinstance(parameters, Mapping):
            own = [Parameter(name, float(value), Same(), given=True) for name, value in parameters.items()]
        else:
            own = list(parameters)
        self.function, self._slopes = function, derivative
        self.has_manual = derivative is not None
        start = self._call(torch.tensor([p.value for p in own], dtype=torch.float64), shape)
        super().__init__((start.shape[0], start.shape[1]), own)

    def _call(self, values: Tensor, shape: tuple[int, int] | None) -> Tensor:
        name = getattr(self.function, "__name__", "the function")
        try:
            out = self.function(values)
        except Exception as error:
            if shape is not None and isinstance(error, ArithmeticError | torch.linalg.LinAlgError):
                return torch.full(shape, torch.nan, dtype=torch.float64)  # it has no value there
            raise ModelError(f"{name} failed: {error}", hint="It takes one tensor of natural values.") from error
        if not isinstance(out, Tensor) or out.ndim != 2 or (shape is not None and tuple(out.shape) != tuple(shape)):
            got = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise ModelError(
                f"{name} gave {got}.", hint=f"It should give a tensor of shape {shape or '(rows, columns)'}."
            )
        return out.to(torch.float64)

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self._call(values, self.shape)

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        assert self._slopes is not None
        slopes = self._slopes(self.own_natural(free))
        for p, x, d in zip(self._own, free, slopes, strict=True):
            yield p.transform.derivative(x) * d


def _is_factor(what: Any) -> bool:
    return isinstance(what, pd.Series | pd.Categorical) or (
        isinstance(what, list | tuple | np.ndarray) and np.asarray(what).ndim == 1
    )


def _coded(column: Any, place: int) -> tuple[np.ndarray, list[str]]:
    """Codes and levels of a column: categories in their order, numbers by size, text by the alphabet."""
    series = pd.Series(column).reset_index(drop=True)
    if series.isna().any():
        raise DataError(
            f"Factor {place + 1} of Dummy has no label in row {int(np.flatnonzero(series.isna())[0]) + 1}.",
            hint="Leave such rows out of y, X and every factor.",
        )
    factor = as_factor(series)
    return factor.codes, list(factor.levels)


__all__ = [
    "CompoundSymmetric", "Dummy", "EqualEntry", "Function", "Identity", "Known", "LowerTriangular", "Scaled", "Unconstrained",
]  # fmt: skip
