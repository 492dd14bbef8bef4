"""The design and the model that a layout and the sums over the rows give, whether the rows were read now or once before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from openreml_core.design import Design
from openreml_core.design.build import aliased_words, fixed_terms
from openreml_core.design.evaluate import Variable
from openreml_core.model import MixedModel
from openreml_core.relationship import Relationship
from openreml_core.streaming.absent import RowsElsewhere
from openreml_core.streaming.census import Census
from openreml_core.streaming.layout import Layout
from openreml_core.streaming.model import SummedModel, SummedResidual, SummedTerm
from openreml_core.structures import levels_and_kernel, random_structure


@dataclass(frozen=True, eq=False)
class Sums:
    """What a model keeps of the rows beside their cross-products.

    Attributes
    ----------
    kept : int64 array of shape (p,)
        Which columns of X are no combinations of those to their left.
    coefficients : float64 array of shape (p,)
        Least-squares b.
    deviation : float
        Standard deviation of the least-squares residuals.
    mean_squares : tuple of float64 arrays of shape (k, k)
        Of every term the mean over the rows of K_jj b b'.
    rows : int64 array of shape (S,)
        Rows of every section.
    inverse_weights : float64 array of shape (S,)
        Sum of 1 / w.
    """

    kept: np.ndarray
    coefficients: np.ndarray
    deviation: float
    mean_squares: tuple[np.ndarray, ...]
    rows: np.ndarray
    inverse_weights: np.ndarray

    @staticmethod
    def random(model: MixedModel) -> int:
        """Number of random effects, Z's columns."""
        return sum(len(t.levels) * t.structure.size for t in model.terms)


def model_of(
    layout: Layout,
    census: Census,
    sums: Sums,
    matrices: Mapping[str, Relationship],
    method: str,
    profiled: bool,
    where: str,
) -> tuple[Design, SummedModel]:
    """The design and the model.

    Parameters
    ----------
    layout : Layout
    census : Census
    sums : Sums
    matrices : mapping of group to Relationship
    method : {"reml", "ml"}
    profiled : bool
        Whether the residual variance is profiled out.
    where : str
        Where the rows are.
    """
    n = census.rows
    rows: Any = RowsElsewhere(where)
    fixed_names, terms, aliased = fixed_terms(layout.coding, layout.names, layout.owner, sums.kept)
    parts = []
    for random, square in zip(layout.random, sums.mean_squares, strict=True):
        levels, kernel = levels_and_kernel(random, matrices.get(":".join(random.group)))
        structure = random_structure(random, n)
        parts.append(SummedTerm(random.name, structure, levels, rows, rows, kernel, torch.from_numpy(square)))
    residuals = tuple(
        SummedResidual(rows, name=name, rows_of_it=int(count), all_rows=n, total=float(total))
        for name, count, total in zip(layout.section_names, sums.rows, sums.inverse_weights, strict=True)
    )
    model = SummedModel(
        y=rows,
        X=rows,
        fixed_names=fixed_names,
        terms=tuple(parts),
        residuals=residuals,
        method=method,
        profiled=profiled,
        rows=n,
        coefficients=torch.from_numpy(sums.coefficients),
        deviation=sums.deviation,
    )
    warnings = list(layout.warnings)
    if aliased:
        warnings.append(aliased_words(aliased))
    warnings += [f"{name}: {notice}" for name, matrix in matrices.items() for notice in matrix.notices]
    design = Design(
        formula=layout.formula,
        y=rows,
        X=rows,
        fixed_names=fixed_names,
        fixed_terms=terms,
        aliased=aliased,
        random=layout.random,
        weights=rows if layout.wanted.weights else None,
        offset=rows,
        index=rows,
        n_dropped=census.dropped,
        dropped=pd.DataFrame({"row": [], "reason": []}, dtype=object),
        warnings=tuple(warnings),
        frame=rows,
        coding=layout.coding,
        kept=sums.kept,
        offsets=tuple(Variable(e) for e in layout.formula.offset_expressions),
    )
    return design, model
