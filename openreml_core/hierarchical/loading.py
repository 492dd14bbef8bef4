"""``load`` and ``fit_or_load``: a saved fit back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from openreml_core.errors import DataError, ModelError
from openreml_core.hierarchical import models, saving
from openreml_core.hierarchical.families import Family
from openreml_core.hierarchical.fitting import fit, make_likelihood, recorded
from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.m_step import GroupPrior
from openreml_core.hierarchical.model import Model, check_model
from openreml_core.hierarchical.posterior import Modes, Normals
from openreml_core.hierarchical.result import HierarchicalFit
from openreml_core.hierarchical.subjects import Subjects, collect
from openreml_core.hierarchical.visit import Visit
from openreml_core.reml.trace import TraceRow


def load(path: Any, model: Model | None = None, n_jobs: int = -1) -> HierarchicalFit:
    """Read a fit that ``save`` wrote.

    Parameters
    ----------
    path : path or open binary file
    model : Model, optional
        Needed for a model of the user's own: functions are not stored.
    n_jobs : int
        Processes for a PythonModel.

    Raises
    ------
    DataError
        When the file is missing, no saved fit, or damaged.
    ModelError
        When it needs a model, or another one than is given.
    """
    record, arrays, tables = saving.read(path)
    model = _model(record["model"], model)
    options = record["options"]
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    group = Group(
        tensors["coefficients"],
        tensors["scale"],
        options["covariance"] == "diagonal",
        Family(options["family"], options["df"]),
    )
    subjects = Subjects(tuple(record["names"]), tuple(tables), tuple(record["first_status"]), tuple(record["columns"]))
    names = [p.name for p in model.parameters]
    held = {names.index(name): value for name, value in options["fixed"].items()}
    free = [k for k in range(len(names)) if k not in held]
    at, value, gradient, information = (tensors[name] for name in saving.ARRAYS)
    modes = Modes(at, value, gradient, information, ("",) * len(at))
    normals = Normals(group.means(tensors["covariates"]), group.precision(tensors["weights"]))
    visit = Visit(group, modes, normals, tensors["weights"], tensors["tangent"], tensors["evidence"], group)
    prior = None
    if options["prior"] is not None:
        known = GroupPrior(**options["prior"])
        own = [names[k] for k in free]
        prior = (*known.means(own), known.variances(own), float(known.df))
    return HierarchicalFit(
        model,
        subjects,
        visit,
        record["places"],
        record["status"],
        tensors["covariates"],
        record["terms"],
        held,
        options,
        make_likelihood(model, subjects, record["places"], free, held, n_jobs),
        [TraceRow(**row) for row in record["trace"]],
        converged=record["converged"],
        message=record["message"],
        warnings=record["warnings"],
        prior=prior,
    )


def fit_or_load(path: Any, model: Model, data: Any, subject: str = "subject", **options: Any) -> HierarchicalFit:
    """The fit in the file, or, if there is none, a fit that is then saved there.

    Parameters
    ----------
    path : path
    model, data, subject, **options
        As for :func:`fit`.

    Raises
    ------
    DataError
        When the file holds a fit of another model, of other trials or with other options.
    """
    check_model(model)
    if not Path(path).exists():
        made = fit(model, data, subject, **options)
        made.save(path)
        return made
    loaded = load(path, model, options.get("n_jobs", -1))
    record, _, _ = saving.read(path)
    hint = "Choose another path, or remove the file to fit anew."
    if record["data"] != saving.fingerprint(collect(data, subject, model, options.get("missing", "exclude"))):
        raise DataError(f"{path} holds a fit of other trials.", hint=hint)
    others = ("on_iteration", "start", "n_jobs", "verbose")  # change how a fit is found, not what it is
    wanted = recorded(**{name: value for name, value in options.items() if name not in others})
    for name, value in wanted.items():
        if loaded.options.get(name) != value:
            raise DataError(f"{path} holds a fit with {name}={loaded.options.get(name)!r}, not {value!r}.", hint=hint)
    return loaded


def _model(stored: dict[str, Any], given: Model | None) -> Model:
    if given is not None:
        check_model(given)
        if saving.described(given) != stored:
            raise ModelError(
                f"The file holds a fit of {stored.get('library') or stored.get('name')}, not of this {given.name}.",
                hint="Give the model that was fitted.",
            )
        return given
    if stored["library"] is None:
        raise ModelError(
            f"The model {stored['name']} is the user's own; a file does not hold functions.",
            hint="Give it: load(path, model=...).",
        )
    return models.named(stored["library"], **stored["settings"])
