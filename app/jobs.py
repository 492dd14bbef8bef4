"""Computations outside the page script, in threads of the process, so that a click does not end them.

The worker never touches Streamlit: it fills a `Job`, the page looks at it. Cancelling settles the job at once; the worker
notices when it next tells its progress, and its result is dropped.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

import openreml_core as reml

WORKERS = 4
#: Seconds that a thread may keep Python to itself. torch gives it back in every operation, and waits that long to have it again
#: beside a page that is being drawn: with Python's own 0.005 a job of small tensors took fifty times as long, with this ten.
SWITCH = 1e-4
Fit = TypeVar("Fit", bound="IteratingJob")
#: Seconds that a page waits for an answer before it shows that one is on its way.
WAIT = 1.0


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class Job:
    """One computation: how far it is, and how it ended.

    Attributes
    ----------
    work : callable
        Computes the result; it is given the job, whose ``report`` tells how far it is and whether to go on.
    done, total : int
        How much of how much is done; a total of 0 where that is not known.
    """

    work: Callable[[Job], Any]
    state: State = State.WAITING
    done: int = 0
    total: int = 0
    result: Any = None
    error: str = ""
    details: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    over: threading.Event = field(default_factory=threading.Event, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    too_large = "There is not enough memory for this."
    broken = "This ended with an error that should not happen. The details below help to mend it."

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (State.WAITING, State.RUNNING)

    @property
    def seconds(self) -> float:
        """How long it has taken so far, or took."""
        return (self.ended or time.monotonic()) - self.began

    def cancel(self) -> None:
        """End it now."""
        self._settle(State.CANCELLED)

    def report(self, done: int, total: int) -> bool:
        """Tell how far it is; whether to go on."""
        if self.active:
            self.done, self.total = done, total
        return self.active

    def _settle(self, state: State, *, result: Any = None, error: str = "", details: str = "") -> None:
        with self._lock:
            if self.active:
                self.result, self.error, self.details = result, error, details
                self.ended = time.monotonic()
                self.state = state
        self.over.set()

    def run(self) -> None:
        """Compute; called by the worker."""
        with self._lock:
            if not self.active:
                return
            self.state = State.RUNNING
        try:
            result = self.work(self)
        except reml.FitCancelled:
            self._settle(State.CANCELLED)
        except reml.ModelError as error:
            self._settle(State.FAILED, error=str(error))
        except MemoryError:
            self._settle(State.FAILED, error=self.too_large)
        except Exception:
            self._settle(State.FAILED, error=self.broken, details=traceback.format_exc())
        else:
            self._settle(State.DONE, result=result)


class IteratingJob(Job):
    """A fit that tells its iterations.

    Parameters
    ----------
    work : callable
        Computes the fit; it hands ``told`` on as ``on_iteration``.
    limit : int
        The iterations it may take.

    Attributes
    ----------
    rows : list of TraceRow
        The iterations so far.
    """

    too_large = "There is not enough memory for this model. Fit a part of the rows."
    broken = "The fit ended with an error that should not happen. The details below help to mend it."

    def __init__(self, work: Callable[[Job], Any], limit: int) -> None:
        self.limit, self.rows = limit, list[reml.TraceRow]()
        super().__init__(work)

    def told(self, row: reml.TraceRow) -> bool:
        """Keep an iteration; whether to go on."""
        if self.active:
            self.rows.append(row)
        return self.active


class FitJob(IteratingJob):
    """A fit of a mixed model.

    Parameters
    ----------
    formula : str
    options : dict
        Of ``reml.fit``.
    data : DataFrame
    """

    def __init__(self, formula: str, options: dict[str, Any], data: pd.DataFrame) -> None:
        self.formula, self.options = formula, options
        limit = int(options.get("max_iterations") or 100)
        super().__init__(lambda job: reml.fit(formula, data, on_iteration=self.told, **options), limit)


class GroupJob(IteratingJob):
    """A fit of a hierarchical model.

    Parameters
    ----------
    model : LibraryModel
    trials : DataFrame
    options : dict
        Of ``reml.hierarchical.fit``.
    """

    too_large = "There is not enough memory for these trials. Fit a part of the subjects."

    def __init__(self, model: Any, trials: pd.DataFrame, options: dict[str, Any]) -> None:
        fit = reml.hierarchical.fit
        super().__init__(
            lambda job: fit(model, trials, on_iteration=self.told, **options), int(options["max_iterations"])
        )


class Answers:
    """Answers to questions about fits, each computed once for every choice that was made."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[Hashable, ...], Job] = {}

    def get(self, question: str, *choices: Hashable) -> Job | None:
        """The job of a question, if it has been asked with these choices."""
        return self._jobs.get((question, *choices))

    def ask(self, question: str, *choices: Hashable, work: Callable[[Job], Any], wait: float = WAIT) -> Job:
        """The job of a question, begun if need be; what is still computed for other choices of it is cancelled."""
        key = (question, *choices)
        if key not in self._jobs:
            for other, job in self._jobs.items():
                if other[0] == question:
                    job.cancel()
            self._jobs[key] = Job(work)
            _executor("answer").submit(self._jobs[key].run)
            self._jobs[key].over.wait(wait)
        return self._jobs[key]

    def forget(self, question: str, *choices: Hashable) -> None:
        """Forget what came of a question, so that it can be asked again."""
        self._jobs.pop((question, *choices), None)

    @property
    def active(self) -> bool:
        """Whether something is being computed."""
        return any(job.active for job in self._jobs.values())


@st.cache_resource(show_spinner=False)
def _executor(kind: str) -> ThreadPoolExecutor:
    """The workers of a kind: answers that run long do not keep a fit waiting."""
    sys.setswitchinterval(SWITCH)
    return ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix=kind)


def submit(formula: str, data: pd.DataFrame, options: dict[str, Any]) -> FitJob:
    """Start a fit and return its job."""
    return begin(FitJob(formula, options, data))


def begin(job: Fit) -> Fit:
    """Start the job of a fit and return it."""
    _executor("fit").submit(job.run)
    return job
