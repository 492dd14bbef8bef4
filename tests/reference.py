"""The published reference fits and their data, kept in the folder ``shared`` beside a checkout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
ABSENT = "the reference fits (../shared/reference and ../shared/data) are not beside this checkout"


@dataclass(frozen=True)
class Reference:
    """Fits of other programs, and the data they were fitted to.

    Attributes
    ----------
    fits, data : Path
        Folders of the JSON files and of the csv files.
    """

    fits: Path = SHARED / "reference"
    data: Path = SHARED / "data"

    def found(self) -> bool:
        """Whether both folders are there."""
        return self.fits.is_dir() and self.data.is_dir()

    def cases(self, engine: str) -> list[str]:
        """Return the ids of the cases that `engine` ("lme4", "nlme", "dense") computed."""
        contents = {path.stem: self.case(path.stem) for path in sorted(self.fits.glob("*.json"))}
        return [name for name, case in contents.items() if isinstance(case, dict) and case.get("engine") == engine]

    def case(self, name: str) -> dict[str, Any]:
        """Return one reference fit by its id."""
        return json.loads((self.fits / f"{name}.json").read_text(encoding="utf-8"))

    def table(self, file: str, factors: Sequence[str] = ()) -> pd.DataFrame:
        """Return one data set; the columns named in `factors` are categories in alphabetical order of their text."""
        types = dict.fromkeys(factors, "str")
        table = pd.read_csv(self.data / file, keep_default_na=False, na_values=["NA", ""], dtype=types)
        for name in factors:
            table[name] = pd.Categorical(table[name], categories=sorted(table[name].dropna().unique()))
        return table
