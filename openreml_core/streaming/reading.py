"""From a formula and rows that are not all in memory to a model without rows: two readings, three where X leaves doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from openreml_core.assembly import (
    can_profile,
    check_size,
    known_method,
    mapping_of,
    relationship_matrices,
    residual_is_bound,
)
from openreml_core.design import Design
from openreml_core.design.build import few_rows, fixed_terms
from openreml_core.design.coding import Coding
from openreml_core.design.contrasts import contrast_named
from openreml_core.design.rank import independent_columns
from openreml_core.engines import CrossProducts
from openreml_core.errors import FormulaError, ModelError
from openreml_core.notation import Formula, parse_formula, parse_residual
from openreml_core.streaming.census import EMPTY, Census, Wanted, take_census, together
from openreml_core.streaming.layout import Layout, layout_of, wanted_of
from openreml_core.streaming.model import SummedModel, cross_products_of, least_squares
from openreml_core.streaming.products import Products, joined_triangle, products_of, summed, triangle_of
from openreml_core.streaming.source import Source
from openreml_core.streaming.sums import Sums, model_of

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
    layout : Layout
    census : Census
    sums : Sums
    words : str
        Where the rows are.
    """

    design: Design
    model: SummedModel
    cross: CrossProducts
    layout: Layout
    census: Census
    sums: Sums
    words: str


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of a model that is read in portions.

    Attributes
    ----------
    formula : Formula
    section : str or None
        The column whose levels have a residual variance of their own.
    weights, offset : str or None
    contrasts : mapping
    missing : {"drop", "error"}
    known_groups : frozenset of str
        Groupings with a relationship.
    bound, profiled : bool
        Whether the residual variance is held or tied, and whether it may be profiled out.
    """

    formula: Formula
    section: str | None
    weights: str | None
    offset: str | None
    contrasts: Mapping[str, Any]
    missing: str
    known_groups: frozenset[str]
    bound: bool
    profiled: bool

    @property
    def profiled_out(self) -> bool:
        """Whether the residual variance is profiled out."""
        return self.profiled and self.section is None

    def wanted(self) -> tuple[Wanted, Coding]:
        """What the first reading has to find out, and the coding of the fixed part that will be taught."""
        contrasts = {str(k): contrast_named(v, str(k)) for k, v in self.contrasts.items()}
        coding = Coding(self.formula.intercept, self.formula.terms, contrasts)
        wanted = wanted_of(
            self.formula,
            coding,
            section=self.section,
            weights=self.weights,
            offset=self.offset,
            missing=self.missing,
        )
        return wanted, coding

    def layout(self, census: Census, wanted: Wanted, coding: Coding, where: str) -> Layout:
        """The layout that a census gives."""
        return layout_of(
            census,
            wanted,
            coding,
            where,
            section=self.section,
            contrasts=self.contrasts,
            known_groups=self.known_groups,
            plain_residual=self.section is None and self.weights is None and not self.bound,
        )


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
    for what, value in (("weights", weights), ("offset", offset)):
        if value is not None and not isinstance(value, str):
            raise ModelError(f"The {what} must be a column of the files.", hint=f'Name it: {what}="w".')
    relations = mapping_of("relationship", relationship)
    asked = Asked(
        formula if isinstance(formula, Formula) else parse_formula(formula, source.columns),
        section_of(residual),
        weights,
        offset,
        mapping_of("contrasts", contrasts),
        missing,
        known_groups=frozenset(relations),
        bound=residual_is_bound(fixed, ties),
        profiled=can_profile(fixed, ties, start),
    )
    wanted, coding = asked.wanted()
    source.require((*wanted.columns, *map(str, asked.contrasts)))
    censuses = source.each(wanted.columns, wanted.levels, ROWS, partial(take_census, wanted=wanted))
    census = reduce(partial(together, questions=wanted.questions), censuses, EMPTY)
    layout = asked.layout(census, wanted, coding, source.words)
    matrices = relationship_matrices(relations, layout.random)
    groups = {r.term.group: ":".join(r.group) for r in layout.random}
    kernels = {group: matrices[name].matrix.diagonal() for group, name in groups.items() if name in matrices}
    rows = min(layout.rows_at_once, ROWS)
    products = summed(
        source.each(wanted.columns, wanted.levels, rows, partial(products_of, layout=layout, kernels=kernels))
    )
    assert products is not None
    kept = _kept(layout, products, source, rows)
    if census.rows <= len(kept):
        raise few_rows(fixed_terms(layout.coding, layout.names, layout.owner, kept)[1], len(kept), census.rows)
    b, rest = least_squares(products.c, kept)
    sums = Sums(
        kept=kept,
        coefficients=b + layout.mean * _constant(layout, products.c, kept),
        deviation=(rest / max(census.rows - len(kept), 1)) ** 0.5,
        mean_squares=tuple(square / census.rows for square in products.squares),
        rows=products.rows,
        inverse_weights=products.inverse_weights,
    )
    design, model = model_of(layout, census, sums, matrices, method, asked.profiled_out, source.words)
    left = _sum_of_response(layout, census) ** 2 / census.rows
    check_size(model, layout.formula.response, float(products.c[-1, -1]) - left, rest, ROUNDING)
    cross = cross_products_of(
        products.n.total(), layout.sections, sums.random(model), kept, b, products.rows, products.log_weights
    )
    return Reading(design, model, cross, layout, census, sums, source.words)


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


def _constant(layout: Layout, c: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """c (p,) with X c = 1, of the columns kept; zeros where the response was not shifted."""
    if layout.constant is None:
        return np.zeros(len(kept))
    if set(np.flatnonzero(layout.constant)) <= set(kept.tolist()):
        return layout.constant[kept]
    return least_squares(
        np.block([[c[:-1, :-1], (c[:-1, :-1] @ layout.constant)[:, None]], [np.zeros((1, len(c)))]]), kept
    )[0]


def _sum_of_response(layout: Layout, census: Census) -> float:
    """Sum over the rows of the response as it was summed up, less its mean where that was taken off."""
    assert census.response is not None
    return census.response.total - census.rows * layout.mean
