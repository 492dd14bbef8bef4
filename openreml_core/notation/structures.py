"""The covariance structures that the notation names, and their options: ``fa(..., k=2)``, ``matern(..., nu=1.5)``."""

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
    "spl2d": ("knots", "degree"),
    "kron": (),
}
SERIAL = frozenset({"ar1", "ar1h", "arh1", "ar2", "ar2h", "arh2", "toep", "toeph", "ante"})
SPATIAL = frozenset({"exp", "exph", "gau", "gauh", "sph", "sphh", "matern", "maternh"})
OptionValue = float | bool | str


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
        if name == "k" and not (value == int(value) and 1 <= value <= 50):
            raise FormulaError(f"k in '{shown}' is a whole number from 1 to 50, not {item[0].text}.")
        return value
    if name == "aniso" and len(item) == 1 and item[0].text in flags:
        return flags[item[0].text]
    raise FormulaError(f"The option {name} in '{shown}' takes {'TRUE or FALSE' if name == 'aniso' else 'a number'}.")


def _option_text(value: OptionValue) -> str:
    return str(value).upper() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
