"""From a model to its estimates: the options checked, kept as they were asked, and the search run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from openreml_core.assembly import METHODS
from openreml_core.design import Design
from openreml_core.engines import ENGINES, Engine
from openreml_core.errors import ModelError
from openreml_core.fitted import Specification
from openreml_core.notation import Formula
from openreml_core.reml import Estimates, OnIteration, maximise
from openreml_core.reml.start import free_mask, given_values, start_theta
from openreml_core.reml.ties import tied_parameters
from openreml_core.storage import OWN_OFFSET, OWN_WEIGHTS

#: Algorithms and the iterations each is given by default.
ALGORITHMS = {"ai": 100, "em": 2000, "ai-em": 200}
DEVICES = ("cpu", "cuda")
MISSING = ("drop", "error")


def specify(formula: str, design: Design, options: Mapping[str, Any]) -> Specification:
    """What was asked for, as a fit keeps it: the options of ``fit`` in JSON's types."""
    residual, weights, offset = (options.get(name) for name in ("residual", "weights", "offset"))
    most = options.get("max_iterations")
    kept = ("method", "algorithm", "engine", "missing")
    return Specification(
        formula=formula.text if isinstance(formula, Formula) else formula,
        residual=residual.strip() or None if residual else None,
        weights=weights if isinstance(weights, str) else None if weights is None else OWN_WEIGHTS,
        offset=offset if isinstance(offset, str) else None if offset is None else OWN_OFFSET,
        contrasts={k: v.plain for k, v in design.coding.contrasts.items() if k in dict(design.formula.kinds)},
        max_iterations=None if most is None else int(most),
        start=plain(options.get("start")),
        fixed=plain(options.get("fixed")),
        ties=dict(options["ties"]) if options.get("ties") else None,
        excluded=options.get("excluded", ()),
        **{name: options[name] for name in kept if name in options},
    )


def estimate(specification: Specification, engine: Engine, on_iteration: OnIteration | None = None) -> Estimates:
    """Search for the estimates of the engine's model as it was asked for."""
    algorithm, model = specification.algorithm, engine.model
    tied = tied_parameters(model, specification.ties or {})
    if algorithm != "ai" and tied.tied.any():
        raise ModelError("EM has no step for tied parameters.", hint="Fit them with algorithm='ai'.")
    held = given_values(model, specification.fixed or {}, what="fixed")
    theta = start_theta(model, specification.start, held, tied)
    if algorithm != "ai" and bool((theta == 0).all()) and model.n_theta:
        raise ModelError("EM cannot leave variances of zero.", hint="Start it from positive variances.")
    most = specification.max_iterations
    return maximise(
        engine,
        theta,
        algorithm=algorithm,
        max_iterations=ALGORITHMS[algorithm] if most is None else most,
        free=free_mask(model, held, tied),
        ties=tied,
        on_iteration=on_iteration,
        start_sentence="Starting values as given." if specification.start else "",
    )


def check_options(
    *,
    method: Any,
    algorithm: Any,
    engine: Any,
    missing: Any,
    device: Any = "cpu",
    residual: Any = None,
    max_iterations: Any = None,
    start: Any = None,
    fixed: Any = None,
    ties: Any = None,
    on_iteration: Any = None,
) -> None:
    """Refuse options that are not known or of the wrong type, before anything is computed."""
    for name, value, known in (
        ("method", method, tuple(METHODS)),
        ("algorithm", algorithm, tuple(ALGORITHMS)),
        ("engine", engine, ENGINES),
        ("missing", missing, MISSING),
        ("device", device, DEVICES),
    ):
        if not isinstance(value, str) or value not in known:
            raise ModelError(f"{name}={value!r} is not known.", hint=f"Choose one of {', '.join(known)}.")
    if residual is not None and not isinstance(residual, str):
        raise ModelError(f"residual={residual!r} is not a text.", hint='Write such as "ar1(row):ar1(col) + id(units)".')
    if max_iterations is not None and (
        isinstance(max_iterations, bool) or not isinstance(max_iterations, int | np.integer) or max_iterations < 0
    ):
        raise ModelError(
            f"max_iterations={max_iterations!r} is not a number of iterations.", hint="Give a whole number such as 100."
        )
    for name, given in {"start": start, "fixed": fixed}.items():
        if given is not None and not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
            raise ModelError(
                f"{name}={given!r} does not name its parameters.", hint='Give a dictionary such as {"gen": 0.4}.'
            )
    if ties is not None and not (isinstance(ties, Mapping) and all(isinstance(key, str) for key in ties)):
        raise ModelError(
            f"ties={ties!r} does not say which parameter follows which.",
            hint='Give a dictionary such as {"b.variance": "2 * a.variance"}.',
        )
    if on_iteration is not None and not callable(on_iteration):
        raise ModelError(f"on_iteration={on_iteration!r} cannot be called.", hint="Give a function of one TraceRow.")


def plain(given: Any) -> Any:
    """The user's values as JSON types, for the saved file."""
    if isinstance(given, Mapping):
        return {key: plain(value) for key, value in given.items()}
    if hasattr(given, "to_numpy"):
        given = given.to_numpy()
    if hasattr(given, "tolist"):
        return given.tolist()
    return [plain(value) for value in given] if isinstance(given, list | tuple) else given
