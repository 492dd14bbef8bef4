"""The functions, contrasts and constants that a formula may name, and the options they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Signature:
    """What a function of the notation takes.

    Parameters
    ----------
    kind : str
        ``"number"`` (works element by element), ``"learned"`` (keeps what it saw, for new data) or ``"factor"``.
    options : dict of str to str
        Option -> what it takes: ``"number"``, ``"numbers"``, ``"flag"``, ``"text"`` (a level) or ``"contrast"``;
        in order of position.
    """

    kind: str
    options: Mapping[str, str] = field(default_factory=dict)


_NUMBER = Signature("number")
_FACTOR = Signature("factor")
_ENDS = {"intercept": "flag", "Boundary.knots": "numbers", "include_intercept": "flag"}

FUNCTIONS: dict[str, Signature] = {
    **dict.fromkeys(
        (
            "I identity as.numeric numeric log1p log2 log10 sqrt exp expm1 abs sign floor ceiling round "
            "sin cos tan asin acos atan arcsin arccos arctan sinh cosh tanh"
        ).split(),
        _NUMBER,
    ),
    "log": Signature("number", {"base": "number"}),
    "poly": Signature("learned", {"degree": "number", "raw": "flag"}),
    "bs": Signature("learned", {"df": "number", "knots": "numbers", "degree": "number", **_ENDS}),
    "ns": Signature("learned", {"df": "number", "knots": "numbers", **_ENDS}),
    "cr": Signature("learned", {"df": "number", "knots": "numbers", "constraints": "text"}),
    "cc": Signature("learned", {"df": "number", "knots": "numbers", "constraints": "text"}),
    "center": Signature("learned"),
    "scale": Signature("learned", {"center": "flag", "scale": "flag"}),
    "standardize": Signature("learned"),
    "factor": _FACTOR,
    "as.factor": _FACTOR,
    "relevel": Signature("factor", {"ref": "text"}),
    "C": Signature("factor", {"contrasts": "contrast"}),
}

CONTRASTS: dict[str, Mapping[str, str]] = {
    "contr.treatment": {"base": "text"},
    "contr.sum": {},
    "contr.helmert": {},
    "contr.poly": {},
    "contr.SAS": {},
    "contr.diff": {},
}
NUMBERS = {"pi": 3.141592653589793}
FLAGS = {"TRUE": True, "FALSE": False, "T": True, "F": False, "True": True, "False": False}


#: what to write instead of functions that users of other programs look for
INSTEAD = {
    "interaction": "Write a:b.",
    "cbind": "A model has one response.",
    "s": "A smooth term is written spl(x), a curve of fixed effects ns(x, df=4).",
    "te": "A surface is written spl2d(row, col).",
    "ifelse": "A comparison such as I(x > 3) is a factor of two levels.",
    "ordered": "Write C(f, contr.poly).",
    "Q": "Odd names stand in backticks.",
}


def functions_hint() -> str:
    """Return the sentence that lists what a formula may call."""
    return (
        "It may call log, log2, log10, log1p, sqrt, exp, abs, sin, cos, I, poly, bs, ns, center, scale, factor, C, "
        "relevel and offset; compute anything else as a column first."
    )
