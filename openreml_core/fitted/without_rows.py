"""A fit whose rows stayed in files or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pandas as pd

from openreml_core.errors import ModelError
from openreml_core.fitted.mixed import MixedModelFit


class FitWithoutRows(MixedModelFit):
    """A fit to rows that were read in portions: everything but what is said of single rows.

    Fitted values, residuals and figures of points raise a ModelError that says where the rows are.
    """

    has_rows = False

    @property
    def data(self) -> pd.DataFrame:
        """The rows are elsewhere.

        Raises
        ------
        ModelError
        """
        self.design.frame.refuse()
        raise AssertionError

    def save(self, path: str | Path | IO[bytes]) -> None:
        """Not there yet.

        Raises
        ------
        ModelError
        """
        raise ModelError(
            "A fit to files cannot be saved: its rows are not in it.",
            hint="Save its tables, such as fit.tidy('random').to_csv(...), or fit the table: reml.read_table(...).",
        )
