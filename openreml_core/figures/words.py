"""Numbers and names as the figures print them: four significant digits, p-values, labels that fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Any

import pandas as pd

MINUS = "\u2212"


def number(value: Any, *, digits: int = 4, scale: float | None = None) -> str:
    """Print a number with four significant digits.

    Parameters
    ----------
    value : float
        Missing or infinite values are printed as an en dash.
    digits : int
        Significant digits.
    scale : float, optional
        The size of the numbers it stands among; below 1e-12 of that it is zero.

    Examples
    --------
    >>> number(0.14290197), number(1234.56), number(251.405), number(2.1e-7)
    ('0.1429', '1235', '251.4', '2.1e-07')
    >>> number(3e-17, scale=0.2)
    '0'
    """
    x = float("nan") if value is None or value is pd.NA else float(value)
    if not isfinite(x):
        return "\u2013"
    if x == 0 or (scale and abs(x) < 1e-12 * abs(scale)):
        return "0"
    x = float(f"{x:.{digits - 1}e}")
    power = floor(log10(abs(x)))
    text = f"{abs(x):.{max(digits - 1 - power, 0)}f}" if -4 <= power < 7 else f"{abs(x):.{digits}g}"
    if float(value).is_integer() and "." in text:
        text = text.rstrip("0").rstrip(".")
    return (MINUS if x < 0 else "") + text


def p_value(p: Any) -> str:
    """Print a p-value: ``0.032`` or ``< 0.001``.

    Examples
    --------
    >>> p_value(0.03214), p_value(1e-9)
    ('0.032', '< 0.001')
    """
    x = float(p)
    if not isfinite(x):
        return "\u2013"
    return "< 0.001" if x < 0.001 else f"{x:.3f}"


def count(n: int, thing: str, things: str | None = None) -> str:
    """Print a count with its noun: ``1 level``, ``5,000 levels``."""
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"


def lines(*parts: str | None) -> str:
    """Join the lines of a hover box, leaving out the empty ones."""
    return "<br>".join(p for p in parts if p)


def shorten(labels: Iterable[Any], width: int = 24) -> list[str]:
    """Cut long labels in the middle, escape them for plotly, and keep them different from each other.

    Examples
    --------
    >>> shorten(["G01", "a<b", "Experimental station at Lelystad"], width=16)
    ['G01', 'a&lt;b', 'Experim\u2026Lelystad']
    """
    head, tail = (width - 1) // 2, width // 2
    full = [str(label) for label in labels]
    short = [s if len(s) <= width else f"{s[:head]}\u2026{s[-tail:]}" for s in full]
    taken: dict[str, str] = {}
    for i, (s, f) in enumerate(zip(short, full, strict=True)):
        if taken.setdefault(s, f) != f:
            short[i] = f
    return [escape(s, quote=False) for s in short]


RESIDUALS = {
    "studentized": "studentised",
    "standardized": "studentised",
    "studentized-external": "externally studentised",
    "standardized-marginal": "standardised marginal",
    "cholesky": "decorrelated",
    "least-confounded": "least confounded",
}


def residual_words(kind: str) -> str:
    """Say what a kind of residual is called.

    Examples
    --------
    >>> residual_words("conditional"), residual_words("studentized-external")
    ('conditional residual', 'externally studentised residual')
    """
    return f"{RESIDUALS.get(kind, kind.replace('-', ' '))} residual"


def plain(name: Any) -> str:
    """Give a name as a reader says it: ``(Intercept)`` is ``Intercept``; the rest stays as the user wrote it."""
    return escape(str(name), quote=False).replace("(Intercept)", "Intercept")


def is_number_column(values: Sequence[Any] | pd.Series) -> bool:
    """Tell whether a column holds measured numbers, not levels or truth values."""
    s = pd.Series(values)
    return bool(pd.api.types.is_numeric_dtype(s.dtype) and not pd.api.types.is_bool_dtype(s.dtype))
