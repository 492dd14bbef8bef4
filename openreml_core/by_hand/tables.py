"""Tables of a tree's estimates: its parameters with their errors, and what each part explains.

Parameters that an Adapter computes from others, d = g(p), have theirs by the delta method: Var(d) = J Var(p) J', J = dg / dp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.by_hand.starting import addends
from openreml_core.covariance import Adapter, Matrix, Propagated
from openreml_core.covariance.parameters import is_variance
from openreml_core.covariance.structure import jacobian
from openreml_core.inference import NaturalEstimates

TIED, HELD = "tied", "held"


def component_rows(
    tree: Matrix, values: Mapping[str, float], natural: NaturalEstimates, matrices: Mapping[str, Tensor]
) -> pd.DataFrame:
    """A row per parameter: group is the part of V that it belongs to, name1 the rest of its path.

    Parameters
    ----------
    tree : Matrix of shape (n, n)
    values : mapping of path to natural value
        All parameters, held ones too.
    natural : NaturalEstimates
        Of those that were estimated.
    matrices : mapping of path to Tensor
        Every node's at the estimates.
    """
    parts = addends(tree)
    errors = dict(zip(natural.names, np.sqrt(np.diag(natural.covariance)), strict=True))
    bounds = dict(zip(natural.names, natural.bounds, strict=True))
    kinds = {path: p.kind for path, p in tree.parameters.items()}
    held = {path for path, p in tree.parameters.items() if p.fixed}
    found = dict(values)
    if isinstance(tree, Adapter):
        for path, (value, error) in _computed(tree, values, natural).items():
            found[path], errors[path], bounds[path] = value, error, TIED if error else HELD
            kinds[path] = tree.adapted.parameters[path].kind
    shares = _shares(parts, kinds, matrices)
    rows = []
    for path, value in found.items():
        group, _, rest = path.partition("/")
        if group not in parts:
            group, rest = "", path
        variance = is_variance(kinds[path]) and value >= 0
        rows.append(
            {
                "group": group or "V",
                "structure": parts[group].title if group in parts else tree.title,
                "name1": rest,
                "name2": "",
                "kind": kinds[path],
                "estimate": value,
                "std_error": errors.get(path) or np.nan,
                "std_dev": math.sqrt(value) if variance else np.nan,
                "percent": shares.get(path, np.nan),
                "bound": HELD if path in held else bounds.get(path, ""),
            }
        )
    return pd.DataFrame(rows)


def _computed(tree: Adapter, values: Mapping[str, float], natural: NaturalEstimates) -> dict[str, tuple[float, float]]:
    """Value and standard error of every parameter of the adapted tree that is no parameter any more."""
    names = tree.new_names
    at = torch.tensor([values[name] for name in names], dtype=torch.float64)
    paths = [path for path in tree.mapped(at) if path not in values]

    def computed(new: Tensor) -> Tensor:
        mapped = tree.mapped(new)
        return torch.stack([mapped[path] for path in paths])

    if not paths:
        return {}
    slopes = jacobian(computed, at).numpy()
    place = {name: i for i, name in enumerate(natural.names)}
    own = np.zeros((len(names), len(names)))
    for a, first in enumerate(names):
        for b, second in enumerate(names):
            if first in place and second in place:
                own[a, b] = natural.covariance[place[first], place[second]]
    # What does not depend on a parameter does not depend on its error either, known or not.
    covariance = np.array([[_times(row, own, other) for other in slopes] for row in slopes])
    error = np.sqrt(np.diag(covariance))
    return {path: (float(v), float(e)) for path, v, e in zip(paths, computed(at), error, strict=True)}


def _times(row: np.ndarray, matrix: np.ndarray, other: np.ndarray) -> float:
    kept = np.flatnonzero((row != 0) | (other != 0))
    return float(row[kept] @ matrix[np.ix_(kept, kept)] @ other[kept])


def _shares(parts: Mapping[str, Matrix], kinds: Mapping[str, str], matrices: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of the average row's variance, of the parts that one variance alone scales."""
    total = float(matrices[""].diagonal().mean())
    out = {}
    for name in parts:
        own = [path for path in kinds if path.startswith(f"{name}/" if name else "")]
        scaling = [path for path in own if kinds[path] not in ("correlation", "range")]
        if len(scaling) == 1 and kinds[scaling[0]] == "variance":
            out[scaling[0]] = 100 * float(matrices[name].diagonal().mean()) / total
    return out


def dimension_rows(tree: Matrix, matrices: Mapping[str, Tensor], p: Tensor, rank: int) -> pd.DataFrame:
    """Effective dimension tr(V_t P) of every part of V, after that of the fixed effects; P (n, n)."""
    rows: list[dict[str, object]] = [{"term": "(fixed)", "effects": rank, "dimension": float(rank)}]
    for name, node in addends(tree).items():
        effects = node.operands["G"].shape[0] if isinstance(node, Propagated) else node.shape[0]
        rows.append({"term": name or "V", "effects": effects, "dimension": float((p * matrices[name]).sum())})
    return pd.DataFrame(rows)
