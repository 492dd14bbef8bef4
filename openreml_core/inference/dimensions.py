"""Effective dimensions: how many effects' worth of the data each part of the model explains.

    ED_t = tr(Z_t G_t Z_t' P) = sum over the effects of 1 - PEV / Var(u),    sum_t ED_t + tr(R P) + p = n

A random term shrinks its effects, and so uses fewer dimensions than it has effects; a genotype's effective dimension over
the number of genotypes less one is a generalised heritability (Rodriguez-Alvarez, Boer, van Eeuwijk and Eilers 2018, Spat.
Stat. 23, 52-71; Oakey, Verbyla, Pitchford, Cullis and Kuchel 2006, Theor. Appl. Genet. 113, 809-819).
"""

from __future__ import annotations

import pandas as pd
import torch

from openreml_core.reml import Estimates


def dimension_table(estimates: Estimates) -> pd.DataFrame:
    """The table of ``fit.effective_dimensions()``: the fixed part, then every random term and part of the residual."""
    model, at = estimates.engine.model, estimates.at
    p = at.project(torch.eye(model.n, dtype=model.y.dtype))
    rows = [{"term": "(fixed)", "effects": model.p, "dimension": float(model.p)}]
    counts = [t.copies * t.structure.size for t in model.terms] + [len(model.y)] * len(model.residuals)
    # sigma2 in G and 1 / sigma2 in P cancel.
    for component, sigma, count in zip(model.all_components, model.relative(at.theta), counts, strict=True):
        dimension = float((component.pair(p) * sigma).sum())
        rows.append({"term": component.name, "effects": count, "dimension": dimension})
    return pd.DataFrame(rows)
