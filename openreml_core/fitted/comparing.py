"""Fits beside each other: the test of every random term, and the table of several fits.

By REML, likelihoods are comparable where the fixed parts are the same; else the fits are repeated by ML first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.errors import ModelError
from openreml_core.fitted.again import Again
from openreml_core.inference import boundary_test, nested_words, plain_p, spans
from openreml_core.inference.comparison import NOTHING
from openreml_core.notation import Reduction, reductions
from openreml_core.relationship import Relationship
from openreml_core.storage.record import relationships_of


def random_anova_table(fit: Any, on_progress: Callable[[int, int], object] | None = None) -> pd.DataFrame:
    """The table of ``fit.random_anova()``."""
    again = needed(fit).on_rows_of(fit)
    rows = [_row("<none>", fit)]
    notes = list[str]()
    found = reductions(fit.design.formula)
    if not found:
        raise ModelError("This model has no random effects to test.", hint="Add a term such as (1 | gen).")
    for done, reduction in enumerate(found):

        def tell(_: Any, done: int = done) -> object:
            return None if on_progress is None else on_progress(done, len(found))

        reduced = reduced_fit(fit, again, reduction, tell)
        row = _row(reduction.label, reduced)
        df = fit.n_parameters - reduced.n_parameters
        lrt = _clean(reduced.criterion - fit.criterion)
        boundary = boundary_test(fit.estimates.engine.model, reduced.estimates.engine.model, lrt, df)
        row |= {"LRT": lrt, "df": df, "p_value": plain_p(lrt, df)}
        row |= {"p_boundary": boundary.p_value, "mixture": boundary.words}
        rows.append(row)
        if not reduced.converged:
            notes.append(f"The fit without {reduction.label} did not converge: {reduced.message}")
        if lrt < 0:
            notes.append(f"Without {reduction.label} the likelihood is higher: the fit compared with is no maximum.")
    table = pd.DataFrame(rows)
    table["df"] = table["df"].astype("Int64")
    method = fit.method.upper()
    table.attrs["notes"] = (
        f"Likelihood-ratio tests by {method}: the model without each random effect against the whole one.",
        "p_value is of chi2(df). p_boundary minds that a variance cannot be below zero; mixture says of what it is.",
        *notes,
    )
    return table


def reduced_fit(
    fit: Any, again: Again, reduction: Reduction, on_iteration: Callable[[Any], object] | None = None
) -> Any:
    """The model without a random effect, fitted to the same rows."""
    return again(reduction.formula, on_iteration=on_iteration, **_without(fit, reduction))


def _without(fit: Any, reduction: Reduction) -> dict[str, Any]:
    """Options of a reduced model: what is said of parameters that it does not have is left out."""
    relationships = {name: Relationship(*parts) for name, parts in relationships_of(fit).items()}
    others = [d for d in fit.design.random if d.term is not reduction.term]
    names = _renamed(fit, reduction)

    def said(key: str) -> str | None:
        ratio, times, name = key.rpartition("* ")
        for old, new in names.items():
            if name == old or name.startswith(f"{old}."):
                return None if new is None else f"{ratio}{times}{new}{name.removeprefix(old)}"
        return key

    spec = fit.specification
    held = {new: v for k, v in (spec.fixed or {}).items() if (new := said(k)) is not None}
    ties = {new: to for k, v in (spec.ties or {}).items() if (new := said(k)) and (to := said(v))}
    groups = {":".join(d.group) for d in others}
    if reduction.partial:
        groups.add(reduction.term.group_name)
    return {
        "fixed": held or None,
        "ties": ties or None,
        "relationship": {name: value for name, value in relationships.items() if name in groups} or None,
        "max_iterations": None,
        "algorithm": "ai",
    }


def _renamed(fit: Any, reduction: Reduction) -> dict[str, str | None]:
    """What the random parts are called in the reduced model, longest names first; None for what is changed or gone.

    Parts on one grouping are counted, ``Subject`` and ``Subject.1``: where the first goes, the second moves up.
    """
    counts: dict[str, int] = {}
    kept: dict[str, int] = {}
    out: dict[str, str | None] = {}
    for d in fit.design.random:
        stem, _, number = d.name.rpartition(".")
        base = stem if number.isdigit() and stem in counts else d.name
        counts[base] = counts.get(base, 0) + 1
        changed = d.term is reduction.term
        if changed and not reduction.partial:
            out[d.name] = None
            continue
        place = kept.get(base, 0)
        kept[base] = place + 1
        out[d.name] = None if changed else base if place == 0 else f"{base}.{place}"
    return dict(sorted(out.items(), key=lambda pair: -len(pair[0])))


def _row(label: str, fit: Any) -> dict[str, Any]:
    return {
        "term": label, "n_parameters": fit.n_parameters, "loglik": fit.loglik, "AIC": fit.aic,
        "LRT": np.nan, "df": None, "p_value": np.nan, "p_boundary": np.nan, "mixture": "",
    }  # fmt: skip


def _clean(lrt: float) -> float:
    return 0.0 if abs(lrt) < NOTHING else lrt


def at_hand(fit: Any) -> None:
    """Refuse a fit whose rows are in files: what is simulated and fitted again needs them."""
    if not fit.has_rows:
        fit.design.frame.refuse()


def needed(fit: Any) -> Any:
    """What fits a model again; a fit that was built by hand has none."""
    at_hand(fit)
    if fit.again is None:
        raise ModelError(
            "This fit does not come of a formula and a table and cannot be fitted again.",
            hint="Fit it with openreml_core.fit.",
        )
    return fit.again


def compare(*fits: Any, refit: bool = True) -> pd.DataFrame:
    """Fits of the same response side by side, the smallest first, each tested against the one above it.

    Parameters
    ----------
    *fits : MixedModelFit
        Two or more, of the same rows and response.
    refit : bool
        Repeat REML fits by ML where their fixed parts differ; otherwise that is refused.

    Returns
    -------
    DataFrame
        model, n_parameters, AIC, BIC, loglik, deviance, LRT, df, p_value. ``attrs["notes"]`` says by which likelihood, and
        what could not be tested; ``attrs["order"]``, which of the fits given each row is, from 0.

    Raises
    ------
    ModelError
        Rows, responses or weights that differ; REML fits with other fixed parts when ``refit`` is False.

    Examples
    --------
    >>> import openreml_core as reml
    >>> d = reml.load_sample("sleepstudy")
    >>> a = reml.fit("Reaction ~ Days + (1 | Subject)", d)
    >>> b = reml.fit("Reaction ~ Days + (Days | Subject)", d)
    >>> reml.compare(a, b)["LRT"].round(4).tolist()
    [nan, 42.8368]
    """
    for fit in fits:
        if hasattr(fit, "has_rows"):
            at_hand(fit)
    _check_comparable(fits)
    notes = []
    methods = {fit.method for fit in fits}
    same_x = all(_same_fixed(fits[0], fit) for fit in fits[1:])
    if methods != {"ml"} and (len(methods) > 1 or not same_x):
        why = "the fixed parts differ" if not same_x else "some of the fits are by ML"
        if not refit:
            raise ModelError(
                f"Likelihoods by REML cannot be compared here: {why}.",
                hint="Fit by ML, fit.update(method='ml'), or let compare(..., refit=True) do so.",
            )
        fits = tuple(f if f.method == "ml" else needed(f).on_rows_of(f)(f.formula, method="ml") for f in fits)
        notes.append(f"Fits by REML were repeated by ML, because {why}.")
    else:
        notes.append(f"Likelihoods are by {methods.pop().upper()}.")
    order = sorted(range(len(fits)), key=lambda i: fits[i].n_parameters)
    ordered = [fits[i] for i in order]
    rows = []
    for place, fit in enumerate(ordered):
        row = {
            "model": fit.formula + (f", residual {fit.specification.residual}" if fit.specification.residual else ""),
            "n_parameters": fit.n_parameters, "AIC": fit.aic, "BIC": fit.bic, "loglik": fit.loglik,
            "deviance": fit.criterion, "LRT": np.nan, "df": None, "p_value": np.nan,
        }  # fmt: skip
        if place:
            before = ordered[place - 1]
            why_not = _not_nested(before, fit)
            if why_not:
                notes.append(f"{before.formula} and {fit.formula} are not tested against each other: {why_not}.")
            else:
                df, lrt = fit.n_parameters - before.n_parameters, _clean(before.criterion - fit.criterion)
                row |= {"LRT": lrt, "df": df, "p_value": plain_p(lrt, df)}
                if lrt < 0:
                    notes.append(f"{fit.formula} has the lower likelihood of the two: they are not nested.")
                if len(before.estimates.free) != len(fit.estimates.free):
                    notes.append(
                        f"Between {before.formula} and {fit.formula} variances may be zero: the p-value is then too large."
                    )
        if not fit.converged:
            notes.append(f"{fit.formula}: {fit.message}")
        rows.append(row)
    table = pd.DataFrame(rows)
    table["df"] = table["df"].astype("Int64")
    table.attrs.update(notes=tuple(notes), order=tuple(order))
    return table


def _check_comparable(fits: Sequence[Any]) -> None:
    if len(fits) < 2:
        raise ModelError("There is nothing to compare with.", hint="Give two fits or more.")
    first = fits[0]
    for fit in fits[1:]:
        if not hasattr(fit, "estimates") or not hasattr(fit, "design"):
            raise ModelError(f"{fit!r} is no fit.", hint="Give what openreml_core.fit returns.")
        if fit.n_obs != first.n_obs or not fit.design.index.equals(first.design.index):
            raise ModelError(
                f"The fits are of different rows: {first.n_obs} and {fit.n_obs}"
                f"{' of other labels' if fit.n_obs == first.n_obs else ''}. Their likelihoods cannot be compared.",
                hint="Fit both to the rows that have every value: data.dropna() of the columns of both.",
            )
        if not np.array_equal(np.asarray(fit.design.y), np.asarray(first.design.y)):
            raise ModelError(
                f"The fits are of different responses, {first.response_name} and {fit.response_name}. "
                "Their likelihoods cannot be compared.",
                hint="Compare fits of the same values; a transformed response is another one.",
            )


def _same_fixed(a: Any, b: Any) -> bool:
    x, z = (f.estimates.engine.model.X.numpy() for f in (a, b))
    return x.shape == z.shape and np.allclose(x, z, rtol=1e-10, atol=1e-12)


def _not_nested(small: Any, large: Any) -> str:
    """Why two fits cannot be tested against each other; empty where they can."""
    if large.n_parameters == small.n_parameters:
        return "they have equally many parameters"
    a, b = (f.estimates.engine.model for f in (small, large))
    if not np.allclose(a.residual_variance, b.residual_variance):
        return "their weights differ"
    offsets = (np.asarray(f.design.offset) for f in (small, large))
    if not spans(b.X.numpy(), np.subtract(*offsets)[:, None]):
        return "their offsets differ"
    if not spans(b.X.numpy(), a.X.numpy()):
        return "the fixed part of the larger one does not hold that of the smaller one"
    return nested_words(small.random_terms, large.random_terms)
