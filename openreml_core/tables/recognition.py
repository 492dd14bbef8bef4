"""Recognising a study's structure: which factor is a treatment, a block, a unit, an environment, from names and counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from openreml_core.tables.crossing import cross, grouping, is_nested, is_same
from openreml_core.tables.roles import Role
from openreml_core.tables.structure import Structure
from openreml_core.tables.vocabulary import Kind, kind_of_name
from openreml_core.tables.wording import noun_of

#: A factor whose name says nothing is taken for a sample of units from so many levels on, for a treatment below.
UNIT_LEVELS = 12


def study_structure(table: pd.DataFrame, roles: Mapping[str, Role | str]) -> Structure:
    """Sort the columns of a table into the parts of a design.

    Parameters
    ----------
    table : DataFrame of n rows
    roles : mapping of str to Role

    Returns
    -------
    Structure
    """
    held = {name: Role(role) for name, role in roles.items() if name in table.columns}

    def first(role: Role) -> str | None:
        return next((name for name, own in held.items() if own is role), None)

    response = first(Role.RESPONSE)
    observed = table[response].notna().to_numpy() if response else np.ones(len(table), dtype=bool)
    groups = {name: grouping(table, name) for name, role in held.items() if role is Role.FACTOR}
    groups = {name: group for name, group in groups.items() if group.size > 1}
    study = Structure(n=len(table), response=response, observed=observed, groups=groups)
    study.row, study.column = first(Role.ROW), first(Role.COLUMN)
    for name in (study.row, study.column):
        if name:
            study.positions[name] = pd.factorize(table[name], sort=True)[0].astype(np.int64)
    study.times = [name for name, role in held.items() if role is Role.COVARIATE and kind_of_name(name) is Kind.TIME]
    study.moments = {name: grouping(table, name) for name in study.times}
    _sort_factors(study)
    _number_plots(study)
    _find_implied(study)
    _find_parents(study)
    named = {kind_of_name(name) for name in held}
    if study.genotypes or (study.row and study.column) or Kind.PLOT in named:
        study.row_noun = "plot"
    return study


def _sort_factors(study: Structure) -> None:
    lists = {
        Kind.ENVIRONMENT: study.environments,
        Kind.REPLICATE: study.replicates,
        Kind.BLOCK: study.blocks,
        Kind.PLOT: study.units,
        Kind.ROW: study.blocks,
        Kind.COLUMN: study.blocks,
        Kind.GENOTYPE: study.genotypes,
        Kind.UNIT: study.units,
        Kind.TREATMENT: study.treatments,
        Kind.AMOUNT: study.treatments,
    }
    for name, group in study.groups.items():
        kind = kind_of_name(name)
        usual = study.units if group.size >= UNIT_LEVELS else study.treatments
        (lists.get(kind, usual) if kind is not None else usual).append(name)
    if not (study.genotypes or study.replicates or study.blocks or (study.row and study.column)):
        study.units += study.environments
        study.environments.clear()
    for names in (study.replicates, study.blocks, study.units):
        names.sort(key=lambda name: study.groups[name].size)


def _number_plots(study: Structure) -> None:
    """Name plots that are numbered anew in each block by the block as well; leave them out if each has one row."""
    for name in [name for name in study.units if kind_of_name(name) is Kind.PLOT]:
        around = [*study.environments, *study.replicates, *study.blocks]
        if not around or is_nested(study.groups[name], study.cross(*around)):
            continue
        study.units.remove(name)
        plots = cross(study.cross(*around), study.groups[name])
        if plots.counts.max() > 1:
            study.groups[":".join(plots.names)] = plots
            study.units.append(":".join(plots.names))


def _find_implied(study: Structure) -> None:
    """Set aside a unit that is numbered anew within another where a third names their combinations."""
    for name in list(study.units):
        for outer in study.units:
            if outer == name or is_nested(study.groups[name], study.groups[outer]):
                continue
            both = study.cross(outer, name)
            whole = next((c for c in study.units if c not in (name, outer) and is_same(study.groups[c], both)), None)
            if whole is not None:
                study.implied[name] = outer, whole
                study.units.remove(name)
                break


def _find_parents(study: Structure) -> None:
    """Set aside factors that only sort the genotypes or environments into groups."""
    for inner in [*study.genotypes, *study.environments]:
        for name in [*study.treatments, *study.units, *study.genotypes]:
            if name == inner or name in study.parents or inner in study.parents:
                continue
            smaller = study.groups[name].size < study.groups[inner].size
            if smaller and is_nested(study.groups[inner], study.groups[name]):
                study.parents[name] = inner
    for names in (study.treatments, study.units, study.genotypes):
        names[:] = [name for name in names if name not in study.parents]


def layout_of(
    table: pd.DataFrame, roles: Mapping[str, Role | str], study: Structure
) -> tuple[Structure, pd.DataFrame] | None:
    """Return the design of the units, a row each, where those laid out in blocks are measured repeatedly.

    Parameters
    ----------
    table, roles
        As for `study_structure`.
    study : Structure
        Their structure.

    Returns
    -------
    tuple of Structure and DataFrame, or None
        The units' structure and their first rows; None without blocks, or where a unit changes its block or treatment.
    """
    if not (study.units and study.stages):
        return None
    unit = study.units[-1]
    group = study.groups[unit]
    names = [*study.entries, *study.environments, *study.replicates, *study.blocks]
    if group.size == study.n or any(study.varies_within(name, unit) for name in names):
        return None
    rows = pd.Series(group.codes, index=table.index)
    first = table[(rows >= 0) & ~rows.duplicated()]
    kept = {name: role for name, role in roles.items() if name not in (group.names[-1], *study.times)}
    layout = study_structure(first, kept)
    layout.row_noun = noun_of(group.names[-1])
    return layout, first
