"""What the trace of an EM fit says: names and values of the group's parameters, and a sentence per iteration."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from openreml_core.hierarchical.group import Group
from openreml_core.reml.trace import EM, REJECTED, START, TraceRow

SQUAREM, ZERO, FREED = "SQUAREM", "to zero", "from zero"

__all__ = ["EM", "FREED", "REJECTED", "SQUAREM", "START", "ZERO", "group_values", "print_progress", "sentence"]


def group_values(group: Group, names: Sequence[str], terms: Sequence[str]) -> dict[str, float]:
    """Means (or coefficients), variances and covariances by name, on the free scale.

    With families other than the Gaussian the variances are those of the scale matrix.
    """
    out: dict[str, float] = {}
    for j, name in enumerate(names):
        for t, term in enumerate(terms):
            out[f"{name}.{'mean' if len(terms) == 1 else term}"] = float(group.coefficients[t, j])
    for j, name in enumerate(names):
        out[f"{name}.variance"] = float(group.scale[j, j])
    if not group.diagonal:
        for j in range(group.d):
            for k in range(j):
                out[f"group.covariance({names[k]}, {names[j]})"] = float(group.scale[j, k])
    return out


def sentence(step: str, *, change: float, length: float, lost: int) -> str:
    """Say in words what a step did."""
    gain = -change
    if step == START:
        text = "Starting values of the group; every subject is fitted under them."
    elif step == REJECTED:
        text = f"Extrapolation rejected: {length:.3g} EM steps at once led to less evidence or lost a subject."
    elif step == SQUAREM:
        text = f"Extrapolated along EM's path, {length:.3g} times its step; -2 log evidence changes by {-gain:.3g}."
    elif step == ZERO:
        text = f"A variance that EM was taking to zero is set there; -2 log evidence changes by {-gain:.3g}."
    elif step == FREED:
        text = f"The evidence rises with a variance that was at zero: it is let go; -2 log evidence changes by {-gain:.3g}."
    else:
        text = f"EM step: the group as the subjects' posteriors suggest it; -2 log evidence changes by {-gain:.3g}."
    if change != change and step in (EM, SQUAREM):
        text = "EM step: the group as the subjects' posteriors suggest it."
    if lost:
        text += f" {lost} subject{' is' if lost == 1 else 's are'} left out from here on."
    return text


def print_progress(row: TraceRow) -> None:
    """Print a line per iteration to the error stream: ``fit(..., on_iteration=print_progress)``."""
    print(
        f"iteration {row.iteration:3d}  -2 log evidence {row.criterion:.6f}  step {row.gradient:.1e}  {row.step}",
        file=sys.stderr,
        flush=True,
    )
