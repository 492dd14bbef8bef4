"""What one visitor works on among the hierarchical models: trials, a model of them, and the fits of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

import openreml_core as reml
from app.jobs import Answers, GroupJob, State, begin

SUBJECT = reml.hierarchical.guessing.SUBJECT


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials of all subjects.

    Attributes
    ----------
    name : str
        Of the file, or how they were simulated.
    table : DataFrame
    digest : str
        sha256 of the values.
    code : str
        A Python expression that gives the table.
    """

    name: str
    table: pd.DataFrame
    digest: str
    code: str


@dataclass(frozen=True)
class Request:
    """What is fitted to the trials, and how."""

    model: Any
    subject: str
    covariance: str = "diagonal"
    family: str = "gaussian"
    df: float = 4.0
    max_iterations: int = 100
    missing: str = "exclude"

    @property
    def how(self) -> str:
        """The group in words: ``"diagonal covariance, Student t with 4 df"``."""
        family = {"gaussian": "normal", "student_t": f"Student t with {self.df:g} df"}.get(
            self.family, self.family.capitalize()
        )
        return f"{self.covariance} covariance, {family}"

    def options(self) -> dict[str, Any]:
        """The options of ``reml.hierarchical.fit``."""
        return {
            "subject": self.subject,
            "covariance": self.covariance,
            "family": reml.hierarchical.Family(self.family, self.df),
            "max_iterations": self.max_iterations,
            "missing": self.missing,
            "n_jobs": 1,
        }


@dataclass(frozen=True, eq=False)
class GroupFit:
    """A fit, what was asked of it, and the trials that it is of."""

    number: int
    fit: Any
    request: Request
    trials: TrialTable
    answers: Answers = field(default_factory=Answers)

    @property
    def label(self) -> str:
        """The fit in a line."""
        return f"{self.number}: {self.request.model.name}, {self.request.how}"


@dataclass(eq=False)
class GroupStudy:
    """Everything one visitor works on in this section.

    Attributes
    ----------
    kind : str
        The model's name in the library.
    settings : dict of str to dict
        What was chosen of each kind of model.
    columns : dict of str to str
        The table's column of each role of the model, and of the subjects.
    choices : dict
        What widgets were set to; they forget it when their page is left.
    """

    trials: TrialTable | None = None
    kind: str = "RescorlaWagner"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    covariance: str = "diagonal"
    family: str = "gaussian"
    df: float = 4.0
    max_iterations: int = 100
    missing: str = "exclude"
    job: GroupJob | None = None
    asked: Request | None = None
    fits: list[GroupFit] = field(default_factory=list)
    shown: GroupFit | None = None
    answers: Answers = field(default_factory=Answers)
    choices: dict[str, Any] = field(default_factory=dict)

    def take(self, trials: TrialTable) -> None:
        """Take up trials; the fits made so far are kept."""
        if self.job is not None and self.job.active:
            self.job.cancel()
        self.trials, self.job = trials, None
        self.match()

    def match(self) -> None:
        """Find the columns of the model again; those that were chosen by hand and are still there are kept."""
        if self.trials is None:
            return
        guessed = reml.hierarchical.guess_columns(self.model(named=False), self.trials.table)
        kept = {role: name for role, name in self.columns.items() if name in self.trials.table}
        self.columns = {**guessed, **kept}

    def set(self, **settings: Any) -> None:
        """Change settings of the model."""
        self.settings[self.kind] = {**self.settings.get(self.kind, {}), **settings}

    def model(self, named: bool = True) -> Any:
        """The chosen model; ``named``, with the table's names of its columns.

        Raises
        ------
        ModelError
            When the settings do not fit together.
        """
        make, settings = reml.hierarchical.models.named, self.settings.get(self.kind, {})
        plain = make(self.kind, **settings)
        if not named:
            return plain
        own = {r: c for r, c in self.columns.items() if r in plain.roles and c != r}
        return make(self.kind, **settings, columns=own) if own else plain

    def lacking(self) -> list[str]:
        """Roles that have no column yet, the subjects' included."""
        return [r for r in (SUBJECT, *self.model(named=False).roles) if r not in self.columns]

    def request(self, model: Any = None) -> Request:
        """What would be fitted now. Raises ModelError."""
        return Request(
            self.model() if model is None else model, self.columns.get(SUBJECT, SUBJECT), self.covariance, self.family,
            self.df, self.max_iterations, self.missing,
        )  # fmt: skip

    def start(self) -> None:
        """Fit the chosen model to the trials. Raises ModelError."""
        if self.trials is None:
            return
        if self.job is not None:
            self.job.cancel()
        self.asked = self.request()
        self.job = begin(GroupJob(self.asked.model, self.trials.table, self.asked.options()))

    def settle(self) -> bool:
        """Take up the result of a job that has ended; whether there was one."""
        job = self.job
        if job is None or job.state is not State.DONE or self.trials is None or self.asked is None:
            return False
        if any(f.fit is job.result for f in self.fits):
            return False
        self.keep(job.result, self.asked, self.trials)
        return True

    def keep(self, fit: Any, request: Request, trials: TrialTable) -> None:
        """Keep a fit and show it; one that is kept already is only shown."""
        known = next((f for f in self.fits if f.fit is fit), None)
        if known is None:
            known = GroupFit(len(self.fits) + 1, fit, request, trials)
            self.fits.append(known)
        self.shown = known

    def known(self, request: Request) -> Any:
        """The fit that was made of these trials in this very way, if there is one."""
        digest = self.trials.digest if self.trials else ""
        return next((f.fit for f in self.fits if f.request == request and f.trials.digest == digest), None)
