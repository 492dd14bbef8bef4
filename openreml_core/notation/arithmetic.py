"""Arithmetic over named numbers, ``"gen.variance / (gen.variance + residual.variance / 3)"``: read, never run.

Names are found first, the longest that fits, so that they may hold dots, colons, parentheses and spaces:
``Subject.covariance((Intercept), Days)`` is one. What is left has to be numbers, ``+ - * / ^``, parentheses, and a few functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from openreml_core.errors import FormulaError, did_you_mean

FUNCTIONS = ("sqrt", "exp", "log")
#: Characters that an expression may have.
LONGEST = 4_000

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_OPERATOR = re.compile(r"\*\*|[-+*/^()]")
_WORD = re.compile(r"[^\s+*/^()-]+")
_SIGNS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub)
_NODES = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, *_SIGNS)


@dataclass(frozen=True)
class Arithmetic:
    """An expression, read and found to be arithmetic.

    Attributes
    ----------
    text : str
        As it was written.
    names : tuple of str
        The names in it; ``names[j]`` is the placeholder ``vj`` of the tree.
    tree : ast.expr
    """

    text: str
    names: tuple[str, ...]
    tree: ast.expr = field(repr=False, compare=False)


def parse_arithmetic(text: str, names: Collection[str]) -> Arithmetic:
    """Read an expression.

    Parameters
    ----------
    text : str
        A name may stand in backticks.
    names : collection of str
        The names that are known.

    Raises
    ------
    FormulaError
        An unknown name or function, or what is no arithmetic.

    Examples
    --------
    >>> parse_arithmetic("rep:block.variance / (2 * gen.variance)", ["gen.variance", "rep:block.variance"]).names
    ('rep:block.variance', 'gen.variance')
    """
    if not isinstance(text, str) or not text.strip():
        raise FormulaError(f"{text!r} is no expression.", hint='Write such as "gen.variance / residual.variance".')
    if len(text) > LONGEST:
        raise FormulaError(f"The expression has {len(text):,} characters.", hint="Compute it in steps.")
    words, found = _words(text, sorted(names, key=len, reverse=True))
    try:
        tree = ast.parse(" ".join(words), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError(
            f"'{text}' cannot be read.", hint="An operator or a parenthesis lacks its other side."
        ) from None
    if not all(_allowed(node) for node in ast.walk(tree)):
        raise FormulaError(f"'{text}' is no arithmetic.", hint=f"It may hold + - * / ^ and {', '.join(FUNCTIONS)}.")
    return Arithmetic(text, tuple(found), tree)


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and len(node.args) == 1
    return isinstance(node, _NODES)


def _words(text: str, names: list[str]) -> tuple[list[str], list[str]]:
    """The expression with placeholders, word by word, and the names behind them."""
    words: list[str] = []
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        rest = text[place:]
        if rest[0].isspace():
            place += 1
            continue
        quoted = re.match(r"`([^`]*)`", rest)
        name = quoted.group(1) if quoted else next((n for n in names if _stands(n, rest)), None)
        if name is not None:
            if name not in names:
                raise _unknown(name, names)
            words.append(found.setdefault(name, f"v{len(found)}"))
            place += len(quoted.group(0)) if quoted else len(name)
            continue
        matched = _NUMBER.match(rest) or _OPERATOR.match(rest)
        if matched:
            word = matched.group(0)
            words.append("**" if word == "^" else word if not word[-1].isdigit() else f"({float(word)!r})")
            if words[-1] == "(inf)":
                raise FormulaError(f"The number {word} in '{text}' is too large.")
            place += matched.end()
            continue
        matched = _WORD.match(rest)
        word = matched.group(0) if matched else rest[0]
        if word not in FUNCTIONS:
            raise _unknown(word, names)
        words.append(word)
        place += len(word)
    return words, list(found)


def _stands(name: str, text: str) -> bool:
    """Whether a text begins with a name that ends there."""
    after = text[len(name) : len(name) + 1]
    return text.startswith(name) and not (after.isalnum() or after in ("_", "."))


def _unknown(word: str, names: list[str]) -> FormulaError:
    known = sorted(names)
    return FormulaError(
        f"'{word}' is no parameter of this model.",
        hint=did_you_mean(word, known).replace("The columns are", "The parameters are"),
    )
