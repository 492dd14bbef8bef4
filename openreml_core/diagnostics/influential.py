"""Which cases are influential, by a rule that is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution

from openreml_core.errors import ModelError, did_you_mean

RULES = ("4/n", "outer fence", "F")
#: Measures that are small where nothing is influential.
MEASURES = ("cooks_distance", "mdffits", "covtrace", "leverage", "cooks_lme4")


def influential_cases(table: pd.DataFrame, measure: str, rule: Any, p: int, df: int) -> pd.DataFrame:
    """The cases of an influence table whose measure exceeds a limit, largest first.

    Parameters
    ----------
    table : DataFrame
        Of ``influence``.
    measure : str
    rule : {"4/n", "outer fence", "F"} or float
        Limit 4 / c for c cases; Q3 + 3 (Q3 - Q1), Tukey's outer fence; the median of F(p, n - p), beyond which b moves out of
        its own 50 % confidence region; or a number.
    p, df : int
        Fixed effects; n - p.

    Raises
    ------
    ModelError
        An unknown measure or rule.
    """
    if measure not in table.columns or measure not in MEASURES:
        known = [m for m in MEASURES if m in table.columns]
        raise ModelError(
            f"*{measure}* is no measure to list cases by.", hint=did_you_mean(str(measure), known).replace("columns", "measures")
        )  # fmt: skip
    values = table[measure]
    limit, words = limit_of(values.to_numpy(float), rule, p, df)
    found = table[values > limit].sort_values(measure, ascending=False)
    name = measure.replace("cooks", "Cook's").replace("_", " ")
    found.attrs = {
        "limit": limit,
        "rule": f"{name} above {limit:.3g}: {words}",
        "count": len(found),
        "of": int(values.notna().sum()),
    }
    return found


def limit_of(values: np.ndarray, rule: Any, p: int, df: int) -> tuple[float, str]:
    """The limit of a rule, and the rule in words.

    Examples
    --------
    >>> limit_of(np.arange(8.0), "4/n", 2, 6)
    (0.5, '4 / 8, the number of cases')
    """
    known = values[np.isfinite(values)]
    if isinstance(rule, str) and rule in RULES:
        if not len(known):
            return np.inf, "no case has a value"
        if rule == "4/n":
            return 4 / len(known), f"4 / {len(known)}, the number of cases"
        if rule == "outer fence":
            low, high = np.quantile(known, [0.25, 0.75])
            return float(high + 3 * (high - low)), "three interquartile ranges above the upper quartile"
        return float(f_distribution.median(p, max(df, 1))), f"the median of F({p}, {df})"
    if isinstance(rule, bool) or not isinstance(rule, int | float) or not np.isfinite(rule):
        raise ModelError(
            f"rule={rule!r} is not known.", hint=f"Choose one of {', '.join(map(repr, RULES))}, or give a number."
        )
    return float(rule), "as given"
