"""Heritabilities of the levels of a random term: several numbers of one name, each with its own formula.

With vg the effect's variance, d_BLUP the mean variance of a difference between two BLUPs and d_BLUE that between two estimates of
the term as a fixed factor (refitted.py), PEV_j = Var(u^_j - u_j), and C the matrix that has them on its diagonal:

    standard      vg / (vg + sum_t v_t / n_t + ve / r)          on the basis of entry means
    cullis        1 - d_BLUP / (2 vg)
    piepho        vg / (vg + d_BLUE / 2)
    generalized   mean of the eigenvalues of I - G^-1 C that are not zero
    pev           1 - mean(PEV) / vg

r is the harmonic mean of the rows per level, n_t that of the levels of a term t nested in it (gen:env), v_t its variance, ve the
residual variance of the average row. The eigenvalues of I - G^-1 C are those of G Z'P Z: their sum is the term's effective
dimension, and rank [X Z] - rank X of them are not zero. Related levels, G = vg K: vg stands for half the mean variance of a
difference between tested levels, vg d(K) / 2 (Schmidt, Hartung, Bennewitz and Piepho 2019, Genetics 212, 991-1008), in pev for
the mean of vg K_jj; only levels with data count, but for ``generalized``, which counts dimensions.

(Cullis, Smith and Coombes 2006, J. Agric. Biol. Environ. Stat. 11, 381-393; Piepho and Moehring 2007, Genetics 177, 1881-1888;
Oakey, Verbyla, Pitchford, Cullis and Kuchel 2006, Theor. Appl. Genet. 113, 809-819.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from openreml_core.covariance import IndependentResidual, SmoothTerm
from openreml_core.design import Design
from openreml_core.design.positions import Positions
from openreml_core.engines import Evaluation
from openreml_core.errors import ModelError
from openreml_core.inference.components import NaturalEstimates
from openreml_core.inference.entries import Entries, prediction_errors
from openreml_core.inference.functions import Uncertainty, moved
from openreml_core.inference.refitted import fitted_as_fixed, mean_difference_of_estimates
from openreml_core.reml import Estimates

FORMULAS = {
    "standard": "vg / (vg + sum v_t / n_t + ve / r)",
    "cullis": "1 - mean Var(BLUP_i - BLUP_j) / (2 vg)",
    "piepho": "vg / (vg + mean Var(BLUE_i - BLUE_j) / 2)",
    "generalized": "mean of the eigenvalues of I - G^-1 C that are not zero (Oakey)",
    "pev": "1 - mean(PEV) / vg",
}
TWO_FITS = "from two fits, of which neither knows how the other varies"


@dataclass(frozen=True)
class EntryMeans:
    """What the variance of an entry mean is made of.

    Attributes
    ----------
    nested : tuple of (int, float)
        Terms whose levels are nested in the entries, and the harmonic mean number of them per entry.
    rows : float
        Harmonic mean number of rows per entry.
    residual : tuple of float
        The share of each part of the residual in the residual variance of the average row.
    why_not : str
        Why there is no such formula; empty where there is.
    """

    nested: tuple[tuple[int, float], ...] = ()
    rows: float = np.nan
    residual: tuple[float, ...] = ()
    why_not: str = ""


def heritability_table(
    design: Design,
    estimates: Estimates,
    natural: NaturalEstimates,
    place: int,
    methods: Sequence[str] = tuple(FORMULAS),
    std_error: bool = True,
) -> pd.DataFrame:
    """The table of ``fit.heritability(term)``: a row per method, of a term with several effects per effect and method.

    Parameters
    ----------
    design : Design
    estimates : Estimates
    natural : NaturalEstimates
    place : int
        Which random term.
    methods : sequence of str
    std_error : bool
        Whether standard errors are computed: two evaluations of the model for every parameter.

    Returns
    -------
    DataFrame
        estimate, std_error, formula, note. ``attrs["differences"]`` has the mean variances of a difference, of BLUPs and (with
        ``piepho``) BLUEs; of several effects those by effect.

    Raises
    ------
    ModelError
        A spline or a spatial term, or a method that is not known.
    """
    for method in methods:
        if method not in FORMULAS:
            raise ModelError(f"method={method!r} is not known.", hint=f"Choose one of {', '.join(FORMULAS)}.")
    term = estimates.engine.model.terms[place]
    if design.random[place].term.is_smooth or isinstance(design.random[place].left, Positions):
        raise ModelError(
            f"*{term.name}* is a function of positions: its effects are no entries.",
            hint="Name a term such as (1 | gen).",
        )
    names = term.structure.names
    entries = [Entries(estimates, place, effect) for effect in range(len(names))]
    numbers = _Numbers(design, entries, methods)
    found = numbers(estimates.at)
    errors = np.full(len(found), np.nan)
    if std_error:
        gradient = moved(estimates, natural, numbers, len(found))
        usable = np.isfinite(gradient).all(axis=1)
        errors[usable] = Uncertainty.of(natural).errors(gradient[usable])
    tables, differences = [], {}
    for j, own in enumerate(entries):
        here = slice(4 * j, 4 * j + 4)
        tables.append(_table(own, numbers.means[j], methods, found[here], errors[here]))
        differences[names[j]] = tables[-1].attrs["differences"]
    if len(names) == 1:
        return tables[0]
    for table in tables:
        table.attrs = {}
    out = pd.concat(tables, keys=list(names), names=["effect", "method"])
    out.attrs["differences"] = differences
    return out


class _Numbers:
    """standard, cullis, generalized and pev of every effect at any parameters, (4 k,)."""

    def __init__(self, design: Design, entries: Sequence[Entries], methods: Sequence[str]) -> None:
        self.entries = entries
        self.means = [_entry_means(design, own) for own in entries]
        self.by_errors = bool({"cullis", "pev"} & set(methods))
        self.rank = _rank(entries[0]) if len(entries) == 1 and "generalized" in methods else 0

    def __call__(self, at: Evaluation) -> np.ndarray:
        out = np.full((len(self.entries), 4), np.nan)
        errors = prediction_errors(self.entries, at) if self.by_errors else []
        for j, own in enumerate(self.entries):
            vg = own.variance(at)
            if vg <= 0:
                out[j] = 0.0
                continue
            if not self.means[j].why_not:
                out[j, 0] = vg * own.spread / (vg * own.spread + _error(self.means[j], own, at))
            if errors:
                mean, difference = (value / at.sigma2 for value in errors[j])
                out[j, 1] = 1 - difference / (2 * vg * own.spread)
                out[j, 3] = 1 - mean / (vg * own.inbreeding)
            if self.rank:
                out[j, 2] = own.estimates.engine.effective_dimensions(at)[own.place] / self.rank
        return out.reshape(-1)


def _table(
    entries: Entries, means: EntryMeans, methods: Sequence[str], found: np.ndarray, errors: np.ndarray
) -> pd.DataFrame:
    at, single = entries.estimates.at, entries.term.structure.size == 1
    vg = at.sigma2 * entries.variance(at) * entries.spread
    differences = {"genetic": 2 * vg, "blup": prediction_errors([entries], at)[0][1]}
    order = ("standard", "cullis", "generalized", "pev")
    rows = {method: (found[j], errors[j], "") for j, method in enumerate(order)}
    if means.why_not:
        rows["standard"] = (np.nan, np.nan, means.why_not)
    if not single:
        rows["generalized"] = (np.nan, np.nan, "it is of the whole term, not of one effect")
        rows["piepho"] = (np.nan, np.nan, "several effects are not estimated apart in one fit")
    elif "piepho" in methods:
        try:
            differences["blue"] = mean_difference_of_estimates(fitted_as_fixed(entries), len(entries.tested))
            rows["piepho"] = (vg / (vg + differences["blue"] / 2), np.nan, TWO_FITS)
        except ModelError as error:
            rows["piepho"] = (np.nan, np.nan, error.message)
    if vg <= 0:
        rows = dict.fromkeys(FORMULAS, (0.0, np.nan, "the variance is estimated as zero"))
    table = pd.DataFrame(
        [(*rows[m][:2], FORMULAS[m], rows[m][2]) for m in methods],
        columns=["estimate", "std_error", "formula", "note"],
        index=pd.Index(list(methods), name="method"),
    )
    table.attrs["differences"] = differences
    return table


def _entry_means(design: Design, entries: Entries) -> EntryMeans:
    """The parts of an entry mean's variance that are not the entry's."""
    model = entries.estimates.engine.model
    rows, own = entries.rows, entries.term
    basis = own.basis[torch.from_numpy(rows)]
    if not bool((basis[:, entries.effect] == 1).all()) or not bool(((basis != 0).sum(dim=1) == 1).all()):
        return EntryMeans(why_not="an entry mean holds other effects of its level too")
    if not all(isinstance(part, IndependentResidual) for part in model.residuals):
        return EntryMeans(why_not="residuals are correlated: the variance of an entry mean is not ve / r")
    group, codes = set(design.random[entries.place].group), own.codes.numpy()[rows]
    nested = []
    for u, (random, term) in enumerate(zip(design.random, model.terms, strict=True)):
        if u == entries.place or not set(random.group) >= group:
            continue
        if term.structure.size > 1 or not bool((term.incidence[1] == 1).all()):
            return EntryMeans(why_not=f"*{term.name}* has other effects than a level's own")
        if isinstance(term, SmoothTerm):
            continue
        pairs = np.unique(np.column_stack([codes, random.codes[rows]]), axis=0)
        nested.append((u, _harmonic(np.bincount(pairs[:, 0]))))
    residual = tuple(
        float(part.variance[torch.from_numpy(rows)].mean()) if isinstance(part, IndependentResidual) else 0.0
        for part in model.residuals
    )
    return EntryMeans(tuple(nested), _harmonic(entries.counts), residual)


def _error(means: EntryMeans, entries: Entries, at: Evaluation) -> float:
    """sum v_t / n_t + ve / r, over sigma2."""
    model = entries.estimates.engine.model
    relative = model.relative(at.theta)
    total = sum(float(relative[u][0, 0]) / count for u, count in means.nested)
    residuals = relative[len(model.terms) :]
    ve = sum(share * float(s[0, 0]) for share, s in zip(means.residual, residuals, strict=True))
    return total + ve / means.rows


def _harmonic(counts: np.ndarray) -> float:
    """Harmonic mean of the counts that are not zero."""
    met = counts[counts > 0]
    return float(len(met) / (1 / met).sum())


def _rank(entries: Entries) -> int:
    """rank [X Z] - rank X: of X, what is left within the levels of the term is (X - P_Z X)."""
    model, term = entries.estimates.engine.model, entries.term
    z, codes = term.basis[:, 0], term.codes
    q = len(term.levels)
    squares = torch.zeros(q, dtype=torch.float64).index_add(0, codes, z.square())
    sums = torch.zeros(q, model.p, dtype=torch.float64).index_add(0, codes, z[:, None] * model.X)
    within = model.X - z[:, None] * (sums / squares.clamp_min(1e-300)[:, None])[codes]
    size = torch.linalg.vector_norm(model.X, dim=0).clamp_min(1e-300)
    values = torch.linalg.svdvals(within / size)
    return int((squares > 0).sum()) + int((values > 1e-9).sum()) - model.p
