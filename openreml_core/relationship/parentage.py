"""From a table of individuals and their parents to arrays: names checked, rows in any order, founders added.

A parent is unknown where its cell is empty or holds one of ``UNKNOWN`` (and no individual has that name). An individual
may be a sire in one row and a dam in another, or both in the same row (selfing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from openreml_core.errors import DataError
from openreml_core.relationship.labels import a_few, as_label, counted
from openreml_core.relationship.pedigree_columns import find_columns

#: What pedigree files write for an unknown parent.
UNKNOWN = frozenset({"0", "NA", "NaN", "nan", "na", "*", ".", "-", "?", "unknown", "Unknown"})


@dataclass(frozen=True, eq=False)
class Parentage:
    """Who descends from whom.

    Attributes
    ----------
    labels : tuple of n str
        The individuals in the order of the table, then the founders that have no row.
    sire, dam : int64 array of shape (n,)
        Place of the parent in `labels`, -1 where it is unknown.
    groups : tuple of g str
        Genetic groups of the unknown parents; empty without groups.
    sire_group, dam_group : int64 array of shape (n,)
        Place of the unknown parent's group in `groups`, -1 where the parent is known or there are no groups.
    generation : int64 array of shape (n,)
        0 for founders, else one more than the later parent's.
    notices : tuple of str
    """

    labels: tuple[str, ...]
    sire: np.ndarray
    dam: np.ndarray
    groups: tuple[str, ...]
    sire_group: np.ndarray
    dam_group: np.ndarray
    generation: np.ndarray
    notices: tuple[str, ...]


def read_parentage(table: pd.DataFrame, id: str, sire: str, dam: str, groups: str | Sequence[str] | None) -> Parentage:
    """Return the pedigree that a table holds.

    Parameters
    ----------
    table : DataFrame
        A row per individual.
    id, sire, dam : str
        Its columns.
    groups : str, sequence of str or None
        A column with the group of each row's unknown parents, or the names that stand for groups among the parents.

    Raises
    ------
    DataError
        Columns that are not there, rows without a name, parents that contradict each other, an individual that descends
        from itself, unknown parents without a group.
    """
    columns = find_columns(table, id, sire, dam, groups if isinstance(groups, str) else None)
    ids, sires, dams = ([as_label(cell) for cell in table[name]] for name in columns[:3])
    rows, notices = _individuals(ids, sires, dams, columns[0])
    names = set() if groups is None or isinstance(groups, str) else {str(group) for group in groups}
    both = sorted(names & rows.keys())
    if both:
        raise DataError(
            f"Genetic groups and individuals share names: {a_few(both)}.", hint="Rename the groups or those rows."
        )
    unused = sorted(names - {parent for pair in rows.values() for parent in pair if parent is not None})
    if unused:
        raise DataError(f"No parent belongs to the genetic groups {a_few(unused)}.", hint="Leave those groups out.")
    parents = dict.fromkeys(parent for pair in rows.values() for parent in pair if parent and parent not in names)
    added = [parent for parent in parents if parent not in rows]
    if added:
        one = len(added) == 1
        have, founders = ("has", "counts as a founder") if one else ("have", "count as founders")
        notices.append(f"{counted(len(added), 'parent')} {have} no row in the pedigree and {founders}: {a_few(added)}.")
    labels = (*rows, *added)
    place = {label: k for k, label in enumerate(labels)}
    pairs = list(rows.values()) + [(None, None)] * len(added)
    places = np.array([[place.get(p, -1) if p else -1 for p in pair] for pair in pairs], dtype=np.int64).reshape(-1, 2)
    if isinstance(groups, str):
        given = dict(zip(ids, [as_label(cell) for cell in table[columns[3]]], strict=True))
        wanted: list[tuple[str | None, ...]] = [(given.get(label),) * 2 for label in labels]
    else:
        wanted = [tuple(p if p in names else None for p in pair) for pair in pairs]
    group_names, group_places = _groups(wanted, places, labels, groups is not None)
    generation = _generations(places, labels)
    return Parentage(
        labels,
        places[:, 0],
        places[:, 1],
        group_names,
        group_places[:, 0],
        group_places[:, 1],
        generation,
        tuple(notices),
    )


Pair = tuple[str | None, str | None]


def _individuals(
    ids: list[str | None], sires: list[str | None], dams: list[str | None], column: str
) -> tuple[dict[str, Pair], list[str]]:
    """Return the parents of every individual that has a row, in the order of the rows, and notices."""
    empty = [str(row) for row, label in enumerate(ids, start=1) if label is None]
    if empty:
        raise DataError(
            f"*{column}* is empty in row {a_few(empty)} of the pedigree.", hint="Name the individual or remove the row."
        )
    if not ids:
        raise DataError("The pedigree has no rows.", hint="Give a row for each individual, with its parents.")
    unknown = UNKNOWN - set(ids)
    rows: dict[str, Pair] = {}
    repeated = 0
    for label, *named in zip(ids, sires, dams, strict=True):
        assert label is not None
        first, second = (None if parent in unknown else parent for parent in named)
        if label in (first, second):
            raise DataError(f"*{label}* is given as its own parent.", hint="Correct that row of the pedigree.")
        known = rows.setdefault(label, (first, second))
        if known == (first, second) or known == (second, first):
            repeated += 1
            continue
        raise DataError(
            f"*{label}* stands twice in the pedigree, with different parents: {_pair(known)}; {_pair((first, second))}.",
            hint="Keep the row that is right.",
        )
    repeated -= len(rows)
    return rows, [f"{counted(repeated, 'repeated row')} of the pedigree left out."] if repeated else []


def _pair(parents: Pair) -> str:
    return " x ".join(parent or "unknown" for parent in parents)


def _groups(
    wanted: list[tuple[str | None, ...]], places: np.ndarray, labels: tuple[str, ...], asked: bool
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the groups, sorted, and the group (n, 2) of each unknown parent."""
    codes = np.full(places.shape, -1, dtype=np.int64)
    if not asked:
        return (), codes
    unknown = places < 0
    names = sorted({group for k, row in enumerate(wanted) for j, group in enumerate(row) if group and unknown[k, j]})
    code = {group: k for k, group in enumerate(names)}
    both = sorted(set(names) & set(labels))
    if both:
        raise DataError(f"Genetic groups and individuals share names: {a_few(both)}.", hint="Rename the groups.")
    without: dict[str, None] = {}
    for k, j in np.argwhere(unknown).tolist():
        group = wanted[k][j]
        if group is None:
            without[labels[k]] = None
        else:
            codes[k, j] = code[group]
    if without:
        raise DataError(
            f"Unknown parents of {a_few(list(without))} have no genetic group.",
            hint="With groups every unknown parent belongs to one; founders need a row of their own.",
        )
    return tuple(names), codes


def _generations(places: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """Return each individual's generation (n,); an individual that descends from itself is an error."""
    n = len(places)
    child, column = np.nonzero(places >= 0)
    links = sparse.csr_array((np.ones(len(child), dtype=np.int64), (child, places[child, column])), shape=(n, n))
    waiting = np.asarray(links.sum(axis=1), dtype=np.int64).reshape(n)
    generation = np.full(n, -1, dtype=np.int64)
    current = 0
    while (ready := (waiting == 0) & (generation < 0)).any():
        generation[ready] = current
        waiting = waiting - links @ ready.astype(np.int64)
        current += 1
    if (generation < 0).any():
        circle = _circle(places, generation)
        raise DataError(
            f"The pedigree runs in a circle: {' -> '.join(labels[k] for k in circle)} (each a parent of the next).",
            hint="Correct the parents of one of them.",
        )
    return generation


def _circle(places: np.ndarray, generation: np.ndarray) -> list[int]:
    """Return a circle among the individuals that have no generation, parents before offspring."""
    walk = [int(np.flatnonzero(generation < 0)[0])]
    while True:
        later = next(int(parent) for parent in places[walk[-1]] if parent >= 0 and generation[parent] < 0)
        if later in walk:
            return [later, *reversed(walk[walk.index(later) :])]
        walk.append(later)
