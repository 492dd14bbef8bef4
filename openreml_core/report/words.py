"""Numbers and findings in words, the same in the summary, the app and the report."""

from __future__ import annotations

import pandas as pd

from openreml_core.figures import words


def number(value: float, digits: int = 4) -> str:
    """A number as the figures print it, in plain characters; ``""`` for what is missing.

    Examples
    --------
    >>> number(0.0702183), number(1743.628), number(-251.4051), number(0.0), number(float("nan"))
    ('0.07022', '1744', '-251.4', '0', '')
    """
    return "" if pd.isna(value) else words.number(value, digits=digits).replace(words.MINUS, "-")


def p_value(value: float) -> str:
    """``0.032`` or ``< 0.001``; ``""`` for what is missing.

    Examples
    --------
    >>> p_value(0.03214), p_value(4e-9), p_value(float("nan"))
    ('0.032', '< 0.001', '')
    """
    return "" if pd.isna(value) else words.p_value(value)


def boundary_sentences(components: pd.DataFrame) -> tuple[str, ...]:
    """A sentence for every variance at zero, and every correlation or range at its bound."""
    out = []
    for row in components.itertuples():
        if row.kind == "variance" and row.bound == "at zero":
            what = row.group if row.name1 in ("", "(Intercept)", "units") else f"{row.name1} over {row.group}"
            out.append(
                f"The variance of {what} is estimated as zero: in these data it explains nothing beyond the other terms. "
                "The fit is valid; you may leave the term out."
            )
        elif row.kind == "range" and row.bound == "at its bound":
            out.append(
                f"The {row.name1} of {row.group} is as small as the search allows: in these data neighbours are not correlated. "
                "Leave the coordinate or the structure out."
            )
        elif row.kind == "range" and row.bound == "no upper bound":
            out.append(
                f"The {row.name1} of {row.group} has no upper bound: in these data the likelihood rises with it for ever. "
                "Differences between plots depend on the variance over the range only. Differences of fixed effects are "
                "valid; the variance, the range and the overall mean's standard error mean nothing by themselves."
            )
        elif row.kind == "correlation" and str(row.bound).startswith("correlation"):
            sign = "1" if row.estimate > 0 else "-1"
            out.append(
                f"The correlation of {row.name1} and {row.name2} over {row.group} is estimated at its bound, {sign}: "
                "the data cannot tell the two effects apart. Written with ||, the term has no correlation to estimate."
            )
        elif row.kind != "range" and row.bound == "at its bound":
            out.append(
                f"The {row.kind} {row.name1} of {row.group} is estimated at the end of its range, {row.estimate:.4g}: "
                "the likelihood rises towards it. Its standard error is unknown; a simpler structure may do as well."
            )
    return tuple(out)


def unknown_sentences(components: pd.DataFrame) -> tuple[str, ...]:
    """A sentence for every parameter about which the data say nothing."""
    out = []
    for row in components.itertuples():
        if row.bound == "not identified" and row.kind != "correlation":
            what = f"{row.kind} of {row.name1}" + (f" and {row.name2}" if row.name2 else "")
            out.append(
                f"The {what} over {row.group} cannot be estimated: these data say nothing about it. "
                "Its number is arbitrary; write a term without it."
            )
    return tuple(out)


def rank_sentence(term: str) -> str:
    """What it means that a term's covariance matrix has lost rank without a plainer reason."""
    return (
        f"The covariance matrix of {term} has lost rank: some combination of its effects does not vary from level to level. "
        "The fit is valid; a term with fewer effects, or written with ||, says the same with fewer parameters."
    )


NO_RESIDUAL = (
    "The random effects reproduce the response: the residual variance is practically zero. "
    "Check whether the response is computed from the groups, or leave a random term out."
)
