"""What can go wrong, said so that the user knows what happened and what to do next.

Every mistake a user can make ends in one of these. The message names the column, term or row; the hint is the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any


class ModelError(Exception):
    """Something in the model, its data or its fit needs the user's hand.

    Parameters
    ----------
    message : str
        What was found, with the name of the column, term or row.
    hint : str, optional
        What to do next.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message if hint is None else f"{message} {hint}")


class FormulaError(ModelError):
    """The formula cannot be read, or asks for something a formula may not do."""


class DataError(ModelError):
    """The table cannot be read, or does not carry what the model asks of it."""


class StructureError(ModelError, ValueError):
    """There is no covariance structure of this size, order or kind."""


class ConvergenceError(ModelError):
    """No estimate could be reached from the starting values given."""


class FitCancelled(ModelError):
    """The caller asked the fit to stop.

    Attributes
    ----------
    trace : list of TraceRow
        The iterations up to then.
    """

    def __init__(self, trace: Sequence[Any] = ()) -> None:
        self.trace = list(trace)
        super().__init__(f"The fit was cancelled after {max(len(self.trace) - 1, 0)} iterations.")


class RepeatCancelled(ModelError):
    """The caller asked repeated work to stop.

    Attributes
    ----------
    results : dict of int to object
        What had been done by then, by the place of the task.
    tasks : int
        How many there were.
    """

    def __init__(self, results: Mapping[int, Any], tasks: int) -> None:
        self.results, self.tasks = dict(results), tasks
        super().__init__(f"Cancelled after {len(self.results)} of {tasks} tasks.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.results, self.tasks)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return ``"Did you mean *yield*?"`` for the closest known name, else the list of known names."""
    close = get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.6)
    if not close:
        lower = {str(k).lower(): str(k) for k in known}
        close = [lower[name.lower()]] if name.lower() in lower else []
    if close:
        return f"Did you mean *{close[0]}*?"
    shown = ", ".join(str(k) for k in list(known)[:12])
    return f"The columns are: {shown}{', ...' if len(known) > 12 else ''}." if shown else ""
