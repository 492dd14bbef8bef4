"""The linear mixed model, spelled out.

    y = X b + sum_t Z_t u_t + e
    u_t ~ N(0, sigma2 Sigma_t(theta_t) (x) I),     e ~ N(0, sigma2 R)
    V   = sigma2 V~(theta),   V~ = sum_t Z_t (Sigma_t (x) I) Z_t' + R

While a model is fitted the residual variance sigma2 is profiled out: theta holds covariances relative to it. When some
parameter is held at a value on its own scale that cannot be; then sigma2 is 1 and theta ends with the residual's own
standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from openreml_core.covariance import IndependentResidual, NaturalParameter, Propagated

Component = Propagated | IndependentResidual


@dataclass(frozen=True, eq=False)
class MixedModel:
    """A mixed model's data and the layout of its variance parameters.

    Attributes
    ----------
    y : Tensor of shape (n,)
        The response, the offset taken off.
    X : Tensor of shape (n, p)
        Fixed effects' design, of full column rank.
    fixed_names : tuple of str
        Names of X's columns.
    terms : tuple of Propagated
        The random terms Z_t (Sigma_t (x) I) Z_t'.
    residual : IndependentResidual
        R.
    method : str
        ``"reml"`` or ``"ml"``.
    profiled : bool
        Whether sigma2 is profiled out of the likelihood.
    """

    y: Tensor
    X: Tensor
    fixed_names: tuple[str, ...]
    terms: tuple[Propagated, ...]
    residual: IndependentResidual
    method: str = "reml"
    profiled: bool = True

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def p(self) -> int:
        """Number of fixed effects, the rank of X."""
        return self.X.shape[1]

    @property
    def degrees_of_freedom(self) -> int:
        """n - p for REML, n for ML: what the residual sum of squares is divided by."""
        return self.n - self.p if self.method == "reml" else self.n

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """The components of V that carry free parameters, in the order of theta."""
        return self.terms if self.profiled else (*self.terms, self.residual)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each component's parameters stand in theta."""
        ends = torch.tensor([0] + [c.structure.n_parameters for c in self.components]).cumsum(0).tolist()
        return tuple(slice(a, b) for a, b in pairwise(ends))

    @property
    def n_theta(self) -> int:
        """Number of free parameters, the profiled sigma2 not among them."""
        return sum(c.structure.n_parameters for c in self.components)

    def split(self, theta: Tensor) -> tuple[Tensor, ...]:
        """theta (m,) by component."""
        return tuple(theta[s] for s in self.slices)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of ``split``."""
        return torch.cat(tuple(parts)) if parts else torch.zeros(0, dtype=self.y.dtype)

    def covariance(self, theta: Tensor) -> Tensor:
        """V~(theta), (n, n): the sum of the components."""
        v = torch.zeros(self.n, self.n, dtype=self.y.dtype, device=self.y.device)
        for term, part in zip(self.terms, self.split(theta), strict=False):
            v += term.matrix(part)
        return self.residual.add_to(v, 1.0 if self.profiled else theta[-1] ** 2)

    @cached_property
    def scale(self) -> Tensor:
        """Typical size (m,) of each free parameter: the one at which its effect alone doubles the average row of V."""
        unit = 1.0 if self.profiled else self.typical_deviation
        return self.join([self._typical(c, unit) for c in self.components])

    def start(self, factor: float = 1.0) -> Tensor:
        """Scale-free starting values: every effect of every term adds as much to the average row as the residual does."""
        unit = factor if self.profiled else factor * self.typical_deviation / (1 + len(self.terms)) ** 0.5
        return self.join([c.structure.start(c.scale * unit) for c in self.components])

    @cached_property
    def least_squares(self) -> Tensor:
        """Ordinary least-squares b, (p,). P y is the same for y and for y - X b: the latter loses no digits to a large mean."""
        return torch.linalg.lstsq(self.X, self.y[:, None]).solution[:, 0]

    @cached_property
    def centred(self) -> Tensor:
        """y - X b at the least-squares b, (n,)."""
        return self.y - self.X @ self.least_squares

    @cached_property
    def typical_deviation(self) -> float:
        """Standard deviation of the least-squares residuals, to which absolute parameters are scaled."""
        return float((self.centred.square().sum() / max(self.n - self.p, 1)).sqrt())

    @staticmethod
    def _typical(component: Component, unit: float) -> Tensor:
        # An off-diagonal element L_ab multiplies the same effect as L_aa: it has row a's scale.
        structure = component.structure
        ones = structure.start(component.scale * unit)
        rows = getattr(structure, "rows", None)
        return (component.scale * unit)[rows] if rows is not None else ones.abs().clamp_min(1e-300)

    # -- what people read ---------------------------------------------------------------------------------------

    @cached_property
    def natural(self) -> tuple[tuple[str, NaturalParameter], ...]:
        """Component and natural parameter, a pair for every variance parameter of the model, the residual's last."""
        out = [(t.name, q) for t in self.terms for q in t.structure.natural]
        return (*out, *((self.residual.name, q) for q in self.residual.structure.natural))

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """``gen.variance``, ``Subject.covariance((Intercept), Days)``, ..., ``residual.variance``."""
        sizes = {t.name: t.structure.size for t in self.terms}
        names = []
        for component, q in self.natural:
            if sizes.get(component, 1) == 1:
                names.append(f"{component}.{q.kind}")
            else:
                names.append(f"{component}.{q.kind}({q.name1}{', ' + q.name2 if q.name2 else ''})")
        return tuple(names)

    def sigmas(self, theta: Tensor, sigma2: float) -> tuple[Tensor, ...]:
        """sigma2 Sigma_t(theta), a (k, k) matrix per term, and the residual's (1, 1) last: on the scale of y squared."""
        parts = self.split(theta)
        out = [sigma2 * t.structure.matrix(part) for t, part in zip(self.terms, parts, strict=False)]
        last = torch.tensor([[sigma2]], dtype=self.y.dtype)
        return (*out, last if self.profiled else self.residual.structure.matrix(parts[-1]))

    def natural_values(self, theta: Tensor, sigma2: float) -> Tensor:
        """All natural parameters on the scale of the data, in the order of ``parameter_names``."""
        sigmas = self.sigmas(theta, sigma2)
        return torch.cat([c.structure.natural_values(s) for c, s in zip(self.all_components, sigmas, strict=True)])

    @property
    def all_components(self) -> tuple[Component, ...]:
        """The random terms and the residual."""
        return (*self.terms, self.residual)
