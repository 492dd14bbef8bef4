"""Effective dimensions: how many effects' worth of the data each part of the model explains.

    ED_t = tr(Z_t G_t Z_t' P) = sum over the effects of 1 - PEV / Var(u),    sum_t ED_t + tr(R P) + p = n

A random term shrinks its effects, and so uses fewer dimensions than it has effects; a genotype's effective dimension over
the number of genotypes less one is a generalised heritability (Rodriguez-Alvarez, Boer, van Eeuwijk and Eilers 2018, Spat.
Stat. 23, 52-71; Oakey, Verbyla, Pitchford, Cullis and Kuchel 2006, Theor. Appl. Genet. 113, 809-819).
"""

from __future__ import annotations

import pandas as pd

from openreml_core.reml import Estimates


def dimension_table(estimates: Estimates) -> pd.DataFrame:
    """The table of ``fit.effective_dimensions()``: the fixed part, then every random term and part of the residual."""
    model, at = estimates.engine.model, estimates.at
    effects = [t.copies * t.structure.size for t in model.terms] + [model.n] * len(model.residuals)
    return pd.DataFrame(
        {
            "term": ["(fixed)", *(c.name for c in model.all_components)],
            "effects": [model.p, *effects],
            "dimension": [float(model.p), *estimates.engine.effective_dimensions(at)],
        }
    )
