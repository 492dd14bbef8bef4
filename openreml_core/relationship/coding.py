"""How marker scores are written, and the allele counts they stand for."""

from __future__ import annotations

import numpy as np

from openreml_core.errors import DataError

#: Lowest and highest score of each coding; they stand for 0 and 2 copies of an allele.
CODINGS: dict[str, tuple[float, float]] = {"-1/0/1": (-1.0, 1.0), "0/1/2": (0.0, 2.0), "0/1": (0.0, 1.0)}


def read_coding(scores: np.ndarray, labels: tuple[str, ...], markers: tuple[str, ...], coding: str) -> str:
    """Return the coding of the scores, found out where it is "auto".

    Parameters
    ----------
    scores : float64 array of shape (n, m)
    labels, markers : tuple of n and of m str
        For messages.
    coding : str

    Raises
    ------
    DataError
        Scores beyond the coding, or scores that two codings could have written.
    """
    low = float(np.nanmin(scores, initial=np.inf))
    high = float(np.nanmax(scores, initial=-np.inf))
    if low > high:
        raise DataError("All marker scores are missing.", hint="Check the table of markers.")
    if coding == "auto":
        if low >= 0.0 and high <= 1.0:
            raise DataError(
                "The marker scores lie from 0 to 1: they may be coded 0/1/2, -1/0/1 or, for inbred lines, 0/1.",
                hint='Say which, as in coding="0/1".',
            )
        coding = "-1/0/1" if low < 0.0 else "0/1/2"
    least, most = CODINGS[coding]
    wrong = np.argwhere((scores < least) | (scores > most))
    if len(wrong):
        row, column = wrong[0]
        others = "" if len(wrong) == 1 else f", one of {len(wrong):,} such scores"
        raise DataError(
            f"The marker *{markers[column]}* is {scores[row, column]:g} for {labels[row]}{others}: "
            f"beyond the coding {coding}.",
            hint="Scores are -1/0/1 or 0/1/2; mark missing ones as NA.",
        )
    return coding


def allele_counts(scores: np.ndarray, coding: str) -> np.ndarray:
    """Return 0 to 2 copies of the allele, (n, m), NaN where missing.

    >>> allele_counts(np.array([[-1.0, 0.0, 1.0]]), "-1/0/1"), allele_counts(np.array([[0.0, 1.0]]), "0/1")
    (array([[0., 1., 2.]]), array([[0., 2.]]))
    """
    least, most = CODINGS[coding]
    return (scores - least) * (2.0 / (most - least))
