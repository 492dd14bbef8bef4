"""The table of marginal means, and what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from openreml_core.inference.contrast_sets import contrast_set
from openreml_core.inference.contrasts import DDF
from openreml_core.inference.means import JOIN, MarginalMeans, compact_letters


class Means(pd.DataFrame):
    """Marginal means: a DataFrame with a row per mean (its levels, estimate, std_error, df, lower, upper), and their comparisons.

    Whatever is made of it by pandas is a plain DataFrame.

    Attributes
    ----------
    answer : MarginalMeans
        The combinations of effects and their covariance.
    """

    _metadata = ["answer"]  # noqa: RUF012 (pandas wants a list)
    answer: MarginalMeans

    def __init__(self, answer: MarginalMeans) -> None:
        super().__init__(answer.table())
        self.answer = answer
        self.attrs = {"ddf": DDF[answer.ddf], "level": answer.level, "notes": answer.notes}

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    @property
    def frame(self) -> pd.DataFrame:
        """The table as a plain DataFrame."""
        return pd.DataFrame(self)

    @property
    def by(self) -> tuple[str, ...]:
        """The factors within whose levels means are compared."""
        return self.answer.by

    @property
    def labels(self) -> list[str]:
        """The name of each mean, within its levels of ``by``."""
        return self.answer.labels

    @property
    def notes(self) -> tuple[str, ...]:
        """What was averaged over, where covariates stand, what cannot be estimated."""
        return self.answer.notes

    # -- comparisons --------------------------------------------------------------------------------------------

    def pairs(self, adjust: str = "tukey") -> pd.DataFrame:
        """All pairwise differences, within the levels of ``by``.

        Parameters
        ----------
        adjust : {"tukey", "holm", "bonferroni", "sidak", "fdr", "mvt", "none"}
            For the number of differences. Holm's intervals are Bonferroni's; those of FDR are not adjusted.

        Returns
        -------
        DataFrame
            contrast (``"a - b"``), estimate, std_error, df, t, p_value, lower, upper.
        """
        return self.answer.compared(self.answer.pairs(), adjust)

    def contrast(
        self,
        method: Any = "pairwise",
        *,
        adjust: str | None = None,
        control: Any = None,
        scores: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Contrasts between the means, within the levels of ``by``.

        Parameters
        ----------
        method : str, dict, DataFrame or array
            ``"control"`` (each less one of them, by Dunnett), ``"poly"`` (orthogonal polynomials, over equal steps unless
            ``scores`` says), ``"pairwise"``, ``"mean"`` (each less the mean of all), ``"consecutive"``, ``"helmert"``; or
            weights: ``{"late - early": {"a": -1, "c": 1}}``, a row of numbers per contrast.
        adjust : str, optional
            As for ``pairs``, and ``"dunnett"``; by default Tukey for pairs, Dunnett for a control, none for the rest.
        control : level or place, optional
            What is compared with; the first by default.
        scores : sequence of float, optional

        Returns
        -------
        DataFrame
            As ``pairs``.
        """
        labels = self.answer.labels
        sets = [
            contrast_set(method, [labels[i] for i in group], control=control, scores=scores)
            for _, group in self.answer.groups
        ]
        usual = {"pairwise": "tukey", "control": "dunnett", "trt.vs.ctrl": "dunnett", "dunnett": "dunnett"}
        if adjust is None:
            adjust = usual.get(method, "none") if isinstance(method, str) else "none"
        return self.answer.compared(sets, adjust)

    def letters(self, alpha: float = 0.05, adjust: str = "tukey") -> pd.DataFrame:
        """The table with a column ``letters``: means that share one do not differ significantly; "a" stands at the largest.

        Parameters
        ----------
        alpha : float
        adjust : str
            As for ``pairs``.
        """
        p = self.pairs(adjust)["p_value"].to_numpy()
        marks, first = [""] * len(self), 0
        estimate = self.answer.found.estimate
        for _, group in self.answer.groups:
            c = len(group)
            different = np.zeros((c, c), dtype=bool)
            upper = np.triu_indices(c, 1)
            different[upper] = p[first : first + len(upper[0])] < alpha
            first += len(upper[0])
            there = [k for k in np.argsort(-estimate[group], kind="stable") if np.isfinite(estimate[group[k]])]
            for k, letters in enumerate(compact_letters(there, different | different.T)):
                marks[group[k]] = letters
        return self.frame.assign(letters=marks)

    # -- precision of differences -------------------------------------------------------------------------------

    @property
    def sed(self) -> pd.DataFrame:
        """Standard errors of all differences, (c, c)."""
        names = [JOIN.join(str(v) for v in row) for row in self.answer.cells.itertuples(index=False, name=None)]
        return pd.DataFrame(np.sqrt(self.answer.difference_variance), index=names, columns=names)

    @property
    def average_sed(self) -> float:
        """Square root of the mean variance of a difference, over the pairs within the levels of ``by``."""
        variances = [
            self.answer.difference_variance[np.ix_(g, g)][np.triu_indices(len(g), 1)] for _, g in self.answer.groups
        ]
        return float(np.sqrt(np.nanmean(np.concatenate(variances)))) if sum(map(len, variances)) else float("nan")

    @property
    def lsd(self) -> float:
        """Least significant difference at the level of the intervals: t times the average SED, t on the differences' mean df."""
        df = self.pairs("none")["df"].to_numpy()
        df = df[np.isfinite(df)].mean() if np.isfinite(df).any() else np.inf
        return float(stats.t.isf((1 - self.answer.level) / 2, df) * self.average_sed)

    # -- text ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self._footer])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p><small>{escape(line)}</small></p>" for line in self._footer)
        return f"{super()._repr_html_()}{notes}"

    @property
    def _footer(self) -> list[str]:
        percent = f"{100 * self.answer.level:g} % intervals; degrees of freedom: {DDF[self.answer.ddf]}."
        return [*self.notes, percent]
