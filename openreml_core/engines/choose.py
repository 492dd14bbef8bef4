"""Which engine fits a model: by predicted cost, and only where its matrices find room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from openreml_core.covariance import KnownInverse
from openreml_core.engines.block_errors import blocks_of
from openreml_core.engines.crossproducts import CrossProducts
from openreml_core.engines.elimination import SMALL, one_by_one, together
from openreml_core.engines.engine import Engine
from openreml_core.engines.henderson import SPARSE, HendersonEngine
from openreml_core.engines.layout import independent
from openreml_core.engines.marginal import MarginalEngine, dense_bytes
from openreml_core.engines.memory import SHARE, available_bytes
from openreml_core.engines.responses import SharedEquations
from openreml_core.engines.scalar_levels import MOST_PAIRS
from openreml_core.engines.sparse_levels import SparseLevels
from openreml_core.engines.threads import use_threads
from openreml_core.errors import ModelError
from openreml_core.factorisation import TooLarge
from openreml_core.model import MixedModel, RandomPart

ENGINES = ("auto", "marginal", "henderson")
#: Multiplications a second in dense matrices, and operations on lists of entries; measured on two cores of a laptop.
DENSE, LISTED = 4e10, 1e8
#: Seconds of an evaluation that do not depend on size; the equations' take their share in setting up.
OVERHEAD = {"marginal": 0.8e-3, "henderson": 3.0e-3}
#: Matrices of the size of the dense part that an evaluation of the mixed-model equations holds.
DENSE_MATRICES = 8
#: Seconds of an iteration beyond which sparse equations are looked at: their pattern has to be found for that.
LOOKED_AT = 1.0
#: Seconds that a batch of supernodes takes, however small; vectors of the factor's length that an evaluation holds.
BATCH, COPIES = 1e-3, 3


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
        For an unknown name, or matrices that would not fit into the memory at hand.
    """
    return _planned(name, model)[0]


def choose_engine(name: str, model: MixedModel, device: str = "cpu", shared: SharedEquations | None = None) -> Engine:
    """An engine for the model.

    Parameters
    ----------
    name : {"auto", "marginal", "henderson"}
    model : MixedModel
    device : {"cpu", "cuda"}
        Where its dense matrices are factorised.
    shared : SharedEquations, optional
        What models that differ in y alone have in common.

    Raises
    ------
    ModelError
        As :func:`plan`; where the device is not there.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise ModelError("device='cuda' needs a GPU that torch can use, and finds none.", hint="Leave device out.")
    chosen, engine = _planned(name, model)
    if shared is not None and chosen.engine == "henderson" and shared.can_take(model):
        use_threads(chosen.size)
        return shared.engine(model)
    if engine is not None:
        use_threads(_typical_rows(engine))
        return engine
    use_threads(chosen.size)
    return HendersonEngine(model, device=device) if chosen.engine == "henderson" else MarginalEngine(model, device)


def _planned(name: str, model: MixedModel) -> tuple[Plan, HendersonEngine | None]:
    """The plan, and the engine of sparse equations where they had to be set up to know what they take."""
    if name not in ENGINES:
        raise ModelError(f"engine={name!r} is not known.", hint=f"Choose one of {', '.join(ENGINES)}.")
    plans = []
    if name != "henderson":
        plans.append(_marginal(model))
    if name != "marginal":
        plans.append(_henderson(model))
    free = SHARE * available_bytes()
    fitting = [p for p in plans if p.bytes <= free]
    cheapest = min((p.seconds for p in fitting), default=math.inf)
    sparse, short = None, ""
    if name != "marginal" and independent(model) and cheapest > LOOKED_AT and together(model):
        try:
            sparse = HendersonEngine(model, sparse=True, most=free / 8 / COPIES)
        except TooLarge as found:
            short = f", and sparse mixed-model equations for more than {found.entries * 8 * COPIES / 2**30:.1f} GiB"
        else:
            expected = _sparse(sparse)
            if expected.bytes <= free and expected.seconds < cheapest:
                return expected, sparse
            short = f", and sparse mixed-model equations for {expected.bytes / 2**30:.1f} GiB"
    if not fitting:
        least = min(plans, key=lambda p: p.bytes)
        raise ModelError(
            f"{model.n:,} rows need about {least.bytes / 2**30:.1f} GiB for matrices of {least.size:,} x {least.size:,}{short}; "
            f"{free / SHARE / 2**30:.1f} GiB are free.",
            hint="Fit a part of the rows, or the means of replicates.",
        )
    return min(fitting, key=lambda p: p.seconds), None


def engine_of_products(name: str, model: MixedModel, cross: CrossProducts) -> HendersonEngine:
    """The engine of a model whose cross-products are all there is of its rows.

    Raises
    ------
    ModelError
        For the name of an engine that needs rows, or a dense part that would not fit into the memory at hand.
    """
    if name == "marginal":
        raise ModelError(
            "The marginal engine needs all rows in memory, which are in files here.",
            hint="Choose engine='henderson', or fit the table: reml.read_table(...).",
        )
    engine = HendersonEngine(model, cross)
    size, free = engine.border.width, SHARE * available_bytes()
    if DENSE_MATRICES * 8 * size**2 > free:
        raise ModelError(
            f"The mixed-model equations leave a dense part of {size:,}, which needs about "
            f"{DENSE_MATRICES * 8 * size**2 / 2**30:.1f} GiB; {free / SHARE / 2**30:.1f} GiB are free.",
            hint="Leave out the crossed factor of most levels but one, or fit on a larger machine.",
        )
    use_threads(size)
    return engine


def _marginal(model: MixedModel) -> Plan:
    n = model.n
    seconds = OVERHEAD["marginal"] + 4 * n**3 / DENSE + (4 + 4 * len(model.terms)) * n**2 / LISTED / 10
    return Plan("marginal", dense_bytes(model) + _written_bytes(model), seconds, n)


def _written_bytes(model: MixedModel) -> int:
    """Memory of relationships that are known by their inverse and would have to be written out: K and its root."""
    kernels = [t.kernel for t in model.terms]
    return sum(16 * k.size**2 for k in kernels if isinstance(k, KnownInverse) and k.given is None)


def _sparse(engine: HendersonEngine) -> Plan:
    """What the sparse equations take, their factor's pattern being known."""
    assert isinstance(engine.levels, SparseLevels)
    levels, symbolic = engine.levels, engine.levels.symbolic
    seconds = OVERHEAD["henderson"] + 40 * symbolic.multiplications / DENSE + len(symbolic.batches) * BATCH
    seconds += (4 * symbolic.entries + 10 * levels.entries + 6 * levels.size * levels.width) / LISTED
    seconds += 2 * levels.size * float(levels.width) ** 2 / DENSE + 3 * levels.width**3 / DENSE
    size = 8 * (COPIES * symbolic.entries + 12 * levels.entries + 8 * levels.size * levels.width + 8 * levels.width**2)
    widest = int(symbolic.width.max() + symbolic.count[symbolic.width.argmax()]) if len(symbolic.width) else 0
    return Plan(SPARSE, int(size), seconds, max(widest, levels.width), levels.size, symbolic.entries)


def _henderson(model: MixedModel) -> Plan:
    """The cost of the cheapest elimination level by level."""
    plain = independent(model)
    count, member = (model.n, np.arange(model.n)) if plain else blocks_of(model)
    border, levels, inner, met = _eliminated(model, None if plain else (member, count))
    width = model.p + 1 + sum(t.incidence[1].shape[1] for t in model.terms)
    rows = np.bincount(member, minlength=count).astype(float)
    reach = np.minimum(rows * width, border + model.p + 1)  # columns that a block of R meets
    entries = float(model.n * width**2) if plain else float((reach**2).sum())
    pairs = min(levels * met**2, MOST_PAIRS) if inner == 1 else levels * (inner + met) * inner
    seconds = OVERHEAD["henderson"] + 3 * border**3 / DENSE
    related = sum(len(t.levels) ** 2 * t.structure.size for t in model.terms if t.kernel is not None)
    seconds += 4 * related * border / DENSE  # K's root times the border, before S is factorised and behind
    if inner == 1:
        seconds += levels * met**2 / LISTED / 4
    else:
        seconds += 4 * SMALL * levels * (inner**3 + inner**2 * met + inner * met**2) / DENSE
    if not plain:
        # R's factor, N and P within the blocks, at every theta.
        seconds += float((3 * rows**3 + 4 * rows**2 * reach + 4 * rows * reach**2).sum()) / DENSE + entries / LISTED
        seconds += 2 * OVERHEAD["henderson"] * len(model.residuals)
    size = int(8 * (DENSE_MATRICES * border**2 + 6 * entries + 3 * pairs)) + _written_bytes(model)
    return Plan("henderson", size, seconds, border)


def _eliminated(model: MixedModel, blocks: tuple[np.ndarray, int] | None) -> tuple[int, int, float, float]:
    """Columns of the border, levels, effects of a level and columns of the border that it meets, of the cheapest elimination."""
    sizes = [len(t.levels) * t.structure.size for t in model.terms]
    codes = {
        u: t.incidence[0][:, 0].numpy() // t.structure.size
        for u, t in enumerate(model.terms)
        if one_by_one(t) and (blocks is None or _keeps_blocks(t, *blocks))
    }
    whole = sum(sizes) + model.p + 1
    best, least = (whole, 0, 0.0, 0.0), float(whole) ** 3
    for t in sorted(codes, key=lambda u: -len(model.terms[u].levels))[:4]:
        own = [u for u in codes if u == t or _nested(codes[u], codes[t], len(model.terms[u].levels))]
        levels, border = len(model.terms[t].levels), whole - sum(sizes[u] for u in own)
        inner = sum(sizes[u] for u in own) / levels
        others = sum(term.incidence[1].shape[1] for u, term in enumerate(model.terms) if u not in own)
        met = min(model.n / levels * others + model.p + 1, border)
        cost = SMALL * levels * (inner**3 + inner**2 * met + inner * met**2) + float(border) ** 3
        if cost < least:
            best, least = (border, levels, inner, met), cost
    return best


def _nested(fine: np.ndarray, coarse: np.ndarray, levels: int) -> bool:
    """Whether every level of one factor lies within one of another."""
    first = np.zeros(levels, dtype=np.int64)
    first[fine] = coarse
    return bool((first[fine] == coarse).all())


def _keeps_blocks(term: RandomPart, member: np.ndarray, count: int) -> bool:
    """Whether every block of R lies within one level of a term."""
    return _nested(member, term.incidence[0][:, 0].numpy() // term.structure.size, count)


def _typical_rows(engine: HendersonEngine) -> int:
    """Rows of a matrix whose factorisation takes as long as the mean batch of supernodes."""
    assert isinstance(engine.levels, SparseLevels)
    symbolic = engine.levels.symbolic
    return round((6 * symbolic.multiplications / len(symbolic.batches)) ** (1 / 3))
