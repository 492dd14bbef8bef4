"""A ``dask.dataframe`` as a source: partitions are asked where they are, and only the answers travel."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import pandas as pd

from openreml_core.streaming.source import Portion, as_text, refuse_unknown

T = TypeVar("T")


def is_dask(data: object) -> bool:
    """Whether something is a ``dask.dataframe``; dask is not imported to find out."""
    return type(data).__module__.partition(".")[0].startswith("dask") and hasattr(data, "to_delayed")


class DaskSource:
    """The partitions of a ``dask.dataframe``.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.own = {as_text(name): name for name in frame.columns}
        self.columns = tuple(self.own)
        self.words = f"the {frame.npartitions} partitions of a dask.dataframe"

    def require(self, names: Sequence[str]) -> None:
        refuse_unknown(names, self.columns)

    def each(
        self, names: Sequence[str], levels: Collection[str], rows: int, ask: Callable[[Portion], T]
    ) -> Iterator[T]:
        """Some partitions at a time, so that few answers wait to be added up."""
        import dask

        asked = dask.delayed(_ask)
        parts = self.frame[[self.own[name] for name in names]].to_delayed()
        answers = [asked(part, f"partition {place + 1}", ask) for place, part in enumerate(parts)]
        step = 2 * _workers()
        for start in range(0, len(answers), step):
            yield from dask.compute(*answers[start : start + step])


def _ask(frame: pd.DataFrame, name: str, ask: Callable[[Portion], T]) -> T:
    return ask(Portion(name, frame.reset_index(drop=True)))


def _workers() -> int:
    """Threads of the cluster that is connected, or of this machine."""
    import dask.base

    client = getattr(dask.base.get_scheduler(), "__self__", None)
    if client is not None and hasattr(client, "nthreads"):
        return max(sum(client.nthreads().values()), 1)
    return os.cpu_count() or 1
