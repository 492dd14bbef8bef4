"""Formula and table to arrays: y, X of full rank, level codes and bases of the random terms."""

from openreml_core.design.arrays import Design, FixedTerm
from openreml_core.design.build import build_design
from openreml_core.design.random import RandomDesign

__all__ = ["Design", "FixedTerm", "RandomDesign", "build_design"]
