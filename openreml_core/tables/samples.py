"""The sample studies: published data with a question, a source and a model to start with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from openreml_core.errors import DataError, did_you_mean
from openreml_core.tables.reading import read_table
from openreml_core.tables.roles import Role

_PACKAGE = Path(__file__).resolve().parents[1]

#: Where the studies lie: inside an installed package, or beside the package in a checkout.
FOLDERS = (_PACKAGE / "_sample_data", _PACKAGE.parent / "sample_data")

_CATALOGUE = "samples.json"


@dataclass(frozen=True)
class Sample:
    """A published data set.

    Attributes
    ----------
    name, title : str
        Short name, and a title for people.
    question : str
        What was asked.
    source : str
        Publication, and the package that the values were taken from.
    licence : str
        Licence of that package.
    n_rows, n_columns : int
        Size.
    formula : str
        A model to start with.
    path : Path
        The csv file.
    roles : dict of str to Role
        Role of each column.
    """

    name: str
    title: str
    question: str
    source: str
    licence: str
    n_rows: int
    n_columns: int
    formula: str
    path: Path
    roles: dict[str, Role]


def sample_folder() -> Path:
    """Return the folder of the sample studies.

    Raises
    ------
    DataError
        This installation carries none.
    """
    for folder in FOLDERS:
        if (folder / _CATALOGUE).is_file():
            return folder
    raise DataError("The sample studies are not part of this installation.", hint="Install the package again.")


def sample_data() -> list[Sample]:
    """Return the sample studies, the best to begin with first.

    Examples
    --------
    >>> [sample.name for sample in sample_data()][:2]
    ['john_alpha', 'sleepstudy']
    """
    folder = sample_folder()
    entries = json.loads((folder / _CATALOGUE).read_text(encoding="utf-8"))
    return [
        Sample(
            name=entry["name"],
            title=entry["title"],
            question=entry["question"],
            source=entry["source"],
            licence=entry["licence"],
            n_rows=entry["rows"],
            n_columns=len(entry["roles"]),
            formula=entry["formula"],
            path=folder / f"{entry['name']}.csv",
            roles={column: Role(role) for column, role in entry["roles"].items()},
        )
        for entry in entries
    ]


def load_sample(name: str) -> pd.DataFrame:
    """Return the table of a sample study, as `read_table` reads it.

    Raises
    ------
    DataError
        No study has this name.

    Examples
    --------
    >>> load_sample("john_alpha").shape
    (72, 7)
    """
    samples = {sample.name: sample for sample in sample_data()}
    if name not in samples:
        hint = did_you_mean(name, list(samples)).replace("The columns are", "There are")
        raise DataError(f"There is no sample study *{name}*.", hint=hint)
    return read_table(samples[name].path)
