"""Adapter: a tree with other parameters in the place of some of its own; to tie, split, fix or map them.

    Adapter(V, {"s": 1.0}, lambda p: {"gen/sigma2": p["s"], "block/sigma2": 2 * p["s"]})

What the map does not name stays a parameter of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.parameters import Parameter, variance
from openreml_core.covariance.structure_leaf import as_matrix
from openreml_core.covariance.transforms import Identity
from openreml_core.errors import ModelError

Map = Callable[[dict[str, Tensor]], Mapping[str, Any]]


class Adapter(Matrix):
    """A tree reparametrised.

    Parameters
    ----------
    operand : Matrix
    parameters : mapping of str to float, or sequence of Parameter
        The new ones; by name alone a parameter that starts positive and stands for variances is free as a standard deviation.
    mapping : callable
        Takes the new natural values by name (tensors), returns natural values of the tree by path.
    """

    def __init__(self, operand: Any, parameters: Mapping[str, float] | Sequence[Parameter], mapping: Map) -> None:
        self.adapted = as_matrix(operand)
        self.mapping = mapping
        inner = self.adapted.parameters
        named = dict(parameters) if isinstance(parameters, Mapping) else {p.name: p.value for p in parameters}
        shown = self._mapped({k: torch.tensor(v, dtype=torch.float64) for k, v in named.items()})
        for path in shown:
            if path not in inner:
                raise self.adapted._unknown(path)
        kinds = {inner[path].kind for path in shown}
        if isinstance(parameters, Mapping):
            plain = variance if kinds == {"variance"} else None
            own = [
                plain(name, value) if plain else Parameter(name, value, Identity(), given=True)
                for name, value in named.items()
            ]
        else:
            own = list(parameters)
        self.kept = [path for path in inner if path not in shown]
        self._new = len(own)
        super().__init__(self.adapted.shape, [*own, *(_renamed(inner[path], path) for path in self.kept)])

    def _mapped(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        try:
            out = dict(self.mapping(values))
        except Exception as error:
            raise ModelError(
                f"The map of an Adapter failed: {error}", hint="It takes and returns dictionaries."
            ) from error
        return {path: torch.as_tensor(v, dtype=torch.float64) for path, v in out.items()}

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        named = {p.name: v for p, v in zip(self._own[: self._new], values, strict=False)}
        natural = self._mapped(named) | dict(zip(self.kept, values[self._new :], strict=True))
        return evaluate_natural(self.adapted, natural)

    def nodes(self) -> dict[str, Matrix]:
        """Itself: the adapted tree's parameters are not to be set any more."""
        return {"": self}

    def tree(self, theta: Any = None) -> dict[str, Tensor]:
        """Every node's matrix of the adapted tree, by path."""
        parts = self._parted(self.theta(theta))
        values = self.own_natural(parts[id(self)])
        named = {p.name: v for p, v in zip(self._own[: self._new], values, strict=False)}
        natural = self._mapped(named) | dict(zip(self.kept, values[self._new :], strict=True))
        held: dict[int, Tensor] = {}
        evaluate_natural(self.adapted, natural, held)
        return {path: held[id(node)] for path, node in self.adapted.nodes().items()}


def evaluate_natural(root: Matrix, natural: Mapping[str, Tensor], held: dict[int, Tensor] | None = None) -> Tensor:
    """The matrix of a tree from natural values of all its parameters, every node's own in ``held``."""
    short = root._short_paths()
    own = {}
    for path, node in root.nodes().items():
        names = [f"{short[path]}/{p.name}" if short[path] else p.name for p in node._own]
        own[id(node)] = torch.stack([natural[n] for n in names]) if names else torch.zeros(0, dtype=torch.float64)
    return _filled(root, own, {} if held is None else held)


def _filled(node: Matrix, own: dict[int, Tensor], held: dict[int, Tensor]) -> Tensor:
    if id(node) not in held:
        held[id(node)] = node.of(own[id(node)], [_filled(o, own, held) for o in node.operands.values()])
    return held[id(node)]


def _renamed(parameter: Parameter, path: str) -> Parameter:
    return replace(parameter, name=path)
