"""Models of the same trials side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.errors import ModelError
from openreml_core.hierarchical.result import HierarchicalFit
from openreml_core.hierarchical.selection import random_effects_selection

#: The column that others report: it leaves the determinant out, and picks wrong models.
LABELLED = "laplace_without_determinant"
METHODS = {
    "laplace": "Laplace's approximation",
    "quadrature": "adaptive Gauss-Hermite quadrature",
    "importance": "importance sampling",
}
#: Differences of BIC, and what they are worth.
STRENGTHS = (
    (2.0, "not worth more than a bare mention"),
    (6.0, "positive evidence"),
    (10.0, "strong evidence"),
    (float("inf"), "very strong evidence"),
)


def compare(
    fits: Sequence[HierarchicalFit] | Mapping[str, HierarchicalFit], method: str = "laplace", **options: Any
) -> pd.DataFrame:
    """Compare models by their evidence.

    Parameters
    ----------
    fits : sequence or mapping of HierarchicalFit
        Two or more, of the same trials. Names are those of the models, or the mapping's.
    method : {"laplace", "quadrature", "importance"}
        How the evidence is computed.
    **options
        As for :meth:`HierarchicalFit.evidence`.

    Returns
    -------
    DataFrame
        Indexed by model, best first: ``n_subjects``, ``group_parameters``, ``log_evidence``, ``bic`` (integrated),
        ``bic_difference`` (to the best), ``frequency`` and ``exceedance`` (random-effects selection over subjects, each
        with its share of the BIC's penalty), ``laplace_without_determinant`` (-2 times the formula without its
        determinant plus the same penalty: others use it, for comparison only). ``attrs["notes"]`` says which
        subjects were left out.

    Raises
    ------
    ModelError
        Fewer than two fits, or fits of different trials.

    Notes
    -----
    The evidence is that of the subjects that every model could be fitted to; the number of trials is theirs. The evidence of
    a subject is taken at the group's estimates, which were fitted to it as well: for the selection over subjects each
    carries its share k log(trials) / (2 n) of the penalty.
    """
    named = _named(fits)
    first = next(iter(named.values()))
    common = [s for s in _used(first) if all(s in set(_used(f)) for f in named.values())]
    if not common:
        raise ModelError("The fits have no subject in common.", hint="Fit the models to the same trials.")
    lengths = {name: dict(zip(f.data.names, f.data.n_trials.tolist(), strict=True)) for name, f in named.items()}
    for name, own in lengths.items():
        if differ := next((s for s in common if own[s] != lengths[next(iter(lengths))][s]), None):
            raise ModelError(
                f"The fit of {name} has {own[differ]} trials of subject {differ}, another fit has "
                f"{lengths[next(iter(lengths))][differ]}.",
                hint="Fit the models to the same trials.",
            )
    trials = sum(lengths[next(iter(lengths))][s] for s in common)
    rows, by_subject = [], []
    for f in named.values():
        own = f.subject_evidence(method, **options).set_index("subject")["log_evidence"].loc[common]
        penalty = f.n_group_parameters * np.log(trials)
        total = float(own.sum())
        by_subject.append(own.to_numpy() - penalty / (2 * len(common)))
        rows.append((len(common), f.n_group_parameters, total, penalty - 2 * total, penalty))
    table = pd.DataFrame(
        rows,
        columns=["n_subjects", "group_parameters", "log_evidence", "bic", "penalty"],
        index=pd.Index(list(named), name="model"),
    )
    table.insert(4, "bic_difference", table["bic"] - table["bic"].min())
    selection = random_effects_selection(np.stack(by_subject, axis=1))
    table["frequency"], table["exceedance"] = selection.frequency, selection.exceedance
    without = [_without_determinant(f, common) for f in named.values()]
    table[LABELLED] = table.pop("penalty") - 2 * np.array(without)
    table = table.sort_values("bic", kind="stable")
    dropped = sorted({str(s) for f in named.values() for s in f.data.names} - {str(s) for s in common})
    notes = [f"Evidence by {METHODS[method]}; {len(common):,} subjects, {trials:,} trials."]
    notes += [f"Left out, because a model could not be fitted to them: {', '.join(dropped)}."] if dropped else []
    notes += [f"The fit of {name} has not converged." for name, f in named.items() if not f.converged]
    notes += [f"{LABELLED}: without the determinant of Laplace's formula, for comparison only."]
    table.attrs.update(method=method, notes=tuple(notes))
    return table


def verdict(table: pd.DataFrame) -> tuple[str, ...]:
    """Say which model is best, and by how much.

    Parameters
    ----------
    table : DataFrame
        Of :func:`compare`.

    Returns
    -------
    tuple of str
        The words for a difference of BIC are those of Kass and Raftery (1995), J. Am. Stat. Assoc. 90, 773-795, table in 3.2:
        it approximates twice the logarithm of a Bayes factor.
    """
    best, second = table.index[0], table.index[1]
    ahead = float(table["bic_difference"].iloc[1])
    strength = next(words for limit, words in STRENGTHS if ahead < limit)
    out = [f"{best} is best: its integrated BIC is {ahead:.3g} lower than that of {second}, {strength}."]
    if ahead < STRENGTHS[0][0]:
        out = [
            f"{best} and {second} are as good as each other: their integrated BICs differ by {ahead:.2g}, {strength}."
        ]
    often = str(table["exceedance"].idxmax())
    chance = float(table["exceedance"].max())
    who = "it" if often == best else often
    words = "above 99.9 %" if chance > 0.999 else f"{100 * chance:.3g} %"
    out.append(
        f"{'Yet among' if often != best else 'Among'} subjects, {who} is more frequent than every other model with a "
        f"probability of {words} (exceedance)."
    )
    other = str(table[LABELLED].idxmin()) if table[LABELLED].notna().all() else best
    if other != best:
        out.append(
            f"The formula without its determinant would have picked {other}: it rewards parameters that trials do not tell."
        )
    return tuple(out)


def _named(fits: Any) -> dict[str, HierarchicalFit]:
    if isinstance(fits, Mapping):
        named = {str(k): f for k, f in fits.items()}
    elif isinstance(fits, Sequence):
        named = {}
        for f in fits:
            name = getattr(getattr(f, "model", None), "name", "model")
            same = sum(n == name or n.startswith(f"{name} [") for n in named)
            named[name if not same else f"{name} [{same + 1}]"] = f
    else:
        raise ModelError(f"{type(fits).__name__} holds no fits.", hint="Give a list of fits.")
    if len(named) < 2 or not all(isinstance(f, HierarchicalFit) for f in named.values()):
        raise ModelError("A comparison needs two or more hierarchical fits.", hint="Give a list of fits.")
    return named


def _used(fit: HierarchicalFit) -> list[Any]:
    return [fit.data.names[k] for k in fit.places]


def _without_determinant(fit: HierarchicalFit, common: list[Any]) -> float:
    if fit.visit.group.family.name == "laplace":
        return float("nan")
    values = fit.evidence_without_determinant_by_subject()
    return float(values.loc[common].sum())
