"""The table of fixed effects: estimates, standard errors, and t tests whose degrees of freedom are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from openreml_core.errors import ModelError
from openreml_core.inference.contrasts import DDF, contrasts
from openreml_core.reml import Estimates


def check_level(level: float) -> None:
    """Refuse a coverage that is not a probability."""
    if not isinstance(level, int | float) or isinstance(level, bool) or not 0 < level < 1:
        raise ModelError(f"level={level} is not a probability.", hint="Give a number between 0 and 1, such as 0.95.")


def coefficient_table(estimates: Estimates, ddf: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
    """The table of ``fit.fixed_effects()``."""
    check_level(level)
    model = estimates.engine.model
    found = contrasts(estimates, np.eye(model.p), ddf)
    lower, upper = found.interval(level)
    table = pd.DataFrame(
        {
            "estimate": found.estimate,
            "std_error": found.std_error,
            "df": found.df,
            "t": found.t,
            "p_value": found.p_value,
            "lower": lower,
            "upper": upper,
        },
        index=pd.Index(model.fixed_names, name="coefficient"),
    )
    table.attrs["ddf"] = DDF[ddf]
    table.attrs["level"] = level
    return table


def covariance_table(estimates: Estimates) -> pd.DataFrame:
    """Cov(b), (p, p), labelled."""
    names = list(estimates.engine.model.fixed_names)
    return pd.DataFrame(torch.Tensor.numpy(estimates.at.beta_covariance), index=names, columns=names)
