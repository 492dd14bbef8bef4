"""A finding: what was seen in a fit, why it matters, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

#: From the gravest on.
SEVERITIES = ("problem", "warning", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    severity : {"problem", "warning", "note", "ok"}
        Numbers that are not to be used; numbers to use with care; worth knowing; as it should be.
    topic : str
        ``"convergence"``, ``"singular term"``, ``"residual structure"``, ...
    what : str
        What was seen, in a sentence.
    why : str
        Why it matters.
    do : str
        The next step.
    subject : tuple of str
        The terms, coefficients, rows or levels that it is about.
    values : mapping
        Numbers behind it, by name.
    """

    severity: str
    topic: str
    what: str
    why: str
    do: str
    subject: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.severity.capitalize()}: {self.what}", self.why, self.do) if part)


class Verdict(list[Finding]):
    """Findings, the gravest first."""

    def __init__(self, findings: Sequence[Finding] = ()) -> None:
        super().__init__(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))

    @property
    def severity(self) -> str:
        """The gravest severity."""
        return self[0].severity if self else "ok"

    def of(self, topic: str) -> list[Finding]:
        """The findings about a topic."""
        return [f for f in self if f.topic == topic]

    def table(self) -> pd.DataFrame:
        """A row per finding: severity, topic, what, why, do."""
        names = ["severity", "topic", "what", "why", "do"]
        return pd.DataFrame([[getattr(f, name) for name in names] for f in self], columns=names)

    def __str__(self) -> str:
        return "\n".join(f"[{f.severity}] {f.what}\n    {f.why} {f.do}".rstrip() for f in self)

    def _repr_html_(self) -> str:
        return self.table().to_html(index=False)
