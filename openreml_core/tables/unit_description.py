"""Units measured more than once, nested in each other or crossed: in sentences."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from openreml_core.tables.crossing import Grouping, cross, is_complete, is_nested, levels_within
from openreml_core.tables.structure import Structure
from openreml_core.tables.wording import count, listed, noun_of, plural, span, times

#: At most so many pairs of crossed factors are described.
_PAIRS = 4


def describe_units(study: Structure, rows: str) -> list[str]:
    """Describe subjects, batches, raters and the like.

    Parameters
    ----------
    study : Structure
    rows : str
        ``"180 observations"``, to begin with; empty where the size has been told.

    Returns
    -------
    list of str
    """
    if not study.units:
        return _treatments_alone(study, rows)
    sentences, said = [], set()
    chain = [name for name in study.units if _outer(study, name) is not None]
    finest = study.units[-1]
    repeated = _repeated(study, finest)
    for name in chain:
        outer = _outer(study, name)
        assert outer is not None
        per = levels_within(study.groups[name], study.groups[outer])
        sentences.append(f"{_count(study, name)} in {_count(study, outer)}, {span(per)} in each.")
        said |= {name, outer}
    for one, two in list(combinations(study.units, 2))[:_PAIRS]:
        if not (is_nested(study.groups[two], study.groups[one]) or is_nested(study.groups[one], study.groups[two])):
            sentences.append(_crossed(study, two, one) + _perhaps_nested(study, one, two))
            said |= {one, two}
    if repeated:
        sentences.append(repeated)
    elif finest not in said or chain:
        sentences.append(_rows_each(study, finest))
    sentences += _treatments(study, finest)
    sentences += [
        f"{name} counts anew in each {study.noun(outer)}: {whole} names the combinations."
        for name, (outer, whole) in study.implied.items()
    ]
    if rows:
        sentences[0] = f"{rows}: {sentences[0]}"
    return sentences


def _count(study: Structure, name: str) -> str:
    return count(study.groups[name].size, study.noun(name))


def _outer(study: Structure, name: str) -> str | None:
    """Return the smallest unit that a unit is nested in."""
    around = [
        other
        for other in study.units
        if study.groups[other].size < study.groups[name].size and is_nested(study.groups[name], study.groups[other])
    ]
    return around[-1] if around else None


def _rows_each(study: Structure, name: str) -> str:
    counts = study.groups[name].counts
    rows = "observation" if counts.max() == 1 else "observations"
    balance = "" if study.groups[name].balanced else ": unbalanced"
    return f"{_count(study, name)} with {span(counts)} {rows} each{balance}."


def _crossed(study: Structure, one: str, two: str) -> str:
    a, b = study.groups[one], study.groups[two]
    cells = cross(a, b)
    pair = f"{_count(study, one)} and {_count(study, two)}"
    if not is_complete(a, b):
        return f"{pair}, partly crossed: {cells.size:,} of {a.size * b.size:,} pairs occur."
    often = times(int(cells.counts[0])) if cells.balanced else f"{span(cells.counts)} times"
    return f"{pair}, crossed: every pair {often}."


def _perhaps_nested(study: Structure, one: str, two: str) -> str:
    """Return a warning where levels may have been numbered anew in each level of a larger unit."""
    a, b = study.groups[one], study.groups[two]
    if not is_complete(a, b) or cross(a, b).counts.min() < 2:
        return ""
    inner, outer = sorted((one, two), key=lambda name: study.groups[name].size)
    return (
        f" If each {study.noun(outer)} has its own {plural(study.noun(inner))}, they are nested: (1 | {outer}/{inner})."
    )


def _repeated(study: Structure, unit: str) -> str | None:
    """Describe measurements of a unit at several times."""
    group = study.groups[unit]
    for name in study.times:
        moments = study.moments[name]
        per = levels_within(moments, group)
        if not (per > 1).any():
            continue
        text = f"{_count(study, unit)} measured {span(group.counts)} times each over {name}"
        cells = cross(group, moments)
        if is_complete(group, moments) and cells.balanced:
            again = "" if cells.counts[0] == 1 else f", {times(int(cells.counts[0]))} at each"
            return f"{text}, all at the same {moments.size:,} values{again}: balanced."
        if _mostly_shared(group, moments):
            return f"{text}, not all at each of the {moments.size:,} values: unbalanced."
        return f"{text}, at values of their own."
    return None


def _mostly_shared(unit: Grouping, moments: Grouping) -> bool:
    return bool(np.median(levels_within(unit, moments)) > unit.size / 2)


def _treatments(study: Structure, unit: str) -> list[str]:
    """Say which treatments change within a unit, and which are the unit's own."""
    own = [name for name in study.entries if not study.varies_within(name, unit)]
    sentences = []
    if own:
        verb = "does" if len(own) == 1 else "do"
        sentences.append(f"{listed(own)} {verb} not change within a {study.noun(unit)}.")
    sentences += [_crossed(study, unit, name) for name in study.entries if name not in own][:_PAIRS]
    return sentences


def _treatments_alone(study: Structure, rows: str) -> list[str]:
    """Describe treatments without blocks or units."""
    if not study.entries:
        return []
    parts = [_count(study, name) for name in study.entries]
    cells = study.cross(*study.entries)
    each = f"{span(cells.counts)} {'row' if cells.counts.max() == 1 else 'rows'} in each"
    what = "combination" if len(parts) > 1 else noun_of(study.entries[0])
    head = f"{rows}: " if rows else ""
    return [f"{head}{listed(parts)}, {each} {what}."]
