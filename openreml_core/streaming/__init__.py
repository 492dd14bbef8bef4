"""Models whose rows are not all in memory: files and partitions are read in portions, and only what they add up to is kept.

source, files, delimited, parquet, cluster   where rows come from
column, census                               the first reading: levels, complete rows, means
layout                                       how rows become columns of W = [Z X y]
products                                     the second reading: W's cross-products
sums, model, reading                         the model that comes of them
keeping                                      the same in a file
"""

from __future__ import annotations

from openreml_core.streaming.keeping import reading_of, record_of
from openreml_core.streaming.reading import Reading, read_model
from openreml_core.streaming.source import FrameSource, Portion, Source
from openreml_core.streaming.sources import is_source, source_of

__all__ = [
    "FrameSource",
    "Portion",
    "Reading",
    "Source",
    "is_source",
    "read_model",
    "reading_of",
    "record_of",
    "source_of",
]
