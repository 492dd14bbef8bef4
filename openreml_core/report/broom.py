"""A fit as tidy tables, by broom's conventions."""

from __future__ import annotations

from typing import Any

import pandas as pd

from openreml_core.errors import ModelError


def tidy(fit: Any, what: str = "fixed") -> pd.DataFrame:
    """One row per coefficient (``"fixed"``), variance parameter (``"random"``) or BLUP (``"blup"``)."""
    if what == "fixed":
        return fit.fixed_effects().rename_axis("term").reset_index().rename(columns={"t": "statistic"})
    if what == "random":
        return fit.variance_components()
    if what == "blup":
        parts = [fit.random_effects(t).assign(term=t) for t in fit.random_terms]
        return (
            pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["level", "effect", "blup", "term"])
        )
    raise ModelError(f"tidy({what!r}) is not known.", hint="Choose 'fixed', 'random' or 'blup'.")


def glance(fit: Any) -> pd.DataFrame:
    """One row about the fit."""
    names = ["n_obs", "n_dropped", "rank", "sigma", "criterion", "loglik", "loglik_asreml", "aic", "bic", "converged"]
    row = {name: getattr(fit, name) for name in [*names, "singular", "method", "engine"]}
    return pd.DataFrame([{**row, "iterations": len(fit.trace) - 1}])


def augment(fit: Any) -> pd.DataFrame:
    """The rows used, with fitted values and residuals beside them."""
    return fit.data.assign(
        **{
            ".fitted": fit.fitted(),
            ".fixed": fit.fitted(random=False),
            ".resid": fit.residuals(),
            ".pearson": fit.residuals("pearson"),
        }
    )
