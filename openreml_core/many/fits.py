"""The result of many fits: a table of them, the fits themselves, and those that failed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from openreml_core.errors import ModelError
from openreml_core.fitted import MixedModelFit
from openreml_core.many.tasks import FitDone
from openreml_core.report.words import number

#: Rows of the table that are printed.
SHOWN = 30
_SCALARS = ("n", "criterion", "converged", "singular", "seconds", "error", "message")


class Fits(Mapping[Any, MixedModelFit]):
    """The fits by their key: a group's value, a response, or the tuple of them where there are several.

    A fit that came from another process is read when it is asked for.
    """

    def __init__(self, done: Sequence[FitDone]) -> None:
        self._kept = {short(one.key): one.kept for one in done if one.kept is not None}
        self._failed = {short(one.key): one.message for one in done if one.kept is None}

    def __getitem__(self, key: Any) -> MixedModelFit:
        try:
            return self._kept[key].fit
        except KeyError:
            why = self._failed.get(key, f"The fits are {', '.join(map(repr, list(self._kept)[:8]))}, ...")
            raise KeyError(f"There is no fit of {key!r}. {why}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"<{len(self)} fits>"


class ManyFits:
    """Many fits of one model.

    Attributes
    ----------
    formula : str
    by, responses : tuple of str
        What the fits differ in.
    table : DataFrame
        A row per fit: the columns of ``by``, ``response`` where there are several, n, criterion, converged, singular,
        seconds, error (the kind, empty where there is a fit), message, and the variance parameters by name. A column of
        ``by`` with one of these names has ".by" behind it.
    parameters : tuple of str
        The variance parameters among its columns.
    fits : mapping of key to MixedModelFit
        By the group's value, the response, or the tuple of both; those that failed are not in it.
    notes : tuple of str
        What the user should know.
    seconds : float
        Time that all of it took.
    """

    def __init__(
        self,
        formula: str,
        by: tuple[str, ...],
        responses: tuple[str, ...],
        done: Sequence[FitDone],
        notes: tuple[str, ...],
        seconds: float,
    ) -> None:
        self.formula, self.by, self.responses = formula, by, responses
        self.notes, self.seconds = notes, seconds
        self.fits = Fits(done)
        self.parameters = tuple(dict.fromkeys(name for one in done for name in one.row if name not in _SCALARS))
        self._labels = _apart([*by, *(["response"] if responses else [])], {*_SCALARS, *self.parameters})
        rows = [{**dict(zip(self._labels, one.key, strict=True)), **one.row} for one in done]
        self.table = pd.DataFrame(rows, columns=[*self._labels, *_SCALARS, *self.parameters]).astype(
            {"n": "Int64", "converged": "boolean", "singular": "boolean"}
        )

    @property
    def failures(self) -> pd.DataFrame:
        """The fits that failed: their labels, the kind of error and its message."""
        return self.table.loc[self.table["error"] != "", [*self._labels, "error", "message"]].reset_index(drop=True)

    def tidy(self, what: str = "fixed") -> pd.DataFrame:
        """The tables of all fits in one, each row with the labels of its fit.

        Parameters
        ----------
        what : {"fixed", "random", "blup"}
            Coefficients, variance parameters or BLUPs, as ``fit.tidy`` gives them.
        """
        if what not in ("fixed", "random", "blup"):
            raise ModelError(f"tidy({what!r}) is not known.", hint="Choose 'fixed', 'random' or 'blup'.")
        parts = []
        for key, fitted in self.fits.items():
            part = fitted.tidy(what)
            values = key if len(self._labels) > 1 else (key,)
            for place, (label, value) in enumerate(zip(_apart(self._labels, part.columns), values, strict=True)):
                part.insert(place, label, value)
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=self._labels)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: Any) -> MixedModelFit:
        return self.fits[key]

    def summary(self) -> str:
        """The table as text, and what failed."""
        lines = [self._headline, "", self._text_table().to_string(index=False)]
        if len(self) > SHOWN:
            lines.append(f"... {len(self) - SHOWN} more in .table")
        failed = self._failed_lines()
        lines += ["", "Failed", *(f"- {line}" for line in failed)] if failed else []
        lines += ["", "Notes", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<ManyFits {self.formula!r}: {len(self.fits)} fits, {len(self) - len(self.fits)} failed>"

    def _repr_html_(self) -> str:
        items = [*self._failed_lines(), *self.notes]
        return (
            f"<div><p><b>{escape(self._headline)}</b></p>{self._text_table().to_html(index=False, border=0)}"
            + (f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else "")
            + "</div>"
        )

    @property
    def _headline(self) -> str:
        what = " and ".join([*self.by, *([f"{len(self.responses)} responses"] if self.responses else [])])
        converged = int(self.table["converged"].fillna(False).sum())
        counts = [f"{converged} of {len(self)} converged"]
        if singular := int(self.table["singular"].fillna(False).sum()):
            counts.append(f"{singular} singular")
        if failed := len(self) - len(self.fits):
            counts.append(f"{failed} failed")
        return f"{self.formula}, by {what}: {', '.join(counts)}; {self.seconds:.1f} s"

    def _text_table(self) -> pd.DataFrame:
        """What is printed: labels, scalars and variance parameters, rounded."""
        shown = self.table[self.table["error"] == ""].drop(columns=["error", "message"]).head(SHOWN)
        return pd.DataFrame({name: [_cell(name, value) for value in shown[name]] for name in shown.columns})

    def _failed_lines(self) -> list[str]:
        labels = self.failures[self._labels].itertuples(index=False, name=None)
        lines = [
            f"{', '.join(map(str, key))}: {why}" for key, why in zip(labels, self.failures["message"], strict=True)
        ]
        return lines[:SHOWN] + ([f"{len(lines) - SHOWN} more in .failures"] if len(lines) > SHOWN else [])


def _apart(labels: Sequence[str], taken: Collection[str]) -> list[str]:
    """Labels for columns beside others that may have their names."""
    return [f"{label}.by" if label in taken or label in labels[:place] else label for place, label in enumerate(labels)]


def short(key: tuple[Any, ...]) -> Any:
    """A key of one part as that part."""
    return key[0] if len(key) == 1 else key


def _cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    if name == "seconds":
        return f"{value:.3f}"
    if name == "criterion":
        return f"{value:.4f}"
    if name in ("converged", "singular"):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)
