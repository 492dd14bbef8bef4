"""``fit``: from a formula and a table to a fitted model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from openreml_core.assembly import build_model
from openreml_core.engines import Engine, choose_engine, engine_of_products
from openreml_core.estimating import check_options, estimate, plain, specify
from openreml_core.fitted import Again, FitWithoutRows, MixedModelFit
from openreml_core.reml import OnIteration
from openreml_core.streaming import is_source, read_model, source_of
from openreml_core.tables import exclusions, left_in


def fit(
    formula: str,
    data: Any,
    *,
    residual: str | None = None,
    relationship: Mapping[str, Any] | None = None,
    method: str = "reml",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    contrasts: Mapping[str, Any] | None = None,
    algorithm: str = "ai",
    engine: str = "auto",
    start: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    ties: Mapping[str, str] | None = None,
    max_iterations: int | None = None,
    device: str = "cpu",
    on_iteration: OnIteration | None = None,
    missing: str = "drop",
    exclude: Mapping[Any, str] | Sequence[Any] | None = None,
) -> MixedModelFit:
    """Fit a linear mixed model by restricted maximum likelihood.

        y = X b + sum_t Z_t u_t + e,   u_t ~ N(0, Sigma_t (x) I),   e ~ N(0, sigma2 diag(1 / w))

    Parameters
    ----------
    formula : str
        Response, fixed part and bars: ``"yield ~ rep + (1 | gen) + (1 | rep:block)"``.
    data : DataFrame, path, pattern or list of paths, or dask.dataframe
        Text, categories and truth values are factors; numbers are numbers (and levels right of a bar). Parquet and CSV files
        (``"part-*.parquet"``) and the partitions of a dask.dataframe are read in portions and need not fit into memory; the
        fit then has no rows: no fitted values, no residuals.
    residual : str, optional
        The residual's structure: ``"ar1(row):ar1(col) + id(units)"``, ``"dsum(id(units) | county)"``; one variance by default.
    relationship : mapping of str to DataFrame, Pedigree, Markers, LabelledInverse or Relationship, optional
        Known covariance between the levels of a grouping factor: ``{"gen": A}``. ``relationship_matrix`` gives a Relationship
        with other choices: levels related to none, a matrix that is blended.
    method : {"reml", "ml"}
        Restricted or full maximum likelihood.
    weights : str or sequence of float, optional
        Positive weights w, a column's name or n numbers: the residual variance is sigma2 / w.
    offset : str or sequence of float, optional
        Known part of the mean.
    contrasts : mapping of str to str or matrix, optional
        Coding of factors: ``{"rep": "sum"}``, ``"helmert"``, ``"poly"`` or ``"poly(0, 1, 4)"`` with scores, ``"treatment(b)"``
        against level b, a matrix with a row per level. The default is treatment against the first level, and polynomials for
        ordered categories. It changes what coefficients mean; tests of terms and means stay the same.
    algorithm : {"ai", "em", "ai-em"}
        Average information in a trust region, EM, or three EM steps first.
    engine : {"auto", "marginal", "henderson"}
        How the likelihood is computed: from V, or from the mixed-model equations; the cheaper one by default.
        The equations have a dense part or one sparse factor, whichever takes less: ``fit.engine`` says which,
        ``"henderson"`` or ``"henderson (sparse)"``.
    start, fixed : mapping of str to number, optional
        Starting values; values held. ``{"gen": 0.4, "residual": 0.1}`` in units of the response squared; one parameter by
        the name that ``fit.parameters`` gives it, ``{"residual.ar1(row).rho": 0}``.
    ties : mapping of str to str, optional
        Parameters bound to others: ``{"col.variance": "row.variance", "units.variance": "0.5 * residual.variance"}``. Two
        terms of one structure are tied whole, by their names.
    max_iterations : int, optional
        100 for ``"ai"``, 2000 for ``"em"``, 200 for ``"ai-em"``.
    device : {"cpu", "cuda"}
        Where the dense matrices are factorised, in double precision either way; ``"cuda"`` needs a GPU.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    missing : {"drop", "error"}
        What to do with rows that lack a value the model needs.
    exclude : mapping of label to str, or sequence of labels, optional
        Rows to leave out on purpose, by their labels in the table, with the reasons: ``{12: "lodged"}``. They stay in
        ``fit.excluded``; the summary and the code name them.

    Returns
    -------
    MixedModelFit

    Raises
    ------
    ModelError
        FormulaError, DataError, ConvergenceError or FitCancelled: in words, with the column, term or row.

    Examples
    --------
    >>> import openreml_core as reml
    >>> fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    >>> fit.converged, round(fit.criterion, 4), round(fit.parameters["gen.variance"], 4)
    (True, 93.1938, 0.1429)

    References
    ----------
    Patterson and Thompson (1971), Biometrika 58, 545-554. Gilmour, Thompson and Cullis (1995), Biometrics 51, 1440-1450.
    """
    began = time.perf_counter()
    check_options(
        method=method,
        algorithm=algorithm,
        engine=engine,
        missing=missing,
        device=device,
        residual=residual,
        max_iterations=max_iterations,
        start=start,
        fixed=fixed,
        ties=ties,
        on_iteration=on_iteration,
    )
    excluded = exclusions(exclude)
    rows, own_weights, own_offset = left_in(data, excluded, weights, offset)
    built: dict[str, Any] = dict(
        residual=residual,
        relationship=relationship,
        method=method,
        weights=own_weights,
        offset=own_offset,
        contrasts=contrasts,
        start=plain(start),
        fixed=plain(fixed),
        ties=dict(ties) if ties else None,
        missing=missing,
    )
    options = built | dict(algorithm=algorithm, engine=engine, max_iterations=max_iterations)
    reading = read_model(formula, source_of(data), **built) if is_source(data) else None
    design, model = (reading.design, reading.model) if reading else build_model(formula, rows, **built)
    specification = specify(formula, design, options | {"excluded": excluded})
    chosen: Engine = (
        engine_of_products(engine, model, reading.cross) if reading else choose_engine(engine, model, device)
    )
    estimates = estimate(specification, chosen, on_iteration)
    seconds = time.perf_counter() - began
    if reading:
        return FitWithoutRows(specification, reading, estimates, seconds)
    given = dict(weights=weights, offset=offset, exclude=exclude, start=None, device=device)
    again = Again(fit, data, options | given)
    return MixedModelFit(specification, design, estimates, seconds, again)
