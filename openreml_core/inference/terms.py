"""Hypotheses about the terms of the fixed part: rows L for each, L b = 0, of types 1, 2 and 3.

X0 (n, m) codes every factor of every term by an indicator for each level; X (n, p), of full rank, has those of its columns that
treatment contrasts keep, and X0 = X E: the rows of E are estimable functions of the effects of all levels.

    type 1  rows of the unit upper triangular factor of X'X: a term adjusted for the terms before it
    type 2  the same with the terms in another order, those that contain the term behind it: adjusted for all others
    type 3  the term's rows of E, less their projection on the rows of the terms that contain it: without empty cells these are
            differences of means with equal weights, with them what SAS and lmerTest test

A term contains another if both have the same covariates and it has all its factors and more. Hypotheses are about the terms,
not about a coding: they are the same for every choice of contrasts. (Goodnight 1978, SAS Technical Report R-101; Searle 1987,
Linear Models for Unbalanced Data.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openreml_core.design import Design
from openreml_core.design.coding import columns_of
from openreml_core.design.evaluate import Coded
from openreml_core.design.rank import independent_columns
from openreml_core.design.table import Table
from openreml_core.errors import ModelError

TYPES = (1, 2, 3)
#: What is left of a row that is taken for nothing.
NOTHING = 1e-8


@dataclass(frozen=True, eq=False)
class Terms:
    """The fixed terms of a design, their columns in X0 and X.

    Attributes
    ----------
    labels : tuple of str
    whole : array of shape (n, m)
        X0.
    owner : array of shape (m,), int
        The term of each of its columns, -1 for the intercept.
    kept : array of shape (p,), int
        The columns of X0 that are X's.
    back : array of shape (p, p)
        X's coefficients from the fit's own: b = back b_fit.
    containing : tuple of tuple of int
        For each term those that contain it.
    """

    labels: tuple[str, ...]
    whole: np.ndarray
    owner: np.ndarray
    kept: np.ndarray
    back: np.ndarray
    containing: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, design: Design) -> Terms:
        """Read the terms off a design."""
        coding = design.coding
        values, n = coding.values(Table.of(design.frame)), len(design.frame)
        blocks = [np.ones((n, 1))] if coding.intercept else []
        owner, reduced = ([-1], [True]) if coding.intercept else ([], [])
        for place, (term, in_full) in enumerate(zip(coding.terms, coding.in_full, strict=True)):
            block, first = np.ones((n, 1)), np.zeros(1, dtype=bool)
            for factor in term:
                value = values[factor.text]
                right, _ = columns_of(factor, value, in_full=True)
                base = np.zeros(right.shape[1], dtype=bool)
                base[0] = isinstance(value, Coded) and factor.text not in in_full
                block = (right[:, :, None] * block[:, None, :]).reshape(n, -1)
                first = (base[:, None] | first[None, :]).reshape(-1)
            blocks.append(block)
            owner += [place] * block.shape[1]
            reduced += (~first).tolist()
        whole = np.hstack(blocks) if blocks else np.empty((n, 0))
        candidates = np.flatnonzero(reduced)
        kept = candidates[independent_columns(whole[:, candidates])]
        if len(kept) != design.X.shape[1]:
            raise ModelError(
                "The columns of the fixed part are so nearly combinations of each other that their terms cannot be told apart.",
                hint="Centre covariates, or leave out a term.",
            )
        numeric = [frozenset(f.text for f in t if not isinstance(values[f.text], Coded)) for t in coding.terms]
        factors = [frozenset(f.text for f in t if isinstance(values[f.text], Coded)) for t in coding.terms]
        everything = range(len(coding.terms))
        containing = tuple(
            tuple(u for u in everything if numeric[u] == numeric[t] and factors[u] > factors[t]) for t in everything
        )
        labels = tuple(term.label for term in design.fixed_terms[int(coding.intercept) :])
        back = _solved(whole[:, kept], design.X)
        return cls(labels, whole, np.array(owner, dtype=int), kept, back, containing)

    def rows(self, kind: int) -> dict[str, np.ndarray]:
        """L (q, p) of every term, by its label; none where all its columns are aliased.

        Parameters
        ----------
        kind : {1, 2, 3}
        """
        if kind not in TYPES or isinstance(kind, bool):
            raise ModelError(f"type={kind!r} is no type of hypotheses.", hint="Choose 1, 2 or 3.")
        if kind == 1 or len(self.labels) == 1:  # a term alone is adjusted for nothing else
            rows = self._sequential(np.arange(len(self.kept)))
            found = [rows[self._own(t)] for t in range(len(self.labels))]
        elif kind == 2:
            found = [self._adjusted(t) for t in range(len(self.labels))]
        else:
            found = self._estimable()
        return {label: rows @ self.back for label, rows in zip(self.labels, found, strict=True)}

    def _own(self, term: int) -> np.ndarray:
        """The places of a term's columns in X."""
        return np.flatnonzero(self.owner[self.kept] == term)

    def _sequential(self, order: np.ndarray) -> np.ndarray:
        """Rows of the unit triangular factor for X's columns in an order, back in X's own."""
        r = np.linalg.qr(self.whole[:, self.kept[order]], mode="r")
        out = np.zeros((len(order), len(order)))
        out[np.ix_(order, order)] = r / np.diag(r)[:, None]
        return out

    def _adjusted(self, term: int) -> np.ndarray:
        if not self.containing[term]:
            return np.eye(len(self.kept))[self._own(term)]
        above = np.concatenate([self._own(u) for u in self.containing[term]])
        last = np.concatenate([self._own(term), above])
        order = np.concatenate([np.setdiff1d(np.arange(len(self.kept)), last), last])
        return self._sequential(order)[self._own(term)]

    def _estimable(self) -> list[np.ndarray]:
        e = _solved(self.whole[:, self.kept], self.whole)
        e[np.abs(e) < 1e-10] = 0.0
        found = []
        for term, above in enumerate(self.containing):
            rows = e[self._own(term)]
            others = np.concatenate([self._own(u) for u in above]) if above else np.array([], dtype=int)
            if len(others) and len(rows):
                rows = rows - np.linalg.lstsq(e[others].T, rows.T, rcond=None)[0].T @ e[others]
            found.append(rows[np.linalg.norm(rows, axis=1) > NOTHING][:, self.kept])
        return found


def _solved(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """B with y = x B, for x (n, p) of full rank."""
    size = np.linalg.norm(x, axis=0)
    q, r = np.linalg.qr(x / size)
    return np.linalg.solve(r, q.T @ y) / size[:, None]
