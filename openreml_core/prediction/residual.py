"""The residual of new rows: its variance, and where residuals are correlated what those of the fit's rows say about it.

    r | e  ~  N(w'e,  Var(r) - w'c),   w = R^-1 c,   c = Cov(e, r)

with e = y - X b - Z u of the fit's rows, so that w'e^ is the best prediction of r (universal kriging, Cressie 1993, 3.4). A
nugget is no part of r: it is of a single plot, and belongs to the interval of a new observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import (
    AR1,
    AR2,
    BlockResidual,
    Correlation,
    Equicorrelation,
    Independent,
    IndependentResidual,
    ScaledCorrelation,
    Separable,
    Toeplitz,
)
from openreml_core.covariance.spatial import Spatial
from openreml_core.design.columns import as_factor, level_text
from openreml_core.design.positions import coordinate
from openreml_core.design.table import Table
from openreml_core.engines import Evaluation
from openreml_core.errors import DataError, ModelError
from openreml_core.model import MixedModel
from openreml_core.model import Residual as Component
from openreml_core.notation import Residual, ResidualFactor, ResidualTerm
from openreml_core.prediction.effects import correlation_across


@dataclass(frozen=True, eq=False)
class ResidualPart:
    """A part of R and what the notation calls it.

    Attributes
    ----------
    component : IndependentResidual or BlockResidual
    theta : Tensor
        Its free parameters; none where its variance is profiled out.
    sigma : Tensor of shape (k, k)
        On the scale of the data.
    term : ResidualTerm
    level : str or None
        The level of its section.
    """

    component: Component
    theta: Tensor
    sigma: Tensor
    term: ResidualTerm
    level: str | None


def residual_parts(model: MixedModel, at: Evaluation, residual: Residual, frame: pd.DataFrame) -> list[ResidualPart]:
    """The parts of a model's residual, in its order: term by term, section by section.

    Parameters
    ----------
    model : MixedModel
    at : Evaluation
    residual : Residual
        As it was asked for.
    frame : DataFrame of n rows
        The fit's rows.
    """
    named: list[tuple[ResidualTerm, str | None]] = []
    for term in residual.terms:
        if term.section is None:
            named.append((term, None))
            continue
        column = frame[term.section]
        if isinstance(column.dtype, pd.CategoricalDtype):
            levels = list(column.cat.remove_unused_categories().cat.categories)
        else:
            levels = list(pd.factorize(column, sort=True)[1])
        named += [(term, level_text(level)) for level in levels]
    sigmas = model.sigmas(at.theta, at.sigma2)[len(model.terms) :]
    thetas = model.split(at.theta)[len(model.terms) :] or (torch.zeros(0, dtype=torch.float64),) * len(sigmas)
    parts = zip(model.residuals, thetas, sigmas, named, strict=True)
    return [ResidualPart(c, theta, sigma, term, level) for c, theta, sigma, (term, level) in parts]


def residual_variance(
    parts: Sequence[ResidualPart],
    frame: pd.DataFrame,
    table: Table,
    weights: np.ndarray,
    *,
    nugget_only: bool = False,
) -> np.ndarray:
    """Residual variance of new rows, (m,), in which no section or place is missing.

    Parameters
    ----------
    parts : sequence of ResidualPart
    frame : DataFrame of n rows
        The fit's rows.
    table : Table of m rows
    weights : array of shape (m,)
        The variance of independent residuals is divided by it.
    nugget_only : bool
        Whether only the independent parts count.

    Raises
    ------
    DataError
        A section that the fit has not seen, or a place for which no variance is known.
    """
    total = np.zeros(len(table))
    for part in parts:
        own = _in_section(part, parts, table)
        if isinstance(part.component, IndependentResidual):
            total += np.where(own, float(part.sigma[0, 0]) / weights, 0.0)
        elif isinstance(part.component, BlockResidual) and not nugget_only:
            diagonal = part.sigma.diagonal().numpy()
            if np.ptp(diagonal) <= 1e-12 * diagonal.max(initial=0.0):
                total += np.where(own, diagonal[0], 0.0)
            else:
                places = _seen_places(part, frame, table, own)
                total += np.where(own, diagonal[places], 0.0)
    return total


def residual_kriging(
    model: MixedModel, parts: Sequence[ResidualPart], frame: pd.DataFrame, table: Table
) -> tuple[Tensor, np.ndarray]:
    """w (n, m) and Var(r) - w'c (m,), in units of the data, for the correlated parts of the residual.

    Raises
    ------
    ModelError
        Where residuals are independent.
    DataError
        A new place for a structure that is known at the fit's places only; a section that the fit has not seen.
    """
    if not any(isinstance(part.component, BlockResidual) for part in parts):
        raise ModelError(
            "The residuals of this model are independent: those of new rows cannot be predicted.",
            hint='Leave "residual" out of random.',
        )
    r = torch.zeros(model.n, model.n, dtype=torch.float64)
    across = torch.zeros(model.n, len(table), dtype=torch.float64)
    variance = np.zeros(len(table))
    for part in parts:
        part.component.add_to(r, part.sigma)
        if isinstance(part.component, BlockResidual):
            own = _in_section(part, parts, table)
            c, own_variance = _across(part, frame, table, own)
            across[part.component.rows] += torch.from_numpy(np.where(own, c, 0.0))
            variance += np.where(own, own_variance, 0.0)
    w = torch.cholesky_solve(across, torch.linalg.cholesky(r))
    return w, np.clip(variance - (w * across).sum(dim=0).numpy(), 0.0, None)


def _in_section(part: ResidualPart, parts: Sequence[ResidualPart], table: Table) -> np.ndarray:
    """Rows of the part's section, (m,) bool."""
    if part.term.section is None:
        return np.ones(len(table), dtype=bool)
    texts = _texts(table.column(part.term.section, "the residual"))
    known = {other.level for other in parts if other.term.section == part.term.section}
    unknown = sorted(set(texts) - known)
    if unknown:
        raise DataError(
            f"The new data have the level {', '.join(unknown[:3])} of *{part.term.section}*, for which the fit has no "
            "residual variance.",
            hint='interval="confidence" needs none.',
        )
    return texts == part.level


def _texts(column: pd.Series) -> np.ndarray:
    """A column's values as the texts of levels."""
    factor = as_factor(column)
    return np.array(factor.levels, dtype=object)[factor.codes]


def _keys(names: Sequence[str], table: Table) -> list[tuple[str, ...]]:
    return list(zip(*(_texts(table.column(name, "the residual")) for name in names), strict=True))


def _seen_places(part: ResidualPart, frame: pd.DataFrame, table: Table, own: np.ndarray) -> np.ndarray:
    """The place in Sigma of each new row of the section, int64 (m,)."""
    component = part.component
    assert isinstance(component, BlockResidual)
    names = [v for f in part.term.factors if f.structure != "id" for v in f.variables]
    keys = _keys(names, Table.of(frame.iloc[component.rows.numpy()]))
    place = dict(zip(keys, component.index.tolist(), strict=True))
    found = np.array([place.get(key, -1) for key in _keys(names, table)], dtype=np.int64)
    new = np.flatnonzero((found < 0) & own)
    if len(new):
        where = ", ".join(f"{name} = {value}" for name, value in zip(names, _keys(names, table)[new[0]], strict=True))
        raise DataError(
            f"The residual {part.term.text} is known at the places of the fit only, and {where} in {table.rows(new)} "
            "is none of them.",
            hint="Predict at places of the fit, or fit a structure with one variance that is a function of lag or distance.",
        )
    return np.clip(found, 0, None)


def _across(part: ResidualPart, frame: pd.DataFrame, table: Table, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the section's rows with new rows, (s, m), and the variance of these, (m,)."""
    component = part.component
    assert isinstance(component, BlockResidual)
    old = Table.of(frame.iloc[component.rows.numpy()])
    structure = component.structure
    if isinstance(structure, ScaledCorrelation) and not structure.heterogeneous:
        variance = float(part.sigma[0, 0])
        rho = structure.natural_values(part.theta)[1:]
        correlation = structure.correlation
        factors = correlation.factors if isinstance(correlation, Separable) else (correlation,)
        written = [f for f in part.term.factors if f.structure != "id"]
        c = np.full((len(old), len(table)), variance)
        pieces = torch.split(rho, [f.n_parameters for f in factors])
        for name, factor, piece in zip(written, factors, pieces, strict=True):
            c = c * _correlations(name, factor, piece, old, table)
        variances = np.full(len(table), variance)
    else:
        places = _seen_places(part, frame, table, own)
        sigma = part.sigma.numpy()
        c = sigma[np.ix_(component.index.numpy(), places)]
        variances = sigma.diagonal()[places]
    blocks = [v for f in part.term.factors if f.structure == "id" for v in f.variables]
    if blocks:
        one, other = (np.array([":".join(key) for key in _keys(blocks, t)], dtype=object) for t in (old, table))
        c = c * (one[:, None] == other[None, :])
    return c, variances


def _correlations(written: ResidualFactor, factor: Correlation, rho: Tensor, old: Table, new: Table) -> np.ndarray:
    """Correlations of a factor of the residual between old rows and new ones, (s, m)."""
    if isinstance(factor, Spatial):
        first, second = (
            np.column_stack([coordinate(t, v, written.text) for v in written.variables]) for t in (old, new)
        )
        return correlation_across(factor, rho, first, second).numpy()
    (name,) = written.variables
    if isinstance(factor, Equicorrelation | Independent):
        same = _texts(old.column(name))[:, None] == _texts(new.column(name))[None, :]
        other = float(rho[0]) if len(rho) else 0.0
        return np.where(same, 1.0, other)
    first, second = _steps(written, old, new)
    lags = torch.from_numpy(np.abs(first[:, None] - second[None, :]))
    if isinstance(factor, AR1):
        return torch.where(lags > 0, torch.pow(rho, lags.double()), 1.0).numpy()
    longest = int(lags.max()) if lags.numel() else 0
    if isinstance(factor, AR2):
        return AR2(torch.arange(longest + 1)).values(rho)[lags].numpy()
    if isinstance(factor, Toeplitz) and longest < factor.size:
        return factor.values(rho)[lags].numpy()
    raise DataError(
        f"{written.text} knows no correlation at a lag of {longest}, as the new data have it.",
        hint="Fit ar1, which has one at every lag, or predict nearer to the rows of the fit.",
    )


def _steps(written: ResidualFactor, old: Table, new: Table) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of a serial structure: the values themselves, or the order of the fit's levels."""
    (name,) = written.variables
    try:
        first, second = (coordinate(t, name, written.text) for t in (old, new))
    except DataError:
        factor = as_factor(old.column(name))
        place = {level: code for code, level in enumerate(factor.levels)}
        texts = _texts(new.column(name))
        unknown = [text for text in texts if text not in place]
        if unknown:
            raise DataError(
                f"The new data have the level {unknown[0]} of *{name}* in {written.text}, whose place in the order the fit "
                "does not know.",
                hint="Number the steps, so that new ones have their place.",
            ) from None
        return factor.codes, np.array([place[text] for text in texts], dtype=np.int64)
    wrong = np.flatnonzero(second != np.round(second))
    if len(wrong):
        raise DataError(
            f"*{name}* is {second[wrong[0]]:g} in {new.rows(wrong)} of the new data; {written.text} counts whole steps."
        )
    return np.round(first).astype(np.int64), np.round(second).astype(np.int64)
