"""What is asked of a fit by fitting it again: simulated responses, tests by likelihood, intervals, power."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from openreml_core.errors import ModelError
from openreml_core.fitted.again import again_with, given_response, with_values
from openreml_core.fitted.base import FittedModel
from openreml_core.fitted.comparing import at_hand, compare, needed, random_anova_table
from openreml_core.fitted.interval_tables import profile_table, wald_table
from openreml_core.fitted.power_table import power_table
from openreml_core.inference import chosen, quantities
from openreml_core.notation import updated_formula
from openreml_core.profiles import Profile, bound_of, profile_of
from openreml_core.simulation import (
    Bootstrap,
    OnProgress,
    checked_count,
    draw_responses,
    generator,
    refit_all,
    refitted,
)


class Intervals(FittedModel):
    """Methods of a fit that simulate from it, or fit it again."""

    def simulate(self, n: int = 1, seed: int | np.random.Generator | None = None) -> pd.DataFrame:
        """Responses drawn from the fitted model: y* = X b + offset + Z u + e, u ~ N(0, G), e ~ N(0, R).

        Parameters
        ----------
        n : int
            How many.
        seed : int or numpy Generator, optional

        Returns
        -------
        DataFrame of shape (rows used, n)
            Columns ``sim_1``, ..., in the units in which the response was fitted.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> fit.simulate(3, seed=1).shape
        (180, 3)
        """
        at_hand(self)
        count = checked_count("n", n)
        drawn = draw_responses(self._model, self.estimates.at, count, generator(seed)).numpy()
        values = drawn + np.asarray(self.design.offset, dtype=np.float64)[:, None]
        return pd.DataFrame(values, index=self.design.index, columns=[f"sim_{i + 1}" for i in range(count)])

    def refit(self, response: Any, on_iteration: Any = None) -> Any:
        """The same model fitted to another response; the search begins at these estimates.

        Parameters
        ----------
        response : array-like of n numbers, or Series
            In the units in which the response was fitted; a Series is matched by its labels.
        on_iteration : callable, optional
            As for :func:`openreml_core.fit`.

        Returns
        -------
        MixedModelFit
            With the same options, but for starting values; it can be changed and refitted in turn.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (1 | Subject)", reml.load_sample("sleepstudy"))
        >>> again = fit.refit(2 * fit.response)
        >>> round(again.sigma / fit.sigma, 6)
        2.0
        """
        again = needed(self)
        began = time.perf_counter()
        y = given_response(self.design, response)
        design = with_values(self.design, y)
        limit = self.specification.max_iterations
        estimates = refitted(
            self.estimates,
            torch.from_numpy(y - np.asarray(self.design.offset, dtype=np.float64)),
            max_iterations=100 if limit is None or self.specification.algorithm != "ai" else limit,
            on_iteration=on_iteration,
        )
        specification = replace(self.specification, formula=design.formula.text, start=None, algorithm="ai")
        out = type(self)(specification, design, estimates, time.perf_counter() - began)
        out.again = again_with(again, out)
        return out

    def update(self, formula: str | None = None, **options: Any) -> Any:
        """The model fitted again with its formula or options changed.

        Parameters
        ----------
        formula : str, optional
            The change as R's ``update`` takes it: ``"~ . - (1 | block)"``, ``"log(.) ~ . + rep"``, a dot being what stands
            there now; without dots a new formula.
        **options
            Of :func:`openreml_core.fit`, such as ``method="ml"`` or ``data=``; the others stay. Starting values do not.

        Returns
        -------
        MixedModelFit

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
        >>> fit.update("~ . - (1 | rep:block)", method="ml").formula
        'yield ~ rep + (1 | gen)'
        """
        again = needed(self)
        text = self.formula
        if formula is not None:
            data = options.get("data", again.data)
            columns = [str(c) for c in data.columns] if isinstance(data, pd.DataFrame) else None
            text = updated_formula(self.design.formula, formula, columns)
        return again(text, **options)

    def random_anova(self, on_progress: OnProgress | None = None) -> pd.DataFrame:
        """Likelihood-ratio test of each random term; of ``(x | g)`` against ``(1 | g)``, as lmerTest's ranova.

        Parameters
        ----------
        on_progress : callable, optional
            As for :meth:`bootstrap`: called at every iteration with how many of how many tests are done.

        Returns
        -------
        DataFrame
            term, n_parameters, loglik, AIC, LRT, df, p_value (of chi2(df)), p_boundary (of the mixture for a variance that
            cannot be below zero; missing where none is known), mixture (in words). The first row is the whole model.

        References
        ----------
        Self and Liang (1987), JASA 82, 605-610. Stram and Lee (1994), Biometrics 50, 1171-1177.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> row = fit.random_anova().iloc[1]
        >>> row["term"], float(round(row["LRT"], 4)), int(row["df"]), row["mixture"]
        ('Days in (Days | Subject)', 42.8368, 2, 'half chi2(1), half chi2(2)')
        """
        at_hand(self)
        return random_anova_table(self, on_progress)

    def compare(self, *others: Any, refit: bool = True) -> pd.DataFrame:
        """This fit and others of the same response side by side: see :func:`openreml_core.compare`."""
        return compare(self, *others, refit=refit)

    @property
    def interval_parameters(self) -> pd.DataFrame:
        """What intervals can be of: group and kind, indexed by parameter, as ``confint`` has them."""
        known = quantities(self._model)
        index = pd.Index([q.name for q in known], name="parameter")
        return pd.DataFrame({"group": [q.group for q in known], "kind": [q.kind for q in known]}, index=index)

    def profile(self, parameters: Any = None, likelihood: str = "ml", on_progress: OnProgress | None = None) -> Profile:
        """Profile likelihood of variance parameters, correlations and fixed effects: the others re-optimised at every point.

            zeta(psi) = sign(psi - psi^) sqrt(D(psi) - D(psi^)),   D(psi) = min -2 l with psi held

        Parameters
        ----------
        parameters : str or sequence of str, optional
            As for :meth:`confint`.
        likelihood : {"ml", "reml"}
            Of the variance parameters; fixed effects have ML's.
        on_progress : callable, optional
            As for :meth:`bootstrap`: called at every point with how many of how many profiles are done.

        Returns
        -------
        Profile
            ``.table`` holds the curves (parameter, value, zeta, criterion), ``.confint(level)`` the intervals off them.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff"))
        >>> fit.profile("sigma").confint()[["lower", "upper"]].round(2).to_numpy().tolist()
        [[38.23, 67.66]]
        """
        at_hand(self)
        return profile_of(self.estimates, parameters, likelihood, on_progress)

    def bootstrap(
        self,
        n_boot: int = 1000,
        seed: int | np.random.Generator | None = None,
        *,
        parameters: Any = None,
        executor: Any = None,
        on_progress: OnProgress | None = None,
    ) -> Bootstrap:
        """Parametric bootstrap: the model refitted to responses drawn from it.

        Models of terms Sigma (x) I with independent residuals are refitted all at once, as one batch of tensors; others one by
        one.

        Parameters
        ----------
        n_boot : int
            How many responses.
        seed : int or numpy Generator, optional
        parameters : str or sequence of str, optional
            As for :meth:`confint`.
        executor : optional
            Of concurrent.futures, or a Dask client: for refits one by one.
        on_progress : callable, optional
            Called with how many of how many are done; returning False cancels.

        Returns
        -------
        Bootstrap
            ``.replicates`` (a row each), ``.failed``, ``.confint(level, kind)``.

        Raises
        ------
        FitCancelled

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> drawn = fit.bootstrap(200, seed=1)
        >>> drawn.replicates.shape, len(drawn.failed)
        ((200, 6), 0)
        """
        at_hand(self)
        taken = chosen(quantities(self._model), parameters)
        refits = refit_all(self.estimates, self._drawn(n_boot, seed), executor, on_progress)
        return Bootstrap(self.estimates, self._natural, taken, refits)

    def _drawn(self, n_boot: int, seed: int | np.random.Generator | None) -> torch.Tensor:
        """Responses (n, n_boot) drawn from the fit, the offset taken off."""
        count = checked_count("n_boot", n_boot, least=2)
        return draw_responses(self._model, self.estimates.at, count, generator(seed))

    def confint(
        self,
        method: str = "profile",
        level: float = 0.95,
        parameters: Any = None,
        *,
        likelihood: str = "ml",
        ddf: str = "normal",
        n_boot: int = 1000,
        seed: int | np.random.Generator | None = None,
        kind: str = "percentile",
        calibrate: bool = False,
        executor: Any = None,
        on_progress: OnProgress | None = None,
    ) -> pd.DataFrame:
        """Confidence intervals of standard deviations, correlations, other variance parameters and fixed effects.

        Parameters
        ----------
        method : {"profile", "wald", "bootstrap"}
            Where the likelihood-ratio test keeps a value; estimate and standard error; quantiles of refits to responses drawn
            from the model.
        level : float
        parameters : str or sequence of str, optional
            Names of the table's rows, of terms, of variance parameters as ``fit.parameters`` has them; ``"fixed"``,
            ``"random"``. All by default.
        likelihood : {"ml", "reml"}
            Of the profiles of variance parameters. ML is lme4's choice: a fit by REML is repeated by ML for it. REML's own
            profile is about the REML estimate, and the better one where fixed effects take many degrees of freedom. Fixed
            effects have ML's.
        ddf : {"normal", "satterthwaite", "kenward-roger", "residual"}
            Of Wald intervals of the fixed effects.
        n_boot, seed, executor
            Of the bootstrap and of calibrated profiles: as for :meth:`bootstrap`.
        on_progress : callable, optional
            As for :meth:`bootstrap`, of a profile for :meth:`profile`.
        kind : {"percentile", "basic", "studentized", "bca"}
            Of bootstrap intervals. ``"studentized"`` resamples the t of fixed effects, and the ratio of a standard deviation to
            its estimate: to be preferred in few blocks or whole plots.
        calibrate : bool
            Whether zeta of fixed effects is held against what it reaches in ``n_boot`` responses drawn from the fit instead of
            the normal distribution, which is too narrow in few blocks or whole plots.

        Returns
        -------
        DataFrame
            Indexed by parameter (lme4's names: ``sd_Days|Subject``, ``cor_Days.(Intercept)|Subject``, ``sigma``): group, kind,
            estimate (the fit's), lower, upper. ``attrs["notes"]`` says which likelihood, and what was met: bounds at the end of
            a parameter's space, profiles that are not monotone, parameters without a profile.

        References
        ----------
        Bates and Watts (1988), Nonlinear Regression Analysis and its Applications. Bates, Maechler, Bolker and Walker (2015),
        J. Stat. Softw. 67(1).
        """
        bound_of(level)
        if method == "profile":
            at_hand(self)
            responses = self._drawn(n_boot, seed) if calibrate else None
            return profile_table(self.estimates, level, parameters, likelihood, on_progress, responses, executor)
        if method == "wald":
            return wald_table(self.estimates, self._natural, level, parameters, ddf)
        if method == "bootstrap":
            drawn = self.bootstrap(n_boot, seed, parameters=parameters, executor=executor, on_progress=on_progress)
            return drawn.confint(level, kind)
        raise ModelError(f"method={method!r} is not known.", hint="Choose 'profile', 'wald' or 'bootstrap'.")

    def power(
        self,
        term: str,
        n_sim: int = 200,
        seed: int | np.random.Generator | None = None,
        alpha: float = 0.05,
        effect: Any = None,
        ddf: str = "satterthwaite",
        *,
        executor: Any = None,
        on_progress: OnProgress | None = None,
    ) -> pd.DataFrame:
        """Power of the test of a term in data of this design: how often it is found in responses drawn from the model.

        Parameters
        ----------
        term : str
            A fixed term or coefficient (Wald's t or F), or a random effect as ``random_anova`` names it (likelihood ratio).
        n_sim : int
            How many responses.
        seed : int or numpy Generator, optional
        alpha : float
            Level of the test.
        effect : number, sequence or mapping, optional
            The coefficients that are to be found (one each, or by name), or a random term's variance; as estimated by default.
        ddf : {"satterthwaite", "kenward-roger", "residual", "normal"}
            Denominator df of a fixed term's test.
        executor, on_progress
            As for :meth:`bootstrap`.

        Returns
        -------
        DataFrame
            A row: term, test, power, std_error, lower, upper (Clopper and Pearson's 95 % interval for the number of
            simulations), n_sim, n_failed, alpha.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (1 | Subject)", reml.load_sample("sleepstudy"))
        >>> bool(fit.power("Days", n_sim=20, seed=1, effect=10)["power"].item() > 0.9)
        True
        """
        return power_table(self, term, n_sim, seed, alpha, effect, ddf, executor, on_progress)
