"""Counts in words: 24 genotypes, 3 to 5 plots, 4 levels of nitro."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from openreml_core.tables.vocabulary import words_of

_LONG = {
    "gen": "genotype", "geno": "genotype", "gid": "genotype", "cv": "cultivar", "rep": "replicate", "reps": "replicate",
    "replication": "replicate", "blk": "block", "iblock": "block", "incblock": "block", "env": "environment",
    "loc": "location", "trt": "treatment", "treat": "treatment", "subj": "subject", "dept": "department",
    "exp": "experiment", "lab": "laboratory",
}  # fmt: skip
_COUNTED = frozenset(
    """
    genotype variety cultivar entry line hybrid clone accession replicate block environment location site
    county trial year season region field experiment department subject animal pig rat mouse mare cow bull
    horse dog sheep patient person child participant worker operator technician judge rater assessor panelist
    student teacher lecturer litter herd flock pen cage tank batch lot cask sample plate dish tray pot tree
    plant leaf family school class classroom hospital clinic centre farm village household company laboratory
    treatment recipe diet machine method product plot wholeplot strip
    """.split()
)
_PLURALS = {"mouse": "mice", "child": "children", "person": "people", "sheep": "sheep", "leaf": "leaves"}


def plural(noun: str) -> str:
    """Return the plural of an English noun.

    >>> [plural(noun) for noun in ("variety", "batch", "tray", "mouse", "level of nitro")]
    ['varieties', 'batches', 'trays', 'mice', 'levels of nitro']
    """
    head, blank, rest = noun.partition(" ")
    if head in _PLURALS:
        return _PLURALS[head] + blank + rest
    if head.endswith("y") and head[-2] not in "aeiou":
        return head[:-1] + "ies" + blank + rest
    return head + ("es" if head.endswith(("s", "x", "ch", "sh")) else "s") + blank + rest


def noun_of(name: str) -> str:
    """Return what one level of a column is called: the column's own word where it can be counted.

    >>> noun_of("gen"), noun_of("Worker"), noun_of("nitro")
    ('genotype', 'worker', 'level of nitro')
    """
    words = words_of(name)
    if len(words) == 1:
        word = _LONG.get(words[0], words[0])
        if word in _COUNTED:
            return word
    return f"level of {name}"


def count(number: int, noun: str) -> str:
    """Return ``1 plot``, ``24 genotypes``."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def span(numbers: Iterable[int] | np.ndarray) -> str:
    """Return ``4`` where all are alike, else ``3 to 5``."""
    values = [int(number) for number in numbers]
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def times(number: int) -> str:
    """Return ``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def listed(texts: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
