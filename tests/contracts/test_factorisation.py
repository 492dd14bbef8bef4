"""Sparse Cholesky factors and selected inverses against dense linear algebra, SuperLU and CHOLMOD."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import splu

from openreml_core.engines import HendersonEngine, henderson
from openreml_core.factorisation import (
    SparseCholesky,
    SparseMatrix,
    Symbolic,
    TooLarge,
    cholmod_is_there,
    selected_inverse,
)
from openreml_core.factorisation import symbolic as layout
from tests.contracts.models import simulated
from tests.contracts.test_henderson import CASES, agree, theta_of

needs_cholmod = pytest.mark.skipif(not cholmod_is_there(), reason="the extra [cholmod] (cvxopt) is not installed")
ORDERS = [False, pytest.param(True, marks=needs_cholmod)]


def random_matrix(q: int, density: float, seed: int) -> sparse.csc_array:
    rng = np.random.default_rng(seed)
    half = sparse.random_array((q, q), density=density, rng=rng, data_sampler=rng.normal)
    return sparse.csc_array(half @ half.T + 0.5 * sparse.eye_array(q))


def factorised(a: sparse.csc_array, cholmod: bool) -> tuple[SparseCholesky, np.ndarray, np.ndarray, np.ndarray]:
    """The factor, and rows, columns and places of the entries below the diagonal."""
    symbolic = Symbolic(a, cholmod)
    below = sparse.coo_array(sparse.tril(a))
    row, column = below.coords
    places = symbolic.targets(row, column)
    flat = np.bincount(places, weights=below.data, minlength=symbolic.entries + 1)
    return SparseCholesky(symbolic, torch.from_numpy(flat)), row, column, places


def check(a: sparse.csc_array, cholmod: bool) -> None:
    factor, row, column, places = factorised(a, cholmod)
    dense = a.toarray()
    inverse = np.linalg.inv(dense)
    assert factor.log_det == pytest.approx(np.linalg.slogdet(dense)[1], rel=1e-11, abs=1e-10)
    size = np.abs(inverse).max()
    x = np.random.default_rng(1).normal(size=(len(dense), 3))
    np.testing.assert_allclose(factor.solve(torch.from_numpy(x)).numpy(), inverse @ x, atol=1e-10 * size)
    np.testing.assert_allclose(selected_inverse(factor).numpy()[places], inverse[row, column], atol=1e-11 * size)


@pytest.mark.parametrize("cholmod", ORDERS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(q=st.integers(1, 90), density=st.floats(0, 0.1), seed=st.integers(0, 10_000))
def test_against_dense_algebra(cholmod, q, density, seed):
    check(random_matrix(q, density, seed), cholmod)


@pytest.mark.parametrize(("batched", "widest"), [(0, 384), (0, 3), (48, 2), (5, 7)])
def test_large_and_small_supernodes_are_the_same(monkeypatch, batched, widest):
    """Supernodes alone and in batches, whole and cut."""
    monkeypatch.setattr(layout, "BATCHED", batched)
    monkeypatch.setattr(layout, "WIDEST", widest)
    for seed in range(10):
        check(random_matrix(20 + 9 * seed, 0.008 * seed, seed), False)


def test_against_superlu():
    a = random_matrix(900, 0.002, 5)
    lu = splu(a, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    factor, *_ = factorised(a, False)
    assert factor.log_det == pytest.approx(np.log(lu.U.diagonal()).sum(), rel=1e-12)
    x = np.random.default_rng(0).normal(size=(900, 2))
    np.testing.assert_allclose(factor.solve(torch.from_numpy(x)).numpy(), lu.solve(x), atol=1e-10)
    # Minimum-degree orders differ little in what they fill.
    assert factor.symbolic.multiplications < 3 * (np.diff(lu.L.indptr).astype(float) ** 2).sum() / 2 + 1e5


@needs_cholmod
def test_against_cholmod():
    from cvxopt import cholmod, spmatrix

    a = random_matrix(700, 0.002, 6)
    below = sparse.coo_array(sparse.tril(a))
    given_ = spmatrix(below.data, *(c.astype(int) for c in below.coords), size=a.shape)
    found = cholmod.symbolic(given_)
    cholmod.numeric(given_, found)
    expected = 2 * np.log(np.array(cholmod.diag(found))).sum()
    for order in (False, True):
        assert factorised(a, order)[0].log_det == pytest.approx(expected, rel=1e-12)


@needs_cholmod
@pytest.mark.parametrize("there", [False, True])
def test_engines_agree_with_either_order(monkeypatch, there):
    monkeypatch.setattr(henderson, "cholmod_is_there", lambda: there)
    for name in ("crossed", "three terms", "a variance per section"):
        model = simulated(11, cut=1.0, **CASES[name])
        agree(model, theta_of(model, "somewhere"), sparse=True)
    assert HendersonEngine(model, sparse=True).name == "henderson (sparse)"


def test_what_has_no_factor():
    a = sparse.csc_array(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(np.linalg.LinAlgError):
        SparseMatrix(a).log_det
    with pytest.raises(np.linalg.LinAlgError):
        SparseMatrix(sparse.csc_array(np.array([[np.nan]]))).log_det
    with pytest.raises(TooLarge) as caught:
        Symbolic(random_matrix(90, 0.1, 1), most=200)
    assert 200 < caught.value.entries < 400
