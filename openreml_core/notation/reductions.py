"""A formula with one of its random effects left out, for each of them: what likelihood-ratio tests compare.

``(x | g)`` becomes ``(1 | g)``; a term of one effect, or of another structure than ``us`` and ``diag``, goes whole. Of ``a:b``
only the product goes as long as it stands there (marginality), as in lmerTest's ranova.
"""

from __future__ import annotations

from dataclasses import dataclass

from openreml_core.notation.bars import RandomTerm
from openreml_core.notation.formula import Formula, compose_formula
from openreml_core.notation.tokens import quote


@dataclass(frozen=True)
class Reduction:
    """A formula less one random effect.

    Attributes
    ----------
    label : str
        What is left out: ``"(1 | gen)"``, ``"Days in (Days | Subject)"``.
    formula : str
    term : RandomTerm
        The term that it is taken from.
    partial : bool
        Whether something of the term stays.
    """

    label: str
    formula: str
    term: RandomTerm
    partial: bool


def reductions(formula: Formula) -> list[Reduction]:
    """Every formula with one random effect left out.

    Parameters
    ----------
    formula : Formula
        Of a fit: the straight parts of splines among its fixed terms, where they stay when the spline goes.

    Examples
    --------
    >>> from openreml_core.notation import parse_formula
    >>> for r in reductions(parse_formula("y ~ Days + (Days | Subject) + (1 | day)")):
    ...     print(r.label, "->", r.formula)
    Days in (Days | Subject) -> y ~ Days + (1 | Subject) + (1 | day)
    (1 | day) -> y ~ Days + (Days | Subject)
    """
    out = []
    for place, term in enumerate(formula.random):
        for label, left in _smaller(term):
            random: list[RandomTerm | str] = [*formula.random[:place], *left, *formula.random[place + 1 :]]
            fixed = [":".join(factor.text for factor in t) for t in formula.terms]
            text = compose_formula(formula.response, fixed, random, formula.intercept, formula.offsets)
            out.append(Reduction(label, text, term, bool(left)))
    return out


def _smaller(term: RandomTerm) -> list[tuple[str, list[str]]]:
    """What can be left out of a term, and what of the term is left then."""
    if term.structure not in ("us", "diag") or not term.effect_terms:
        return [(term.text, [])]
    names = [frozenset(factor.key for factor in product) for product in term.terms]
    out = []
    single = len(term.effect_terms) == 1
    if term.structure == "diag" and term.intercept:
        # Uncorrelated effects stand alone, each a term of its own.
        out.append((f"(1 | {_group(term)})", [_with(term, term.effect_terms, False)]))
    for effect, key in zip(term.effect_terms, names, strict=True):
        if any(key < other for other in names):
            continue
        rest = tuple(e for e in term.effect_terms if e != effect)
        left = [_with(term, rest, term.intercept)] if rest or term.intercept else []
        of = f"(0 + {effect} | {_group(term)})" if term.structure == "diag" and term.intercept and single else term.text
        out.append((f"{effect} in {of}", left))
    return out


def _with(term: RandomTerm, effects: tuple[str, ...], intercept: bool) -> str:
    """The term with other effects."""
    left = " + ".join([*([] if intercept else ["0"]), *effects]) or "1"
    bar = "||" if term.structure == "diag" and len(effects) + intercept > 1 else "|"
    if term.structure == "diag" and bar == "|" and effects:
        return f"diag({left} | {_group(term)})"
    return f"({left} {bar} {_group(term)})"


def _group(term: RandomTerm) -> str:
    return ":".join(quote(name) for name in term.group)
