"""Analysis of variance: a joint test of every fixed term."""

from __future__ import annotations

import numpy as np
import pandas as pd

from openreml_core.design import Design
from openreml_core.errors import ModelError
from openreml_core.inference.contrasts import DDF, joint_test
from openreml_core.inference.terms import Terms
from openreml_core.reml import Estimates

TESTS = ("F", "chisq")


def anova_table(
    estimates: Estimates, design: Design, sigma2: float, kind: int = 3, ddf: str = "satterthwaite", test: str = "F"
) -> pd.DataFrame:
    """The table of ``fit.anova()``: a row per term.

    Parameters
    ----------
    estimates : Estimates
    design : Design
    sigma2 : float
        Residual variance: mean squares are F, before Kenward and Roger's scaling, in its units.
    kind : {1, 2, 3}
        Type of the hypotheses.
    ddf : str
    test : {"F", "chisq"}

    Returns
    -------
    DataFrame
        term, sum_sq, mean_sq, num_df, den_df, F, p_value; for ``"chisq"`` term, chisq, df, p_value.
    """
    if test not in TESTS:
        raise ModelError(f"test={test!r} is not known.", hint=f"Choose one of {', '.join(TESTS)}.")
    hypotheses = Terms.of(design).rows(kind)
    method = "normal" if test == "chisq" else ddf
    found = {label: joint_test(estimates, rows, method) for label, rows in hypotheses.items()}
    table = pd.DataFrame({"term": list(found)}, dtype=object)
    tests = list(found.values())
    if test == "chisq":
        table["chisq"] = np.array([t.chi_square for t in tests], dtype=float)
        table["df"] = np.array([t.num_df for t in tests], dtype=int)
        table["p_value"] = np.array([t.chi_square_p for t in tests], dtype=float)
        table.attrs = {"type": kind, "test": "Wald chi-square"}
        return table
    f = np.array([t.F for t in tests], dtype=float)
    num_df = np.array([t.num_df for t in tests], dtype=int)
    mean_sq = sigma2 * f / np.array([t.scaling for t in tests], dtype=float)
    table["sum_sq"] = num_df * mean_sq
    table["mean_sq"] = mean_sq
    table["num_df"] = num_df
    table["den_df"] = np.array([t.den_df for t in tests], dtype=float)
    table["F"] = f
    table["p_value"] = np.array([t.p_value for t in tests], dtype=float)
    table.attrs = {"type": kind, "test": "F", "ddf": DDF[ddf]}
    return table
