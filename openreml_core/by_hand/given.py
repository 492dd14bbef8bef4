"""What a user gives: y, X and options, checked and put in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from openreml_core.covariance import Matrix
from openreml_core.design import Design, build_design
from openreml_core.errors import DataError, ModelError
from openreml_core.notation import quote
from openreml_core.reml import Settings

RESPONSE = "y"


def design_of(y: Any, X: Any, names: Sequence[str] | None) -> Design:
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y, dtype=float)
    matrix = X() if isinstance(X, Matrix) else X
    table = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix, dtype=float)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"y has the shape {values.shape}.", hint="Give one value for each row.")
    if table.ndim != 2 or len(table) != len(values):
        raise DataError(
            f"X has the shape {table.shape}, y has {len(values)} values.", hint="Give X a row for each value of y."
        )
    for what, held in (("y", values[:, None]), ("X", table)):
        if not np.isfinite(held).all():
            row = int(np.flatnonzero(~np.isfinite(held).all(axis=1))[0])
            raise DataError(f"{what} is not a number in row {row + 1}.", hint="Leave such rows out of y, X and V.")
    if names is None:
        names = (
            [str(c) for c in X.columns] if isinstance(X, pd.DataFrame) else [f"x{j + 1}" for j in range(table.shape[1])]
        )
    if len(names) != table.shape[1] or len(set(names)) != len(names):
        raise DataError(
            f"{len(names)} names are given for {table.shape[1]} columns of X.", hint="Give each its own name."
        )
    index = y.index if isinstance(y, pd.Series) else None
    frame = pd.DataFrame(table, columns=[f"x.{name}" for name in names], index=index)
    frame.insert(0, RESPONSE, values)
    fixed = " + ".join(quote(f"x.{name}") for name in names)
    design = build_design(f"{RESPONSE} ~ 0 + {fixed}" if names else f"{RESPONSE} ~ 0", frame)
    return replace(
        design,
        fixed_names=tuple(n.removeprefix("x.") for n in design.fixed_names),
        fixed_terms=tuple(replace(t, label=t.label.removeprefix("x.")) for t in design.fixed_terms),
        aliased=tuple(n.removeprefix("x.") for n in design.aliased),
    )


def settings_of(multiplier: Any, gain: Any, gradient: Any, limit: Any) -> Settings:
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 0:
        raise ModelError(
            f"max_iterations={limit!r} is no number of iterations.", hint="Give a whole number such as 100."
        )
    usual = Settings()
    for name, value in (("step_multiplier", multiplier), ("tolerance", gain), ("gradient_tolerance", gradient)):
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ModelError(f"{name}={value!r} is not above zero.", hint="Give a positive number.")
    if multiplier > 1:
        raise ModelError(f"step_multiplier={multiplier!r} goes beyond the whole step.", hint="Give a number up to 1.")
    return Settings(
        usual.gain if gain is None else gain, usual.gradient if gradient is None else gradient, float(multiplier)
    )


def ends_of(path: str, ends: Any) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in ends)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ModelError(f"The bounds of {path} are {ends!r}.", hint="Give a lower and an upper one, such as (0, 1).")
    return low, high
