"""Guessing the role of each column from its name and its values. A guess: the user corrects it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from openreml_core.errors import DataError
from openreml_core.tables.roles import Role
from openreml_core.tables.vocabulary import FACTOR_KINDS, Kind, kind_of_name

#: Whole numbers with at most so many different values may be codes.
FEW = 10

#: A table with more unnamed -1/0/1 columns than this is taken for marker data.
MANY_MARKERS = 30


@dataclass(frozen=True)
class Look:
    """What can be seen of one column.

    Attributes
    ----------
    name : str
    kind : Kind or None
        What the name says.
    n : int
        Cells that are not missing.
    distinct : int
        Different values.
    numeric, whole : bool
        Numbers; whole numbers. Text in which four cells of five are numbers counts as numbers.
    low, high : float
        Range, NaN for text.
    evenness : float
        Count of the rarest value over that of the most frequent.
    """

    name: str
    kind: Kind | None
    n: int
    distinct: int
    numeric: bool
    whole: bool
    low: float
    high: float
    evenness: float

    @property
    def unique(self) -> bool:
        """Whether each row has a value of its own."""
        return self.n > 1 and self.distinct == self.n

    @property
    def coded(self) -> bool:
        """Whether the numbers look like the codes of a factor: whole, from 0 or 1 on or few, each met several times."""
        if not (self.numeric and self.whole) or self.low < 0 or self.n < 2 * self.distinct or self.distinct < 2:
            return False
        if self.low == 0 and self.distinct > 2 and self.evenness < 0.5:
            return False  # a count or a score
        if self.distinct <= FEW:
            return True
        dense = self.distinct / (self.high - self.low + 1)
        return self.low == 1 and dense >= 0.5 and self.n >= 5 * self.distinct


def look_at(column: pd.Series, name: str) -> Look:
    """Return what can be seen of a column."""
    present = column.dropna()
    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if not numeric and len(present) and not isinstance(column.dtype, pd.CategoricalDtype):
        parsed = pd.to_numeric(present, errors="coerce")
        if parsed.notna().mean() >= 0.8 and parsed.nunique() > FEW:
            numeric, present = True, parsed.dropna()
    counts = present.value_counts()
    values = present.to_numpy(dtype="float64") if numeric and len(present) else np.array([np.nan])
    return Look(
        name=name,
        kind=kind_of_name(name),
        n=len(present),
        distinct=len(counts),
        numeric=bool(numeric),
        whole=bool(numeric) and bool(np.all(values % 1 == 0)),
        low=float(values.min()),
        high=float(values.max()),
        evenness=float(counts.iloc[-1] / counts.iloc[0]) if len(counts) else 0.0,
    )


def guess_roles(table: pd.DataFrame) -> dict[str, Role]:
    """Guess the role of each column from its name and its values.

    Parameters
    ----------
    table : DataFrame of n rows
        As `read_table` returns it.

    Returns
    -------
    dict of str to Role
        One role a column, in the order of the columns; at most one response, one row and one column position.

    Examples
    --------
    >>> trial = pd.DataFrame({"rep": [1, 1, 1, 2, 2, 2], "gen": list("abcbca"), "yield": [4.1, 5, 4, 6, 5, 5]})
    >>> {name: role.value for name, role in guess_roles(trial).items()}
    {'rep': 'factor', 'gen': 'factor', 'yield': 'response'}
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"The data are a {type(table).__name__}, not a table (pandas.DataFrame).",
            hint="Read a file with read_table.",
        )
    looks = {str(name): look_at(table[name], str(name)) for name in table.columns}
    roles: dict[str, Role] = {}
    for role, found in (("row", _position(looks, Kind.ROW)), ("column", _position(looks, Kind.COLUMN))):
        if found is not None:
            roles[found] = Role(role)
    _pair_of_coordinates(looks, roles)
    response = _response({name: look for name, look in looks.items() if name not in roles})
    if response is not None:
        roles[response] = Role.RESPONSE
    markers = sum(look.kind is None and look.coded and look.distinct <= 3 for look in looks.values()) > MANY_MARKERS
    for name, look in looks.items():
        if name not in roles:
            roles[name] = _role(look, has_response=response is not None, markers=markers)
    _set_aside_copies(table, looks, roles)
    return {name: roles[name] for name in looks}


def _position(looks: dict[str, Look], kind: Kind) -> str | None:
    return next((name for name, look in looks.items() if look.kind is kind and look.numeric and look.n), None)


def _pair_of_coordinates(looks: dict[str, Look], roles: dict[str, Role]) -> None:
    """Take columns called x and y for positions, where something else can be the response."""
    by_name = {name.lower(): name for name in looks}
    if roles or not {"x", "y"} <= set(by_name) or not (looks[by_name["x"]].numeric and looks[by_name["y"]].numeric):
        return
    if _response({name: look for name, look in looks.items() if name.lower() not in {"x", "y"}}) is not None:
        roles[by_name["x"]], roles[by_name["y"]] = Role.COLUMN, Role.ROW


def _response(looks: dict[str, Look]) -> str | None:
    """Return the column most likely measured: by name, else the number that takes the most different values."""
    numbers = {name: look for name, look in looks.items() if look.numeric and look.n}
    for kind in (Kind.RESPONSE, Kind.MEASURE):
        named = [name for name, look in numbers.items() if look.kind is kind]
        if named:
            return named[0]
    unnamed = [look for look in numbers.values() if look.kind is None and look.distinct >= 5]
    measured = [
        look for look in unnamed if not (look.whole and look.unique) and (not look.coded or look.distinct > FEW)
    ]
    if not measured:
        return None
    return max(measured, key=lambda look: (not look.coded, not look.whole, look.distinct)).name


def _role(look: Look, *, has_response: bool, markers: bool) -> Role:
    if look.n == 0 or look.distinct == 1:
        return Role.IGNORE
    if look.unique and (look.whole or not look.numeric):
        known = look.kind in FACTOR_KINDS and look.kind is not Kind.UNIT and not look.numeric
        return Role.FACTOR if has_response and known else Role.IDENTIFIER
    if not look.numeric:
        crowded = look.distinct > 0.9 * look.n and look.kind not in FACTOR_KINDS
        return Role.IDENTIFIER if crowded else Role.FACTOR
    if look.kind in FACTOR_KINDS or look.kind is Kind.PLOT:
        return Role.FACTOR if look.whole else Role.COVARIATE
    if look.kind is Kind.AMOUNT:
        return Role.FACTOR if look.distinct <= FEW and look.evenness >= 0.5 else Role.COVARIATE
    if look.kind in (Kind.TIME, Kind.WEIGHT, Kind.MEASURE, Kind.RESPONSE):
        return Role.COVARIATE
    if markers and look.distinct <= 3:
        return Role.COVARIATE
    if look.kind is Kind.LABEL and look.whole and look.distinct > FEW:
        return Role.IDENTIFIER
    return Role.FACTOR if look.coded else Role.COVARIATE


def _set_aside_copies(table: pd.DataFrame, looks: dict[str, Look], roles: dict[str, Role]) -> None:
    """Make a factor that says the same as one before it an identifier, or a covariate if it carries amounts."""
    seen: list[tuple[int, np.ndarray]] = []
    for name in [name for name in looks if roles[name] is Role.FACTOR]:
        codes = pd.factorize(table[name])[0]
        if any(looks[name].distinct == levels and np.array_equal(codes, other) for levels, other in seen):
            amount = looks[name].kind in (Kind.AMOUNT, Kind.TIME) and looks[name].numeric
            roles[name] = Role.COVARIATE if amount else Role.IDENTIFIER
        else:
            seen.append((looks[name].distinct, codes))
