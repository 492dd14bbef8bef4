"""The one module that touches ``st.session_state``: a typed study, and the values of widgets."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.groups import GroupStudy, TrialTable
from app.jobs import Answers, FitJob, State, submit
from openreml_core.relationship import RelationshipReading

_STUDY = "study"


@dataclass(eq=False)
class Dataset:
    """A table and the roles of its columns.

    Attributes
    ----------
    name : str
        File or sample name.
    table : DataFrame
        As read.
    roles : dict of str to Role
    digest : str
        sha256 of the values.
    proposal : str
        A first formula.
    note : str
        Where the data come from.
    """

    name: str
    table: pd.DataFrame
    roles: dict[str, reml.Role]
    digest: str
    proposal: str
    note: str = ""
    _prepared: tuple[Any, pd.DataFrame, dict[str, str]] | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[Any, ...]:
        """What results depend on: the values and the roles."""
        return (self.digest, tuple(sorted((k, str(v)) for k, v in self.roles.items())))

    def prepared(self) -> pd.DataFrame:
        """The table with its columns as their roles ask; a column that cannot be stays as it was read."""
        return self._as_asked()[1]

    @property
    def problems(self) -> dict[str, str]:
        """Columns that cannot be what their role asks, and why."""
        return self._as_asked()[2]

    def _as_asked(self) -> tuple[Any, pd.DataFrame, dict[str, str]]:
        if self._prepared is None or self._prepared[0] != self.key:
            problems: dict[str, str] = {}
            try:
                table = reml.apply_roles(self.table, self.roles)
            except reml.ModelError:
                for name, role in self.roles.items():
                    try:
                        reml.apply_roles(self.table[[name]], {name: role})
                    except reml.ModelError as error:
                        problems[name] = str(error)
                table = reml.apply_roles(self.table, {k: v for k, v in self.roles.items() if k not in problems})
            self._prepared = (self.key, table, problems)
        return self._prepared


@dataclass(frozen=True, eq=False)
class Relation:
    """Known relationships between the levels of a grouping factor.

    Attributes
    ----------
    group : str
        The factor.
    name : str
        The file.
    reading : RelationshipReading
    """

    group: str
    name: str
    reading: RelationshipReading


@dataclass(frozen=True)
class Specification:
    """The model as chosen on the Model page, and the rows excluded on the Diagnostics page with the reasons."""

    formula: str
    residual: str | None = None
    method: str = "reml"
    algorithm: str = "ai"
    max_iterations: int = 100
    weights: str | None = None
    relations: tuple[Relation, ...] = ()
    excluded: tuple[tuple[Any, str], ...] = ()

    @property
    def related(self) -> tuple[Relation, ...]:
        """The relationships that a random term of the formula uses."""
        try:
            groups = {term.group_name for term in reml.parse_formula(self.formula).random}
        except reml.ModelError:
            return ()
        return tuple(r for r in self.relations if r.group in groups)

    def options(self) -> dict[str, Any]:
        """The options as ``reml.fit`` takes them."""
        return {
            "residual": self.residual,
            "relationship": {r.group: r.reading.relationship for r in self.related} or None,
            "method": self.method,
            "algorithm": self.algorithm,
            "max_iterations": self.max_iterations,
            "weights": self.weights,
            "exclude": dict(self.excluded) or None,
        }


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fit of this study, and what was asked of it."""

    number: int
    fit: reml.MixedModelFit
    specification: Specification
    digest: str
    answers: Answers = field(default_factory=Answers)


@dataclass(eq=False)
class Study:
    """Everything one visitor works on."""

    data: Dataset | None = None
    specification: Specification | None = None
    job: FitJob | None = None
    fits: list[FittedModel] = field(default_factory=list)
    shown: FittedModel | None = None
    previews: dict[Any, Any] = field(default_factory=dict)
    asked: Specification | None = None
    answers: Answers = field(default_factory=Answers)
    ddf: str = "satterthwaite"
    group: GroupStudy = field(default_factory=GroupStudy)

    def use(self, data: Dataset) -> None:
        """Take up a data set; the fits made so far are kept."""
        if self.job is not None and self.job.active:
            self.job.cancel()
        self.data, self.specification, self.job = data, Specification(data.proposal), None

    def choose(self, **changes: Any) -> None:
        """Change the specification."""
        if self.specification is not None:
            self.specification = replace(self.specification, **changes)

    def exclude(self, rows: Sequence[Any], reason: str) -> None:
        """Leave rows out of the fits to come."""
        if self.specification is not None:
            self.choose(excluded=tuple((dict(self.specification.excluded) | dict.fromkeys(rows, reason)).items()))

    def put_back(self, rows: Collection[Any]) -> None:
        """Take rows into the fits to come again."""
        if self.specification is not None:
            self.choose(excluded=tuple(pair for pair in self.specification.excluded if pair[0] not in rows))

    def again(self, fitted: FittedModel, **changes: Any) -> None:
        """Fit the model of an earlier fit again, to the rows that are not excluded now, with some choices changed."""
        if self.specification is not None:
            changes = {"excluded": self.specification.excluded} | changes
            self.specification = replace(fitted.specification, **changes)
            for prefix in ("model_", "option_", "residual_"):  # the Model page shows what is fitted
                forget(prefix)
            self.start()

    def start(self) -> None:
        """Fit the specified model to the data."""
        if self.data is None or self.specification is None:
            return
        if self.job is not None:
            self.job.cancel()
        self.asked = self.specification
        self.job = submit(self.specification.formula, self.data.prepared(), self.specification.options())

    def settle(self) -> bool:
        """Take up the result of a job that has ended; whether there was one."""
        job = self.job
        if job is None or job.state is not State.DONE or job.result is None:
            return False
        if any(f.fit is job.result for f in self.fits):
            return False
        spec = self.asked or Specification(formula=job.formula)
        digest = self.data.digest if self.data else ""
        self.fits.append(FittedModel(len(self.fits) + 1, job.result, spec, digest))
        self.shown = self.fits[-1]
        return True

    def preview(self) -> reml.ModelPreview:
        """Describe the specified model, computed once per data set and model. Raises ModelError."""
        assert self.data is not None and self.specification is not None
        spec = self.specification
        key = (self.data.key, spec.formula, spec.residual, spec.method, spec.weights, spec.related, spec.excluded)
        if key not in self.previews:
            if len(self.previews) > 6:  # each holds its X and Z
                self.previews.clear()
            options = {k: v for k, v in spec.options().items() if k not in ("algorithm", "max_iterations")}
            self.previews[key] = reml.preview(spec.formula, self.data.prepared(), **options)
        return self.previews[key]


def study() -> Study:
    """The study of this visitor, the result of an ended job taken up."""
    found: Study = st.session_state.setdefault(_STUDY, Study())
    found.settle()
    found.group.settle()
    return found


def dataset(name: str, table: pd.DataFrame, *, sample: reml.Sample | None = None) -> Dataset:
    """A data set with guessed roles and a proposed formula, or those of the sample it is."""
    roles = dict(sample.roles) if sample else dict(reml.guess_roles(table))
    roles = {str(c): roles.get(str(c), reml.Role.IGNORE) for c in table.columns}
    proposal = sample.formula if sample else reml.suggest_formula(table, roles)
    return Dataset(name, table, roles, digest_of(table), proposal, note=sample.source if sample else "")


def trial_table(name: str, table: pd.DataFrame, code: str) -> TrialTable:
    """Trials by the name of their file, or of their simulation, and the Python expression that gives them."""
    return TrialTable(name, table, digest_of(table), code)


def digest_of(table: pd.DataFrame) -> str:
    """sha256 of a table's names and values."""
    hashed = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
    return hashlib.sha256(hashed + repr([str(c) for c in table.columns]).encode()).hexdigest()


def seed(key: str, value: Any) -> str:
    """Give a widget its value before it is drawn, unless it has one; widgets forget theirs when their page is left."""
    if key not in st.session_state:
        st.session_state[key] = value
    return key


def value(key: str, default: Any = None) -> Any:
    """The value of a widget."""
    return st.session_state.get(key, default)


def holding(key: str, current: Any) -> str:
    """Give a widget the study's value before it is drawn; its ``on_change`` has to tell the study of a new one."""
    if value(key) != current:
        put(key, current)
    return key


def lasting(kept: dict[str, Any], key: str, default: Any, among: Sequence[Any] | None = None) -> dict[str, Any]:
    """Arguments of a widget whose value is kept in ``kept`` while its page is left: its key, and what to do on a change.

    ``among`` are the options that it offers now: what was chosen among others before is kept as far as it is still offered.
    """
    if among is not None and kept.get(f"{key} among") != list(among):
        own = kept.get(key, default)
        own = [v for v in own if v in among] if isinstance(own, list) else own if own in among else default
        kept[key] = st.session_state[key] = own
        kept[f"{key} among"] = list(among)
    return {"key": seed(key, kept.get(key, default)), "on_change": lambda: kept.update({key: value(key)})}


def put(key: str, new: Any) -> None:
    """Set the value of a widget that is not drawn yet."""
    st.session_state[key] = new


def forget(prefix: str) -> None:
    """Forget the values of the widgets whose key begins with ``prefix``."""
    for key in [k for k in st.session_state if str(k).startswith(prefix)]:
        del st.session_state[key]
