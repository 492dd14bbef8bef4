"""Pedigrees: additive relationships A, inbreeding F and the sparse A^-1.

    A = T D T',   A^-1 = (I - P)' D^-1 (I - P)

P holds 1/2 for each known parent, D the Mendelian sampling variances; the product on the right is Henderson's rules, an
individual at a time: 1/d_i to (i, i), -1/(2 d_i) to (i, s) and (i, d), 1/(4 d_i) among s and d.

With genetic groups P gets a column for each group, with 1/2 for every unknown parent that belongs to it, and the same
product is the A*^-1 of Westell, Quaas and Van Vleck (1988) J Dairy Sci 71, 1310-1318 and Quaas (1988) J Dairy Sci 71,
1338-1345.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from openreml_core.errors import DataError, did_you_mean
from openreml_core.relationship.inbreeding import ancestor_shares, inbreeding_coefficients, mendelian, parent_shares
from openreml_core.relationship.labels import a_few, as_label
from openreml_core.relationship.parentage import read_parentage


class LabelledInverse(NamedTuple):
    """A sparse symmetric matrix (q, q) and the q names of its rows."""

    matrix: sparse.csr_array
    labels: tuple[str, ...]


class Pedigree:
    """Individuals and their parents.

    Parameters
    ----------
    table : DataFrame
        A row per individual, in any order. An individual may be both sire and dam; empty cells, 0, NA, * and the like are
        unknown parents. Parents without a row are founders.
    id, sire, dam : str
        Columns. Where they are left as they are, usual names (animal, father, female, ...) are found as well.
    groups : str or sequence of str, optional
        Genetic groups of unknown parents: a column with the group of each row's unknown parents, or the names that stand
        for groups in the columns of the parents.
    group_variance : float
        Variance of a group's effect in units of the additive variance, where a random term uses the pedigree. Large
        values come near to groups as fixed effects.

    Attributes
    ----------
    labels : tuple of n str
        The individuals in the order of the table, then founders that have no row.
    groups : tuple of g str
    notices : tuple of str

    Examples
    --------
    A selfed founder and its offspring by another one.

    >>> table = pd.DataFrame({"id": ["C", "B", "A"], "sire": ["B", "A", None], "dam": ["D", "A", None]})
    >>> pedigree = Pedigree(table)
    >>> pedigree.matrix(["A", "B", "C"])
         A     B     C
    A  1.0  1.00  0.50
    B  1.0  1.50  0.75
    C  0.5  0.75  1.00
    >>> pedigree.notices
    ('1 parent has no row in the pedigree and counts as a founder: D.',)
    """

    def __init__(
        self,
        table: pd.DataFrame,
        id: str = "id",
        sire: str = "sire",
        dam: str = "dam",
        *,
        groups: str | Sequence[str] | None = None,
        group_variance: float = 1.0,
    ) -> None:
        if not (np.isfinite(group_variance) and group_variance > 0):
            raise DataError(f"The variance of genetic groups must be above zero, not {group_variance}.")
        self._parentage = read_parentage(table, id, sire, dam, groups)
        self.labels = self._parentage.labels
        self.groups = self._parentage.groups
        self.notices = self._parentage.notices
        self.group_variance = float(group_variance)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        founders = int((self._parentage.generation == 0).sum())
        return f"Pedigree({len(self):,} individuals, {founders:,} founders, {len(self.groups)} genetic groups)"

    @cached_property
    def _inbreeding(self) -> np.ndarray:
        return inbreeding_coefficients(self._parentage.sire, self._parentage.dam, self._parentage.generation)

    @cached_property
    def _shares(self) -> sparse.csr_array:
        return parent_shares(self._parentage.sire, self._parentage.dam, len(self))

    @cached_property
    def _group_shares(self) -> sparse.csr_array:
        return parent_shares(self._parentage.sire_group, self._parentage.dam_group, len(self.groups))

    def inbreeding(self) -> pd.Series:
        """Return F of every individual, the probability that its two alleles at a locus are identical by descent."""
        return pd.Series(self._inbreeding.copy(), index=list(self.labels), name="inbreeding")

    def mendelian(self) -> pd.Series:
        """Return d of every individual: the share of the additive variance that its parents do not explain."""
        d = mendelian(self._parentage.sire, self._parentage.dam, self._inbreeding)
        return pd.Series(d, index=list(self.labels), name="mendelian")

    def matrix(self, individuals: Sequence[object] | None = None) -> pd.DataFrame:
        """Return A of some individuals, or of all: dense, (k, k). Genetic groups do not enter.

        Raises
        ------
        DataError
            Individuals that are not in the pedigree, by name.
        """
        places = np.arange(len(self)) if individuals is None else self._places(individuals)
        rows = ancestor_shares(places, self._shares) @ sparse.diags_array(np.sqrt(self.mendelian().to_numpy()))
        half = rows.tocsc()
        half = half[:, np.flatnonzero(np.diff(half.indptr))]
        dense = half.nnz > 0.05 * half.shape[0] * max(half.shape[1], 1)
        half = half.toarray() if dense else half
        product = half @ half.T
        a = product if isinstance(product, np.ndarray) else product.toarray()
        np.fill_diagonal(a, 1.0 + self._inbreeding[places])
        names = [self.labels[k] for k in places]
        return pd.DataFrame((a + a.T) / 2, index=names, columns=names)

    def inverse(self) -> LabelledInverse:
        """Return A^-1 (n, n), sparse, with its names; with genetic groups A*^-1 (n + g, n + g), the groups last.

        A*^-1 has rank n: groups are fixed effects in it.

        Raises
        ------
        DataError
            Parents so inbred that an offspring does not differ from them (d = 0): A has no inverse.
        """
        d = self.mendelian().to_numpy()
        alike = [self.labels[k] for k in np.flatnonzero(d <= 0)]
        if alike:
            raise DataError(
                f"The parents of {a_few(alike)} are fully inbred: A is singular and has no inverse.",
                hint="Take parent and offspring for one individual.",
            )
        w = sparse.hstack([sparse.eye_array(len(self)) - self._shares, -self._group_shares]).tocsr()
        inverse = (w.T @ sparse.diags_array(1.0 / d) @ w).tocsr()
        return LabelledInverse((inverse + inverse.T) * 0.5, (*self.labels, *self.groups))

    def group_shares(self) -> pd.DataFrame:
        """Return Q, (n, g): the share of each individual's genes that comes from each genetic group."""
        step = total = self._group_shares
        while step.nnz:
            step = self._shares @ step
            total = total + step
        return pd.DataFrame(total.toarray(), index=list(self.labels), columns=list(self.groups))

    def ancestors_of(self, individuals: Sequence[object]) -> Pedigree:
        """Return the pedigree of some individuals and their ancestors, in the order of this one."""
        keep = np.zeros(len(self), dtype=bool)
        now = self._places(individuals)
        while len(now):
            keep[now] = True
            parents = np.unique(np.concatenate([self._parentage.sire[now], self._parentage.dam[now]]))
            now = parents[(parents >= 0) & ~keep[parents]]
        kept = np.flatnonzero(keep)
        columns: dict[str, list[str | None]] = {"id": [self.labels[k] for k in kept]}
        for name, parent, group in (
            ("sire", self._parentage.sire, self._parentage.sire_group),
            ("dam", self._parentage.dam, self._parentage.dam_group),
        ):
            columns[name] = [
                self.labels[p] if p >= 0 else self.groups[g] if g >= 0 else None
                for p, g in zip(parent[kept], group[kept], strict=True)
            ]
        used = [group for group in self.groups if group in columns["sire"] or group in columns["dam"]]
        table = pd.DataFrame(columns, dtype=object)
        return Pedigree(table, groups=used or None, group_variance=self.group_variance)

    def _places(self, individuals: Sequence[object]) -> np.ndarray:
        place = {label: k for k, label in enumerate(self.labels)}
        names = [as_label(individual) or "" for individual in individuals]
        absent = [name for name in dict.fromkeys(names) if name not in place]
        if absent:
            hint = did_you_mean(absent[0], self.labels) if len(self) <= 10_000 else ""
            hint = hint if hint.startswith("Did") else "Check the spelling, or add rows to the pedigree."
            raise DataError(f"The pedigree has no individual {a_few(absent)}.", hint=hint)
        return np.array([place[name] for name in names], dtype=np.int64)
