"""From notation to structures: a random term's or the residual's words to Sigma(theta) and the parts of R."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.covariance import (
    AR1,
    AR2,
    Antedependence,
    BlockResidual,
    Correlation,
    Diagonal,
    Equicorrelation,
    Exponential,
    FactorAnalytic,
    Gaussian,
    Independent,
    IndependentResidual,
    Matern,
    ScaledCorrelation,
    Separable,
    Spherical,
    Structure,
    Toeplitz,
    Unstructured,
)
from openreml_core.design import RandomDesign
from openreml_core.design.columns import level_text
from openreml_core.errors import DataError, FormulaError
from openreml_core.model import Residual as ResidualPart
from openreml_core.notation import Residual, ResidualFactor, ResidualTerm

_LEVEL = re.compile(r"\[(?:[A-Z]\.)?(.*)\]$")
_SERIAL: dict[str, Callable[[Tensor], Correlation]] = {"ar1": AR1, "ar2": AR2, "toep": lambda p: Toeplitz(len(p))}
_SPATIAL: dict[str, Callable[..., Correlation]] = {"exp": Exponential, "gau": Gaussian, "sph": Spherical}
_CORRELATIONS = ("cs", *_SERIAL, *_SPATIAL, "matern")


def _heterogeneous(name: str) -> tuple[str, bool]:
    """A correlation's own name, and whether the form with a variance per level is meant: ``csh``, ``arh1``, ``exph``."""
    if name in ("arh1", "arh2"):
        return f"ar{name[-1]}", True
    plain = name.removesuffix("h")
    return (plain, True) if plain != name and plain in _CORRELATIONS else (name, False)


def random_structure(random: RandomDesign) -> Structure:
    """Sigma of a random term, by the name its formula gives it.

    Raises
    ------
    FormulaError
        A structure that needs more effects than the term has, or one that random terms cannot have.
    """
    name, effects, options = random.structure, random.effects, dict(random.options)
    plain, many = _heterogeneous(name)
    k, rows = len(effects), len(random.codes)
    count = k * (k + 1) // 2 if name in ("us", "known") else k
    if count > rows:
        raise FormulaError(
            f"The term {random.term.text} has {k:,} effects and so {count:,} variance parameters; there are {rows:,} rows.",
            hint="Leave factors of many levels right of the bar, or give the term a structure with fewer parameters.",
        )
    try:
        if name in ("us", "known"):
            return Unstructured(effects)
        if name == "diag":
            return Diagonal(effects)
        if name == "id":
            return ScaledCorrelation(effects, Independent(len(effects)))
        if name in ("fa", "rr"):
            return FactorAnalytic(effects, int(options.get("k", 1)), reduced=name == "rr")
        if name == "ante":
            return Antedependence(effects, int(options.get("k", 1)))
        if plain == "cs":
            return ScaledCorrelation(effects, Equicorrelation(len(effects)), heterogeneous=many)
        if plain in _SERIAL:
            return ScaledCorrelation(effects, _SERIAL[plain](_effect_positions(effects)), heterogeneous=many)
    except ValueError as error:
        raise FormulaError(
            f"The term {random.term.text} cannot have the structure {name}: {error}.",
            hint="Ask for fewer factors or a lower order.",
        ) from None
    raise FormulaError(
        f"The structure *{name}* of the term {random.term.text} is not available.",
        hint="Random terms can be us, diag, id, cs, csh, ar1, arh1, ar2, toep, toeph, ante, fa, rr and known.",
    )


def _effect_positions(effects: tuple[str, ...]) -> Tensor:
    """Places of a term's effects on a line: their numbers where the levels are whole numbers, else their order."""
    levels = [found.group(1) if (found := _LEVEL.search(e)) else "" for e in effects]
    try:
        numbers = [float(level) for level in levels]
    except ValueError:
        numbers = []
    if numbers and all(v.is_integer() for v in numbers):
        return torch.tensor([int(v) for v in numbers])
    return torch.arange(len(effects))


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
    structure = _section_structure(factors, own.iloc[first], term)
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
        factor = factors[0]
        names = [level_text(v) for v in places[factor.variables[0]]]
        order = int(dict(factor.options).get("k", 1))
        whole: dict[str, Callable[[], Structure]] = {
            "us": lambda: Unstructured(names),
            "diag": lambda: Diagonal(names),
            "ante": lambda: Antedependence(names, order),
            "cs": lambda: ScaledCorrelation(names, Equicorrelation(len(names))),
        }
        if factor.structure in whole:
            return whole[factor.structure]()
        plain, many = _heterogeneous(factor.structure)
        if len(factor.variables) > 1:
            names = [str(i + 1) for i in range(len(places))]
        correlation = _correlation(replace(factor, structure=plain), places)
        return ScaledCorrelation(names, correlation, heterogeneous=many, prefix=f"{factor.text}.")
    parts, where, prefixes = [], [], []
    for factor in factors:
        if factor.structure not in _CORRELATIONS:
            raise FormulaError(
                f"{factor.text} has variances of its own and cannot stand in the product {term.text}.",
                hint="Products can hold ar1, ar2, toep, cs, exp, gau, sph, matern and id.",
            )
        columns = np.column_stack([_codes(places[v])[0] for v in factor.variables])
        _, first, place = np.unique(columns, axis=0, return_index=True, return_inverse=True)
        parts.append(_correlation(factor, places.iloc[first]))
        where.append(torch.from_numpy(np.asarray(place).reshape(-1)))
        prefixes.append(f"{factor.text}.")
    return ScaledCorrelation([str(i) for i in range(len(places))], Separable(parts, where, prefixes))


def _correlation(factor: ResidualFactor, places: pd.DataFrame) -> Correlation:
    options = dict(factor.options)
    if factor.structure == "cs":
        return Equicorrelation(len(places))
    if factor.structure in _SERIAL:
        return _SERIAL[factor.structure](_positions(places[factor.variables[0]], factor))
    coordinates = torch.from_numpy(np.column_stack([_numbers(places[v], factor) for v in factor.variables]))
    aniso = bool(options.get("aniso", False))
    if factor.structure == "matern":
        nu = float(options.get("nu", 1.5))
        if nu not in (0.5, 1.5, 2.5):
            raise FormulaError(f"{factor.text}: nu is {nu:g}.", hint="Choose 0.5, 1.5 or 2.5.")
        return Matern(coordinates, nu=nu, aniso=aniso)
    return _SPATIAL[factor.structure](coordinates, aniso=aniso)


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
