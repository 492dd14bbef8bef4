"""The residual's notation: ``ar1(row):ar1(col) + id(units)``, ``dsum(id(units) | county)``, ``id(Subject):us(age)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from openreml_core.errors import FormulaError, did_you_mean
from openreml_core.notation.structures import SERIAL, SPATIAL, STRUCTURES, OptionValue, read_options, spell_options
from openreml_core.notation.tokens import Token, call, quote, render, split, tokenize

UNITS = "units"
_ALLOWED = ("id", "diag", "us", "cs", "csh", *sorted(SERIAL), *sorted(SPATIAL))
_EXAMPLE = "Write such as id(units), ar1(row):ar1(col) + id(units), or dsum(id(units) | county)."


@dataclass(frozen=True)
class ResidualFactor:
    """One structure of a product, such as ``ar1(row)``.

    Parameters
    ----------
    structure : str
    variables : tuple of str
        The columns it runs over; ``("units",)`` for the rows themselves.
    options : tuple of (name, value)
    """

    structure: str
    variables: tuple[str, ...]
    options: tuple[tuple[str, OptionValue], ...] = ()

    @property
    def text(self) -> str:
        """The factor in the notation."""
        return f"{self.structure}({', '.join(quote(name) for name in self.variables)}{spell_options(self.options)})"


@dataclass(frozen=True)
class ResidualTerm:
    """A product of structures, in each section its own where `section` names a column.

    Parameters
    ----------
    factors : tuple of ResidualFactor
    section : str, optional
        The column whose levels have parameters of their own (``dsum``).
    """

    factors: tuple[ResidualFactor, ...]
    section: str | None = None

    @property
    def text(self) -> str:
        """The term in the notation, without its ``dsum``."""
        return ":".join(factor.text for factor in self.factors)


@dataclass(frozen=True)
class Residual:
    """A sum of residual terms.

    Parameters
    ----------
    text : str
        In the notation's spelling; parses back to the same.
    terms : tuple of ResidualTerm
        Independent of each other; ``id(units)`` beside another term is its nugget.
    """

    text: str
    terms: tuple[ResidualTerm, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the residual is one variance, independent over the rows."""
        return self.terms == (ResidualTerm((ResidualFactor("id", (UNITS,)),)),)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the residual uses."""
        found = [name for term in self.terms for factor in term.factors for name in factor.variables if name != UNITS]
        return tuple(dict.fromkeys([*found, *(term.section for term in self.terms if term.section)]))


def parse_residual(text: str | None) -> Residual:
    """Read a residual. None and an empty text mean ``id(units)``.

    Parameters
    ----------
    text : str or None

    Returns
    -------
    Residual

    Raises
    ------
    FormulaError

    Examples
    --------
    >>> parse_residual("ar1(row):ar1(col) + id(units)").text
    'ar1(row):ar1(col) + id(units)'
    >>> parse_residual("dsum(ar1(row):ar1(col) | trial)").terms[0].section
    'trial'
    """
    tokens = tokenize(text or f"id({UNITS})")
    if not tokens:
        return parse_residual(None)
    if tokens[0].is_op("~"):
        tokens = tokens[1:]
    terms = _sum(tokens, render(tokens))
    for place, term in enumerate(terms):
        if term in terms[:place]:
            raise FormulaError(f"The residual term {term.text} stands twice.", hint="Leave one of them out.")
    return Residual(" + ".join(_spell(terms)), tuple(terms))


def _spell(terms: Sequence[ResidualTerm]) -> list[str]:
    """Write the terms, neighbours of one section inside one ``dsum``."""
    words: list[str] = []
    place = 0
    while place < len(terms):
        section = terms[place].section
        end = place + 1
        while section is not None and end < len(terms) and terms[end].section == section:
            end += 1
        joined = " + ".join(term.text for term in terms[place:end])
        words.append(joined if section is None else f"dsum({joined} | {quote(section)})")
        place = end
    return words


def _sum(tokens: Sequence[Token], shown: str) -> list[ResidualTerm]:
    terms: list[ResidualTerm] = []
    for sign, piece in split(tokens, "+", "-"):
        if not piece or (sign is not None and sign.is_op("-")):
            raise FormulaError(f"The residual '{shown}' is not a sum of structures.", hint=_EXAMPLE)
        called = call(piece)
        if called is not None and called[0] == "dsum":
            terms += _sections(called[1], shown)
        else:
            terms.append(_product(piece, shown))
    return terms


def _sections(held: Sequence[Token], shown: str) -> list[ResidualTerm]:
    pieces = [piece for _, piece in split(held, "|", "||")]
    if len(pieces) != 2 or len(pieces[1]) != 1 or pieces[1][0].kind != "name":
        raise FormulaError(f"dsum() in '{shown}' takes a structure and one column: dsum(id(units) | county).")
    if any(token.kind == "name" and token.text == "dsum" for token in pieces[0]):
        raise FormulaError(f"dsum() in '{shown}' stands inside another dsum().")
    return [replace(term, section=pieces[1][0].text) for term in _sum(pieces[0], shown)]


def _product(piece: Sequence[Token], shown: str) -> ResidualTerm:
    factors = tuple(_factor(item, shown) for _, item in split(piece, ":"))
    used = [name for factor in factors for name in factor.variables]
    for name in used:
        if used.count(name) > 1:
            raise FormulaError(f"'{name}' stands twice in the product '{render(piece)}' of the residual.")
    if len(factors) > 1 and UNITS in used:
        raise FormulaError(f"id(units) in '{shown}' stands alone, added with '+', not inside a product.")
    return ResidualTerm(factors)


def _factor(item: Sequence[Token], shown: str) -> ResidualFactor:
    called = call(item)
    if called is None:
        raise FormulaError(f"'{render(item)}' in the residual '{shown}' is no structure.", hint=_EXAMPLE)
    structure, held = called
    if structure not in _ALLOWED:
        hint = did_you_mean(structure, _ALLOWED).replace("The columns are", "Known are")
        raise FormulaError(f"'{structure}' is no structure of a residual.", hint=hint)
    items = [piece for _, piece in split(held, ",")]
    count = next((place for place, piece in enumerate(items) if len(piece) != 1 or piece[0].kind != "name"), len(items))
    variables = tuple(piece[0].text for piece in items[:count])
    options = read_options(items[count:], structure, shown)
    most = 3 if structure in SPATIAL else 1
    if not 1 <= len(variables) <= most:
        takes = "one to three columns of positions" if structure in SPATIAL else "one column"
        raise FormulaError(f"{structure}() in the residual '{shown}' takes {takes}.", hint=_EXAMPLE)
    if variables == (UNITS,) and structure != "id":
        raise FormulaError(f"{structure}(units) in '{shown}' has no meaning; units are independent: id(units).")
    if structure not in STRUCTURES:
        raise FormulaError(f"'{structure}' is no structure.", hint=_EXAMPLE)
    return ResidualFactor(structure, variables, options)
