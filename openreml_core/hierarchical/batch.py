"""Trials of many subjects as tensors: a row per subject, padded with zeros to the longest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.errors import DataError, did_you_mean


class Batch:
    """Padded trials of B subjects.

    Parameters
    ----------
    columns : dict of str to Tensor of shape (B, T)
        ``batch["choice"]``: whole numbers as int64, others as float64; zero behind a subject's last trial.
    lengths : Tensor of shape (B,)
        Trials of each subject.
    """

    def __init__(self, columns: Mapping[str, Tensor], lengths: Tensor) -> None:
        self.columns = dict(columns)
        self.lengths = lengths
        self.n_trials = int(next(iter(self.columns.values())).shape[1]) if self.columns else int(lengths.max())
        self._derived: dict[str, Tensor] = {}

    @classmethod
    def of(cls, frames: Sequence[pd.DataFrame], names: Sequence[str]) -> Batch:
        """Stack the columns ``names`` of a table per subject.

        Raises
        ------
        DataError
            When a column holds no numbers.
        """
        lengths = [len(f) for f in frames]
        longest = max(lengths)
        columns = {}
        for name in names:
            arrays = [_numbers(f[name], name) for f in frames]
            whole = all(a.dtype.kind in "iub" for a in arrays)
            padded = np.zeros((len(frames), longest), dtype=np.int64 if whole else np.float64)
            for row, values in zip(padded, arrays, strict=True):
                row[: len(values)] = values
            columns[name] = torch.from_numpy(padded)
        return cls(columns, torch.tensor(lengths))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.columns:
            raise DataError(
                f"The model asks for column *{name}*, which the trials do not have.",
                hint=did_you_mean(name, list(self.columns)),
            )
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def mask(self) -> Tensor:
        """Which trials are real, shape (B, T), bool."""
        return self.derived("(mask)", lambda b: torch.arange(b.n_trials) < b.lengths[:, None])

    def derived(self, name: str, make: Callable[[Batch], Tensor]) -> Tensor:
        """What a model computes from the trials alone, kept for the next evaluation."""
        if name not in self._derived:
            self._derived[name] = make(self)
        return self._derived[name]

    def select(self, rows: Tensor) -> Batch:
        """The subjects ``rows`` (k,), which may repeat; no longer than their longest."""
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        return Batch({name: c[rows, :longest] for name, c in self.columns.items()}, lengths)

    def repeat(self, times: int) -> Batch:
        """All subjects ``times`` times over, (times B) rows."""
        return Batch({name: c.repeat(times, 1) for name, c in self.columns.items()}, self.lengths.repeat(times))


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    try:
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
            return column.to_numpy(dtype=np.int64)
        return column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        first = next((v for v in column if not isinstance(v, int | float)), column.iloc[0])
        raise DataError(
            f"Column *{name}* holds {str(first)!r}, which is no number.", hint="Code it as numbers, such as 0 and 1."
        ) from None
