"""Inbreeding by paths through the pedigree.

    A = T D T',   T = (I - P)^-1 = I + P + P^2 + ...

P has 1/2 for each parent of an individual (1 where both are the same), row k of T holds the shares of k's genes that come
from each ancestor and D the Mendelian sampling variances

    d_i = 1 - (1 + F_s) / 4 - (1 + F_d) / 4     (a term only where the parent is known)

Then F_i = a_sd / 2 = sum_k T_sk T_dk d_k / 2 needs nothing but ancestors of i, which are in earlier generations. Only rows
of T are ever held, a batch at a time, so that memory grows with n and not with its square.

Sources: Henderson (1976) Biometrics 32, 69-83; Quaas (1976) Biometrics 32, 949-953; Meuwissen and Luo (1992) Genetics
Selection Evolution 24, 305-313 (rows of T one at a time).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import sparse

#: Elements of T that a batch of pairs may take if every ancestor is met.
BATCH_ELEMENTS = 4_000_000


def parent_shares(sire: np.ndarray, dam: np.ndarray, size: int) -> sparse.csr_array:
    """Return P, (n, size): 1/2 in the columns of each row's sire and dam, nothing for a parent coded -1."""
    n = len(sire)
    rows = np.concatenate([np.flatnonzero(sire >= 0), np.flatnonzero(dam >= 0)])
    columns = np.concatenate([sire[sire >= 0], dam[dam >= 0]])
    shares = sparse.coo_array((np.full(len(rows), 0.5), (rows, columns)), shape=(n, size)).tocsr()
    shares.sum_duplicates()
    return shares


def ancestor_shares(individuals: np.ndarray, shares: sparse.csr_array) -> sparse.csr_array:
    """Return the rows of T of some individuals, (k, n), generation by generation backwards."""
    k, n = len(individuals), shares.shape[0]
    step = sparse.csr_array((np.ones(k), (np.arange(k), individuals)), shape=(k, n))
    total = step
    while step.nnz:
        step = step @ shares
        total = total + step
    return total


def mendelian(sire: np.ndarray, dam: np.ndarray, inbreeding: np.ndarray) -> np.ndarray:
    """Return d, (n,), the Mendelian sampling variance of individuals with these parents; inbreeding is of all."""
    d = np.ones(len(sire))
    for parent in (sire, dam):
        known = parent >= 0
        d[known] -= 0.25 * (1.0 + inbreeding[parent[known]])
    return np.maximum(d, 0.0)


def inbreeding_coefficients(sire: np.ndarray, dam: np.ndarray, generation: np.ndarray) -> np.ndarray:
    """Return F, (n,).

    Parameters
    ----------
    sire, dam : int64 array of shape (n,)
        Places of the parents, -1 where unknown.
    generation : int64 array of shape (n,)
        Later than that of either parent.
    """
    n = len(sire)
    shares = parent_shares(sire, dam, n)
    f, d = np.zeros(n), np.ones(n)
    order = np.argsort(generation, kind="stable")
    starts = np.searchsorted(generation[order], np.arange(int(generation.max(initial=0)) + 2))
    size = int(np.clip(BATCH_ELEMENTS // max(n, 1), 1, 1024))
    for begin, end in pairwise(starts.tolist()):
        here = order[begin:end]
        selfed = here[(sire[here] == dam[here]) & (sire[here] >= 0)]
        f[selfed] = 0.5 * (1.0 + f[sire[selfed]])
        crossed = here[(sire[here] >= 0) & (dam[here] >= 0) & (sire[here] != dam[here])]
        if len(crossed):
            pairs = np.sort(np.column_stack([sire[crossed], dam[crossed]]), axis=1)
            unique, which = np.unique(pairs, axis=0, return_inverse=True)
            related = [_related(unique[k : k + size], shares, d) for k in range(0, len(unique), size)]
            f[crossed] = 0.5 * np.concatenate(related)[which.reshape(-1)]
        d[here] = mendelian(sire[here], dam[here], f)
    return f


def _related(pairs: np.ndarray, shares: sparse.csr_array, d: np.ndarray) -> np.ndarray:
    """Return a_sd of pairs (k, 2) of individuals, (k,)."""
    individuals, place = np.unique(pairs, return_inverse=True)
    rows = ancestor_shares(individuals, shares)
    first, second = place.reshape(-1, 2).T
    return np.asarray(rows[first].multiply(rows[second]) @ d).reshape(-1)
