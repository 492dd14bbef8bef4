"""The verdict on a fit: every check's findings, the gravest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openreml_core.diagnostics.alternatives import Alternative, alternative_findings, alternatives_for
from openreml_core.diagnostics.check_fixed import fixed_findings
from openreml_core.diagnostics.check_rows import row_findings
from openreml_core.diagnostics.check_search import search_findings
from openreml_core.diagnostics.check_terms import term_findings
from openreml_core.diagnostics.findings import Finding, Verdict


def verdict(
    fit: Any, row: Any, col: Any, by: Any, alternatives: Sequence[str] | None, seed: int, rows: bool = True
) -> Verdict:
    """Findings about the search, the terms, the fixed part, the rows, and the residual's structure."""
    found: list[Finding] = [*search_findings(fit), *term_findings(fit), *fixed_findings(fit)]
    if rows:
        found += row_findings(fit, seed)
    if alternatives is None:
        tried = alternatives_for(fit, row, col, by)
    else:
        tried = [Alternative(text, "as asked for", "fit.variogram(...)") for text in alternatives]
    found += alternative_findings(fit, tried, asked=alternatives is not None)
    return Verdict(found)
