"""Walks through a tree: its nodes by path, paths in short, ways up, and the tree as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from openreml_core.errors import ModelError

if TYPE_CHECKING:
    from openreml_core.covariance.matrix import Matrix


def nodes(root: Matrix) -> dict[str, Matrix]:
    """Every node by path, ``""`` the root; a node that stands twice at its first place."""
    out: dict[str, Matrix] = {}
    seen: set[int] = set()

    def walk(node: Matrix, path: str) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        out[path] = node
        for name, operand in node.operands.items():
            walk(operand, f"{path}/{name}" if path else name)

    walk(root, "")
    return out


def short_paths(root: Matrix) -> dict[str, str]:
    """Every node's path without the silent steps: the only operand of a node, and the G of Z G Z'."""
    out: dict[str, str] = {}

    def walk(node: Matrix, full: str, short: str) -> None:
        if full in out:
            return
        out[full] = short
        carrying = [name for name, o in node.operands.items() if o._carries]
        for name, operand in node.operands.items():
            alone = carrying == [name] and node.silent(name) and not node._clashes(operand)
            further = short if alone else f"{short}/{name}" if short else name
            walk(operand, f"{full}/{name}" if full else name, further)

    walk(root, "", "")
    return out


def routes(root: Matrix) -> dict[int, list[list[tuple[Matrix, int]]]]:
    """Of every node, by identity, the ways up: (parent, place among its operands), nearest first."""
    out: dict[int, list[list[tuple[Matrix, int]]]] = {}

    def walk(node: Matrix, route: list[tuple[Matrix, int]]) -> None:
        out.setdefault(id(node), []).append(route)
        for i, operand in enumerate(node.operands.values()):
            walk(operand, [(node, i), *route])

    walk(root, [])
    return out


def printed(root: Matrix) -> str:
    """A line for each node: name, kind, size; and its first parameters by path, with their values."""
    lines: list[str] = []
    short = short_paths(root)
    seen: set[int] = set()

    def walk(node: Matrix, name: str, depth: int, path: str) -> None:
        label = f"{name}: " if name else ""
        head = "  " * depth + f"{label}{node.title} {node.shape[0]} x {node.shape[1]}"
        if id(node) in seen:
            lines.append(head + "  [as above]")
            return
        seen.add(id(node))
        here = short.get(path, "")
        own = [f"{here}/{p}" if here else str(p) for p in node._own[:6]] + ["..."] * (len(node._own) > 6)
        lines.append(head + (f"  [{', '.join(own)}]" if own else ""))
        for key, operand in node.operands.items():
            walk(operand, key, depth + 1, f"{path}/{key}" if path else key)

    walk(root, "", 0, "")
    return "\n".join(lines)


def not_numbers(root: Matrix, values: dict[int, Tensor]) -> ModelError:
    """What to say of a matrix that holds what is no number: the lowest node that it comes from."""
    at, node, bad = "", root, 0
    for path, below in nodes(root).items():
        held = values.get(id(below))
        count = 0 if held is None else int((~torch.isfinite(held.detach())).sum())
        if count:
            at, node, bad = path, below, count
    size = f"{node.shape[0]} x {node.shape[1]}"
    return ModelError(
        f"{bad} elements of {f'*{at}*, ' if at else ''}{node.title} {size}, are not numbers.",
        hint="Look at the values of its parameters, at its domain and bounds.",
    )
