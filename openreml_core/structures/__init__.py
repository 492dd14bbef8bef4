"""From notation to structures: a random term's or the residual's words to Sigma(theta) and the parts of V."""

from openreml_core.structures.random import levels_and_kernel, random_structure, random_term
from openreml_core.structures.residual import residual_parts

__all__ = ["levels_and_kernel", "random_structure", "random_term", "residual_parts"]
