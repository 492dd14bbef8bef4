"""How strongly a response pulls its own fitted value.

    y^ = X b^ + Z u^ = (I - R P) y = (H1 + H2) y,    H1 = X C X'V^-1,    H2 = Z G Z'V^-1 (I - H1) = Z G Z'P

    fixed         diag H1
    random        diag H2
    overall       diag (H1 + H2)
    unconfounded  (Z G Z')_ii / R_ii: what the random effects' variance alone asks for, b apart

From the whole of V, whether its terms are nested or crossed. (Demidenko and Stukel 2005, Statistics in Medicine 24, 893-909;
Nobre and Singer 2011, J. Applied Statistics 38, 1063-1072.)
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from openreml_core.diagnostics.grouping import Grouping
from openreml_core.diagnostics.view import RowView

KINDS = ("fixed", "random", "overall", "unconfounded")


def leverages(view: RowView) -> dict[str, Tensor]:
    """Every kind of leverage, (n,) each."""
    fixed, overall = view.fixed_leverage, 1 - view.rows.left
    r = view.residual_variance
    if not bool(view.random_variance.any()):  # V = R: rounding is all that could tell the two apart
        overall = fixed
    random = overall - fixed
    ratio = torch.where(r > 0, view.random_variance / r.clamp_min(1e-300), torch.nan)
    return {"fixed": fixed, "random": random, "overall": overall, "unconfounded": ratio}


def leverage_table(view: RowView, index: pd.Index, grouping: Grouping | None = None) -> pd.DataFrame:
    """Leverages by row, or their means by group."""
    table = pd.DataFrame({name: values.numpy() for name, values in leverages(view).items()}, index=index)
    if grouping is None:
        return table
    kept = grouping.codes >= 0
    means = table[kept].groupby(grouping.codes[kept]).mean().reindex(range(len(grouping.levels)))
    means.index = pd.Index(grouping.levels, name=grouping.name)
    return means
