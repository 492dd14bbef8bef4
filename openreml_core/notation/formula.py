"""A model's formula, ``response ~ fixed + (random | group)``, read into small frozen pieces."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from openreml_core.errors import FormulaError
from openreml_core.notation.algebra import Terms, expand, summands
from openreml_core.notation.bars import RandomTerm, is_random, parse_random
from openreml_core.notation.expression import Expression, parse_expression
from openreml_core.notation.tokens import Token, inside, render, split, tokenize


@dataclass(frozen=True)
class Formula:
    """What ``response ~ fixed + random`` says.

    Parameters
    ----------
    text : str
        The formula in the notation's spelling; parses back to the same.
    response : str
        The left side, such as ``"yield"`` or ``"log(yield)"``.
    fixed : str
        The right side without its random terms, as written.
    fixed_terms : tuple of str
        The fixed terms worked out (``a * b`` is ``a``, ``b``, ``a:b``), without the intercept.
    intercept : bool
    random : tuple of RandomTerm
    offsets : tuple of str
        The arguments of ``offset(...)``.
    kinds : tuple of (column, "number" or "factor")
        What its columns were found to be, once a design is built from it.
    """

    text: str
    response: str
    fixed: str
    fixed_terms: tuple[str, ...]
    intercept: bool
    random: tuple[RandomTerm, ...]
    offsets: tuple[str, ...] = ()
    kinds: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    response_expression: Expression | None = field(default=None, repr=False, compare=False, hash=False)
    terms: Terms = field(default=(), repr=False, compare=False, hash=False)
    offset_expressions: tuple[Expression, ...] = field(default=(), repr=False, compare=False, hash=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the formula uses, in order of appearance."""
        found = list(self.response_expression.names) if self.response_expression else []
        found += [name for term in self.terms for factor in term for name in factor.names]
        found += [name for factor in self.offset_expressions for name in factor.names]
        found += [name for term in self.random for name in term.columns]
        return tuple(dict.fromkeys(found))


def parse_formula(text: str, columns: Collection[str] | None = None) -> Formula:
    """Read a formula. Nothing in it is evaluated.

    Parameters
    ----------
    text : str
        Such as ``"yield ~ rep + (1 | gen) + (1 | rep:block)"``.
    columns : collection of str, optional
        The table's columns; a column named like a constant (``pi``, ``T``) then means the column.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        Where the formula cannot be read or asks for something that a formula may not do.

    Examples
    --------
    >>> formula = parse_formula("yield ~ rep + (1 | gen) + (1 | rep/block)")
    >>> formula.response, formula.fixed_terms
    ('yield', ('rep',))
    >>> [term.text for term in formula.random]
    ['(1 | gen)', '(1 | rep)', '(1 | rep:block)']
    """
    tokens = tokenize(text)
    known: Collection[str] = () if columns is None else columns
    if not tokens:
        raise FormulaError("The formula is empty.", hint="Write one such as yield ~ rep + (1 | gen).")
    sides = [piece for _, piece in split(tokens, "~")]
    if len(sides) != 2:
        what = "has no '~'" if len(sides) == 1 else "has more than one '~'"
        raise FormulaError(f"The formula {what}.", hint="It reads: response ~ fixed terms + (1 | group).")
    left, right = sides
    if not left:
        raise FormulaError("The formula has no response left of its '~'.", hint="Write, say, yield ~ rep + (1 | gen).")
    if not right:
        raise FormulaError("The formula has nothing right of its '~'.", hint="For a mean alone write 1.")
    response = parse_expression(left, known)
    fixed, random = _take_apart(right, known)
    if not fixed:
        fixed = (Token("number", "1"),)
    intercept, terms, offset_terms = expand(fixed, known)
    offsets = tuple(term[0] for term in offset_terms)
    labels = tuple(":".join(factor.text for factor in term) for term in terms)
    shown = " + ".join([render(fixed), *(term.text for term in random)])
    return Formula(
        text=f"{response.text} ~ {shown}",
        response=response.text,
        fixed=render(fixed),
        fixed_terms=labels,
        intercept=intercept,
        random=tuple(random),
        offsets=tuple(offset.text for offset in offsets),
        response_expression=response,
        terms=terms,
        offset_expressions=offsets,
    )


def _take_apart(tokens: Sequence[Token], columns: Collection[str]) -> tuple[tuple[Token, ...], list[RandomTerm]]:
    """Separate the random terms of a right side from the rest."""
    fixed: list[Token] = []
    random: list[RandomTerm] = []
    for plus, piece in summands(tokens):
        if is_random(piece):
            if not plus:
                raise FormulaError(
                    f"The random term '{render(piece)}' cannot be taken away.", hint="Leave it out instead."
                )
            random += parse_random(piece, columns)
            continue
        held = inside(piece)
        if held is not None and plus and any(token.is_op("|", "||") for token in held):
            within, more = _take_apart(held, columns)
            random += more
            piece = (Token("operator", "("), *within, Token("operator", ")")) if within else ()
            if not piece:
                continue
        bar = next((token.text for token in piece if token.is_op("|", "||")), None)
        if bar is not None:
            raise FormulaError(
                f"The bar in '{render(piece)}' stands outside a random term.",
                hint="A random term is written in parentheses and joined with '+': + (1 | gen).",
            )
        if fixed or not plus:
            fixed.append(Token("operator", "+" if plus else "-"))
        fixed += piece
    return tuple(fixed), random


def compose_formula(
    response: str,
    fixed_terms: Iterable[str] = (),
    random: Iterable[RandomTerm | str] = (),
    intercept: bool = True,
    offsets: Iterable[str] = (),
) -> str:
    """Write the formula that has these parts; `parse_formula` reads it back to them.

    Parameters
    ----------
    response : str
        The left side; odd names in backticks (see `quote`).
    fixed_terms : iterable of str
        Without the intercept.
    random : iterable of RandomTerm or str
        Such as ``"(1 | gen)"``.
    intercept : bool
    offsets : iterable of str

    Examples
    --------
    >>> compose_formula("yield", ["rep"], ["(1 | gen)"])
    'yield ~ rep + (1 | gen)'
    """
    fixed = list(fixed_terms)
    fixed = (fixed or ["1"]) if intercept else ["0", *fixed]
    fixed += [f"offset({offset})" for offset in offsets]
    bars = [term if isinstance(term, str) else term.text for term in random]
    return f"{response} ~ {' + '.join([*fixed, *bars])}"
