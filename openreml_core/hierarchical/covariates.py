"""Covariates of the group's means: a formula over subjects, read by the same grammar as every other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError
from openreml_core.notation import parse_formula

INTERCEPT = "(Intercept)"
_RESPONSE = "subject_number_"


def covariate_matrix(
    formula: str | None, tables: Sequence[pd.DataFrame], names: Sequence[object]
) -> tuple[Tensor, tuple[str, ...]]:
    """The rows x_i of subjects, and their columns' names.

    Parameters
    ----------
    formula : str, optional
        Right-hand side over columns that are constant within subjects: ``"age + group"``; none is an intercept alone.
    tables : sequence of DataFrame
        Trials of each of n subjects.
    names : sequence
        The subjects.

    Returns
    -------
    Tensor of shape (n, q)
        The intercept first.

    Raises
    ------
    FormulaError, DataError
        A covariate is missing or changes within a subject.
    """
    n = len(tables)
    if formula is None:
        return torch.ones(n, 1, dtype=torch.float64), (INTERCEPT,)
    if not isinstance(formula, str) or not formula.strip():
        raise FormulaError(f"covariates={formula!r} is no formula.", hint="Give one such as 'age + group'.")
    text = f"{_RESPONSE} ~ {formula.split('~')[-1]}"
    read = parse_formula(text, (_RESPONSE, *map(str, tables[0].columns)))
    if read.random:
        raise FormulaError("Covariates of the group take no bars.", hint="Leave out (... | ...).")
    columns: dict[str, list[object]] = {c: [] for c in read.columns if c != _RESPONSE}
    for name, table in zip(names, tables, strict=True):
        for column, values in columns.items():
            if table[column].nunique(dropna=False) != 1:
                raise DataError(
                    f"The covariate *{column}* changes within subject {name}.",
                    hint="Covariates of the group hold one value per subject.",
                )
            values.append(table[column].iloc[0])
    rows = pd.DataFrame({_RESPONSE: np.arange(n) + np.cos(np.arange(n)), **columns})
    design = build_design(text, rows, missing="error")
    if not design.fixed_names or design.fixed_names[0] != INTERCEPT:
        raise FormulaError("The group's means need an intercept.", hint="Leave out 0 + or - 1.")
    return torch.from_numpy(np.array(design.X, dtype=np.float64)), design.fixed_names
