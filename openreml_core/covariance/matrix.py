"""A tree of matrices that parameters carry: what a user builds by hand.

    V = Sum(gen=Propagated(Dummy(gen), Scaled(24)), residual=Scaled(72))

Every node is a :class:`Matrix`: a shape, parameters of its own, operands below it, and ``of(values, operands)``, its value.
A parameter is named by its path, ``block/1/sigma2``: the operands from the top down, by name or by place from 0 on. The
single operand of a node and the G of Z G Z' add no step. Where a path is asked for, steps may be left out as long as one
parameter answers (``block/sigma2``). What people read is a parameter's natural value, what the optimiser moves its free
one, natural = transform(free). A node that stands in two places has one set of parameters.

Derivatives are never held as n x n x m arrays: ``derivatives`` gives one matrix after the other (a node's own formula where it
has one, forward-mode autograd where not), ``gradient`` pairs them all with one M in one reverse sweep.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from openreml_core.covariance import slopes, walks
from openreml_core.covariance.parameters import ByPath, Parameter, resolve
from openreml_core.covariance.searched import Searched
from openreml_core.covariance.structure import along, forward_derivatives, reverse_curvature, reverse_gradient
from openreml_core.covariance.transforms import Transform
from openreml_core.errors import ModelError, did_you_mean

MANUAL, AUTOMATIC = "manual", "automatic"


class Matrix(Searched, ABC):
    """A matrix that parameters carry.

    Parameters
    ----------
    shape : (int, int)
    parameters : sequence of Parameter
        Its own.
    operands : mapping of str to Matrix
        The nodes below it, by name.
    """

    #: Whether the node gives derivatives of its own (``manual``) and whether they are used.
    has_manual: bool = False

    def __init__(
        self,
        shape: tuple[int, int],
        parameters: Sequence[Parameter] = (),
        operands: Mapping[str, Matrix] | None = None,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self._own = list(parameters)
        self.operands: dict[str, Matrix] = dict(operands or {})
        self._mode = MANUAL if self.has_manual else AUTOMATIC

    # -- what a node says of itself -----------------------------------------------------------------------------

    @abstractmethod
    def of(self, values: Tensor, operands: Sequence[Tensor]) -> Tensor:
        """The matrix, (rows, columns), from its own natural values (m,) and its operands' matrices."""

    def of_free(self, free: Tensor, operands: Sequence[Tensor]) -> Tensor:
        """The same from its own free values."""
        return self.of(self.own_natural(free), operands)

    def own_natural(self, free: Tensor) -> Tensor:
        """Its own natural values from the free ones."""
        parts = [p.transform.forward(x) for p, x in zip(self._own, free, strict=True)]
        return torch.stack(parts) if parts else free

    def own_free(self, natural: Tensor) -> Tensor:
        """Its own free values from the natural ones."""
        parts = [p.transform.inverse(x) for p, x in zip(self._own, natural, strict=True)]
        return torch.stack(parts) if parts else natural

    def own_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        """d of / d own free parameters, by formula; only where ``has_manual``."""
        raise NotImplementedError

    def own_natural_derivatives(self, free: Tensor, operands: Sequence[Tensor]) -> Iterator[Tensor]:
        """d of / d own natural values, by forward-mode autograd unless the node knows better."""
        return forward_derivatives(lambda natural: self.of(natural, operands), self.own_natural(free))

    def push(self, free: Tensor, operands: Sequence[Tensor], which: int, tangent: Tensor) -> Tensor:
        """The node's change with operand ``which`` changing by ``tangent``; by forward-mode autograd unless it knows better."""

        def value(x: Tensor) -> Tensor:
            return self.of_free(free, [x if i == which else o for i, o in enumerate(operands)])

        return along(value, operands[which], tangent)

    # -- the tree -----------------------------------------------------------------------------------------------

    def nodes(self) -> dict[str, Matrix]:
        """Every node of the tree by path; ``""`` is this one. A node that stands twice is listed at its first place."""
        return walks.nodes(self)

    def _listed(self) -> list[tuple[str, Matrix, int]]:
        """Every parameter: its path, its node, its place there."""
        short = self._short_paths()
        return [
            (f"{short[path]}/{p.name}" if short[path] else p.name, node, i)
            for path, node in self.nodes().items()
            for i, p in enumerate(node._own)
        ]

    def _short_paths(self) -> dict[str, str]:
        """Every node's path without the steps that leave no choice: ``block/G/2`` is ``block`` if no other has parameters."""
        return walks.short_paths(self)

    def _clashes(self, operand: Matrix) -> bool:
        """Whether an own parameter is called as one right below is."""
        return bool({p.name for p in self._own} & set(operand.parameters)) if self._own else False

    @property
    def _carries(self) -> bool:
        return bool(self._own) or any(o._carries for o in self.operands.values())

    def silent(self, operand: str) -> bool:
        """Whether an operand that alone carries parameters adds no step to their paths."""
        return len(self.operands) == 1

    @property
    def title(self) -> str:
        """How the printed tree calls it."""
        return type(self).__name__

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter of the tree by path."""
        return ByPath((path, node._own[i]) for path, node, i in self._listed())

    @property
    def free_names(self) -> tuple[str, ...]:
        """Paths of the parameters that are not fixed, in the order of theta."""
        return tuple(path for path, p in self.parameters.items() if not p.fixed)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, the length of theta."""
        return len(self.free_names)

    def set(
        self,
        path: str,
        *,
        value: float | None = None,
        start: float | None = None,
        fixed: bool | None = None,
        transform: Transform | None = None,
        lower: float | None = None,
        upper: float | None = None,
        derivative: str | None = None,
    ) -> Matrix:
        """Change one parameter, or all whose path begins with ``path`` where it ends in a slash. Changes the tree itself.

        Parameters
        ----------
        path : str
            ``"gen/sigma2"``; ``"random/"`` for everything below ``random``; ``""`` for everything.
        value, start : float, optional
            Natural value to start from, or to keep; two words for one thing.
        fixed : bool, optional
        transform : Transform, optional
        lower, upper : float, optional
            Bounds of the natural value.
        derivative : {"manual", "automatic"}, optional
            By the nodes' own formulas where they have one, or by autograd; for the nodes that own the parameters.

        Returns
        -------
        Matrix
            The tree, so that settings can follow each other.

        Raises
        ------
        ModelError
            An unknown path, or a value that the transform or the bounds do not allow.
        """
        value = start if value is None else value
        meant = set(self.matching(path))
        for name, node, i in [entry for entry in self._listed() if entry[0] in meant]:
            p = node._own[i].changed(name, value, fixed, transform, lower, upper)
            node._check(i, p, name)
            node._own[i] = p
            if derivative is not None and (derivative != MANUAL or node.has_manual):
                node.derivative(derivative)
        return self

    def matching(self, path: str) -> list[str]:
        """Paths of the parameters that ``path`` means: one, or all below where it ends in a slash.

        Raises
        ------
        ModelError
            Where there is none.
        """
        known = list(self.parameters)
        if path == "" or path.endswith("/"):
            found = [name for name in known if name.startswith(path)]
        else:
            found = [whole] if (whole := resolve(path, known)) is not None else []
        if not found:
            raise self._unknown(path)
        return found

    def _check(self, place: int, parameter: Parameter, path: str) -> None:
        """Raise ModelError where a parameter of this node cannot be set like this."""
        try:
            parameter.transform.inverse(torch.tensor(parameter.value, dtype=torch.float64))
        except ModelError as error:
            raise ModelError(f"{path}: {error.message}", hint=error.hint) from None

    def derivative(self, mode: str) -> Matrix:
        """Choose for this node between its own formula (``"manual"``) and autograd (``"automatic"``)."""
        if mode not in (MANUAL, AUTOMATIC):
            raise ModelError(f"derivative={mode!r} is not known.", hint="Choose 'manual' or 'automatic'.")
        if mode == MANUAL and not self.has_manual:
            raise ModelError(f"{type(self).__name__} has no formula for its derivative.", hint="Choose 'automatic'.")
        self._mode = mode
        return self

    def _unknown(self, path: str) -> ModelError:
        known = list(self.parameters)
        return ModelError(
            f"*{path}* is no parameter of this tree.", hint=did_you_mean(path, known).replace("columns", "parameters")
        )

    # -- values -------------------------------------------------------------------------------------------------

    def natural(self, theta: Any = None) -> dict[str, float]:
        """Natural values of all parameters, fixed ones too, by path."""
        return ByPath(zip(self.parameters, torch.cat(self._naturals(self.theta(theta))).tolist(), strict=True))

    def _naturals(self, theta: Tensor) -> list[Tensor]:
        parts = self._parted(theta)
        out = [node.own_natural(parts[id(node)]) for node in self.nodes().values() if node._own]
        return out or [torch.zeros(0, dtype=torch.float64)]

    def theta(self, values: Any = None) -> Tensor:
        """The free vector (m,) of a tensor (free scale), of a mapping path -> natural value, or of the defaults (None).

        Raises
        ------
        ModelError
            An unknown path, a vector of another length, or values outside their domain.
        """
        if isinstance(values, Mapping):
            known, given = list(self.parameters), {}
            for path, v in values.items():
                whole = resolve(path, known)
                if whole is None:
                    raise self._unknown(path)
                given[whole] = self.parameters[whole].checked(whole, v)
        elif values is not None:
            theta = torch.as_tensor(values, dtype=torch.float64).reshape(-1)
            if len(theta) != self.n_parameters:
                raise ModelError(
                    f"{len(theta)} values are given for {self.n_parameters} free parameters.",
                    hint=f"Give {', '.join(self.free_names)}.",
                )
            return theta
        else:
            given = {}
        out, short = [], self._short_paths()
        for path, node in self.nodes().items():
            if not node._own:
                continue
            names = [f"{short[path]}/{p.name}" if short[path] else p.name for p in node._own]
            start = torch.tensor(
                [given.get(n, p.value) for n, p in zip(names, node._own, strict=True)], dtype=torch.float64
            )
            try:
                free = node.own_free(start)
            except ModelError as error:
                raise ModelError(f"{path or node.title}: {error.message}", hint=error.hint) from None
            except ValueError as error:
                raise ModelError(f"{path or node.title}: {error}.", hint="Give other values.") from None
            out += [x for x, p in zip(free, node._own, strict=True) if not p.fixed]
        return torch.stack(out) if out else torch.zeros(0, dtype=torch.float64)

    def _parted(self, theta: Tensor) -> dict[int, Tensor]:
        """Every node's own free values, fixed ones in their places."""
        out, position = {}, 0
        for node in self.nodes().values():
            if not node._own:
                continue
            free = [not p.fixed for p in node._own]
            if all(free):
                out[id(node)] = theta[position : position + len(free)]
                position += len(free)
                continue
            held = node.own_free(torch.tensor([p.value for p in node._own], dtype=torch.float64))
            parts = []
            for i, moves in enumerate(free):
                parts.append(theta[position] if moves else held[i])
                position += moves
            out[id(node)] = torch.stack(parts)
        return out

    def __call__(self, theta: Any = None) -> Tensor:
        """The matrix at free values (a tensor), at natural values by path (a mapping), or at the defaults.

        Raises
        ------
        ModelError
            As ``theta``; and where the matrix holds what is no number, with the node that it comes from.
        """
        values: dict[int, Tensor] = {}
        whole = self._evaluate(self.theta(theta), values)
        if not bool(torch.isfinite(whole.detach()).all()):
            raise walks.not_numbers(self, values)
        return whole

    def value(self, theta: Any = None) -> Tensor:
        """The same by name."""
        return self(theta)

    def _evaluate(self, theta: Tensor, values: dict[int, Tensor]) -> Tensor:
        """The matrix, every node's own in ``values`` by identity."""
        return self._filled(self._parted(theta), values)

    def _filled(self, parts: dict[int, Tensor], values: dict[int, Tensor]) -> Tensor:
        # A method and no inner function: one that calls itself would keep the matrices until the garbage collector came by.
        if id(self) not in values:
            below = [operand._filled(parts, values) for operand in self.operands.values()]
            values[id(self)] = self.of_free(parts.get(id(self), torch.zeros(0, dtype=torch.float64)), below)
        return values[id(self)]

    def tree(self, theta: Any = None) -> dict[str, Tensor]:
        """Every node's matrix by path, ``""`` for the whole."""
        values: dict[int, Tensor] = {}
        self._evaluate(self.theta(theta), values)
        return {path: values[id(node)] for path, node in self.nodes().items()}

    # -- derivatives --------------------------------------------------------------------------------------------

    def derivatives(self, theta: Any = None) -> Iterator[Tensor]:
        """d matrix / d theta, one after the other: formulas where nodes give them, forward-mode autograd elsewhere."""
        return slopes.carried(self, self.theta(theta), slopes.free_tangents)

    def natural_derivatives(self, theta: Any = None) -> Iterator[Tensor]:
        """d matrix / d natural value of each parameter that is not fixed."""
        return slopes.carried(self, self.theta(theta), slopes.natural_tangents)

    def gradient(self, theta: Any, m: Tensor) -> Tensor:
        """<M, d matrix / d theta>, by one reverse sweep."""
        return reverse_gradient(lambda t: self._evaluate(t, {}), self.theta(theta), m)

    def curvature(self, theta: Any, m: Tensor) -> Tensor:
        """<M, d2 matrix / d theta2>, (m, m)."""
        return reverse_curvature(lambda t: self._evaluate(t, {}), self.theta(theta), m)

    # -- writing it ---------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Matrix:
        from openreml_core.covariance.operators import Sum  # the operators stand on this module

        return Sum(self, other)

    def __matmul__(self, other: Any) -> Matrix:
        from openreml_core.covariance.operators import Product

        return Product(self, other)

    @property
    def T(self) -> Matrix:
        """The transpose."""
        from openreml_core.covariance.operators import Transpose

        return Transpose(self)

    def __repr__(self) -> str:
        return walks.printed(self)
