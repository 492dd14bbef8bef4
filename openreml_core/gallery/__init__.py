"""Every covariance structure in a sentence and a picture: what it is for, what it costs, what its matrix looks like."""

from openreml_core.gallery.description import (
    StructureDescription,
    describe_structure,
    structure_gallery,
    suitable_structures,
)
from openreml_core.gallery.entries import FAMILIES

__all__ = ["FAMILIES", "StructureDescription", "describe_structure", "structure_gallery", "suitable_structures"]
