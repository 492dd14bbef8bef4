"""What is asked of a fit to find out whether it can be trusted: residuals, leverage, influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from openreml_core.diagnostics import (
    Cases,
    Verdict,
    deleted_table,
    dfbetas_table,
    draws,
    envelope,
    group_residual_table,
    grouping_of,
    influence_table,
    influential_cases,
    kind_named,
    leverage_table,
    refits_without,
    residual_test_table,
    residual_values,
    verdict,
    without_pairs,
    without_rows,
    without_sets,
)
from openreml_core.errors import ModelError
from openreml_core.fitted.comparing import needed
from openreml_core.fitted.field import Field
from openreml_core.tables import exclusions


class Diagnostics(Field):
    """Methods of a fit that look at single rows and groups of them."""

    def residuals(self, kind: str = "conditional") -> pd.Series:
        """Residuals, indexed as the rows used.

        Parameters
        ----------
        kind : str
            ``"conditional"``: y - X b - Z u^. ``"marginal"``: y - X b. ``"pearson"``: conditional over sqrt(R_ii).
            ``"studentized"`` (also ``"standardized"``): conditional over its own standard deviation, sqrt((R P R)_ii); R's
            rstandard. ``"studentized-external"``: the same with the variance estimated without the row; Student's distribution
            with n - p - 1 degrees of freedom. ``"standardized-marginal"``: marginal over its own standard deviation.
            ``"cholesky"``: F^-1 (y - X b) with V = F F', uncorrelated with variance 1. ``"least-confounded"``: n - p
            combinations of conditional residuals, uncorrelated with variance 1, those that random effects touch least first;
            they belong to no single row and are numbered.

        Raises
        ------
        ModelError
            An unknown kind; matrices of all rows that would not find room.

        References
        ----------
        Nobre and Singer (2007), Biometrical Journal 49, 863-875.
        """
        name = kind_named(kind)
        if name in ("conditional", "marginal"):
            values = self.response - self.fitted(random=name == "conditional")
            return values.rename(f"{name} residual")
        found = residual_values(self._view, name).numpy()
        index = self.design.index if name != "least-confounded" else pd.RangeIndex(1, len(found) + 1)
        return pd.Series(found, index=index, name=f"{name} residual")

    def group_residuals(self, term: str | None = None, kind: str = "eb") -> pd.DataFrame:
        """Residuals of the levels of a random term.

        Parameters
        ----------
        term : str, optional
            Needed where there are several.
        kind : {"eb", "ls"}
            Empirical Bayes, the BLUPs, standardised by the root of Var(u) - pev; or least squares: what the level's own rows
            say, nothing shrunk, after b and the other terms.

        Returns
        -------
        DataFrame
            level, effect, residual, std_error; standardized ("eb") or rows ("ls").
        """
        place = self._position(term)
        name = self.random_terms[place]
        sigma = self.variance_matrix(name).to_numpy()
        return group_residual_table(self._view, place, kind, self.random_effects(name), sigma)

    def leverage(self, group: Any = None) -> pd.DataFrame:
        """Leverage of every row, or its mean over the rows of every group.

        Parameters
        ----------
        group : str, list of str, Series or array, optional
            Columns, or a label for each row.

        Returns
        -------
        DataFrame
            fixed, diag X C X'V^-1; random, diag Z G Z'P; overall, their sum; unconfounded, (Z G Z')_ii / R_ii.
        """
        grouping = None if group is None else grouping_of(self.table, group)
        return leverage_table(self._view, self.design.index, grouping)

    def influence(
        self,
        group: Any = None,
        *,
        pairs: bool = False,
        refit: bool = False,
        executor: Any = None,
        on_progress: Any = None,
    ) -> pd.DataFrame:
        """How much each row, or each level of a grouping, or each pair of them, sways the fit.

        Parameters
        ----------
        group : str, list of str, Series or array, optional
            What is left out together: the levels of a column, of several, or of labels given for each row.
        pairs : bool
            Leave out every pair of rows or levels.
        refit : bool
            Estimate the variances anew without each case. Otherwise they stay as they are, and what is left is exact.
        executor : optional
            Of concurrent.futures, for the refits.
        on_progress : callable, optional
            Called with the refits done and all; returning False cancels.

        Returns
        -------
        DataFrame
            A row per case: cooks_distance, mdffits, covtrace, covratio, leverage; with ``refit`` rvc_* for every variance
            parameter; cooks_lme4, by lme4's other definition. ``attrs["notes"]`` says what could not be left out.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> fit.influence("Subject")["cooks_distance"].round(3).nlargest(2).to_dict()
        {'309': 0.149, '335': 0.129}

        References
        ----------
        Cook (1977), Technometrics 19, 15-18. Christensen, Pearson and Johnson (1992), Technometrics 34, 38-45. Loy and Hofmann
        (2014), J. Statistical Software 56(5).
        """
        return influence_table(self._view, self._cases(group, pairs, refit, executor, on_progress))

    def dfbetas(
        self, group: Any = None, *, pairs: bool = False, refit: bool = False, executor: Any = None
    ) -> pd.DataFrame:
        """Change of every fixed effect by leaving out a case, b - b_(J), in standard errors of b_(J).

        Parameters are those of :meth:`influence`.

        Returns
        -------
        DataFrame
            A row per case and a column per coefficient.
        """
        return dfbetas_table(self._view, self._cases(group, pairs, refit, executor, None))

    def deletions(
        self, group: Any = None, *, pairs: bool = False, refit: bool = False, executor: Any = None
    ) -> pd.DataFrame:
        """Fixed effects without each case, and with ``refit`` the variance parameters; parameters as for :meth:`influence`."""
        return deleted_table(self._view, self._cases(group, pairs, refit, executor, None))

    def influential(
        self, group: Any = None, *, measure: str = "cooks_distance", rule: str | float = "4/n", pairs: bool = False,
        refit: bool = False, executor: Any = None,
    ) -> pd.DataFrame:  # fmt: skip
        """The cases that a rule calls influential, the most influential first.

        Parameters
        ----------
        group, pairs, refit, executor
            As for :meth:`influence`.
        measure : str
            ``"cooks_distance"``, ``"mdffits"``, ``"covtrace"``, ``"leverage"`` or ``"cooks_lme4"``.
        rule : {"4/n", "outer fence", "F"} or float
            4 over the number of cases; three interquartile ranges above the upper quartile; the median of F(p, n - p); a number.

        Returns
        -------
        DataFrame
            Their rows of ``influence``. ``attrs["rule"]`` names the rule and its limit, ``attrs["count"]`` how many they are.
        """
        return self.influential_in(
            self.influence(group, pairs=pairs, refit=refit, executor=executor), measure=measure, rule=rule
        )

    def influential_in(
        self, table: pd.DataFrame, *, measure: str = "cooks_distance", rule: str | float = "4/n"
    ) -> pd.DataFrame:
        """The same of a table that :meth:`influence` has given."""
        return influential_cases(table, measure, rule, self.rank, self.n_obs - self.rank)

    def without(self, cases: Any, group: Any = None, *, reason: str = "") -> Any:
        """The same model fitted again without some rows, or without some levels of a grouping.

        Parameters
        ----------
        cases : label or list of labels, or a table of ``influential``
            Rows by the table's labels; levels where ``group`` is given.
        group : optional
            As for :meth:`influence`.
        reason : str
            Why; ``excluded`` of the new fit says so.

        Returns
        -------
        MixedModelFit

        Raises
        ------
        DataError
            Labels that the fit does not have.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> fit.without("337", "Subject").n_obs
        170
        """
        rows = self.named_rows(cases, group)
        again = needed(self).on_rows_of(self)
        kept = np.ones(self.n_obs, dtype=bool)
        kept[rows] = False
        new = exclusions(dict.fromkeys(self.design.index[rows], reason))
        return replace(again, gone=again.gone + new)(self.formula, data=again.data[kept])

    # -- the distribution, and the verdict ----------------------------------------------------------------------

    def residual_envelope(self, simulations: int = 199, seed: int = 1, level: float = 0.95) -> pd.DataFrame:
        """Sorted studentised residuals with the range that the fitted model lets one expect, for a quantile plot.

        Parameters
        ----------
        simulations : int
            Responses to draw from the model at its estimates, whose residuals have the fit's leverages and correlations.
        seed : int
        level : float
            Share of the draws within the range, at each point.

        Returns
        -------
        DataFrame
            Indexed by row, sorted: quantile, residual, lower, upper. Rows that fixed effects reproduce are left out.

        References
        ----------
        Atkinson (1981), Biometrika 68, 13-20. Schuetzenmeister and Piepho (2012), Comput. Stat. Data Anal. 56, 1405-1416.
        """
        found = draws(self._view, simulations, seed)
        order, quantiles, low, high = envelope(found, _probability(level))
        columns = {"quantile": quantiles, "residual": found.observed[order], "lower": low, "upper": high}
        return pd.DataFrame(columns, index=self.design.index[found.rows[order]])

    def residual_tests(self, group: Any = None, *, simulations: int = 999, seed: int = 1) -> pd.DataFrame:
        """Tests of normality, constant variance and outliers, by draws from the fitted model.

        Parameters
        ----------
        group : str, list of str, Series or array, optional
            Groups whose variances are compared.
        simulations, seed
            As for :meth:`residual_envelope`.

        Returns
        -------
        DataFrame
            Indexed by test: name, statistic, p_value, row (of the outlier). Look at the figures first.
        """
        grouping = None if group is None else grouping_of(self.table, group)
        found = draws(self._view, simulations, seed)
        return residual_test_table(found, self.design.index, self.n_obs - self.rank - 1, grouping)

    def check(
        self,
        *,
        row: Any = None,
        col: Any = None,
        by: Any = None,
        alternatives: Sequence[str] | None = None,
        seed: int = 1,
        on_progress: Any = None,
    ) -> Verdict:
        """The verdict: what was found, why it matters, and what to do next, the gravest first.

        Parameters
        ----------
        row, col : str, optional
            The columns of the plots' positions; found by their names where they are not given.
        by : str, optional
            The trials that the plots lie in.
        alternatives : sequence of str, optional
            Residual structures to try. By default one that positions or times suggest, for fits with a plain residual of up to
            3,000 rows; ``()`` tries none.
        seed : int
            Of the draws that residuals are compared with.
        on_progress : callable, optional
            Called with the checks done and all; returning False cancels.

        Returns
        -------
        list of Finding
            Each with severity ("problem", "warning", "note", "ok"), topic, what, why, do; ``.table()`` as a DataFrame.

        Examples
        --------
        >>> import openreml_core as reml
        >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
        >>> fit.check().of("residual structure")[0].subject
        ('id(Subject):ar1(Days)',)
        """
        return verdict(self, row, col, by, alternatives, seed, on_progress=on_progress)

    # -- inner --------------------------------------------------------------------------------------------------

    @cached_property
    def _refitted(self) -> dict[Any, Any]:
        """The last refits: asked again for other tables, they are not repeated."""
        return {}

    def _cases(self, group: Any, pairs: bool, refit: bool, executor: Any, on_progress: Any) -> Cases:
        view, index = self._view, self.design.index
        sets, word, chosen = None, "rows", None
        if group is not None:
            grouping = grouping_of(self.table, group)
            sets, word = grouping.rows(), f"levels of {grouping.name}"
            index = pd.Index(grouping.levels, name=grouping.name)
        if pairs:
            word = f"pairs of {word}"
            if sets is None and not refit:
                first, second, deletions = without_pairs(view)
                named = pd.MultiIndex.from_arrays([index[first], index[second]], names=["first", "second"])
                return Cases(named, None, (first, second), deletions, None, word)
            own = sets if sets is not None else [np.array([i]) for i in range(self.n_obs)]
            first, second = np.triu_indices(len(own), 1)
            sets = [np.sort(np.concatenate([own[i], own[j]])) for i, j in zip(first, second, strict=True)]
            index = pd.MultiIndex.from_arrays([index[first], index[second]], names=["first", "second"])
        if refit:
            len(self.design.y)
            chosen = sets if sets is not None else [np.array([i]) for i in range(self.n_obs)]
            key = (word, *(rows.tobytes() for rows in chosen))
            if key not in self._refitted:
                self._refitted.clear()
                self._refitted[key] = refits_without(view, chosen, executor, on_progress)
            refits = self._refitted[key]
            return Cases(index, sets, None, refits.deletions, refits, word)
        deletions = without_rows(view) if sets is None else without_sets(view, sets)
        return Cases(index, sets, None, deletions, None, word)


def _probability(level: Any) -> float:
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ModelError(f"level={level!r} is not a probability.", hint="Give a number between 0 and 1, such as 0.95.")
    return float(level)
