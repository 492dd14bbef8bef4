"""Names of columns: stripped, unique, never empty; and the row numbers that R and pandas write in front of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from openreml_core.errors import DataError

#: The name given to a first column without one, where it is more than the row numbers.
ROW_NAME = "row_name"


def column_names(file: str, header: Sequence[object]) -> list[str]:
    """Return one clean name a column.

    Parameters
    ----------
    file : str
        How messages call the file.
    header : sequence
        The cells of the first row; an empty one in front becomes `ROW_NAME`, elsewhere ``column_4``.

    Returns
    -------
    list of str

    Raises
    ------
    DataError
        Two columns have the same name, a name holds a backtick, or the first row holds numbers.

    Examples
    --------
    >>> column_names("trial.csv", ["", " gen ", "plot\\nyield", ""])
    ['row_name', 'gen', 'plot yield', 'column_4']
    """
    names = [" ".join(str(cell).split()) if cell is not None else "" for cell in header]
    given = [name for name in names if name]
    if given and all(re.fullmatch(r"[+-]?[0-9.,]+", name) for name in given):
        raise DataError(
            f"The first row of *{file}* holds numbers ({', '.join(given[:4])}), not the names of the columns.",
            hint="Put a row of names above the data.",
        )
    for j, name in enumerate(names):
        if "`" in name:
            raise DataError(
                f"*{file}*: the name of column {j + 1}, *{name}*, holds a backtick (`).",
                hint="Rename it: in formulas, backticks stand around names with spaces.",
            )
    twice = [name for name, times in Counter(given).items() if times > 1]
    if twice:
        places = [str(j + 1) for j, name in enumerate(names) if name == twice[0]]
        raise DataError(
            f"*{file}*: columns {', '.join(places[:-1])} and {places[-1]} are both called *{twice[0]}*."
            if len(places) == 2
            else f"*{file}*: columns {', '.join(places[:-1])} and {places[-1]} are all called *{twice[0]}*.",
            hint="Give each column a name of its own.",
        )
    for j, name in enumerate(names):
        if not name:
            own = ROW_NAME if j == 0 else f"column_{j + 1}"
            while own in names:
                own += "_"
            names[j] = own
    return names


def drop_row_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out what is no data: row numbers in an unnamed first column, and columns with neither name nor content."""
    first = str(table.columns[0])
    if (first.startswith(ROW_NAME) or first == "Unnamed: 0") and table.shape[1] > 1:
        column = table.iloc[:, 0]
        if pd.api.types.is_integer_dtype(column):
            start = column.iloc[0]
            if start in (0, 1) and bool((column.to_numpy() == range(start, start + len(column))).all()):
                table = table.iloc[:, 1:]
        elif first == "Unnamed: 0":
            table = table.rename(columns={first: ROW_NAME})
    hollow = [
        name
        for name in table.columns
        if re.fullmatch(r"(column_[0-9]+|row_name)_*", str(name)) and bool(table[name].isna().all())
    ]
    return table.drop(columns=hollow) if hollow else table
