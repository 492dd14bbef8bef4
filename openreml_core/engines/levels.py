"""The inner effects, eliminated level by level: what both ways of keeping their blocks answer.

Symbols as in henderson.py; c stands for the inner places, b for the border's columns, y the last of them.

    absorbed(...)       sum_j Y_j'Y_j, and log|D|
    solution(...)       u^_c = -Lambda F^-T Y [u^_b, b^, -1],   w_c = -(N_cc u^_c + N_cb [u^_b, b^, -1])
    carry(G)            F^-1 Lambda'G_c by level: its square, and Y' times it for the border
    reduce(G)           Lambda F^-T F^-1 Lambda'G_c, and Y' times F^-1 Lambda'G_c: M G is the first, less what back() says
    times(X)            N X
    traces(T)           sum over levels of Z'P Z by term
    level_blocks(T)     Lambda M Lambda' of every level
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

Factors = tuple[Tensor, ...]


class Levels(Protocol):
    """How the inner effects' equations are kept and eliminated.

    Attributes
    ----------
    places : dict of int to Tensor of shape (q, k), int64
        Where the effects of each inner term stand.
    size : int
        Number of places.
    entries : int
        Number of entries of N that are kept: within the levels, and between them and the border.
    of_column : array of shape (Q,), int64
        The place of each inner column of W.
    """

    places: dict[int, Tensor]
    size: int
    entries: int
    of_column: np.ndarray

    def targets(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Where among the entries the entries of N with an inner row go."""

    def prepare(self, entries: Tensor) -> Prepared:
        """N's entries (entries, ...), ready for any theta."""


class Prepared(Protocol):
    """The inner equations with N in them."""

    def at(self, factors: Factors) -> Solved:
        """The levels at one theta."""


class Solved(Protocol):
    """The inner effects at one theta, eliminated. ``t`` is T with two rows and columns of zeros, for y and for nothing."""

    log_det: float
    absorbed: Tensor

    def solution(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """u^ and w (size,), given the border's u^ and b^, -1 for y and a zero."""

    def times(self, inner: Tensor, border: Tensor) -> tuple[Tensor, Tensor]:
        """N_cc x_c + N_cb x_b, (size, c), and N_bc x_c, (B, c), for x_c (size, c) and x_b (B, c)."""

    def carry(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        """v'v (c, c) and Y'v (B, c) for v = F^-1 Lambda'G, G (size, c)."""

    def reduce(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        """Lambda F^-T v (size, c) and Y'v (B, c) for v = F^-1 Lambda'G, G (size, c)."""

    def back(self, border: Tensor) -> Tensor:
        """-Lambda F^-T Y x, (size, c), for x (B, c)."""

    def traces(self, t: Tensor) -> dict[int, Tensor]:
        """Sum over the levels of Z'P Z, (k, k), of every inner term."""

    def on_pattern(self, t: Tensor) -> Tensor:
        """Lambda M Lambda' where N has entries, (entries,)."""

    def level_blocks(self, t: Tensor) -> dict[int, Tensor]:
        """Lambda M Lambda' of every level of every inner term, (q, k, k)."""
