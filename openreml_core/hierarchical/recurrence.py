"""Linear recurrences over trials, the core of every learning model, with a gradient that costs as much as the value.

    x_0 = start,   x_(t+1) = a_t x_t + b_t

A delta rule is one: Q + alpha (r - Q) = (1 - alpha) Q + alpha r. Differentiating step by step would build a graph of T nodes;
the adjoint of a linear recurrence is a linear recurrence that runs backwards,

    l_t = dL/dx_t + a_t l_(t+1),   dL/db_t = l_(t+1),   dL/da_t = l_(t+1) x_t
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def _rows(x: Tensor) -> list[np.ndarray]:
    """Views of the rows of x, numbers as well."""
    values = x.numpy()
    return [values[t, ...] for t in range(len(values))]


class _Recurrence(torch.autograd.Function):
    """The loops over trials run on the tensors' memory by NumPy, whose calls cost a fifth of torch's."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        x = torch.empty_like(b)
        if len(x):
            x[0] = start
            rows = _rows(x)
            for now, following, slope, level in zip(rows, rows[1:], a.numpy(), b.numpy(), strict=False):
                np.multiply(slope, now, following)
                np.add(following, level, following)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, x = ctx.saved_tensors
        total = torch.empty(len(x) + 1, *x.shape[1:], dtype=x.dtype)  # l_0 to l_T
        total[-1] = 0.0
        rows, direct = _rows(total), _rows(grad.contiguous())
        for here, later, slope, own in zip(rows[-2::-1], rows[:0:-1], a.numpy()[::-1], direct[::-1], strict=True):
            np.multiply(slope, later, here)
            np.add(here, own, here)
        return total[1:] * x, total[1:], total[0]


def linear_recurrence(a: Tensor, b: Tensor, start: Tensor | float = 0.0) -> Tensor:
    """Values before each step of x_(t+1) = a_t x_t + b_t.

    Parameters
    ----------
    a, b : Tensor of shape (T, ...)
        Time first.
    start : Tensor of shape (...) or float
        x_0.

    Returns
    -------
    Tensor of shape (T, ...)
        x_0 to x_(T-1).

    Examples
    --------
    >>> linear_recurrence(torch.full((4,), 0.5), torch.ones(4))
    tensor([0.0000, 1.0000, 1.5000, 1.7500])
    """
    a, b = torch.broadcast_tensors(a, b)
    first = torch.as_tensor(start, dtype=b.dtype).expand(b.shape[1:])
    return _Recurrence.apply(a.contiguous(), b.contiguous(), first)


def delta_signs(rate_up: Tensor, rate_down: Tensor, chosen: Tensor, target: Tensor, start: float) -> Tensor:
    """Where prediction errors are positive, when rates differ by their sign.

    Parameters
    ----------
    rate_up, rate_down : Tensor of shape (...)
    chosen : Tensor of shape (T, ...)
        1 where the value is updated.
    target : Tensor of shape (T, ...)
    start : float

    Returns
    -------
    Tensor of shape (T, ...), bool
        Given these, the update is linear, and its gradient is that of a linear recurrence.
    """
    with torch.no_grad():
        up, down = rate_up.expand(target.shape[1:]).numpy(), rate_down.expand(target.shape[1:]).numpy()
        steps, goals = chosen.numpy(), target.numpy()
        value = np.full(goals.shape[1:], start)
        signs = np.empty(goals.shape, dtype=bool)
        for step, goal, sign in zip(steps, goals, signs, strict=True):
            error = goal - value
            np.greater(error, 0, sign)
            value += step * np.where(sign, up, down) * error
    return torch.from_numpy(signs)
