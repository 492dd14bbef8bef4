"""V of a few rows: which rows of a model have to do with each other, small enough to be looked at.

V_SS, the rows and columns S of V = sum_t Z_t (Sigma_t (x) K_t) Z_t' + R; the n x n matrix itself is never made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual
from openreml_core.design import Design
from openreml_core.design.columns import as_factor
from openreml_core.model import Component, MixedModel
from openreml_core.notation import Residual

#: A structure with more rows than this is not built for a look.
LARGEST = 2_000
_AT_ONCE = 2_000_000


def telling_rows(design: Design, residual: Residual, most: int = 60) -> tuple[np.ndarray, list[str]]:
    """The first rows in an order in which related rows stand together, and their names.

    Sections of the residual come first, then its subjects, then its positions, then the groupings of random terms, those of
    few levels first, then what varies within them.

    Returns
    -------
    rows : int array of shape (m,)
        Places in the design's rows.
    names : list of m str
        ``"C1, row 3, col 4"``.
    """
    keys = [term.section for term in residual.terms if term.section]
    factors = [f for term in residual.terms for f in term.factors if f.variables != ("units",)]
    keys += [v for f in factors if f.structure == "id" for v in f.variables]
    keys += [v for f in factors if f.structure != "id" for v in f.variables]
    for random in sorted(design.random, key=lambda r: len(r.levels)):
        keys += random.group
    for random in design.random:
        keys += random.term.columns
    keys = [key for key in dict.fromkeys(keys) if key in design.frame.columns]
    n = len(design.frame)
    codes = [as_factor(design.frame[key]).codes for key in keys]
    order = np.lexsort(tuple(reversed(codes))) if codes else np.arange(n)
    rows = order[:most]
    shown = design.frame.iloc[rows]
    names = [
        ", ".join(f"{key} {value}" for key, value in zip(keys[:4], cells, strict=False)) or f"row {label}"
        for label, cells in zip(shown.index, shown[keys].itertuples(index=False, name=None), strict=True)
    ]
    return rows, names


def rows_covariance(
    model: MixedModel, theta: Tensor, sigma2: float, rows: np.ndarray, components: Sequence[Component] | None = None
) -> Tensor | None:
    """V of some rows, (m, m); None where a structure has more than 2,000 rows.

    Parameters
    ----------
    model : MixedModel
    theta : Tensor
        Free parameters.
    sigma2 : float
    rows : int array of shape (m,)
    components : sequence of components, optional
        Those that count; all by default.
    """
    wanted = model.all_components if components is None else components
    if any(c.structure.size > LARGEST for c in wanted):
        return None
    chosen = torch.from_numpy(np.ascontiguousarray(rows))
    v = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for component, sigma in zip(model.all_components, model.sigmas(theta, sigma2), strict=True):
        if any(component is c for c in wanted):
            v += _share(component, sigma, chosen, model.n)
    return v


def _share(component: Component, sigma: Tensor, rows: Tensor, n: int) -> Tensor:
    m = len(rows)
    if isinstance(component, BlockResidual):
        place = torch.full((n,), -1, dtype=torch.int64)
        place[component.rows] = torch.arange(len(component.rows))
        own = torch.nonzero(place[rows] >= 0)[:, 0]
        index, codes = component.index[place[rows[own]]], component.codes[place[rows[own]]]
        out = torch.zeros(m, m, dtype=torch.float64)
        out[own[:, None], own[None, :]] = sigma[index][:, index] * (codes[:, None] == codes[None, :])
        return out
    # Columns of the component: it times unit vectors, a few at a time.
    step = max(_AT_ONCE // (n * max(component.structure.size, 1)), 1)
    columns = []
    for first in range(0, m, step):
        some = rows[first : first + step]
        unit = torch.zeros(n, len(some), dtype=torch.float64)
        unit[some, torch.arange(len(some))] = 1.0
        columns.append(component.apply(sigma, unit)[rows])
    return torch.cat(columns, dim=1)


def labelled(matrix: Tensor, names: Sequence[str]) -> pd.DataFrame:
    """A square matrix with names on both sides."""
    return pd.DataFrame(matrix.numpy(), index=list(names), columns=list(names))


def correlation_matrix(covariance: pd.DataFrame) -> pd.DataFrame:
    """The correlations of a covariance matrix; missing where a variance is zero.

    Examples
    --------
    >>> correlation_matrix(pd.DataFrame([[4.0, 1.0], [1.0, 1.0]])).round(3).to_numpy().tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    sigma = covariance.to_numpy(dtype=np.float64)
    sd = np.sqrt(np.where(np.diag(sigma) > 0, np.diag(sigma), np.nan))
    r = np.clip(sigma / np.outer(sd, sd), -1.0, 1.0)
    np.fill_diagonal(r, np.where(np.isnan(sd), np.nan, 1.0))
    return pd.DataFrame(r, index=covariance.index, columns=covariance.columns)
