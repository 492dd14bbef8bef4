"""What every covariance structure keeps: one class of tests that each inherits by being in the list."""

from __future__ import annotations

import pytest
import torch

from openreml_core.covariance import Diagonal, Structure, Unstructured
from tests.contracts.models import differences

STRUCTURES = [
    pytest.param(lambda: Unstructured(["a"]), id="us1"),
    pytest.param(lambda: Unstructured(["a", "b", "c"]), id="us3"),
    pytest.param(lambda: Diagonal(["a", "b", "c"]), id="diag3"),
]


@pytest.mark.parametrize("make", STRUCTURES)
class TestStructure:
    @pytest.fixture
    def structure(self, make) -> Structure:
        return make()

    @pytest.fixture(params=["start", "random", "zero"])
    def theta(self, request, structure) -> torch.Tensor:
        torch.manual_seed(5)
        start = structure.start(torch.linspace(0.5, 2.0, structure.size, dtype=torch.float64))
        if request.param == "start":
            return start
        return torch.randn(len(start), dtype=torch.float64) if request.param == "random" else torch.zeros_like(start)

    def test_start_gives_the_variances_asked_for(self, structure):
        scale = torch.linspace(0.5, 2.0, structure.size, dtype=torch.float64)
        torch.testing.assert_close(structure.matrix(structure.start(scale)), torch.diag(scale.square()))

    def test_symmetric_and_semidefinite(self, structure, theta):
        sigma = structure.matrix(theta)
        assert sigma.shape == (structure.size, structure.size)
        torch.testing.assert_close(sigma, sigma.T)
        assert float(torch.linalg.eigvalsh(sigma)[0]) > -1e-12

    def test_derivative_by_differences_and_autograd(self, structure, theta):
        found = structure.derivative(theta)
        torch.testing.assert_close(
            found, differences(structure.matrix, theta, torch.ones_like(theta)), rtol=1e-8, atol=1e-9
        )
        torch.testing.assert_close(found, Structure.derivative(structure, theta))

    def test_curvature_by_autograd(self, structure, theta):
        torch.manual_seed(6)
        m = torch.randn(structure.size, structure.size, dtype=torch.float64)
        m = m + m.T
        torch.testing.assert_close(structure.curvature(theta, m), Structure.curvature(structure, theta, m))

    def test_natural_parameters_make_the_trip_and_come_back(self, structure, theta):
        sigma = structure.matrix(theta)
        values = structure.natural_values(theta)
        assert len(values) == len(structure.natural) == structure.n_parameters
        again = structure.matrix(structure.from_natural(values))
        torch.testing.assert_close(again, sigma, rtol=1e-10, atol=1e-12)

    def test_natural_derivative(self, structure, theta):
        """Sigma is linear in its natural parameters: the derivatives, weighted with their values, are Sigma."""
        sigma = structure.matrix(theta)
        whole = torch.einsum("m,mab->ab", structure.natural_values(theta), structure.natural_derivative(theta))
        torch.testing.assert_close(whole, sigma, rtol=1e-10, atol=1e-12)

    def test_settling_changes_the_factor_not_the_matrix(self, structure, theta):
        settled = structure.settle(theta, torch.ones(structure.size, dtype=torch.float64))
        torch.testing.assert_close(structure.matrix(settled), structure.matrix(theta), rtol=0, atol=1e-7)

    def test_the_boundary_is_named(self, structure):
        ones = torch.ones(structure.size, dtype=torch.float64)
        inside = structure.boundary(structure.start(ones), ones)
        assert set(inside) == {""}
        assert not structure.is_singular(structure.start(ones), ones)
        zero = torch.zeros(structure.n_parameters, dtype=torch.float64)
        assert set(structure.boundary(zero, ones)) == {"at zero"}
        assert structure.is_singular(zero, ones)


def test_a_correlation_of_one_is_named():
    us = Unstructured(["a", "b"])
    ones = torch.ones(2, dtype=torch.float64)
    assert us.boundary(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64), ones) == ("", "correlation at 1", "")
    assert us.boundary(torch.tensor([1.0, -0.5, 0.0], dtype=torch.float64), ones) == ("", "correlation at -1", "")


def test_an_indefinite_matrix_is_refused():
    with pytest.raises(ValueError, match="row 2"):
        Unstructured(["a", "b"]).from_natural(torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64))
