"""What the columns of a study are to each other: which factors are treatments, blocks, units, environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from openreml_core.tables.crossing import (
    Codes,
    Grouping,
    absent_cells,
    are_complete_blocks,
    cross,
    everything,
    fills_boxes,
    grouping,
    is_nested,
    is_same,
    levels_within,
    runs_together,
)
from openreml_core.tables.roles import Role
from openreml_core.tables.vocabulary import Kind, kind_of_name
from openreml_core.tables.wording import noun_of

#: A factor whose name says nothing is taken for a sample of units from so many levels on, for a treatment below.
UNIT_LEVELS = 12


@dataclass
class Structure:
    """The parts of a study's design.

    Attributes
    ----------
    n : int
        Rows.
    response : str or None
    observed : bool array of shape (n,)
        Rows with a response.
    groups : dict of str to Grouping
        Every factor that is kept, by name.
    environments, replicates, blocks, genotypes, treatments, units : list of str
        The factors by what they are; blocks from large to small, units likewise.
    parents : dict of str to str
        A factor that sorts the levels of another: {"gengroup": "gen"}.
    implied : dict of str to tuple of str
        A factor that, within a second one, is the same as a third: {"cask": ("batch", "sample")}.
    times : list of str
        Covariates in time.
    row, column : str or None
        Positions.
    positions : dict of str to int64 array of shape (n,)
        Ranks of the positions, by column.
    moments : dict of str to Grouping
        The values of the covariates in time.
    row_noun : str
        What a row is called: plot or observation.
    """

    n: int
    response: str | None
    observed: np.ndarray
    groups: dict[str, Grouping]
    row: str | None = None
    column: str | None = None
    times: list[str] = field(default_factory=list)
    environments: list[str] = field(default_factory=list)
    replicates: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    genotypes: list[str] = field(default_factory=list)
    treatments: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)
    implied: dict[str, tuple[str, str]] = field(default_factory=dict)
    positions: dict[str, Codes] = field(default_factory=dict)
    moments: dict[str, Grouping] = field(default_factory=dict)
    row_noun: str = "observation"

    def cross(self, *names: str) -> Grouping:
        """Return the combinations of the named factors that occur; of none, all rows in one."""
        return cross(everything(self.n), *(self.groups[name] for name in names))

    @property
    def entries(self) -> tuple[str, ...]:
        """The factors compared: genotypes and treatments."""
        return (*self.genotypes, *self.treatments)

    @cached_property
    def sections(self) -> Grouping:
        """The environments' combinations that occur."""
        return self.cross(*self.environments)

    @cached_property
    def stages(self) -> list[Grouping]:
        """Replicates and blocks within the environments, from large to small, each with those around it."""
        names: tuple[str, ...] = tuple(self.environments)
        found = []
        for name in (*self.replicates, *self.blocks):
            names = (*names, name)
            found.append(self.cross(*names))
        return found

    @cached_property
    def complete_stage(self) -> Grouping | None:
        """The smallest replicates or blocks in which every entry occurs once, a few lost plots aside."""
        if not self.entries:
            return None
        entries = self.cross(*self.entries)
        complete = [stage for stage in self.stages if are_complete_blocks(entries, stage, self.sections)]
        return complete[-1] if complete else None

    @property
    def absent(self) -> int:
        """Number of entries missing from the complete blocks, summed over these."""
        if self.complete_stage is None:
            return 0
        return absent_cells(self.cross(*self.entries), self.complete_stage, self.sections) or 0

    @cached_property
    def whole_plots(self) -> list[str]:
        """The treatments laid out on whole plots or strips of a complete block, seen from positions or row order."""
        stage = self.complete_stage
        if stage is None or len(self.entries) < 2:
            return []
        found = []
        for name in self.entries:
            others = [other for other in self.entries if other != name]
            plots = cross(stage, self.groups[name])
            if plots.size == int((plots.codes >= 0).sum()):
                continue
            if self.row and self.column:
                if fills_boxes(plots, self.positions[self.row], self.positions[self.column]):
                    found.append(name)
            elif runs_together(plots, self.cross(*others)):
                found.append(name)
        return found

    def line(self, name: str) -> Grouping:
        """Return the rows, or the columns, of the field as a grouping."""
        codes = self.positions[name]
        return Grouping((name,), codes, int(codes.max()) + 1)

    def noun(self, name: str) -> str:
        """Return what a level of a factor, or of a combination of factors, is called."""
        return noun_of(self.groups[name].names[-1])

    def varies_within(self, name: str, unit: str) -> bool:
        """Tell whether a factor changes within the levels of a unit."""
        return bool((levels_within(self.groups[name], self.groups[unit]) > 1).any())


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
