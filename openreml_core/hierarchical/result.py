"""What a fit of a hierarchical model holds, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.hierarchical import draws, integrals, saving, script, tables
from openreml_core.hierarchical.group import Group
from openreml_core.hierarchical.louis import covariance_of, directions, information
from openreml_core.hierarchical.m_step import Known
from openreml_core.hierarchical.model import Model
from openreml_core.hierarchical.parameters import Parameter
from openreml_core.hierarchical.posterior import Likelihood, Posteriors
from openreml_core.hierarchical.subjects import Subjects
from openreml_core.hierarchical.visit import Visit
from openreml_core.reml.trace import TraceRow, trace_frame


class HierarchicalFit:
    """A fitted hierarchical model.

        log p(y_i | h_i),   h_i ~ family(B' x_i, S)

    ``fit`` makes it; parameters of the group are on the free scale, where the family holds.

    Attributes
    ----------
    model : Model
    data : Subjects
        All subjects, also those that were left out.
    options : dict
        Covariance, family and the other choices of the fit.
    converged : bool
    message : str
        How the fit ended, and which subjects were left out or are unusual.
    warnings : tuple of str
    trace : DataFrame
        A row per iteration; ``criterion`` is -2 times the log evidence.
    """

    def __init__(
        self,
        model: Model,
        data: Subjects,
        visit: Visit,
        places: Sequence[int],
        status: Sequence[str],
        covariates: Tensor,
        terms: Sequence[str],
        held: dict[int, float],
        options: dict[str, Any],
        likelihood: Likelihood,
        rows: Sequence[TraceRow],
        *,
        converged: bool,
        message: str,
        warnings: Sequence[str],
        prior: Known | None,
    ) -> None:
        self.model, self.data, self.visit = model, data, visit
        self.places, self.status = list(places), tuple(status)
        self.covariates, self.terms, self.held = covariates, tuple(terms), dict(held)
        self.options, self.likelihood, self.rows = dict(options), likelihood, list(rows)
        self.converged, self.message, self.warnings = converged, message, tuple(warnings)
        self.prior = prior
        self.trace = trace_frame(self.rows)

    # -- the group ------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The d parameters that were estimated."""
        return tuple(p for k, p in enumerate(self.model.parameters) if k not in self.held)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [p.name for p in self.parameters]

    @property
    def n_subjects(self) -> int:
        """Subjects in the fit."""
        return len(self.places)

    @property
    def n_trials(self) -> int:
        """Trials of these."""
        return int(self.data.n_trials[self.places].sum())

    @property
    def n_group_parameters(self) -> int:
        """Means (or coefficients), variances and covariances: 2 d with a diagonal covariance and no covariates."""
        d = len(self.names)
        return d * len(self.terms) + (d if self.visit.group.diagonal else d * (d + 1) // 2)

    @property
    def group_mean(self) -> pd.Series:
        """Mean of each parameter on the free scale; with covariates, at their averages."""
        mean = self.covariates.mean(0) @ self.visit.group.coefficients
        return pd.Series(mean.numpy(), index=self.names, name="mean")

    @property
    def group_covariance(self) -> pd.DataFrame:
        """Covariance (d, d) of the parameters between subjects, free scale; NaN for families that have none."""
        group = self.visit.group
        return self._frame(group.scale * group.family.variance_factor(group.k))

    @property
    def group_correlation(self) -> pd.DataFrame:
        """Correlations (d, d) of the parameters between subjects, of the scale matrix."""
        scale = self.visit.group.scale
        sd = scale.diagonal().sqrt()
        return self._frame(scale / (sd[:, None] * sd))

    @property
    def group_scale(self) -> pd.DataFrame:
        """The family's scale matrix S (d, d); the covariance itself for the Gaussian."""
        return self._frame(self.visit.group.scale)

    @property
    def group_se(self) -> pd.Series:
        """Standard errors of ``group_mean``, from the observed information (Louis 1982)."""
        q, d = len(self.terms), len(self.names)
        x = self.covariates.mean(0)
        cov = self._estimates_covariance[: q * d, : q * d].reshape(d, q, d, q)
        variance = torch.einsum("q,dqdp,p->d", x, cov, x)
        return pd.Series(variance.sqrt().numpy(), index=self.names, name="std_error")

    @property
    def group_covariance_se(self) -> pd.DataFrame:
        """Standard errors of ``group_covariance``, (d, d); zero where it is held at zero."""
        d, group = len(self.names), self.visit.group
        start = d * len(self.terms)
        errors = self._estimates_covariance.diagonal()[start:].sqrt() * group.family.variance_factor(group.k)
        out = torch.zeros(d, d, dtype=torch.float64)
        for (j, k), error in zip(directions(d, group.diagonal)[1], errors, strict=True):
            out[j, k] = out[k, j] = error
        return self._frame(out)

    def group_effects(self, level: float = 0.95) -> pd.DataFrame:
        """Coefficients of the group's means: parameter, term, estimate, std_error, z, p_value, lower, upper."""
        q, d = len(self.terms), len(self.names)
        errors = self._estimates_covariance.diagonal()[: q * d].sqrt().reshape(d, q).numpy()
        return tables.effects(self.names, self.terms, self.visit.group.coefficients.T.numpy(), errors, level)

    def group_density(self, parameter: str, x: np.ndarray) -> np.ndarray:
        """The family's marginal density of one parameter at points (k,) of the free scale, covariates at their averages.

        Raises
        ------
        ModelError
            For no parameter of the fit, and for the elliptical Laplace family of a full covariance, whose margins have no
            closed form.
        """
        group = self.visit.group
        if parameter not in self.names:
            raise ModelError(f"The fit has no parameter *{parameter}*.", hint=did_you_mean(parameter, self.names))
        if group.family.name == "laplace" and group.k > 1:
            raise ModelError("The multivariate Laplace family has no closed margin.", hint="Fit a diagonal covariance.")
        j = self.names.index(parameter)
        one = Group(torch.zeros(1, 1, dtype=torch.float64), group.scale[j : j + 1, j : j + 1], True, group.family)
        deviation = torch.as_tensor(np.asarray(x, dtype=np.float64) - float(self.group_mean.iloc[j]))
        return one.log_density(deviation[:, None]).exp().numpy()

    def group(self, level: float = 0.95) -> pd.DataFrame:
        """A row per parameter: mean, std_error, sd, sd_error, native (of the mean), lower, upper (its interval)."""
        return tables.group(self, level)

    @cached_property
    def _estimates_covariance(self) -> Tensor:
        v = self.visit
        posteriors = Posteriors(v.modes.at, self.posterior_covariances, v.weights, self.covariates)
        known = information(v.group, posteriors, self.prior)
        return covariance_of(known, v.group, len(self.terms))

    def _frame(self, matrix: Tensor) -> pd.DataFrame:
        return pd.DataFrame(matrix.numpy(), index=self.names, columns=self.names)

    # -- the subjects ---------------------------------------------------------------------------------------------

    @cached_property
    def posterior_covariances(self) -> Tensor:
        """V_i of the subjects in the fit, (n, d, d), free scale."""
        return torch.linalg.inv(self.visit.modes.hessian(self.visit.normals))

    def subjects(self, level: float = 0.95) -> pd.DataFrame:
        """A row per subject and parameter.

        Columns
        -------
        subject, parameter
        map, std_error
            Mode of the posterior and its standard deviation, on the free scale; NaN for a subject that was left out.
        native
            The mode on the native scale.
        status
            ``"ok"``, what is unusual, or why the subject was left out.
        lower, upper
            Interval on the native scale.
        """
        return tables.subjects(self, level)

    def posterior_covariance(self, subject: Any) -> pd.DataFrame:
        """Posterior covariance (d, d) of a subject's parameters, free scale.

        Raises
        ------
        DataError
            For a subject that is not in the fit.
        """
        return self._frame(self.posterior_covariances[self._row(subject)])

    def _row(self, subject: Any) -> int:
        used = [self.data.names[k] for k in self.places]
        if subject not in used:
            if subject in self.data.names:
                why = self.status[self.data.names.index(subject)]
                raise DataError(f"Subject {subject} is not in the fit: {why}.")
            raise DataError(f"There is no subject {subject}.", hint=did_you_mean(str(subject), [str(u) for u in used]))
        return used.index(subject)

    def draws(self, n: int = 100, seed: int = 1) -> pd.DataFrame:
        """Draws of subjects' parameters from their posteriors: subject, draw, and a column per parameter, native scale."""
        return draws.parameter_draws(self, n, seed)

    def posterior_predictive(self, n: int = 100, seed: int = 1) -> pd.DataFrame:
        """Trials simulated anew for each subject, from draws of its posterior: a column ``draw`` and those of the data.

        Raises
        ------
        ModelError
            For a model that cannot simulate.
        """
        return draws.predictive(self, n, seed)

    # -- evidence -------------------------------------------------------------------------------------------------

    def subject_evidence(
        self, method: str = "laplace", *, points: int = 15, n_draws: int = 1000, seed: int = 1
    ) -> pd.DataFrame:
        """Log evidence of each subject in the fit: subject, log_evidence, std_error (of sampling; 0 otherwise).

        Parameters
        ----------
        method : {"laplace", "quadrature", "importance"}
        points : int
            Nodes per parameter of the quadrature.
        n_draws, seed : int
            Of importance sampling.
        """
        v = self.visit
        means = v.group.means(self.covariates)
        error = torch.zeros(self.n_subjects, dtype=torch.float64)
        if method == "laplace":
            value, _ = integrals.laplace(self.likelihood, v.group, means, v.modes, v.normals)
        elif method == "quadrature":
            value = integrals.quadrature(self.likelihood, v.group, means, v.modes, v.normals, _count("points", points))
        elif method == "importance":
            value, error = integrals.importance(
                self.likelihood, v.group, means, v.modes, v.normals, _count("n_draws", n_draws), seed
            )
        else:
            raise ModelError(f"method={method!r} is not known.", hint=f"Choose one of {', '.join(integrals.METHODS)}.")
        names = [self.data.names[k] for k in self.places]
        return pd.DataFrame({"subject": names, "log_evidence": value.numpy(), "std_error": error.numpy()})

    def evidence(self, method: str = "laplace", **options: Any) -> float:
        """Log evidence: the sum over subjects of log integral p(y_i | h) p(h | group) dh.

        Parameters
        ----------
        method : {"laplace", "quadrature", "importance"}
            Laplace's approximation with its determinant; adaptive Gauss-Hermite (up to three parameters); sampling.
        **options
            ``points``, ``n_draws``, ``seed`` as for :meth:`subject_evidence`.
        """
        return float(self.subject_evidence(method, **options)["log_evidence"].sum())

    def evidence_without_determinant(self) -> float:
        """Laplace's formula with its determinant left out, sum_i log p(y_i, m_i | group) + d log(2 pi) / 2.

        Others use it; it rewards parameters that the data do not determine and is shown for comparison only.
        """
        return float(self.evidence_without_determinant_by_subject().sum())

    def evidence_without_determinant_by_subject(self) -> pd.Series:
        """The same by subject, indexed by subject."""
        v = self.visit
        means = v.group.means(self.covariates)
        value = integrals.laplace(self.likelihood, v.group, means, v.modes, v.normals)[1]
        names = [self.data.names[k] for k in self.places]
        return pd.Series(value.numpy(), index=pd.Index(names, name="subject"))

    def bic(self, method: str = "laplace", **options: Any) -> float:
        """Integrated BIC: -2 log evidence + k log(number of trials); smaller is better.

        k counts what was estimated of the group. With a diagonal covariance these are d means and d variances, k = 2 d, the
        formula of Huys et al. (2011). A full covariance has d (d - 1) / 2 covariances more, k = d + d (d + 1) / 2: each of
        them was fitted to the trials as well, and without its penalty a full covariance would win whatever the data are.
        With covariates there are d coefficients for each term in the place of d means. Parameters that are held, and
        subjects' own, which the evidence integrates over, are not counted.

        Parameters
        ----------
        method, **options
            Of :meth:`evidence`.
        """
        return -2 * self.evidence(method, **options) + self.n_group_parameters * float(np.log(self.n_trials))

    # -- keeping and showing --------------------------------------------------------------------------------------

    def save(self, path: Any) -> None:
        """Write the fit to one file (JSON and arrays, nothing executable); ``load`` reads it.

        Raises
        ------
        DataError
            Where nothing can be written.
        """
        saving.write(path, self)

    def to_code(self, trials: str = script.READ, subject: str = "subject") -> str:
        """The Python script that repeats the fit.

        Parameters
        ----------
        trials : str
            A Python expression that gives the trials; by default they are read from a file ``trials.csv``.
        subject : str
            Their column of subjects.

        Raises
        ------
        ModelError
            For a model of the user's own.
        """
        return script.fit_code(self, trials, subject)

    def trials(self, subject: str = "subject") -> pd.DataFrame:
        """The trials of all subjects, also of those that were left out, as one table with a column ``subject``."""
        return tables.trials(self, subject)

    def summary(self) -> str:
        """The fit as text."""
        return tables.summary(self)

    def __repr__(self) -> str:
        return self.summary()


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 2:
        raise ModelError(f"{name}={value!r} is not possible.", hint="Give a whole number from 2 on.")
    return int(value)
