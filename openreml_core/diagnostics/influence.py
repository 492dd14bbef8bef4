"""How much each row, or level, or pair of them, sways the fit.

    cooks_distance   (b - b_(J))'C^-1 (b - b_(J)) / p             how far b moves, in its own uncertainty
    mdffits          (b - b_(J))'C_(J)^-1 (b - b_(J)) / p         the same in the uncertainty that is left
    covtrace         |tr(C^-1 C_(J)) - p|                         how much the uncertainty of b changes: 0 is not at all
    covratio         |C_(J)| / |C|                                the same as a ratio of volumes: 1 is not at all
    leverage         overall leverage, of a group its rows' mean
    rvc_*            theta_(J) / theta - 1                        relative change of a variance parameter; by refits only
    cooks_lme4       by row e_i^2 h_i / (1 - h_i)^2 / p with e Pearson's residual and h the overall leverage, which lme4's
                     cooks.distance(fit) gives; by refits (c - p) / c times cooks_distance, of c cases, which its
                     cooks.distance(influence(fit)) gives

(Cook 1977, Technometrics 19, 15-18; Belsley, Kuh and Welsch 1980; Loy and Hofmann 2014, J. Statistical Software 56(5).)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from openreml_core.diagnostics.deletion import Deletions
from openreml_core.diagnostics.leverage import leverages
from openreml_core.diagnostics.refitting import Refits
from openreml_core.diagnostics.view import RowView


@dataclass(frozen=True, eq=False)
class Cases:
    """What was left out, c times, and what that did.

    Attributes
    ----------
    index : Index of length c
        Names of the cases.
    sets : list of c int arrays, optional
        Their rows; None where each row, or each pair of rows, is a case.
    pairs : tuple of two int arrays, optional
        The pairs of rows.
    deletions : Deletions
    refits : Refits, optional
    word : str
        What a case is, in the plural: "rows", "levels of Subject".
    """

    index: pd.Index
    sets: list[np.ndarray] | None
    pairs: tuple[np.ndarray, np.ndarray] | None
    deletions: Deletions
    refits: Refits | None
    word: str

    def leverage(self, view: RowView) -> np.ndarray:
        """Overall leverage, of several rows their mean, (c,)."""
        overall = leverages(view)["overall"].numpy()
        if self.pairs is not None:
            return (overall[self.pairs[0]] + overall[self.pairs[1]]) / 2
        if self.sets is None:
            return overall
        return np.array([overall[rows].mean() if len(rows) else np.nan for rows in self.sets])


def influence_table(view: RowView, cases: Cases) -> pd.DataFrame:
    """The measures of every case, a row each."""
    found, p = cases.deletions, view.p
    columns = {
        "cooks_distance": found.distance.numpy() / p,
        "mdffits": found.fits.numpy() / p,
        "covtrace": np.abs(found.trace.numpy()),
        "covratio": found.ratio.numpy(),
        "leverage": cases.leverage(view),
    }
    table = pd.DataFrame(columns, index=cases.index)
    notes = []
    if cases.refits is not None:
        values = view.model.natural_values(view.estimates.at.theta, view.estimates.at.sigma2).numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            change = cases.refits.parameters / np.where(values == 0, np.nan, values) - 1
        for name, column in zip(view.model.parameter_names, change.T, strict=True):
            table[f"rvc_{name}"] = column
        table["cooks_lme4"] = table["cooks_distance"] * (len(table) - p) / len(table)
        notes.append("The model was fitted again without each case, all variances estimated anew.")
        notes += [f"Without {cases.index[i]} there is no fit: {why}" for i, why in cases.refits.failed]
    else:
        if cases.sets is None and cases.pairs is None:
            table["cooks_lme4"] = conditional_cooks(view)
        notes.append(
            "Exact for the variances as estimated; refit=True estimates them anew without each case and adds their changes."
        )
    unknown = int(table["cooks_distance"].isna().sum())
    if unknown:
        notes.append(
            f"{unknown} of the {len(table)} {cases.word} cannot be left out: some fixed effects have no estimate without them."
        )
    table.attrs["notes"] = tuple(notes)
    table.attrs["cases"] = cases.word
    return table


def conditional_cooks(view: RowView) -> np.ndarray:
    """lme4's Cook's distance of every row, (n,)."""
    e = view.conditional.numpy() / np.sqrt(view.residual_variance.numpy())
    h = leverages(view)["overall"].numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        out = (e / (1 - h)) ** 2 * h / view.p
    return np.where(np.isfinite(out), out, np.nan)


def dfbetas_table(view: RowView, cases: Cases) -> pd.DataFrame:
    """(b - b_(J))_k over the standard error of b_(J)k, a row per case and a column per coefficient."""
    found = cases.deletions
    values = (found.change / found.error.clamp_min(1e-300)).numpy()
    return pd.DataFrame(values, index=cases.index, columns=list(view.model.fixed_names))


def deleted_table(view: RowView, cases: Cases) -> pd.DataFrame:
    """b_(J), and by refits the variance parameters, a row per case."""
    beta = (view.estimates.at.beta - cases.deletions.change).numpy()
    table = pd.DataFrame(beta, index=cases.index, columns=list(view.model.fixed_names))
    if cases.refits is not None:
        for name, column in zip(view.model.parameter_names, cases.refits.parameters.T, strict=True):
            table[name] = column
    return table
