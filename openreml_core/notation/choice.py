"""Random terms and residuals as choices in menus, written in the notation and read back from it.

A choice is a dictionary of plain values, the same that the text says: composing and reading are inverse to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openreml_core.notation.bars import RandomTerm
from openreml_core.notation.residual import UNITS, Residual, ResidualFactor, ResidualTerm
from openreml_core.notation.structures import SPATIAL, STRUCTURES, OptionValue, spell_options
from openreml_core.notation.tokens import quote

INTERCEPT = "1"


def compose_random(
    structure: str,
    group: Sequence[str] = (),
    *,
    effects: Sequence[str] = (INTERCEPT,),
    positions: Sequence[str] = (),
    parts: Sequence[tuple[str, str]] = (),
    options: Mapping[str, OptionValue | None] | None = None,
) -> str:
    """Write the random term that a menu says; ``parse_formula`` reads it back. Empty while something is missing.

    Parameters
    ----------
    structure : str
        Such as ``"us"``, ``"ar1"``, ``"spl2d"``.
    group : sequence of str
        Columns right of the bar, as the notation writes them (odd names in backticks).
    effects : sequence of str
        Left of the bar; ``"1"`` is the intercept.
    positions : sequence of str
        Columns of ``pos(x, y)``, ``spl(x)`` or ``spl2d(row, col)``.
    parts : sequence of (structure, column)
        Factors of ``kron``.
    options : mapping
        ``{"k": 2}``; those that the structure does not take, and empty ones, are left out.

    Examples
    --------
    >>> compose_random("us", ["gen"]), compose_random("diag", ["Subject"], effects=["1", "Days"])
    ('(1 | gen)', '(Days || Subject)')
    >>> compose_random("fa", ["gen"], effects=["county"], options={"k": 2})
    'fa(0 + county | gen, k=2)'
    >>> compose_random("exp", ["block"], positions=["x", "y"]), compose_random("spl2d", positions=["row", "col"])
    ('exp(0 + pos(x, y) | block)', 'spl2d(row, col)')
    """
    right = ":".join(group)
    given = options or {}
    taken = [(name, v) for name in STRUCTURES[structure] if (v := given.get(name)) is not None and v is not False]
    own = spell_options(taken)
    if structure in ("spl", "spl2d"):
        if len(positions) != (1 if structure == "spl" else 2):
            return ""
        return f"{structure}({', '.join(positions)}{f' | {right}' if right else ''}{own})"
    if not right:
        return ""
    if structure in SPATIAL:
        return f"{structure}(0 + pos({', '.join(positions)}) | {right}{own})" if positions else ""
    if structure == "kron":
        inner = ", ".join(f"{name}({column})" for name, column in parts)
        return f"kron({inner} | {right})" if len(parts) > 1 and all(column for _, column in parts) else ""
    terms = [e for e in effects if e != INTERCEPT]
    if not effects:
        return ""
    intercept = INTERCEPT in effects
    left = " + ".join(terms if intercept else ["0", *terms]) if terms else INTERCEPT
    if structure == "us" or (structure == "diag" and intercept):
        return f"({left} {'||' if structure == 'diag' and len(effects) > 1 else '|'} {right})"
    return f"{structure}({left} | {right}{own})"


def read_random(term: RandomTerm) -> dict[str, Any]:
    """The arguments of ``compose_random`` that say the same as a term.

    Examples
    --------
    >>> from openreml_core.notation import parse_formula
    >>> choice = read_random(parse_formula("y ~ 1 + fa(0 + county | gen, k=2)").random[0])
    >>> choice["structure"], choice["effects"], choice["options"]
    ('fa', ['county'], {'k': 2})
    """
    # exp(0 + time | animal) says the same as exp(0 + pos(time) | animal)
    effects = [] if term.positions else ([INTERCEPT] if term.intercept else []) + list(term.effect_terms)
    options = {k: int(v) if isinstance(v, float) and v.is_integer() and k != "nu" else v for k, v in term.options}
    return {
        "structure": term.structure,
        "group": [quote(name) for name in term.group],
        "effects": effects,
        "positions": [quote(name) for name in term.positions],
        "parts": [(part.structure, ", ".join(part.effect_terms)) for part in term.parts],
        "options": options,
    }


def is_choice(term: RandomTerm) -> bool:
    """Whether menus can say a term: a product whose parts have options or several effects is written by hand.

    Examples
    --------
    >>> from openreml_core.notation import parse_formula
    >>> terms = parse_formula("y ~ 1 + kron(us(a), ar1(t) | g) + kron(fa(a, k=2), ar1(t) | g)").random
    >>> [is_choice(term) for term in terms]
    [True, False]
    """
    return all(part.text == f"{part.structure}({', '.join(part.effect_terms)})" for part in term.parts)


@dataclass(frozen=True)
class ResidualChoice:
    """A residual as a menu offers it.

    Attributes
    ----------
    kind : str
        ``"independent"``; ``"grid"``, a product of two serial structures; ``"within"``, a structure inside subjects;
        ``"distance"``, by positions.
    structures : tuple of str
        One, or two for a grid.
    columns : tuple of str
        What they run over, as the notation writes it.
    subject : str
        The subjects of ``"within"``.
    section : str
        Sections with parameters of their own; empty for none.
    nugget : bool
        Whether an error of each row stands beside it.
    options : tuple of (name, value)
        Of the structure: k, nu, aniso.
    """

    kind: str = "independent"
    structures: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    subject: str = ""
    section: str = ""
    nugget: bool = False
    options: tuple[tuple[str, OptionValue], ...] = ()

    @property
    def text(self) -> str:
        """The residual in the notation; empty while something is missing."""
        if not all(self.columns) or (self.kind == "within" and not self.subject):
            return ""
        if self.kind == "independent":
            inner = f"id({UNITS})"
        elif self.kind == "grid":
            inner = ":".join(f"{s}({c})" for s, c in zip(self.structures, self.columns, strict=True))
        else:
            if not self.columns:
                return ""
            own = f"{self.structures[0]}({', '.join(self.columns)}{spell_options(self._own_options)})"
            inner = f"id({self.subject}):{own}" if self.kind == "within" else own
        if self.nugget and self.kind != "independent":
            inner += f" + id({UNITS})"
        return f"dsum({inner} | {self.section})" if self.section else inner

    @property
    def _own_options(self) -> list[tuple[str, OptionValue]]:
        taken = STRUCTURES[self.structures[0]]
        return [(name, value) for name, value in self.options if name in taken and value is not False]


#: Structures that a residual can have inside subjects; by distance; along the rows and columns of a grid.
WITHIN = ("us", "diag", "cs", "csh", "ar1", "arh1", "ar2", "toep", "toeph", "ante", "exp", "gau", "sph", "matern")
DISTANCE = ("exp", "gau", "sph", "matern")
GRID = ("ar1", "ar2", "toep", "cs")


def read_residual(residual: Residual) -> ResidualChoice | None:
    """The choice in a menu that a residual is; None where no menu offers it.

    Examples
    --------
    >>> from openreml_core.notation import parse_residual
    >>> choice = read_residual(parse_residual("dsum(ar1(row):ar1(col) + id(units) | trial)"))
    >>> choice.kind, choice.columns, choice.section, choice.nugget
    ('grid', ('row', 'col'), 'trial', True)
    >>> read_residual(parse_residual("id(a):id(b):us(c)")) is None
    True
    """
    units = ResidualFactor("id", (UNITS,))
    sections = {term.section for term in residual.terms}
    structured = [term for term in residual.terms if term.factors != (units,)]
    if len(sections) != 1 or len(structured) > 1:
        return None
    section = quote(found) if (found := sections.pop()) else ""
    if not structured:
        return ResidualChoice(section=section) if len(residual.terms) == 1 else None
    found_choice = _structured(structured[0])
    if found_choice is None:
        return None
    kind, factors, subject = found_choice
    return ResidualChoice(
        kind,
        tuple(f.structure for f in factors),
        tuple(quote(v) for f in factors for v in f.variables),
        subject,
        section,
        len(residual.terms) == 2,
        factors[0].options,
    )


def _structured(term: ResidualTerm) -> tuple[str, tuple[ResidualFactor, ...], str] | None:
    """Kind, the factors without the subjects, and the subjects."""
    blocks = [f for f in term.factors if f.structure == "id"]
    rest = tuple(f for f in term.factors if f.structure != "id")
    names = [f.structure for f in rest]
    if len(blocks) == 1 and len(rest) == 1 and names[0] in WITHIN and len(rest[0].variables) == 1:
        return "within", rest, quote(blocks[0].variables[0])
    if blocks:
        return None
    if len(rest) == 2 and all(name in GRID for name in names) and not any(f.options for f in rest):
        return "grid", rest, ""
    if len(rest) == 1 and names[0] in DISTANCE:
        return "distance", rest, ""
    return None
