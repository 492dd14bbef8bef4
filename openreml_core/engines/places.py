"""Where values stand: at the inner places, in the border, by term and level, or in the order of W's columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from openreml_core.engines.border import Border
from openreml_core.engines.elimination import Elimination
from openreml_core.engines.levels import Levels
from openreml_core.model import MixedModel


class Places:
    """The orders in which values are kept, and the ways between them.

    Attributes
    ----------
    of_term : list of Tensor of shape (q, k), int64
        Of every term the places of its effects, among the inner ones or in the border.
    """

    def __init__(self, model: MixedModel, elimination: Elimination, levels: Levels, border: Border) -> None:
        self.inner_terms, self.inner_size, self.border_size = elimination.inner_terms, levels.size, border.width
        self.is_inner = torch.from_numpy(elimination.is_inner)
        self.place = torch.from_numpy(np.where(elimination.is_inner, levels.of_column, elimination.border_place))
        self.of_term: list[Tensor] = []
        for u, term in enumerate(model.terms):
            if u in levels.places:
                self.of_term.append(levels.places[u])
            else:
                where = border.terms[u]
                self.of_term.append(torch.arange(where.start, where.stop).reshape(-1, term.structure.size))

    def by_level(self, inner: Tensor, border: Tensor) -> list[Tensor]:
        """Values over the places as (q, k) or (q, k, c) for every term."""
        return [(inner if u in self.inner_terms else border)[place] for u, place in enumerate(self.of_term)]

    def whole(self, inner: Tensor, border: Tensor) -> Tensor:
        """Values over the places as values over W's columns."""
        out = torch.empty(len(self.place), *inner.shape[1:], dtype=torch.float64)
        out[self.is_inner] = inner[self.place[self.is_inner]]
        out[~self.is_inner] = border[self.place[~self.is_inner]]
        return out

    def parted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The reverse: x (Q, c) at the inner places and in the border."""
        inner = torch.zeros(self.inner_size, x.shape[1], dtype=torch.float64)
        border = torch.zeros(self.border_size, x.shape[1], dtype=torch.float64)
        inner[self.place[self.is_inner]] = x[self.is_inner]
        border[self.place[~self.is_inner]] = x[~self.is_inner]
        return inner, border
