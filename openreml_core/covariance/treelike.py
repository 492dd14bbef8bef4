"""What structures and correlations share with the nodes of trees: they can be written, evaluated and set as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from openreml_core.covariance.matrix import Matrix


class Treelike:
    """A structure or correlation that stands in a tree as a leaf.

    Examples
    --------
    >>> from openreml_core.covariance import AR1, Diagonal, Scaled
    >>> (Diagonal(2) + Scaled(2))().diagonal()
    tensor([2., 2.], dtype=torch.float64)
    >>> AR1(3)({"rho": 0.5})[0]
    tensor([1.0000, 0.5000, 0.2500], dtype=torch.float64)
    """

    #: Its node, made when it is first asked for.
    leaf: Matrix | None = None

    @property
    def node(self) -> Matrix:
        """The leaf itself: one, in however many places of a tree."""
        from openreml_core.covariance.structure_leaf import as_matrix  # which stands on the structures

        return as_matrix(self)

    def __call__(self, theta: Any = None) -> Tensor:
        """The matrix at free values (a tensor), at natural values by path (a mapping), or at the defaults."""
        return self.node(theta)

    def value(self, theta: Any = None) -> Tensor:
        """The same by name."""
        return self.node(theta)

    def set(self, path: str = "", **options: Any) -> Matrix:
        """Change parameters as :meth:`Matrix.set` does; returns the leaf."""
        return self.node.set(path, **options)

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters by path."""
        return self.node.parameters

    def tree(self, theta: Any = None) -> dict[str, Tensor]:
        """Its matrix, by the path ``""``."""
        return self.node.tree(theta)

    @property
    def shape(self) -> tuple[int, int]:
        """(k, k)."""
        return self.node.shape

    def __add__(self, other: Any) -> Matrix:
        return self.node + other

    def __matmul__(self, other: Any) -> Matrix:
        return self.node @ other

    @property
    def T(self) -> Matrix:
        """The transpose."""
        return self.node.T
