"""Other starts, for when a variance has ended at zero: the likelihood may have a higher hill elsewhere.

A likelihood of several variances can have more than one maximum, and a search that takes a variance to zero early may
have taken the lower one (a random slope on a covariate far from its zero, without its fixed slope, is the usual case).
The criterion is looked at over a coarse grid of the terms' sizes, which costs no derivatives, and the search is repeated
from the best points.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import CholeskyStructure, TreeStructure
from openreml_core.engines import Engine, Evaluation, NotPositiveDefinite
from openreml_core.model import MixedModel

#: Sizes of a term's effects that are tried, relative to the residual's.
SIZES = (0.3, 3.0, 30.0, 300.0)
#: Rows beyond which terms are tried one at a time.
MANY_ROWS = 500
#: How many points of the grid are searched from; one with many rows.
BEST = 3
#: Deviations below this share of a typical one are lifted to it for a start: at zero the likelihood has no slope.
LIFT = 0.1


def collapsed(engine: Engine, at: Evaluation, free: np.ndarray) -> list[int]:
    """Random terms that have a variance at zero though they were free."""
    model = engine.model
    out = []
    parts = zip(model.terms, model.split(at.theta), model.slices, strict=False)
    for i, (term, part, where) in enumerate(parts):
        if free[where].any() and "at zero" in term.structure.boundary(part, term.scale * model.unit):
            out.append(i)
    return out


def other_starts(engine: Engine, at: Evaluation, free: np.ndarray) -> list[Tensor]:
    """The most promising points of the grid, best first; none where no variance is at zero."""
    model = engine.model
    thetas = _grid(engine, at, free) if model.terms else _of_trees(engine, at)
    found: list[tuple[float, int, Tensor]] = []
    for number, theta in enumerate(thetas):
        try:
            found.append((engine.criterion(theta), number, theta))
        except NotPositiveDefinite:
            continue
    return [theta for _, _, theta in sorted(found, key=lambda f: f[:2])[: BEST if model.n <= MANY_ROWS else 1]]


def _grid(engine: Engine, at: Evaluation, free: np.ndarray) -> Iterator[Tensor]:
    """Terms' sizes in every combination, or one term at a time."""
    model = engine.model
    zero = collapsed(engine, at, free)
    count = len(model.terms)
    if count <= 3 and model.n <= MANY_ROWS:
        grid = list(product(SIZES, repeat=count)) if zero else []
    else:
        grid = [tuple(size if i == z else 1.0 for i in range(count)) for z in zero for size in SIZES]
    for sizes in grid:
        parts = []
        for i, component in enumerate(model.components):
            size = sizes[i] if i < count else 1.0
            parts.append(component.structure.start(component.scale * model.unit * size))
        yield torch.where(torch.from_numpy(free), model.join(parts), at.theta)


def _of_trees(engine: Engine, at: Evaluation) -> list[Tensor]:
    """The same for a V that is built by hand."""
    for component in engine.model.components:
        if isinstance(component.structure, TreeStructure):
            return component.structure.restarts(at.theta, SIZES, engine.model.n <= MANY_ROWS)
    return []


def lifted(model: MixedModel, theta: Tensor, free: np.ndarray) -> Tensor:
    """theta as a start: what stands at zero moved off it, to a tenth of its typical size."""
    parts = []
    for component, part in zip(model.components, model.split(theta), strict=True):
        structure, scale = component.structure, component.scale * model.unit
        if isinstance(structure, CholeskyStructure) and not structure.log:
            small = (structure.rows == structure.columns) & (part.abs() < LIFT * scale[structure.rows])
            part = torch.where(small, LIFT * scale[structure.rows], part)
        elif "at zero" in structure.boundary(part, scale):
            part = structure.start(scale)
        parts.append(part)
    return torch.where(torch.from_numpy(free), model.join(parts), theta)
