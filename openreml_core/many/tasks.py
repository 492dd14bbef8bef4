"""The work of many fits: batches of fits that share a table, and what is kept of each."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from openreml_core.assembly import build_model
from openreml_core.design import Design
from openreml_core.engines import SharedEquations, choose_engine
from openreml_core.errors import DataError, ModelError
from openreml_core.estimating import estimate, specify
from openreml_core.fitted import Again, MixedModelFit
from openreml_core.fitting import fit
from openreml_core.loading import load
from openreml_core.model import MixedModel

#: Options of a fit that its design and model depend on.
OF_MODEL = (
    "residual", "relationship", "method", "weights", "offset", "contrasts", "start", "fixed", "ties", "missing",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Batch:
    """Fits of one group of rows.

    Attributes
    ----------
    key : tuple
        The group: a value of each by-column.
    table : DataFrame
        Its rows.
    formulas : tuple of str
        One for each response.
    responses : tuple of str
        Their names in the table of results; empty where the formula names one.
    options : mapping
        Those of ``fit``.
    """

    key: tuple[Any, ...]
    table: pd.DataFrame = field(repr=False)
    formulas: tuple[str, ...]
    responses: tuple[str, ...]
    options: Mapping[str, Any] = field(repr=False)


class KeptFit:
    """A fit that travels between processes in the form in which it is saved, and is read when it is asked for."""

    def __init__(self, fit: MixedModelFit) -> None:
        self._fit: MixedModelFit | None = fit
        self._saved, self._why = b"", ""

    def __getstate__(self) -> dict[str, Any]:
        saved, why = self._saved, self._why
        if self._fit is not None and not saved:
            buffer = io.BytesIO()
            try:
                self._fit.save(buffer)
                saved = buffer.getvalue()
            except ModelError as error:
                why = str(error)
        return {"_fit": None, "_saved": saved, "_why": why}

    @property
    def fit(self) -> MixedModelFit:
        """The fit.

        Raises
        ------
        DataError
            It was made by another process and its rows cannot be stored.
        """
        if self._fit is None:
            if not self._saved:
                raise DataError(f"The fit did not come back from its process. {self._why}", hint="Fit it alone.")
            self._fit = load(io.BytesIO(self._saved))
        return self._fit


@dataclass(frozen=True, eq=False)
class FitDone:
    """One of many fits, as it ends.

    Attributes
    ----------
    key : tuple
        The group it is of, and the response where there are several.
    row : dict of str to object
        Its row in the table of results.
    kept : KeptFit, optional
        The fit; None where there is none.
    error : str
        The kind of error, empty where there is a fit.
    message : str
        Why the search ended, or what went wrong.
    done, total : int
        How many fits are done with this one, of how many.
    """

    key: tuple[Any, ...]
    row: dict[str, Any]
    kept: KeptFit | None = field(repr=False)
    error: str
    message: str
    done: int = 0
    total: int = 0


class Sharing:
    """What the responses of one group of rows have in common: the first fit of every set of complete rows."""

    def __init__(self) -> None:
        self.key: tuple[Any, ...] | None = None
        self.models: list[tuple[Design, MixedModel]] = []
        self.equations: list[SharedEquations] = []

    def fit(self, formula: str, batch: Batch) -> MixedModelFit:
        """A fit of one response."""
        if batch.key != self.key:
            self.key, self.models, self.equations = batch.key, [], []
        began, options = time.perf_counter(), batch.options
        design, model = build_model(
            formula, batch.table, like=self.models, **{name: options[name] for name in OF_MODEL if name in options}
        )
        known = [place for place, (other, _) in enumerate(self.models) if other.X is design.X]
        if not known:
            self.models.append((design, model))
            self.equations.append(SharedEquations())
        shared = self.equations[known[0] if known else -1] if batch.responses else None
        specification = specify(formula, design, options)
        engine = choose_engine(options.get("engine", "auto"), model, shared=shared)
        estimates = estimate(specification, engine)
        again = Again(fit, batch.table, {**options, "start": None})
        return MixedModelFit(specification, design, estimates, time.perf_counter() - began, again)


def fit_batch(batch: Batch, sharing: Sharing | None = None) -> list[FitDone]:
    """Fit every response of a batch; what goes wrong is kept beside what went well."""
    sharing = sharing or Sharing()
    out = []
    for place, formula in enumerate(batch.formulas):
        key = (*batch.key, *batch.responses[place : place + 1])
        began = time.perf_counter()
        try:
            fitted = sharing.fit(formula, batch)
            out.append(FitDone(key, fitted_row(fitted), KeptFit(fitted), "", fitted.message))
        except Exception as error:  # one fit of many must not end the others, whatever it met
            kind, text = type(error).__name__, str(error)
            row = {"seconds": time.perf_counter() - began, "error": kind, "message": text}
            out.append(FitDone(key, row, None, kind, text))
    return out


def fitted_row(fitted: MixedModelFit) -> dict[str, Any]:
    """What the table of results says of a fit: scalars, then the variance parameters by name."""
    return {
        "n": fitted.n_obs,
        "criterion": fitted.criterion,
        "converged": fitted.converged,
        "singular": fitted.singular,
        "seconds": fitted.seconds,
        "error": "",
        "message": fitted.message,
        **fitted.parameters,
    }
