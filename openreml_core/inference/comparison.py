"""Likelihood-ratio tests of variance parameters, and the table in which fits are compared.

    LRT = -2 (l_reduced - l_full) ~ chi2(df)   plain: df, the difference in numbers of parameters

A variance that is zero lies on the boundary of its space, so the plain p-value is too large. Where one variance and its
covariances with the k - 1 other effects of its term are left out, LRT has half of chi2(k - 1) and half of chi2(k) as its
large-sample distribution (Self and Liang 1987, JASA 82, 605-610; Stram and Lee 1994, Biometrics 50, 1171-1177). Where
several variances go at once the weights of the mixture depend on the design, and none is given here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from openreml_core.covariance import CholeskyStructure, Structure
from openreml_core.covariance.parameters import is_variance
from openreml_core.model import MixedModel

#: An LRT below this is rounding error of two equal criteria.
NOTHING = 1e-7


@dataclass(frozen=True)
class BoundaryTest:
    """The p-value that minds the boundary.

    Attributes
    ----------
    p_value : float
        NaN where no mixture is known.
    words : str
        Which distribution it is of, or why there is none.
    """

    p_value: float
    words: str


def plain_p(lrt: float, df: int) -> float:
    """P(chi2(df) >= LRT); NaN without degrees of freedom."""
    return float(stats.chi2.sf(lrt, df)) if df > 0 else np.nan


def mixture_p(lrt: float, df: int) -> float:
    """P of half chi2(df - 1), half chi2(df); chi2(0) is zero always.

    Examples
    --------
    >>> round(mixture_p(2.7055, 1), 4)
    0.05
    """
    below = (1.0 if lrt <= 0 else 0.0) if df == 1 else float(stats.chi2.sf(lrt, df - 1))
    return 0.5 * below + 0.5 * float(stats.chi2.sf(lrt, df))


def boundary_test(full: MixedModel, reduced: MixedModel, lrt: float, df: int) -> BoundaryTest:
    """The p-value of leaving out what ``reduced`` lacks of ``full``.

    Parameters
    ----------
    full, reduced : MixedModel
    lrt : float
    df : int
        Parameters that the reduced model lacks.
    """
    kept = {t.name: t for t in reduced.terms}
    changed = [t for t in full.terms if t.name not in kept or kept[t.name].structure.names != t.structure.names]
    lost = sum(_variances(t.structure) for t in full.terms) - sum(_variances(t.structure) for t in reduced.terms)
    if not all(isinstance(t.structure, CholeskyStructure) for t in changed):
        keyword = next(t.structure.keyword for t in changed if not isinstance(t.structure, CholeskyStructure))
        return BoundaryTest(
            np.nan,
            f"none known: without variance the other parameters of {keyword} mean nothing; the plain p is a guide",
        )
    if lost != 1 or df < 1:
        return BoundaryTest(np.nan, f"none known for {lost} variances at once; the plain p is too large")
    return BoundaryTest(mixture_p(lrt, df), f"half chi2({df - 1}), half chi2({df})")


def _variances(structure: Structure) -> int:
    return sum(is_variance(q.kind) for q in structure.natural)


def spans(x: np.ndarray, columns: np.ndarray) -> bool:
    """Whether every one of ``columns`` (n, c) is a combination of X's (n, p)."""
    if not columns.size:
        return True
    fitted = x @ np.linalg.lstsq(x, columns, rcond=None)[0] if x.size else np.zeros_like(columns)
    size = np.linalg.norm(columns, axis=0)
    return bool((np.linalg.norm(columns - fitted, axis=0) <= 1e-8 * np.where(size > 0, size, 1.0)).all())


def nested_words(small: Sequence[str], large: Sequence[str]) -> str:
    """What is assumed where one model's random part is taken to hold another's."""
    lacks = [name for name in small if name not in large]
    return f"the random part of the larger model lacks {', '.join(lacks)}" if lacks else ""
