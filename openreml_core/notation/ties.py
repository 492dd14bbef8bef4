"""How a tie is written: ``"a.variance"``, ``"2 * a.variance"``."""

from __future__ import annotations

import re
from typing import Any

from openreml_core.errors import FormulaError

_TIMES = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\*\s*(.*\S)\s*", re.DOTALL)


def parse_tie(text: Any) -> tuple[float, str]:
    """The ratio and the name of the parameter that is followed.

    Raises
    ------
    FormulaError
        For what is no text.

    Examples
    --------
    >>> parse_tie("2 * a.variance"), parse_tie("a.variance")
    ((2.0, 'a.variance'), (1.0, 'a.variance'))
    """
    if not isinstance(text, str) or not text.strip():
        raise FormulaError(
            f"ties holds {text!r}, which names no parameter.", hint='Write such as {"b.variance": "2 * a.variance"}.'
        )
    found = _TIMES.fullmatch(text)
    return (float(found.group(1)), found.group(2)) if found else (1.0, text.strip())
