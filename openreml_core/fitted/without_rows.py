"""A fit whose rows stayed in files or on a cluster."""

from __future__ import annotations

import math

import pandas as pd

from openreml_core.fitted.mixed import MixedModelFit
from openreml_core.fitted.specification import Specification
from openreml_core.reml import Estimates
from openreml_core.streaming import Reading


class FitWithoutRows(MixedModelFit):
    """A fit to rows that were read in portions: everything but what is said of single rows.

    Fitted values, residuals and figures of points raise a ModelError that says where the rows are.

    Attributes
    ----------
    reading : Reading
        What was kept of the rows: levels and cross-products.
    """

    has_rows = False

    def __init__(
        self, specification: Specification, reading: Reading, estimates: Estimates, seconds: float = math.nan
    ) -> None:
        super().__init__(specification, reading.design, estimates, seconds)
        self.reading = reading

    @property
    def data(self) -> pd.DataFrame:
        """The rows are elsewhere.

        Raises
        ------
        ModelError
        """
        self.design.frame.refuse()
        raise AssertionError
