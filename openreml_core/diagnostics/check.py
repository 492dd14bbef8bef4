"""The verdict on a fit: every check's findings, the gravest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from openreml_core.diagnostics.alternatives import Alternative, alternative_findings, alternatives_for
from openreml_core.diagnostics.check_fixed import fixed_findings
from openreml_core.diagnostics.check_rows import row_findings
from openreml_core.diagnostics.check_search import search_findings
from openreml_core.diagnostics.check_terms import term_findings
from openreml_core.diagnostics.findings import Finding, Verdict
from openreml_core.errors import FitCancelled

OnProgress = Callable[[int, int], object]


def verdict(
    fit: Any, row: Any, col: Any, by: Any, alternatives: Sequence[str] | None, seed: int, rows: bool = True,
    on_progress: OnProgress | None = None,
) -> Verdict:  # fmt: skip
    """Findings about the search, the terms, the fixed part, the rows, and the residual's structure."""
    if alternatives is None:
        tried = alternatives_for(fit, row, col, by)
    else:
        tried = [Alternative(text, "as asked for", "fit.variogram(...)") for text in alternatives]
    parts: list[Callable[[], Iterable[Finding]]] = [
        lambda: search_findings(fit),
        lambda: term_findings(fit),
        lambda: fixed_findings(fit),
    ]
    if rows:
        parts.append(lambda: row_findings(fit, seed))
    total = len(parts) + len(tried)

    def tell(done: int) -> None:
        if on_progress is not None and on_progress(done, total) is False:
            raise FitCancelled()

    for done, alternative in enumerate(tried, len(parts)):

        def findings(alternative: Alternative = alternative, done: int = done) -> Iterable[Finding]:
            return alternative_findings(fit, [alternative], alternatives is not None, lambda _: tell(done))

        parts.append(findings)
    found: list[Finding] = []
    for done, part in enumerate(parts):
        tell(done)
        found += part()
    return Verdict(found)
