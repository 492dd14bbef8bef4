"""Collinearity of the fixed effects: generalised variance inflation.

With C the correlations of b without the intercept, A the coefficients of a term and B all others,

    GVIF = det C_AA det C_BB / det C

which is the square of the ratio of the volumes of the term's confidence ellipsoid and of the one it would have if the other
terms were orthogonal to it; for one coefficient it is the variance inflation factor. GVIF^(1 / (2 df)) is per dimension, and
comparable to a ratio of standard errors. It does not depend on the coding of a factor.
(Fox and Monette 1992, J. Am. Stat. Assoc. 87, 178-183.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from openreml_core.design import FixedTerm
from openreml_core.design.effects import INTERCEPT
from openreml_core.errors import ModelError


def vif_table(terms: Sequence[FixedTerm], covariance: np.ndarray) -> pd.DataFrame:
    """The table of ``fit.vif()``: df, gvif and its (1 / (2 df))-th power by term.

    Parameters
    ----------
    terms : sequence of FixedTerm
    covariance : array of shape (p, p)
        Cov(b).

    Raises
    ------
    ModelError
        Fewer than two terms beside the intercept, or no intercept.
    """
    own = [term for term in terms if term.label != INTERCEPT and term.columns]
    if len(own) == len([term for term in terms if term.columns]):
        raise ModelError(
            "Variance inflation is about terms beside an intercept, which this model has not.",
            hint="Fit it with an intercept.",
        )
    if len(own) < 2:
        raise ModelError(
            f"This model has {len(own)} fixed term{'s' * (len(own) != 1)} beside the intercept: nothing to be collinear with."
        )
    columns = [column for term in own for column in term.columns]
    deviation = np.sqrt(covariance.diagonal()[columns])
    c = covariance[np.ix_(columns, columns)] / np.outer(deviation, deviation)
    rows, start = [], 0
    for term in own:
        df = len(term.columns)
        mine = np.arange(start, start + df)
        others = np.setdiff1d(np.arange(len(columns)), mine)
        logs = [np.linalg.slogdet(c[np.ix_(part, part)])[1] for part in (mine, others)]
        gvif = float(np.exp(sum(logs) - np.linalg.slogdet(c)[1]))
        rows.append({"df": df, "gvif": gvif, "gvif_per_df": gvif ** (1 / (2 * df))})
        start += df
    return pd.DataFrame(rows, index=pd.Index([term.label for term in own], name="term"))
