"""V^-1 from V = F F'.

LAPACK's routine for it wakes every core at every column: on a busy machine they wait for each other, up to a hundred times
longer than one core takes. Matrices of usual size are inverted on one; larger ones are halved, and the halves joined by
products, which share work well:

    F = [A 0; B C],   W = B A^-1,   V^-1 = [(AA')^-1 + W'(CC')^-1 W,  -W'(CC')^-1;  -(CC')^-1 W,  (CC')^-1]
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Rows up to which one core takes no longer than waking the others would.
ONE_CORE = 2048


def cholesky_inverse(factor: Tensor) -> Tensor:
    """(F F')^-1, (n, n), for a lower triangular F (n, n)."""
    n = len(factor)
    if factor.device.type != "cpu":
        return torch.cholesky_inverse(factor)
    if n <= ONE_CORE:
        threads = torch.get_num_threads()
        if threads == 1:
            return torch.cholesky_inverse(factor)
        torch.set_num_threads(1)
        try:
            return torch.cholesky_inverse(factor)
        finally:
            torch.set_num_threads(threads)
    half = n // 2
    w = torch.linalg.solve_triangular(factor[:half, :half], factor[half:, :half], upper=False, left=False)
    out = torch.empty_like(factor)
    lower = cholesky_inverse(factor[half:, half:])
    product = lower @ w
    out[half:, half:] = lower
    out[half:, :half] = -product
    out[:half, half:] = -product.T
    torch.addmm(cholesky_inverse(factor[:half, :half]), w.T, product, out=out[:half, :half])
    return out
