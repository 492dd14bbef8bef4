"""``fit``: from a model and trials to a fitted group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from openreml_core.engines.threads import use_threads
from openreml_core.errors import DataError, ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.covariates import covariate_matrix
from openreml_core.hierarchical.em import CRITERIA, ExpectationMaximisation, OnIteration
from openreml_core.hierarchical.families import Family
from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.m_step import GroupPrior
from openreml_core.hierarchical.model import Model, check_model
from openreml_core.hierarchical.posterior import Likelihood
from openreml_core.hierarchical.python_likelihood import PythonLikelihood
from openreml_core.hierarchical.result import HierarchicalFit
from openreml_core.hierarchical.subjects import OK, Subjects, collect
from openreml_core.hierarchical.torch_likelihood import TorchLikelihood
from openreml_core.hierarchical.visit import Visit, Visits, told_apart
from openreml_core.hierarchical.wording import print_progress

COVARIANCES = ("diagonal", "full")
#: Tolerances by what has to stand still.
TOLERANCES = {"evidence": 1e-10, "changes": 1e-6}


def fit(
    model: Model,
    data: Any,
    subject: str = "subject",
    covariance: str = "diagonal",
    max_iterations: int = 100,
    tolerance: float | None = None,
    on_iteration: OnIteration | None = None,
    start: Mapping[str, float] | HierarchicalFit | None = None,
    n_jobs: int = -1,
    *,
    family: str | Family = "gaussian",
    covariates: str | None = None,
    fixed: Mapping[str, float] | None = None,
    prior: GroupPrior | None = None,
    convergence: str = "evidence",
    accelerate: bool = True,
    missing: str = "exclude",
    verbose: bool = False,
) -> HierarchicalFit:
    """Fit a hierarchical model by expectation-maximisation with a Laplace approximation.

        log p(y_i | h_i) of subject i,   h_i ~ family(B' x_i, S)

    Parameters
    ----------
    model : Model
        One of :mod:`openreml_core.hierarchical.models`, a :class:`TorchModel` or a :class:`PythonModel`.
    data : DataFrame, sequence or mapping of DataFrames
        Trials in order: a long table with a column of subjects, or a table per subject.
    subject : str
        Name of that column.
    covariance : {"diagonal", "full"}
        Of parameters between subjects.
    max_iterations : int
    tolerance : float, optional
        1e-10 of the evidence by default, or 1e-6 with ``convergence="changes"``.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    start : mapping of str to float, or HierarchicalFit, optional
        Native values where the group's means begin; or the group of another fit of the same model.
    n_jobs : int
        Processes for a PythonModel, by joblib; -1 is every core, 1 needs no joblib. The backend is the caller's, a Dask
        cluster as well: ``with joblib.parallel_config(backend="dask"): fit(...)``. A torch model needs none.
    family : {"gaussian", "student_t", "laplace", "cauchy"} or Family
        Of subjects' free parameters; fitted as scale mixtures of normals.
    covariates : str, optional
        Formula of the group's means over columns that are constant within subjects: ``"age + group"``.
    fixed : mapping of str to float, optional
        Native values of parameters that are held for all subjects.
    prior : GroupPrior, optional
        Of the group's means and variances.
    convergence : {"evidence", "changes"}
        What has to stand still: the evidence, or the sum of absolute changes of means and variances.
    accelerate : bool
        Squared extrapolation between EM steps (Varadhan and Roland 2008).
    missing : {"exclude", "drop"}
        A missing value excludes its subject, or drops its trial.
    verbose : bool
        A line per iteration on the error stream.

    Returns
    -------
    HierarchicalFit

    Raises
    ------
    DataError
        A column is missing, or no subject can be used.
    ModelError
        The model returns another shape than one number per subject, or an option is not known.
    ConvergenceError, FitCancelled

    Notes
    -----
    A subject with missing values, or whose log-likelihood is not finite, is left out and named in ``message``; the others
    are fitted without it.

    Examples
    --------
    >>> import openreml_core as reml
    >>> model = reml.hierarchical.models.RescorlaWagner()
    >>> fit = reml.hierarchical.fit(model, model.simulate(n_subjects=20, n_trials=60, seed=1))
    >>> fit.converged, list(fit.group_mean.index)
    (True, ['learning_rate', 'inverse_temperature'])

    References
    ----------
    Huys, Cools, Gölzer, Friedel, Heinz, Dolan and Dayan (2011), PLoS Computational Biology 7, e1002028.
    """
    check_model(model)
    family = family if isinstance(family, Family) else Family(family)
    tolerance = _check_options(covariance, max_iterations, tolerance, convergence, n_jobs, on_iteration)
    held = _held(model, fixed)
    subjects = collect(data, subject, model, missing)
    usable = subjects.usable
    tables = [subjects.tables[k] for k in usable]
    matrix, terms = covariate_matrix(covariates, tables, [subjects.names[k] for k in usable])
    free = [k for k in range(len(model.parameters)) if k not in held]
    names = [model.parameters[k].name for k in free]
    likelihood = make_likelihood(model, subjects, usable.tolist(), free, held, n_jobs)
    group = _start(model, free, start, covariance == "diagonal", family, len(terms))
    known = None
    if prior is not None:
        known = (*prior.means(names), prior.variances(names), float(prior.df))
    em = ExpectationMaximisation(
        Visits(likelihood, matrix, known),
        names,
        terms,
        criterion=convergence,
        tolerance=tolerance,
        max_iterations=int(max_iterations),
        accelerate=bool(accelerate),
        on_iteration=_both(on_iteration, print_progress) if verbose else on_iteration,
    )
    ended = em.run(group)
    status, trouble = list(subjects.status), dict(ended.trouble)
    for row, why in enumerate(ended.visit.modes.trouble):
        if why:
            trouble[ended.rows[row]] = why
    for row, why in trouble.items():
        status[usable[row]] = f"excluded: {why}"
    keep = [k for k, row in enumerate(ended.rows) if row not in trouble]
    places = [int(usable[ended.rows[k]]) for k in keep]
    options = recorded(
        covariance=covariance,
        max_iterations=max_iterations,
        tolerance=tolerance,
        family=family,
        covariates=covariates,
        fixed=fixed,
        prior=prior,
        convergence=convergence,
        accelerate=accelerate,
        missing=missing,
    )
    warnings = _warnings(ended.visit, names, subjects, status, places)
    likelihood, visit, covariate_rows = ended.selected(em.visits, keep)
    return HierarchicalFit(
        model,
        subjects,
        visit,
        places,
        status,
        covariate_rows,
        terms,
        held,
        options,
        likelihood,
        ended.trace,
        converged=ended.converged,
        message=" ".join([ended.message, *warnings]),
        warnings=warnings,
        prior=known,
    )


def recorded(
    covariance: str = "diagonal",
    max_iterations: int = 100,
    tolerance: float | None = None,
    family: str | Family = "gaussian",
    covariates: str | None = None,
    fixed: Mapping[str, float] | None = None,
    prior: GroupPrior | None = None,
    convergence: str = "evidence",
    accelerate: bool = True,
    missing: str = "exclude",
) -> dict[str, Any]:
    """What a fit and its file keep of the options, in JSON's types."""
    family = family if isinstance(family, Family) else Family(family)
    known = None
    if prior is not None:
        variance = prior.variance
        known = {
            "mean": {name: [float(v) for v in pair] for name, pair in (prior.mean or {}).items()},
            "variance": dict(variance) if isinstance(variance, Mapping) else float(variance),
            "df": float(prior.df),
        }
    return {
        "covariance": covariance,
        "max_iterations": int(max_iterations),
        "tolerance": TOLERANCES.get(convergence) if tolerance is None else float(tolerance),
        "family": family.name,
        "df": family.df,
        "covariates": covariates,
        "fixed": {name: float(value) for name, value in (fixed or {}).items()},
        "prior": known,
        "convergence": convergence,
        "accelerate": bool(accelerate),
        "missing": missing,
    }


def make_likelihood(
    model: Model, subjects: Subjects, places: list[int], free: list[int], held: dict[int, float], n_jobs: int
) -> Likelihood:
    """The likelihood of the subjects ``places``, fast or slow as the model is."""
    tables = [subjects.tables[k] for k in places]
    if not model.batched:
        return PythonLikelihood(model.log_likelihood, tables, model.parameters, free, held, n_jobs)
    batch = Batch.of(tables, subjects.columns)
    use_threads(0)  # parts of the batch fit into the cache: more threads would only wait for each other
    return TorchLikelihood(model, batch, free, held)


def _check_options(
    covariance: str, max_iterations: Any, tolerance: Any, convergence: str, n_jobs: Any, on_iteration: Any
) -> float:
    for name, value, known in (("covariance", covariance, COVARIANCES), ("convergence", convergence, CRITERIA)):
        if value not in known:
            raise ModelError(f"{name}={value!r} is not known.", hint=f"Choose one of {', '.join(known)}.")
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, int) or max_iterations < 1:
        raise ModelError(f"max_iterations={max_iterations!r} is no count.", hint="Give a whole number from 1 up.")
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or n_jobs == 0:
        raise ModelError(f"n_jobs={n_jobs!r} is no number of processes.", hint="Give -1 for all cores, or 1.")
    if on_iteration is not None and not callable(on_iteration):
        raise ModelError("on_iteration is no function.", hint="Give a function of a TraceRow.")
    wanted = TOLERANCES[convergence] if tolerance is None else tolerance
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not (math.isfinite(wanted) and wanted > 0):
        raise ModelError(f"tolerance={tolerance!r} is not possible.", hint="Give a small positive number.")
    return float(wanted)


def _both(one: OnIteration | None, other: OnIteration) -> OnIteration:
    def call(row: Any) -> object:
        other(row)
        return None if one is None else one(row)

    return call


def _place(model: Model, name: str, what: str) -> int:
    names = [p.name for p in model.parameters]
    if name not in names:
        raise ModelError(f"{what} names *{name}*, which is no parameter.", hint=f"They are {', '.join(names)}.")
    return names.index(name)


def _held(model: Model, fixed: Mapping[str, float] | None) -> dict[int, float]:
    held = {}
    for name, value in (fixed or {}).items():
        place = _place(model, name, "fixed")
        model.parameters[place].to_free(value)  # refuses what is outside the domain
        held[place] = float(value)
    if len(held) == len(model.parameters):
        raise ModelError("All parameters are held; none is left to estimate.", hint="Leave one out of fixed.")
    return held


def _start(model: Model, free: list[int], start: Any, diagonal: bool, family: Family, q: int) -> Group:
    d = len(free)
    coefficients = torch.zeros(q, d, dtype=torch.float64)
    if isinstance(start, HierarchicalFit):
        names = [model.parameters[k].name for k in free]
        if start.names != names or len(start.terms) != q:
            raise ModelError(
                "start is a fit of other parameters.", hint="Give a fit of the same model, or values by name."
            )
        scale = start.visit.group.scale.clone()
        if diagonal:
            scale = torch.diag(scale.diagonal())
        return Group(start.visit.group.coefficients.clone(), scale, diagonal, family)
    parameters = [model.parameters[k] for k in free]
    for j, p in enumerate(parameters):
        coefficients[0, j] = p.free_start
    for name, value in (start or {}).items():
        place = _place(model, name, "start")
        if place in free:
            coefficients[0, free.index(place)] = model.parameters[place].to_free(value)
    for j, p in enumerate(parameters):
        native = p.to_native(coefficients[:1, j])
        if not bool(native.isfinite().all()):
            raise DataError(
                f"The transform of *{p.name}* leaves its domain at its start, {float(coefficients[0, j]):g} on the free "
                "scale.",
                hint="Give start={...} with a native value, or mend the transform.",
            )
    spread = torch.tensor([p.spread for p in parameters], dtype=torch.float64)
    return Group(coefficients, torch.diag(spread.square()), diagonal, family)


def _warnings(visit: Visit, names: list[str], subjects: Subjects, status: list[str], places: list[int]) -> list[str]:
    """What the user should know of subjects and group."""
    group, told = visit.group, told_apart(visit)
    out = []
    left = [
        f"{subjects.names[k]} ({status[k].removeprefix('excluded: ')})" for k in range(len(status)) if k not in places
    ]
    if left:
        out.append(f"Left out: {_listed(left)}.")
    odd = [f"{subjects.names[k]} ({status[k]})" for k in places if status[k] != OK]
    if odd:
        out.append(f"Fitted, but told little by their trials: {_listed(odd)}.")
    zero = [n for n, none in zip(names, group.at_zero.tolist(), strict=True) if none]
    if zero:
        out.append(f"No variation between subjects is seen in {', '.join(zero)}: the variance is at zero.")
    untold = [n for n, v in zip(names, told.tolist(), strict=True) if v < 0.01 and n not in zero]
    if untold:
        out.append(
            f"The trials do not tell subjects apart in {', '.join(untold)}: posteriors are as wide as the group."
        )
    return out


def _listed(items: list[str], most: int = 12) -> str:
    return "; ".join(items[:most]) + (f"; and {len(items) - most} more" if len(items) > most else "")
