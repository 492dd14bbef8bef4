"""The Python script that repeats a fit."""

from __future__ import annotations

import inspect
from typing import Any

from openreml_core.errors import ModelError
from openreml_core.hierarchical.families import Family
from openreml_core.hierarchical.models.base import LibraryModel

READ = 'reml.read_table("trials.csv")'


def model_code(model: Any) -> str:
    """A model of the library as it is written: its settings that are not the defaults.

    Raises
    ------
    ModelError
        For a model of the user's own, whose function is not known as text.

    Examples
    --------
    >>> from openreml_core.hierarchical.models import RescorlaWagner
    >>> model_code(RescorlaWagner(sticky=True, columns={"choice": "key"}))
    "reml.hierarchical.models.RescorlaWagner(sticky=True, columns={'choice': 'key'})"
    """
    if not isinstance(model, LibraryModel):
        raise ModelError(
            f"The model {model.name} is the user's own, and cannot be written down.", hint="Use your own script."
        )
    known = inspect.signature(type(model)).parameters
    given = {k: v for k, v in model.settings().items() if _differs(v, known[k].default)}
    return f"reml.hierarchical.models.{type(model).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


def fit_code(fit: Any, trials: str = READ, subject: str = "subject") -> str:
    """The script; see :meth:`HierarchicalFit.to_code`."""
    options = _options(fit.options)
    call = ", ".join(["model", "trials", f"subject={subject!r}", *options])
    if len(call) > 90:
        call = "\n    " + ",\n    ".join(["model", "trials", f"subject={subject!r}", *options]) + ",\n"
    return (
        "import openreml_core as reml\n\n"
        f"trials = {trials}\n"
        f"model = {model_code(fit.model)}\n"
        f"fit = reml.hierarchical.fit({call})\n\n"
        "print(fit)\n"
        "fit.subjects()\n"
    )


def _options(options: dict[str, Any]) -> list[str]:
    """Arguments of ``fit`` that are not its defaults."""
    from openreml_core.hierarchical.fitting import TOLERANCES, fit

    known = inspect.signature(fit).parameters
    out = []
    names = ("covariance", "max_iterations", "covariates", "fixed", "convergence", "accelerate", "missing")
    for name in names:
        if (options[name] and options[name] != known[name].default) or options[name] is False:
            out.append(f"{name}={options[name]!r}")
    if options["tolerance"] != TOLERANCES[options["convergence"]]:
        out.append(f"tolerance={options['tolerance']!r}")
    if options["df"] != Family(options["family"]).df:
        out.append(f"family=reml.hierarchical.Family({options['family']!r}, {options['df']!r})")
    elif options["family"] != "gaussian":
        out.append(f"family={options['family']!r}")
    if options["prior"] is not None:
        own = options["prior"]
        mean = {name: tuple(pair) for name, pair in own["mean"].items()} or None
        out.append(f"prior=reml.hierarchical.GroupPrior({mean!r}, {own['variance']!r}, {own['df']!r})")
    return out


def _differs(value: Any, default: Any) -> bool:
    return value != (list(default) if isinstance(value, list) and isinstance(default, tuple) else default)
