"""Fits run outside the page script, in threads of the process, so that a click does not end them.

The worker never touches Streamlit: it fills a `Job`, the page looks at it. Cancelling settles the job at once; the worker
notices at its next iteration and its result is dropped.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml

WORKERS = 4


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class Job:
    """One fit: what was asked, what has happened so far, and how it ended."""

    formula: str
    options: dict[str, Any]
    state: State = State.WAITING
    rows: list[reml.TraceRow] = field(default_factory=list)
    result: reml.MixedModelFit | None = None
    error: str = ""
    details: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (State.WAITING, State.RUNNING)

    @property
    def seconds(self) -> float:
        """How long it has taken so far, or took."""
        return (self.ended or time.monotonic()) - self.began

    @property
    def limit(self) -> int:
        """The iterations it may take."""
        return int(self.options.get("max_iterations") or 100)

    def cancel(self) -> None:
        """End it now."""
        self._settle(State.CANCELLED)

    def _settle(self, state: State, *, result: Any = None, error: str = "", details: str = "") -> None:
        with self._lock:
            if self.active:
                self.result, self.error, self.details = result, error, details
                self.ended = time.monotonic()
                self.state = state

    def _report(self, row: reml.TraceRow) -> bool:
        if self.active:
            self.rows.append(row)
        return self.active

    def run(self, data: pd.DataFrame) -> None:
        """Fit; called by the worker."""
        with self._lock:
            if not self.active:
                return
            self.state = State.RUNNING
        _step_back()
        try:
            fitted = reml.fit(self.formula, data, on_iteration=self._report, **self.options)
        except reml.FitCancelled:
            self._settle(State.CANCELLED)
        except reml.ModelError as error:
            self._settle(State.FAILED, error=str(error))
        except MemoryError:
            self._settle(State.FAILED, error="There is not enough memory for this model. Fit a part of the rows.")
        except Exception:
            said = "The fit ended with an error that should not happen. The details below help to mend it."
            self._settle(State.FAILED, error=said, details=traceback.format_exc())
        else:
            self._settle(State.DONE, result=fitted)


def _step_back() -> None:
    """Let the pages go before this thread, so that they answer while every core computes; where the system can."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


@st.cache_resource(show_spinner=False)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="fit")


def submit(formula: str, data: pd.DataFrame, options: dict[str, Any]) -> Job:
    """Start a fit and return its job."""
    job = Job(formula, options)
    _executor().submit(job.run, data)
    return job
