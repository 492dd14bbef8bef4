"""Which engine fits a model: by predicted cost, and only where its matrices find room."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch

from openreml_core.covariance import IndependentResidual, KnownInverse
from openreml_core.engines.crossproducts import cross_products
from openreml_core.engines.elimination import Elimination, choose_elimination, one_by_one, together
from openreml_core.engines.engine import Engine
from openreml_core.engines.henderson import HendersonEngine
from openreml_core.engines.marginal import MarginalEngine
from openreml_core.engines.sparse_levels import SparseLevels
from openreml_core.engines.threads import use_threads
from openreml_core.errors import ModelError
from openreml_core.factorisation import TooLarge
from openreml_core.model import MixedModel

ENGINES = ("auto", "marginal", "henderson")
#: Multiplications a second in dense matrices, and operations on lists of entries; measured on one core of a laptop.
DENSE, LISTED = 2e10, 1e8
#: Seconds of an evaluation that do not depend on size.
OVERHEAD = {"marginal": 0.8e-3, "henderson": 2.2e-3}
#: Share of the free memory that an engine may take.
SHARE = 0.8
#: How fit.engine calls the mixed-model equations with a sparse factor.
SPARSE = "henderson (sparse)"
#: Seconds of an iteration beyond which the equations are looked at closer, and sparse ones too: that takes time itself.
LOOKED_AT = 1.0
#: Seconds that a batch of supernodes takes, however small; vectors of the factor's length that an evaluation holds.
BATCH, COPIES = 3e-4, 3


@dataclass(frozen=True)
class Plan:
    """What fitting a model with an engine is expected to take.

    Attributes
    ----------
    engine : str
    bytes : int
        Memory of its matrices.
    seconds : float
        Time of one iteration.
    size : int
        Rows of its largest dense matrix.
    effects : int
        Random effects in the sparse factor, of an engine that has one.
    entries : int
        Entries of the factor.
    """

    engine: str
    bytes: int
    seconds: float
    size: int
    effects: int = 0
    entries: int = 0

    @property
    def words(self) -> str:
        """``"mixed-model equations, a dense part of 1,144; about 0.1 s an iteration, 60 MB"``."""
        how = {
            "marginal": f"the covariance of all {self.size:,} rows",
            "henderson": f"mixed-model equations with a dense part of {self.size:,}",
            SPARSE: f"sparse mixed-model equations of {self.effects:,} effects, {self.entries:,} entries in their factor",
        }[self.engine]
        memory = f"{self.bytes / 1e9:.1f} GB" if self.bytes >= 1e9 else f"{max(self.bytes / 1e6, 1):.0f} MB"
        return f"{how}; {time_class(self.seconds)} an iteration, {memory}"


def time_class(seconds: float) -> str:
    """Seconds in words that promise no more than they can keep."""
    for limit, words in (
        (0.02, "milliseconds"),
        (0.3, "a tenth of a second"),
        (2, "about a second"),
        (20, "some seconds"),
    ):
        if seconds <= limit:
            return words
    return "half a minute" if seconds <= 60 else "minutes"


def plan(name: str, model: MixedModel) -> Plan:
    """The plan by an engine's name; ``"auto"`` takes the cheaper one, ``"henderson"`` the cheaper of dense and sparse equations.

    Raises
    ------
    ModelError
        For an unknown name, a model that the engine cannot take, or matrices that would not fit into the memory at hand.
    """
    return _planned(name, model)[0]


def choose_engine(name: str, model: MixedModel) -> Engine:
    """An engine for the model.

    Parameters
    ----------
    name : {"auto", "marginal", "henderson"}
    model : MixedModel

    Raises
    ------
    ModelError
        As :func:`plan`.
    """
    chosen, engine = _planned(name, model)
    if engine is not None:
        use_threads(_typical_rows(engine))
        return engine
    use_threads(chosen.size)
    return HendersonEngine(model) if chosen.engine == "henderson" else MarginalEngine(model)


def _planned(name: str, model: MixedModel) -> tuple[Plan, HendersonEngine | None]:
    """The plan, and the engine of sparse equations where they had to be set up to know what they take."""
    if name not in ENGINES:
        raise ModelError(f"engine={name!r} is not known.", hint=f"Choose one of {', '.join(ENGINES)}.")
    reason = no_equations(model)
    if name == "henderson" and reason:
        raise ModelError(f"The mixed-model equations cannot take this model: {reason}.", hint="Choose engine='auto'.")
    plans = [_marginal(model)] if name != "henderson" else []
    if name != "marginal" and not reason:
        plans.append(_henderson(model))
    free = SHARE * available_bytes()
    cheapest = min((p.seconds for p in plans if p.bytes <= free), default=math.inf)
    equations, short = None, ""
    if name != "marginal" and not reason and cheapest > LOOKED_AT:
        # The rows' cross-products say what eliminating by levels really takes, and whether a sparse factor takes less.
        cross = cross_products(model)
        plans[-1] = _eliminating(choose_elimination(model, cross), model)
        cheapest = min((p.seconds for p in plans if p.bytes <= free), default=math.inf)
        try:
            if cheapest > LOOKED_AT and together(model):
                equations = HendersonEngine(model, cross, sparse=True, most=free / 8 / COPIES)
        except TooLarge as found:
            short = f", and sparse mixed-model equations more than {found.entries * 8 * COPIES / 2**30:.1f} GiB"
        if equations is not None:
            expected = _sparse(equations)
            if expected.bytes <= free and expected.seconds < cheapest:
                return expected, equations
            short = f", and sparse mixed-model equations {expected.bytes / 2**30:.1f} GiB"
    fitting = [p for p in plans if p.bytes <= free]
    if fitting:
        return min(fitting, key=lambda p: p.seconds), None
    least = min(plans, key=lambda p: p.bytes)
    raise ModelError(
        f"{model.n:,} rows need about {least.bytes / 2**30:.1f} GiB for matrices of {least.size:,} x {least.size:,}{short}; "
        f"{free / SHARE / 2**30:.1f} GiB are free.",
        hint="Fit a part of the rows, or the means of replicates.",
    )


def no_equations(model: MixedModel) -> str:
    """Why the Henderson engine cannot take a model; empty where it can."""
    if not all(isinstance(part, IndependentResidual) for part in model.residuals):
        return "its residuals are correlated"
    total = torch.stack([part.variance != 0 for part in model.residuals if isinstance(part, IndependentResidual)])
    return "" if bool((total.sum(dim=0) == 1).all()) else "its residual has more than one part in some rows"


def _marginal(model: MixedModel) -> Plan:
    n = model.n
    seconds = OVERHEAD["marginal"] + 4 * n**3 / DENSE + (4 + 4 * len(model.terms)) * n**2 / LISTED / 10
    return Plan("marginal", dense_bytes(model) + _written_bytes(model), seconds, n)


def _eliminating(elimination: Elimination, model: MixedModel) -> Plan:
    """What the equations take with an elimination that is known."""
    border, entries = len(elimination.border), len(elimination.cross.value)
    seconds = OVERHEAD["henderson"] + 3 * elimination.cost / DENSE + (len(elimination.meetings) + entries) / LISTED / 4
    size = 8 * (8 * border**2 + 6 * entries + 6 * len(elimination.meetings)) + _written_bytes(model)
    return Plan("henderson", size, seconds, border)


def _written_bytes(model: MixedModel) -> int:
    """Memory of relationships that are known by their inverse and would have to be written out: K and its root."""
    kernels = [t.kernel for t in model.terms]
    return sum(16 * k.size**2 for k in kernels if isinstance(k, KnownInverse) and k.given is None)


def _sparse(engine: HendersonEngine) -> Plan:
    """What the sparse equations take, their factor's pattern being known."""
    assert isinstance(engine.levels, SparseLevels)
    levels, symbolic = engine.levels, engine.levels.symbolic
    seconds = OVERHEAD["henderson"] + 7 * symbolic.multiplications / DENSE + len(symbolic.batches) * BATCH
    seconds += (4 * symbolic.entries + 10 * levels.entries + 6 * levels.size * levels.width) / LISTED
    seconds += 2 * levels.size * float(levels.width) ** 2 / DENSE + 3 * levels.width**3 / DENSE
    size = 8 * (COPIES * symbolic.entries + 12 * levels.entries + 8 * levels.size * levels.width + 8 * levels.width**2)
    widest = int(symbolic.width.max() + symbolic.count[symbolic.width.argmax()]) if len(symbolic.width) else 0
    return Plan(SPARSE, int(size), seconds, max(widest, levels.width), levels.size, symbolic.entries)


def _henderson(model: MixedModel) -> Plan:
    """Its cost if the largest term is eliminated, whose levels meet no more of the rest than they have rows."""
    sizes = [len(t.levels) * t.structure.size for t in model.terms]
    alone = [size for size, t in zip(sizes, model.terms, strict=True) if one_by_one(t)]
    border = sum(sizes) - max(alone, default=0) + model.p + 1
    width = model.p + 1 + sum(t.incidence[1].shape[1] for t in model.terms)
    entries = model.n * width**2
    products = 0.0
    for count, term in zip(sizes, model.terms, strict=True):
        if alone and count == max(alone):
            met = min(model.n / len(term.levels) * width, border)
            products = len(term.levels) * met**2
    seconds = OVERHEAD["henderson"] + 3 * border**3 / DENSE + (min(products, 3e8) + min(entries, 1e7)) / LISTED / 4
    size = int(8 * (8 * border**2 + 6 * entries + 3 * min(products, 3e7))) + _written_bytes(model)
    return Plan("henderson", size, seconds, border)


def _typical_rows(engine: HendersonEngine) -> int:
    """Rows of a matrix whose factorisation takes as long as the mean batch of supernodes."""
    assert isinstance(engine.levels, SparseLevels)
    symbolic = engine.levels.symbolic
    return round((6 * symbolic.multiplications / len(symbolic.batches)) ** (1 / 3))


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
