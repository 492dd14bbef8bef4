"""From the user's table, or list of tables, to the trials of each subject, and what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.hierarchical.model import Model

OK = "ok"
MISSING = ("exclude", "drop")


@dataclass(frozen=True, eq=False)
class Subjects:
    """Subjects and their trials.

    Attributes
    ----------
    names : tuple
        Of all n subjects, in the order in which they came.
    tables : tuple of DataFrame
        Trials of each; of subjects that cannot be used as they came.
    status : tuple of str
        ``"ok"``, what is unusual about a subject that can be used, or ``"excluded: ..."``.
    columns : tuple of str
        What the model reads.
    """

    names: tuple[Any, ...]
    tables: tuple[pd.DataFrame, ...]
    status: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def usable(self) -> np.ndarray:
        """Places of the subjects that can be fitted."""
        return np.flatnonzero([not s.startswith("excluded") for s in self.status])

    @property
    def n_trials(self) -> np.ndarray:
        """Trials of each subject, (n,)."""
        return np.array([len(t) for t in self.tables])


def collect(data: Any, subject: str, model: Model, missing: str = "exclude") -> Subjects:
    """The subjects in the data.

    Parameters
    ----------
    data : DataFrame, sequence of DataFrame, or mapping of name to DataFrame
        One long table with a column of subjects, or a table per subject.
    subject : str
        That column. A list of tables that lack it is numbered from 1.
    model : Model
    missing : {"exclude", "drop"}
        Whether a missing value excludes its subject or drops its trial.

    Raises
    ------
    DataError
        A column is missing, or no subject can be used.
    """
    if missing not in MISSING:
        raise ModelError(f"missing={missing!r} is not known.", hint="Choose 'exclude' or 'drop'.")
    names, tables = _split(data, subject)
    columns = model.columns or tuple(str(c) for c in tables[0] if c != subject and _is_numeric(tables[0][c]))
    for name, table in zip(names, tables, strict=True):
        for column in columns:
            if column not in table:
                where = "" if isinstance(data, pd.DataFrame) else f" of subject {name}"
                raise DataError(
                    f"The model {model.name} needs column *{column}*, which the table{where} does not have.",
                    hint=did_you_mean(column, list(table.columns)),
                )
    if missing == "drop":
        tables = [t[_complete(t, columns)] for t in tables]
    status = tuple(_status(t, columns, model) for t in tables)
    found = Subjects(tuple(names), tuple(tables), status, tuple(columns))
    if not len(found.usable):
        raise DataError(
            f"No subject can be fitted; subject {names[0]} is {status[0]}", hint="Look at these columns of the table."
        )
    return found


def _split(data: Any, subject: str) -> tuple[list[Any], list[pd.DataFrame]]:
    if isinstance(data, pd.DataFrame):
        if subject not in data:
            raise DataError(
                f"There is no column *{subject}* of subjects.", hint=did_you_mean(str(subject), list(data.columns))
            )
        if data.empty:
            raise DataError("The table has no rows.")
        if data[subject].isna().any():
            row = data.index[data[subject].isna()][0]
            raise DataError(
                f"Column *{subject}* lacks the subject in row {row}.", hint="Fill it, or leave the row out."
            )
        plain = data.copy(deep=False)
        plain.attrs = {}
        parts = list(plain.groupby(subject, sort=False, observed=True))
        return [name for name, _ in parts], [part for _, part in parts]
    if isinstance(data, Mapping):
        names, tables = list(data), list(data.values())
    elif isinstance(data, Sequence) and not isinstance(data, str):
        tables = list(data)
        names = [_own_name(t, subject, k) for k, t in enumerate(tables, start=1)]
    else:
        raise DataError(f"{type(data).__name__} holds no trials.", hint="Give a table, or a list of tables.")
    if not tables:
        raise DataError("There are no subjects.", hint="Give a table per subject.")
    if wrong := next((n for n, t in zip(names, tables, strict=True) if not isinstance(t, pd.DataFrame)), None):
        raise DataError(f"The trials of subject {wrong} are no table.", hint="Give a pandas DataFrame.")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(
            f"Two tables are of subject {twice}.", hint="Join them, or give the subjects names of their own."
        )
    return names, tables


def _own_name(table: Any, subject: str, number: int) -> Any:
    if isinstance(table, pd.DataFrame) and subject in table and table[subject].nunique(dropna=False) == 1:
        return table[subject].iloc[0]
    return number


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _complete(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    return table[list(columns)].notna().all(axis=1)


def _status(table: pd.DataFrame, columns: Sequence[str], model: Model) -> str:
    if not len(table):
        return "excluded: no trials"
    for column in columns:
        values = table[column]
        if values.isna().any():
            return f"excluded: *{column}* is missing (NaN) in row {table.index[values.isna()][0]}"
        if _is_numeric(values):
            finite = np.isfinite(values.to_numpy(dtype=float))
            if not finite.all():
                return f"excluded: *{column}* is infinite in row {table.index[~finite][0]}"
    check = getattr(model, "check", None)
    reason = check(table) if callable(check) else None
    if reason:
        return f"excluded: {reason}"
    if len(table) == 1:
        return "one trial only"
    if model.response in table and table[model.response].nunique() == 1:
        return f"*{model.response}* is {table[model.response].iloc[0]} in all {len(table)} trials"
    return OK
