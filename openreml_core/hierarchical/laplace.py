"""Laplace's approximation of an integral over a subject's parameters.

    log integral exp f(h) dh ~ f(m) + d log(2 pi) / 2 - log|H| / 2,   H = -f''(m)

(Tierney and Kadane 1986, JASA 81, 82-86.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def laplace_terms(hessian: Tensor, found: Tensor) -> Tensor:
    """d log(2 pi) / 2 - log|H| / 2 of Hessians (n, d, d): (n,); NaN where there is no mode."""
    d = hessian.shape[-1]
    eye = torch.eye(d, dtype=torch.float64)
    factor = torch.linalg.cholesky_ex(torch.where(found[:, None, None], hessian, eye))[0]
    value = 0.5 * d * math.log(2 * math.pi) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.where(found, value, torch.nan)
