"""'What I see': the design of a study in sentences, each from a count of its crossing and nesting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from openreml_core.tables.crossing import Grouping, absent_cells, cross, everything, is_complete, levels_within
from openreml_core.tables.proposal import quoted
from openreml_core.tables.recognition import layout_of, study_structure
from openreml_core.tables.roles import Role
from openreml_core.tables.structure import Structure
from openreml_core.tables.unit_description import describe_units
from openreml_core.tables.wording import count, listed, noun_of, plural, span


def describe_design(table: pd.DataFrame, roles: Mapping[str, Role | str]) -> list[str]:
    """Say in sentences what design a table shows.

    Parameters
    ----------
    table : DataFrame of n rows
    roles : mapping of str to Role
        As `guess_roles` gives them and the user corrects them.

    Returns
    -------
    list of str
        Size and blocks, whole plots, repeated measurements, nested and crossed units, the field's grid, missing values.

    Examples
    --------
    >>> trial = pd.DataFrame({"rep": list("111222"), "gen": list("abcbca"), "yield": [4.1, 5, 4, 6, 5, 5]})
    >>> describe_design(trial, {"rep": "factor", "gen": "factor", "yield": "response"})
    ['6 plots: 3 genotypes in 2 replicates of 3 plots; every genotype once in each replicate.']
    """
    if table.empty:
        return ["No rows."]
    study = study_structure(table, roles)
    layout, plots = layout_of(table, roles, study) or (study, table)
    rows = count(study.n, study.row_noun)
    if layout is not study:
        rows = f"{count(study.n, 'observation')} of {count(layout.n, layout.row_noun)}"
    sentences = _environments(layout, rows) if study.environments else _blocks(layout, f"{rows}: ")
    if not sentences:
        sentences = describe_units(study, rows) or [f"{rows}."]
    elif study.units:
        sentences += describe_units(study, "")
    return [*sentences, *_parents(layout), *_whole_plots(layout), *_grid(layout, plots), *_missing(study, table)]


def _entry_noun(study: Structure) -> str:
    return noun_of(study.entries[0]) if len(study.entries) == 1 else "combination"


def _entries_text(study: Structure) -> str:
    """Return ``24 genotypes``, or ``12 combinations of 3 varieties and 4 levels of nitro``."""
    factors = [count(study.groups[name].size, noun_of(name)) for name in study.entries]
    if len(factors) == 1:
        return factors[0]
    met = study.cross(*study.entries).size
    possible = int(np.prod([study.groups[name].size for name in study.entries]))
    combinations = f"{met:,}" if met == possible else f"{met:,} of the {possible:,}"
    return f"{combinations} combinations of {listed(factors)}"


def _stages_text(study: Structure) -> str:
    """Return ``3 replicates of 6 incomplete blocks of 4 plots``."""
    entries = study.cross(*study.entries)
    outer, texts = study.sections, []
    for name, stage in zip((*study.replicates, *study.blocks), study.stages, strict=True):
        per = levels_within(stage, outer)
        incomplete = bool((levels_within(entries, stage) < levels_within(entries, study.sections).max()).all())
        kind = "incomplete " if incomplete and name in study.blocks else ""
        noun = noun_of(name)
        texts.append(f"{span(per)} {kind}{noun if set(per) == {1} else plural(noun)}")
        outer = stage
    texts.append(f"{span(outer.counts)} {study.row_noun if set(outer.counts) == {1} else plural(study.row_noun)}")
    return " of ".join(texts)


def _completeness(study: Structure) -> str:
    """Say in which blocks every entry occurs once; empty where in none."""
    stage = study.complete_stage
    if stage is None:
        return ""
    absent = study.absent
    lost = f", but for {absent:,} missing" if absent else ""
    return f"every {_entry_noun(study)} once in each {noun_of(stage.names[-1])}{lost}"


def _blocks(study: Structure, head: str) -> list[str]:
    """Describe the treatments and blocks of one trial."""
    if not study.entries or not (study.stages or study.genotypes):
        return []
    if study.units and not study.stages:
        return []
    entries = study.cross(*study.entries)
    if study.stages:
        complete = _completeness(study)
        text = f"{head}{_entries_text(study)} in {_stages_text(study)}{'; ' + complete if complete else ''}."
    else:
        complete = _complete_line(study, entries)
        text = f"{head}{_entries_text(study)}{'; ' + complete if complete else ''}."
    return [text] if complete else [text, *_replication(study, entries)]


def _complete_line(study: Structure, entries: Grouping) -> str:
    """Say whether each row, or each column, of the field holds every entry once."""
    for name, word in ((study.row, "row"), (study.column, "column")):
        if name and absent_cells(entries, study.line(name), everything(study.n)) == 0:
            return f"every {_entry_noun(study)} once in each {word}{f' ({name})' if name != word else ''}"
    return ""


def _replication(study: Structure, entries: Grouping) -> list[str]:
    """Say how often each entry occurs; many that occur once beside a few that occur often are told apart."""
    counts, noun = entries.counts, _entry_noun(study)
    once, more = int((counts == 1).sum()), counts[counts > 1]
    if once >= entries.size / 2 and more.size:
        return [
            f"{count(once, noun)} on one plot, {more.size:,} on {span(more)} plots: "
            "unreplicated entries with replicated checks."
        ]
    rows = study.row_noun
    return [f"Each {noun} on {span(counts)} {rows if counts.max() == 1 else plural(rows)}."]


def _environments(study: Structure, rows: str) -> list[str]:
    """Describe a series of trials."""
    places = [count(study.groups[name].size, noun_of(name)) for name in study.environments]
    sections = study.sections
    where = listed(places)
    if len(places) > 1:
        where += f" ({sections.size:,} of their combinations)"
    sentences = [f"{rows} in {where}, {span(sections.counts)} in each."]
    each = noun_of(study.environments[0]) if len(places) == 1 else "of these"
    if study.entries:
        entries = study.cross(*study.entries)
        met = levels_within(sections, entries)
        if is_complete(entries, sections):
            sentences.append(
                f"{_entries_text(study)}, all of them in every {each.replace('of these', 'one of these')}."
            )
        else:
            noun = noun_of(study.environments[0]) if len(places) == 1 else "combination"
            sentences.append(
                f"{_entries_text(study)}; each in {span(met)} of the {sections.size:,} "
                f"{plural(noun)}: {cross(entries, sections).size:,} of {entries.size * sections.size:,} cells."
            )
    if study.stages:
        complete = _completeness(study) if study.entries else ""
        each_text = f"each {each}" if len(places) == 1 else "each"
        sentences.append(f"In {each_text} {_stages_text(study)}{'; ' + complete if complete else ''}.")
    if study.entries and study.complete_stage is None:
        cells = cross(study.cross(*study.entries), sections)
        if cells.counts.max() > 1:
            noun = noun_of(study.environments[0]) if len(places) == 1 else "environment"
            sentences.append(f"Each {_entry_noun(study)} on {span(cells.counts)} plots in each {noun} where it occurs.")
    return sentences


def _parents(study: Structure) -> list[str]:
    return [
        f"Each {noun_of(inner)} belongs to one {noun_of(outer)}: "
        f"{study.cross(inner, outer).size:,} in {count(study.groups[outer].size, noun_of(outer))}."
        for outer, inner in study.parents.items()
    ]


def _whole_plots(study: Structure) -> list[str]:
    """Say which treatments lie on whole plots; where the table cannot show it, what to do if one does."""
    stage = study.complete_stage
    if stage is None or len(study.entries) < 2:
        return []
    found, block = study.whole_plots, noun_of(stage.names[-1])
    if not found and study.row and study.column:
        return []
    if len(found) == 1:
        others = [name for name in study.entries if name != found[0]]
        seen = "positions" if study.row and study.column else "order of the rows"
        return [
            f"A split plot, seen from the {seen}: {found[0]} lies on whole plots within each {block}, "
            f"{listed(others)} on the plots inside them."
        ]
    if len(found) == 2 and study.row and study.column:
        return [
            f"A strip plot, seen from the positions: {found[0]} and {found[1]} both lie on strips within each {block}."
        ]
    around = ":".join(quoted(name) for name in stage.names)
    terms = " or ".join(f"(1 | {around}:{quoted(name)})" for name in study.entries[:3])
    return [f"If a treatment lies on whole plots (a split plot), which this table cannot show, add {terms}."]


def _grid(study: Structure, table: pd.DataFrame) -> list[str]:
    """Describe the rows and columns of the field: size, gaps, positions used twice."""
    if not (study.row and study.column):
        return []
    frame = pd.DataFrame(
        {
            "section": study.sections.codes if study.environments else 0,
            "row": table[study.row].to_numpy(),
            "column": table[study.column].to_numpy(),
        }
    ).dropna()
    called = f"({study.row}, {study.column})"
    if frame.empty:
        return [f"No plot has both positions {called}."]
    fields = frame.groupby("section").agg(rows=("row", "nunique"), columns=("column", "nunique"))
    plots = frame.drop_duplicates()
    size = int((fields["rows"] * fields["columns"]).sum())
    if len(fields) == 1 and 1 in fields.iloc[0].tolist():
        text = f"The plots stand in one line of {int(fields.iloc[0].max()):,} {called}."
    else:
        many = f"{len(fields):,} grids" if len(fields) > 1 else "A grid"
        text = f"{many} of {span(fields['rows'])} rows by {span(fields['columns'])} columns {called}"
        empty = size - len(plots)
        text += f"; {count(empty, 'position')} without a plot." if empty else ", a plot at every position."
    twice = len(frame) - len(plots)
    if twice:
        text += f" {count(twice, 'row')} of the table repeat{'s' if twice == 1 else ''} a position."
    return [text]


def _missing(study: Structure, table: pd.DataFrame) -> list[str]:
    gaps = [(study.response, int((~study.observed).sum()))] if study.response else []
    gaps += [
        (name, int((group.codes[study.observed] < 0).sum()))
        for name, group in study.groups.items()
        if len(group.names) == 1
    ]
    sentences = []
    for name, missing in gaps:
        if missing:
            what = "is" if missing == 1 else "are"
            sentences.append(
                f"{count(missing, 'row')} {'has' if missing == 1 else 'have'} no {name} and {what} left out."
            )
            if name != study.response:
                sentences[-1] = sentences[-1].replace(f"{what} left out", f"{what} left out of a model with {name}")
    return sentences
