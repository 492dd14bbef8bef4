"""Derivatives of V in its natural parameters nu on the scale of the data, which Kenward and Roger's method is built on.

V_k = dV / d nu_k = Z (dSigma / d nu_k (x) K) Z',   V_kl = d2V / d nu_k d nu_l = 0 across components
"""

from __future__ import annotations

import torch
from torch import Tensor

from openreml_core.model import Component, MixedModel


def natural_slopes(model: MixedModel, theta: Tensor, sigma2: float) -> list[tuple[Component, list[Tensor]]]:
    """Every component with dSigma / d nu_k, (k, k), of each of its natural parameters, in the order of the model's names."""
    out: list[tuple[Component, list[Tensor]]] = []
    for c, part in zip(model.components, model.split(theta), strict=True):
        slopes = zip(c.structure.natural, c.structure.natural_derivatives(part), strict=True)
        out.append((c, [sigma2 ** (1 - q.degree) * d for q, d in slopes]))
    if model.profiled:
        out.append((model.residuals[0], [torch.ones(1, 1, dtype=torch.float64)]))
    return out


def natural_bends(model: MixedModel, theta: Tensor, sigma2: float, weights: Tensor) -> list[tuple[Component, Tensor]]:
    """sum_kl W_kl d2Sigma / d nu_k d nu_l, (k, k), of the components that bend; W (m, m) over all natural parameters.

    A structure that ranges over a linear space of matrices has none: in the parameters that it is linear in they are zero.
    """
    out: list[tuple[Component, Tensor]] = []
    for c, part, rows in zip(model.components, model.split(theta), model.slices, strict=True):
        own = weights[rows, rows]
        if c.structure.is_linear or not bool(own.any()):
            continue
        power = torch.tensor([sigma2**q.degree for q in c.structure.natural], dtype=torch.float64)
        out.append((c, sigma2 * c.structure.natural_bend(part, own / torch.outer(power, power))))
    return out


def roots(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The parameters that W (m, m) gives weight to, (a,), and W among them as sum_r s_r w_r w_r': s (r,) and w (a, r)."""
    active = weights.any(dim=1).nonzero()[:, 0]
    values, vectors = torch.linalg.eigh(weights[active][:, active])
    kept = values != 0
    return active, values[kept], vectors[:, kept]
