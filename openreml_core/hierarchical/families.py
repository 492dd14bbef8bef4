"""Families of the group's distribution, all of one form in the squared distance delta of a subject from the group's mean.

    log p(h) = c + psi(delta) - log|S|/2,   delta = (h - mu)' S^-1 (h - mu)

    gaussian    psi = -delta / 2
    student_t   psi = -(nu + k)/2 log(1 + delta / nu);  cauchy is nu = 1
    laplace     psi = -sqrt(delta)

S is the scale matrix and k the dimension: with a full S one delta per subject (the multivariate families, k = d), with a
diagonal S one per subject and parameter (independent families, k = 1).

All are scale mixtures of normals: psi is convex in delta, and its tangent at delta_0,

    psi(delta) >= psi(delta_0) - w (delta - delta_0) / 2,   w = -2 psi'(delta_0),

is a normal density with covariance S / w (Andrews and Mallows 1974, JRSS B 36, 99-102; Lange, Little and Taylor 1989, JASA 84,
881-896). The E-step uses that normal with delta_0 = E[delta] over the posterior, which makes the bound tight on average and
smooth where the Laplace density has its kink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from openreml_core.errors import ModelError

FAMILIES = ("gaussian", "student_t", "laplace", "cauchy")


@dataclass(frozen=True)
class Family:
    """A family of group distributions.

    Attributes
    ----------
    name : {"gaussian", "student_t", "laplace", "cauchy"}
    df : float
        Degrees of freedom nu of ``student_t``.
    """

    name: str = "gaussian"
    df: float = 4.0

    def __post_init__(self) -> None:
        if self.name not in FAMILIES:
            raise ModelError(f"family={self.name!r} is not known.", hint=f"Choose one of {', '.join(FAMILIES)}.")
        if not (math.isfinite(self.df) and self.df > 0):
            raise ModelError(f"{self.df} degrees of freedom are not possible.", hint="Give a positive number.")

    @property
    def nu(self) -> float:
        """Degrees of freedom; infinite for the Gaussian."""
        return {"student_t": self.df, "cauchy": 1.0}.get(self.name, math.inf)

    @property
    def is_gaussian(self) -> bool:
        """Whether weights are all one."""
        return self.name == "gaussian"

    def constant(self, k: int) -> float:
        """c, of dimension k."""
        if self.name == "gaussian":
            return -0.5 * k * math.log(2 * math.pi)
        if self.name == "laplace":
            # the elliptical density proportional to exp(-sqrt(delta)); for k = 1 it is exp(-|x| / b) / (2 b)
            return math.lgamma(k / 2) - math.log(2) - 0.5 * k * math.log(math.pi) - math.lgamma(k)
        nu = self.nu
        return math.lgamma((nu + k) / 2) - math.lgamma(nu / 2) - 0.5 * k * math.log(nu * math.pi)

    def psi(self, delta: Tensor, k: int) -> Tensor:
        """psi(delta), elementwise."""
        if self.name == "gaussian":
            return -0.5 * delta
        if self.name == "laplace":
            return -delta.sqrt()
        return -0.5 * (self.nu + k) * torch.log1p(delta / self.nu)

    def weight(self, delta: Tensor, k: int) -> Tensor:
        """w(delta), elementwise."""
        if self.name == "gaussian":
            return torch.ones_like(delta)
        if self.name == "laplace":
            return delta.clamp_min(1e-16).rsqrt()
        return (self.nu + k) / (self.nu + delta)

    def variance_factor(self, k: int) -> float:
        """The covariance is this times S; NaN where there is none (nu <= 2)."""
        if self.name == "laplace":
            return k + 1.0
        if self.nu <= 2:
            return math.nan
        return 1.0 if math.isinf(self.nu) else self.nu / (self.nu - 2)

    def draw(self, shape: tuple[int, ...], k: int, generator: torch.Generator) -> Tensor:
        """Draws with S = I and mean zero, (*shape, k)."""
        z = torch.randn(*shape, k, dtype=torch.float64, generator=generator)
        if self.name == "gaussian":
            return z
        if self.name == "laplace":  # uniform direction, radius Gamma(k, 1)
            radius = -torch.rand(*shape, k, dtype=torch.float64, generator=generator).log().sum(-1, keepdim=True)
            return z / z.norm(dim=-1, keepdim=True) * radius
        chi2 = 2 * torch._standard_gamma(torch.full((*shape, 1), self.nu / 2, dtype=torch.float64), generator)
        return z * (self.nu / chi2).sqrt()
