"""Linear mixed models by restricted maximum likelihood.

    y = X b + Z u + e,      u ~ N(0, G(theta)),   e ~ N(0, R(theta)),   V(theta) = Z G Z' + R

    X b     fixed effects, estimated as b (BLUE)
    Z u     random effects, predicted as u^ (BLUP)
    theta   the variance parameters, estimated by maximising the restricted likelihood

``fit`` takes a formula with bars and a table and returns a :class:`MixedModelFit`:

    >>> import openreml_core as reml
    >>> data = reml.load_sample("sleepstudy")
    >>> fit = reml.fit("Reaction ~ Days + (Days | Subject)", data)
    >>> round(fit.criterion, 4)
    1743.6283
"""

from __future__ import annotations

from openreml_core import hierarchical
from openreml_core.by_hand import CovarianceFit, fit_covariance
from openreml_core.design import Design, build_design
from openreml_core.errors import ConvergenceError, DataError, FitCancelled, FormulaError, ModelError, RepeatCancelled
from openreml_core.fitted import MixedModelFit
from openreml_core.fitted.comparing import compare
from openreml_core.fitting import fit
from openreml_core.gallery import StructureDescription, describe_structure, structure_gallery, suitable_structures
from openreml_core.loading import load
from openreml_core.many import FitDone, ManyFits, fit_many
from openreml_core.notation import Formula, RandomTerm, compose_formula, parse_formula
from openreml_core.preview import ModelPreview, preview
from openreml_core.relationship import LabelledInverse, Markers, Pedigree, relationship_matrix
from openreml_core.reml import TraceRow
from openreml_core.tables import (
    Role,
    Sample,
    apply_roles,
    describe_columns,
    describe_design,
    guess_roles,
    load_sample,
    read_table,
    sample_data,
    suggest_formula,
)

__version__ = "0.1.0"

__all__ = [
    "ConvergenceError",
    "CovarianceFit",
    "DataError",
    "Design",
    "FitCancelled",
    "FitDone",
    "Formula",
    "FormulaError",
    "LabelledInverse",
    "ManyFits",
    "Markers",
    "MixedModelFit",
    "ModelError",
    "ModelPreview",
    "Pedigree",
    "RandomTerm",
    "RepeatCancelled",
    "Role",
    "Sample",
    "StructureDescription",
    "TraceRow",
    "apply_roles",
    "build_design",
    "compare",
    "compose_formula",
    "describe_columns",
    "describe_design",
    "describe_structure",
    "fit",
    "fit_covariance",
    "fit_many",
    "guess_roles",
    "hierarchical",
    "load",
    "load_sample",
    "parse_formula",
    "preview",
    "read_table",
    "relationship_matrix",
    "sample_data",
    "structure_gallery",
    "suggest_formula",
    "suitable_structures",
]
