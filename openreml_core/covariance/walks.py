"""Walks through a tree: its nodes by path, paths in short, ways up, and the tree as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """Every node's path without the steps that leave no choice: ``block/G/2`` is ``block`` if no other has parameters."""
    out: dict[str, str] = {}

    def walk(node: Matrix, full: str, short: str) -> None:
        if full in out:
            return
        out[full] = short
        carrying = [name for name, o in node.operands.items() if o._carries]
        for name, operand in node.operands.items():
            alone = carrying == [name] and node.unnamed(name) and not node._clashes(operand)
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
    """A line for each node: name, kind, size, and its first parameters."""
    lines: list[str] = []

    def walk(node: Matrix, name: str, depth: int) -> None:
        own = ", ".join(str(p) for p in node._own[:6]) + (", ..." if len(node._own) > 6 else "")
        label = f"{name}: " if name else ""
        size = f"{node.shape[0]} x {node.shape[1]}"
        lines.append("  " * depth + f"{label}{node.title} {size}" + (f"  [{own}]" if own else ""))
        for key, operand in node.operands.items():
            walk(operand, key, depth + 1)

    walk(root, "", 0)
    return "\n".join(lines)
