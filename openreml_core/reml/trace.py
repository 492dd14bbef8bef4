"""What happened in each iteration: a row with its numbers and one sentence. Monitor, command line and tests read this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

START, AI, SHORTENED, NEWTON, REJECTED, EM = "start", "AI", "AI shortened", "Newton", "rejected", "EM"


@dataclass(frozen=True)
class TraceRow:
    """One iteration.

    Attributes
    ----------
    iteration : int
        0 is the start.
    criterion : float
        -2 log-likelihood where the step led (for a rejected step: where the search stays).
    change : float
        Against the row before; negative is better.
    gradient : float
        Largest |d l / d theta| times the size of theta.
    radius : float
        The trust region's, in sizes of the parameters.
    ratio : float
        Gain over promised gain; NaN where nothing was promised.
    step : str
        ``"start"``, ``"AI"``, ``"AI shortened"``, ``"Newton"`` (exact second derivatives), ``"rejected"`` or ``"EM"``.
    parameters : dict of str to float
        On the natural scale, units of y squared.
    seconds : float
        Since the fit began.
    sentence : str
        The same for a person.
    """

    iteration: int
    criterion: float
    change: float
    gradient: float
    radius: float
    ratio: float
    step: str
    parameters: dict[str, float]
    seconds: float
    sentence: str


def trace_frame(rows: Sequence[TraceRow]) -> pd.DataFrame:
    """The rows as a table: the columns of TraceRow, then one column per parameter."""
    fixed = ["iteration", "criterion", "change", "gradient", "radius", "ratio", "step", "seconds", "sentence"]
    frame = pd.DataFrame([{name: getattr(row, name) for name in fixed} for row in rows], columns=fixed)
    parameters = pd.DataFrame([row.parameters for row in rows], index=frame.index)
    return pd.concat([frame, parameters], axis=1)


def sentence(step: str, *, change: float, ratio: float, radius: float, zero: Sequence[str] = (), why: str = "") -> str:
    """Say in words what a step did.

    Parameters
    ----------
    step : str
        Kind of step.
    change, ratio, radius : float
        As in TraceRow, the radius after the step.
    zero : sequence of str
        Parameters that are at zero now and were not before.
    why : str
        Why a step was rejected.
    """
    gain = -change
    if step == START:
        text = why or "Starting values: every random effect adds as much to the variance as the residual does."
    elif step == REJECTED:
        text = f"Step rejected: {why}. The search stays where it is and tries a shorter step (radius {radius:.2g})."
    elif step == EM:
        text = f"EM step: variances replaced by what the predicted effects suggest; the criterion falls by {gain:.3g}."
    elif step == SHORTENED:
        text = f"Average-information step, shortened to the trust region; the criterion falls by {gain:.3g}."
    elif step == NEWTON:
        text = (
            f"Newton step (average information had misjudged, so exact derivatives); the criterion falls by {gain:.3g}."
        )
    else:
        text = f"Average-information step accepted; the criterion falls by {gain:.3g}."
    if step in (AI, SHORTENED, NEWTON) and gain <= 0:
        text = "A last step; the criterion no longer changes beyond rounding error."
    elif step in (AI, SHORTENED, NEWTON) and ratio == ratio and ratio < 0.5:
        text += f" That is {max(ratio, 0.0):.0%} of what was promised."
    if zero:
        text += f" {', '.join(zero)} {'is' if len(zero) == 1 else 'are'} now zero."
    return text
