"""One factor of a term, such as ``log(yield)`` or ``poly(Days, 2)``: its text, its columns, its checked tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from openreml_core.errors import FormulaError
from openreml_core.notation.allowed import check
from openreml_core.notation.functions import CONTRASTS, FLAGS, NUMBERS
from openreml_core.notation.tokens import Token, render, tokenize

_PYTHON = {"^": "**"}
_DUNDER = re.compile(r"(?:^|\.)__\w+__(?:\.|$)")
_MEANINGLESS = {"~", "|", "||", "%in%", ":", "{", "}"}


@dataclass(frozen=True)
class Expression:
    """A factor of a term, read and found harmless.

    Parameters
    ----------
    text : str
        In the notation's spelling, odd names in backticks; parses back to the same.
    label : str
        The same without backticks, for names of coefficients.
    names : tuple of str
        The columns used, in order of appearance; ``names[j]`` is the placeholder ``vj`` of `source`.
    source : str
        Python arithmetic over placeholders; equal for factors that are equal but for their spelling.
    originals : tuple of (placeholder, text)
        What stands behind each placeholder.
    tree : ast.expr
        `source` parsed and checked.
    """

    text: str
    label: str
    names: tuple[str, ...]
    source: str = field(repr=False)
    originals: tuple[tuple[str, str], ...] = field(repr=False)
    tree: ast.expr = field(repr=False, compare=False, hash=False)

    @property
    def is_column(self) -> bool:
        """Whether the factor is a column as it stands."""
        return isinstance(self.tree, ast.Name)

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What makes two factors the same, whatever their spelling."""
        return self.source, self.originals


def parse_expression(text: str | Sequence[Token], columns: Collection[str] = ()) -> Expression:
    """Read one expression and check it against the allow-list. Nothing is evaluated.

    Parameters
    ----------
    text : str or tokens
    columns : collection of str, optional
        The table's columns: one named ``pi`` or ``T`` then means the column.

    Raises
    ------
    FormulaError
    """
    tokens = tokenize(text) if isinstance(text, str) else tuple(text)
    if tokens and tokens[0].is_op("{"):
        braces = {"{": Token("operator", "("), "}": Token("operator", ")")}
        tokens = (Token("name", "I"), *(braces.get(t.text, t) if t.kind == "operator" else t for t in tokens))
    if not tokens:
        raise FormulaError("A term of the formula is empty.")
    shown = render(tokens)
    source, names, originals = _translate(tokens, frozenset(columns), shown)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise FormulaError(f"'{shown}' is not a complete expression.", hint=_advice(tokens)) from None
    check(tree, originals, shown)
    return Expression(shown, render(tokens, bare=True), tuple(names), source, tuple(originals.items()), tree)


def _translate(tokens: Sequence[Token], columns: frozenset[str], shown: str) -> tuple[str, list[str], dict[str, str]]:
    """Write the tokens as Python arithmetic over placeholders."""
    parts: list[str] = []
    placeholders: dict[tuple[str, str], str] = {}
    names: list[str] = []
    depth = 0

    def placeholder(kind: str, original: str) -> str:
        if (kind, original) not in placeholders:
            count = sum(1 for known, _ in placeholders if known == kind)
            placeholders[kind, original] = f"{kind}{count}"
            if kind == "v":
                names.append(original)
        return placeholders[kind, original]

    for place, token in enumerate(tokens):
        following = tokens[place + 1] if place + 1 < len(tokens) else Token("operator", "")
        depth += token.is_op("(", "{") - token.is_op(")", "}")
        if token.kind == "name" and following.is_op("("):
            parts.append(placeholder("f", token.text))
        elif token.kind == "name" and following.is_op("=") and depth > 0:
            parts.append(placeholder("o", token.text))
        elif token.kind == "name" and token.text in columns:
            parts.append(placeholder("v", token.text))
        elif token.kind == "name" and token.text in CONTRASTS:
            parts.append(placeholder("f", token.text))
        elif token.kind == "name" and token.text in NUMBERS:
            parts.append(repr(NUMBERS[token.text]))
        elif token.kind == "name" and token.text in FLAGS:
            parts.append(repr(FLAGS[token.text]))
        elif token.kind == "name":
            if _DUNDER.search(token.text):
                raise FormulaError(
                    f"'{token.text}' in '{shown}' is no column of the table.", hint="A formula names columns only."
                )
            parts.append(placeholder("v", token.text))
        elif token.kind == "string":
            parts.append(repr(token.text))
        elif token.kind == "number":
            parts.append(_number(token.text, shown))
        elif token.text in _MEANINGLESS:
            raise FormulaError(f"'{token.text}' has no meaning inside '{shown}'.", hint=_advice(tokens))
        else:
            parts.append(_PYTHON.get(token.text, token.text))
    return " ".join(parts), names, {short: original for (_, original), short in placeholders.items()}


def _number(text: str, shown: str) -> str:
    value = float(text)
    if value - value != 0.0:
        raise FormulaError(f"The number {text[:20]} in '{shown[:60]}' is too large.")
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _advice(tokens: Sequence[Token]) -> str:
    for first, second in pairwise(tokens):
        if first.kind == second.kind == "name":
            return f"A column whose name has spaces is written in backticks: `{first.text} {second.text}`."
    return "Arithmetic stands inside I( ): I(x^2), I(x / 10)."
