"""What was asked for: the options of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from openreml_core.tables import Excluded


@dataclass(frozen=True)
class Specification:
    """What was asked for: every option of ``fit`` that the result depends on."""

    formula: str
    residual: str | None = None
    method: str = "reml"
    weights: str | None = None
    offset: str | None = None
    contrasts: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "ai"
    engine: str = "auto"
    max_iterations: int | None = None
    start: dict[str, Any] | None = None
    fixed: dict[str, Any] | None = None
    ties: dict[str, str] | None = None
    missing: str = "drop"
    #: Rows that were left out on purpose: their labels and the reasons.
    excluded: Excluded = ()
