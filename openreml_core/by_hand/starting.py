"""Where the parameters of a tree start that nobody gave a value.

Every addend of V starts with the same share of the variance that X leaves: what scales it is multiplied so that the mean of
its diagonal is that share. A matrix of which degree d variances are multiplied by f is multiplied by f^d.

Within a structure of several effects, each starts with the variance with which it adds as much to that mean as the others
do: a slope on a covariate near 1000 starts smaller than an intercept.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch

from openreml_core.covariance import Adapter, Matrix, Parameter, Sum
from openreml_core.covariance.slopes import changes
from openreml_core.covariance.structure_leaf import StructureLeaf

#: A factor to see the degree by.
TRIAL = 4.0
ROUNDS = 3
#: Effects of a structure beyond which they start alike.
MANY_EFFECTS = 30


def addends(tree: Matrix) -> dict[str, Matrix]:
    """The parts of V by path: the operands of a Sum on top (below an Adapter, if there is one), or the whole, ``""``."""
    while isinstance(tree, Adapter):
        tree = tree.adapted
    return dict(tree.operands) if isinstance(tree, Sum) else {"": tree}


def start_values(tree: Matrix, variance: float) -> dict[str, float]:
    """Natural values of all parameters by path.

    Parameters
    ----------
    tree : Matrix of shape (n, n)
    variance : float
        What X leaves.
    """
    parameters = tree.parameters
    values = {path: p.value for path, p in parameters.items()}
    values |= _effects_alike(tree)
    tree = _unbounded(tree)
    parts = list(addends(tree))
    open_ones = {
        part: {path: p for path, p in parameters.items() if _below(path, part, parts) and _open(p)} for part in parts
    }
    for _ in range(ROUNDS):
        here = _sizes(tree, values, parts)
        trial = values | {
            path: v * TRIAL**p.degree for part in parts for path, p in open_ones[part].items() if (v := values[path])
        }
        there = _sizes(tree, trial, parts)
        for part in parts:
            if not (open_ones[part] and 0 < here[part] < math.inf and 0 < there[part] < math.inf):
                continue
            degree = math.log(there[part] / here[part]) / math.log(TRIAL)
            if degree > 0.1:
                factor = (variance / len(parts) / here[part]) ** (1 / degree)
                for path, p in open_ones[part].items():
                    values[path] = min(max(values[path] * factor**p.degree, p.lower), p.upper)
    return values


def _unbounded(tree: Matrix) -> Matrix:
    """The tree without bounds, to be looked at beyond them."""
    tree = copy.deepcopy(tree)
    for node in tree.nodes().values():
        node._own = [replace(p, lower=-math.inf, upper=math.inf) for p in node._own]
    return tree


def _effects_alike(tree: Matrix) -> dict[str, float]:
    """Natural values of the structures in which nothing is given, their effects' deviations 1 / sqrt(w).

    w is what a variance of 1 of one effect adds to the mean of V's diagonal.
    """
    out: dict[str, float] = {}
    paths: dict[int, list[str]] = {}
    for path, node, _ in tree._listed():
        paths.setdefault(id(node), []).append(path)
    for node in tree.nodes().values():
        if not isinstance(node, StructureLeaf) or any(p.given or p.fixed for p in node._own):
            continue
        k = node.shape[0]
        if not 1 < k <= MANY_EFFECTS:
            continue
        ones = [torch.diag(row) for row in torch.eye(k, dtype=torch.float64)]
        weights = torch.stack([v.diagonal().mean() for v in changes(tree, node, ones)])
        if bool((weights > 0).all()):
            scale = (weights.log().mean() / 2).exp() / weights.sqrt()  # their geometric mean is 1
            natural = node.structure.natural_values(node.structure.start(scale))
            out |= dict(zip(paths[id(node)], natural.tolist(), strict=True))
    return out


def _open(p: Parameter) -> bool:
    return not p.given and not p.fixed and p.degree > 0


def _below(path: str, part: str, parts: list[str]) -> bool:
    """Whether a parameter is the part's; one of an Adapter's own goes with the first part."""
    own = [name for name in parts if name == "" or path.startswith(f"{name}/")]
    return part in own or (not own and part == parts[0])


def _sizes(tree: Matrix, values: dict[str, float], parts: list[str]) -> dict[str, float]:
    """Mean of each part's diagonal."""
    matrices = tree.tree(values)
    return {part: float(matrices[part].diagonal().mean()) for part in parts}
