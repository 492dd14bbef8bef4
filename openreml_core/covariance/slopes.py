"""Derivatives of a tree, one matrix after the other: each node's own, carried up to the top.

    dV / d theta_k = sum over the ways up of  push_top( ... push_parent( d node / d theta_k ))

A node that stands in two places has two ways. Nothing is held but the nodes' matrices and one change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from openreml_core.covariance import walks
from openreml_core.covariance.structure import forward_derivatives

if TYPE_CHECKING:
    from openreml_core.covariance.matrix import Matrix

Tangents = Callable[["Matrix", Tensor, Sequence[Tensor]], Iterator[Tensor]]


def free_tangents(node: Matrix, free: Tensor, below: Sequence[Tensor]) -> Iterator[Tensor]:
    """d node / d own free values."""
    if node._mode == "manual":
        return node.own_derivatives(free, below)
    return forward_derivatives(lambda x: node.of_free(x, below), free)


def natural_tangents(node: Matrix, free: Tensor, below: Sequence[Tensor]) -> Iterator[Tensor]:
    """d node / d own natural values."""
    return node.own_natural_derivatives(free, below)


def carried(root: Matrix, theta: Tensor, tangents: Tangents) -> Iterator[Tensor]:
    """The derivative of the whole for every parameter that is not fixed."""
    values: dict[int, Tensor] = {}
    root._evaluate(theta, values)
    del values[id(root)]  # nobody stands on it
    parts = root._parted(theta)
    routes = walks.routes(root)
    for node in root.nodes().values():
        if not node._own:
            continue
        found = tangents(node, parts[id(node)], [values[id(o)] for o in node.operands.values()])
        for p in node._own:
            tangent = next(found)
            if not p.fixed:
                yield _up(routes[id(node)], tangent, values, parts)
            del tangent  # before the next one takes its memory


def changes(root: Matrix, node: Matrix, tangents: Sequence[Tensor]) -> Iterator[Tensor]:
    """What the whole changes by for each change of one node, at the defaults."""
    theta = root.theta()
    values: dict[int, Tensor] = {}
    root._evaluate(theta, values)
    routes, parts = walks.routes(root)[id(node)], root._parted(theta)
    for tangent in tangents:
        yield _up(routes, tangent, values, parts)


def _up(
    routes: list[list[tuple[Matrix, int]]], tangent: Tensor, values: dict[int, Tensor], parts: dict[int, Tensor]
) -> Tensor:
    """A node's change carried up to the top, along every route."""
    nothing = torch.zeros(0, dtype=torch.float64)
    total: Tensor | None = None
    for route in routes:
        change = tangent
        for parent, which in route:
            around = [values[id(o)] for o in parent.operands.values()]
            change = parent.push(parts.get(id(parent), nothing), around, which, change)
        total = change if total is None else total + change
    assert total is not None
    return total
