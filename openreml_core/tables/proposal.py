"""A first model for a study: from the same facts as its description. A proposal, to be thought about."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from openreml_core.tables.crossing import (
    Grouping,
    absent_cells,
    cross,
    everything,
    is_complete,
    is_nested,
    levels_within,
)
from openreml_core.tables.recognition import layout_of, study_structure
from openreml_core.tables.roles import Role
from openreml_core.tables.structure import Structure

#: Genotypes and environments are taken as random from so many levels on.
RANDOM_LEVELS = 10

#: Without factors, so many covariates are proposed.
FEW_COVARIATES = 5


def quoted(name: str) -> str:
    """Return a column's name as a formula writes it: bare where it is a word, else in backticks.

    >>> quoted("yield"), quoted("IQ.verb"), quoted("plot yield")
    ('yield', 'IQ.verb', '`plot yield`')
    """
    return name if re.fullmatch(r"[^\W\d_][\w.]*", name) else f"`{name}`"


def bar(*names: str, effects: str = "1") -> str:
    """Return a random term: ``bar("rep", "block")`` is ``(1 | rep:block)``."""
    return f"({effects} | {':'.join(quoted(name) for name in names)})"


def suggest_formula(table: pd.DataFrame, roles: Mapping[str, Role | str]) -> str:
    """Propose a first model.

    Few treatments, replicates and environments are fixed; many genotypes, incomplete blocks, whole plots, units and the
    lines of a grid are random; a unit followed over time has a line of its own.

    Parameters
    ----------
    table : DataFrame of n rows
    roles : mapping of str to Role

    Returns
    -------
    str
        A formula; empty where no column is the response.

    Examples
    --------
    >>> trial = pd.DataFrame({"rep": list("111222"), "gen": list("abcbca"), "yield": [4.1, 5, 4, 6, 5, 5]})
    >>> suggest_formula(trial, {"rep": "factor", "gen": "factor", "yield": "response"})
    'yield ~ gen + (1 | rep)'
    """
    if table.empty:
        return ""
    study = study_structure(table, roles)
    if study.response is None:
        return ""
    layout = layout_of(table, roles, study)
    fixed: list[str]
    random: list[str]
    if not study.groups:
        fixed, random = [quoted(name) for name, role in roles.items() if role == Role.COVARIATE][:FEW_COVARIATES], []
    elif layout is not None:
        fixed, random = _trial_over_time(study, layout[0])
    elif study.units and not study.stages and not study.environments:
        fixed, random = _units(study)
    else:
        fixed, random = _trial(study)
    return f"{quoted(study.response)} ~ {' + '.join(dict.fromkeys([*(fixed or ['1']), *random]))}"


def _product(study: Structure, names: list[str]) -> list[str]:
    """Return main effects with interactions where all combinations of two or three factors occur, else main effects."""
    terms = [quoted(name) for name in names]
    possible = int(np.prod([study.groups[name].size for name in names])) if names else 0
    cells = study.cross(*names)
    if 2 <= len(names) <= 3 and cells.size == possible and cells.counts.min() >= 0.5 * cells.counts.max():
        return [" * ".join(terms)]
    return terms


def _trial(study: Structure) -> tuple[list[str], list[str]]:
    """Terms of a field trial, or of a series of trials."""
    fixed: list[str] = []
    selection: list[str] = []
    random: list[str] = []
    places = study.environments
    many_places = len(places) == 1 and study.groups[places[0]].size >= RANDOM_LEVELS
    selected = [name for name in study.genotypes if study.groups[name].size >= RANDOM_LEVELS]
    compared = [name for name in study.entries if name not in selected]
    if places and many_places and not selected:
        random.append(bar(*places))
    else:
        fixed += [quoted(name) for name in places]
        if len(places) > 1:
            random.append(bar(*places))
    complete = study.complete_stage
    stages = list(zip((*study.replicates, *study.blocks), study.stages, strict=True))
    for name, stage in stages:
        is_whole = name in study.replicates or (complete is not None and stage.names == complete.names)
        if is_whole and not places and (selected or stage is not stages[-1][1]):
            fixed.append(quoted(name))
        elif not _one_row_each(stage):
            random.append(bar(*stage.names))
    fixed += _product(study, compared)
    for name in selected:
        selection.append(bar(name))
        if places and _repeats(study, [name, *places]):
            selection.append(bar(name, *places))
    fixed += [quoted(outer) for outer, inner in study.parents.items() if _sorts(study, outer, inner, selected)]
    if complete is not None:
        random += [bar(*complete.names, name) for name in study.whole_plots]
    random = [*selection, *random, *_lines(study)]
    if not random:
        random = [bar(*places)] if places else [bar(*study.groups[name].names) for name in study.units]
        fixed = [term for term in fixed if f"(1 | {term})" not in random]
    return fixed, random


def _one_row_each(group: Grouping) -> bool:
    return group.size == int((group.codes >= 0).sum())


def _repeats(study: Structure, names: list[str]) -> bool:
    """Tell whether the cells of some factors hold more than one observation."""
    cells = study.cross(*names)
    return cells.size < int(((cells.codes >= 0) & study.observed).sum())


def _sorts(study: Structure, outer: str, inner: str, selected: list[str]) -> bool:
    """Tell whether a factor that sorts the genotypes belongs in the model: these are random, and it has no gaps."""
    return (
        inner in selected and bool((study.groups[outer].codes >= 0).all()) and study.groups[outer].size < RANDOM_LEVELS
    )


def _lines(study: Structure) -> list[str]:
    """Return rows and columns of the field as random: complete lines, or a grid without blocks in it."""
    if not (study.row and study.column and study.genotypes) or study.environments:
        return []
    if study.blocks or study.whole_plots or len(study.entries) > 1:
        return []
    lines = [study.line(study.row), study.line(study.column)]
    rep = study.replicates[0] if study.replicates else None
    if rep is None:
        entries = study.cross(*study.entries)
        whole = [line for line in lines if absent_cells(entries, line, everything(study.n)) == 0]
        if whole:
            return [bar(*whole[0].names)]
    if any(line.size < 4 or line.counts.min() < 2 for line in lines) or not is_complete(lines[0], lines[1]):
        return []
    terms = []
    for line in lines:
        if rep and not is_nested(line, study.groups[rep]) and cross(study.groups[rep], line).counts.min() > 1:
            terms.append(bar(rep, *line.names))
        else:
            terms.append(bar(*line.names))
    return terms


def _trial_over_time(study: Structure, layout: Structure) -> tuple[list[str], list[str]]:
    """Terms of a trial whose units are measured repeatedly: the trial's own, and a line over time for each unit."""
    fixed, random = _trial(layout)
    unit = study.units[-1]
    over = next((name for name in study.times if _followed(study, name, unit)), None)
    if over is None:
        return fixed, [*random, bar(*study.groups[unit].names)]
    time, compared = quoted(over), {quoted(name) for name in layout.entries}
    fixed = [f"{time} * {term}" if set(term.split(" * ")) & compared else term for term in fixed]
    slope = bar(*study.groups[unit].names, effects=time)
    return fixed if any(term.startswith(f"{time} * ") for term in fixed) else [*fixed, time], [*random, slope]


def _units(study: Structure) -> tuple[list[str], list[str]]:
    """Terms of a study of units: subjects over time, batches, raters. Without blocks, each unit is one factor."""
    finest = study.units[-1]
    over = next((name for name in study.times if _followed(study, name, finest)), None)
    compared = [name for name in study.entries if study.groups[name].size < RANDOM_LEVELS or name in study.genotypes]
    if over is not None:
        time = quoted(over)
        own = [name for name in compared if not study.varies_within(name, finest)]
        others = [quoted(name) for name in compared if name not in own]
        fixed = [f"{time} * {quoted(name)}" for name in own] or [time]
        random = [bar(name) for name in study.units[:-1]]
        return [*fixed, *others], [*random, bar(finest, effects=time)]
    nested = any(is_nested(study.groups[name], study.groups[study.units[0]]) for name in study.units[1:])
    units = study.units if nested else study.units[::-1]
    random = [bar(name) for name in units if not _one_row_each(study.groups[name])]
    for name in compared:
        cells = study.cross(finest, name)
        alone = len(study.units) == 1 and is_complete(study.groups[finest], study.groups[name])
        if alone and cells.counts.min() > 1:
            random.append(bar(finest, name))
    return _product(study, compared), random or [bar(finest)]


def _followed(study: Structure, time: str, unit: str) -> bool:
    """Tell whether a unit is measured at three or more times."""
    return bool(np.median(levels_within(study.moments[time], study.groups[unit])) >= 3)
