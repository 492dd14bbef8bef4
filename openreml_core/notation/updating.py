"""A formula written as a change of another: ``"~ . - (1 | block)"``, ``"log(.) ~ . + rep"``.

A dot stands for what the old formula has on that side. Random terms are added and taken away by what they mean, however
they are spelled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from openreml_core.errors import FormulaError
from openreml_core.notation.algebra import expand, summands
from openreml_core.notation.bars import RandomTerm, is_random, parse_random
from openreml_core.notation.expression import parse_expression
from openreml_core.notation.formula import Formula, compose_formula
from openreml_core.notation.tokens import Token, inside, render, split, tokenize

#: The name that a lone dot is read as; no column is called so.
_DOT = ".the.old.side."
_LONE_DOT = re.compile(r"(`[^`]*`|\"[^\"]*\"|'[^']*')|(?<![\w.`])\.(?![\w.])")


def updated_formula(old: Formula, change: str, columns: Collection[str] | None = None) -> str:
    """The formula that a change makes of another.

    Parameters
    ----------
    old : Formula
    change : str
        A formula in which ``.`` stands for the old response on the left and for all old terms on the right; the left side
        may be empty. Without a dot on the right it is a new right side.
    columns : collection of str, optional
        The table's columns.

    Raises
    ------
    FormulaError
        Where the change cannot be read, or takes away a random term that is not there.

    Examples
    --------
    >>> from openreml_core.notation import parse_formula
    >>> old = parse_formula("yield ~ rep + (1 | gen) + (1 | rep:block)")
    >>> updated_formula(old, "~ . - (1 | rep:block)")
    'yield ~ rep + (1 | gen)'
    >>> updated_formula(old, "log(.) ~ . - rep + gen - (1 | gen)")
    'log(yield) ~ gen + (1 | rep:block)'
    """
    if not isinstance(change, str):
        raise FormulaError(f"A formula is a text such as '~ . - (1 | block)', not {type(change).__name__}.")
    known: Collection[str] = () if columns is None else columns
    tokens = tokenize(_LONE_DOT.sub(lambda found: found.group(1) or _DOT, change))
    sides = [piece for _, piece in split(tokens, "~")]
    if len(sides) != 2 or not sides[1]:
        raise FormulaError(
            f"The change '{change}' is no formula.", hint="It reads such as ~ . - (1 | block) or log(.) ~ . + rep."
        )
    response = _filled(sides[0], tokenize(old.response)) if sides[0] else tokenize(old.response)
    fixed: list[Token] = []
    random: list[RandomTerm] = []
    _add(sides[1], old, known, fixed, random)
    intercept, terms, offsets = expand(tuple(fixed) or (Token("number", "1"),), known)
    return compose_formula(
        parse_expression(response, known).text,
        [":".join(factor.text for factor in term) for term in terms],
        random,
        intercept,
        [offset[0].text for offset in offsets],
    )


def _add(
    tokens: Sequence[Token], old: Formula, columns: Collection[str], fixed: list[Token], random: list[RandomTerm]
) -> None:
    """Add the summands of a right side to the fixed tokens and the random terms, or take them away."""
    for plus, piece in summands(tokens):
        held = inside(piece)
        if is_random(piece):
            for term in parse_random(piece, columns):
                random.append(term) if plus else _take_away(term, random)
            continue
        if held is not None and any(token.is_op("|", "||") for token in held):
            if not plus:
                raise FormulaError(f"'{render(piece)}' cannot be taken away whole.", hint="Take its terms one by one.")
            _add(held, old, columns, fixed, random)
            continue
        if piece == (Token("name", _DOT),):
            random[:] = [*random, *old.random] if plus else [t for t in random if _key(t) not in map(_key, old.random)]
        if fixed or not plus:
            fixed.append(Token("operator", "+" if plus else "-"))
        fixed += _filled(piece, _in_parentheses(tokenize(old.fixed)))


def _take_away(term: RandomTerm, random: list[RandomTerm]) -> None:
    found = next((t for t in random if _key(t) == _key(term)), None)
    if found is None:
        known = ", ".join(t.text for t in random) or "none"
        raise FormulaError(f"{term.text} is no random term of the formula.", hint=f"The random terms are: {known}.")
    random.remove(found)


def _key(term: RandomTerm) -> tuple[object, ...]:
    """What a random term is, however it is spelled; ``diag(1 | g)`` is ``(1 | g)``."""
    effects = (frozenset(frozenset(factor.key for factor in product) for product in term.terms), term.intercept)
    single = not term.effect_terms and not term.positions and not term.parts
    structure = "us" if term.structure == "diag" and single else term.structure
    parts = tuple(_key(part) for part in term.parts)
    return (structure, effects, frozenset(term.group), term.positions, frozenset(term.options), parts)


def _in_parentheses(tokens: Sequence[Token]) -> tuple[Token, ...]:
    return (Token("operator", "("), *tokens, Token("operator", ")"))


def _filled(tokens: Sequence[Token], by: Sequence[Token]) -> tuple[Token, ...]:
    """Tokens with the dot replaced."""
    out: list[Token] = []
    for token in tokens:
        out += by if token == Token("name", _DOT) else (token,)
    return tuple(out)
