"""Adapter: a tree with other parameters in the place of some of its own; to tie, split, fix or map them.

    Adapter(V, {"s": 1.0}, lambda p: {"gen/sigma2": p["s"], "block/1/sigma2": 2 * p["s"]})
    Adapter.tie(V, {"block/1/sigma2": "gen/sigma2"})              equal
    Adapter.tie(V, {"block/1/sigma2": (0.5, "gen/sigma2")})       a fixed ratio
    Adapter.split(V, "total", ["gen/sigma2", "residual/sigma2"])  a total and the first one's share of it
    Adapter.fix(V, {"residual/sigma2": 0.1})                      no parameter any more

What the map does not name stays a parameter of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance.matrix import Matrix
from openreml_core.covariance.parameters import Parameter, number, resolve, variance
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

    Examples
    --------
    >>> from openreml_core.covariance import Scaled, Sum
    >>> tied = Adapter.tie(Sum(a=Scaled(2), b=Scaled(2)), {"b/sigma2": (3.0, "a/sigma2")})
    >>> list(tied.parameters), tied({"a/sigma2": 4.0})[0, 0]
    (['a/sigma2'], tensor(16., dtype=torch.float64))
    """

    def __init__(self, operand: Any, parameters: Mapping[str, float] | Sequence[Parameter], mapping: Map) -> None:
        self.adapted = as_matrix(operand)
        self.mapping = mapping
        inner = self.adapted.parameters
        if isinstance(parameters, Mapping):
            named = {name: number(name, value) for name, value in parameters.items()}
        else:
            named = {p.name: p.value for p in parameters}
        shown = self._mapped({k: torch.tensor(v, dtype=torch.float64) for k, v in named.items()})
        if isinstance(parameters, Mapping):
            deviations = {inner[path].kind for path in shown} == {"variance"}
            own = [
                variance(name, value) if deviations else Parameter(name, value, Identity(), given=True)
                for name, value in named.items()
            ]
        else:
            own = list(parameters)
        self._new = len(own)
        #: Every node that keeps parameters, and which of them; nodes that keep all keep their own scale too.
        self._kept: list[tuple[Matrix, list[int]]] = []
        for path, node, i in self.adapted._listed():
            if path not in shown:
                if not self._kept or self._kept[-1][0] is not node:
                    self._kept.append((node, []))
                self._kept[-1][1].append(i)
                own.append(replace(node._own[i], name=path))
        super().__init__(self.adapted.shape, own)

    def _mapped(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        try:
            out = dict(self.mapping(values))
        except Exception as error:
            raise ModelError(
                f"The map of an Adapter failed: {error}", hint="It takes and returns dictionaries."
            ) from error
        known, found = list(self.adapted.parameters), {}
        for path, value in out.items():
            whole = resolve(path, known)
            if whole is None:
                raise self.adapted._unknown(path)
            found[whole] = torch.as_tensor(value, dtype=torch.float64)
        return found

    @property
    def new_names(self) -> tuple[str, ...]:
        """Names of the parameters that the map takes."""
        return tuple(p.name for p in self._own[: self._new])

    def mapped(self, values: Tensor) -> dict[str, Tensor]:
        """Natural values of the tree that the map computes, by path, from the new ones (in the order of ``new_names``)."""
        return self._mapped(dict(zip(self.new_names, values, strict=True)))

    # -- the ways to adapt ----------------------------------------------------------------------------------------

    @classmethod
    def tie(cls, operand: Any, ties: Mapping[str, str | tuple[float, str]]) -> Adapter:
        """Let parameters equal others, or a fixed multiple of them: path -> path, or path -> (ratio, path).

        Raises
        ------
        ModelError
            An unknown path, a parameter tied to itself or to one that is tied, or two of different kinds.
        """
        tree = as_matrix(operand)
        known = tree.parameters
        plan: dict[str, tuple[float, str]] = {}
        for path, source in ties.items():
            ratio, name = (1.0, source) if isinstance(source, str) else source
            tied, to = _found(tree, path), _found(tree, name)
            if to == tied or to in [_found(tree, p) for p in ties]:
                raise ModelError(f"*{path}* is tied to *{name}*, which is tied itself.", hint="Tie both to a third.")
            a, b = known[tied], known[to]
            if a.kind != b.kind:
                raise ModelError(
                    f"*{path}* is a {a.kind}, *{name}* a {b.kind}: they cannot be tied.", hint="Tie like to like."
                )
            if a.is_variance and not number(path, ratio) > 0:
                raise ModelError(f"The ratio of *{path}* to *{name}* is {ratio:g}.", hint="Give one above zero.")
            plan[tied] = (number(path, ratio), to)
        sources = [replace(known[to], name=to) for to in dict.fromkeys(to for _, to in plan.values())]
        return cls(tree, sources, lambda p: dict(p) | {path: ratio * p[to] for path, (ratio, to) in plan.items()})

    @classmethod
    def fix(cls, operand: Any, values: Mapping[str, float]) -> Adapter:
        """Hold parameters at natural values; they are parameters no more."""
        tree = as_matrix(operand)
        held = {_found(tree, path): number(path, value) for path, value in values.items()}
        for path, value in held.items():
            tree.parameters[path].changed(path, value)
        return cls(tree, [], lambda _: held)

    @classmethod
    def split(cls, operand: Any, name: str, paths: Sequence[str]) -> Adapter:
        """Variances as a total, and shares of what is left: ``total``, ``total.share0``, ``total.share1``, ...

        Their values stay; of n variances n - 1 have a share, the last one takes the rest.
        """
        tree = as_matrix(operand)
        known = tree.parameters
        found = [_found(tree, path) for path in paths]
        if len(set(found)) < max(len(found), 2) or not all(known[path].is_variance for path in found):
            raise ModelError(f"*{name}* cannot be split.", hint="Name two or more variances, each once.")
        left = sum(known[path].value for path in found)
        own = [replace(variance(name, left), given=any(known[path].given for path in found))]
        for i, path in enumerate(found[:-1]):
            share = known[path].value / left if left > 0 else 0.5
            own.append(Parameter(f"{name}.share{i}", share, Identity(), "share", 0.0, 1.0, given=True))
            left -= known[path].value

        def parts(p: dict[str, Tensor]) -> dict[str, Tensor]:
            rest, out = p[name], {}
            for i, path in enumerate(found[:-1]):
                out[path] = rest * p[f"{name}.share{i}"]
                rest = rest - out[path]
            return {**out, found[-1]: rest}

        return cls(tree, own, parts)

    # -- the matrix ------------------------------------------------------------------------------------------------

    def _groups(self) -> list[tuple[Matrix, list[int], slice, bool]]:
        """Every node that keeps parameters, which of them, their places here, and whether it keeps all."""
        out, position = [], self._new
        for node, kept in self._kept:
            out.append((node, kept, slice(position, position + len(kept)), len(kept) == len(node._own)))
            position += len(kept)
        return out

    def own_natural(self, free: Tensor) -> Tensor:
        parts = [_stacked([p.transform.forward(x) for p, x in zip(self._own[: self._new], free, strict=False)])]
        for node, _, here, whole in self._groups():
            each = zip(self._own[here], free[here], strict=True)
            plain = not whole or self._differs(node, here)
            parts.append(_stacked([p.transform.forward(x) for p, x in each]) if plain else node.own_natural(free[here]))
        return torch.cat(parts)

    def own_free(self, natural: Tensor) -> Tensor:
        parts = [_stacked([p.transform.inverse(x) for p, x in zip(self._own[: self._new], natural, strict=False)])]
        for node, _, here, whole in self._groups():
            each = zip(self._own[here], natural[here], strict=True)
            plain = not whole or self._differs(node, here)
            parts.append(_stacked([p.transform.inverse(x) for p, x in each]) if plain else node.own_free(natural[here]))
        return torch.cat(parts)

    def _differs(self, node: Matrix, here: slice) -> bool:
        """Whether a kept parameter was given another transform here than its node has."""
        return any(p.transform is not q.transform for p, q in zip(self._own[here], node._own, strict=True))

    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self._filled_below(self._own_below(values), {}, {})

    def of_free(self, free: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return self._filled_below(self._own_below(self.own_natural(free)), self._free_below(free), {})

    def _own_below(self, values: Tensor) -> dict[int, Tensor]:
        """Natural values of every node of the adapted tree, by identity."""
        natural = self._mapped({p.name: v for p, v in zip(self._own[: self._new], values, strict=False)})
        natural |= {p.name: v for p, v in zip(self._own[self._new :], values[self._new :], strict=True)}
        own: dict[int, list[Tensor]] = {}
        for path, node, _ in self.adapted._listed():
            own.setdefault(id(node), []).append(natural[path])
        return {key: torch.stack(parts) for key, parts in own.items()}

    def _free_below(self, free: Tensor) -> dict[int, Tensor]:
        """Free values of the nodes that keep all their parameters."""
        groups = self._groups()
        return {id(node): free[here] for node, _, here, whole in groups if whole and not self._differs(node, here)}

    def _filled_below(
        self, natural: dict[int, Tensor], free: dict[int, Tensor], held: dict[int, Tensor], node: Matrix | None = None
    ) -> Tensor:
        """A node's matrix of the adapted tree (the top's by default), every node's own in ``held``."""
        node = node or self.adapted
        key = id(node)
        if key not in held:
            below = [self._filled_below(natural, free, held, o) for o in node.operands.values()]
            if key in free:
                held[key] = node.of_free(free[key], below)
            else:
                held[key] = node.of(natural.get(key, torch.zeros(0, dtype=torch.float64)), below)
        return held[key]

    def nodes(self) -> dict[str, Matrix]:
        """Itself: the adapted tree's parameters are not to be set any more."""
        return {"": self}

    def tree(self, theta: Any = None) -> dict[str, Tensor]:
        """Every node's matrix of the adapted tree, by path."""
        held: dict[int, Tensor] = {}
        free = self._parted(self.theta(theta))[id(self)]
        self._filled_below(self._own_below(self.own_natural(free)), self._free_below(free), held)
        return {path: held[id(node)] for path, node in self.adapted.nodes().items()}


def _found(tree: Matrix, path: str) -> str:
    whole = resolve(path, list(tree.parameters))
    if whole is None:
        raise tree._unknown(path)
    return whole


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)) if parts else torch.zeros(0, dtype=torch.float64)
