"""``fit_covariance``: REML for a covariance that is built by hand, as a tree of matrices.

y = X b + e,   e ~ N(0, V(theta)),   V a tree such as Sum(gen=Propagated(Dummy(gen), Scaled(24)), residual=Scaled(72))
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from openreml_core.by_hand.fit import CovarianceFit
from openreml_core.by_hand.given import design_of, ends_of, settings_of
from openreml_core.by_hand.starting import start_values
from openreml_core.covariance import Matrix, WholeCovariance, as_matrix
from openreml_core.covariance.parameters import ByPath, number
from openreml_core.engines import MarginalEngine
from openreml_core.engines.threads import use_threads
from openreml_core.errors import DataError, ModelError
from openreml_core.fitted import Specification
from openreml_core.model import MixedModel
from openreml_core.reml import OnIteration, TraceRow, maximise

#: Algorithms and the iterations each is given by default.
ITERATIONS = {"ai": 100, "em": 2000, "ai-em": 200}


def fit_covariance(
    y: Any,
    X: Any,
    V: Any,
    *,
    method: str = "reml",
    algorithm: str = "ai",
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float | None] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    max_iterations: int | None = None,
    step_multiplier: float = 1.0,
    tolerance: float | None = None,
    gradient_tolerance: float | None = None,
    verbose: bool | int = False,
    on_iteration: OnIteration | None = None,
    names: Sequence[str] | None = None,
) -> CovarianceFit:
    """Fit a tree of matrices by restricted maximum likelihood.

    Parameters
    ----------
    y : tensor, array or Series of shape (n,)
    X : tensor, array or DataFrame of shape (n, p)
        Fixed effects' design; columns that others determine are left out and named.
    V : Matrix of shape (n, n)
        Its parameters' values are where the search starts; variances without a value start from a share of y's variance.
    method : {"reml", "ml"}
    algorithm : {"ai", "em", "ai-em"}
        Average information in a trust region, EM, or three EM steps first; EM is there for a V that is linear in variances.
    start, fixed : mapping of path to float, optional
        Natural values to start from; to hold (None: the value that the tree has). A path that ends in a slash is for all
        below it.
    bounds : mapping of path to (float, float), optional
        Bounds of natural values.
    max_iterations : int, optional
        100 for ``"ai"``, 2000 for ``"em"``, 200 for ``"ai-em"``.
    step_multiplier : float
        What each step is multiplied by, in (0, 1]; below 1 the search is slower and steadier.
    tolerance : float, optional
        Log-likelihood that a further step may still promise at the end; 1e-9.
    gradient_tolerance : float, optional
        Largest scaled gradient at the end; 1e-6.
    verbose : bool
        Print a line for each iteration to the error stream.
    on_iteration : callable, optional
        Called with each TraceRow; returning False cancels.
    names : sequence of str, optional
        Names of X's columns.

    Returns
    -------
    CovarianceFit
        A MixedModelFit, less what needs a formula. V itself is left as it was.

    Raises
    ------
    ModelError
        Sizes that do not fit, an unknown path, values outside their domain, a V that is not symmetric or, at the starting
        values, not positive definite.

    Examples
    --------
    >>> import openreml_core as reml
    >>> from openreml_core.covariance import Dummy, Identity, Kronecker, Propagated, Scaled, Sum
    >>> d = reml.load_sample("john_alpha")
    >>> V = Sum(
    ...     gen=Propagated(Dummy(d["gen"]), Scaled(24)),
    ...     block=Propagated(Dummy(d["rep"], d["block"]), Kronecker(Identity(3), Scaled(6))),
    ...     residual=Scaled(72),
    ... )
    >>> fit = reml.fit_covariance(d["yield"], Dummy(d["rep"])(), V)
    >>> {path: round(value, 4) for path, value in fit.parameters.items()}
    {'gen/sigma2': 0.1429, 'block/1/sigma2': 0.0702, 'residual/sigma2': 0.0816}
    """
    began = time.perf_counter()
    if method not in ("reml", "ml"):
        raise ModelError(f"method={method!r} is not known.", hint="Choose 'reml' or 'ml'.")
    if not isinstance(algorithm, str) or algorithm not in ITERATIONS:
        raise ModelError(f"algorithm={algorithm!r} is not known.", hint=f"Choose one of {', '.join(ITERATIONS)}.")
    max_iterations = ITERATIONS[algorithm] if max_iterations is None else max_iterations
    settings = settings_of(step_multiplier, tolerance, gradient_tolerance, max_iterations)
    design = design_of(y, X, names)
    n = len(design.y)
    tree = copy.deepcopy(as_matrix(V))
    if tree.shape != (n, n):
        raise ModelError(
            f"V is {tree.shape[0]} x {tree.shape[1]}, y has {n} values.",
            hint=f"V needs a row and a column for each: {n}.",
        )
    _check_mappings(start=start, fixed=fixed, bounds=bounds)
    given = ByPath({**(start or {}), **{path: v for path, v in (fixed or {}).items() if v is not None}})
    for path, ends in (bounds or {}).items():
        low, high = ends_of(path, ends)
        for name in tree.matching(path):
            p = tree.parameters[name]
            value = number(name, given.get(name, given.get(path, p.value)))
            tree.set(
                name, value=min(max(value, low), high) if p.given or name in given else None, lower=low, upper=high
            )
    for path, value in (start or {}).items():
        tree.set(path, value=number(path, value))
    for path, held in (fixed or {}).items():
        tree.set(path, value=held, fixed=True)
    model = _model(design, tree, method)
    _check_symmetric(tree, model)
    _check_em(algorithm, model)
    use_threads(n)
    estimates = maximise(
        MarginalEngine(model),
        model.components[0].structure.start(torch.ones(n, dtype=torch.float64)),
        algorithm=algorithm,
        max_iterations=max_iterations,
        on_iteration=_told(on_iteration) if verbose else on_iteration,
        settings=settings,
    )
    specification = Specification(
        formula="y ~ X, V by hand", method=method, algorithm=algorithm, max_iterations=max_iterations
    )
    return CovarianceFit(specification, design, estimates, time.perf_counter() - began)


def _model(design: Any, tree: Matrix, method: str) -> MixedModel:
    """The model, V its only component."""
    y, x = (
        torch.from_numpy(np.asarray(design.y, dtype=np.float64)),
        torch.from_numpy(np.array(design.X, dtype=np.float64)),
    )
    plain = MixedModel(y, x, tuple(design.fixed_names), (), (), method, profiled=False)
    deviation = plain.typical_deviation
    if not deviation > 0:
        raise DataError("X reproduces y exactly: nothing is left for variances.", hint="Leave columns of X out.")
    whole = WholeCovariance(tree, tree.theta(start_values(tree, deviation**2)))
    if whole.structure.n_parameters == 0:
        raise ModelError(
            "V has no free parameter.", hint="Give it one, such as Scaled(n), or free one by set(..., fixed=False)."
        )
    return MixedModel(y, x, tuple(design.fixed_names), (), (whole,), method, profiled=False)


def _check_symmetric(tree: Matrix, model: MixedModel) -> None:
    structure = model.components[0].structure
    v = structure.matrix(structure.start(torch.ones(model.n, dtype=torch.float64)))
    if not bool(torch.isfinite(v).all()):
        raise ModelError(
            f"{int((~torch.isfinite(v)).sum())} of {v.numel()} elements of V are not numbers at the starting values.",
            hint="Give other starting values.",
        )
    if not torch.allclose(v, v.T, rtol=1e-9, atol=1e-12 * float(v.abs().max())):
        row, column = divmod(int((v - v.T).abs().argmax()), model.n)
        raise ModelError(
            f"V is not symmetric: rows {row + 1} and {column + 1} differ by {float((v - v.T).abs().max()):.3g}.",
            hint="Build it from symmetric parts: Propagated, Gram, or a sum with its transpose.",
        )


def _check_em(algorithm: str, model: MixedModel) -> None:
    structure = model.components[0].structure
    start = structure.start(torch.ones(model.n, dtype=torch.float64))
    if algorithm != "ai" and structure.em_update(start, structure.matrix(start)) is None:
        raise ModelError(
            "EM has no step for this V: it is not a sum of free variances times fixed matrices.",
            hint="Fit it with algorithm='ai'.",
        )


def _check_mappings(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
            raise ModelError(
                f"{name}={value!r} does not name its parameters.", hint='Give a dictionary such as {"gen/sigma2": 0.4}.'
            )


def _told(also: OnIteration | None) -> Callable[[TraceRow], object]:
    def tell(row: TraceRow) -> object:
        values = "  ".join(f"{name} {value:.5g}" for name, value in row.parameters.items())
        print(
            f"{row.iteration:3d}  criterion {row.criterion:.6f}  gradient {row.gradient:.1e}  {values}", file=sys.stderr
        )
        return also(row) if also is not None else None

    return tell
