"""Findings about the random terms: rank, bounds, levels, and terms that cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.diagnostics.findings import Finding

#: Levels below which a variance is poorly known.
FEW = 5
#: Correlation of two estimated variances beyond which they are confounded.
TOGETHER = 0.95
#: Share of the largest eigenvalue below which a direction of Sigma has no variance.
LOST = 1e-8


def term_findings(fit: Any) -> Iterator[Finding]:
    """Singular terms with their directions, parameters at bounds, too few levels, confounded terms."""
    yield from _singular(fit)
    yield from _bounds(fit)
    yield from _few_levels(fit)
    yield from _confounded(fit)


def _singular(fit: Any) -> Iterator[Finding]:
    names = {t.name for t in fit.estimates.engine.model.terms}
    for term in fit._singular_terms:
        if term not in fit.random_terms:
            continue
        if term not in names:  # of a V built by hand: its parameters' bounds are all there is to say
            continue
        sigma = fit.variance_matrix(term)
        directions = lost_directions(sigma)
        if sigma.shape == (1, 1) or not directions:
            yield Finding(
                "warning", "singular term", f"The variance of {term} is estimated as zero.",
                "In these data the term explains nothing beyond the others; the fit is valid, and equals the one without it.",
                f"Keep {term} if the design asks for it (blocks, plots); else leave it out.", (term,),
            )  # fmt: skip
            continue
        yield Finding(
            "warning", "singular term",
            f"The covariance matrix of {term} has lost rank: from level to level nothing varies of {'; '.join(directions)}.",
            "The data hold fewer independent effects than the term has: correlations of 1 or -1 are the usual sign.",
            "Write the term with || (no correlations), with fewer effects, or as fa(..., k=1); compare the fits.", (term,),
            {"directions": directions},
        )  # fmt: skip


def lost_directions(sigma: pd.DataFrame) -> list[str]:
    """The combinations of a term's effects that have no variance, in words.

    Examples
    --------
    >>> lost_directions(pd.DataFrame([[4.0, 2.0], [2.0, 1.0]], index=["a", "b"], columns=["a", "b"]))
    ['a - 2 b']
    >>> lost_directions(pd.DataFrame([[0.0]], index=["a"], columns=["a"]))
    ['a']
    """
    s, names = sigma.to_numpy(dtype=float), [str(n) for n in sigma.index]
    deviation = np.sqrt(np.clip(np.diag(s), 0, None))
    if not deviation.any():
        return names
    out = [name for name, d in zip(names, deviation, strict=True) if d == 0]
    kept = np.flatnonzero(deviation > 0)
    size = deviation[kept]
    values, vectors = np.linalg.eigh(s[np.ix_(kept, kept)] / np.outer(size, size))
    for vector in vectors.T[values <= LOST * values.max()]:
        own = vector / size
        own = own / own[np.argmax(np.abs(vector) > 1e-6)]
        parts = [
            (c, names[k])
            for c, k in zip(own, kept, strict=True)
            if abs(c * deviation[k]) > 1e-6 * np.abs(own * size).max()
        ]
        words = ""
        for c, name in parts:
            amount = "" if np.isclose(abs(c), 1) else f"{abs(c):.3g} "
            sign = ("-" if c < 0 else "") if not words else (" - " if c < 0 else " + ")
            words += f"{sign}{amount}{name}"
        out.append(words)
    return out


def _bounds(fit: Any) -> Iterator[Finding]:
    table = fit.variance_components()
    singular = set(fit._singular_terms)
    for row in table.itertuples():
        bound = str(row.bound)
        if not bound or bound in ("held", "tied") or bound.startswith("tied"):
            continue
        name = " ".join(str(v) for v in (row.kind, row.name1, row.name2) if v)
        if bound == "at zero" and row.group in singular & {t.name for t in fit.estimates.engine.model.terms}:
            continue  # said already
        what = {
            "at zero": f"The {name} of {row.group} is estimated as zero.",
            "not identified": f"These data say nothing about the {name} of {row.group}.",
            "no upper bound": f"The {name} of {row.group} has no upper bound: the likelihood rises with it for ever.",
        }.get(bound, f"The {name} of {row.group} is estimated at a bound ({bound}), {row.estimate:.4g}.")
        do = {
            "not identified": "Write the term without it, or hold it with fixed=.",
            "no upper bound": "Use differences of fixed effects only, or choose a structure with a finite range.",
        }.get(bound, "Compare with a simpler structure; the likelihood-ratio test there is a boundary test.")
        yield Finding(
            "warning", "parameter at bound", what,
            "A parameter on a bound has no standard error, and tests that treat it as free are off.",
            do, (str(row.group),), {"estimate": float(row.estimate)},
        )  # fmt: skip


def _few_levels(fit: Any) -> Iterator[Finding]:
    for term in fit.estimates.engine.model.terms:
        count = len(term.levels)
        if count >= FEW or (count == 1 and term.structure.size > 1) or term.name not in fit.random_terms:
            continue
        yield Finding(
            "note", "few levels", f"{term.name} has {count} levels.",
            f"A variance from {count} levels has about {max(count - 1, 1)} degrees of freedom: it may be off by a factor.",
            "Read its profile interval, not its standard error; or take it as a fixed effect if its levels are of interest.",
            (term.name,), {"levels": count},
        )  # fmt: skip


def _confounded(fit: Any) -> Iterator[Finding]:
    natural = fit._natural
    spread = np.sqrt(np.diag(natural.covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = natural.covariance / np.outer(spread, spread)
    owner = [component for component, _ in fit.estimates.engine.model.natural]
    if len(owner) != len(r):
        return
    for i, j in zip(*np.nonzero(np.triu(np.abs(np.nan_to_num(r)) > TOGETHER, 1)), strict=True):
        if owner[i] == owner[j]:
            continue
        a, b = natural.names[i], natural.names[j]
        yield Finding(
            "warning", "confounded terms", f"The estimates of {a} and {b} have a correlation of {r[i, j]:.3f}.",
            "The data know their sum or difference, hardly each of them: two terms describe nearly the same grouping.",
            f"Leave {owner[i]} or {owner[j]} out and compare the fits, or read only what depends on both.",
            (owner[i], owner[j]), {"correlation": float(r[i, j])},
        )  # fmt: skip
