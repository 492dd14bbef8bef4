"""A formula as an equation in LaTeX: the model of one row, and the distributions of its random parts.

The dialect is what KaTeX renders; names of columns stand in ``\\text{...}`` with every special character escaped.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping

from openreml_core.notation.bars import RandomTerm
from openreml_core.notation.expression import Expression
from openreml_core.notation.formula import Formula
from openreml_core.notation.residual import Residual, ResidualTerm
from openreml_core.notation.symbols import covariate, escape, expression_latex

_LINE = 50
_INVISIBLE = re.compile(r"\\[a-zA-Z]+|[\\{}]")

#: what a column or factor is: "number" or "factor"
Kinds = Mapping[str, str]


def latex(
    formula: Formula,
    data_kinds: Kinds | None = None,
    residual: Residual | None = None,
    related: Collection[str] = (),
) -> str:
    """Return the model as LaTeX for KaTeX (without dollar signs).

    Parameters
    ----------
    formula : Formula
    data_kinds : dict, optional
        Column -> ``"number"`` or ``"factor"``. Without it, the kinds that the formula learned from its table are taken;
        a column of unknown kind counts as a factor unless the formula computes with it.
    residual : Residual, optional
        The residual's structure; one variance by default.
    related : collection of str
        Groupings whose levels have a known relationship.

    Returns
    -------
    str
        One ``aligned`` block: the row's equation, then a line per distribution.

    Examples
    --------
    >>> from openreml_core.notation import parse_formula
    >>> print(latex(parse_formula("yield ~ rep + (1 | gen)")))
    \\begin{aligned}
    \\text{yield}_{i} &= \\mu + \\text{rep}_{[i]} + \\text{gen}_{[i]} + e_{i} \\\\[4pt]
    \\text{gen} &\\sim \\mathcal{N}(0,\\ \\sigma^2_{\\text{gen}}) \\\\
    e_{i} &\\sim \\mathcal{N}(0,\\ \\sigma^2)
    \\end{aligned}
    """
    kinds = {**dict(formula.kinds), **(data_kinds or {})}
    for factors in [*formula.terms, *(term for random in formula.random for term in random.terms)]:
        for factor in factors:
            if not factor.is_column:
                kinds.update({name: kinds.get(name, _guess(factor)) for name in factor.names})
    for random in formula.random:
        if random.structure in ("us", "diag") and random.intercept and len(random.effect_terms) > 0:
            kinds.update(
                {name: kinds.get(name, "number") for factors in random.terms for f in factors for name in f.names}
            )
    parts = _fixed(formula, kinds)
    lines: list[str] = []
    names = _term_names(formula.random)
    for name, random in zip(names, formula.random, strict=True):
        parts += _random_parts(name, random, kinds)
        known = r"\quad \text{(related levels)}" if random.group_name in related else ""
        lines.append(_distribution(name, random, kinds) + known)
    response = formula.response_expression
    left = expression_latex(response) if response is not None else escape(formula.response) + "_{i}"
    parts.append("e_{i}")
    equation = _wrap(left, parts)
    lines.append(_residual(residual))
    body = (" " + "\\\\" + "\n").join(lines)
    return "\\begin{aligned}\n" + equation + " \\\\[4pt]\n" + body + "\n\\end{aligned}"


def _residual(residual: Residual | None) -> str:
    if residual is None or residual.is_plain:
        return r"e_{i} &\sim \mathcal{N}(0,\ \sigma^2)"
    parts = [f"{_section(term)}{escape(term.text)}" for term in residual.terms]
    return r"\mathbf{e} &\sim \mathcal{N}(\mathbf{0},\ R), \quad R = " + " + ".join(parts)


def _section(term: ResidualTerm) -> str:
    return "" if term.section is None else rf"\bigoplus_{{{escape(term.section)}}} "


def _wrap(left: str, parts: list[str]) -> str:
    """Join the parts of the equation, as many on a line as are easily read."""
    rows: list[list[str]] = [[]]
    used = 0
    for part in parts:
        width = len(_INVISIBLE.sub("", part)) + 3
        if rows[-1] and used + width > _LINE and part != parts[-1]:
            rows.append([])
            used = 0
        rows[-1].append(part)
        used += width
    return f"{left} &= " + " \\\\\n&\\quad + ".join(" + ".join(row) for row in rows)


def _guess(factor: Expression) -> str:
    called = factor.tree.func if isinstance(factor.tree, ast.Call) else None
    name = dict(factor.originals).get(called.id, "") if isinstance(called, ast.Name) else ""
    return "factor" if name in ("C", "factor", "as.factor", "relevel") else "number"


def _is_factor(factor: Expression, kinds: Kinds) -> bool:
    if isinstance(factor.tree, ast.Compare):
        return True
    if factor.is_column:
        return kinds.get(factor.names[0], "factor") == "factor"
    return _guess(factor) == "factor"


def _fixed(formula: Formula, kinds: Kinds) -> list[str]:
    parts = [r"\mu"] if formula.intercept else []
    slopes = 0
    for term in formula.terms:
        factors = [factor for factor in term if _is_factor(factor, kinds)]
        covariates = [factor for factor in term if not _is_factor(factor, kinds)]
        index = escape(":".join(_plain_label(factor) for factor in factors))
        if not covariates:
            parts.append(f"{index}_{{[i]}}")
            continue
        slopes += 1
        beta = rf"\beta_{{{slopes}" + (rf",\,{index}[i]}}" if factors else "}")
        parts.append(beta + r"\," + r"\,".join(covariate(factor) for factor in covariates))
    parts += [expression_latex(offset) for offset in formula.offset_expressions]
    return parts


def _plain_label(factor: Expression) -> str:
    """Return the label of a factor without the call that makes it one."""
    return factor.names[0] if _guess(factor) == "factor" and len(factor.names) == 1 else factor.label


def _term_names(random: tuple[RandomTerm, ...]) -> list[str]:
    """Return a symbol for each term: its grouping, with primes where a grouping has several terms."""
    seen: dict[str, int] = {}
    names = []
    for term in random:
        count = seen.get(term.name, 0)
        seen[term.name] = count + 1
        names.append(_smooth_name(term) if term.is_smooth else escape(term.name) + "'" * count)
    return names


def _smooth_name(term: RandomTerm) -> str:
    """Return the symbol of a spline: s(x), s_gen(x)."""
    of = r",\,".join(escape(name) for name in term.positions)
    return (f"s_{{{escape(term.group_name)}}}" if term.group else "s") + f"({of})"


def _effects(random: RandomTerm, kinds: Kinds) -> list[tuple[str, str | None]] | None:
    """Return (subscript, multiplier) of each effect of a term, or None where a factor makes their number unknown."""
    if random.positions or random.parts:
        return None
    found: list[tuple[str, str | None]] = [("0", None)] if random.intercept else []
    for term in random.terms:
        if any(_is_factor(factor, kinds) or "poly" in factor.label or "s(" in factor.label for factor in term):
            return None
        found.append((str(len(found) + (not random.intercept)), r"\,".join(covariate(factor) for factor in term)))
    return found


def _random_parts(name: str, random: RandomTerm, kinds: Kinds) -> list[str]:
    effects = _effects(random, kinds)
    if effects is None:
        if random.is_smooth:
            by = rf"_{{{escape(random.group_name)}[i]}}" if random.group else ""
            return [f"s{by}({_at_row(random.positions)})"]
        if random.positions:
            return [rf"{name}_{{[i]}}({_at_row(random.positions)})"]
        if random.parts:
            return [rf"{name}_{{[i]}}"]
        within = escape(":".join(factor.label for term in random.terms for factor in term))
        return [rf"{name}_{{{within}[i],\,[i]}}"]
    if len(effects) == 1 and effects[0][1] is None:
        return [f"{name}_{{[i]}}"]
    return [f"{name}_{{{place},[i]}}" + ("" if by is None else r"\," + by) for place, by in effects]


def _at_row(columns: tuple[str, ...]) -> str:
    return r",\,".join(escape(column) + "_{i}" for column in columns)


def _smooth_distribution(name: str, random: RandomTerm) -> str:
    """Return what a spline's bend is worth: a variance each for its parts."""
    if random.structure == "spl":
        variance = rf"\sigma^2_{{{name}}}"
        words = r"\text{(cubic smoothing spline)}"
        return rf"{name} &\sim \mathcal{{N}}(\mathbf{{0}},\ {variance}\,\mathbf{{K}}^{{-}}), \quad {words}"
    row, col = (escape(column) for column in random.positions)
    parts = [f"f({row})", f"f({col})", f"f({row}){col}", f"{row}\\,f({col})", f"f({row},{col})"]
    each = r", \quad f \sim \mathcal{N}(\mathbf{0},\ \sigma^2_{f}\,\mathbf{K}_{f}^{-})\ \text{(P-splines)}"
    return f"{name} &= " + " + ".join(parts) + each


def _distribution(name: str, random: RandomTerm, kinds: Kinds) -> str:
    effects = _effects(random, kinds)
    if random.is_smooth:
        return _smooth_distribution(name, random)
    if random.parts:
        product = r" \otimes ".join(escape(part.text) for part in random.parts)
        return rf"{name} &\sim \mathcal{{N}}(\mathbf{{0}},\ {product})"
    if random.structure == "known":
        return rf"{name} &\sim \mathcal{{N}}(\mathbf{{0}},\ \sigma^2_{{{name}}}\,\mathbf{{K}})"
    if effects is not None and len(effects) == 1:
        symbol = name if effects[0][1] is None else f"{name}_{{{effects[0][0]}}}"
        return rf"{symbol} &\sim \mathcal{{N}}(0,\ \sigma^2_{{{name}}})"
    if effects is not None and random.structure in ("us", "diag", "id") and len(effects) <= 4:
        vector = r" \\ ".join(f"{name}_{{{place}}}" for place, _ in effects)
        matrix = r" \\ ".join(
            " & ".join(_cell(name, random.structure, row, column, effects) for column in range(len(effects)))
            for row in range(len(effects))
        )
        return (
            rf"\begin{{pmatrix}} {vector} \end{{pmatrix}} &\sim \mathcal{{N}}\left(\mathbf{{0}},\ "
            rf"\begin{{pmatrix}} {matrix} \end{{pmatrix}}\right)"
        )
    label = rf"\text{{{random.structure}}}"
    matrix = rf"\boldsymbol{{\Sigma}}_{{{name}}}"
    return rf"{name} &\sim \mathcal{{N}}(\mathbf{{0}},\ {matrix}), \quad {matrix}\ {label}"


def _cell(name: str, structure: str, row: int, column: int, effects: list[tuple[str, str | None]]) -> str:
    first, second = sorted((effects[row][0], effects[column][0]))
    if row == column:
        return rf"\sigma^2_{{{name}}}" if structure == "id" else rf"\sigma^2_{{{name},{first}}}"
    return rf"\sigma_{{{name},{first}{second}}}" if structure == "us" else "0"
