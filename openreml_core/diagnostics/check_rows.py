"""Findings about rows and levels: outliers, what sways the fit, the residuals' distribution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import t

from openreml_core.diagnostics.findings import Finding
from openreml_core.diagnostics.influential import limit_of

#: Rows up to which residuals are compared with draws from the model, and draws.
MOST_ROWS, DRAWS = 3_000, 199
#: Levels of a grouping up to which each is left out.
MOST_LEVELS = 200
SMALL = 0.01


def row_findings(fit: Any, seed: int) -> Iterator[Finding]:
    """Outliers, influential rows and levels; normality and constant variance."""
    if not fit.has_rows:
        return
    yield from _tests(fit, seed)
    if fit.rank:
        yield from _influential_rows(fit)
        yield from _influential_levels(fit)


def _tests(fit: Any, seed: int) -> Iterator[Finding]:
    external = fit.residuals("studentized-external")
    df = fit.n_obs - fit.rank - 1
    if df >= 2 and bool(external.notna().any()):
        p = 2 * t.sf(external.abs(), df) * int(external.notna().sum())
        out = external.index[p < SMALL]
        if len(out):
            shown = ", ".join(f"{i} ({external.loc[[i]].iloc[0]:+.1f})" for i in out[:5])
            yield Finding(
                "warning", "outliers",
                f"{_rows(len(out), 'lies', 'lie')} farther from the rest than the model explains: "
                f"{shown}{', ...' if len(out) > 5 else ''} (externally studentised residuals).",
                f"Of {fit.n_obs:,} rows a residual as large is expected in fewer than {SMALL:.0%} of trials.",
                "Look the rows up: a typing error, a lodged plot, a mixed-up sample? fit.without([...]) fits without them; "
                "report both fits.", tuple(str(i) for i in out), {"residuals": external[p < SMALL].tolist()},
            )  # fmt: skip
    if fit.n_obs > MOST_ROWS or df < 5:
        return
    table = fit.residual_tests(simulations=DRAWS, seed=seed)
    w, p_value = table.loc["normality", "statistic"], table.loc["normality", "p_value"]
    if p_value <= SMALL:
        yield Finding(
            "note", "normality",
            f"The residuals are not quite normal (W' = {w:.3f}, p = {p_value:.3f} of {DRAWS} draws from the model).",
            "Estimates stay sound; intervals for single observations and tests in small trials may be off.",
            "Look at the quantile plot: points apart at its ends are outliers, a bend asks for a transformation such as log(y).",
            values=table.loc["normality"].to_dict(),
        )  # fmt: skip
    row = table.loc["variance along fitted"]
    if row["p_value"] <= SMALL:
        grows = "grows" if row["statistic"] > 0 else "falls"
        yield Finding(
            "warning", "constant variance",
            f"The residuals' size {grows} with the fitted value "
            f"(rank correlation {row['statistic']:+.2f}, p = {row['p_value']:.3f}).",
            "Standard errors are then too small for some means and too large for others.",
            "Try log(y) or sqrt(y), weights, or a variance per section: residual='dsum(id(units) | trial)'.",
            values=row.to_dict(),
        )  # fmt: skip


def _influential_rows(fit: Any) -> Iterator[Finding]:
    table = fit.influence()
    limit, words = limit_of(table["cooks_distance"].to_numpy(float), "F", fit.rank, fit.n_obs - fit.rank)
    out = table.index[table["cooks_distance"] > limit]
    if len(out):
        yield Finding(
            "warning", "influential rows",
            f"{_rows(len(out), 'moves', 'move')} the fixed effects out of their 50 % confidence region: "
            f"{', '.join(map(str, out[:5]))}{', ...' if len(out) > 5 else ''}.",
            f"Cook's distance is above {limit:.2f}, {words}: conclusions rest on these rows.",
            "Check them, fit.without([...]), and see which coefficient moves: fit.dfbetas().",
            tuple(str(i) for i in out), {"limit": limit, "cooks_distance": table["cooks_distance"].max()},
        )  # fmt: skip


def _influential_levels(fit: Any) -> Iterator[Finding]:
    done: set[str] = set()
    for design in fit.design.random:
        name = ":".join(design.group)
        if not design.group or name in done or len(design.levels) > MOST_LEVELS or len(design.levels) < 3:
            continue
        done.add(name)
        table = fit.influence(list(design.group) if len(design.group) > 1 else name)
        values = table["cooks_distance"].to_numpy(float)
        limit, words = limit_of(values, "F", fit.rank, fit.n_obs - fit.rank)
        out = table.index[np.nan_to_num(values) > limit]
        if len(out):
            yield Finding(
                "warning", "influential levels",
                f"Without {name} {', '.join(map(str, out[:5]))} the fixed effects leave their 50 % confidence region.",
                f"Cook's distance is above {limit:.2f}, {words}: one level decides.",
                f'See fit.deletions("{name}", refit=True) for what changes, and find out what is special about it.',
                tuple(str(i) for i in out), {"limit": limit},
            )  # fmt: skip


def _rows(count: int, one: str, many: str) -> str:
    return f"{count} row {one}" if count == 1 else f"{count} rows {many}"
