"""The residual: from its words and the rows of a table to the parts of R."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import BlockResidual, IndependentResidual, ScaledCorrelation, Separable, Structure
from openreml_core.design.columns import level_text
from openreml_core.errors import DataError, FormulaError
from openreml_core.model import Residual as ResidualPart
from openreml_core.notation import Residual, ResidualFactor, ResidualTerm
from openreml_core.structures.named import Factor, Levels, product


def residual_parts(residual: Residual, frame: pd.DataFrame, weights: np.ndarray) -> tuple[ResidualPart, ...]:
    """The parts of R over the rows of ``frame``.

    Parameters
    ----------
    residual : Residual
    frame : DataFrame of n rows
    weights : array of shape (n,)
        For residuals without correlation.

    Raises
    ------
    DataError
        Two rows at one position, positions that are no numbers, or weights beside a correlated residual.
    FormulaError
        A product that has no meaning yet.
    """
    out: list[ResidualPart] = []
    structured = [t for t in residual.terms if not _is_units(t)]
    if structured and not np.allclose(weights, 1.0):
        raise DataError("Weights and a correlated residual cannot be used together.", hint="Leave the weights out.")
    for term in residual.terms:
        base = "units" if _is_units(term) and structured else "residual"
        if term in structured[1:]:
            base = f"residual.{structured.index(term)}"
        if term.section is None:
            sections: list[tuple[str, np.ndarray]] = [(base, np.arange(len(frame)))]
        else:
            codes, levels = _codes(frame[term.section])
            sections = [(f"{base}[{level}]", np.flatnonzero(codes == i)) for i, level in enumerate(levels)]
        for name, rows in sections:
            if _is_units(term):
                variance = np.zeros(len(frame))
                variance[rows] = 1.0 / weights[rows]
                out.append(IndependentResidual(torch.from_numpy(variance), name=name))
            else:
                out.append(_block(term, frame, rows, name))
    return tuple(out)


def _is_units(term: ResidualTerm) -> bool:
    return all(f.structure in ("id", "diag") and f.variables == ("units",) for f in term.factors)


def _codes(column: pd.Series) -> tuple[np.ndarray, list[object]]:
    """Level of each row and the levels: categories in their order, numbers by size, text by the alphabet."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        return column.cat.codes.to_numpy(np.int64), list(column.cat.categories)
    codes, levels = pd.factorize(column, sort=True)
    return codes.astype(np.int64), list(levels)


def _block(term: ResidualTerm, frame: pd.DataFrame, rows: np.ndarray, name: str) -> BlockResidual:
    own = frame.iloc[rows]
    blocking = [f for f in term.factors if f.structure == "id"]
    factors = [f for f in term.factors if f.structure != "id"]
    if not factors:
        raise FormulaError(
            f"{term.text} says which rows belong together but not how they are correlated.",
            hint="Add a structure, such as id(Subject):cs(visit), or write dsum(id(units) | Subject) for a variance each.",
        )
    codes = np.zeros(len(own), dtype=np.int64)
    for factor in blocking:
        for variable in factor.variables:
            codes = pd.factorize(pd.Series(list(zip(codes, _codes(own[variable])[0], strict=True))))[0]
    variables = [v for f in factors for v in f.variables]
    keys = [_codes(own[v])[0] for v in variables]
    distinct, index = np.unique(np.column_stack(keys), axis=0, return_inverse=True)
    index = np.asarray(index).reshape(-1)
    _refuse_duplicates(own, variables, codes, index, blocking)
    first = np.array([np.flatnonzero(index == k)[0] for k in range(len(distinct))])
    try:
        structure = _section_structure(factors, own.iloc[first], term)
    except ValueError as error:
        raise FormulaError(
            f"The residual cannot have the structure {term.text}: {error}.", hint="Ask for a lower order."
        ) from None
    return BlockResidual(
        structure, torch.from_numpy(rows), torch.from_numpy(index), torch.from_numpy(codes), len(frame), name
    )


def _refuse_duplicates(
    own: pd.DataFrame, variables: list[str], codes: np.ndarray, index: np.ndarray, blocking: list[ResidualFactor]
) -> None:
    places = pd.Series(list(zip(codes, index, strict=True)))
    twice = places[places.duplicated(keep=False)]
    if len(twice):
        names = variables + [v for f in blocking for v in f.variables]
        row = own.iloc[int(twice.index[0])]
        where = ", ".join(f"{v} = {row[v]}" for v in dict.fromkeys(names))
        rows = ", ".join(str(own.index[i]) for i in twice.index[twice == twice.iloc[0]][:4])
        raise DataError(
            f"{len(twice)} rows share a position with another row, first {where} (rows {rows}).",
            hint="Give every plot its own position, or name the trials or subjects: dsum(... | trial), id(Subject):...",
        )


def _section_structure(factors: list[ResidualFactor], places: pd.DataFrame, term: ResidualTerm) -> Structure:
    """Sigma over the distinct positions of a section, a row of ``places`` each."""
    if len(factors) == 1:
        (factor,) = factors
        names = [level_text(v) for v in places[factor.variables[0]]]
        if len(factor.variables) > 1:
            names = [
                f"({', '.join(level_text(v) for v in row)})"
                for row in places[list(factor.variables)].itertuples(index=False)
            ]
        return _named(factor, places, names, prefix="" if factor.structure == "cs" else f"{factor.text}.").structure()
    named, where = [], []
    for factor in factors:
        columns = np.column_stack([_codes(places[v])[0] for v in factor.variables])
        _, first, place = np.unique(columns, axis=0, return_index=True, return_inverse=True)
        own = places.iloc[first]
        names = [", ".join(level_text(v) for v in row) for row in own[list(factor.variables)].itertuples(index=False)]
        named.append(_named(factor, own, names, prefix=f"{factor.text}."))
        where.append(torch.from_numpy(np.asarray(place).reshape(-1)))
    names = [str(i) for i in range(len(places))]
    if all(factor.is_correlation for factor in named):
        parts = [factor.correlation() for factor in named]
        return ScaledCorrelation(names, Separable(parts, where, [factor.prefix for factor in named]))
    return product(named, names, where, term.text)


def _named(factor: ResidualFactor, places: pd.DataFrame, names: list[str], prefix: str) -> Factor:
    def coordinates() -> Tensor:
        return torch.from_numpy(np.column_stack([_numbers(places[v], factor) for v in factor.variables]))

    levels = Levels(names, lambda: _positions(places[factor.variables[0]], factor), coordinates)
    return Factor(factor.structure, dict(factor.options), levels, prefix)


def _numbers(column: pd.Series, factor: ResidualFactor) -> np.ndarray:
    values = pd.to_numeric(
        column.astype(str) if isinstance(column.dtype, pd.CategoricalDtype) else column, errors="coerce"
    )
    if values.isna().any():
        raise DataError(
            f"Column *{column.name}* in {factor.text} must hold numbers; {column[values.isna()].iloc[0]!r} is none.",
            hint="Give positions as numbers.",
        )
    return values.to_numpy(np.float64)


def _positions(column: pd.Series, factor: ResidualFactor) -> Tensor:
    """Whole numbers for a serial structure: the values themselves, or the order of a factor's levels."""
    try:
        values = _numbers(column, factor)
    except DataError:
        return torch.from_numpy(_codes(column)[0])
    if not np.allclose(values, np.round(values)):
        raise DataError(
            f"Column *{column.name}* in {factor.text} holds fractions; ar1 and its kin count whole steps.",
            hint=f"Use exp({column.name}), or a column that numbers the steps.",
        )
    return torch.from_numpy(np.round(values).astype(np.int64))
