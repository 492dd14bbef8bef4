"""The covariance structures that the notation names, and their options: ``fa(..., k=2)``, ``matern(..., nu=1.5)``.

===========  ==================================================================================================
``k``        factors of fa and rr, order of ante; 1 unless given
``aniso``    a range of its own for every coordinate
``nu``       smoothness of matern: 0.5, 1.5 (unless given) or 2.5
``knots``    spl: knots, unless given every distinct value, or 50 at their quantiles where there are more.
             spl2d: equal segments along the first column, ``knots2`` along the second; unless given as many as
             there are distinct values, at most 40
``nest``     spl2d: by how much fewer segments the interaction f(row):f(col) has; 2 unless given
``degree``   spl2d: degree of the B-splines, 3 unless given
===========  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from openreml_core.errors import FormulaError
from openreml_core.notation.tokens import Token, render

#: structure -> the options it takes, in order of position
STRUCTURES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["us", "diag", "id", "cs", "csh", "known"], ()),
    **dict.fromkeys(["ar1", "ar1h", "arh1", "ar2", "ar2h", "arh2", "toep", "toeph"], ()),
    **dict.fromkeys(["ante", "fa", "rr"], ("k",)),
    **dict.fromkeys(["exp", "exph", "gau", "gauh", "sph", "sphh"], ("aniso",)),
    **dict.fromkeys(["matern", "maternh"], ("nu", "aniso")),
    "spl": ("knots",),
    "spl2d": ("knots", "knots2", "nest", "degree"),
    "kron": (),
}
SERIAL = frozenset({"ar1", "ar1h", "arh1", "ar2", "ar2h", "arh2", "toep", "toeph", "ante"})
SPATIAL = frozenset({"exp", "exph", "gau", "gauh", "sph", "sphh", "matern", "maternh"})
OptionValue = float | bool | str
#: options that are whole numbers -> the least and the most
_WHOLE = {"k": (1, 50), "knots": (3, 200), "knots2": (3, 200), "nest": (1, 20), "degree": (1, 5)}
_NU = (0.5, 1.5, 2.5)


def read_options(items: Sequence[tuple[Token, ...]], structure: str, shown: str) -> tuple[tuple[str, OptionValue], ...]:
    """Read a structure's options, given by name or by position."""
    found: dict[str, OptionValue] = {}
    names = STRUCTURES[structure]
    for place, item in enumerate(items):
        named = len(item) >= 3 and item[1].is_op("=")
        name = item[0].text if named else (names[place] if place < len(names) else "")
        if name not in names or name in found:
            takes = f"{structure} takes {', '.join(names)}." if names else f"{structure} takes no options."
            raise FormulaError(f"'{render(item)}' in '{shown}' is no option of {structure}.", hint=takes)
        found[name] = _option_value(item[2:] if named else item, name, shown)
    return tuple(found.items())


def spell_options(options: Sequence[tuple[str, OptionValue]]) -> str:
    """Write options as they follow the grouping: ``", k=2"``."""
    return "".join(f", {name}={_option_text(value)}" for name, value in options)


def _option_value(item: Sequence[Token], name: str, shown: str) -> OptionValue:
    flags = {"TRUE": True, "True": True, "FALSE": False, "False": False}
    if len(item) == 1 and item[0].kind == "number":
        value = float(item[0].text)
        least, most = _WHOLE.get(name, (value, value))
        if name in _WHOLE and not (value == int(value) and least <= value <= most):
            raise FormulaError(f"{name} in '{shown}' is a whole number from {least} to {most}, not {item[0].text}.")
        if name == "nu" and value not in _NU:
            raise FormulaError(f"nu in '{shown}' is {item[0].text}.", hint="Choose 0.5, 1.5 or 2.5.")
        if name != "aniso":
            return value
    if name == "aniso" and len(item) == 1 and item[0].text in flags:
        return flags[item[0].text]
    raise FormulaError(f"The option {name} in '{shown}' takes {'TRUE or FALSE' if name == 'aniso' else 'a number'}.")


def _option_text(value: OptionValue) -> str:
    return str(value).upper() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
