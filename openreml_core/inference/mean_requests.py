"""From what a user asks, ``means("a * b", by="c", at={"x": 3})``, to the combinations of effects that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openreml_core.design import Design
from openreml_core.design.table import Table
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.inference.coefficients import check_level
from openreml_core.inference.contrasts import approximation
from openreml_core.inference.grid import Estimability, ReferenceGrid
from openreml_core.inference.means import MarginalMeans
from openreml_core.inference.predicted import Combinations
from openreml_core.reml import Estimates

#: Step of a slope's difference quotient, in units of the covariate's spread.
STEP = 1e-3


def names_of(spec: str | Sequence[str], by: str | Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The factors that rows stand for, and those within which they are compared.

    ``"a"``, ``"a:b"``, ``"a * b"``, ``"a | b"``, ``["a", "b"]``; ``"1"`` for the mean of all.

    Examples
    --------
    >>> names_of("nitro * Variety | Block", None)
    (['nitro', 'Variety'], ['Block'])
    """
    if isinstance(spec, str):
        left, bar, right = spec.partition("|")
        own = [] if left.strip() in ("", "1") else _parts(left)
        within = _parts(right) if bar else []
    else:
        own, within = [str(name) for name in spec], []
    within += _parts(by) if isinstance(by, str) else [str(name) for name in by or ()]
    within = list(dict.fromkeys(within))
    return [name for name in dict.fromkeys(own) if name not in within], within


def _parts(text: str) -> list[str]:
    return [part.strip().strip("`") for part in text.replace("*", ":").replace("+", ":").split(":") if part.strip()]


@dataclass(frozen=True)
class Asked:
    """What means or slopes are asked for; the fields are the arguments of ``fit.means`` and ``fit.trends``."""

    spec: str | Sequence[str]
    by: str | Sequence[str] | None
    at: Mapping[str, Any] | None
    ddf: str
    weights: str
    level: float

    def names(self, estimates: Estimates) -> tuple[list[str], list[str]]:
        """The factors of the rows and those within which they are compared; the level and the df's method are looked at.

        Raises
        ------
        ModelError
            A level that is no probability, a method for the degrees of freedom that is not there.
        """
        check_level(self.level)
        approximation(estimates, self.ddf)
        return names_of(self.spec, self.by)


def marginal_means(
    estimates: Estimates,
    design: Design,
    asked: Asked,
    random: str | Sequence[str] = (),
) -> MarginalMeans:
    """Means of the response over the reference grid, as ``fit.means`` has them."""
    own, within = asked.names(estimates)
    chosen = [random] if isinstance(random, str) else list(random)
    terms = [t.name for t in estimates.engine.model.terms]
    for name in chosen:
        if name not in terms:
            raise ModelError(
                f"random names *{name}*, which is no random term of this model.",
                hint=did_you_mean(name, terms).replace("columns", "terms") or "The model has no random terms.",
            )
    grid = ReferenceGrid(design, asked.at, _random_factors(design, [*own, *within], chosen))
    _check(grid, [*own, *within], design)
    cells, code = grid.cells([*own, *within])
    weight = grid.weights([*own, *within], asked.weights)
    sums = _adder(code, weight, len(cells))
    whole = sums(grid.rows())
    fixed, estimable = Estimability(design, _all_columns(design)).split(whole)
    effects: tuple[np.ndarray, ...] = ()
    if chosen:
        effects, seen = _random_parts(design, grid, chosen, code, weight, len(cells))
        estimable = estimable & seen
    combinations = Combinations(fixed, sums(grid.offset()[:, None])[:, 0], estimable, effects)
    answer = MarginalMeans(estimates, cells, combinations, tuple(within), asked.ddf, asked.level)
    return answer.with_notes(_notes(answer, grid, chosen, asked.weights))


def marginal_slopes(
    estimates: Estimates,
    design: Design,
    variable: str,
    asked: Asked,
) -> MarginalMeans:
    """Slopes of the mean along a covariate, as ``fit.trends`` has them.

    The row's derivative is a difference quotient of order four of the design's own columns, exact for powers up to the fourth.
    """
    own, within = asked.names(estimates)
    grid = ReferenceGrid(design, asked.at)
    covariates = [axis.name for axis in grid.axes if not axis.is_factor]
    if variable not in covariates:
        raise ModelError(
            f"*{variable}* is no covariate of the fixed part of this model.",
            hint=did_you_mean(variable, covariates).replace("columns", "covariates") or "The fixed part has none.",
        )
    _check(grid, [*own, *within], design)
    cells, code = grid.cells([*own, *within])
    sums = _adder(code, grid.weights([*own, *within], asked.weights), len(cells))
    frame = grid.frame
    values = design.frame[variable].to_numpy(dtype=float)
    step = STEP * (float(np.ptp(values)) or 1.0)
    slope: np.ndarray | float = 0.0
    for times, share in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
        moved = frame.assign(**{variable: frame[variable] + times * step})
        slope = slope + share / (12 * step) * np.column_stack([grid.rows(moved), design.offset_vector(moved)])
    sloped = sums(np.asarray(slope))
    fixed, estimable = Estimability(design, _all_columns(design)).split(sloped[:, :-1])
    combinations = Combinations(fixed, sloped[:, -1], estimable)
    answer = MarginalMeans(estimates, cells, combinations, tuple(within), asked.ddf, asked.level)
    return answer.with_notes(_notes(answer, grid, (), asked.weights, of=f"slope along {variable}"))


def _adder(code: np.ndarray, weight: np.ndarray, count: int) -> Any:
    """Weighted sums of the grid's rows over the cells: (g, m) -> (count, m)."""

    def add(rows: np.ndarray) -> np.ndarray:
        out = np.zeros((count, rows.shape[1]))
        counts = weight != 0  # NaN where a cell has no rows to be weighed by
        np.add.at(out, code[counts], weight[counts, None] * rows[counts])
        return out

    return add


def _all_columns(design: Design) -> np.ndarray:
    """The columns over the rows of the data, aliased ones too; X itself where there are none."""
    return ReferenceGrid.rows_of(design, design.frame) if design.aliased else design.X


def _check(grid: ReferenceGrid, names: Sequence[str], design: Design) -> None:
    known = {axis.name for axis in grid.axes if axis.is_factor or len(axis.labels) > 1}
    for name in names:
        if name in known:
            continue
        covariates = [axis.name for axis in grid.axes]
        if name in covariates:
            raise ModelError(
                f"*{name}* is a number: it has no levels to take means at.",
                hint=f'Give values, at={{"{name}": [1, 2]}}; its slope is fit.trends("{name}").',
            )
        if any(name in r.group for r in design.random):
            raise ModelError(
                f"*{name}* is random: its levels have BLUPs, not means.",
                hint=f'See fit.random_effects, or random="{_term_with(design, name)}" for predictions of its levels.',
            )
        factors = sorted(known)
        hint = did_you_mean(name, factors).replace("columns", "factors")
        raise ModelError(f"*{name}* is no factor of the fixed part of this model.", hint=hint or 'Ask for means("1").')


def _term_with(design: Design, name: str) -> str:
    return next(r.name for r in design.random if name in r.group)


def _random_factors(design: Design, names: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Factors of the rows asked for that only stand in random terms which count."""
    groups = {factor for r in design.random if r.name in chosen for factor in r.group}
    fixed = {name for term in design.fixed_terms for name in term.factors}
    return [name for name in names if name in groups and name not in fixed]


def _random_parts(
    design: Design, grid: ReferenceGrid, chosen: Sequence[str], code: np.ndarray, weight: np.ndarray, count: int
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """K_t of every random term, (count, q, k), and whether each row has levels of all that count.

    A term is averaged over those of its levels that agree with a cell of the grid in the factors they share.
    """
    frame, out, seen = grid.frame, [], np.ones(count, dtype=bool)
    labels = {}
    for axis, places in zip(grid.axes, grid.places, strict=True):
        labels[axis.name] = np.array([str(v) for v in axis.labels], dtype=object)[places]
    for random in design.random:
        q, k = len(random.levels), len(random.effects)
        part = np.zeros((count, q, k))
        out.append(part)
        if random.name not in chosen:
            continue
        if random.index is not None or not random.group:
            raise ModelError(
                f"*{random.name}* has positions or a spline, whose effects are not averaged over levels.",
                hint="Leave it out of random=.",
            )
        shared = [(place, name) for place, name in enumerate(random.group) if name in labels]
        basis = random.left.basis(Table.of(frame))
        levels = np.array(
            [[random.factors[p].levels[c] for p, c in enumerate(row)] for row in random.combinations], dtype=object
        )
        for cell in np.flatnonzero(weight != 0):
            agree = np.ones(q, dtype=bool)
            for place, name in shared:
                agree &= levels[:, place] == labels[name][cell]
            if agree.any():
                part[code[cell], agree] += weight[cell] / agree.sum() * basis[cell]
            else:
                seen[code[cell]] = False
    return tuple(out), seen


def _notes(
    answer: MarginalMeans, grid: ReferenceGrid, chosen: Sequence[str], weights: str, of: str = "mean"
) -> list[str]:
    shown = list(answer.cells.columns)
    over = [axis.name for axis in grid.axes if axis.is_factor and axis.name not in shown and len(axis.labels) > 1]
    fixed = [
        f"{axis.name} = {axis.labels[0]:.6g}" for axis in grid.axes if not axis.is_factor and len(axis.labels) == 1
    ]
    out = []
    if over:
        how = {"equal": "equal weights", "proportional": "weights in proportion to their frequency"}
        out.append(f"Averaged over {', '.join(over)} with {how.get(weights, f'weights: {weights}')}.")
    if fixed:
        out.append(f"At {', '.join(fixed)}.")
    if chosen:
        out.append(f"BLUPs of {', '.join(chosen)} are in the {of}s, averaged over levels.")
    missing = int((~answer.combinations.estimable).sum())
    if missing:
        out.append(
            f"{missing} of {len(answer.cells)} {of}s cannot be estimated: combinations that they need do not occur in the data."
        )
    return out
