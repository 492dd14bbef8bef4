"""New rows as combinations of what was fitted: t = x'b + sum of z'u + r, z by the places of a term's effects.

The effects of level j stand at places j k ... j k + k - 1 of a term's u, as in the incidence of the fit's own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openreml_core.covariance import SmoothTerm
from openreml_core.design import Design, RandomDesign
from openreml_core.design.columns import as_factor
from openreml_core.design.table import Table
from openreml_core.errors import DataError, ModelError, did_you_mean
from openreml_core.model import RandomPart
from openreml_core.prediction.effects import effect_rows

#: What names the conditional expectation of correlated residuals among the random parts of a prediction.
RESIDUAL = "residual"


@dataclass(frozen=True, eq=False)
class TermRows:
    """A random term in m new rows.

    Attributes
    ----------
    columns : Tensor of shape (m, w), int64
        Places of the effects that a row shows.
    values : Tensor of shape (m, w)
        z at these places; zeros where the level is new.
    rest : array of shape (m,)
        Variance of what the fit's effects leave open, in units of sigma2: all of it where the level is new.
    prior : array of shape (m,)
        Variance of the term in a row before anything is known of its level.
    missing : bool array of shape (m,)
        Rows that lack a value.
    """

    columns: Tensor
    values: Tensor
    rest: np.ndarray
    prior: np.ndarray
    missing: np.ndarray

    def times(self, u: Tensor) -> np.ndarray:
        """z'u of every row, u (q, k)."""
        return (u.reshape(-1)[self.columns] * self.values).sum(dim=1).numpy()

    def dense(self, rows: slice, shape: tuple[int, int]) -> Tensor:
        """z of some rows, (q, k, c)."""
        columns, values = self.columns[rows], self.values[rows]
        out = torch.zeros(shape[0] * shape[1], len(columns), dtype=torch.float64)
        which = torch.arange(len(columns))[:, None].expand(columns.shape)
        out.index_put_((columns.reshape(-1), which.reshape(-1)), values.reshape(-1), accumulate=True)
        return out.reshape(*shape, -1)


def chosen_terms(design: Design, random: bool | str | Sequence[str]) -> tuple[tuple[bool, ...], bool]:
    """Which random terms a prediction holds, and whether correlated residuals are predicted with it.

    A name is a term's, or one that several terms share: ``"spl2d(row, col)"`` is all five parts of the surface.

    Raises
    ------
    ModelError
        A name that no term has.
    """
    if isinstance(random, bool | np.bool_):
        return (bool(random),) * len(design.random), False
    asked = [random] if isinstance(random, str) else list(random)
    names = [r.name for r in design.random]
    chosen = [False] * len(names)
    for name in asked:
        if name == RESIDUAL and name not in names:
            continue
        exact = [place for place, own in enumerate(names) if own == name]
        found = exact or [place for place, r in enumerate(design.random) if name in (r.term.name, r.term.text)]
        if not found:
            known = [*names, RESIDUAL]
            raise ModelError(
                f"random names *{name}*, which is no random term of this model.",
                hint=did_you_mean(str(name), known).replace("The columns are", "The terms are"),
            )
        for place in found:
            chosen[place] = True
    return tuple(chosen), RESIDUAL in asked and RESIDUAL not in names


def term_rows(random: RandomDesign, term: RandomPart, theta: Tensor, table: Table, new_levels: str) -> TermRows:
    """A random term over the rows of a table.

    Parameters
    ----------
    random : RandomDesign
    term : random part of the model
    theta : Tensor
        The term's free parameters.
    table : Table of m rows
    new_levels : {"error", "population", "left out"}
        What becomes of levels that the fit has not seen: an error; zero with the variance they have before they are seen;
        ``"left out"`` where only the variance of the term is asked for: columns of the grouping may then be absent.

    Raises
    ------
    DataError
        New levels, by name.
    """
    effects = effect_rows(random.left, term.structure, theta, table)
    m, k = len(table), effects.weights.shape[1]
    codes, absent = _levels(random, term, table, needed=new_levels != "left out")
    missing = np.isnan(effects.weights).any(axis=1) | absent
    new = (codes < 0) & ~missing
    if new_levels == "error" and new.any():
        _refuse(random, table, new)
    own = _own_variances(term, codes)
    smooth = isinstance(term, SmoothTerm)
    places = np.arange(k)[None, :] + (0 if smooth else np.clip(codes, 0, None)[:, None] * k)
    known = (codes >= 0) & ~missing
    return TermRows(
        columns=torch.from_numpy(np.broadcast_to(places, (m, k)).copy()),
        values=torch.from_numpy(np.where(known[:, None], effects.weights, 0.0)),
        rest=np.where(known, own * effects.rest, own * effects.prior),
        prior=own * effects.prior,
        missing=missing,
    )


def _levels(random: RandomDesign, term: RandomPart, table: Table, *, needed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The level of each row among the term's, -1 for a new one; and which rows have none."""
    if not needed and any(name not in table.own for name in random.group):
        return np.full(len(table), -1, dtype=np.int64), np.zeros(len(table), dtype=bool)
    columns = [table.column(name, random.term.text) for name in random.group]
    missing = np.zeros(len(table), dtype=bool)
    for column in columns:
        missing |= column.isna().to_numpy()
    codes = random.level_codes(table)
    if term.kernel is not None:
        # A relationship knows levels that have no rows.
        place = {level: code for code, level in enumerate(term.levels)}
        names = _names(random, table)
        for row in np.flatnonzero((codes < 0) & ~missing):
            codes[row] = place.get(names[row], -1)
    return codes, missing & needed


def _names(random: RandomDesign, table: Table) -> list[str]:
    """``"R1:B1"`` for every row."""
    parts = []
    for name in random.group:
        factor = as_factor(table.column(name, random.term.text))
        levels = np.array([*factor.levels, ""], dtype=object)
        parts.append(levels[factor.codes])
    return [":".join(row) for row in zip(*parts, strict=True)]


def _refuse(random: RandomDesign, table: Table, new: np.ndarray) -> None:
    names = _names(random, table)
    levels = list(dict.fromkeys(names[row] for row in np.flatnonzero(new)))
    shown = ", ".join(levels[:5]) + (f" and {len(levels) - 5} more" if len(levels) > 5 else "")
    raise DataError(
        f"The new data have {'the level' if len(levels) == 1 else 'levels'} {shown} of *{random.term.group_name}*, "
        "which the fit has not seen.",
        hint='new_levels="population" predicts new levels at zero, their mean, with the variance they may have.',
    )


def _own_variances(term: RandomPart, codes: np.ndarray) -> np.ndarray:
    """K_jj of each row's level, the mean of the diagonal for a new one; 1 without a relationship."""
    if term.kernel is None:
        return np.ones(len(codes))
    diagonal = term.kernel.diagonal().numpy()
    return np.where(codes >= 0, diagonal[np.clip(codes, 0, None)], diagonal.mean())
