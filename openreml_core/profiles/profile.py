"""Profile likelihood of a fit: its curves, and the intervals that are read off them.

An interval of level 1 - alpha holds the values that a likelihood-ratio test keeps: zeta^2 <= chi2(1)'s quantile. The
likelihood is ML's, as in lme4's ``confint``, since fixed effects change what REML is the likelihood of; for variance parameters
REML's own profile can be asked for, whose centre is the REML estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from scipy.interpolate import PchipInterpolator

from openreml_core.engines import same_engine
from openreml_core.errors import FitCancelled, ModelError
from openreml_core.inference.components import natural_estimates
from openreml_core.inference.quantities import SD, Quantity, chosen, quantities
from openreml_core.profiles.curve import Side, Walk
from openreml_core.profiles.held import HeldEffect, HeldVariance, cannot
from openreml_core.reml import Estimates, maximise
from openreml_core.reml.restart import lifted

LIKELIHOODS = ("ml", "reml")
#: How far curves go in zeta (99.7 %), and their points' distance.
FAR, STEP = 3.0, 0.3


@dataclass(frozen=True, eq=False)
class Curve:
    """The profile of one quantity.

    Attributes
    ----------
    quantity : Quantity
    likelihood : str
        ``"ml"`` or ``"reml"``.
    estimate, criterion : float
        Where the profile has its minimum, and that minimum.
    values, zetas : array of shape (points,)
        psi, rising, and zeta with its sign.
    down, up : Side
    """

    quantity: Quantity
    likelihood: str
    estimate: float
    criterion: float
    values: np.ndarray
    zetas: np.ndarray
    down: Side
    up: Side

    def bound(self, zeta: float) -> float:
        """psi where zeta is reached, by a monotone cubic through the points; the end of its space, or infinity, beyond them."""
        side = self.up if zeta > 0 else self.down
        zetas, values = np.maximum.accumulate(side.zetas), np.array(side.values)
        if zetas[-1] < abs(zeta):
            return beyond(side, self.quantity, 1 if zeta > 0 else -1)
        kept = np.concatenate([[True], np.diff(zetas) > 1e-9])
        if kept.sum() < 2:
            return float(values[-1])
        return float(PchipInterpolator(zetas[kept], values[kept])(abs(zeta)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was met on the way, a sentence each."""
        return tuple(
            dict.fromkeys(f"{self.quantity.name}: {note}." for side in (self.down, self.up) for note in side.notes)
        )


def beyond(side: Side, quantity: Quantity, direction: int) -> float:
    """The bound of an interval whose profile does not reach so far."""
    if side.at_end:
        return side.values[-1]
    if quantity.kind == SD and direction < 0:
        return 0.0
    return direction * math.inf


class Profile:
    """The profile likelihood of a fit.

    Parameters
    ----------
    curves : sequence of Curve
    notes : sequence of str

    Attributes
    ----------
    table : DataFrame
        parameter, group, kind, value, zeta, criterion: the points of every curve in order, ready to plot.
    notes : tuple of str
        Which likelihood, and what was met.
    """

    def __init__(self, curves: Sequence[Curve], notes: Sequence[str]) -> None:
        self.curves = {curve.quantity.name: curve for curve in curves}
        self.notes = (*notes, *(note for curve in curves for note in curve.notes))
        self.table = pd.DataFrame(
            [
                {
                    "parameter": name,
                    "group": c.quantity.group,
                    "kind": c.quantity.kind,
                    "value": value,
                    "zeta": zeta,
                    "criterion": c.criterion + zeta**2,
                }
                for name, c in self.curves.items()
                for value, zeta in zip(c.values.tolist(), c.zetas.tolist(), strict=True)
            ],
            columns=["parameter", "group", "kind", "value", "zeta", "criterion"],
        )
        self.table.attrs["notes"] = self.notes

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """Intervals read off the curves: estimate (the profile's own), lower, upper, indexed by parameter."""
        z = bound_of(level)
        if z > FAR:
            raise ModelError(
                f"The curves go as far as a level of {stats.chi2.cdf(FAR**2, 1):.4f}.",
                hint="Ask fit.confint(method='profile', level=...) for more.",
            )
        rows = [
            (c.quantity.group, c.quantity.kind, c.estimate, c.bound(-z), c.bound(z), c.likelihood)
            for c in self.curves.values()
        ]
        index = pd.Index(list(self.curves), name="parameter")
        table = pd.DataFrame(rows, index=index, columns=["group", "kind", "estimate", "lower", "upper", "likelihood"])
        table.attrs.update(level=level, method="profile", notes=self.notes)
        return table

    def __repr__(self) -> str:
        return f"<Profile of {', '.join(self.curves)}>"


def bound_of(level: float) -> float:
    """zeta at the bounds of an interval.

    Raises
    ------
    ModelError
        For a level that is no probability.
    """
    if not isinstance(level, int | float) or isinstance(level, bool) or not 0 < level < 1:
        raise ModelError(f"level={level!r} is not a probability.", hint="Give a number between 0 and 1, such as 0.95.")
    return float(stats.norm.ppf(0.5 + level / 2))


class Profiler:
    """Profiles quantities of a fit.

    Parameters
    ----------
    estimates : Estimates
    likelihood : {"ml", "reml"}
        Of the variance parameters; fixed effects have ML's.
    on_progress : callable, optional
        Called before every point with how many quantities of how many are done; returning False cancels.
    """

    def __init__(
        self, estimates: Estimates, likelihood: str = "ml", on_progress: Callable[[int, int], object] | None = None
    ) -> None:
        if likelihood not in LIKELIHOODS:
            raise ModelError(f"likelihood={likelihood!r} is not known.", hint="Choose 'ml' or 'reml'.")
        if likelihood == "reml" and estimates.engine.model.method == "ml":
            raise ModelError("This fit is by ML and has no REML profile.", hint="Choose likelihood='ml'.")
        self.likelihood = likelihood
        self.own = estimates
        self._found: dict[str, Estimates] = {estimates.engine.model.method: estimates}
        self.on_progress, self.done, self.total = on_progress, 0, 0

    def estimates(self, likelihood: str) -> Estimates:
        """The fit by a likelihood, repeated by ML where it is needed."""
        if likelihood not in self._found:
            own = self.own
            model = replace(own.engine.model, method=likelihood)
            start = own.ties.follow(lifted(model, own.at.theta, own.free))
            self._found[likelihood] = maximise(same_engine(own.engine, model), start, free=own.free, ties=own.ties)
        return self._found[likelihood]

    def start(self, quantity: Quantity) -> tuple[Walk, Walk, float, float, str]:
        """Walks down and up from the estimate; the estimate, about its standard error, and the likelihood."""
        likelihood = "ml" if quantity.is_fixed else self.likelihood
        estimates = self.estimates(likelihood)
        at, model = estimates.at, estimates.engine.model
        estimate = float(quantity.of(model.natural_values(at.theta, at.sigma2).numpy(), at.beta.numpy()))
        held = HeldEffect(estimates, quantity) if quantity.is_fixed else HeldVariance(estimates, quantity)
        if math.isnan(estimate):  # a correlation where a variance is zero
            estimate = 0.0
        estimate = min(max(estimate, held.lower), held.upper)
        down, up = (Walk(held, estimate, at.criterion, d, self._tell) for d in (-1, 1))
        return down, up, estimate, self._size(estimates, quantity, estimate), likelihood

    def _tell(self) -> None:
        if self.on_progress is not None and self.on_progress(self.done, self.total) is False:
            raise FitCancelled()

    def _size(self, estimates: Estimates, quantity: Quantity, estimate: float) -> float:
        model, at = estimates.engine.model, estimates.at
        if quantity.is_fixed:
            return float(at.beta_covariance[quantity.place, quantity.place].sqrt())
        if quantity.variances:
            return 0.2
        variance = natural_estimates(estimates).covariance[quantity.place, quantity.place]
        error = math.sqrt(variance) if variance > 0 else math.nan
        if quantity.kind == SD:
            error = error / (2 * estimate) if estimate > 0 else math.nan
            return error if error > 0 else 0.1 * model.typical_deviation
        return error if error > 0 else max(0.1, 0.1 * abs(estimate))

    def curve(self, quantity: Quantity, far: float = FAR, step: float = STEP) -> Curve:
        """The profile of a quantity, out to ``far`` in zeta on both sides."""
        down, up, estimate, size, likelihood = self.start(quantity)
        sides = [walk.out_to(far, step, size) for walk in (down, up)]
        values = np.array(sides[0].values[:0:-1] + sides[1].values)
        zetas = np.array([-z for z in sides[0].zetas[:0:-1]] + sides[1].zetas)
        return Curve(quantity, likelihood, estimate, down.criterion, values, zetas, *sides)

    def interval(
        self, quantity: Quantity, level: float, bound: float | None = None
    ) -> tuple[float, float, str, list[str]]:
        """Lower and upper bound, searched for on the profile itself; the likelihood; notes.

        Parameters
        ----------
        quantity : Quantity
        level : float
        bound : float, optional
            How far zeta goes; the normal's quantile by default.
        """
        z = bound_of(level) if bound is None else bound
        down, up, _, size, likelihood = self.start(quantity)
        bounds, notes = [], []
        for walk in (down, up):
            side = walk.out_to(z, 0.7 * z, size)
            bounds.append(walk.crossing(z) if side.reached else beyond(side, quantity, walk.direction))
            notes += [f"{quantity.name}: {note}." for note in dict.fromkeys(side.notes)]
        return bounds[0], bounds[1], likelihood, notes

    def words(self, taken: Sequence[Quantity]) -> list[str]:
        """Which likelihood the profiles are of."""
        out = []
        repeated = self.own.engine.model.method == "reml" and (
            self.likelihood == "ml" or any(q.is_fixed for q in taken)
        )
        if self.likelihood == "reml":
            out.append("Variance parameters: profiles of the restricted likelihood.")
            if any(q.is_fixed for q in taken):
                out.append("Fixed effects: profiles of the likelihood (ML), for which the model was refitted.")
        elif repeated:
            out.append("Profiles of the likelihood (ML), for which the model was refitted, as lme4 does.")
        else:
            out.append("Profiles of the likelihood (ML).")
        return out

    def chosen(self, parameters: object) -> tuple[list[Quantity], list[str]]:
        """The quantities that were asked for and can be profiled, and why others cannot."""
        asked = chosen(quantities(self.own.engine.model), parameters)
        why = {q: cannot(self.own, q) for q in asked}
        notes = [f"{q.name} has no profile: {reason}." for q, reason in why.items() if reason]
        taken = [q for q, reason in why.items() if not reason]
        if not taken:
            raise ModelError(" ".join(notes), hint="Ask for parameters that are estimated of themselves.")
        self.done, self.total = 0, len(taken)
        return taken, notes


def profile_of(
    estimates: Estimates,
    parameters: object = None,
    likelihood: str = "ml",
    on_progress: Callable[[int, int], object] | None = None,
) -> Profile:
    """The profiles of a fit: see ``fit.profile``."""
    profiler = Profiler(estimates, likelihood, on_progress)
    taken, notes = profiler.chosen(parameters)
    curves = []
    for quantity in taken:
        curves.append(profiler.curve(quantity))
        profiler.done += 1
    return Profile(curves, [*profiler.words(taken), *notes])
