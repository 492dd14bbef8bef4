"""What ``fit`` takes beside a table: paths, patterns of paths, a dask.dataframe, a source of one's own."""

from __future__ import annotations

import os
from typing import Any

from openreml_core.streaming.cluster import DaskSource, is_dask
from openreml_core.streaming.files import FileSource
from openreml_core.streaming.source import FrameSource, Source


def is_source(data: object) -> bool:
    """Whether something is read in portions."""
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(isinstance(item, str | os.PathLike) for item in data)
    return isinstance(data, str | os.PathLike | FrameSource | FileSource | DaskSource) or is_dask(data)


def source_of(data: Any) -> Source:
    """The source that something is.

    Raises
    ------
    DataError
        No file of that name, or one that holds no table.
    """
    if is_dask(data):
        return DaskSource(data)
    return data if isinstance(data, FrameSource | FileSource | DaskSource) else FileSource(data)
