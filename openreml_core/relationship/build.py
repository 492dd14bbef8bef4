"""From a pedigree, markers, a labelled matrix or its inverse to K over the levels of a random term."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from openreml_core.errors import DataError
from openreml_core.relationship.given import read_given
from openreml_core.relationship.inverse import WRITTEN, read_inverse
from openreml_core.relationship.labels import counted
from openreml_core.relationship.markers import Markers
from openreml_core.relationship.matrix import Relationship
from openreml_core.relationship.pedigree import LabelledInverse, Pedigree
from openreml_core.relationship.positive import FLOOR, make_positive

#: Rows that a matrix which has to be written out can have.
MOST = 10_000
#: A pedigree with more individuals is cut down to the levels and their ancestors.
KEPT = 200_000


def relationship_matrix(
    value: pd.DataFrame | Pedigree | Markers | LabelledInverse,
    levels: Sequence[str] = (),
    *,
    absent: str = "error",
    repair: str = "bend",
    weight: float = 0.05,
) -> Relationship:
    """Return K for the levels of a random term: those of the data first, then related ones without data.

    Parameters
    ----------
    value : DataFrame, Pedigree, Markers or LabelledInverse
        A square table with names on both sides, or what K is computed from.
    levels : sequence of str
        The levels that occur in the data, in their order.
    absent : {"error", "unrelated"}
        Levels without a row are refused, or taken as related to none.
    repair : {"bend", "blend", "none"}
        What becomes of a matrix that is not positive definite: small eigenvalues raised to 1e-6 of the diagonal's mean,
        (1 - w) K + w I, or nothing (a singular matrix passes, an indefinite one is refused).
    weight : float
        w of blending.

    Returns
    -------
    Relationship

    Raises
    ------
    DataError
        Anything about the names or the numbers that needs the user's hand.

    Examples
    --------
    >>> K = pd.DataFrame([[1.0, 0.5], [0.5, 1.0]], index=["A", "B"], columns=["A", "B"])
    >>> relationship_matrix(K, ["B"]).labels
    ('B', 'A')
    """
    if absent not in ("error", "unrelated"):
        raise DataError(f'Unknown choice absent="{absent}".', hint="Choices are error and unrelated.")
    levels = tuple(str(level) for level in levels)
    if isinstance(value, Pedigree):
        found = _by_pedigree(value, levels, repair, weight)
    elif isinstance(value, Markers):
        matrix, notices = make_positive(value.matrix().to_numpy(), repair, weight)
        found = Relationship(value.labels, matrix, None, (*value.notices, *notices))
    elif isinstance(value, pd.DataFrame):
        labels, given = read_given(value)
        matrix, notices = make_positive(given, repair, weight)
        found = Relationship(labels, matrix, None, notices)
    elif isinstance(value, LabelledInverse):
        found = read_inverse(value)
    else:
        raise DataError(
            f"A relationship is a labelled DataFrame, a Pedigree, Markers or a LabelledInverse, not a {type(value).__name__}.",
            hint="Give pandas.DataFrame(K, index=names, columns=names).",
        )
    if absent == "unrelated":
        known = set(found.labels)
        found = found.with_unrelated([level for level in dict.fromkeys(levels) if level not in known])
    return found.ordered(levels)


def _by_pedigree(pedigree: Pedigree, levels: tuple[str, ...], repair: str, weight: float) -> Relationship:
    """Return A and its inverse; with genetic groups A + c Q Q', the groups as further levels with variance c."""
    notices = pedigree.notices
    known = set(pedigree.labels)
    used = [level for level in levels if level in known]
    singular = pedigree.mendelian().min() < FLOOR
    if len(pedigree) > (MOST if singular else KEPT) and used:
        whole, pedigree = len(pedigree), pedigree.ancestors_of(used)
        singular = pedigree.mendelian().min() < FLOOR
        notices = (
            *notices,
            f"Of {whole:,} individuals the {len(pedigree):,} levels of the data and their ancestors are kept.",
        )
    if len(pedigree) > MOST and singular:
        raise DataError(
            f"The pedigree has {counted(len(pedigree), 'individual')}, some of them no different from their parents; "
            f"a relationship matrix that has no inverse can have {MOST:,}.",
            hint="Leave out old generations: Pedigree.ancestors_of() keeps some individuals and their ancestors.",
        )
    c = pedigree.group_variance
    labels = (*pedigree.labels, *pedigree.groups)
    ridge = sparse.diags_array(np.concatenate([np.zeros(len(pedigree)), np.full(len(pedigree.groups), 1.0 / c)]))
    inverse = None if singular else (pedigree.inverse().matrix + ridge).tocsr()
    if pedigree.groups:
        what = counted(len(pedigree.groups), "genetic group")
        notices = (*notices, f"{what} of unknown parents: levels with {c:g} times the additive variance.")
    if len(pedigree) > WRITTEN and inverse is not None:
        return Relationship(labels, None, inverse, notices)
    a = pedigree.matrix().to_numpy()
    if pedigree.groups:
        q = pedigree.group_shares().to_numpy()
        a = np.block([[a + c * q @ q.T, c * q], [c * q.T, c * np.eye(q.shape[1])]])
    if inverse is None:
        a, more = make_positive(a, repair, weight)
        return Relationship(labels, a, None, (*notices, *more))
    return Relationship(labels, a, inverse, notices)
