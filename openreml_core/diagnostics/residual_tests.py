"""Tests of the residuals, each against draws from the fitted model: second to the figures, and no proof of anything."""

from __future__ import annotations

import numpy as np
import pandas as pd

from openreml_core.diagnostics.grouping import Grouping
from openreml_core.diagnostics.simulated import Draws, growth, monte_carlo, outlier_p, straightness, unequal
from openreml_core.errors import DataError

SPEARMAN = "Spearman's correlation of |residual| and fitted"


def residual_test_table(found: Draws, index: pd.Index, df: int, grouping: Grouping | None = None) -> pd.DataFrame:
    """Tests of normality, of constant variance along fitted values and between groups, and of the largest residual.

    Parameters
    ----------
    found : Draws
    index : Index of length n
        Names of the rows.
    df : int
        n - p - 1.
    grouping : Grouping, optional

    Returns
    -------
    DataFrame
        Indexed by what is tested: statistic, name, p_value, row (of the outlier).

    Raises
    ------
    DataError
        A grouping with a single group.
    """
    observed, drawn = found.observed[:, None], found.drawn
    rows = []
    w, many = straightness(observed)[0], straightness(drawn)
    rows.append(("normality", "Shapiro-Francia W'", w, monte_carlo(w, many, "lower"), None))
    r, many = growth(observed, found.fitted[:, None])[0], growth(drawn, found.fitted_drawn)
    rows.append(
        (
            "variance along fitted",
            SPEARMAN,
            r,
            monte_carlo(r, many, "both"),
            None,
        )
    )
    if grouping is not None:
        codes = grouping.codes[found.rows]
        kept = codes >= 0
        if len(np.unique(codes[kept])) < 2:
            raise DataError(
                f"*{grouping.name}* has one level: there is nothing to compare.", hint="Name another column."
            )
        f, many = unequal(observed[kept], codes[kept])[0], unequal(drawn[kept], codes[kept])
        rows.append((f"variance by {grouping.name}", "Brown and Forsythe's F", f, monte_carlo(f, many, "upper"), None))
    row, value, p = outlier_p(found.external, df)
    rows.append(("outliers", "largest externally studentised residual", value, p, index[row] if row >= 0 else None))
    table = pd.DataFrame(rows, columns=["test", "name", "statistic", "p_value", "row"]).set_index("test")
    table.attrs["notes"] = (
        f"p-values are of {drawn.shape[1]} responses drawn from the model at its estimates; that of the outlier is Bonferroni's "
        f"for Student's t with {df} degrees of freedom.",
    )
    return table
