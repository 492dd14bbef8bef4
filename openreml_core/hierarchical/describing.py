"""What trials hold before they are fitted: how many subjects and trials, and which subjects stand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.hierarchical.model import Model
from openreml_core.hierarchical.subjects import OK, Subjects, collect

#: Values of a response that are counted one by one.
FEW = 6
LISTED = 8


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials as a model sees them.

    Attributes
    ----------
    seen : tuple of str
        How many subjects and trials there are, and what the response is.
    findings : tuple of str
        What stands out: subjects that are left out or tell little, rows out of order.
    subjects : DataFrame
        subject, trials, status.
    """

    seen: tuple[str, ...]
    findings: tuple[str, ...]
    subjects: pd.DataFrame

    @property
    def usable(self) -> int:
        """Subjects that can be fitted."""
        return int((~self.subjects["status"].str.startswith("excluded")).sum())


def describe_trials(model: Model, data: Any, subject: str = "subject", missing: str = "exclude") -> Trials:
    """Describe trials in words.

    Parameters
    ----------
    model, data, subject, missing
        As for :func:`fit`.

    Raises
    ------
    DataError
        A column is missing, or no subject can be used.

    Examples
    --------
    >>> from openreml_core.hierarchical.models import SignalDetection
    >>> model = SignalDetection()
    >>> describe_trials(model, model.simulate(n_subjects=3, n_trials=20, seed=1)).seen[0]
    '3 subjects with 20 trials each, 60 in all.'
    """
    found = collect(data, subject, model, missing)
    table = pd.DataFrame({"subject": list(found.names), "trials": found.n_trials, "status": list(found.status)})
    return Trials((_counts(found), *_response(found, model)), tuple(_findings(found, model)), table)


def _counts(found: Subjects) -> str:
    n, lengths = len(found.names), found.n_trials
    low, high, total = int(lengths.min()), int(lengths.max()), int(lengths.sum())
    who = f"{n:,} subject{'' if n == 1 else 's'}"
    if low == high:
        return f"{who} with {low:,} trial{'' if low == 1 else 's'} each, {total:,} in all."
    return f"{who} with {low:,} to {high:,} trials (median {np.median(lengths):g}), {total:,} in all."


def _response(found: Subjects, model: Model) -> list[str]:
    if model.response is None:
        return []
    values = pd.concat([found.tables[k][model.response] for k in found.usable]).dropna()
    shares = values.value_counts(normalize=True).sort_index()
    if len(shares) <= FEW:
        each = ", ".join(f"{_value(v)} in {100 * s:.0f} %" for v, s in shares.items())
        return [f"*{model.response}* is {each} of the trials."]
    return [f"*{model.response}* lies between {values.min():.4g} and {values.max():.4g}."]


def _findings(found: Subjects, model: Model) -> list[str]:
    status = dict(zip(found.names, found.status, strict=True))
    out = {n: s.removeprefix("excluded: ") for n, s in status.items() if s.startswith("excluded")}
    one = [str(n) for n, s in status.items() if s == "one trial only"]
    constant = [str(n) for n, s in status.items() if s not in (OK, "one trial only") and n not in out]
    sentences = []
    if out:
        sentences.append(f"{_who(len(out))} will be left out: {_listed([f'{n} ({why})' for n, why in out.items()])}.")
    if one:
        sentences.append(
            f"{_who(len(one))} with one trial only: {_listed(one)}. "
            "The estimates of such a subject say what the group is, not what the subject is."
        )
    if constant:
        sentences.append(
            f"{_who(len(constant))} with the same *{model.response}* in all trials: {_listed(constant)}. "
            "They are fitted, but tell little of their parameters and are drawn towards the group."
        )
    if getattr(model, "ordered", False):
        sentences += _order(found)
    return sentences


def _order(found: Subjects) -> list[str]:
    """Rows count as trials in their order; a column of trial numbers tells whether that is so."""
    column = next((c for c in found.tables[0] if str(c).lower() in ("trial", "trial_number", "trialnumber")), None)
    if column is None or not pd.api.types.is_numeric_dtype(found.tables[0][column]):
        return []
    wrong = [str(n) for n, t in zip(found.names, found.tables, strict=True) if not t[column].is_monotonic_increasing]
    if not wrong:
        return []
    return [
        f"The rows of {_who(len(wrong)).lower()} are not in the order of *{column}*: {_listed(wrong)}. The model takes trials "
        "in the order of the rows; sort the table."
    ]


def _who(n: int) -> str:
    return f"{n:,} subject{'' if n == 1 else 's'}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)


def _listed(items: list[str]) -> str:
    return ", ".join(items[:LISTED]) + (f" and {len(items) - LISTED:,} more" if len(items) > LISTED else "")
