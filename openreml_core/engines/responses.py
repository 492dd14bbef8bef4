"""Many responses of one design: of Henderson's equations only y's row and column of N differ between them.

N = W'R0^-1 W,   W = [Z X y]:   Z and X, what is eliminated, where every entry goes are worked out once;
Z'R0^-1 y, X'R0^-1 y and y'R0^-1 y for every response
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from openreml_core.covariance import IndependentResidual
from openreml_core.engines.crossproducts import CrossProducts, wide_design
from openreml_core.engines.henderson import HendersonEngine
from openreml_core.engines.independent_errors import IndependentErrors
from openreml_core.engines.layout import independent
from openreml_core.model import MixedModel


class SharedEquations:
    """Engines for models that differ in y alone; what they have in common is worked out with the first of them."""

    def __init__(self) -> None:
        self._engine: HendersonEngine | None = None

    @staticmethod
    def can_take(model: MixedModel) -> bool:
        """Whether the rows enter N once: residuals are independent, in one section or several."""
        return independent(model)

    def engine(self, model: MixedModel) -> HendersonEngine:
        """The engine of a model."""
        first = self._engine or self._prepare(model)
        assert isinstance(first.errors, IndependentErrors)
        cross, y = first.errors.cross, model.centred.numpy()
        products = []
        for rows, root, transposed in self._sections:
            own = root * y[rows]
            products.append(np.append(transposed @ own, own @ own))
        place, section = self._of_y, cross.section[self._of_y]
        other = np.where(cross.row[place] == cross.size - 1, cross.column[place], cross.row[place])
        value = cross.value.copy()
        value[place] = np.stack(products)[section, other]
        return first.with_products(model, replace(cross, value=value))

    def _prepare(self, model: MixedModel) -> HendersonEngine:
        design = wide_design(model)[:, :-1]
        y = design.shape[1]
        self._sections: list[tuple[np.ndarray, np.ndarray, sparse.csr_array]] = []
        rows, columns, values, counts, log_weights = [], [], [], [], 0.0
        for part in model.residuals:
            assert isinstance(part, IndependentResidual)
            variance = part.variance.numpy()
            own = np.flatnonzero(variance)
            root = variance[own] ** -0.5
            weighed = sparse.csr_array(design[own].multiply(root[:, None]))
            self._sections.append((own, root, sparse.csr_array(weighed.T)))
            products = sparse.coo_array(weighed.T @ weighed)
            row, column = (place.astype(np.int64) for place in products.coords)
            met = np.unique(row)  # columns of W that have entries here: y meets them all
            rows.append(np.concatenate([row, met, np.full(len(met) + 1, y)]))
            columns.append(np.concatenate([column, np.full(len(met), y), met, [y]]))
            values.append(np.concatenate([products.data, np.zeros(2 * len(met) + 1)]))
            counts.append(len(own))
            log_weights += 2 * float(np.log(root).sum())
        cross = CrossProducts(
            row=np.concatenate(rows),
            column=np.concatenate(columns),
            section=np.repeat(np.arange(len(rows)), [len(r) for r in rows]),
            value=np.concatenate(values),
            size=y + 1,
            counts=np.asarray(counts, dtype=np.int64),
            log_weights=log_weights,
        )
        self._of_y = np.flatnonzero((cross.row == y) | (cross.column == y))
        self._engine = HendersonEngine(model, cross)
        return self._engine
