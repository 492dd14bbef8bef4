"""fit.function and fit.correlations: exact derivatives against differences, and every refusal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.covariance import Dummy, Propagated, Scaled, Sum
from openreml_core.notation.arithmetic import parse_arithmetic


@pytest.fixture(scope="module")
def alpha() -> pd.DataFrame:
    return reml.load_sample("john_alpha")


@pytest.fixture(scope="module")
def fit(alpha: pd.DataFrame) -> reml.MixedModelFit:
    return reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", alpha)


def test_one_parameter_is_itself(fit: reml.MixedModelFit) -> None:
    table = fit.variance_components().set_index("group")
    for name in ("gen", "rep:block", "residual"):
        for text in (name, f"{name}.variance", f"`{name}.variance`"):
            found = fit.function(text)
            assert found["estimate"] == pytest.approx(table.loc[name, "estimate"])
            assert found["std_error"] == pytest.approx(table.loc[name, "std_error"])
    half = 1.959963984540054 * table.loc["gen", "std_error"]
    assert fit.function("gen")["upper"] == pytest.approx(table.loc["gen", "estimate"] + half)


FUNCTIONS = {
    "gen / (gen + residual / 3)": lambda g, b, e: g / (g + e / 3),
    "sqrt(gen) * rep:block^2 - -residual**0.5": lambda g, b, e: g**0.5 * b**2 + e**0.5,
    "log(gen) / exp(rep:block) + 2e-1": lambda g, b, e: np.log(g) / np.exp(b) + 0.2,
    "(gen - residual) ^ (rep:block + 1)": lambda g, b, e: (g - e) ** (b + 1),
    "+.5 * (gen.variance + `rep:block.variance`)": lambda g, b, e: 0.5 * (g + b),
}


@pytest.mark.parametrize("text", FUNCTIONS)
def test_the_delta_method(fit: reml.MixedModelFit, text: str) -> None:
    names = ["gen", "rep:block", "residual"]
    cov = fit.function({name: name for name in names}).attrs["covariance"].to_numpy()
    values = np.array(list(fit.parameters.values()))
    of = FUNCTIONS[text]
    gradient = [(of(*(values + h)) - of(*(values - h))) / 2e-6 for h in 1e-6 * np.eye(3)]
    found = fit.function(text)
    assert found["estimate"] == pytest.approx(of(*values), rel=1e-12)
    assert found["std_error"] == pytest.approx(np.sqrt(gradient @ cov @ gradient), rel=1e-6)


def test_several_functions_have_a_covariance(fit: reml.MixedModelFit) -> None:
    table = fit.function({"h2": "gen / (gen + residual / 3)", "total": "gen + rep:block + residual"}, level=0.8)
    assert list(table.index) == ["h2", "total"]
    c = table.attrs["covariance"]
    np.testing.assert_allclose(np.sqrt(np.diag(c)), table["std_error"])
    assert c.loc["h2", "total"] == pytest.approx(c.loc["total", "h2"]) != 0


def test_held_and_zero_parameters_are_known(alpha: pd.DataFrame) -> None:
    held = reml.fit("yield ~ rep + (1 | gen)", alpha, fixed={"gen": 0.2})
    assert held.function("gen")["std_error"] == 0.0
    assert held.function("gen + residual")["std_error"] == pytest.approx(held.function("residual")["std_error"])
    zero = reml.fit("Yield ~ 1 + (1 | Batch)", reml.load_sample("dyestuff2"))
    assert zero.function("Batch / (Batch + residual)").tolist()[:2] == [0.0, 0.0]
    tied = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", alpha, ties={"rep:block": "2 * gen"})
    assert tied.function("rep:block / gen")["estimate"] == pytest.approx(2.0)
    assert tied.function("rep:block / gen")["std_error"] == pytest.approx(0.0, abs=1e-12)


def test_names_of_every_kind() -> None:
    sleep = reml.fit("Reaction ~ Days + (Days | Subject)", reml.load_sample("sleepstudy"))
    text = "Subject.covariance((Intercept), Days)/sqrt(Subject.variance((Intercept))*Subject.variance(Days))"
    found = sleep.function(text)
    components = sleep.variance_components()
    row = components[components["kind"] == "correlation"].iloc[0]
    assert (found["estimate"], found["std_error"]) == pytest.approx((row["estimate"], row["std_error"]), rel=1e-10)
    for name in sleep.parameters:
        assert sleep.function(f"2 * {name}")["estimate"] == pytest.approx(2 * sleep.parameters[name])


def test_a_tree_by_hand(alpha: pd.DataFrame, fit: reml.MixedModelFit) -> None:
    tree = Sum(
        gen=Propagated(Dummy(alpha["gen"]), Scaled(24)),
        block=Propagated(Dummy(alpha["rep"], alpha["block"]), Scaled(18)),
        residual=Scaled(72),
    )
    by_hand = reml.fit_covariance(alpha["yield"], Dummy(alpha["rep"]), tree)
    paths = {name.split("/")[0]: name for name in by_hand.parameters}
    found = by_hand.function(f"`{paths['gen']}` / (`{paths['gen']}` + `{paths['residual']}` / 3)")
    expected = fit.function("gen / (gen + residual / 3)")
    assert found["estimate"] == pytest.approx(expected["estimate"], rel=1e-5)
    assert found["std_error"] == pytest.approx(expected["std_error"], rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gin / residual", r"'gin' is no parameter of this model\. Did you mean \*gen\*"),
        ("gen.varianc", r"Did you mean \*gen.variance\*"),
        ("genx", "'genx' is no parameter"),
        ("`gen/2`", "'gen/2' is no parameter"),
        ("gen +", "cannot be read"),
        ("(gen", "cannot be read"),
        ("gen gen", "cannot be read"),
        ("gen(residual)", "is no arithmetic"),
        ("sqrt(gen)(residual)", "is no arithmetic"),
        ("sqrt", "'sqrt' is a function"),
        ("__import__('os')", "is no parameter"),
        ("open('x')", "'open' is no parameter"),
        ("gen.__class__", "is no parameter"),
        ("[1, 2]", "is no parameter"),
        ("gen; 1", "is no parameter"),
        ("gen if 1 else 2", "'if' is no parameter"),
        ("gen / (gen - gen)", "has no value or no derivative"),
        ("log(gen - gen)", "has no value or no derivative"),
        ("9^9^9^9^9", "has no value or no derivative"),
        ("1e999", "is too large"),
        ("", "is no expression"),
        ("-" * 3999 + "1", "nested too deeply|cannot be read"),
        ("1+" * 1500 + "gen", "nested too deeply|cannot be read"),
        ("1 + " * 2000 + "1", "has 8,001 characters"),
    ],
)
def test_what_is_refused(fit: reml.MixedModelFit, text: str, message: str) -> None:
    with pytest.raises(reml.FormulaError, match=message):
        fit.function(text)


def test_options(fit: reml.MixedModelFit) -> None:
    with pytest.raises(reml.ModelError, match="level=2 is not a probability"):
        fit.function("gen", level=2)
    with pytest.raises(reml.FormulaError, match="3 is no expression"):
        fit.function(3)  # type: ignore[arg-type]
    assert parse_arithmetic("a.b + a", ["a", "a.b"]).names == ("a.b", "a")


# -- correlations -------------------------------------------------------------------------------------------------


def trials() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    gen = rng.normal(size=(60, 1)) + 0.7 * rng.normal(size=(60, 3))
    rows = [(f"g{i}", f"e{j}", gen[i, j] + 0.8 * rng.normal()) for i in range(60) for j in range(3) for _ in range(2)]
    return pd.DataFrame(rows, columns=["gen", "env", "y"])


@pytest.mark.parametrize("engine", ["marginal", "henderson"])
def test_unstructured_correlations(engine: str) -> None:
    fit = reml.fit("y ~ env + us(0 + env | gen)", trials(), engine=engine)
    table, components = fit.correlations("gen"), fit.variance_components()
    rows = components[components["kind"] == "correlation"]
    assert len(table) == len(rows) == 3
    for row in rows.itertuples():
        mine = table[
            table[["name1", "name2"]].apply(
                lambda r, row=row: {r["name1"], r["name2"]} == {row.name1, row.name2}, axis=1
            )
        ].iloc[0]
        assert (mine["correlation"], mine["std_error"]) == pytest.approx((row.estimate, row.std_error), rel=1e-8)
        assert mine["covariance"] == pytest.approx(fit.variance_matrix("gen").loc[row.name1, row.name2])
    z = 1.959963984540054 * table["std_error"] / (1 - table["correlation"] ** 2)
    np.testing.assert_allclose(np.arctanh(table["upper"]), np.arctanh(table["correlation"]) + z)
    assert (table["upper"] < 1).all() and (table["lower"] > -1).all()


def test_factor_analytic_correlations() -> None:
    """r_12 = l1 l2 / sqrt((l1^2 + psi1)(l2^2 + psi2)), written out."""
    data = trials()
    for profiled in (True, False):
        fit = reml.fit("y ~ env + fa(0 + env | gen, k=1)", data, start=None if profiled else {"residual": 0.5})
        table = fit.correlations("gen")
        for row in table.itertuples():
            load = [f"`gen.loading({n}, factor 1)`" for n in (row.name1, row.name2)]
            total = [
                f"({a}^2 + `gen.specific variance({n})`)" for a, n in zip(load, (row.name1, row.name2), strict=True)
            ]
            found = fit.function(f"{load[0]} * {load[1]} / sqrt({total[0]} * {total[1]})")
            assert (row.correlation, row.std_error) == pytest.approx((found["estimate"], found["std_error"]), rel=1e-6)


def test_one_correlation_for_all_and_none() -> None:
    data = trials()
    corh = reml.fit("y ~ env + csh(0 + env | gen)", data)
    table = corh.correlations("gen")
    components = corh.variance_components()
    row = components[components["kind"] == "correlation"].iloc[0]
    np.testing.assert_allclose(table["correlation"], row["estimate"])
    np.testing.assert_allclose(table["std_error"], row["std_error"], rtol=1e-8)
    none = reml.fit("y ~ env + diag(0 + env | gen)", data).correlations("gen")
    assert (none["correlation"] == 0).all() and (none["std_error"] == 0).all()
    one = reml.fit("y ~ env + rr(0 + env | gen, k=1)", data).correlations("gen")
    np.testing.assert_allclose(one["correlation"].abs(), 1.0)
    assert one["std_error"].isna().all()
    with pytest.raises(reml.ModelError, match="one effect per level"):
        reml.fit("y ~ env + (1 | gen)", data).correlations("gen")
