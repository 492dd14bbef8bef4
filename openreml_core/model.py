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

from openreml_core.covariance import (
    BlockResidual,
    GroupedTerm,
    IndependentResidual,
    NaturalParameter,
    PlacedTerm,
    SmoothTerm,
    WholeCovariance,
)

Residual = IndependentResidual | BlockResidual | WholeCovariance
RandomPart = GroupedTerm | PlacedTerm | SmoothTerm
Component = RandomPart | Residual


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
    terms : tuple of GroupedTerm, PlacedTerm or SmoothTerm
        The random terms Z_t (Sigma_t (x) I) Z_t'.
    residuals : tuple of IndependentResidual or BlockResidual
        The parts of R: one variance, sections, a structure and its nugget.
    method : str
        ``"reml"`` or ``"ml"``.
    profiled : bool
        Whether sigma2 is profiled out of the likelihood.
    """

    y: Tensor
    X: Tensor
    fixed_names: tuple[str, ...]
    terms: tuple[RandomPart, ...]
    residuals: tuple[Residual, ...]
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
        return self.terms if self.profiled else (*self.terms, *self.residuals)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each component's parameters stand in theta."""
        ends = torch.tensor([0] + [c.structure.n_parameters for c in self.components]).cumsum(0).tolist()
        return tuple(slice(a, b) for a, b in pairwise(ends))

    @property
    def n_theta(self) -> int:
        """Number of free parameters, the profiled sigma2 not among them."""
        return self.slices[-1].stop if self.slices else 0

    def split(self, theta: Tensor) -> tuple[Tensor, ...]:
        """theta (m,) by component."""
        return tuple(theta[s] for s in self.slices)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of ``split``."""
        return torch.cat(tuple(parts)) if parts else torch.zeros(0, dtype=torch.float64)

    def moved(self, theta: Tensor, step: Tensor) -> Tensor:
        """theta (m,) after a step (m,), as every structure takes it."""
        parts = zip(self.components, self.split(theta), self.split(step), strict=True)
        return self.join([c.structure.moved(part, by) for c, part, by in parts])

    def relative(self, theta: Tensor) -> tuple[Tensor, ...]:
        """Sigma_t(theta) of every term and of every part of R, in V~'s units: 1 for a residual that is profiled out."""
        out = [c.structure.matrix(part) for c, part in zip(self.components, self.split(theta), strict=True)]
        return (*out, torch.ones(1, 1, dtype=torch.float64)) if self.profiled else tuple(out)

    def covariance(self, theta: Tensor) -> Tensor:
        """V~(theta), (n, n): the sum of the components."""
        v = torch.zeros(self.n, self.n, dtype=self.y.dtype, device=self.y.device)
        for component, sigma in zip(self.all_components, self.relative(theta), strict=True):
            component.add_to(v, sigma)
        return v

    @property
    def unit(self) -> float:
        """The residual standard deviation that free parameters are sized by, of the average row."""
        return float(self.residual_variance.mean().sqrt()) if self.profiled else self.typical_deviation

    @cached_property
    def scale(self) -> Tensor:
        """Typical size (m,) of each free parameter: the one at which its effect alone doubles the average row of V."""
        return self.join([c.structure.typical(c.scale * self.unit) for c in self.components])

    def start(self) -> Tensor:
        """Scale-free starting values: every effect of every term adds as much to the average row as the residual does."""
        parts = len(self.terms) + (2 if any(r.name == "units" for r in self.residuals) else 1)
        share = self.unit if self.profiled else self.unit / parts**0.5
        return self.join([c.structure.start(c.scale * share) for c in self.components])

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds (m,) of the free parameters."""
        pairs = [c.structure.bounds() for c in self.components]
        return self.join([low for low, _ in pairs]), self.join([high for _, high in pairs])

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

    # -- what people read ---------------------------------------------------------------------------------------

    @cached_property
    def natural(self) -> tuple[tuple[str, NaturalParameter], ...]:
        """Component and natural parameter, a pair for every variance parameter of the model, the residual's last."""
        return tuple((c.name, q) for c in self.all_components for q in c.structure.natural)

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """``gen.variance``, ``Subject.covariance((Intercept), Days)``, ``residual.ar1(row).rho``, ..."""
        sizes = {c.name: c.structure.size for c in self.all_components}
        names = []
        for component, q in self.natural:
            pair = f"({q.name1}{', ' + q.name2 if q.name2 else ''})"
            if not component:
                names.append(q.label)
                continue
            names.append(f"{component}.{q.label or (q.kind if sizes[component] == 1 else q.kind + pair)}")
        return tuple(names)

    def sigmas(self, theta: Tensor, sigma2: float) -> tuple[Tensor, ...]:
        """sigma2 Sigma_t(theta) of every term and part of R: (k, k) matrices on the scale of y squared."""
        return tuple(sigma2 * s for s in self.relative(theta))

    def natural_values(self, theta: Tensor, sigma2: float) -> Tensor:
        """All natural parameters on the scale of the data, in the order of ``parameter_names``."""
        parts = zip(self.components, self.split(theta), strict=True)
        out = [component.structure.natural_values(part) for component, part in parts]
        if self.profiled:
            out.append(torch.ones(1, dtype=torch.float64))
        return torch.cat(out) * sigma2**self._degrees

    @cached_property
    def _degrees(self) -> Tensor:
        """The power of sigma2 that each natural parameter is proportional to; 1 for a sigma2 that is profiled out."""
        degrees = [q.degree for component in self.components for q in component.structure.natural]
        return torch.tensor(degrees + [1.0] * self.profiled, dtype=torch.float64)

    @property
    def all_components(self) -> tuple[Component, ...]:
        """The random terms and the parts of the residual."""
        return (*self.terms, *self.residuals)

    @cached_property
    def residual_variance(self) -> Tensor:
        """Known part of each row's residual variance, (n,): 1 / w, and 1 where rows have no weights."""
        own = [r.variance for r in self.residuals if isinstance(r, IndependentResidual)]
        return own[0] if len(own) == 1 and len(self.residuals) == 1 else torch.ones(self.n, dtype=torch.float64)
