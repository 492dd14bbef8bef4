"""The trust region of :mod:`openreml_core.reml.trust_region`, for many replicates at once: masks in the place of branches.

Every replicate has its own theta, radius and end; those that have ended leave the batch. A replicate whose variance has ended
at zero is searched for again from the starts that a single fit would try.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from openreml_core.reml.convergence import GAIN, GRADIENT
from openreml_core.reml.maximise import WORTH
from openreml_core.reml.restart import MANY_ROWS, SIZES
from openreml_core.reml.trust_region import ACCEPT, GOOD, GROW, SHRINK
from openreml_core.simulation.batch import BatchEquations, BatchEvaluation, Responses

ITERATIONS = 100
#: What is this near to a boundary, in sizes of the parameters, is put on it.
NEAR = 1e-4


@dataclass(frozen=True, eq=False)
class BatchEstimates:
    """Where the searches ended.

    Attributes
    ----------
    theta : Tensor of shape (B, m)
    at : BatchEvaluation
    converged : Tensor of shape (B,), bool
    """

    theta: Tensor
    at: BatchEvaluation
    converged: Tensor


def maximise_batch(equations: BatchEquations, own: Responses, start: Tensor) -> BatchEstimates:
    """Estimates of every replicate, each as good as a fit of its own.

    Parameters
    ----------
    equations : BatchEquations
    own : Responses
        Of B replicates.
    start : Tensor of shape (m,)
    """
    found = _settled(equations, own, _search(equations, own, start.expand(len(own.square), -1).clone()))
    zero = _collapsed(equations, found.theta)
    if not bool(zero.any()):
        return found
    which = zero.nonzero()[:, 0]
    part = own[which]
    for other in _starts(equations, part):
        again = _settled(equations, part, _search(equations, part, other))
        better = again.at.criterion < found.at.criterion[which] - WORTH
        found = _taken(found, which[better], again, better)
    return found


def _search(equations: BatchEquations, own: Responses, theta: Tensor) -> BatchEstimates:
    """Every replicate from its own start, to where no step promises anything."""
    count = len(theta)
    at = equations.evaluate(theta, own)
    radius, quiet = torch.ones(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
    converged, active = torch.zeros(count, dtype=torch.bool), torch.isfinite(at.criterion)
    out = BatchEstimates(theta.clone(), at, converged)
    for _ in range(ITERATIONS):
        which = active.nonzero()[:, 0]
        if not len(which):
            break
        here = _part(out.at, which)
        size = torch.maximum(out.theta[which].abs(), 0.1 * equations.scale)
        step, gain, inside = _steps(-here.score, here.hessian, size, radius[which])
        steep = (here.score * size).abs().amax(dim=1)
        noise = 1e-13 * torch.clamp(here.criterion.abs(), min=float(equations.model.n))
        done = (inside & (gain < GAIN) & (steep < GRADIENT)) | (quiet[which] >= 2) | (radius[which] < 1e-10)
        converged[which[done]] = True
        active[which[done]] = False
        go = ~done
        which, step, gain, size, noise = which[go], step[go], gain[go], size[go], noise[go]
        if not len(which):
            break
        trial = equations.evaluate(out.theta[which] + step, own[which])
        change = trial.criterion - out.at.criterion[which]
        promised = 2 * gain
        ratio = torch.where(promised > noise, -change / promised, torch.where(change <= noise, 1.0, -1.0))
        taken = torch.isfinite(trial.criterion) & ((ratio >= ACCEPT) | (change <= noise))
        length = (step / size).norm(dim=1)
        before = radius[which]
        grown = torch.where(ratio > GOOD, torch.maximum(before, GROW * length), before)
        radius[which] = torch.where(taken & (ratio >= 0.25), grown, SHRINK * torch.minimum(before, length))
        still = taken & (change.abs() <= noise) & (promised <= 10 * noise)
        quiet[which] = torch.where(still, quiet[which] + 1, torch.where(taken, 0, quiet[which]))
        moved = which[taken]
        out.theta[moved] += step[taken]
        for name in ("criterion", "sigma2", "score", "hessian", "beta", "beta_covariance"):
            getattr(out.at, name)[moved] = getattr(trial, name)[taken]
    return out


def _steps(gradient: Tensor, hessian: Tensor, size: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Steps (B, m) that minimise g's + s'H s / 2 within the region; what they promise; whether its edge left them alone."""
    values, vectors = torch.linalg.eigh(hessian * size[:, :, None] * size[:, None, :])
    g = (vectors.mT @ (gradient * size)[..., None])[..., 0]
    floor = 1e-13 * values.abs().amax(dim=1).clamp_min(1e-300)

    def shifted(mu: Tensor) -> Tensor:
        return -g / torch.maximum(values + mu[:, None], floor[:, None])

    z = shifted(torch.zeros_like(radius))
    inside = (values[:, 0] > floor) & (z.norm(dim=1) <= radius)
    low = (-values[:, 0]).clamp_min(0.0) + floor
    at_low = shifted(low)
    hard = at_low.norm(dim=1) < radius
    high = low + g.norm(dim=1) / radius + floor
    for _ in range(0 if bool((inside | hard).all()) else 60):
        middle = 0.5 * (low + high)
        outside = shifted(middle).norm(dim=1) > radius
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    # The hard case: the gradient has (almost) nothing along the lowest eigenvector, and the model falls along it.
    rest = (radius**2 - at_low[:, 1:].square().sum(dim=1)).clamp_min(0.0).sqrt()
    along = at_low.clone()
    along[:, 0] = torch.where(g[:, 0] <= 0, rest, -rest)
    z = torch.where(inside[:, None], z, torch.where(hard[:, None], along, shifted(high)))
    step = size * (vectors @ z[..., None])[..., 0]
    gain = -(gradient * step).sum(dim=1) - 0.5 * (step * (hessian @ step[..., None])[..., 0]).sum(dim=1)
    return step, gain, inside


def _settled(equations: BatchEquations, own: Responses, found: BatchEstimates) -> BatchEstimates:
    """What is within 1e-4 of a boundary put on it, where that costs no likelihood; pivots positive."""
    theta = found.theta.clone()
    model = equations.model
    places = zip(model.terms, equations.patterns, model.slices, equations.factors(theta), strict=True)
    for term, (rows, columns), where, factor in places:
        scale = term.scale * model.unit
        factor = torch.where(factor.norm(dim=2, keepdim=True) < NEAR * scale[:, None], 0.0, factor)
        pivots = factor.diagonal(dim1=1, dim2=2)
        factor = factor * torch.where(pivots < 0, -1.0, 1.0)[:, None, :]
        pivots = factor.diagonal(dim1=1, dim2=2)
        factor = factor - torch.diag_embed(torch.where(pivots.abs() < NEAR * scale, pivots, 0.0))
        theta[:, where] = factor[:, rows, columns]
    changed = ((theta != found.theta).any(dim=1) & torch.isfinite(found.at.criterion)).nonzero()[:, 0]
    if not len(changed):
        return found
    at = equations.evaluate(theta[changed], own[changed])
    good = at.criterion <= found.at.criterion[changed] + 1e-8
    return _taken(found, changed[good], BatchEstimates(theta[changed], at, found.converged[changed]), good)


def _taken(found: BatchEstimates, places: Tensor, other: BatchEstimates, mask: Tensor) -> BatchEstimates:
    """The estimates with some replicates' replaced."""
    found.theta[places] = other.theta[mask]
    found.converged[places] = other.converged[mask]
    for name in ("criterion", "sigma2", "score", "hessian", "beta", "beta_covariance"):
        getattr(found.at, name)[places] = getattr(other.at, name)[mask]
    return found


def _part(at: BatchEvaluation, which: Tensor) -> BatchEvaluation:
    return BatchEvaluation(
        at.criterion[which],
        at.sigma2[which],
        at.score[which],
        at.hessian[which],
        at.beta[which],
        at.beta_covariance[which],
    )


def _collapsed(equations: BatchEquations, theta: Tensor) -> Tensor:
    """Replicates with a variance at zero, (B,) bool."""
    out = torch.zeros(len(theta), dtype=torch.bool)
    for term, factor in zip(equations.model.terms, equations.factors(theta), strict=True):
        out |= (factor.norm(dim=2) < NEAR * term.scale * equations.model.unit).any(dim=1)
    return out


def _starts(equations: BatchEquations, own: Responses) -> list[Tensor]:
    """The best points (B, m) of a grid of the terms' sizes for every replicate, as a single fit tries them: best first."""
    model = equations.model
    count = len(model.terms)
    if count <= 3 and model.n <= MANY_ROWS:
        grid, best = list(product(SIZES, repeat=count)), 3
    else:
        grid, best = [tuple(s if i == z else 1.0 for i in range(count)) for z in range(count) for s in SIZES], 1
    points = torch.stack(
        [
            model.join([t.structure.start(t.scale * model.unit * s) for t, s in zip(model.terms, sizes, strict=True)])
            for sizes in grid
        ]
    )
    replicates = len(own.square)
    criteria = torch.stack([equations.evaluate(p.expand(replicates, -1), own).criterion for p in points], dim=1)
    order = criteria.argsort(dim=1)[:, :best]
    return [points[order[:, i]] for i in range(order.shape[1])]
