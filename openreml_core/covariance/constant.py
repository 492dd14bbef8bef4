"""A matrix without parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance.matrix import Matrix
from openreml_core.errors import ModelError


class Constant(Matrix):
    """A matrix without parameters: a tensor, an array or a table.

    Parameters
    ----------
    values : tensor, array or DataFrame of shape (rows, columns)
    """

    def __init__(self, values: Any) -> None:
        array = values.to_numpy() if isinstance(values, pd.DataFrame) else values
        try:
            tensor = torch.as_tensor(np.asarray(array, dtype=np.float64) if not isinstance(array, Tensor) else array)
        except (TypeError, ValueError):
            raise ModelError(
                f"{type(values).__name__} is no matrix of numbers.", hint="Give a tensor or an array."
            ) from None
        if tensor.ndim != 2:
            raise ModelError(f"An operand has {tensor.ndim} dimensions.", hint="Give a matrix: rows and columns.")
        if not bool(torch.isfinite(tensor).all()):
            row, column = (~torch.isfinite(tensor)).nonzero()[0].tolist()
            raise ModelError(
                f"A given matrix is not a number in row {row + 1}, column {column + 1}.", hint="Give finite numbers."
            )
        self.values = tensor.to(torch.float64)
        super().__init__((tensor.shape[0], tensor.shape[1]))

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self.values
