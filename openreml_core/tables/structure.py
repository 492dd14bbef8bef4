"""What the columns of a study are to each other: which factors are treatments, blocks, units, environments."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from openreml_core.tables.crossing import (
    Codes,
    Grouping,
    absent_cells,
    are_complete_blocks,
    cross,
    everything,
    fills_boxes,
    levels_within,
    runs_together,
)
from openreml_core.tables.wording import noun_of


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
