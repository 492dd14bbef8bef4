"""A formula's text, cut into tokens. Every character must be one that the notation knows; nothing is evaluated here.

A dot belongs to a name before it is anything else, backticks make a name of any text, and names are compared in
Unicode's composed form (NFC), so that an umlaut typed in two ways is one name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openreml_core.errors import FormulaError

MAX_LENGTH = 20_000
MAX_DEPTH = 30

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<name>(?:[^\W\d]|\.(?=[^\W\d]))[\w.]*)
    | `(?P<quoted>[^`]+)`
    | (?P<string>"[^"\\\n]*"|'[^'\\\n]*')
    | (?P<operator>%in%|\|\||\*\*|==|!=|<=|>=|[-+*/^:~|(),=<>{}])
    """,
    re.VERBOSE,
)
_PLAIN_NAME = re.compile(r"(?:[^\W\d]|\.(?=[^\W\d]))[\w.]*")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CLOSERS = {"(": ")", "{": "}"}


@dataclass(frozen=True)
class Token:
    """One piece of a formula.

    Parameters
    ----------
    kind : str
        ``"name"``, ``"number"``, ``"string"`` or ``"operator"``.
    text : str
        The piece; a name without its backticks, a string without its quotes.
    """

    kind: str
    text: str

    def is_op(self, *texts: str) -> bool:
        """Return whether this is one of the operators `texts`."""
        return self.kind == "operator" and self.text in texts


def clean(text: str) -> str:
    """Return `text` without terminal colours and other control characters, to be shown in a message."""
    return _ESCAPE.sub("", text)


def tokenize(text: str) -> tuple[Token, ...]:
    """Cut `text` into tokens and check that its parentheses match.

    Raises
    ------
    FormulaError
        For a character that the notation does not have, an unmatched parenthesis, or a formula too long or too deep.
    """
    if not isinstance(text, str):
        raise FormulaError(f"A formula is a text such as 'yield ~ rep + (1 | gen)', not {type(text).__name__}.")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"The formula has {len(text)} characters; {MAX_LENGTH} is the most that is read.")
    text = unicodedata.normalize("NFC", text)
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FormulaError(_unknown(text, position))
        position = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            continue
        piece = match.group(kind)
        if kind in ("quoted", "string") and _ESCAPE.search(piece):
            raise FormulaError(f"The text '{clean(piece)}' in the formula holds control characters.")
        if kind == "string":
            piece = piece[1:-1]
        tokens.append(Token("name" if kind == "quoted" else kind, piece))
    _check_parentheses(tokens)
    return tuple(tokens)


def _unknown(text: str, position: int) -> str:
    character = text[position]
    where = clean(text[max(position - 12, 0) : position + 12]).strip()
    if character == "`":
        return f"A backtick is not closed near '{where}'."
    if character in "\"'":
        return f"A quotation mark is not closed near '{where}' (quoted text has no backslash and stays on one line)."
    if character.isdigit():
        return f"'{where}' begins with a digit. A column whose name does so is written in backticks: `2nd cut`."
    if character == "$":
        return "The formula has a '$': write the column's name alone, the table is given beside the formula."
    if character == ".":
        return "'.' for all other columns is not read: name the columns."
    if character in "[]":
        return f"Square brackets, near '{where}', have no place in a formula."
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return f"The character {shown} near '{where}' has no meaning in a formula. Put odd column names in backticks."


def _check_parentheses(tokens: Sequence[Token]) -> None:
    expected: list[str] = []
    for token in tokens:
        if token.is_op("(", "{"):
            expected.append(_CLOSERS[token.text])
            if len(expected) > MAX_DEPTH:
                raise FormulaError(f"The formula nests more than {MAX_DEPTH} parentheses.")
        elif token.is_op(")", "}") and (not expected or expected.pop() != token.text):
            raise FormulaError(f"A closing '{token.text}' in the formula has no opening partner.")
    if expected:
        raise FormulaError(f"A '{expected[-1]}' is missing: a parenthesis in the formula is not closed.")


def quote(name: str) -> str:
    """Return a column name as a formula writes it: bare where it is a word, else in backticks."""
    return name if _PLAIN_NAME.fullmatch(name) else f"`{name}`"


def render(tokens: Iterable[Token], *, bare: bool = False) -> str:
    """Return tokens as text in one spelling: ``log(x + 1)``, ``a:b``, ``poly(x, 2, raw=TRUE)``.

    Parameters
    ----------
    tokens : iterable of Token
    bare : bool
        Leave out the backticks (for labels shown to people, not for text that is parsed again).
    """
    parts: list[str] = []
    previous: Token | None = None
    for token in tokens:
        if token.kind == "name":
            text = token.text if bare else quote(token.text)
        elif token.kind == "string":
            text = f"'{token.text}'" if '"' in token.text else f'"{token.text}"'
        elif token.is_op("+", "-") and (previous is None or previous.is_op(*"(,{~=|+-*/^:", "**", "||")):
            text = token.text
        elif token.is_op("+", "-", "*", "/", "~", "|", "||", "%in%", "==", "!=", "<", ">", "<=", ">="):
            text = f" {token.text} "
        elif token.is_op(","):
            text = ", "
        else:
            text = token.text
        if previous is not None and token.kind != "operator" and previous.kind != "operator":
            text = " " + text
        parts.append(text)
        previous = token
    return "".join(parts).strip()


def split(tokens: Sequence[Token], *operators: str) -> list[tuple[Token | None, tuple[Token, ...]]]:
    """Split tokens at the operators that stand outside all parentheses.

    Returns
    -------
    list of (operator before the piece or None, piece)
    """
    pieces: list[tuple[Token | None, tuple[Token, ...]]] = []
    before: Token | None = None
    piece: list[Token] = []
    depth = 0
    for token in tokens:
        depth += token.is_op("(", "{") - token.is_op(")", "}")
        if depth == 0 and token.is_op(*operators):
            pieces.append((before, tuple(piece)))
            before, piece = token, []
        else:
            piece.append(token)
    pieces.append((before, tuple(piece)))
    return pieces


def inside(tokens: Sequence[Token]) -> tuple[Token, ...] | None:
    """Return what one pair of parentheses around all of `tokens` holds, or None where there is no such pair."""
    if len(tokens) < 2 or not tokens[0].is_op("("):
        return None
    depth = 0
    for place, token in enumerate(tokens):
        depth += token.is_op("(", "{") - token.is_op(")", "}")
        if depth == 0:
            return tuple(tokens[1:-1]) if place == len(tokens) - 1 else None
    return None


def call(tokens: Sequence[Token]) -> tuple[str, tuple[Token, ...]] | None:
    """Return (function, what its parentheses hold) when `tokens` is one call, else None."""
    if len(tokens) < 3 or tokens[0].kind != "name":
        return None
    held = inside(tokens[1:])
    return None if held is None else (tokens[0].text, held)
