"""The allow-list: what an expression in a formula may hold, checked on its syntax tree before anything is computed.

An expression reaches this module with its columns and functions already replaced by the placeholders ``v0, v1, ...``
and ``f0, f1, ...``. Allowed are placeholders, numbers, arithmetic, comparisons, and calls of the functions listed in
`FUNCTIONS` with the options listed there; text and contrasts may stand only where an option takes them. Everything
else (attributes, subscripts, lambdas, comprehensions, assignments, f-strings, starred arguments) is refused by not
being on the list.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from openreml_core.errors import FormulaError
from openreml_core.notation.functions import CONTRASTS, FUNCTIONS, INSTEAD, functions_hint

MAX_EXPONENT = 64.0
MAX_NODES = 400


_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)

_WORDS: dict[type[ast.AST], str] = {
    ast.Attribute: "an attribute",
    ast.Subscript: "square brackets",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment",
    ast.IfExp: "a condition",
    ast.BoolOp: "'and' / 'or'",
    ast.Starred: "a starred argument",
    ast.JoinedStr: "an f-string",
    ast.Tuple: "a list of values",
}

Option = float | bool | str | tuple[float, ...] | tuple[str, str | None] | None


def check(tree: ast.expr, originals: Mapping[str, str], text: str) -> None:
    """Refuse an expression that holds anything beyond the allow-list.

    Parameters
    ----------
    tree : ast.expr
        The parsed expression, over placeholders.
    originals : dict
        Placeholder -> what the user wrote.
    text : str
        The expression as written, for the message.

    Raises
    ------
    FormulaError
        Naming what is not allowed.
    """
    nodes = sum(1 for _ in ast.walk(tree))
    if nodes > MAX_NODES:
        raise FormulaError(f"The expression '{text[:60]}...' is too long to be a term. Compute it as a column first.")
    _check(tree, originals, text)
    if not any(isinstance(node, ast.Name) and node.id.startswith("v") for node in ast.walk(tree)):
        raise FormulaError(f"'{text}' holds no column of the table.", hint="A term names at least one column.")


def _check(node: ast.AST, originals: Mapping[str, str], text: str) -> None:
    if isinstance(node, ast.Name):
        if not node.id.startswith("v"):
            raise FormulaError(
                f"'{originals.get(node.id, node.id)}' in '{text}' is no column: it stands where a value should."
            )
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise FormulaError(f"The text or flag {node.value!r} in '{text}' stands where a number or column should.")
        return
    if isinstance(node, ast.Call):
        name = function_name(node, originals, text)
        signature = FUNCTIONS[name]
        options = bind_options(node, name, signature.options, originals, text, data=1)
        base = options.get("base")
        if isinstance(base, float) and (base <= 0 or base == 1):
            raise FormulaError(f"The base of the logarithm in '{text}' is above 0 and not 1.")
        _check(node.args[0], originals, text)
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
        _check(node.left, originals, text)
        _check(node.right, originals, text)
        _check_size(node, text)
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, _OPERATORS):
        _check(node.operand, originals, text)
        return
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], _COMPARISONS):
        _check(node.left, originals, text)
        _check(node.comparators[0], originals, text)
        return
    what = _WORDS.get(type(node), type(node).__name__)
    raise FormulaError(f"'{text}' holds {what}, which a formula may not.", hint=functions_hint())


def function_name(node: ast.Call, originals: Mapping[str, str], text: str) -> str:
    """Return the name of the function called, which must be on the list."""
    if not isinstance(node.func, ast.Name) or not node.func.id.startswith("f"):
        raise FormulaError(f"'{text}' calls something that is not a function by name.", hint=functions_hint())
    name = originals[node.func.id]
    if name not in FUNCTIONS:
        close = get_close_matches(name, list(FUNCTIONS), n=1, cutoff=0.75)
        hint = f"Did you mean {close[0]}()?" if close else INSTEAD.get(name, functions_hint())
        raise FormulaError(f"A formula may not call {name}() (in '{text}').", hint=hint)
    return name


def bind_options(
    node: ast.Call, name: str, options: Mapping[str, str], originals: Mapping[str, str], text: str, *, data: int
) -> dict[str, Option]:
    """Return the options of a call as plain values, by name, whether they were given by position or by name.

    Parameters
    ----------
    node : ast.Call
    name : str
        The function's name.
    options : dict
        What it takes, as in `Signature.options`.
    originals : dict
        Placeholder -> what the user wrote.
    text : str
        The expression as written.
    data : int
        How many arguments before the options are data.
    """
    if len(node.args) < data:
        raise FormulaError(f"{name}() in '{text}' is given nothing to work on.")
    names = list(options)
    if len(node.args) - data > len(names):
        raise FormulaError(f"{name}() in '{text}' has too many arguments.", hint=_takes(name, options))
    given: dict[str, ast.expr] = dict(zip(names, node.args[data:], strict=False))
    for keyword in node.keywords:
        option = originals.get(keyword.arg or "", "")
        if option not in options:
            raise FormulaError(f"{name}() in '{text}' has no option '{option or '**'}'.", hint=_takes(name, options))
        if option in given:
            raise FormulaError(f"The option {option} of {name}() in '{text}' is given twice.")
        given[option] = keyword.value
    return {option: _value(value, options[option], name, originals, text) for option, value in given.items()}


def _takes(name: str, options: Mapping[str, str]) -> str:
    return (
        f"{name}() takes a column and {', '.join(options)}." if options else f"{name}() takes one column, no options."
    )


def _value(node: ast.expr, kind: str, name: str, originals: Mapping[str, str], text: str) -> Option:
    if kind == "contrast":
        return _contrast(node, originals, text)
    if kind == "numbers":
        listed = node.elts if isinstance(node, ast.Tuple) else [node]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and originals.get(node.func.id) == "c":
            listed = [] if node.keywords else node.args
        values = [_constant(item) for item in listed]
        if values and all(isinstance(value, float) for value in values):
            return tuple(value for value in values if isinstance(value, float))
    value = _constant(node)
    if kind == "number" and isinstance(value, float):
        return value
    if kind == "flag" and isinstance(value, bool):
        return value
    if kind == "text" and isinstance(value, str | float) and not isinstance(value, bool):
        return value if isinstance(value, str) else f"{value:g}"
    wanted = {
        "number": "a number",
        "numbers": "numbers, c(1, 2)",
        "flag": "TRUE or FALSE",
        "text": "a level in quotes",
    }[kind]
    raise FormulaError(f"{name}() in '{text}' takes {wanted} there.")


def _constant(node: ast.expr) -> float | bool | str | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _constant(node.operand)
        return -value if isinstance(value, float) else None
    if not isinstance(node, ast.Constant):
        return None
    if isinstance(node.value, bool | str):
        return node.value
    return float(node.value) if isinstance(node.value, int | float) else None


def _contrast(node: ast.expr, originals: Mapping[str, str], text: str) -> tuple[str, str | None]:
    called = node.func if isinstance(node, ast.Call) else node
    name = originals.get(called.id, "") if isinstance(called, ast.Name) else ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        name = node.value if node.value.startswith("contr.") else f"contr.{node.value}"
    if name not in CONTRASTS:
        raise FormulaError(f"'{text}' names no contrasts that are known.", hint=f"Known are {', '.join(CONTRASTS)}.")
    if not isinstance(node, ast.Call):
        return name, None
    options = bind_options(node, name, CONTRASTS[name], originals, text, data=0)
    base = options.get("base")
    return name, None if base is None else str(base)


def _check_size(node: ast.BinOp, text: str) -> None:
    """Refuse a power with a huge exponent and arithmetic of numbers that leaves the range of a float."""
    if isinstance(node.op, ast.Pow):
        exponent = constant_value(node.right)
        if exponent is not None and not abs(exponent) <= MAX_EXPONENT:
            raise FormulaError(f"The power in '{text}' is larger than {MAX_EXPONENT:g}.")
    value = constant_value(node)
    if value is not None and not abs(value) < 1e300:
        raise FormulaError(f"The numbers in '{text}' give no finite value.")


def constant_value(node: ast.expr) -> float | None:
    """Return the value of arithmetic on numbers alone (infinity where it has none); None where a column takes part."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp):
        value = constant_value(node.operand)
        return -value if value is not None and isinstance(node.op, ast.USub) else value
    if not isinstance(node, ast.BinOp):
        return None
    left, right = constant_value(node.left), constant_value(node.right)
    if left is None or right is None:
        return None
    try:
        result = _ARITHMETIC[type(node.op)](left, right)
    except (ArithmeticError, KeyError):
        return float("inf")
    return result if isinstance(result, float) else float("inf")


_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
