"""Squared extrapolation of EM: from three points of its path to one farther along it.

    r = F(x) - x,   v = F(F(x)) - F(x) - r,   a = -|r| / |v|,   x' = x - 2 a r + a^2 v

Varadhan and Roland (2008), Scandinavian Journal of Statistics 35, 335-353, scheme S3. a = -1 is EM itself.
"""

from __future__ import annotations

from torch import Tensor

LONGEST = 256.0


def extrapolated(x0: Tensor, x1: Tensor, x2: Tensor, longest: float = LONGEST) -> tuple[Tensor, float]:
    """The point farther along, and -a: how many times EM's own step it is.

    Parameters
    ----------
    x0, x1, x2 : Tensor of shape (m,)
        A point, EM's next, and the one after.
    longest : float
        Bound of -a.

    Examples
    --------
    A path that closes nine tenths of its way each time ends at its limit at once:

    >>> import torch
    >>> point, _ = extrapolated(torch.tensor([1.0]), torch.tensor([0.9]), torch.tensor([0.81]))
    >>> abs(float(point)) < 1e-5
    True
    """
    r = x1 - x0
    v = (x2 - x1) - r
    bend = float(v.norm())
    length = min(max(float(r.norm()) / bend, 1.0), longest) if bend > 0 else 1.0
    return x0 + 2 * length * r + length**2 * v, length


def rate(x0: Tensor, x1: Tensor, x2: Tensor) -> float:
    """How much of its distance to the limit EM leaves after a step, between 0 and 0.999."""
    first = float((x1 - x0).norm())
    return min(max(float((x2 - x1).norm()) / first, 0.0), 0.999) if first > 0 else 0.0
