"""From a formula and rows that are not all in memory to a model without rows: two readings, three where X leaves doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import pandas as pd
import torch

from openreml_core.assembly import (
    can_profile,
    check_size,
    known_method,
    mapping_of,
    relationship_matrices,
    residual_is_bound,
)
from openreml_core.design import Design
from openreml_core.design.build import aliased_words, few_rows, fixed_terms
from openreml_core.design.coding import Coding
from openreml_core.design.contrasts import contrast_named
from openreml_core.design.evaluate import Variable
from openreml_core.design.rank import independent_columns
from openreml_core.engines import CrossProducts
from openreml_core.errors import FormulaError, ModelError
from openreml_core.notation import Formula, parse_formula, parse_residual
from openreml_core.relationship import Relationship
from openreml_core.streaming.absent import RowsElsewhere
from openreml_core.streaming.census import EMPTY, Census, take_census, together
from openreml_core.streaming.layout import Layout, layout_of, wanted_of
from openreml_core.streaming.model import SummedModel, SummedResidual, SummedTerm, cross_products_of, least_squares
from openreml_core.streaming.products import Products, joined_triangle, products_of, summed, triangle_of
from openreml_core.streaming.source import Source
from openreml_core.structures import levels_and_kernel, random_structure

#: Rows of a portion in the first reading.
ROWS = 500_000
#: Share of the response's sum of squares that rounding leaves of it in cross-products.
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Reading:
    """A model that was read in portions.

    Attributes
    ----------
    design : Design
        Without rows: what is asked of them says where they are.
    model : SummedModel
    cross : CrossProducts
    """

    design: Design
    model: SummedModel
    cross: CrossProducts


def read_model(
    formula: str | Formula,
    source: Source,
    *,
    residual: str | None = None,
    relationship: Mapping[str, Any] | None = None,
    method: str = "reml",
    weights: Any = None,
    offset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    start: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    ties: Mapping[str, str] | None = None,
    missing: str = "drop",
) -> Reading:
    """Read a model; the options are those of :func:`openreml_core.fit`.

    Raises
    ------
    ModelError
        A term or a residual that needs all rows at once, weights that are no column, and whatever is wrong with the data.
    """
    known_method(method)
    section = section_of(residual)
    for what, value in (("weights", weights), ("offset", offset)):
        if value is not None and not isinstance(value, str):
            raise ModelError(f"The {what} must be a column of the files.", hint=f'Name it: {what}="w".')
    relations, asked = mapping_of("relationship", relationship), mapping_of("contrasts", contrasts)
    read = formula if isinstance(formula, Formula) else parse_formula(formula, source.columns)
    coding = Coding(read.intercept, read.terms, {str(k): contrast_named(v, str(k)) for k, v in asked.items()})
    wanted = wanted_of(read, coding, section=section, weights=weights, offset=offset, missing=missing)
    source.require((*wanted.columns, *map(str, asked)))
    censuses = source.each(wanted.columns, wanted.levels, ROWS, partial(take_census, wanted=wanted))
    census = reduce(partial(together, questions=wanted.questions), censuses, EMPTY)
    layout = layout_of(
        census,
        wanted,
        coding,
        source.words,
        section=section,
        contrasts=asked,
        known_groups=frozenset(relations),
        plain_residual=section is None and weights is None and not residual_is_bound(fixed, ties),
    )
    matrices = relationship_matrices(relations, layout.random)
    groups = {r.term.group: ":".join(r.group) for r in layout.random}
    kernels = {group: matrices[name].matrix.diagonal() for group, name in groups.items() if name in matrices}
    rows = min(layout.rows_at_once, ROWS)
    products = summed(
        source.each(wanted.columns, wanted.levels, rows, partial(products_of, layout=layout, kernels=kernels))
    )
    assert products is not None
    kept = _kept(layout, products, source, rows)
    profiled = can_profile(fixed, ties, start) and section is None
    design, model, b = _model(layout, census, products, kept, matrices, method, profiled, source.words)
    random = sum(len(t.levels) * t.structure.size for t in model.terms)
    cross = cross_products_of(products.n.total(), layout.sections, random, kept, b, products.rows, products.log_weights)
    return Reading(design, model, cross)


def section_of(residual: str | None) -> str | None:
    """The column whose levels have a residual variance of their own; None for one variance.

    Raises
    ------
    FormulaError
        A residual with correlations.
    """
    read = parse_residual(residual)
    plain = [all(f.structure in ("id", "diag") and f.variables == ("units",) for f in t.factors) for t in read.terms]
    if len(plain) != 1 or not plain[0]:
        raise FormulaError(
            f"The residual {read.text} correlates rows, which are read in portions here.",
            hint='Fit the table: reml.read_table(...); files take one variance or "dsum(id(units) | site)".',
        )
    return read.terms[0].section


def _kept(layout: Layout, products: Products, source: Source, rows: int) -> np.ndarray:
    """The columns of X that are not combinations of those to their left; a third reading where X'X leaves doubt."""
    gram = products.c[:-1, :-1]
    there = np.flatnonzero(np.diag(gram) > 0)
    size = np.sqrt(np.diag(gram)[there])
    try:
        factor = np.linalg.cholesky(gram[np.ix_(there, there)] / np.outer(size, size))
        if not len(there) or np.diag(factor).min() > 1e-5:
            return there
    except np.linalg.LinAlgError:
        pass
    wanted = layout.wanted
    triangles = source.each(wanted.columns, wanted.levels, rows, partial(triangle_of, layout=layout))
    return independent_columns(reduce(joined_triangle, triangles, np.empty((0, len(layout.names)))))


def _model(
    layout: Layout,
    census: Census,
    products: Products,
    kept: np.ndarray,
    matrices: Mapping[str, Relationship],
    method: str,
    profiled: bool,
    where: str,
) -> tuple[Design, SummedModel, np.ndarray]:
    """The design, the model, and the least-squares b of the response less its mean."""
    n, elsewhere = census.rows, RowsElsewhere(where)
    rows: Any = elsewhere
    fixed_names, terms, aliased = fixed_terms(layout.coding, layout.names, layout.owner, kept)
    if n <= len(kept):
        raise few_rows(terms, len(kept), n)
    b, rest = least_squares(products.c, kept)
    parts = []
    for random, squares in zip(layout.random, products.squares, strict=True):
        levels, kernel = levels_and_kernel(random, matrices.get(":".join(random.group)))
        structure = random_structure(random, n)
        parts.append(SummedTerm(random.name, structure, levels, rows, rows, kernel, torch.from_numpy(squares / n)))
    residuals = tuple(
        SummedResidual(rows, name=name, rows_of_it=int(count), all_rows=n, total=float(total))
        for name, count, total in zip(layout.section_names, products.rows, products.inverse_weights, strict=True)
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
        coefficients=torch.from_numpy(b + layout.mean * _constant(layout, products.c, kept)),
        deviation=(rest / max(n - len(kept), 1)) ** 0.5,
    )
    ones = _sum_of_response(layout, products, census)
    check_size(model, layout.formula.response, float(products.c[-1, -1]) - ones**2 / n, rest, ROUNDING)
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
        kept=kept,
        offsets=tuple(Variable(e) for e in layout.formula.offset_expressions),
    )
    return design, model, b


def _constant(layout: Layout, c: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """c (p,) with X c = 1, of the columns kept; zeros where the response was not shifted."""
    if layout.constant is None:
        return np.zeros(len(kept))
    if set(np.flatnonzero(layout.constant)) <= set(kept.tolist()):
        return layout.constant[kept]
    return least_squares(
        np.block([[c[:-1, :-1], (c[:-1, :-1] @ layout.constant)[:, None]], [np.zeros((1, len(c)))]]), kept
    )[0]


def _sum_of_response(layout: Layout, products: Products, census: Census) -> float:
    """Sum over the rows of the response as it was summed up, less its mean where that was taken off."""
    assert census.response is not None
    return census.response.total - census.rows * layout.mean
