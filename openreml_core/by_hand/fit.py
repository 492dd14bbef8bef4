"""The estimates of a tree of matrices: every question that can be put to a fit without a formula."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.by_hand.starting import addends
from openreml_core.by_hand.tables import component_rows, dimension_rows
from openreml_core.covariance import Dummy, Matrix, Propagated
from openreml_core.diagnostics import RowView
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.fitted import MixedModelFit
from openreml_core.inference import (
    UNKNOWN,
    FittedMatrices,
    NaturalEstimates,
    blup_frame,
    correlation_matrix,
    labelled,
    natural_estimates,
)

#: Parameters that a sentence names before it only counts them.
NAMED = 6


def mark_sentence(mark: str, paths: Sequence[str]) -> str:
    """What it means that parameters have a mark."""
    rest = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    names, one = ", ".join(paths[:NAMED]) + rest, len(paths) == 1
    if mark == "at zero":
        said = (
            "is estimated as zero: in these data it explains"
            if one
            else "are estimated as zero: in these data they explain"
        )
        return f"{names} {said} nothing beyond the other parts of V."
    if mark == UNKNOWN:
        return f"{names} cannot be estimated: these data say nothing about {'it' if one else 'them'}."
    if mark == "no upper bound":
        return f"{names} {'has' if one else 'have'} no upper bound: the likelihood rises as far as the search goes."
    return f"{names} {'is' if one else 'are'} estimated on a boundary, {mark}: the likelihood rises towards it."


class CovarianceFit(MixedModelFit):
    """The estimates of y = X b + e, e ~ N(0, V(theta)), V a tree of matrices; what needs a formula is refused in words."""

    @property
    def tree(self) -> Matrix:
        """The tree, its parameters set to the estimates."""
        return self._estimated

    @cached_property
    def _estimated(self) -> Matrix:
        tree = copy.deepcopy(self._structure.root)
        for path, value in self.parameters.items():
            tree.set(path, value=value)
        return tree

    @property
    def _structure(self) -> Any:
        return self._model.components[0].structure

    @cached_property
    def _addends(self) -> dict[str, Matrix]:
        """The parts of V by their path."""
        return addends(self._structure.root)

    @property
    def random_terms(self) -> tuple[str, ...]:
        """Names of the parts Z G Z', whose effects are predicted."""
        return tuple(name for name, node in self._addends.items() if isinstance(node, Propagated))

    @property
    def n_parameters(self) -> int:
        """Fixed effects and free parameters of the tree."""
        return self._model.p + self._structure.n_parameters

    @cached_property
    def _matrices(self) -> dict[str, Tensor]:
        return self._structure.root.tree(self.estimates.at.theta)

    @property
    def sigma(self) -> float:
        """Standard deviation of the average row by the parts that are no Z G Z'."""
        rest = [self._matrices[name] for name in self._addends if name not in self.random_terms]
        return math.sqrt(sum(float(m.diagonal().mean()) for m in rest))

    @property
    def parameters(self) -> dict[str, float]:
        """Natural values of all parameters by path, held ones too."""
        return self._structure.root.natural(self.estimates.at.theta)

    @cached_property
    def _natural(self) -> NaturalEstimates:
        return natural_estimates(self.estimates)

    @cached_property
    def _singular_terms(self) -> tuple[str, ...]:
        marked = zip(self._natural.names, self._natural.bounds, strict=True)
        return tuple(dict.fromkeys(path.split("/")[0] for path, mark in marked if mark not in ("", UNKNOWN)))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before the numbers are used."""
        out = list(self.design.warnings)
        if not self.converged:
            out.insert(0, self.message)
        marked: dict[str, list[str]] = {}
        for path, mark in zip(self._natural.names, self._natural.bounds, strict=True):
            if mark:
                marked.setdefault(UNKNOWN if mark == "no variance" else mark, []).append(path)
        out += [mark_sentence(mark, paths) for mark, paths in marked.items()]
        return tuple(out)

    @cached_property
    def _view(self) -> RowView:
        """Its rows; R is what is no Z G Z'."""
        rest = [self._matrices[name] for name in self._addends if name not in self.random_terms]
        return RowView(self.estimates, sum(rest, torch.zeros_like(self._matrices[""])))

    def group_residuals(self, term: str | None = None, kind: str = "eb") -> pd.DataFrame:
        """A tree has no rows of a term."""
        raise ModelError(
            "A tree built by hand has no residuals of levels by rows.", hint="Ask for fit.random_effects(...)."
        )

    def variance_components(self) -> pd.DataFrame:
        """Parameters of the tree, a row each: group is the part of V, name1 the rest of the path."""
        return component_rows(self._structure.root, self.parameters, self._natural, self._matrices)

    def effective_dimensions(self) -> pd.DataFrame:
        """How many effects' worth of the data each part of V explains: term, effects, dimension; they add up to n."""
        at: Any = self.estimates.at
        return dimension_rows(self._structure.root, self._matrices, at.projection, self.rank)

    @property
    def matrices(self) -> FittedMatrices:
        """A tree has its nodes' matrices instead."""
        raise ModelError(
            "A tree built by hand has no table of structures.", hint='Ask for a node: fit.variance_matrix("gen/G").'
        )

    def variance_matrix(self, term: str = "", correlation: bool = False) -> pd.DataFrame:
        """A node's matrix at the estimates, by its path in the tree (``"gen"``, ``"gen/G"``); V itself for ``""``."""
        if term not in self._matrices:
            raise ModelError(
                f"*{term}* is no node of this tree.",
                hint=did_you_mean(term, list(self._matrices)).replace("columns", "nodes"),
            )
        name, _, step = term.rpartition("/")
        above = self._addends.get(name)
        z = above.operands["Z"] if isinstance(above, Propagated) and step == "G" else None
        names = list(z.levels) if isinstance(z, Dummy) else [str(i + 1) for i in range(len(self._matrices[term]))]
        matrix = labelled(self._matrices[term], names)
        return correlation_matrix(matrix) if correlation else matrix

    def random_effects(self, term: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """BLUPs u^ = G Z'P y of a part Z G Z', with Var[u | y] = G - G Z'V^-1 Z G at the estimated b."""
        name = self.random_terms[self._position(term)]
        at: Any = self.estimates.at
        z, g = (self._matrices[f"{name}/{step}" if name else step] for step in ("Z", "G"))
        zg = z @ g
        blup = zg.T @ at.project(self._model.centred[:, None])
        conditional = g - zg.T @ at.v_inverse @ zg
        prediction = g - zg.T @ at.project(zg)
        node = self._addends[name].operands["Z"]
        levels = node.levels if isinstance(node, Dummy) else [str(i + 1) for i in range(z.shape[1])]
        return blup_frame(
            np.array([str(v) for v in levels], dtype=object),
            np.full(len(levels), "(Intercept)", dtype=object),
            blup[:, 0].numpy(),
            conditional.diagonal().numpy(),
            prediction.diagonal().numpy(),
            g.diagonal().numpy(),
            level,
        )

    def fitted(self, random: bool = True) -> pd.Series:
        """X b, and Z u^ of every part Z G Z' with it when ``random``."""
        at: Any = self.estimates.at
        values = self._model.X @ at.beta
        if random:
            py = at.project(self._model.centred[:, None])[:, 0]
            for name in self.random_terms:
                values = values + self._matrices[name] @ py
        return pd.Series(values.numpy(), index=self.design.index, name="fitted")

    def save(self, path: Any) -> None:
        """A tree may hold functions, which no file of this kind keeps."""
        raise ModelError("A fit of a tree built by hand is not saved.", hint="Keep the script that builds it.")

    def to_code(self, language: str = "python") -> str:
        """There is no formula to write code from."""
        raise ModelError(
            "A tree built by hand has no formula to write code from.", hint="Keep the script that builds it."
        )
