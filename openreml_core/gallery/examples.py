"""Example matrices: Sigma(theta) of the structures themselves, over six effects, at parameters that a trial might give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import CholeskyStructure, Diagonal, ScaledCorrelation, Structure
from openreml_core.design.spline import SmoothingSpline
from openreml_core.design.surface import surface_parts
from openreml_core.design.table import Table
from openreml_core.notation import parse_formula
from openreml_core.relationship import Pedigree
from openreml_core.structures.named import Factor, Levels, product

#: Effects of an example matrix.
SIZE = 6


def build(keyword: str, size: int, k: int, nu: float, aniso: bool) -> Structure:
    """The structure over effects at 1, 2, ... on a line; at the points of a grid for two ranges."""
    line = torch.arange(size)
    grid = torch.stack([line % 3, line // 3], dim=1).double() if aniso else line.double()[:, None]
    levels = Levels([str(i + 1) for i in range(size)], lambda: line, lambda: grid)
    return Factor(keyword, {"k": k, "nu": nu, "aniso": aniso}, levels).structure()


# Typical values: variances that differ, or rise along an order; loadings of two factors; correlations that fall.
_VARIANCES = (1.0, 1.6, 0.7, 1.3, 0.5, 1.1)
_RISING = (0.5, 0.7, 0.9, 1.1, 1.35, 1.6)
_LOADINGS = ((0.9, 1.1, -0.3, 0.8, 0.2, 0.6), (0.0, 0.4, 0.9, -0.5, 0.6, -0.2))
_RHO: dict[str, tuple[float, ...]] = {
    "cs": (0.6,),
    "ar1": (0.7,),
    "ar2": (0.5, -0.4),
    "toep": (0.6, 0.5, 0.2, 0.1, 0.0),
    "exp": (2.0, 0.7),
    "gau": (1.8, 0.8),
    "sph": (4.0, 1.2),
    "matern": (1.2, 0.5),
}


def typical(structure: Structure) -> Tensor:
    """Natural parameters that a trial might give."""
    if isinstance(structure, ScaledCorrelation):
        name = structure.correlation.keyword
        values = _RISING if name in ("ar1", "ar2", "toep") else _VARIANCES
        variances = values if structure.heterogeneous else (1.0,)
        return torch.tensor([*variances, *_RHO.get(name, ())[: structure.correlation.n_parameters]]).double()
    loadings = torch.tensor(_LOADINGS).double()
    sigma = loadings.T @ loadings + 0.3 * torch.eye(SIZE).double()
    if isinstance(structure, CholeskyStructure):
        sigma = torch.diag(torch.tensor(_VARIANCES).double()) if isinstance(structure, Diagonal) else sigma
        return sigma[structure.rows, structure.columns]
    usual = {"innovation variance": 0.4, "specific variance": 0.3}
    out = []
    for q in structure.natural:
        if q.kind == "loading":
            factor = int(q.name2.rpartition(" ")[2]) - 1
            out.append(_LOADINGS[factor % 2][int(q.name1) - 1] * 0.8 ** (factor // 2))
        elif q.kind == "regression":
            out.append(0.8 if int(q.name1) - int(q.name2) == 1 else 0.15)
        else:
            out.append(usual[q.kind])
    return torch.tensor(out).double()


def _pedigree() -> tuple[int, Tensor]:
    """Two founders, two full sibs of them, a child of a sib and an unknown parent, and a child of the sibs."""
    table = pd.DataFrame({"id": list("123456"), "sire": [None, None, "1", "1", "3", "3"],
                          "dam": [None, None, "2", "2", None, "4"]})  # fmt: skip
    return 1, torch.tensor(Pedigree(table).matrix(list("123456")).to_numpy().copy())


def _product() -> tuple[int, Tensor]:
    """Two traits, unstructured, by three times, ar1: the product has one scale, us's."""
    traits, times = (Levels(["a", "b", "c"][:n], partial(torch.arange, n), _nowhere) for n in (2, 3))
    cell = torch.arange(SIZE)
    factors = [Factor("us", {}, traits), Factor("ar1", {}, times)]
    both = product(
        factors, [str(i + 1) for i in range(SIZE)], [cell // 3, cell % 3], "kron(us(trait), ar1(time) | animal)"
    )
    return both.n_parameters, both.matrix(both.from_natural(torch.tensor([1.0, -0.5, 0.8, 0.7]).double()))


def _nowhere() -> Tensor:
    return torch.empty(0, 1)


def _curve() -> tuple[int, Tensor]:
    """A curve over six equal steps, about its straight part."""
    table = Table.of(pd.DataFrame({"x": range(SIZE)}))
    return 1, _normed(SmoothingSpline("x", "spl(x)", table).basis(table))


def _surface() -> tuple[int, Tensor]:
    """A surface on a grid of 4 x 4, its five parts with one variance."""
    cell = range(16)
    table = Table.of(pd.DataFrame({"row": [i // 4 for i in cell], "col": [i % 4 for i in cell]}))
    parts = surface_parts(parse_formula("y ~ 1 + spl2d(row, col)").random[0], table)
    return len(parts), sum((_normed(part.basis(table)) for part in parts), torch.zeros(16, 16).double())


def _normed(basis: np.ndarray) -> Tensor:
    """Z Z', its mean variance 1."""
    z = torch.tensor(basis)
    return z @ z.T / (z @ z.T).diagonal().mean()


#: Structures that do not stand on a list of effects: parameters and an example.
EXAMPLES: dict[str, Callable[[], tuple[int, Tensor]]] = {
    "known": _pedigree,
    "kron": _product,
    "spl": _curve,
    "spl2d": _surface,
}
