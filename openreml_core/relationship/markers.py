"""Markers: genomic relationships G from counts of alleles.

X (n, m) counts an allele of every marker, 0, 1 or 2; p is its frequency, half the column's mean.

    "vanraden"   G = Z Z' / (2 sum_j p_j (1 - p_j)),   Z = X - 2 p      VanRaden (2008) J Dairy Sci 91, 4414-4423, method 1
    "mm/m"       G = M M' / m,                         M = X - 1        (M in -1, 0, 1)

G of "vanraden" is relative to the individuals that were scored: its rows and columns add up to zero.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from openreml_core.errors import DataError
from openreml_core.relationship.coding import CODINGS, allele_counts, read_coding
from openreml_core.relationship.labels import a_few, counted
from openreml_core.relationship.marker_table import read_scores

KINDS = ("vanraden", "mm/m")


class Markers:
    """Marker scores of individuals.

    Parameters
    ----------
    table : DataFrame
        A row per individual, a column per marker; the individuals' names are the index or the first column. Values between
        the codes (allele dosages) are taken as they are.
    coding : {"auto", "-1/0/1", "0/1/2", "0/1"}
        How scores are written; "0/1" is for inbred lines, absent or present. By default found out from the scores.
    maf : float
        Markers whose rarer allele is less frequent than this are left out.
    kind : {"vanraden", "mm/m"}
        The matrix that a random term takes, and `matrix()` by default.

    Attributes
    ----------
    labels : tuple of n str
    markers : tuple of m str
        The markers that are used.
    coding : str
        As given or found.
    counts : float64 array of shape (n, m)
        X, missing scores replaced by the mean of the marker.
    notices : tuple of str
        What was left out or replaced, counted.

    Examples
    --------
    >>> table = pd.DataFrame({"gen": ["A", "B", "C"], "m1": [-1, 1, 0], "m2": [1, 1, -1], "m3": [1, 1, 1]})
    >>> markers = Markers(table)
    >>> markers.coding, markers.notices
    ('-1/0/1', ('1 of 3 markers is the same in all individuals and left out.',))
    >>> markers.matrix("mm/m")
         A    B    C
    A  1.0  0.0 -0.5
    B  0.0  1.0 -0.5
    C -0.5 -0.5  0.5
    """

    def __init__(self, table: pd.DataFrame, coding: str = "auto", *, maf: float = 0.0, kind: str = "vanraden") -> None:
        if coding not in ("auto", *CODINGS):
            raise DataError(f'Unknown coding "{coding}".', hint=f"Codings are auto, {', '.join(CODINGS)}.")
        if not 0.0 <= maf < 0.5:
            raise DataError(f"The smallest frequency of an allele must lie from 0 to 0.5, not at {maf}.")
        self.kind = _known_kind(kind)
        self.labels, names, scores = read_scores(table)
        self.coding = read_coding(scores, self.labels, names, coding)
        counts = allele_counts(scores, self.coding)
        self.markers, self.counts, self.notices = _select(counts, self.labels, names, maf)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Markers({len(self):,} individuals, {len(self.markers):,} markers, coding {self.coding})"

    def matrix(self, kind: str | None = None) -> pd.DataFrame:
        """Return G, (n, n), labelled.

        Parameters
        ----------
        kind : {"vanraden", "mm/m"}, optional
            By default as the markers were made.
        """
        kind = self.kind if kind is None else _known_kind(kind)
        if kind == "vanraden":
            p = self.counts.mean(axis=0) / 2.0
            z = self.counts - 2.0 * p
            g = z @ z.T / (2.0 * (p * (1.0 - p)).sum())
        else:
            m = self.counts - 1.0
            g = m @ m.T / m.shape[1]
        return pd.DataFrame((g + g.T) / 2, index=list(self.labels), columns=list(self.labels))


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise DataError(f'Unknown kind of marker matrix "{kind}".', hint=f"Kinds are {' and '.join(KINDS)}.")
    return kind


def _select(
    counts: np.ndarray, labels: tuple[str, ...], names: tuple[str, ...], maf: float
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """Return the markers that are kept, their counts without gaps, and what was done, in words."""
    total = len(names)
    missing = np.isnan(counts)
    silent = [label for label, none in zip(labels, missing.all(axis=1), strict=True) if none]
    if silent:
        raise DataError(f"All marker scores of {a_few(silent)} are missing.", hint="Remove those individuals.")
    scored = (~missing).sum(axis=0)
    mean = np.where(missing, 0.0, counts).sum(axis=0) / np.maximum(scored, 1)
    low = np.where(missing, np.inf, counts).min(axis=0)
    high = np.where(missing, -np.inf, counts).max(axis=0)
    empty = scored == 0
    same = ~empty & ~(high > low)
    rare = ~empty & ~same & (np.minimum(mean, 2.0 - mean) / 2.0 < maf)
    notices = [
        f"{found.sum():,} of {counted(total, 'marker')} {'is' if found.sum() == 1 else 'are'} {words}."
        for found, words in (
            (empty, "not scored in any individual and left out"),
            (same, "the same in all individuals and left out"),
            (rare, f"left out for an allele rarer than {maf:g}"),
        )
        if found.any()
    ]
    keep = ~(empty | same | rare)
    if not keep.any():
        raise DataError(
            f"None of the {counted(total, 'marker')} differs enough between individuals.",
            hint="Lower maf=, or check how the scores are coded.",
        )
    kept, gaps = counts[:, keep], missing[:, keep]
    if gaps.any():
        notices.append(
            f"{counted(int(gaps.sum()), 'missing score')} ({gaps.mean():.2%}) replaced by the mean of the marker."
        )
        kept = np.where(gaps, mean[keep], kept)
    return tuple(name for name, used in zip(names, keep, strict=True) if used), kept, tuple(notices)
