"""Relationship matrices K of a random term's levels, u ~ N(0, sigma^2 K): from pedigrees, markers or a given matrix.

Symbols
-------
A  additive (numerator) relationships by pedigree, A = T D T'
F  inbreeding, A_ii = 1 + F_i
G  genomic relationships by markers
"""

from __future__ import annotations

from openreml_core.relationship.build import relationship_matrix
from openreml_core.relationship.markers import Markers
from openreml_core.relationship.matrix import Relationship
from openreml_core.relationship.pedigree import LabelledInverse, Pedigree
from openreml_core.relationship.reading import (
    KINDS,
    RelationshipReading,
    read_relationship,
    relationship_kind,
)

__all__ = [
    "KINDS",
    "LabelledInverse",
    "Markers",
    "Pedigree",
    "Relationship",
    "RelationshipReading",
    "read_relationship",
    "relationship_kind",
    "relationship_matrix",
]
