"""Columns and expressions as LaTeX that KaTeX renders, every special character of a name escaped."""

from __future__ import annotations

import ast
import re

from openreml_core.notation.allowed import bind_options, function_name
from openreml_core.notation.expression import Expression

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\textdollar{}",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: " + ",
    ast.Sub: " - ",
    ast.Mult: r" \cdot ",
    ast.Lt: " < ",
    ast.LtE: r" \le ",
    ast.Gt: " > ",
    ast.GtE: r" \ge ",
    ast.Eq: " = ",
    ast.NotEq: r" \ne ",
}
_NAMED = {"log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan"}
_SUBSCRIPTED = {"log2": r"\log_{2}", "log10": r"\log_{10}"}


def escape(name: str) -> str:
    """Return a name as upright text that KaTeX renders as it is."""
    flat = re.sub(r"\s+", " ", name)
    return (
        r"\text{" + "".join(_ESCAPES.get(character, character) for character in flat if character.isprintable()) + "}"
    )


def covariate(factor: Expression) -> str:
    """Return a covariate of a product, in parentheses where it is a sum."""
    text = expression_latex(factor)
    inner = factor.tree.args[0] if isinstance(factor.tree, ast.Call) and factor.label.startswith("I(") else factor.tree
    is_sum = isinstance(inner, ast.UnaryOp) or (
        isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add | ast.Sub)
    )
    return rf"\left({text}\right)" if is_sum else text


def expression_latex(factor: Expression) -> str:
    return _node(factor.tree, factor)


def _node(node: ast.expr, factor: Expression) -> str:
    if isinstance(node, ast.Name):
        return escape(factor.names[int(node.id[1:])]) + "_{i}"
    if isinstance(node, ast.Constant):
        return r"\pi" if str(node.value).startswith("3.14159265") else str(node.value)
    if isinstance(node, ast.UnaryOp):
        sum_inside = isinstance(node.operand, ast.BinOp) and isinstance(node.operand.op, ast.Add | ast.Sub)
        inside = _closed(node.operand, factor) if sum_inside else _node(node.operand, factor)
        return ("-" if isinstance(node.op, ast.USub) else "") + inside
    if isinstance(node, ast.Compare):
        right = _node(node.comparators[0], factor)
        return rf"\left[{_node(node.left, factor)}{_OPERATORS[type(node.ops[0])]}{right}\right]"
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Div):
            return rf"\frac{{{_node(node.left, factor)}}}{{{_node(node.right, factor)}}}"
        if isinstance(node.op, ast.Pow):
            return rf"{{{_closed(node.left, factor)}}}^{{{_node(node.right, factor)}}}"
        if isinstance(node.op, ast.Mult):
            return _closed(node.left, factor) + r"\," + _closed(node.right, factor)
        right = _closed(node.right, factor) if isinstance(node.op, ast.Sub) else _node(node.right, factor)
        return _node(node.left, factor) + _OPERATORS[type(node.op)] + right
    if isinstance(node, ast.Call):
        return _call(node, factor)
    return escape(factor.label)


def _closed(node: ast.expr, factor: Expression) -> str:
    """Return a part of a product or power, in parentheses where it is a sum or a product of its own."""
    text = _node(node, factor)
    return rf"\left({text}\right)" if isinstance(node, ast.BinOp | ast.UnaryOp) else text


def _call(node: ast.Call, factor: Expression) -> str:
    originals = dict(factor.originals)
    name = function_name(node, originals, factor.label)
    held = _node(node.args[0], factor)
    if name in ("I", "identity", "as.numeric", "numeric"):
        return held
    if name == "sqrt":
        return rf"\sqrt{{{held}}}"
    if name == "abs":
        return rf"\left|{held}\right|"
    if name in ("factor", "as.factor", "C", "relevel"):
        return held
    if name == "log" and len(node.args) + len(node.keywords) > 1:
        base = bind_options(node, name, {"base": "number"}, originals, factor.label, data=1)["base"]
        return rf"\log_{{{base:g}}}\left({held}\right)"
    if name in _NAMED or name in _SUBSCRIPTED:
        return rf"{_SUBSCRIPTED.get(name, chr(92) + name)}\left({held}\right)"
    if name == "log1p":
        return rf"\log\left(1 + {held}\right)"
    return rf"\operatorname{{{name}}}\left({held}\right)"
