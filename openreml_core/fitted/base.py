"""The estimates of a linear mixed model, and what is read off them: scalars, tables, residuals, text, files."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import torch

from openreml_core import storage
from openreml_core.assembly import METHODS
from openreml_core.design import Design
from openreml_core.errors import ModelError, did_you_mean
from openreml_core.figures import PlotAccessor
from openreml_core.fitted.again import Again
from openreml_core.fitted.specification import Specification
from openreml_core.inference import (
    FittedMatrices,
    NaturalEstimates,
    blup_table,
    coefficient_table,
    component_table,
    covariance_table,
    dimension_table,
    natural_estimates,
)
from openreml_core.model import MixedModel
from openreml_core.reml import Estimates, trace_frame
from openreml_core.report import broom
from openreml_core.report.code import to_code
from openreml_core.report.summary import summary_html, summary_text
from openreml_core.report.words import NO_RESIDUAL, boundary_sentences, rank_sentence, unknown_sentences

RESIDUALS = ("conditional", "marginal", "pearson")


class FittedModel:
    """The estimates of a linear mixed model y = X b + Z u + e, u ~ N(0, G), e ~ N(0, R).

    Attributes
    ----------
    specification : Specification
        What was asked for.
    design : Design
        The rows and columns that came of it.
    estimates : Estimates
        Where the search ended.
    seconds : float
        Time the fit took.
    again : Again, optional
        How the model is fitted again, changed.
    """

    #: Whether the rows that were fitted are at hand.
    has_rows = True

    def __init__(
        self,
        specification: Specification,
        design: Design,
        estimates: Estimates,
        seconds: float = math.nan,
        again: Again | None = None,
    ) -> None:
        self.specification = specification
        self.design = design
        self.estimates = estimates
        self.seconds = seconds
        self.again = again
        self.plot = PlotAccessor(self)

    # -- the model as fitted ------------------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """The formula as it was written."""
        return self.specification.formula

    @property
    def method(self) -> str:
        """``"reml"`` or ``"ml"``."""
        return self.specification.method

    @property
    def engine(self) -> str:
        """Name of the engine that was used."""
        return self.estimates.engine.name

    @property
    def n_obs(self) -> int:
        """Rows used."""
        return self._model.n

    @property
    def n_dropped(self) -> int:
        """Rows left out for missing values."""
        return self.design.n_dropped

    @property
    def excluded(self) -> dict[int | str, str]:
        """Rows left out on purpose, by their labels, with the reasons."""
        return dict(self.specification.excluded)

    @property
    def rank(self) -> int:
        """Rank of X, the number of fixed effects estimated."""
        return self._model.p

    @property
    def aliased(self) -> tuple[str, ...]:
        """Fixed effects left out because others determine them."""
        return self.design.aliased

    @property
    def data(self) -> pd.DataFrame:
        """The rows and columns that the model used."""
        return self.design.frame

    @property
    def response_name(self) -> str:
        """The response as it was written."""
        return self.design.formula.response

    @property
    def random_terms(self) -> tuple[str, ...]:
        """Names of the random terms, as the methods below take them."""
        return tuple(t.name for t in self._model.terms)

    # -- scalars ------------------------------------------------------------------------------------------------

    @property
    def criterion(self) -> float:
        """-2 (restricted) log-likelihood with all constants: lme4's REMLcrit, or deviance for ML."""
        return self.estimates.at.criterion

    @property
    def loglik(self) -> float:
        """(Restricted) log-likelihood."""
        return -self.criterion / 2

    @property
    def loglik_asreml(self) -> float:
        """The same without (n - p) / 2 log(2 pi) (n for ML), as ASReml and Gilmour's papers print it."""
        return self.loglik + self._model.degrees_of_freedom / 2 * math.log(2 * math.pi)

    @property
    def n_parameters(self) -> int:
        """Fixed effects and estimated variance parameters, as lme4 counts them."""
        return self._model.p + int(self.estimates.free.sum()) + int(self._model.profiled)

    @property
    def aic(self) -> float:
        """criterion + 2 n_parameters."""
        return self.criterion + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """criterion + log(n) n_parameters."""
        return self.criterion + math.log(self.n_obs) * self.n_parameters

    @property
    def sigma(self) -> float:
        """Residual standard deviation; of the average row where rows differ."""
        model, at = self._model, self.estimates.at
        sigmas = model.sigmas(at.theta, at.sigma2)[len(model.terms) :]
        if len(sigmas) == 1 and sigmas[0].shape == (1, 1):
            return math.sqrt(float(sigmas[0]))
        parts = zip(model.residuals, sigmas, strict=True)
        return math.sqrt(sum(float((r.average * s).sum()) for r, s in parts))

    @property
    def converged(self) -> bool:
        """Whether the search met its tests."""
        return self.estimates.converged

    @property
    def message(self) -> str:
        """Why the search ended."""
        return self.estimates.message

    @property
    def singular(self) -> bool:
        """Whether some variance is zero, or some covariance matrix has lost rank."""
        return bool(self._singular_terms)

    @cached_property
    def _singular_terms(self) -> tuple[str, ...]:
        model = self._model
        parts = zip(model.terms, model.split(self.estimates.at.theta), strict=False)
        return tuple(t.name for t, part in parts if t.structure.is_singular(part, t.scale * model.unit))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before the numbers are used, a sentence each."""
        out = list(self.design.warnings)
        if not self.converged:
            out.insert(0, self.message)
        components = self.variance_components()
        out += [*boundary_sentences(components), *unknown_sentences(components)]
        marked = set(components.loc[components["bound"] != "", "group"])
        out += [rank_sentence(term) for term in self._singular_terms if term not in marked]
        if self.random_terms and self.sigma < 1e-6 * self._model.typical_deviation:
            out.append(NO_RESIDUAL)
        return tuple(out)

    @cached_property
    def trace(self) -> pd.DataFrame:
        """A row per iteration: criterion, change, gradient, radius, ratio, step, seconds, sentence, parameters."""
        return trace_frame(self.estimates.rows)

    # -- tables -------------------------------------------------------------------------------------------------

    def fixed_effects(self, ddf: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
        """Fixed effects (BLUE) with t tests.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", "residual", "normal"}
            Denominator degrees of freedom. Kenward-Roger adjusts the standard errors too.
        level : float
            Coverage of the intervals.

        Returns
        -------
        DataFrame
            Indexed by coefficient: estimate, std_error, df, t, p_value, lower, upper. ``attrs["ddf"]`` names the method.
        """
        return coefficient_table(self.estimates, ddf, level)

    @property
    def fixed_covariance(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects, (p, p)."""
        return covariance_table(self.estimates)

    @cached_property
    def _natural(self) -> NaturalEstimates:
        return natural_estimates(self.estimates)

    def variance_components(self) -> pd.DataFrame:
        """Variance parameters on the scale of the data.

        Returns
        -------
        DataFrame
            group, structure, name1, name2, kind, estimate, std_error (from the average information; missing on a
            boundary), std_dev, percent (share of the variance of the average row), bound (in words, or empty).
        """
        return component_table(self.estimates, self._natural)

    @property
    def parameters(self) -> dict[str, float]:
        """Variance parameters by name, natural scale."""
        return dict(zip(self._natural.names, self._natural.values.tolist(), strict=True))

    @cached_property
    def matrices(self) -> FittedMatrices:
        """Every fitted matrix: covariances, loadings, correlations by lag and by distance."""
        return FittedMatrices(self.estimates)

    def variance_matrix(self, term: str, correlation: bool = False) -> pd.DataFrame:
        """Estimated covariances, or correlations, of a random term's effects or of a part of R (``"residual"``), (k, k)."""
        return self.matrices.covariance(term, correlation)

    @cached_property
    def _predicted(self) -> tuple[Any, ...]:
        return tuple(self.estimates.engine.random_effects(self.estimates.at))

    def random_effects(self, term: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """BLUPs of a random term.

        Parameters
        ----------
        term : str, optional
            Needed where there are several.
        level : float
            Coverage of the interval, which like ``std_error`` is conditional on the fixed effects.

        Returns
        -------
        DataFrame
            level, effect, blup, std_error, lower, upper; reliability 1 - pev / Var(u), accuracy its root, pev the prediction
            error variance Var(u^ - u).
        """
        position = self._position(term)
        sigma = self.variance_matrix(self.random_terms[position]).to_numpy()
        return blup_table(self._model.terms[position], self._predicted[position], sigma, level)

    def effective_dimensions(self) -> pd.DataFrame:
        """How many effects' worth of the data each part explains: term, effects, dimension; the dimensions add up to n."""
        return dimension_table(self.estimates)

    def fitted(self, random: bool = True) -> pd.Series:
        """X b + offset, and Z u^ with it when ``random``; indexed as the rows used."""
        at = self.estimates.at
        values = self._model.X @ at.beta + torch.from_numpy(np.asarray(self.design.offset, dtype=np.float64))
        if random:
            values = values + self.estimates.engine.random_fit(at)
        return pd.Series(values.numpy(), index=self.design.index, name="fitted")

    def residuals(self, kind: str = "conditional") -> pd.Series:
        """Residuals, indexed as the rows used.

        Parameters
        ----------
        kind : {"conditional", "marginal", "pearson"}
            y - X b - Z u^; y - X b; conditional ones times sqrt(weight) / sigma.
        """
        if kind not in RESIDUALS:
            raise ModelError(
                f"Residuals of kind {kind!r} are not available.", hint=f"Choose one of {', '.join(RESIDUALS)}."
            )
        values = self.response - self.fitted(random=kind != "marginal")
        if kind == "pearson":
            values = values / (self.sigma * np.sqrt(self._model.residual_variance.numpy()))
        return values.rename(f"{kind} residual")

    @property
    def response(self) -> pd.Series:
        """The response as it was fitted."""
        return pd.Series(np.asarray(self.design.y), index=self.design.index, name=self.response_name)

    # -- broom's conventions ------------------------------------------------------------------------------------

    def tidy(self, what: str = "fixed") -> pd.DataFrame:
        """One row per coefficient (``"fixed"``), variance parameter (``"random"``) or BLUP (``"blup"``)."""
        return broom.tidy(self, what)

    def glance(self) -> pd.DataFrame:
        """One row about the fit."""
        return broom.glance(self)

    def augment(self) -> pd.DataFrame:
        """The rows used, with ``.fitted``, ``.fixed``, ``.resid`` and ``.pearson`` beside them."""
        return broom.augment(self)

    # -- text ---------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """The fit as text."""
        return summary_text(self)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        criterion = f"{METHODS[self.method]} criterion {self.criterion:.6g}"
        return f"<{type(self).__name__} {self.formula!r}: {criterion}, n = {self.n_obs}>"

    def _repr_html_(self) -> str:
        return summary_html(self)

    def to_code(self, language: str = "python") -> str:
        """The script that repeats this fit: ``"python"`` or ``"r-lme4"``."""
        return to_code(self, language)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | Path | IO[bytes]) -> None:
        """Write the fit as one file (zip of JSON and Parquet) that :func:`openreml_core.load` reads.

        Parameters
        ----------
        path : str, Path or open binary file

        Raises
        ------
        DataError
            When nothing can be written there.
        """
        storage.write(path, self)

    # -- inner --------------------------------------------------------------------------------------------------

    @property
    def _model(self) -> MixedModel:
        return self.estimates.engine.model

    def _position(self, term: str | None) -> int:
        names = self.random_terms
        if not names:
            raise ModelError("This model has no random effects.", hint="Add a term such as (1 | gen).")
        if term is None:
            if len(names) > 1:
                raise ModelError("This model has several random terms.", hint=f"Name one of {', '.join(names)}.")
            return 0
        if term not in names:
            raise ModelError(
                f"*{term}* is no random term of this model.", hint=did_you_mean(term, names).replace("columns", "terms")
            )
        return names.index(term)
