"""Covariances built by hand: the formula's numbers, other optima found by scipy, boundaries, memory, mistakes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import optimize

import openreml_core as reml
from openreml_core.covariance import (
    AR1,
    AR2,
    Adapter,
    Antedependence,
    CompoundSymmetric,
    Diagonal,
    Dummy,
    Equicorrelation,
    Exponential,
    FactorAnalytic,
    Function,
    Identity,
    Kronecker,
    Product,
    Propagated,
    Scaled,
    Sum,
    Toeplitz,
    Unconstrained,
    Unstructured,
    transforms,
)


@pytest.fixture(scope="module")
def alpha():
    return reml.load_sample("john_alpha")


def by_hand(d) -> Sum:
    return Sum(
        gen=Propagated(Dummy(d["gen"]), Scaled(24)),
        block=Propagated(Dummy(d["rep"], d["block"]), Kronecker(Identity(3), Scaled(6))),
        residual=Scaled(72),
    )


@pytest.fixture(scope="module")
def fitted(alpha):
    return reml.fit_covariance(torch.tensor(alpha["yield"].to_numpy()), Dummy(alpha["rep"])(), by_hand(alpha))


def dense_reml(y, x, v) -> float:
    """-2 restricted log-likelihood from its definition."""
    inverse = np.linalg.inv(v)
    xvx = x.T @ inverse @ x
    p = inverse - inverse @ x @ np.linalg.inv(xvx) @ x.T @ inverse
    dets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(xvx)[1]
    return dets + y @ p @ y + (len(y) - x.shape[1]) * np.log(2 * np.pi)


def test_john_alpha_has_the_published_components(fitted):
    found = fitted.parameters
    assert found["gen/sigma2"] == pytest.approx(0.142901968, rel=1e-6)
    assert found["block/1/sigma2"] == found["block/sigma2"] == pytest.approx(0.070218320, rel=1e-6)
    assert found["residual/sigma2"] == pytest.approx(0.081617174, rel=1e-6)
    assert fitted.loglik_asreml == pytest.approx(16.809849, abs=1e-6)


def test_it_is_the_formulas_fit(fitted, alpha):
    ref = reml.fit("yield ~ 0 + rep + (1 | gen) + (1 | rep:block)", alpha)
    assert fitted.criterion == pytest.approx(ref.criterion, abs=1e-8)
    ours, theirs = fitted.variance_components(), ref.variance_components()
    np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-5)
    np.testing.assert_allclose(ours["percent"], theirs["percent"], rtol=1e-5)
    for column in ("blup", "std_error", "reliability"):
        np.testing.assert_allclose(
            fitted.random_effects("gen")[column], ref.random_effects("gen")[column], rtol=1e-5, atol=1e-7
        )
    for column in ("estimate", "std_error", "df", "p_value"):
        np.testing.assert_allclose(fitted.fixed_effects()[column], ref.fixed_effects()[column], rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(fitted.fitted(), ref.fitted(), atol=1e-6)
    np.testing.assert_allclose(
        fitted.effective_dimensions()["dimension"], ref.effective_dimensions()["dimension"], rtol=1e-5
    )
    assert fitted.variance_matrix("gen/G").index.tolist() == ref.random_effects("gen")["level"].tolist()
    assert (fitted.n_parameters, fitted.rank) == (ref.n_parameters, ref.rank)
    assert fitted.sigma == pytest.approx(ref.sigma, rel=1e-6)
    assert "gen" in str(fitted) and "by hand" in fitted.formula


def test_the_users_tree_stays_as_it_was(alpha):
    tree = by_hand(alpha)
    fit = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"])(), tree, fixed={"residual/sigma2": 0.1})
    assert [p.value for p in tree.parameters.values()] == [1.0, 1.0, 1.0]
    assert fit.tree.parameters["residual/sigma2"].value == 0.1
    assert fit.variance_components()["bound"].tolist() == ["", "", "held"]


def test_ties_and_ratios_by_an_adapter_and_by_a_shared_node(alpha):
    """One variance for genotypes and blocks: against scipy over the definition."""
    y, x = alpha["yield"].to_numpy(), Dummy(alpha["rep"])().numpy()
    z, b = Dummy(alpha["gen"])().numpy(), Dummy(alpha["rep"], alpha["block"])().numpy()

    def criterion(logs, ratio):
        s, e = np.exp(logs)
        return dense_reml(y, x, s * (z @ z.T + ratio * b @ b.T) + e * np.eye(72))

    for ratio in (1.0, 0.5):
        best = optimize.minimize(criterion, [-2.0, -2.0], args=(ratio,), method="Nelder-Mead",
                                 options={"xatol": 1e-9, "fatol": 1e-11})  # fmt: skip
        tied = Adapter(
            by_hand(alpha),
            {"shared": 0.1},
            lambda p, r=ratio: {"gen/sigma2": p["shared"], "block/sigma2": r * p["shared"]},
        )
        fit = reml.fit_covariance(y, x, tied)
        assert fit.criterion == pytest.approx(best.fun, abs=1e-7)
        assert fit.parameters["shared"] == pytest.approx(np.exp(best.x[0]), rel=1e-4)
    one = Scaled(Identity(1))
    shared = Sum(
        gen=Propagated(Dummy(alpha["gen"]), Kronecker(Identity(24), one)),
        block=Propagated(Dummy(alpha["rep"], alpha["block"]), Kronecker(Identity(18), one)),
        residual=Scaled(72),
    )
    best = optimize.minimize(criterion, [-2.0, -2.0], args=(1.0,), method="Nelder-Mead", options={"fatol": 1e-11})
    assert reml.fit_covariance(y, x, shared).criterion == pytest.approx(best.fun, abs=1e-6)


def test_tied_parameters_are_reported_and_predict(alpha):
    """Blocks with half the genotypes' variance: BLUPs from their definition, errors by the delta method."""
    y, x = alpha["yield"].to_numpy(), Dummy(alpha["rep"])().numpy()
    z, b = Dummy(alpha["gen"])().numpy(), Dummy(alpha["rep"], alpha["block"])().numpy()
    fit = reml.fit_covariance(y, x, Adapter.tie(by_hand(alpha), {"block/sigma2": (0.5, "gen/sigma2")}))
    table = fit.variance_components().set_index("group")
    s, e = table.loc["gen", "estimate"], table.loc["residual", "estimate"]
    assert table.loc["block", "estimate"] == pytest.approx(s / 2, rel=1e-12)
    assert table.loc["block", "std_error"] == pytest.approx(table.loc["gen", "std_error"] / 2, rel=1e-9)
    assert table.loc["block", "bound"] == "tied" and table["percent"].sum() == pytest.approx(100)
    inverse = np.linalg.inv(s * (z @ z.T + b @ b.T / 2) + e * np.eye(72))
    beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    np.testing.assert_allclose(fit.random_effects("gen")["blup"], s * z.T @ inverse @ (y - x @ beta), atol=1e-9)
    assert fit.random_terms == ("gen", "block") and fit.sigma == pytest.approx(e**0.5)


def test_a_split_total_has_the_same_optimum_and_errors(alpha, fitted):
    split = Adapter.split(by_hand(alpha), "total", ["gen/sigma2", "block/sigma2", "residual/sigma2"])
    fit = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"])(), split)
    assert fit.criterion == pytest.approx(fitted.criterion, abs=1e-8)
    table = fit.variance_components()
    np.testing.assert_allclose(table["std_error"].iloc[3:], fitted.variance_components()["std_error"], rtol=1e-4)
    assert fit.parameters["total"] == pytest.approx(sum(fitted.parameters.values()), rel=1e-6)
    held = reml.fit_covariance(
        alpha["yield"], Dummy(alpha["rep"])(), Adapter.fix(by_hand(alpha), {"residual/sigma2": 0.1})
    )
    other = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"])(), by_hand(alpha), fixed={"residual/sigma2": 0.1})
    assert held.criterion == pytest.approx(other.criterion, abs=1e-9)
    assert held.variance_components()["bound"].tolist() == ["", "", "held"]


@pytest.mark.parametrize("unit", [1e-5, 1e5])
@pytest.mark.parametrize(
    "between", [lambda: Unstructured(3), lambda: FactorAnalytic(3, 1), lambda: Kronecker(Scaled(1), Scaled(3))]
)
def test_the_units_of_the_response_do_not_matter(alpha, unit, between):
    v = Sum(g=Propagated(Dummy(alpha["gen"], alpha["rep"]), Kronecker(Identity(24), between())), e=Scaled(72))
    x = Dummy(alpha["rep"])()
    plain, other = (reml.fit_covariance(alpha["yield"] * c, x, v) for c in (1.0, unit))
    assert other.criterion - 2 * 69 * np.log(unit) == pytest.approx(plain.criterion, abs=1e-6)
    # Steps within rounding of the criterion, whose size depends on the unit, may differ.
    steps = [fit.trace["step"][fit.trace["change"].abs() > 1e-9].tolist() for fit in (plain, other)]
    assert steps[0] == steps[1]


def test_em_goes_to_the_same_optimum(alpha, fitted):
    y, x = alpha["yield"], Dummy(alpha["rep"])()
    for algorithm in ("em", "ai-em"):
        fit = reml.fit_covariance(y, x, by_hand(alpha), algorithm=algorithm)
        assert fit.converged and fit.criterion == pytest.approx(fitted.criterion, abs=1e-7)
        assert "EM" in set(fit.trace["step"])
        assert (np.diff(fit.trace["criterion"]) < 1e-9).all()
    with pytest.raises(reml.ModelError, match="EM has no step"):
        reml.fit_covariance(y, x, Sum(Scaled(AR1(72)), Scaled(72)), algorithm="em")


def test_where_a_function_has_no_value_no_step_leads():
    """A range that the function refuses beyond 2, a variance beyond which it gives NaN: the search stays inside."""
    y, x, _ = visits(7, rho=0.5)
    lag = torch.from_numpy(np.abs(np.subtract.outer(np.arange(5), np.arange(5)))).double()

    def narrow(v):
        if float(v[0].detach()) > 2:
            raise ArithmeticError("too large")
        return torch.log(v[0] / (v[0] > 0.2)) * 0 + v[0] * torch.exp(-(v[1] ** 2) * lag)

    start = Function(narrow, {"s": 1.9, "decay": 0.3})
    fit = reml.fit_covariance(y, x, Kronecker(Identity(40), start))
    ar1 = reml.fit_covariance(y, x, Kronecker(Identity(40), Scaled(AR1(5))))
    assert fit.criterion == pytest.approx(ar1.criterion, abs=1e-6)
    with pytest.raises(reml.ModelError, match="not numbers"):
        reml.fit_covariance(y, x, Kronecker(Identity(40), start), start={"s": 0.1})


def test_correlations_at_their_bound_are_said():
    """Two traits that are one: the correlation of their effects is 1, and neither variance is zero."""
    rng = np.random.default_rng(4)
    effect, group, trait = rng.normal(size=30), np.repeat(np.arange(30), 4), np.tile([0, 0, 1, 1], 30)
    y = effect[group] * np.array([1.0, 2.0])[trait] + 0.3 * rng.normal(size=120)
    v = Sum(g=Propagated(Dummy(group, trait), Kronecker(Identity(30), Unstructured(2))), e=Scaled(120))
    fit = reml.fit_covariance(y, Dummy(trait)(), v)
    table = fit.variance_components()
    assert table["bound"].tolist() == ["", "correlation at 1", "", ""]
    assert "correlation at 1" in " ".join(fit.warnings) and fit.singular
    assert table["std_dev"].isna().tolist() == [False, True, False, False]
    assert table["estimate"][1] ** 2 == pytest.approx(table["estimate"][0] * table["estimate"][2], rel=1e-6)


@pytest.mark.parametrize("shift", [0, 100])
def test_a_variance_at_zero_is_left_for_a_higher_hill(shift):
    """A random slope on days that are far from zero, without its fixed slope: the formula finds the higher of two hills."""
    data = reml.load_sample("sleepstudy")
    data["D"] = data["Days"] + shift
    formula = reml.fit("Reaction ~ 1 + (D || Subject)", data)
    intercept = Dummy(data["Subject"])()
    slope = intercept * torch.from_numpy(data["D"].to_numpy(float))[:, None]
    z = torch.stack([intercept, slope], dim=2).reshape(len(data), -1)
    v = Sum(subject=Propagated(z, Kronecker(Identity(18), Diagonal(2))), residual=Scaled(len(data)))
    fit = reml.fit_covariance(data["Reaction"], np.ones((len(data), 1)), v)
    assert fit.criterion == pytest.approx(formula.criterion, abs=1e-5)
    moved = [fit.trace["sentence"].str.contains("another start").any() for fit in (formula, fit)]
    assert moved == [shift == 100] * 2


def test_published_field_trial_by_hand(reference):
    """Gilmour, Cullis and Verbyla's NIN trial, AR1 x AR1: 48.71 (SE 7.159), rho .6555 (.0564) and .4375 (.0806)."""
    data = reference.table("stroup_nin.csv").dropna(subset="yield")
    field = Propagated(Dummy(data["col"], data["row"]), Scaled(Kronecker(AR1(22), AR1(11))))
    fit = reml.fit_covariance(data["yield"], Dummy(data["gen"])(), field)
    assert fit.loglik_asreml == pytest.approx(-399.3238, abs=1e-4)
    table = fit.variance_components()
    np.testing.assert_allclose(table["estimate"], [48.712806, 0.65552448, 0.43746501], rtol=1e-5)
    np.testing.assert_allclose(table["std_error"], [7.159, 0.0564, 0.0806], rtol=2e-3)


def test_transforms_lead_to_the_same_optimum(alpha):
    y, x = alpha["yield"], Dummy(alpha["rep"])()
    expected = reml.fit_covariance(y, x, by_hand(alpha)).criterion
    for transform in (transforms.Exp(), transforms.ExpPow2(), transforms.Exp10()):
        tree = by_hand(alpha)
        for path in tree.parameters:
            tree.set(path, transform=transform)
        fit = reml.fit_covariance(y, x, tree)
        assert fit.converged and fit.criterion == pytest.approx(expected, abs=1e-7)


def test_options_of_the_search(alpha, capsys):
    y, x, tree = alpha["yield"], Dummy(alpha["rep"])(), by_hand(alpha)
    whole = reml.fit_covariance(y, x, tree, verbose=True)
    assert capsys.readouterr().err.count("criterion") == len(whole.trace)
    slow = reml.fit_covariance(y, x, tree, step_multiplier=0.5)
    assert slow.converged and len(slow.trace) > len(whole.trace)
    assert slow.criterion == pytest.approx(whole.criterion, abs=1e-6)
    assert not reml.fit_covariance(y, x, tree, max_iterations=1).converged
    loose = reml.fit_covariance(y, x, tree, tolerance=1.0, gradient_tolerance=10.0)
    assert len(loose.trace) < len(whole.trace)
    bounded = reml.fit_covariance(y, x, tree, bounds={"gen/sigma2": (0.0, 0.05)})
    assert bounded.parameters["gen/sigma2"] == pytest.approx(0.05, rel=1e-6)
    assert bounded.variance_components()["bound"][0] == "at its bound"
    assert "at its bound" in " ".join(bounded.warnings)
    every = reml.fit_covariance(y, x, tree, bounds={"": (0.01, 0.1)}, fixed={"residual/sigma2": None})
    assert [p.upper for p in every.tree.parameters.values()] == [0.1] * 3 and every.parameters["residual/sigma2"] == 0.1
    seen = []
    with pytest.raises(reml.FitCancelled):
        reml.fit_covariance(y, x, tree, on_iteration=lambda row: seen.append(row) or False)
    assert len(seen) == 1


def visits(seed: int, rho: float = 0.0, between: float = 0.0):
    """40 subjects with 5 visits; noise correlated as AR1."""
    rng = np.random.default_rng(seed)
    c = rho ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    e = rng.normal(size=(40, 5)) @ np.linalg.cholesky(c + 1e-9 * np.eye(5)).T
    subject = np.repeat(np.arange(40), 5)
    return (e + between * rng.normal(size=(40, 1))).reshape(-1), np.ones((200, 1)), subject


BETWEEN_VISITS = {
    "cs": lambda: CompoundSymmetric(5),
    "ar1": lambda: Scaled(AR1(5)),
    "ar2": lambda: Scaled(AR2(5)),
    "toeplitz": lambda: Scaled(Toeplitz(5)),
    "equal": lambda: Scaled(Equicorrelation(5)),
    "diagonal": lambda: Diagonal(5),
    "unstructured": lambda: Unstructured(5),
    "unstructured, log": lambda: Unstructured(5, log=True),
    "unconstrained": lambda: Unconstrained(5),
    "factor analytic": lambda: FactorAnalytic(5, 1),
    "antedependence": lambda: Antedependence(5),
    "exponential": lambda: Scaled(Exponential(np.arange(5.0))),
}


@pytest.mark.parametrize("name", BETWEEN_VISITS)
def test_a_structure_pushed_to_its_boundary_is_a_notice(name):
    """A random term that is not in the data: the fit ends, says so, and is no worse than the model without it."""
    y, x, _ = visits(5)
    tree = Sum(term=Kronecker(Identity(40), BETWEEN_VISITS[name]()), residual=Scaled(200))
    fit = reml.fit_covariance(y, x, tree)
    alone = reml.fit_covariance(y, x, Scaled(200))
    assert np.isfinite(fit.criterion) and fit.criterion <= alone.criterion + 1e-5
    assert fit.converged or fit.warnings


def test_many_parameters_without_data_are_one_sentence(alpha):
    fit = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"])(), Sum(*(Scaled(72) for _ in range(8))))
    assert fit.criterion == pytest.approx(reml.fit("yield ~ 0 + rep", alpha).criterion, abs=1e-6)
    assert len(fit.warnings) == 1 and "and 2 more cannot be estimated" in fit.warnings[0]


def test_negative_autocorrelation_is_found():
    y, x, _ = visits(7, rho=-0.6)
    fit = reml.fit_covariance(y, x, Kronecker(Identity(40), Scaled(AR1(5))))
    assert fit.parameters["rho"] < -0.4


def test_a_function_of_ones_own_is_ar1():
    y, x, _ = visits(7, rho=0.5)
    lag = torch.from_numpy(np.abs(np.subtract.outer(np.arange(5), np.arange(5)))).double()
    own = Function(lambda v: v[0] ** 2 * torch.exp(-(v[1] ** 2) * lag), {"sd": 1.0, "decay": 0.8})
    ours = reml.fit_covariance(y, x, Kronecker(Identity(40), own))
    ar1 = reml.fit_covariance(y, x, Kronecker(Identity(40), Scaled(AR1(5))))
    assert ours.criterion == pytest.approx(ar1.criterion, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: dict(V=Scaled(71)), "V is 71 x 71, y has 72"),
        (lambda a: dict(V=Scaled(72).set("sigma2", fixed=True)), "no free parameter"),
        (lambda a: dict(V=Product(by_hand(a), np.diag(np.arange(1.0, 73)))), "not symmetric"),
        (
            lambda a: dict(V=Kronecker(Unconstrained(2, np.array([[-1.0, 1.0], [1.0, -1.0]])), Identity(36))),
            "not positive definite",
        ),
        (lambda a: dict(start={"nope": 1.0}), r"\*nope\* is no parameter"),
        (lambda a: dict(fixed={"gen/sigma2": -1.0}), "gen/sigma2"),
        (lambda a: dict(y=a["yield"].where(a.index != 3)), "y is not a number in row 4"),
        (lambda a: dict(X=np.ones((71, 1))), "X has the shape"),
        (lambda a: dict(names=["a"]), "1 names are given for 3"),
        (lambda a: dict(step_multiplier=2.0), "beyond the whole step"),
        (lambda a: dict(tolerance=-1.0), "not above zero"),
        (lambda a: dict(bounds={"gen/sigma2": (1.0, 0.5)}), "bounds of gen/sigma2"),
        (lambda a: dict(max_iterations=1.5), "max_iterations=1.5"),
        (lambda a: dict(method="mle"), "method='mle'"),
        (lambda a: dict(algorithm="newton"), "algorithm='newton'"),
        (lambda a: dict(start=[1.0]), "does not name its parameters"),
        (lambda a: dict(start={"gen/sigma2": None}), "gen/sigma2 is given as None"),
    ],
)
def test_mistakes_are_said_in_words(alpha, change, words):
    given = dict(y=alpha["yield"], X=Dummy(alpha["rep"])(), V=by_hand(alpha)) | change(alpha)
    with pytest.raises(reml.ModelError, match=words):
        reml.fit_covariance(given.pop("y"), given.pop("X"), given.pop("V"), **given)


def test_columns_that_others_determine_are_left_out(alpha):
    x = np.column_stack([np.ones(72), Dummy(alpha["rep"])().numpy()])
    fit = reml.fit_covariance(alpha["yield"], x, by_hand(alpha), names=["mean", "r1", "r2", "r3"])
    assert fit.rank == 3 and fit.aliased == ("r3",)
    with pytest.raises(reml.ModelError, match="not saved"):
        fit.save("nowhere")


MEMORY = """
import resource, numpy as np, torch
from openreml_core.covariance import AR1, Exponential, Function, Scaled, Sum, Toeplitz, as_matrix
torch.set_num_threads(1)
n = 2000
m = torch.ones(n, n, dtype=torch.float64)
lag = torch.from_numpy(np.abs(np.subtract.outer(np.arange(n), np.arange(n)))).double()
node = {make}
for below in node.nodes().values():
    below.derivative("automatic")
theta = node.theta()
node(theta)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for d in node.derivatives(theta):
    pass
node.gradient(theta, m)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
@pytest.mark.parametrize(
    "make",
    [
        "Sum(Scaled(AR1(n)), Scaled(n))",
        "Sum(Scaled(Exponential(np.arange(float(n)))), Scaled(n))",
        "Function(lambda v: v[0] * torch.exp(-v[1] * lag), {'a': 1.0, 'b': 0.5})",
    ],
    ids=["ar1", "exponential", "function"],
)
def test_automatic_derivatives_of_size_2000_stay_small(make):
    """300 MB above the matrices themselves (32 MB each), whatever the number of parameters."""
    # Large blocks straight from the system: what is freed is given back, and the peak is what was held.
    held = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    command = [sys.executable, "-c", MEMORY.format(make=make)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=held)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 300
