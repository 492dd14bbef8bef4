"""What a model is before it is fitted: its size, its parameters in words, its equation, what to watch out for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from openreml_core.assembly import build_model
from openreml_core.covariance import NaturalParameter
from openreml_core.design import Design
from openreml_core.engines import Plan, plan
from openreml_core.errors import ModelError
from openreml_core.inference import labelled, rows_covariance, telling_rows
from openreml_core.model import MixedModel
from openreml_core.notation import Formula, Residual, latex, parse_residual
from openreml_core.tables import exclusions, left_in


@dataclass(frozen=True, eq=False)
class ModelPreview:
    """A model's size and content.

    Attributes
    ----------
    formula : Formula
    n_obs, n_dropped, rank : int
        Rows used and left out; fixed effects estimated.
    aliased : tuple of str
        Fixed effects left out because others determine them.
    terms : DataFrame
        A row per random term: term, structure, effects, levels, parameters.
    parameters : tuple of str
        What will be estimated, a line per variance parameter.
    n_parameters : int
        Number of variance parameters.
    latex : str
        The equation.
    plan : Plan
        Which engine will fit it, and the memory and time that is expected to take.
    warnings : tuple of str
    design : Design
    model : MixedModel
    residual : Residual
    """

    formula: Formula
    n_obs: int
    n_dropped: int
    rank: int
    aliased: tuple[str, ...]
    terms: pd.DataFrame
    parameters: tuple[str, ...]
    n_parameters: int
    latex: str
    plan: Plan
    warnings: tuple[str, ...]
    design: Design = field(repr=False)
    model: MixedModel = field(repr=False)
    residual: Residual = field(repr=False)

    @property
    def engine(self) -> str:
        """Which engine will fit it."""
        return self.plan.engine

    def covariance(self, part: str = "all", most: int = 60) -> pd.DataFrame | None:
        """V of the first rows, related rows together, at the values that the search starts from.

        Scaled to the variance that the fixed effects alone leave, so that it can be read before anything is estimated.

        Parameters
        ----------
        part : {"all", "residual"}
            V, or its part R.
        most : int
            Rows.

        Returns
        -------
        DataFrame of shape (m, m), named by what places a row; None where a structure is too large for a look.
        """
        if part not in ("all", "residual"):
            raise ModelError(f"part={part!r} is not known.", hint="Choose 'all' or 'residual'.")
        model = self.model
        rows, names = telling_rows(self.design, self.residual, most)
        wanted = model.residuals if part == "residual" else model.all_components
        v = rows_covariance(model, model.start(), 1.0, rows, wanted)
        if v is None:
            return None
        scale = model.typical_deviation**2 / float(v.diagonal().mean())
        return labelled(scale * v, names)


def preview(
    formula: str,
    data: pd.DataFrame,
    *,
    residual: str | None = None,
    relationship: Mapping[str, Any] | None = None,
    method: str = "reml",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    contrasts: Mapping[str, Any] | None = None,
    engine: str = "auto",
    missing: str = "drop",
    exclude: Mapping[Any, str] | Sequence[Any] | None = None,
) -> ModelPreview:
    """Describe a model without fitting it; the options are those of :func:`openreml_core.fit`.

    Raises
    ------
    ModelError
        Whatever ``fit`` would refuse, before it starts.

    Examples
    --------
    >>> import openreml_core as reml
    >>> seen = reml.preview("yield ~ rep + (1 | gen) + (1 | rep:block)", reml.load_sample("john_alpha"))
    >>> seen.n_obs, seen.rank, seen.n_parameters
    (72, 3, 3)
    """
    rows, weights, offset = left_in(data, exclusions(exclude), weights, offset)
    design, model = build_model(
        formula,
        rows,
        residual=residual,
        relationship=relationship,
        method=method,
        weights=weights,
        offset=offset,
        contrasts=contrasts,
        missing=missing,
    )
    terms = pd.DataFrame(
        [
            {
                "term": t.name,
                "structure": t.structure.keyword,
                "effects": _shortened(t.structure.names),
                "levels": len(t.levels),
                "parameters": t.structure.n_parameters,
            }
            for t in model.terms
        ],
        columns=["term", "structure", "effects", "levels", "parameters"],
    )
    return ModelPreview(
        formula=design.formula,
        n_obs=model.n,
        n_dropped=design.n_dropped,
        rank=model.p,
        aliased=design.aliased,
        terms=terms,
        parameters=parameter_lines(model),
        n_parameters=len(model.parameter_names),
        latex=latex(design.formula, residual=parse_residual(residual), related=tuple(relationship or ())),
        plan=plan(engine, model),
        warnings=tuple(design.warnings),
        design=design,
        model=model,
        residual=parse_residual(residual),
    )


def _shortened(names: Sequence[str], most: int = 12) -> str:
    """Names side by side, many of them by the first, the last and their number."""
    return ", ".join(names) if len(names) <= most else f"{names[0]}, ..., {names[-1]} ({len(names)})"


def parameter_lines(model: MixedModel) -> tuple[str, ...]:
    """One line per variance parameter, in words."""
    lines = []
    for term in model.terms:
        for q in term.structure.natural:
            name1, name2 = (n.replace("(Intercept)", "the intercept") for n in (q.name1, q.name2))
            if term.structure.keyword in ("spl", "spl2d"):
                lines.append(f"variance of {term.name}, {len(term.levels) * term.structure.size} effects")
            elif q.kind == "variance":
                effect = "" if not name1 or (term.structure.size == 1 and q.name1 == "(Intercept)") else f" of {name1}"
                between = f" between the {len(term.levels)} levels" if len(term.levels) > 1 else ""
                lines.append(f"variance{effect}{between} of {term.name}")
            else:
                pair = f" of {name1} and {name2}" if name2 else _labelled(q) if q.label else f" of {name1}"
                lines.append(f"{q.kind}{pair} over the levels of {term.name}")
    for part in model.residuals:
        lines += [_residual_line(part.name, q) for q in part.structure.natural]
    return tuple(lines)


def _residual_line(name: str, q: NaturalParameter) -> str:
    """A parameter of the residual in words; ``name`` is its part of R, such as ``residual[C1]`` or ``units``."""
    base, _, section = name.partition("[")
    where = f" in {section.removesuffix(']')}" if section else ""
    if q.kind == "variance":
        own = "" if q.name1 in ("", "units") else f" of {q.name1}"
        return f"residual variance{own or (' of the units' if base == 'units' else '')}{where}"
    pair = f" of {q.name1} and {q.name2}" if q.name2 else _labelled(q) if q.label else f" of {q.name1}"
    return f"{q.kind}{pair} of the residual{where}"


def _labelled(q: NaturalParameter) -> str:
    """A parameter's own name behind its kind, unless it is no more than its kind."""
    return "" if q.label == q.kind else f" {q.label}"
