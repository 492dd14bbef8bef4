"""Modes of many subjects at once by damped Newton steps.

    (A + P + lambda D) step = g - P (h - mean)

Each subject has its own lambda: raised where a step does not raise its log posterior, lowered where it does. Where A + P is
not positive definite its eigenvalues are taken by their size, so that the step still climbs. What the likelihood needs
(value, gradient, A) does not depend on the prior: after an M-step the first Newton step is known without an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from openreml_core.hierarchical.posterior import Modes, Normals

MOST = 100
#: Steps are no longer than this many of the group's standard deviations, or than the way back to the group's mean.
LONGEST = 6.0
#: Gain of the log posterior that a Newton step may still promise where the search has failed.
LOOSE = 1e-4
TRIES = 24
#: A search ends as well after this many steps in a row that each raise the log posterior by less than LITTLE: where a model's
#: likelihood has a kink (a maximum of values, say), the slope does not vanish at the mode.
PATIENCE, LITTLE = 12, 1e-7

Derivatives = Callable[[Tensor, Tensor], Modes]


def climb(
    derivatives: Derivatives,
    start: Tensor,
    prior: Normals,
    before: Modes | None,
    tolerance: float,
    why: Callable[[int, Tensor], str],
) -> Modes:
    """Modes of log-likelihood plus prior.

    Parameters
    ----------
    derivatives : callable
        ``f(points (k, d), rows (k,))`` to Modes of the subjects ``rows``.
    start : Tensor of shape (n, d)
        For subjects that have no mode yet.
    prior : Normals
    before : Modes, optional
        Of another prior.
    tolerance : float
        Gain that a whole step may still promise at the end.
    why : callable
        Says why a subject has no finite log-likelihood at a point.
    """
    n = len(start)
    everyone = torch.arange(n)
    if before is None:
        modes = derivatives(start, everyone)
    else:
        modes = before
        lost = torch.nonzero(~before.found).flatten()
        if len(lost):
            modes = modes.put(lost, derivatives(start[lost], lost))
    modes = _elsewhere(derivatives, modes, prior)
    damping, idle = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.int64)
    going = torch.nonzero(modes.value.isfinite()).flatten()
    for _ in range(MOST):
        part = _part(modes, going)
        step, gain, convex = _step(part, prior.select(going), damping[going])
        on = ~((gain < tolerance) & convex)
        going, step = going[on], step[on]
        if not len(going):
            break
        trial = derivatives(modes.at[going] + step, going)
        own = prior.select(going)
        rise = trial.value + own.log_kernel(trial.at) - part.value[on] - own.log_kernel(part.at[on])
        noise = 1e-13 * part.value[on].abs().clamp_min(1.0)
        good = rise >= -noise
        damping[going] = torch.where(
            good, torch.where(damping[going] > 1e-4, damping[going] / 10, 0.0), (damping[going] * 10).clamp_min(0.01)
        )
        if good.any():
            chosen = torch.nonzero(good).flatten()
            modes = modes.put(going[chosen], _part(trial, chosen))
        idle[going] = torch.where(good & (rise > LITTLE), 0, idle[going] + 1)
        going = going[(damping[going] < 1e12) & (idle[going] < PATIENCE)]
    return _with_trouble(modes, prior, why)


def _part(modes: Modes, rows: Tensor) -> Modes:
    trouble: Sequence[str] = ("",) * len(rows)
    return Modes(modes.at[rows], modes.value[rows], modes.gradient[rows], modes.information[rows], tuple(trouble))


def _step(modes: Modes, prior: Normals, damping: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Damped step (k, d), the gain that the undamped one promises (k,), and where A + P is positive definite (k,)."""
    hessian = modes.hessian(prior)
    gradient = modes.gradient - torch.einsum("nde,ne->nd", prior.precision, modes.at - prior.mean)
    _, info = torch.linalg.cholesky_ex(hessian)
    convex = info == 0
    if not convex.all():
        values, vectors = torch.linalg.eigh(hessian[~convex])
        least = 1e-6 * values.abs().amax(-1, keepdim=True)
        values = torch.maximum(values.abs(), least)
        hessian = hessian.clone()
        hessian[~convex] = vectors @ (values[..., None] * vectors.mT)
    scale = hessian.diagonal(dim1=-2, dim2=-1)
    whole = torch.linalg.solve_ex(hessian, gradient[..., None])[0][..., 0]
    gain = 0.5 * (whole * gradient).sum(-1)
    step = whole
    if (damping > 0).any():
        damped = hessian + torch.diag_embed(damping[:, None] * scale)
        step = torch.linalg.solve_ex(damped, gradient[..., None])[0][..., 0]
    sd = prior.precision.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).rsqrt()
    sd = torch.maximum(sd, (modes.at - prior.mean).abs() / LONGEST)
    length = (step / sd).abs().amax(-1, keepdim=True)
    return step * (LONGEST / length.clamp_min(LONGEST)), gain, convex


def _elsewhere(derivatives: Derivatives, modes: Modes, prior: Normals) -> Modes:
    """Other places about the prior's mean for subjects whose log-likelihood is not finite where they are."""
    lost = torch.nonzero(~modes.value.isfinite()).flatten()
    if not len(lost):
        return modes
    n, d = modes.at.shape
    generator = torch.Generator().manual_seed(1)
    sd = prior.precision.diagonal(dim1=-2, dim2=-1).rsqrt()
    for _ in range(TRIES):
        shift = torch.randn(n, d, dtype=torch.float64, generator=generator)
        trial = derivatives(prior.mean[lost] + shift[lost] * sd[lost], lost)
        found = trial.value.isfinite()
        if found.any():
            chosen = torch.nonzero(found).flatten()
            modes = modes.put(lost[chosen], _part(trial, chosen))
            lost = lost[~found]
        if not len(lost):
            break
    return modes


def _with_trouble(modes: Modes, prior: Normals, why: Callable[[int, Tensor], str]) -> Modes:
    """The modes, with the reason for every subject that has none."""
    trouble = [""] * len(modes.at)
    _, gain, convex = _step(modes, prior, torch.zeros(len(modes.at), dtype=torch.float64))
    finite = modes.value.isfinite()
    for row in torch.nonzero(~(finite & convex & (gain < LOOSE))).flatten().tolist():
        if not finite[row]:
            trouble[row] = why(row, modes.at[row])
        elif not convex[row]:
            trouble[row] = "the log posterior has no maximum with curvature"
        else:
            trouble[row] = f"the search for its parameters did not end in {MOST} steps"
    return Modes(modes.at, modes.value, modes.gradient, modes.information, tuple(trouble))
