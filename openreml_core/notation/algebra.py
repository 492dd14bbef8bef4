"""The fixed part's algebra, ``a * b``, ``a / b``, ``(a + b)^2``, worked out to a list of terms.

Sums are taken apart here; products are formulaic's. It is given placeholders and operators only, never a character of
the user's names or functions, and only products whose expansion is of bounded size.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from itertools import pairwise
from math import inf

from openreml_core.errors import FormulaError, did_you_mean
from openreml_core.notation.expression import Expression, parse_expression
from openreml_core.notation.tokens import Token, clean, inside, render, split

MAX_TERMS = 20_000
MAX_FACTORS = 100
_POWERS = ("^", "**")
_PRODUCTS = ("*", "/", ":", "%in%", "^", "**")

Terms = tuple[tuple[Expression, ...], ...]


def expand(tokens: Sequence[Token], columns: Collection[str] = ()) -> tuple[bool, Terms, Terms]:
    """Work out a sum of terms.

    Parameters
    ----------
    tokens : tokens of the right side without its random terms
    columns : collection of str
        The table's columns.

    Returns
    -------
    intercept : bool
    terms : tuple of terms, each a tuple of Expression
        In R's order: main effects first, then products by the number of their factors.
    offsets : tuple of one-factor terms
        The arguments of ``offset(...)``.
    """
    book = _Book(columns)
    terms: dict[frozenset[str], tuple[str, ...]] = {}
    offsets: list[tuple[Expression, ...]] = []
    intercept = _add(tokens, book, terms, offsets, adding=True, intercept=True)
    ordered = sorted(terms.values(), key=len)
    return intercept, tuple(tuple(book.factors[f] for f in term) for term in ordered), tuple(offsets)


class _Book:
    """Keeps the factors met so far under placeholders; factors that differ only in spelling are one."""

    def __init__(self, columns: Collection[str]) -> None:
        self.columns = columns
        self.factors: dict[str, Expression] = {}
        self.room = float(MAX_TERMS)
        self._short: dict[object, str] = {}

    def placeholder(self, tokens: Sequence[Token]) -> str:
        factor = parse_expression(tokens, self.columns)
        short = self._short.setdefault(factor.key, f"t{len(self._short)}")
        self.factors.setdefault(short, factor)
        return short

    def check_known(self, term: Sequence[str], piece: Sequence[Token]) -> None:
        """Refuse a term that names a column the table does not have; it would be taken away unseen."""
        for name in dict.fromkeys(name for short in term for name in self.factors[short].names):
            if self.columns and name not in self.columns:
                raise FormulaError(
                    f"Column *{name}* is not in this table (in '- {render(piece)}').",
                    hint=did_you_mean(name, list(self.columns)),
                )


def _add(
    tokens: Sequence[Token],
    book: _Book,
    terms: dict[frozenset[str], tuple[str, ...]],
    offsets: list[tuple[Expression, ...]],
    *,
    adding: bool,
    intercept: bool,
) -> bool:
    """Add the summands of `tokens` to `terms` (or take them away); return whether the intercept is in."""
    for plus, piece in summands(tokens):
        add = plus == adding
        if len(piece) == 1 and piece[0].kind == "number":
            if piece[0].text not in ("0", "1"):
                raise FormulaError(
                    f"The number {piece[0].text} cannot stand alone as a term.",
                    hint="1 is the intercept, 0 leaves it out; arithmetic stands inside I( ).",
                )
            intercept = add == (piece[0].text == "1")
            continue
        held = inside(piece)
        if held is not None:
            intercept = _add(held, book, terms, offsets, adding=add, intercept=intercept)
            continue
        offset = _offset(piece, book)
        if offset is not None:
            if not add:
                raise FormulaError(f"'{render(piece)}' cannot be taken away; leave it out.")
            offsets.append((offset,))
            continue
        for term in _product(piece, book):
            if add:
                terms.setdefault(frozenset(term), term)
            else:
                book.check_known(term, piece)
                terms.pop(frozenset(term), None)
    return intercept


def summands(tokens: Sequence[Token]) -> list[tuple[bool, tuple[Token, ...]]]:
    """Split at the signs outside parentheses: (is it added, piece); ``+ -1`` is a minus."""
    pieces: list[tuple[bool, tuple[Token, ...]]] = []
    plus, dangling = True, True
    for sign, piece in split(tokens, "+", "-"):
        if sign is not None and sign.is_op("-"):
            plus = not plus
        dangling = not piece
        if piece:
            pieces.append((plus, piece))
            plus = True
    if dangling:
        raise FormulaError(
            f"A term is missing at the end of '{render(tokens)}'." if tokens else "A part of the formula is empty."
        )
    return pieces


def _offset(piece: Sequence[Token], book: _Book) -> Expression | None:
    if len(piece) > 3 and piece[0].kind == "name" and piece[0].text == "offset":
        held = inside(piece[1:])
        if held is not None:
            return parse_expression(held, book.columns)
    return None


def _product(piece: Sequence[Token], book: _Book) -> list[tuple[str, ...]]:
    """Expand one summand; a single factor needs no algebra."""
    words = _factors(piece, book)
    operators = [word for word in words if word in _PRODUCTS]
    if len(words) == 1:
        return _fail(piece) if operators else [(words[0],)]
    book.room -= _work(words, piece)
    if book.room < 0:
        raise FormulaError(
            f"'{render(piece)[:80]}' expands to too many terms.", hint="Write out the interactions you need."
        )
    if len(words) == 3 and words[1] in _POWERS:
        raise FormulaError(
            f"'{render(piece)}' is {render(piece[:-2])} itself: outside I( ) a power stands for interactions.",
            hint=f"Write I({render(piece)}) for the power.",
        )
    if operators and set(words) & set(_PRODUCTS) == {":"} and "(" not in words:
        alternate = len(words) % 2 and set(words[1::2]) == {":"} and ":" not in words[::2]
        return [tuple(dict.fromkeys(words[::2]))] if alternate else _fail(piece)
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        expanded = Formula("0 + " + " ".join(words))
        return [tuple(str(factor.expr) for factor in term.factors) for term in expanded]
    except (FormulaicError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
        return _fail(piece)


def _fail(piece: Sequence[Token]) -> list[tuple[str, ...]]:
    raise FormulaError(
        f"'{clean(render(piece))}' cannot be read as a term.", hint="An operator lacks one of its sides."
    )


def _factors(piece: Sequence[Token], book: _Book) -> list[str]:
    """Replace each factor (a column, a call, a braced expression) of a product by its placeholder."""
    words: list[str] = []
    place = 0
    while place < len(piece):
        token = piece[place]
        if token.kind == "name" or token.is_op("{"):
            end = place + 1
            if token.is_op("{") or (end < len(piece) and piece[end].is_op("(")):
                end = _closing(piece, place if token.is_op("{") else end) + 1
            if token.text == "offset" and end > place + 1:
                raise FormulaError(f"offset() stands alone between plus signs, not inside '{render(piece)}'.")
            words.append(book.placeholder(piece[place:end]))
            place = end
            continue
        if token.kind == "number":
            if not (words and words[-1] in _POWERS and token.text.isdigit() and 1 <= int(token.text[:4]) <= 10):
                raise FormulaError(
                    f"The number {token.text} has no meaning in '{render(piece)}'.",
                    hint="Arithmetic stands inside I( ): I(x^2), I(x / 10). A power of a sum is at most 10.",
                )
        elif token.kind == "string" or not token.is_op(*_PRODUCTS, "+", "-", "(", ")"):
            raise FormulaError(
                f"'{token.text}' has no meaning in '{render(piece)}'.",
                hint="Arithmetic and comparisons stand inside I( ).",
            )
        words.append(token.text)
        place += 1
    for first, second in pairwise(words):
        if first not in (*_PRODUCTS, "+", "-", "(") and second not in (*_PRODUCTS, "+", "-", ")"):
            raise FormulaError(
                f"An operator is missing in '{render(piece)}'.",
                hint="A column whose name has spaces is written in backticks.",
            )
    return words


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for place in range(opening, len(tokens)):
        depth += tokens[place].is_op("(", "{") - tokens[place].is_op(")", "}")
        if depth == 0:
            return place
    raise FormulaError("A parenthesis in the formula is not closed.")


def _work(words: Sequence[str], piece: Sequence[Token]) -> float:
    """Return a bound of the terms that are met while a product is expanded, found without expanding it.

    (l + 1)(r + 1) - 1 terms come of a product, l^n of a power; never more than there are sets of factors.
    """
    factors = [word for word in words if word.startswith("t")]
    if len(factors) > MAX_FACTORS or len(words) > 5 * MAX_FACTORS:
        return inf
    if any(first.isdigit() and second in _POWERS for first, second in pairwise(words)):
        raise FormulaError(f"'{render(piece)[:80]}' raises a power to a power.", hint="Write the power once.")
    sets = 2.0 ** len(set(factors)) - 1.0
    seen = 0.0

    def count(node: ast.AST) -> float:
        nonlocal seen
        if not isinstance(node, ast.BinOp):
            return 1.0
        left = count(node.left)
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
            terms = min(left, 1e6) ** float(str(node.right.value))
        elif isinstance(node.op, ast.Mult):
            terms = (left + 1.0) * (count(node.right) + 1.0) - 1.0
        else:
            terms = left + count(node.right)
        seen += terms
        return min(terms, sets)

    python = {"/": "*", ":": "*", "%in%": "*", "^": "**"}
    try:
        count(ast.parse(" ".join(python.get(word, word) for word in words), mode="eval").body)
    except SyntaxError:
        _fail(piece)
    return seen
