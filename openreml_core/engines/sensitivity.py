"""How b's covariance and the expected information depend on V's natural parameters, from the mixed-model equations.

Symbols as in henderson.py; x (Q, p) are b's columns of M, so that

    Y = V^-1 X C = R^-1 W x,   Z'Y = N_z. x =: h
    Y'V_k P V_l Y = f_k'R^-1 f_l - (W'R^-1 f_k)'M (W'R^-1 f_l),   f_k = V_k Y

where f = Z (K (x) dSigma_k) h for a term, W'R^-1 f = N times its columns; for a parameter of R see errors.py.

The expected information of independent residuals needs all of H = Z'P Z = N_zz - N_z. M N_.z, and with N_s = W'R0_s^-1 W,
p_s = 1 / sigma2_s, E the columns of Z in W and T = M N_.z

    tr(P V_k P V_l)     = <(K (x) dSigma_k) H (K (x) dSigma_l), H>
    Z'P R0_s P Z        = p_s^2 (E - T)'N_s (E - T)
    tr(P R0_s P R0_t)   = [s = t] (n_s p_s^2 - 2 p_s^3 tr(M N_s)) + p_s^2 p_t^2 tr(M N_s M N_t)

whose cost grows with the cube of the number of equations, not with the rows. Where residuals are correlated, tr(P R_k P R_l)
needs P between all rows: the dense engine gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from openreml_core.covariance.kernel import related, written_out
from openreml_core.engines.border import semidefinite_root
from openreml_core.engines.equations import HendersonEvaluation
from openreml_core.engines.independent_errors import SolvedIndependent
from openreml_core.engines.marginal import MarginalEngine, dense_bytes
from openreml_core.engines.memory import SHARE, available_bytes
from openreml_core.engines.second_order import natural_bends, natural_slopes, roots
from openreml_core.errors import ModelError
from openreml_core.model import MixedModel, RandomPart

if TYPE_CHECKING:
    from openreml_core.engines.henderson import HendersonEngine

#: Dense matrices of all equations that the expected information holds at a time.
MATRICES = 8


def beta_derivatives(engine: HendersonEngine, at: HendersonEvaluation) -> Tensor:
    """dC / d theta_k = Y'V_k Y for the free parameters, the profiled sigma2 last, (m or m + 1, p, p)."""
    model, x_c, x_b = engine.model, *engine.beta_columns(at)
    h = engine.places.by_level(*engine.times(at.equations, x_c, x_b))
    out = []
    for term, part, y in zip(model.terms, model.split(at.theta), h, strict=False):
        own = related(term.kernel, y)
        out += [at.sigma2 * torch.einsum("qap,ab,qbr->pr", y, d, own) for d in term.structure.derivatives(part)]
    if model.profiled:
        return torch.stack([*out, at.beta_covariance / at.sigma2])
    directions = engine.residual_directions(at.theta, natural=False)
    return torch.stack([*out, *at.equations.errors.sandwiches(engine.places.whole(x_c, x_b), directions)])


def beta_slopes(engine: HendersonEngine, at: HendersonEvaluation) -> Tensor:
    """Y'V_k Y for the natural parameters, (m, p, p)."""
    model, x_c, x_b = engine.model, *engine.beta_columns(at)
    h = engine.places.by_level(*engine.times(at.equations, x_c, x_b))
    slopes = natural_slopes(model, at.theta, at.sigma2)
    out = []
    for (_, own), term, y in zip(slopes, model.terms, h, strict=False):
        out += [torch.einsum("qap,ab,qbr->pr", y, d, related(term.kernel, y)) for d in own]
    x = engine.places.whole(x_c, x_b)
    return torch.stack([*out, *at.equations.errors.sandwiches(x, [own for _, own in slopes[len(model.terms) :]])])


def beta_excess(engine: HendersonEngine, at: HendersonEvaluation, weights: Tensor) -> Tensor:
    """sum_kl W_kl (Y'V_k P V_l Y - Y'V_kl Y / 4), (p, p)."""
    model, equations, places = engine.model, at.equations, engine.places
    x_c, x_b = engine.beta_columns(at)
    h, x = places.by_level(*engine.times(equations, x_c, x_b)), places.whole(x_c, x_b)
    active, sizes, vectors = roots(weights)
    slopes = [(u, d) for u, (_, own) in enumerate(natural_slopes(model, at.theta, at.sigma2)) for d in own]
    out = torch.zeros(model.p, model.p, dtype=torch.float64)
    for size, vector in zip(sizes, vectors.T, strict=True):
        f_c, f_b = torch.zeros_like(x_c), torch.zeros_like(x_b)
        of_residual = [torch.zeros(r.structure.size, r.structure.size, dtype=torch.float64) for r in model.residuals]
        for v, (u, d) in zip(vector, (slopes[k] for k in active.tolist()), strict=True):
            if u >= len(model.terms):
                of_residual[u - len(model.terms)] += v * d
                continue
            own = torch.einsum("ab,qbp->qap", d, related(model.terms[u].kernel, h[u]))
            (f_c if u in engine.inner_terms else f_b)[places.of_term[u]] += v * own
        g_c, g_b = engine.times(equations, f_c, f_b)
        over, square = equations.errors.combined(x, of_residual)
        on_c, on_b = places.parted(over)
        cross = f_c.T @ on_c + f_b.T @ on_b
        square = square + cross + cross.T + f_c.T @ g_c + f_b.T @ g_b
        out += size * (square - engine.quadratic(equations, g_c + on_c, g_b + on_b)) / at.sigma2
    for component, bent in natural_bends(model, at.theta, at.sigma2, weights):
        u = next(i for i, own in enumerate(model.all_components) if own is component)
        if u < len(model.terms):
            out -= torch.einsum("qap,ab,qbr->pr", h[u], bent, related(model.terms[u].kernel, h[u])) / 4
        else:
            directions = [[bent] if i == u - len(model.terms) else [] for i in range(len(model.residuals))]
            out -= equations.errors.sandwiches(x, directions)[0] / 4
    return out


def expected_information(engine: HendersonEngine, at: HendersonEvaluation) -> Tensor:
    """tr(P V_k P V_l) / 2 for all natural parameters, (m, m).

    Raises
    ------
    ModelError
        Where a dense matrix of all equations would not find room.
    """
    model, errors = engine.model, at.equations.errors
    if not isinstance(errors, SolvedIndependent):
        return _by_rows(model, at.theta)
    cross, precision = errors.cross, errors.precision
    size = cross.size - 1
    if 8 * MATRICES * size**2 > SHARE * available_bytes():
        raise ModelError(
            f"The expected information of {size:,} mixed-model equations does not find room in memory.",
            hint='Use ddf="satterthwaite".',
        )
    n_s = [n[:-1, :-1] for n in cross.by_section]
    n = sum((p * m for p, m in zip(precision.tolist(), n_s, strict=True)), 0.0 * n_s[0])
    dense = torch.from_numpy(n.toarray())
    half = _half_inverse(model.terms, at.equations.factors, dense)  # M = half'half
    random = size - model.p
    b = half @ dense[:, :random]
    h = dense[:random, :random] - b.T @ b
    rest = -half.T @ b  # E - T
    rest.diagonal().add_(1.0)
    slopes = natural_slopes(model, at.theta, at.sigma2)
    places = _places(model.terms)
    many = len(model.parameter_names)
    out = torch.zeros(many, many, dtype=torch.float64)
    row = 0
    for t, (term, (_, own)) in enumerate(zip(model.terms, slopes, strict=False)):
        q, k = len(term.levels), term.structure.size
        for d in own:
            turned = torch.einsum("ab,qbx->qax", d, related(term.kernel, h[places[t]].reshape(q, k, random)))
            column = 0
            for u, other in enumerate(model.terms[: t + 1]):
                m = _paired(other, h[places[t], places[u]], turned.reshape(q * k, random)[:, places[u]])
                for e in slopes[u][1]:
                    out[row, column] = (m * e).sum()
                    column += 1
            row += 1
    first = row
    for s, p in enumerate(precision):
        column = 0
        for u, other in enumerate(model.terms):
            block = rest[:, places[u]]
            m = _paired(other, block, torch.from_numpy(n_s[s] @ block.numpy())) * p**2
            for e in slopes[u][1]:
                out[first + s, column] = (m * e).sum()
                column += 1
    own = [torch.from_numpy(n_s[s] @ half.T.numpy()) @ half for s in range(cross.sections)]  # N_s M
    for s in range(cross.sections):
        for t in range(s + 1):
            out[first + s, first + t] = (own[s] * own[t].T).sum() * precision[s] ** 2 * precision[t] ** 2
        out[first + s, first + s] += cross.counts[s] * precision[s] ** 2 - 2 * precision[s] ** 3 * own[s].trace()
    return (out.tril() + out.tril(-1).T) / (2 * at.sigma2**2)


def _by_rows(model: MixedModel, theta: Tensor) -> Tensor:
    """From the dense engine."""
    dense = MarginalEngine(model)
    if dense_bytes(model) > SHARE * available_bytes():
        raise ModelError(
            f"The expected information of {model.n:,} correlated rows does not find room in memory.",
            hint='Use ddf="satterthwaite".',
        )
    return dense.expected_information(dense.evaluate(theta))


def _places(terms: Sequence[RandomPart]) -> list[slice]:
    """Where each term's effects stand among the columns of W."""
    out, start = [], 0
    for term in terms:
        out.append(slice(start, start + len(term.levels) * term.structure.size))
        start = out[-1].stop
    return out


def _paired(term: RandomPart, left: Tensor, right: Tensor) -> Tensor:
    """M (k, k) with tr(left'right (K (x) D)) = <M, D> for every symmetric D; left and right (x, q k)."""
    q, k = len(term.levels), term.structure.size
    shaped = right.reshape(-1, q, k)
    if term.kernel is not None:
        shaped = torch.einsum("ji,xia->xja", written_out(term.kernel), shaped)
    return torch.einsum("xja,xjb->ab", left.reshape(-1, q, k), shaped)


def _half_inverse(terms: Sequence[RandomPart], factors: Sequence[Tensor], n: Tensor) -> Tensor:
    """F^-1 Lambda' with Lambda'N Lambda + I = F F': M of Z and X is its cross-product, (Q, Q)."""
    from_roots = torch.eye(len(n), dtype=torch.float64)
    for term, factor, where in zip(terms, factors, _places(terms), strict=False):
        root = torch.eye(len(term.levels), dtype=torch.float64)
        if term.kernel is not None:
            root = semidefinite_root(written_out(term.kernel))
        from_roots[where, where] = torch.kron(root.contiguous(), factor.contiguous())
    a = from_roots.T @ n @ from_roots
    random = sum(len(t.levels) * t.structure.size for t in terms)
    a.diagonal()[:random] += 1.0
    return torch.linalg.solve_triangular(torch.linalg.cholesky(a), from_roots.T, upper=False)
