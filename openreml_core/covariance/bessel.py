"""a^nu K_nu(a), K_nu the modified Bessel function of the second kind, with its derivatives.

    d/da a^nu K_mu(a) = (nu - mu) a^(nu - 1) K_mu(a) - a^nu K_(mu - 1)(a),     K_(-mu) = K_mu

(Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 9.6.26.) SciPy computes K; autograd is told the rule.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy import special
from torch import Tensor


class _PowerBessel(torch.autograd.Function):
    """a^nu K_mu(a) for a > 0."""

    @staticmethod
    def forward(a: Tensor, nu: float, mu: float) -> Tensor:
        return a**nu * torch.as_tensor(special.kv(abs(mu), a.detach().numpy()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, ctx.nu, ctx.mu = inputs
        ctx.save_for_backward(a)
        ctx.save_for_forward(a)

    @staticmethod
    def _slope(ctx: Any) -> Tensor:
        (a,) = ctx.saved_tensors
        down = -_PowerBessel.apply(a, ctx.nu, ctx.mu - 1)
        return down if ctx.nu == ctx.mu else down + (ctx.nu - ctx.mu) * _PowerBessel.apply(a, ctx.nu - 1, ctx.mu)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * _PowerBessel._slope(ctx), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Any:
        return tangent * _PowerBessel._slope(ctx)


def power_bessel(a: Tensor, nu: float) -> Tensor:
    """a^nu K_nu(a) for a > 0.

    Examples
    --------
    >>> power_bessel(torch.tensor(2.0, dtype=torch.float64), 0.5)  # sqrt(pi / 2) exp(-2)
    tensor(0.1696, dtype=torch.float64)
    """
    out: Tensor = _PowerBessel.apply(a, float(nu), float(nu))
    return out
