"""What intervals are given for: standard deviations, correlations, the structures' own parameters, fixed effects.

Variances are reported as standard deviations, the covariances of an unstructured matrix as correlations:

    sd_a = sqrt(Sigma_aa),    cor_ab = Sigma_ab / sqrt(Sigma_aa Sigma_bb)

Names are lme4's where lme4 has such a parameter: ``sd_Days|Subject``, ``cor_Days.(Intercept)|Subject``, ``sigma``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openreml_core.covariance.parameters import is_variance
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel

SD, CORRELATION, RANGE, FIXED = "standard deviation", "correlation", "range", "fixed effect"


@dataclass(frozen=True)
class Quantity:
    """A number that an interval is of.

    Attributes
    ----------
    name : str
    group : str
        Random term or part of the residual; ``"fixed"``.
    kind : str
        ``"standard deviation"``, ``"correlation"``, ``"fixed effect"``, or a natural parameter's kind.
    place : int
        Its natural parameter (of a correlation from a covariance, the covariance), or its fixed effect.
    variances : tuple of int
        Natural parameters that a covariance is divided by.
    parameter : str
        What ``fit.parameters`` calls the natural parameter.
    """

    name: str
    group: str
    kind: str
    place: int
    variances: tuple[int, ...] = ()
    parameter: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether it is a fixed effect."""
        return self.kind == FIXED

    def of(self, natural: np.ndarray, beta: np.ndarray) -> np.ndarray:
        """Its value from natural parameters (..., m) and fixed effects (..., p); a correlation without variance is NaN."""
        if self.is_fixed:
            return beta[..., self.place]
        value = natural[..., self.place]
        if self.kind == SD:
            return np.sqrt(np.clip(value, 0.0, None))
        if self.variances:
            product = natural[..., self.variances[0]] * natural[..., self.variances[1]]
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(product > 0, np.clip(value / np.sqrt(product), -1.0, 1.0), np.nan)
        return value


def quantities(model: MixedModel) -> list[Quantity]:
    """Everything that intervals can be of: by term as lme4 has it, the residual, then the fixed effects."""
    out: list[Quantity] = []
    start = 0
    names = model.parameter_names
    for place, component in enumerate(model.all_components):
        natural = component.structure.natural
        where = {(q.name1, q.name2): start + i for i, q in enumerate(natural)}
        own = []
        for i, q in enumerate(natural, start=start):
            residual = place >= len(model.terms)
            if is_variance(q.kind):
                if not component.name:  # a tree, whose parameters carry their paths
                    name = f"sd_{names[i]}"
                elif residual:
                    name = _sigma(component.name, q.name1)
                else:
                    name = f"sd_{_of(q.label, q.name1)}|{component.name}"
                own.append(Quantity(name, component.name, SD, i, parameter=names[i]))
            elif q.kind == "covariance" and (q.name1, "") in where and (q.name2, "") in where:
                pair = (where[q.name1, ""], where[q.name2, ""])
                name = f"cor_{q.name2}.{q.name1}|{component.name}"
                own.append(Quantity(name, component.name, CORRELATION, i, pair, parameter=names[i]))
            else:
                own.append(Quantity(names[i], component.name, q.kind, i, parameter=names[i]))
        order = {
            p: rank for rank, p in enumerate(sorted(where.values(), key=lambda p: _column(natural[p - start], where)))
        }
        out += sorted(own, key=lambda q: order[q.place])
        start += len(natural)
    out += [Quantity(name, "fixed", FIXED, j) for j, name in enumerate(model.fixed_names)]
    return out


def _of(label: str, name: str) -> str:
    """The effect whose standard deviation it is; a structure's own variance is called by its label."""
    return name or label.removesuffix("variance").rstrip(".") or "(Intercept)"


def _sigma(component: str, name: str) -> str:
    """``sigma``, ``sigma[C1]``, ``sigma_units``, ``sigma_8`` for a part of the residual."""
    rest = component.removeprefix("residual")
    rest = f"_{rest}" if rest == component else rest
    return f"sigma{rest}{f'_{name}' if name and name != 'units' else ''}"


def _column(q: object, where: dict[tuple[str, str], int]) -> tuple[int, int]:
    """lme4's order, down the columns of Sigma's lower triangle: a variance, then its covariances with later effects."""
    name1, name2 = q.name1, q.name2  # type: ignore[attr-defined]
    first = where.get((name1, ""), where[name1, name2])
    return first, where[name1, name2] if name2 else -1


def chosen(known: Sequence[Quantity], parameters: object) -> list[Quantity]:
    """The quantities that a user names: one or several, a term's name for all of its own, ``"fixed"``, ``"random"``.

    Raises
    ------
    ModelError
        For a name that is not known.
    """
    if parameters is None:
        return list(known)
    asked = [parameters] if isinstance(parameters, str) else parameters
    if not isinstance(asked, Sequence) or not all(isinstance(name, str) for name in asked) or not asked:
        raise ModelError(f"parameters={parameters!r} names no parameters.", hint="Give a name, or a list of names.")
    out = []
    for name in asked:
        found = [q for q in known if name in (q.name, q.group, q.parameter) or (name == "random" and not q.is_fixed)]
        if not found:
            names = ", ".join(q.name for q in known[:12])
            raise ModelError(f"*{name}* is no parameter of this model.", hint=f"There are: {names}.")
        out += [q for q in found if q not in out]
    return [q for q in known if q in out]
