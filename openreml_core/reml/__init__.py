"""Restricted maximum likelihood: the search, its trace, and when it may stop."""

from __future__ import annotations

from openreml_core.reml.maximise import Estimates, maximise
from openreml_core.reml.search import OnIteration, Settings
from openreml_core.reml.trace import TraceRow, trace_frame

__all__ = ["Estimates", "OnIteration", "Settings", "TraceRow", "maximise", "trace_frame"]
