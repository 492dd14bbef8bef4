"""Which engine fits a model, and whether its matrices find room."""

from __future__ import annotations

import os

from openreml_core.engines.engine import Engine
from openreml_core.engines.marginal import MarginalEngine
from openreml_core.engines.threads import use_threads
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel

ENGINES = ("auto", "marginal")


def choose_engine(name: str, model: MixedModel) -> Engine:
    """An engine for the model.

    Parameters
    ----------
    name : {"auto", "marginal"}
    model : MixedModel

    Raises
    ------
    ModelError
        For an unknown name, or when the dense matrices would not fit into the memory at hand.
    """
    if name not in ENGINES:
        raise ModelError(f"engine={name!r} is not known.", hint=f"Choose one of {', '.join(ENGINES)}.")
    needed, free = dense_bytes(model), available_bytes()
    if needed > 0.8 * free:
        raise ModelError(
            f"{model.n:,} rows need about {needed / 2**30:.1f} GiB for matrices of {model.n:,} x {model.n:,}; "
            f"{free / 2**30:.1f} GiB are free.",
            hint="Fit a part of the rows, or the means of replicates.",
        )
    use_threads(model.n)
    return MarginalEngine(model)


def dense_bytes(model: MixedModel) -> int:
    """Memory of one evaluation: V, its factor and inverse, S, the terms' masks, and room for products, n x n each."""
    return 8 * model.n**2 * (8 + 2 * len(model.terms))


def available_bytes() -> int:
    """Free memory of this machine; 8 GiB where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8 * 2**30
