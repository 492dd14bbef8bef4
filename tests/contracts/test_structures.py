"""What every covariance structure keeps: one class of tests that each inherits by being in the list."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from openreml_core.covariance import (
    AR1,
    AR2,
    Antedependence,
    Diagonal,
    Equicorrelation,
    Exponential,
    FactorAnalytic,
    Gaussian,
    Independent,
    KroneckerStructure,
    Matern,
    ScaledCorrelation,
    Separable,
    Spherical,
    Structure,
    Toeplitz,
    Unstructured,
)
from openreml_core.covariance.ranged import RangedCorrelation
from openreml_core.covariance.structure import stacked
from tests.contracts.models import differences

ABCD = ["a", "b", "c", "d"]
TIMES = torch.tensor([1, 2, 4, 5])  # a gap at 3
PLACES = torch.tensor([[0.0, 0.0], [1.0, 0.5], [2.5, 1.0], [0.5, 3.0]], dtype=torch.float64)


def scaled(correlation, many: bool = False) -> Structure:
    return ScaledCorrelation(ABCD, correlation, heterogeneous=many)


def separable() -> Structure:
    rows, cols = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])  # a 3 x 2 grid with two plots missing
    return scaled(Separable([AR1(torch.arange(3)), AR1(torch.arange(2))], [rows, cols], ["row.", "col."]))


def kronecker(*factors: Structure, carrier: int = 0, missing: tuple[int, ...] = ()) -> Structure:
    """A product over all combinations of the factors' levels but those left out."""
    grid = torch.cartesian_prod(*[torch.arange(f.size) for f in factors]).reshape(-1, len(factors))
    grid = grid[[row for row in range(len(grid)) if row not in missing]]
    prefixes = [f"f{place}." for place in range(len(factors))]
    return KroneckerStructure(
        [str(i) for i in range(len(grid))], factors, list(grid.T), carrier=carrier, prefixes=prefixes
    )


def ar1(many: bool = False) -> Structure:
    return ScaledCorrelation(["1", "2", "4"], AR1(torch.tensor([1, 2, 4])), heterogeneous=many)


def us(*names: str) -> Structure:
    return Unstructured(names)


LINEAR = [
    pytest.param(lambda: Unstructured(["a"]), id="us1"),
    pytest.param(lambda: Unstructured(["a", "b", "c"]), id="us3"),
    pytest.param(lambda: Diagonal(["a", "b", "c"]), id="diag3"),
]
STRUCTURES = [
    *LINEAR,
    pytest.param(lambda: scaled(Independent(4)), id="id"),
    pytest.param(lambda: scaled(Equicorrelation(4)), id="cs"),
    pytest.param(lambda: scaled(Equicorrelation(4), True), id="csh"),
    pytest.param(lambda: scaled(AR1(TIMES)), id="ar1"),
    pytest.param(lambda: scaled(AR1(TIMES), True), id="arh1"),
    pytest.param(lambda: scaled(AR2(TIMES)), id="ar2"),
    pytest.param(lambda: scaled(Toeplitz(4)), id="toep"),
    pytest.param(lambda: scaled(Toeplitz(4), True), id="toeph"),
    pytest.param(lambda: scaled(Exponential(PLACES)), id="exp"),
    pytest.param(lambda: scaled(Exponential(PLACES, aniso=True)), id="exp aniso"),
    pytest.param(lambda: scaled(Gaussian(PLACES)), id="gau"),
    pytest.param(lambda: scaled(Matern(PLACES, nu=0.5)), id="matern 1/2"),
    pytest.param(lambda: scaled(Matern(PLACES, nu=1.5)), id="matern 3/2"),
    pytest.param(lambda: scaled(Matern(PLACES, nu=2.5)), id="matern 5/2"),
    pytest.param(lambda: scaled(Spherical(PLACES)), id="sph"),
    pytest.param(lambda: RangedCorrelation(ABCD, Exponential(PLACES)), id="exp by slope"),
    pytest.param(lambda: RangedCorrelation(ABCD, Gaussian(PLACES)), id="gau by slope"),
    pytest.param(lambda: RangedCorrelation(ABCD, Matern(PLACES, nu=2.5)), id="matern 5/2 by slope"),
    pytest.param(separable, id="ar1:ar1"),
    pytest.param(lambda: FactorAnalytic(ABCD, 1), id="fa1"),
    pytest.param(lambda: FactorAnalytic(ABCD, 2), id="fa2"),
    pytest.param(lambda: FactorAnalytic(ABCD, 2, reduced=True), id="rr2"),
    pytest.param(lambda: scaled(Exponential(PLACES), True), id="exph"),
    pytest.param(lambda: scaled(Matern(PLACES, aniso=True), True), id="maternh aniso"),
    pytest.param(lambda: kronecker(us("a", "b"), ar1()), id="kron us ar1"),
    pytest.param(lambda: kronecker(ar1(), us("a", "b"), carrier=1), id="kron ar1 us"),
    pytest.param(lambda: kronecker(us("a", "b"), us("c", "d")), id="kron us us"),
    pytest.param(lambda: kronecker(ar1(True), ar1(), missing=(1, 5)), id="ar1h:ar1 with gaps"),
    pytest.param(lambda: kronecker(Diagonal(["a", "b"]), ar1(True), missing=(2,)), id="diag:ar1h with a gap"),
    pytest.param(lambda: kronecker(us("a", "b"), ar1(), scaled(Exponential(PLACES))), id="kron us ar1 exp"),
    pytest.param(lambda: kronecker(FactorAnalytic(["a", "b", "c"], 1), ar1()), id="kron fa1 ar1"),
    pytest.param(lambda: kronecker(us("a", "b"), Antedependence(["c", "d", "e"], 1)), id="kron us ante1"),
    pytest.param(lambda: Antedependence(ABCD, 1), id="ante1"),
    pytest.param(lambda: Antedependence(ABCD, 2), id="ante2"),
]


def somewhere(structure: Structure, seed: int) -> torch.Tensor:
    """A random point well inside the bounds, where Sigma is positive definite."""
    torch.manual_seed(seed)
    start = structure.start(torch.linspace(0.5, 2.0, structure.size, dtype=torch.float64))
    size = structure.typical(torch.linspace(0.5, 2.0, structure.size, dtype=torch.float64))
    low, high = structure.bounds()
    theta = start + 0.15 * size * torch.randn(len(start), dtype=torch.float64)
    return theta.clamp(low, high)


@pytest.mark.parametrize("make", STRUCTURES)
class TestStructure:
    @pytest.fixture
    def structure(self, make) -> Structure:
        return make()

    @pytest.fixture(params=["start", "random", "no correlation", "zero"])
    def theta(self, request, structure) -> torch.Tensor:
        start = structure.start(torch.linspace(0.5, 2.0, structure.size, dtype=torch.float64))
        if request.param == "start":
            return start
        if request.param == "random":
            return somewhere(structure, 5)
        low, _ = structure.bounds()
        if request.param == "no correlation":  # rho = 0, standard deviations as they are
            bounded = torch.isfinite(low) & (low < 0)
            return torch.where(bounded, 0.0, start)
        return torch.where(torch.isfinite(low) & (low != 0), start, 0.0)  # every variance and loading at zero

    def test_a_small_step_is_straight(self, structure):
        """Bent or not, a step's first order is the step."""
        theta = somewhere(structure, 5)
        torch.manual_seed(8)
        step = 0.1 * structure.typical(torch.ones(structure.size, dtype=torch.float64)) * torch.randn_like(theta)
        found = differences(
            lambda t: structure.moved(theta, t * step), torch.zeros(1, dtype=torch.float64), torch.ones(1)
        )
        torch.testing.assert_close(found.reshape(-1), step, rtol=1e-6, atol=1e-9)

    def test_symmetric_and_semidefinite(self, structure, theta):
        sigma = structure.matrix(theta)
        assert sigma.shape == (structure.size, structure.size)
        torch.testing.assert_close(sigma, sigma.T)
        assert float(torch.linalg.eigvalsh(sigma)[0]) > -1e-12

    def test_derivative_by_differences_and_autograd(self, structure, theta):
        found = structure.derivative(theta)
        assert bool(torch.isfinite(found).all())
        step = structure.typical(torch.ones(structure.size, dtype=torch.float64))
        torch.testing.assert_close(found, differences(structure.matrix, theta, step), rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(
            found, stacked(Structure.derivatives(structure, theta), structure.size), rtol=1e-10, atol=1e-12
        )

    def test_gradient_is_the_derivatives_paired(self, structure, theta):
        torch.manual_seed(4)
        m = torch.randn(structure.size, structure.size, dtype=torch.float64)  # not symmetric: <M, dSigma> all the same
        expected = (structure.derivative(theta) * m).sum(dim=(1, 2))
        torch.testing.assert_close(structure.gradient(theta, m), expected, rtol=1e-10, atol=1e-11)
        torch.testing.assert_close(Structure.gradient(structure, theta, m), expected, rtol=1e-10, atol=1e-11)

    def test_curvature_by_autograd_and_differences(self, structure, theta):
        torch.manual_seed(6)
        m = torch.randn(structure.size, structure.size, dtype=torch.float64)
        m = m + m.T
        found = structure.curvature(theta, m)
        assert bool(torch.isfinite(found).all())
        torch.testing.assert_close(found, Structure.curvature(structure, theta, m), rtol=1e-9, atol=1e-10)

        def slopes(t):
            return (structure.derivative(t) * m).sum(dim=(1, 2))

        step = structure.typical(torch.ones(structure.size, dtype=torch.float64))
        torch.testing.assert_close(found, differences(slopes, theta, step), rtol=1e-6, atol=1e-7)

    def test_natural_parameters_make_the_trip_and_come_back(self, structure, theta):
        values = structure.natural_values(theta)
        assert len(values) == len(structure.natural) == structure.n_parameters == len(theta)
        again = structure.matrix(structure.from_natural(values))
        torch.testing.assert_close(again, structure.matrix(theta), rtol=1e-10, atol=1e-12)

    def test_natural_derivative(self, structure):
        """dSigma / d natural, by differences of the trip natural -> free -> Sigma."""
        values = structure.natural_values(
            structure.settle(somewhere(structure, 7), torch.ones(structure.size).double())
        )
        found = structure.natural_derivative(structure.from_natural(values))
        step = 0.1 * values.abs().clamp_min(0.05)
        expected = differences(lambda v: structure.matrix(structure.from_natural(v)), values, step)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)

    def test_natural_bend(self, structure):
        """sum_ab W_ab d2Sigma / d natural_a d natural_b, by differences of the first derivatives."""
        torch.manual_seed(8)
        theta = structure.settle(somewhere(structure, 7), torch.ones(structure.size).double())
        values = structure.natural_values(theta)
        half = torch.randn(len(values), len(values), dtype=torch.float64)
        weights = half + half.T
        step = 0.1 * values.abs().clamp_min(0.05)
        second = differences(lambda v: structure.natural_derivative(structure.from_natural(v)), values, step)
        expected = torch.einsum("ab,abij->ij", weights, second)
        found = structure.natural_bend(structure.from_natural(values), weights)
        scale = float((weights[:, :, None, None] * second).abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7 * max(scale, 1.0))

    def test_a_linear_structure_bends_only_along_itself(self, structure):
        """d2Sigma / d theta2 lies in the span of dSigma / d theta wherever Sigma is."""
        theta = somewhere(structure, 9)
        slopes = structure.derivative(theta).reshape(structure.n_parameters, -1)
        weights = torch.ones(len(theta), len(theta), dtype=torch.float64) + torch.eye(len(theta)).double()
        bent = structure.natural_bend(theta, weights).reshape(-1, 1)
        rest = bent - slopes.T @ torch.linalg.lstsq(slopes.T, bent).solution
        if structure.is_linear:
            assert float(rest.norm()) < 1e-9 * max(float(bent.norm()), 1.0)
        elif structure.keyword not in ("fa", "rr", "ante"):  # few levels may leave nothing that is not spanned
            assert float(rest.norm()) > 1e-6

    def test_settling_changes_the_form_not_the_matrix(self, structure, theta):
        settled = structure.settle(theta, torch.ones(structure.size, dtype=torch.float64))
        torch.testing.assert_close(structure.matrix(settled), structure.matrix(theta), rtol=0, atol=1e-7)

    def test_the_boundary_is_named(self, structure):
        ones = torch.ones(structure.size, dtype=torch.float64)
        start = structure.start(ones)
        assert set(structure.boundary(start, ones)) == {""}
        low, _ = structure.bounds()
        zero = torch.where(torch.isfinite(low) & (low != 0), start, 0.0)  # deviations; a bound of theirs is zero itself
        marks = structure.boundary(zero, ones)
        assert len(marks) == structure.n_parameters
        assert "at zero" in marks
        assert structure.is_singular(zero, ones)

    def test_start_has_the_variances_asked_for_about(self, structure):
        scale = torch.linspace(0.5, 2.0, structure.size, dtype=torch.float64)
        ratio = structure.matrix(structure.start(scale)).diagonal() / scale.square()
        assert 0.2 < float(ratio.mean()) < 5


@pytest.mark.parametrize("make", LINEAR)
def test_sigma_is_linear_in_its_natural_parameters(make):
    structure = make()
    theta = somewhere(structure, 3)
    whole = torch.einsum("m,mab->ab", structure.natural_values(theta), structure.natural_derivative(theta))
    torch.testing.assert_close(whole, structure.matrix(theta), rtol=1e-10, atol=1e-12)
    ones = torch.ones(structure.size, dtype=torch.float64)
    torch.testing.assert_close(structure.matrix(structure.start(ones)), torch.diag(ones))


def test_by_hand():
    """A few entries from the definitions."""
    rho = torch.tensor([-0.5], dtype=torch.float64)
    assert AR1(TIMES).matrix(rho)[0, 2].item() == pytest.approx((-0.5) ** 3)
    assert Equicorrelation(3).matrix(torch.tensor([0.2]).double())[0, 2].item() == pytest.approx(0.2)
    first, second = 0.6, 0.3  # c1 = f1 / (1 - f2), c2 = f1 c1 + f2
    f2, f1 = second, first * (1 - second)
    ar2 = AR2(torch.arange(3)).matrix(torch.tensor([first, second]).double())
    assert ar2[0, 2].item() == pytest.approx(f1 * first + f2)
    r = torch.tensor([2.0]).double()
    assert Exponential(PLACES).matrix(r)[0, 1].item() == pytest.approx(2.718281828459045 ** (-(1.25**0.5) / 2))
    assert Gaussian(PLACES).matrix(r)[0, 1].item() == pytest.approx(2.718281828459045 ** (-1.25 / 4))
    assert Spherical(PLACES).matrix(r)[0, 3].item() == 0.0
    fa = FactorAnalytic(["a", "b"], 1).matrix(torch.tensor([2.0, 3.0, 0.5, 0.1]).double())
    torch.testing.assert_close(fa, torch.tensor([[4.25, 6.0], [6.0, 9.01]]).double())
    ante = Antedependence(["a", "b"], 1).matrix(torch.tensor([2.0, 1.0, 0.5]).double())
    torch.testing.assert_close(ante, torch.tensor([[4.0, 2.0], [2.0, 2.0]]).double())


def test_a_correlation_of_one_is_named():
    us = Unstructured(["a", "b"])
    ones = torch.ones(2, dtype=torch.float64)
    assert us.boundary(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64), ones) == ("", "correlation at 1", "")
    assert us.boundary(torch.tensor([1.0, -0.5, 0.0], dtype=torch.float64), ones) == ("", "correlation at -1", "")


def test_an_indefinite_matrix_is_refused():
    with pytest.raises(ValueError, match="row 2"):
        Unstructured(["a", "b"]).from_natural(torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_a_range_at_the_end_of_its_search_is_named_in_any_unit(unit):
    structure, ones = scaled(Exponential(unit * PLACES)), torch.ones(4, dtype=torch.float64)
    low, high = structure.bounds()
    for end, mark in ((low[1], "at its bound"), (high[1], "no upper bound")):
        assert structure.boundary(torch.stack([ones[0], end]), ones) == ("", mark)
    assert structure.boundary(structure.start(ones), ones) == ("", "")


def test_threads_may_differentiate_at_the_same_time():
    """Two people fit at once in the studio, each in a thread: torch's levels of forward mode are the process's."""
    structures = [scaled(Matern(PLACES, nu=2.5, aniso=True)), scaled(AR2(TIMES)), kronecker(us("a", "b"), ar1())]
    places = [somewhere(structure, 5) for structure in structures]
    expected = [stacked(Structure.derivatives(s, t), s.size) for s, t in zip(structures, places, strict=True)]

    def work(number: int) -> bool:
        k = number % len(structures)
        found = [
            structures[k].derivative(places[k]),
            stacked(Structure.derivatives(structures[k], places[k]), structures[k].size),
        ]
        return all(torch.allclose(f, expected[k], rtol=1e-9, atol=1e-11) for f in found)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(400)))
