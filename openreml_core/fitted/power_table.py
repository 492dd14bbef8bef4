"""The table of ``fit.power``: what is tested, how large its effect is taken to be, and how often the test finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.engines import Evaluation
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.fitted.comparing import needed, reduced_fit
from openreml_core.inference import DDF
from openreml_core.notation import Reduction, reductions
from openreml_core.simulation import OnProgress, checked_count, draw_responses, generator
from openreml_core.simulation.power import power_of_fixed, power_of_random


def power_table(
    fit: Any,
    term: str,
    n_sim: int,
    seed: Any,
    alpha: float,
    effect: Any,
    ddf: str,
    executor: Any,
    on_progress: OnProgress | None,
) -> pd.DataFrame:
    """One row: term, test, power, std_error, lower, upper, n_sim, n_failed, alpha."""
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1:
        raise ModelError(f"alpha={alpha!r} is not a probability.", hint="Give a number between 0 and 1, such as 0.05.")
    count, rng = checked_count("n_sim", n_sim), generator(seed)
    model, notes = fit.estimates.engine.model, list[str]()
    columns = _columns(fit, term)
    if columns:
        y = draw_responses(model, _with_beta(fit, columns, term, effect), count, rng)
        power = power_of_fixed(fit.estimates, y, columns, ddf, executor, on_progress)
        test = f"{'t' if len(columns) == 1 else f'F of {len(columns)} coefficients'}, {DDF[ddf]} df"
    else:
        reduction = _reduction(fit, term)
        y = draw_responses(model, _with_variance(fit, reduction, effect), count, rng)
        reduced = reduced_fit(fit, needed(fit).on_rows_of(fit), reduction)
        df = fit.n_parameters - reduced.n_parameters
        power, words = power_of_random(fit.estimates, reduced.estimates, y, df, executor, on_progress)
        test = f"likelihood ratio, {words}"
    if effect is None:
        notes.append(
            "The effect is taken to be as large as it was estimated: that power says no more than the p-value does. "
            "Give effect= the size that would matter."
        )
    notes += [f"Replicate {i} failed and is left out: {why}" for i, why in power.failed[:5]]
    table = pd.DataFrame([{"term": term, "test": test, **power.row(alpha), "alpha": float(alpha)}])
    table.attrs["notes"] = tuple(notes)
    return table


def _columns(fit: Any, term: str) -> list[int]:
    """Columns of X of a fixed term or coefficient; none for a random one.

    Raises
    ------
    ModelError
        For what is no term of the model.
    """
    names = fit.estimates.engine.model.fixed_names
    if term in names:
        return [names.index(term)]
    for fixed in fit.design.fixed_terms:
        if fixed.label == term and fixed.columns:
            return list(fixed.columns)
    known = [r.label for r in reductions(fit.design.formula)]
    if term not in known and term not in fit.random_terms:
        every = [*(t.label for t in fit.design.fixed_terms), *names, *known]
        raise ModelError(
            f"*{term}* is no term of this model.", hint=did_you_mean(str(term), every).replace("columns", "terms")
        )
    return []


def _reduction(fit: Any, term: str) -> Reduction:
    """The random effect that is meant, by its label in random_anova or by the term's name where that has one effect."""
    found = reductions(fit.design.formula)
    for reduction in found:
        if reduction.label == term:
            return reduction
    own = {d.name: d.term for d in fit.design.random}
    several = [r for r in found if r.term is own[term]]
    if len(several) > 1:
        labels = ", ".join(r.label for r in several)
        raise ModelError(f"*{term}* has several effects to test.", hint=f"Name one of: {labels}.")
    return several[0]


def _with_beta(fit: Any, columns: Sequence[int], term: str, effect: Any) -> Evaluation:
    """The estimates with other fixed effects: a number, one a coefficient, or some by name."""
    at = fit.estimates.at
    if effect is None:
        return at
    names = fit.estimates.engine.model.fixed_names
    beta = at.beta.clone()
    if isinstance(effect, Mapping):
        for name, value in effect.items():
            if name not in names:
                hint = did_you_mean(str(name), list(names)).replace("columns", "coefficients")
                raise ModelError(f"effect names *{name}*, which is no coefficient.", hint=hint)
            beta[names.index(name)] = _number(value)
        return replace(at, beta=beta)
    values = np.atleast_1d(np.asarray(effect, dtype=object))
    if values.shape != (len(columns),):
        coefficients = ", ".join(names[j] for j in columns)
        raise ModelError(
            f"effect holds {values.size} numbers; *{term}* has {len(columns)} coefficients.",
            hint=f"Give one for each of {coefficients}, or a dictionary by their names.",
        )
    beta[list(columns)] = torch.tensor([_number(v) for v in values], dtype=torch.float64)
    return replace(at, beta=beta)


def _with_variance(fit: Any, reduction: Reduction, effect: Any) -> Evaluation:
    """The estimates with another variance of a term that has one parameter."""
    at = fit.estimates.at
    if effect is None:
        return at
    model = fit.estimates.engine.model
    place = next(i for i, d in enumerate(fit.design.random) if d.term is reduction.term)
    structure, where = model.terms[place].structure, model.slices[place]
    if structure.n_parameters != 1:
        raise ModelError(
            f"{reduction.term.text} has {structure.n_parameters} parameters; effect can only be a term's one variance.",
            hint="Leave effect out, or fit the model with its parameters held at the values meant, fixed={...}.",
        )
    value = _number(effect)
    if value < 0:
        raise ModelError(f"effect={value:g} is no variance.", hint="Give zero or a positive number.")
    theta: Tensor = at.theta.clone()
    theta[where] = structure.from_natural(torch.tensor([value / at.sigma2], dtype=torch.float64))
    return replace(at, theta=theta)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise ModelError(f"effect={value!r} is no number.", hint="Give a finite number.")
    return number
