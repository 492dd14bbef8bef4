"""What every node of a tree keeps: leaves and operators against numpy, derivatives three ways, paths, printing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special

from openreml_core import ModelError
from openreml_core.covariance import (
    AR1,
    AR2,
    Adapter,
    Antedependence,
    Augment,
    BlockDiagonal,
    CompoundSymmetric,
    Constant,
    Diagonal,
    Dummy,
    EqualEntry,
    Equicorrelation,
    Exponential,
    FactorAnalytic,
    Function,
    Gaussian,
    Gram,
    Hadamard,
    Identity,
    Inverse,
    Known,
    Kronecker,
    LowerTriangular,
    Matern,
    Matrix,
    Product,
    Propagated,
    ReducedRank,
    Scaled,
    Spherical,
    Stack,
    Sum,
    Toeplitz,
    Transpose,
    Unconstrained,
    Unstructured,
    as_matrix,
    transforms,
)
from tests.contracts.models import differences

K = np.array([[1.0, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 1.25]])
LABELS = ["a", "b", "a", "c", "b"]
Z = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0.0]])
PLACES = np.array([[0.0, 0.0], [1.0, 0.5], [2.5, 1.0]])
LAG = np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
DISTANCE = np.sqrt(((PLACES[:, None] - PLACES[None]) ** 2).sum(-1))


def low(values: list[float]) -> np.ndarray:
    out = np.zeros((3, 3))
    out[np.tril_indices(3)] = values
    return out


def symmetric(values: list[float]) -> np.ndarray:
    out = low(values)
    return out + out.T - np.diag(out.diagonal())


def ante(d: list[float], phi: list[float]) -> np.ndarray:
    t = np.eye(3)
    t[1, 0], t[2, 1] = -phi[0], -phi[1]
    inverse = np.linalg.inv(t)
    return inverse @ np.diag(d) @ inverse.T


def ar2(rho1: float, partial2: float) -> np.ndarray:
    f1 = rho1 * (1 - partial2)
    return np.array([1.0, rho1, f1 * rho1 + partial2])[LAG]


def spherical(r: float) -> np.ndarray:
    t = np.minimum(DISTANCE / r, 1)
    return 1 - 1.5 * t + 0.5 * t**3


def matern(nu: float, r: float) -> np.ndarray:
    a = np.sqrt(2 * nu) * np.where(DISTANCE > 0, DISTANCE, 1.0) / r
    c = 2 ** (1 - nu) / special.gamma(nu) * a**nu * special.kv(nu, a)
    return np.where(DISTANCE > 0, c, 1.0)


def custom(values: torch.Tensor) -> torch.Tensor:
    return torch.exp(-values[0] * torch.from_numpy(LAG).double()) + values[1] * torch.eye(3, dtype=torch.float64)


#: name: how it is made, values by path (natural), the same matrix by numpy, whether it is a covariance.
NODES = {
    "Identity": (lambda: Identity(3), {}, lambda: np.eye(3), True),
    "Scaled": (lambda: Scaled(3), {"sigma2": 2.0}, lambda: 2 * np.eye(3), True),
    "Scaled factor": (lambda: Scaled(np.array(LABELS)), {"sigma2": 2.0}, lambda: 2 * np.eye(3), True),
    "Scaled AR1": (lambda: Scaled(AR1(3)), {"sigma2": 2.0, "rho": -0.4}, lambda: 2 * (-0.4) ** LAG, True),
    "EqualEntry": (lambda: EqualEntry(3), {"sigma2": 1.5}, lambda: np.full((3, 3), 1.5), True),
    "EqualEntry wide": (lambda: EqualEntry(2, 3), {"sigma2": 1.5}, lambda: np.full((2, 3), 1.5), False),
    "CompoundSymmetric": (
        lambda: CompoundSymmetric(3),
        {"sigma2": 2.0, "rho": -0.2},
        lambda: 2 * (1.2 * np.eye(3) - 0.2),
        True,
    ),
    "Equicorrelation": (lambda: as_matrix(Equicorrelation(3)), {"rho": 0.6}, lambda: 0.4 * np.eye(3) + 0.6, True),
    "AR1": (lambda: as_matrix(AR1(3)), {"rho": 0.5}, lambda: 0.5**LAG, True),
    "AR2": (lambda: as_matrix(AR2(3)), {"rho1": 0.5, "partial2": 0.2}, lambda: ar2(0.5, 0.2), True),
    "Toeplitz": (
        lambda: as_matrix(Toeplitz(3)),
        {"rho1": 0.5, "rho2": 0.1},
        lambda: np.array([1, 0.5, 0.1])[LAG],
        True,
    ),
    "Exponential": (lambda: as_matrix(Exponential(PLACES)), {"range": 2.0}, lambda: np.exp(-DISTANCE / 2), True),
    "Gaussian": (lambda: as_matrix(Gaussian(PLACES)), {"range": 2.0}, lambda: np.exp(-((DISTANCE / 2) ** 2)), True),
    "Spherical": (lambda: as_matrix(Spherical(PLACES)), {"range": 2.0}, lambda: spherical(2.0), True),
    "Matern 3/2": (
        lambda: as_matrix(Matern(PLACES, nu=1.5)),
        {"range": 2.0},
        lambda: (1 + 3**0.5 * DISTANCE / 2) * np.exp(-(3**0.5) * DISTANCE / 2),
        True,
    ),
    "Matern 0.8": (lambda: as_matrix(Matern(PLACES, nu=0.8)), {"range": 2.0}, lambda: matern(0.8, 2.0), True),
    "Exponential aniso": (
        lambda: as_matrix(Exponential(PLACES, aniso=True)),
        {"range1": 2.0, "range2": 0.7},
        lambda: np.exp(-np.sqrt((((PLACES[:, None] - PLACES[None]) / [2.0, 0.7]) ** 2).sum(-1))),
        True,
    ),
    "Diagonal": (
        lambda: as_matrix(Diagonal(3)),
        {"variance(1)": 1.0, "variance(2)": 2.0, "variance(3)": 0.5},
        lambda: np.diag([1, 2, 0.5]),
        True,
    ),
    "Unstructured": (
        lambda: as_matrix(Unstructured(3)),
        {"variance(1)": 2.0, "covariance(1,2)": 0.5, "covariance(2,3)": -0.3, "variance(3)": 1.5},
        lambda: symmetric([2, 0.5, 1, 0, -0.3, 1.5]),
        True,
    ),
    "Unstructured log": (
        lambda: as_matrix(Unstructured(3, log=True)),
        {"variance(1)": 2.0, "covariance(1,2)": 0.5, "covariance(2,3)": -0.3, "variance(3)": 1.5},
        lambda: symmetric([2, 0.5, 1, 0, -0.3, 1.5]),
        True,
    ),
    "Unconstrained": (
        lambda: Unconstrained(3),
        {"1,1": 2.0, "2,1": 0.5, "3,2": -0.3},
        lambda: symmetric([2, 0.5, 1, 0, -0.3, 1]),
        True,
    ),
    "LowerTriangular": (
        lambda: LowerTriangular(3),
        {"2,1": 0.5, "3,3": -2.0},
        lambda: low([1, 0.5, 1, 0, 0, -2]),
        False,
    ),
    "Antedependence": (
        lambda: as_matrix(Antedependence(3)),
        {"innovation variance(1)": 2.0, "regression(2,1)": 0.5, "regression(3,2)": -0.3},
        lambda: ante([2, 1, 1], [0.5, -0.3]),
        True,
    ),
    "FactorAnalytic": (
        lambda: as_matrix(FactorAnalytic(3, 1)),
        {"loading(1,factor 1)": 1.0, "loading(2,factor 1)": 0.5, "loading(3,factor 1)": -1.0, "specific variance(1)": 0.3,
         "specific variance(2)": 0.2, "specific variance(3)": 0.1},
        lambda: np.outer([1, 0.5, -1], [1, 0.5, -1]) + np.diag([0.3, 0.2, 0.1]),
        True,
    ),
    "ReducedRank": (
        lambda: as_matrix(ReducedRank(3, 1)),
        {"loading(1,factor 1)": 1.0, "loading(2,factor 1)": 0.5, "loading(3,factor 1)": -1.0},
        lambda: np.outer([1, 0.5, -1], [1, 0.5, -1]),
        True,
    ),
    "Known": (lambda: Known(K), {}, lambda: K, True),
    "Known inverse": (lambda: Known(np.linalg.inv(K), inverse=True), {}, lambda: K, True),
    "Dummy": (lambda: Dummy(LABELS), {}, lambda: Z, False),
    "Constant": (lambda: Constant(torch.from_numpy(Z)), {}, lambda: Z, False),
    "Function": (
        lambda: Function(custom, {"decay": 0.5, "nugget": 0.1}),
        {"decay": 0.7},
        lambda: np.exp(-0.7 * LAG) + 0.1 * np.eye(3),
        True,
    ),
    "Sum": (
        lambda: Sum(gen=Scaled(K), residual=Scaled(3)),
        {"gen/sigma2": 2.0, "residual/sigma2": 0.5},
        lambda: 2 * K + 0.5 * np.eye(3),
        True,
    ),
    "Kronecker": (
        lambda: Kronecker(AR1(2), Scaled(K)),
        {"0/rho": 0.5, "1/sigma2": 2.0},
        lambda: np.kron([[1, 0.5], [0.5, 1]], 2 * K),
        True,
    ),
    "BlockDiagonal": (
        lambda: BlockDiagonal(a=Scaled(2), b=Scaled(K)),
        {"a/sigma2": 3.0, "b/sigma2": 2.0},
        lambda: np.block([[3 * np.eye(2), np.zeros((2, 3))], [np.zeros((3, 2)), 2 * K]]),
        True,
    ),
    "Hadamard": (lambda: Hadamard(K, AR1(3)), {"rho": 0.5}, lambda: K * 0.5**LAG, True),
    "Propagated": (lambda: Propagated(Dummy(LABELS), Scaled(K)), {"sigma2": 2.0}, lambda: 2 * Z @ K @ Z.T, True),
    "Propagated free Z": (
        lambda: Propagated(LowerTriangular(3), Scaled(K)),
        {"Z/2,1": 0.5, "G/sigma2": 2.0},
        lambda: 2 * low([1, 0.5, 1, 0, 0, 1]) @ K @ low([1, 0.5, 1, 0, 0, 1]).T,
        True,
    ),
    "Gram xtx": (
        lambda: Gram(LowerTriangular(3)),
        {"2,1": 0.5},
        lambda: low([1, 0.5, 1, 0, 0, 1]).T @ low([1, 0.5, 1, 0, 0, 1]),
        True,
    ),
    "Gram xxt": (
        lambda: Gram(LowerTriangular(3), "xxt"),
        {"2,1": 0.5},
        lambda: low([1, 0.5, 1, 0, 0, 1]) @ low([1, 0.5, 1, 0, 0, 1]).T,
        True,
    ),
    "Product": (
        lambda: Product(Scaled(3), K, LowerTriangular(3)),
        {"0/sigma2": 2.0, "2/2,1": 0.5},
        lambda: 2 * K @ low([1, 0.5, 1, 0, 0, 1]),
        False,
    ),
    "Transpose": (
        lambda: Transpose(LowerTriangular(3)),
        {"2,1": 0.5},
        lambda: low([1, 0.5, 1, 0, 0, 1]).T,
        False,
    ),
    "Inverse": (
        lambda: Inverse(Sum(Scaled(K), Scaled(3))),
        {"0/sigma2": 2.0, "1/sigma2": 0.5},
        lambda: np.linalg.inv(2 * K + 0.5 * np.eye(3)),
        True,
    ),
    "Augment": (
        lambda: Augment(Scaled(3), K),
        {"sigma2": 2.0},
        lambda: np.hstack([2 * np.eye(3), K]),
        False,
    ),
    "Stack": (lambda: Stack(Scaled(3), K), {"sigma2": 2.0}, lambda: np.vstack([2 * np.eye(3), K]), False),
    "Adapter": (
        lambda: Adapter(Sum(a=Scaled(K), b=Scaled(3)), {"s": 1.0}, lambda p: {"a/sigma2": p["s"], "b/sigma2": 3 * p["s"]}),
        {"s": 2.0},
        lambda: 2 * K + 6 * np.eye(3),
        True,
    ),
    "Adapter of us": (
        lambda: Adapter.tie(Sum(a=Unstructured(3), b=Scaled(K), c=Scaled(3)), {"c/sigma2": (0.5, "b/sigma2")}),
        {"a/variance(1)": 2.0, "a/covariance(1,2)": 0.5, "b/sigma2": 3.0},
        lambda: symmetric([2, 0.5, 1, 0, 0, 1]) + 3 * K + 1.5 * np.eye(3),
        True,
    ),
    "Adapter split": (
        lambda: Adapter.split(Sum(a=Scaled(K), b=AR1(3), c=Scaled(3)), "total", ["a/sigma2", "c/sigma2"]),
        {"total": 4.0, "total.share0": 0.25, "b/rho": 0.5},
        lambda: K + 0.5**LAG + 3 * np.eye(3),
        True,
    ),
    "Adapter fix": (
        lambda: Adapter.fix(Sum(a=Scaled(K), b=Scaled(3)), {"b/sigma2": 2.5}),
        {"a/sigma2": 2.0},
        lambda: 2 * K + 2.5 * np.eye(3),
        True,
    ),
    "depth 3": (
        lambda: Sum(
            field=Propagated(Dummy(LABELS), Kronecker(Scaled(1), Hadamard(K, AR1(3)))),
            rest=BlockDiagonal(Scaled(2), Gram(LowerTriangular(3), "xxt")),
        ),
        {"field/0/sigma2": 2.0, "field/1/rho": 0.5, "rest/0/sigma2": 0.5},
        lambda: 2 * Z @ (K * 0.5**LAG) @ Z.T + np.diag([0.5, 0.5, 1, 1, 1]),
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
class TestNode:
    @pytest.fixture
    def node(self, name) -> Matrix:
        return NODES[name][0]()

    @pytest.fixture(params=["start", "values", "random", "zero"])
    def theta(self, request, name, node) -> torch.Tensor:
        if request.param == "start":
            return node.theta()
        if request.param == "values":
            return node.theta(NODES[name][1])
        torch.manual_seed(3)
        if request.param == "random":
            return node.theta() + 0.1 * torch.randn(node.n_parameters, dtype=torch.float64)
        kinds = [node.parameters[path].kind for path in node.free_names]
        edge = torch.tensor([k in ("variance", "correlation", "loading") for k in kinds], dtype=torch.bool)
        if name in ("Inverse", "Antedependence") or "log" in name or "Adapter" in name:
            edge = torch.zeros_like(edge)  # what it inverts, or takes the logarithm of, may not vanish
        return torch.where(edge, 0.0, node.theta())

    def test_it_is_the_matrix_that_numpy_makes(self, name, node):
        _, values, dense, _ = NODES[name]
        np.testing.assert_allclose(node(values).numpy(), dense(), rtol=1e-12, atol=1e-14)
        assert node.shape == dense().shape

    def test_symmetric_and_semidefinite(self, name, node, theta):
        if not NODES[name][3] or name == "Unconstrained":
            return
        v = node(theta)
        torch.testing.assert_close(v, v.T, rtol=1e-12, atol=1e-14)
        assert float(torch.linalg.eigvalsh(v)[0]) > -1e-12

    def test_determinant_and_inverse(self, name, node):
        _, values, dense, covariance = NODES[name]
        if not covariance or np.linalg.matrix_rank(dense()) < len(dense()):
            return
        v = node(values)
        assert float(torch.logdet(v)) == pytest.approx(np.linalg.slogdet(dense())[1], rel=1e-10, abs=1e-12)
        np.testing.assert_allclose(Inverse(node)(values).numpy(), np.linalg.inv(dense()), rtol=1e-9, atol=1e-11)

    def test_derivatives_three_ways(self, node, theta):
        expected = differences(lambda t: node(t), theta, torch.ones_like(theta)) if len(theta) else theta
        found = list(node.derivatives(theta))
        assert len(found) == node.n_parameters
        if not found:
            return
        torch.testing.assert_close(torch.stack(found), expected, rtol=1e-6, atol=1e-8)
        for below in node.nodes().values():
            below.derivative("automatic")
        torch.testing.assert_close(
            torch.stack(list(node.derivatives(theta))), torch.stack(found), rtol=1e-9, atol=1e-11
        )

    def test_gradient_and_curvature_pair_them_with_a_matrix(self, node, theta):
        if not len(theta):
            return
        torch.manual_seed(4)
        m = torch.randn(node.shape, dtype=torch.float64)
        expected = torch.stack([(m * d).sum() for d in node.derivatives(theta)])
        torch.testing.assert_close(node.gradient(theta, m), expected, rtol=1e-9, atol=1e-10)
        bend = differences(lambda t: node.gradient(t, m), theta, torch.ones_like(theta))
        torch.testing.assert_close(node.curvature(theta, m), bend, rtol=1e-5, atol=1e-6)

    def test_parameters_make_the_trip(self, node, theta):
        natural = node.natural(theta)
        torch.testing.assert_close(node(natural), node(theta), rtol=1e-9, atol=1e-10)
        assert list(natural) == list(node.parameters)

    def test_printing_names_every_node(self, node):
        text = repr(node)
        assert len(text.splitlines()) == len(node.nodes())
        assert f"{node.shape[0]} x {node.shape[1]}" in text.splitlines()[0]

    def test_fixed_parameters_leave_theta(self, node):
        if not node.n_parameters:
            return
        before = node()
        node.set("", fixed=True)
        assert node.n_parameters == 0
        torch.testing.assert_close(node(), before, rtol=1e-9, atol=1e-11)


TRANSFORMS = [
    (transforms.Identity(), 0.7, 0.7),
    (transforms.Exp(), 0.7, np.exp(0.7)),
    (transforms.Exp2(), 0.7, 2**0.7),
    (transforms.Exp10(), 0.7, 10**0.7),
    (transforms.ExpPow2(), 0.7, np.exp(1.4)),
    (transforms.Pow(2), 0.7, 0.49),
    (transforms.Pow(3), -0.7, -0.343),
    (transforms.ScaleShift(2.0, 1.0), 0.7, 2.4),
    (transforms.Sigmoid(-1, 1), 0.7, 2 / (1 + np.exp(-0.7)) - 1),
    (transforms.Chain(transforms.Exp(), transforms.ScaleShift(100.0)), 0.7, 100 * np.exp(0.7)),
]


@pytest.mark.parametrize(
    ("transform", "free", "natural"), TRANSFORMS, ids=lambda v: repr(v) if hasattr(v, "domain") else ""
)
def test_transforms(transform, free, natural):
    x = torch.tensor(free, dtype=torch.float64)
    assert float(transform.forward(x)) == pytest.approx(natural, rel=1e-12)
    assert float(transform.inverse(transform.forward(x))) == pytest.approx(free, rel=1e-10)
    h = 1e-6
    slope = (transform.forward(x + h) - transform.forward(x - h)) / (2 * h)
    assert float(transform.derivative(x)) == pytest.approx(float(slope), rel=1e-7)
    low, high = transform.domain
    for outside in ([low - 1] if np.isfinite(low) else []) + ([high + 1] if np.isfinite(high) else []):
        with pytest.raises(ModelError, match="outside the domain"):
            transform.inverse(torch.tensor(outside, dtype=torch.float64))


def test_paths_prefixes_and_values():
    tree = Sum(random=Sum(gen=Scaled(3), block=Scaled(AR1(3))), residual=Scaled(3))
    assert list(tree.parameters) == ["random/gen/sigma2", "random/block/sigma2", "random/block/rho", "residual/sigma2"]
    assert list(Scaled(Scaled(2)).parameters) == ["sigma2", "0/sigma2"]
    tree.set("random/", fixed=True).set("residual/sigma2", value=4.0)
    assert tree.free_names == ("residual/sigma2",)
    assert float(tree()[0, 0]) == pytest.approx(1 + 1 + 4)
    with pytest.raises(ModelError, match=r"\*residual/sigma\* is no parameter"):
        tree.set("residual/sigma", value=1.0)
    with pytest.raises(ModelError, match="residual/sigma2"):
        tree.set("residual/sigma2", value=-1.0)
    with pytest.raises(ModelError, match="3 values are given for 1"):
        tree(torch.ones(3))


def test_a_node_that_stands_twice_has_one_set_of_parameters():
    same = Scaled(3)
    tree = Sum(a=Hadamard(K, same), b=same)
    assert list(tree.parameters) == ["a/1/sigma2"]
    v = tree({"a/sigma2": 2.0}).numpy()
    np.testing.assert_allclose(v, 2 * np.diag(K.diagonal()) + 2 * np.eye(3))
    found = torch.stack(list(tree.derivatives()))
    torch.testing.assert_close(
        found, differences(lambda t: tree(t), tree.theta(), torch.ones(1).double()), rtol=1e-7, atol=1e-9
    )


def test_every_nodes_matrix():
    tree = Sum(gen=Propagated(Dummy(LABELS), Scaled(3)), residual=Scaled(5))
    found = tree.tree({"gen/sigma2": 2.0, "residual/sigma2": 3.0})
    assert list(found) == ["", "gen", "gen/Z", "gen/G", "residual"]
    np.testing.assert_allclose(found["gen/G"], 2 * np.eye(3))
    np.testing.assert_allclose(found[""], 2 * Z @ Z.T + 3 * np.eye(5))


def test_two_factors_have_all_their_combinations():
    node = Dummy(["r1", "r1", "r2"], ["b", "a", "b"])
    assert node.levels == ("r1:a", "r1:b", "r2:a", "r2:b")
    np.testing.assert_allclose(node(), [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    assert Dummy(["r1", "r1", "r2"], ["b", "a", "b"], occurring=True).levels == ("r1:a", "r1:b", "r2:b")
    assert Dummy(["x", "y"], drop_first=True)().shape == (2, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sum(a=Scaled(3), b=Scaled(4)), r"\*b\* is 4 x 4, \*a\* is 3 x 3"),
        (lambda: Propagated(Dummy(LABELS), Scaled(4)), "Z has 3 columns, G is 4 x 4"),
        (lambda: Product(Scaled(3), np.ones((2, 3))), "has 3 columns"),
        (lambda: Inverse(np.ones((2, 3))), "not square"),
        (lambda: Gram(Scaled(3), "xx"), "not known"),
        (lambda: Sum(), "needs 1 or more"),
        (lambda: Scaled(3, sigma2=-1.0), "not negative"),
        (lambda: Scaled("abc"), "no matrix of numbers"),
        (lambda: CompoundSymmetric(3, rho=-0.9), "rho"),
        (lambda: Known(np.array([[1.0, 2.0], [2.0, 1.0]])), "not positive semidefinite"),
        (lambda: Known(np.array([[1.0, 0.2], [0.1, 1.0]])), "not symmetric"),
        (lambda: Constant(np.array([[1.0, np.nan]])), "row 1, column 2"),
        (lambda: Dummy(["a", None]), "no label in row 2"),
        (lambda: Dummy(["a", "b"], ["a"]), "different lengths"),
        (lambda: Function(lambda v: v, {"a": 1.0}), "gave a tensor of shape"),
        (lambda: Function(lambda v: torch.log(v[0] - 2) * torch.eye(2), {"a": 1.0})(), "4 elements of Function 2 x 2"),
        (lambda: Sum(a=Inverse(Scaled(2)), b=Scaled(2))({"a/sigma2": 0.0}), r"4 elements of \*a\*, Inverse 2 x 2"),
        (lambda: FactorAnalytic(2, 3), "3 factors for 2"),
        (lambda: Antedependence(2, 2), "order 2 for 2"),
        (lambda: Matern(PLACES, nu=0.0), "nu is 0, not above zero"),
        (lambda: AR1(3)({"rho": 1.5}), "rho = 1.5 is not between its bounds -1 and 1"),
        (lambda: AR1([1, 2, 2]), "'2' stands twice"),
        (lambda: AR1(torch.tensor([1.0, 2.5])), "no whole numbers"),
        (lambda: Sum(a=Scaled(2), b=Scaled(2)).set("sigma2", value=2.0), r"\*sigma2\* is no parameter"),
        (lambda: Adapter.tie(Sum(Scaled(2), Scaled(2)), {"0/sigma2": "0/sigma2"}), "tied itself"),
        (
            lambda: Adapter.tie(Sum(Scaled(2), Scaled(2)), {"0/sigma2": "1/sigma2", "1/sigma2": "0/sigma2"}),
            "tied itself",
        ),
        (lambda: Adapter.tie(Scaled(AR1(3)), {"rho": "sigma2"}), "cannot be tied"),
        (lambda: Adapter.tie(Sum(Scaled(2), Scaled(2)), {"0/sigma2": (-1.0, "1/sigma2")}), "above zero"),
        (lambda: Adapter.fix(Scaled(2), {"sigma2": -1.0}), "not between its bounds"),
        (lambda: Adapter.split(Scaled(AR1(3)), "t", ["sigma2", "rho"]), "cannot be split"),
        (lambda: Function(lambda v: v[3] * torch.eye(2), {"a": 1.0}), "failed"),
        (lambda: Adapter(Scaled(2), {"s": 1.0}, lambda p: {"nope": p["s"]}), r"\*nope\* is no parameter"),
        (lambda: Identity(0), "size of 0"),
        (lambda: Identity(3).derivative("manual"), "no formula"),
        (lambda: as_matrix(Unstructured(2)).set("variance(1)", transform=transforms.Exp()), "one matrix together"),
        (lambda: as_matrix(Unstructured(2)).set("variance(1)", fixed=True)(), "Fix all of them"),
        (lambda: transforms.Sigmoid(1, 0), "empty"),
    ],
)
def test_mistakes_are_said_in_words(make, words):
    with pytest.raises(ModelError, match=words):
        make()


def test_transforms_of_ones_own_choice():
    node = as_matrix(Diagonal(2)).set("variance(1)", transform=transforms.ExpPow2(), value=3.0)
    torch.testing.assert_close(node.theta()[0], torch.tensor(np.log(3.0) / 2))
    assert float(node()[0, 0]) == pytest.approx(3.0)
    expected = differences(lambda t: node(t), node.theta(), torch.ones(2).double())
    torch.testing.assert_close(torch.stack(list(node.derivatives())), expected, rtol=1e-7, atol=1e-9)


def test_steps_may_be_left_out_where_one_parameter_answers():
    tree = Sum(block=Propagated(Dummy(["a", "b"]), Kronecker(Identity(1), Scaled(2))), rest=Scaled(AR1(2)))
    assert list(tree.parameters) == ["block/1/sigma2", "rest/sigma2", "rest/rho"]
    by_hand = {"block/sigma2": 2.0, "rest/sigma2": 3.0, "rho": 0.5}
    whole = {"block/1/sigma2": 2.0, "rest/sigma2": 3.0, "rest/rho": 0.5}
    torch.testing.assert_close(tree(by_hand), tree(whole))
    assert tree.natural(whole)["block/sigma2"] == pytest.approx(2.0)
    with pytest.raises(KeyError):
        tree.natural()["sigma2"]  # there are two


def test_positions_count_their_gaps():
    gaps = np.abs(np.subtract.outer([1, 2, 4], [1, 2, 4]))
    column = pd.Series([4, 1, 1, 2, 4])
    for made in (AR1([1, 2, 4]), AR1(column), AR1(torch.tensor([1, 2, 4])), AR1(column.astype("category"))):
        np.testing.assert_allclose(made({"rho": 0.5}), 0.5**gaps)
    np.testing.assert_allclose(AR1(["early", "late"])({"rho": 0.5}), [[1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(AR1(3)({"rho": 0.5}), 0.5**LAG)


def test_structures_are_nodes_themselves():
    diagonal = Diagonal(["a", "b"])
    assert list(diagonal.parameters) == ["variance(a)", "variance(b)"] and diagonal.shape == (2, 2)
    diagonal.set("variance(a)", value=3.0, fixed=True)
    tree = diagonal + Scaled(2, 1.0)
    np.testing.assert_allclose(tree().numpy(), np.diag([4.0, 2.0]))
    assert tree.free_names == ("0/variance(b)", "1/sigma2")
    np.testing.assert_allclose((AR1(2) @ AR1(2).T)({"0/rho": 0.5, "1/rho": 0.5}), [[1.25, 1], [1, 1.25]])


def test_how_a_node_is_differentiated_is_ones_choice():
    tree = Sum(a=Scaled(AR1(3)), b=Scaled(3))
    by_formula = torch.stack(list(tree.derivatives()))
    tree.set("a/", derivative="automatic")
    assert [tree.nodes()[path]._mode for path in ("a", "a/0", "b")] == ["automatic", "automatic", "manual"]
    torch.testing.assert_close(torch.stack(list(tree.derivatives())), by_formula)
    assert Sum(Scaled(2), derivative="automatic")._mode == "automatic"


def test_natural_derivatives_by_differences():
    tree = Sum(us=Unstructured(3), ar=Scaled(AR1(3)), f=Function(custom, {"decay": 0.5, "nugget": 0.1}))
    values = torch.tensor(list(tree.natural().values()), dtype=torch.float64)
    found = torch.stack(list(tree.natural_derivatives()))
    expected = differences(
        lambda v: tree(dict(zip(tree.parameters, v.tolist(), strict=True))), values, values.clamp_min(0.1)
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
