"""The fast way: log-likelihoods of all subjects as one tensor, derivatives folded into the batch.

The gradient comes from autograd. Column k of the second derivative is a central difference of gradients,

    A e_k ~ -(g(m + s e_k) - g(m - s e_k)) / (2 s),

so that one evaluation of a batch of (2d + 1) n rows gives value, gradient and curvature of every subject.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from openreml_core.errors import ModelError
from openreml_core.hierarchical.batch import Batch
from openreml_core.hierarchical.model import Model
from openreml_core.hierarchical.newton import climb
from openreml_core.hierarchical.parameters import Parameter
from openreml_core.hierarchical.posterior import Modes, Normals, joined

#: s: truncation, s^2, and rounding of the gradient, 1e-12 / s, are both far below what modes need.
STEP = 2e-5
#: Rows evaluated at once where there is no gradient to keep.
CHUNK = 2_000
#: Numbers, trials by rows, that are evaluated at once with their gradient.
CACHED = 50_000
#: Batches that are kept, folded, for the next evaluation of the same subjects.
KEPT = 400


class TorchLikelihood:
    """Log-likelihoods of n subjects by a torch function.

    Parameters
    ----------
    model : Model
        Batched.
    batch : Batch
        The n subjects.
    free : sequence of int
        Places of the d parameters that are estimated.
    held : dict of int to float
        Native values of the others.
    """

    def __init__(self, model: Model, batch: Batch, free: Sequence[int], held: dict[int, float]) -> None:
        self.model, self.batch, self.free, self.held = model, batch, tuple(free), dict(held)
        self.n, self.d = len(batch), len(self.free)
        self._folded: dict[tuple[int, ...], Batch] = {}

    def only(self, rows: Sequence[int]) -> TorchLikelihood:
        """The likelihood of some of the subjects."""
        batch = self.batch.select(torch.as_tensor(rows, dtype=torch.int64))
        return TorchLikelihood(self.model, batch, self.free, self.held)

    # -- values and derivatives -----------------------------------------------------------------------------------

    def native(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Native values (B, all) of free points (B, d), and which rows are inside every domain (B,)."""
        columns: list[Tensor] = []
        inside = torch.ones(len(points), dtype=torch.bool)
        for place, parameter in enumerate(self.model.parameters):
            if place in self.held:
                columns.append(points.new_full((len(points),), self.held[place]))
                continue
            column = parameter.to_native(points[:, self.free.index(place)])
            inside = inside & column.detach().isfinite()
            columns.append(column)
        return torch.stack(columns, dim=1), inside

    def evaluate(self, points: Tensor, batch: Batch) -> Tensor:
        """log p(y | h) of free points (B, d) and B subjects: (B,); -inf where it is no number.

        Raises
        ------
        ModelError
            When the model fails or returns another shape.
        """
        native, inside = self.native(points)
        if not inside.all():  # such rows must not spoil a model that looks at all rows at once
            native = torch.where(inside[:, None], native, torch.ones_like(native) * _safe(native, inside))
        try:
            value = self.model.log_likelihood(native, batch)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model {self.model.name} fails: {type(error).__name__}: {_first_line(error)}",
                hint=f"It was given parameters of shape {tuple(native.shape)} and trials of shape "
                f"({len(batch)}, {batch.n_trials}).",
            ) from error
        if not isinstance(value, Tensor) or value.shape != (len(points),):
            shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(
                f"The model {self.model.name} returns {shape} for {len(points)} subjects; "
                f"a tensor of shape ({len(points)},) is needed.",
                hint="Give one log-likelihood per row of the batch, trials summed.",
            )
        value = value.to(torch.float64)
        return torch.where(inside & ~value.isnan(), value, -torch.inf)

    def derivatives(self, at: Tensor, rows: Tensor) -> Modes:
        """Value, gradient and curvature of the subjects ``rows`` at free points (k, d).

        They are taken in parts whose tensors stay in the processor's cache.
        """
        size = max(CACHED // ((2 * self.d + 1) * max(self.batch.n_trials, 1)), 8)
        parts = [
            self._derivatives(p, r) for p, r in zip(at.split(size), torch.as_tensor(rows).split(size), strict=True)
        ]
        return parts[0] if len(parts) == 1 else joined(parts)

    def _derivatives(self, at: Tensor, rows: Tensor) -> Modes:
        k, d = at.shape
        offsets = torch.zeros(2 * d + 1, d, dtype=torch.float64)
        for j in range(d):
            offsets[1 + j, j], offsets[1 + d + j, j] = STEP, -STEP
        points = (at + offsets[:, None]).reshape(-1, d).requires_grad_(True)
        with torch.enable_grad():
            value = self.evaluate(points, self._batch(rows))
            if not value.requires_grad:
                raise ModelError(
                    f"The log-likelihood of {self.model.name} does not depend on its parameters in a way that torch can "
                    "differentiate.",
                    hint="Compute it with torch's operations from the parameters given, or use a PythonModel.",
                )
            finite = value.isfinite()
            (gradient,) = torch.autograd.grad(torch.where(finite, value, 0.0).sum(), points)
        gradient = gradient.reshape(2 * d + 1, k, d)
        steps = (gradient[1 : d + 1] - gradient[d + 1 :]) / (2 * STEP)  # (d, k, d)
        information = -0.5 * (steps.permute(1, 0, 2) + steps.permute(1, 2, 0))
        ok = finite.reshape(2 * d + 1, k).all(0)
        whole = ok & gradient[0].isfinite().all(-1) & information.isfinite().all(-1).all(-1)
        return Modes(
            at=at,
            value=torch.where(whole, value.detach()[:k], -torch.inf),
            gradient=torch.where(whole[:, None], gradient[0], 0.0),
            information=torch.where(whole[:, None, None], information, 0.0),
            trouble=("",) * k,
        )

    def values(self, points: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """log p(y_i | h) at points (s, n, d): (s, n)."""
        places = torch.arange(self.n) if rows is None else torch.as_tensor(rows)
        s, n, d = points.shape
        out, at_once = [], max(CHUNK // max(n, 1), 1)
        with torch.no_grad():
            for part in points.split(at_once):
                batch = self.batch.select(places.repeat(len(part)))
                out.append(self.evaluate(part.reshape(-1, d), batch).reshape(len(part), n))
        return torch.cat(out) if s else points.new_zeros(0, n)

    def _batch(self, rows: Tensor) -> Batch:
        key = tuple(rows.tolist())
        if key not in self._folded:
            if len(self._folded) >= KEPT:
                self._folded.clear()
            self._folded[key] = self.batch.select(rows).repeat(2 * self.d + 1)
        return self._folded[key]

    # -- modes ----------------------------------------------------------------------------------------------------

    def maximise(self, start: Tensor, prior: Normals, before: Modes | None, tolerance: float) -> Modes:
        """Modes by damped Newton steps; see :func:`openreml_core.hierarchical.newton.climb`."""
        return climb(self.derivatives, start, prior, before, tolerance, self.why)

    def why(self, row: int, at: Tensor) -> str:
        """Why subject ``row`` has no finite log-likelihood at a free point (d,)."""
        point = at[None]
        native, _ = self.native(point)
        for place, parameter in enumerate(self.model.parameters):
            if place not in self.held and not bool(native[0, place].isfinite()):
                return left_domain(parameter, float(at[self.free.index(place)]))
        value = float(self.values(point[None], [row])[0, 0])
        shown = ", ".join(f"{p.name} {v:.4g}" for p, v in zip(self.model.parameters, native[0].tolist(), strict=True))
        if value == -torch.inf:
            return f"the log-likelihood is not finite at {shown}"
        return f"the derivative of the log-likelihood is not finite at {shown}"


def left_domain(parameter: Parameter, free: float) -> str:
    """That a transform has left its domain."""
    low, high = parameter.transform.domain
    value = float(parameter.transform.forward(torch.tensor([free], dtype=torch.float64))[0])
    return f"the transform of *{parameter.name}* gives {value:g} for {free:.4g}, outside its domain ({low:g}, {high:g})"


def _safe(native: Tensor, inside: Tensor) -> Tensor:
    """Values that stand in where a transform left its domain."""
    if inside.any():
        return native.detach()[inside][0]
    return torch.full_like(native[0].detach(), 0.5)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "no message"
