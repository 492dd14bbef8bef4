"""Products of structures, ``kron(us(trait), ar1(time) | animal)`` and ``us(trait):ar1(time)``, against V written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError
from tests.dense import criterion, lowest, slopes

TRAIT, TIME = np.array([[1.0, 0.6], [0.6, 1.5]]), np.array([1, 2, 4, 5])


def correlation(rho: float, times: np.ndarray) -> np.ndarray:
    return rho ** np.abs(times[:, None] - times[None, :])


@pytest.fixture(scope="module")
def animals() -> pd.DataFrame:
    """Twenty-four animals, two traits at days 1, 2, 4 and 5, every cell twice but for some that are missing."""
    rng = np.random.default_rng(30)
    root = np.linalg.cholesky(np.kron(TRAIT, correlation(0.7, TIME)))
    cells = pd.MultiIndex.from_product([["milk", "fat"], TIME], names=["trait", "time"]).to_frame(index=False)
    u = [root @ rng.normal(size=8) for _ in range(24)]
    rows = [cells.assign(animal=f"A{a:02d}", y=5 + own) for a, own in enumerate(u) for _ in range(2)]
    table = pd.concat(rows, ignore_index=True)
    table["y"] += rng.normal(scale=0.7, size=len(table))
    return table.drop(index=rng.choice(len(table), 34, replace=False)).sample(frac=1.0, random_state=2)


def blocks(table: pd.DataFrame, name: str) -> np.ndarray:
    values = table[name].to_numpy()
    return values[:, None] == values[None, :]


def test_kron_is_the_kronecker_product(animals):
    fit = reml.fit("y ~ trait + kron(us(trait), ar1(time) | animal)", animals)
    fat, t = (animals["trait"] == "milk").to_numpy().astype(int), animals["time"].to_numpy()
    x = np.column_stack([np.ones(len(fat)), fat])

    def dense(p: np.ndarray) -> float:
        us = np.array([[p[0], p[1]], [p[1], p[2]]])[fat][:, fat]
        v = blocks(animals, "animal") * us * correlation(p[3], t) + p[4] * np.eye(len(t))
        return criterion(animals["y"].to_numpy(), x, v)

    assert list(fit.parameters) == [
        "animal.variance(trait[fat])",
        "animal.covariance(trait[fat], trait[milk])",
        "animal.variance(trait[milk])",
        "animal.ar1(time).rho",
        "residual.variance",
    ]
    at = np.array(list(fit.parameters.values()))
    assert fit.criterion == pytest.approx(dense(at), abs=1e-6)
    assert np.abs(slopes(dense, at)).max() < 1e-3
    assert at[3] == pytest.approx(0.7, abs=0.1)
    table = fit.variance_components()
    assert table["percent"].sum() == pytest.approx(100) and table["std_error"].notna().all()
    r = table.query("kind == 'correlation' and name2 == 'trait[milk]'")["estimate"].item()
    assert r == pytest.approx(at[1] / np.sqrt(at[0] * at[2]))
    assert len(fit.random_effects("animal")) == 24 * 8
    assert fit.random_effects("animal")["effect"].iloc[1] == "trait[fat]:time[2]"


def test_scipy_s_search_ends_there(animals):
    """The same optimum from scipy's quasi-Newton on V written out, for a smaller table."""
    some = animals[animals["animal"] < "A08"]
    fit = reml.fit("y ~ 1 + kron(us(trait), ar1(time) | animal)", some)
    milk, t = (some["trait"] == "milk").to_numpy().astype(int), some["time"].to_numpy()

    def dense(p: np.ndarray) -> float:
        half = np.array([[p[0], 0], [p[1], p[2]]])
        v = blocks(some, "animal") * (half @ half.T)[milk][:, milk] * correlation(np.tanh(p[3]), t)
        return criterion(some["y"].to_numpy(), np.ones((len(t), 1)), v + p[4] ** 2 * np.eye(len(t)))

    assert fit.criterion == pytest.approx(lowest(dense, np.array([1.0, 0.1, 1.0, 0.4, 1.0])), abs=1e-5)


def test_the_order_is_the_writer_s(animals):
    one = reml.fit("y ~ 1 + kron(us(trait), ar1(time) | animal)", animals)
    other = reml.fit("y ~ 1 + kron(ar1(time), us(trait) | animal)", animals)
    assert other.criterion == pytest.approx(one.criterion, abs=1e-6)
    assert other.parameters["animal.ar1(time).rho"] == pytest.approx(one.parameters["animal.ar1(time).rho"], rel=1e-4)


def test_products_with_independence_are_known_terms(animals):
    """us (x) id is us over the finer grouping; a carrier alone is no other model."""
    product = reml.fit("y ~ 1 + kron(us(trait), id(time) | animal)", animals)
    plain = reml.fit("y ~ 1 + us(0 + trait | animal:time)", animals)
    assert product.criterion == pytest.approx(plain.criterion, abs=1e-6)
    np.testing.assert_allclose(list(product.parameters.values()), list(plain.parameters.values()), rtol=1e-4)
    both = reml.fit("y ~ 1 + kron(id(trait), id(time) | animal)", animals)
    cells = reml.fit("y ~ 1 + (1 | animal:trait:time)", animals)
    assert both.criterion == pytest.approx(cells.criterion, abs=1e-6)


def test_two_unstructured_factors(animals):
    """The second has its first variance at 1, and the fit does not depend on which that is."""
    fit = reml.fit("y ~ 1 + kron(us(trait), us(time) | animal)", animals)
    assert fit.converged
    assert "animal.us(time).variance(time[1])" not in fit.parameters
    assert fit.parameters["animal.us(time).variance(time[5])"] > 0
    sigma = fit.variance_matrix("animal").to_numpy()
    ratio = sigma[4:, 4:] / sigma[:4, :4]
    np.testing.assert_allclose(ratio, ratio[0, 0])
    turned = animals.assign(time=6 - animals["time"])
    again = reml.fit("y ~ 1 + kron(us(trait), us(time) | animal)", turned)
    assert again.criterion == pytest.approx(fit.criterion, abs=1e-6)
    assert fit.criterion < reml.fit("y ~ 1 + kron(us(trait), ar1h(time) | animal)", animals).criterion + 1e-6


def test_three_factors(animals):
    rng = np.random.default_rng(4)
    table = animals.assign(site=rng.choice(["n", "s"], len(animals)))
    fit = reml.fit("y ~ 1 + kron(us(trait), ar1(time), cs(site) | animal)", table)
    milk, t, own = (table["trait"] == "milk").to_numpy().astype(int), table["time"].to_numpy(), blocks(table, "site")
    p = list(fit.parameters.values())
    us = np.array([[p[0], p[1]], [p[1], p[2]]])[milk][:, milk]
    v = blocks(table, "animal") * us * correlation(p[3], t) * np.where(own, 1, p[4]) + p[5] * np.eye(len(t))
    assert fit.criterion == pytest.approx(criterion(table["y"].to_numpy(), np.ones((len(t), 1)), v), abs=1e-6)


def test_related_animals(animals):
    names = sorted(animals["animal"].unique())
    k = pd.DataFrame(0.25 + 0.75 * np.eye(24), index=names, columns=names)
    fit = reml.fit("y ~ 1 + kron(diag(trait), exp(time) | animal)", animals, relationship={"animal": k})
    milk, t = (animals["trait"] == "milk").to_numpy(), animals["time"].to_numpy()
    fat, milked, r, e = fit.parameters.values()
    own = np.where(milk, milked, fat) * (milk[:, None] == milk[None, :])
    away = np.exp(-np.abs(t[:, None] - t[None, :]) / r)
    v = np.where(blocks(animals, "animal"), 1, 0.25) * own * away + e * np.eye(len(t))
    assert fit.criterion == pytest.approx(criterion(animals["y"].to_numpy(), np.ones((len(t), 1)), v), abs=1e-6)


def test_new_rows_and_files(tmp_path, animals):
    design = build_design("y ~ kron(us(trait), ar1(time) | animal)", animals)
    new = pd.DataFrame({"trait": ["fat", "milk"], "time": [4, 5], "animal": ["A03", "new"]})
    codes, basis = design.random_matrix("animal", new)
    assert codes.tolist() == [3, -1] and basis.argmax(axis=1).tolist() == [2, 7]
    slopes_too = build_design("y ~ kron(us(1 + time), id(trait) | animal)", animals).random[0]
    assert slopes_too.effects[2:] == ("time:trait[fat]", "time:trait[milk]") and slopes_too.basis.shape[1] == 4
    fit = reml.fit("y ~ kron(us(trait), ar1(time) | animal)", animals)
    fit.save(tmp_path / "fit")
    assert reml.load(tmp_path / "fit").criterion == pytest.approx(fit.criterion)
    assert r"\text{us(trait)} \otimes \text{ar1(time)}" in reml.preview(fit.formula, animals).latex


# -- in the residual ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(animals) -> pd.DataFrame:
    """One row for every animal, trait and day that there is."""
    return animals.drop_duplicates(["animal", "trait", "time"]).reset_index(drop=True)


def test_a_product_within_subjects(single):
    fit = reml.fit("y ~ trait", single, residual="id(animal):us(trait):ar1(time)")
    milk, t = (single["trait"] == "milk").to_numpy().astype(int), single["time"].to_numpy()
    x = np.column_stack([np.ones(len(t)), milk])

    def dense(p: np.ndarray) -> float:
        us = np.array([[p[0], p[1]], [p[1], p[2]]])[milk][:, milk]
        return criterion(single["y"].to_numpy(), x, blocks(single, "animal") * us * correlation(p[3], t))

    at = np.array(list(fit.parameters.values()))
    assert (
        next(iter(fit.parameters)) == "residual.variance(fat)" and list(fit.parameters)[3] == "residual.ar1(time).rho"
    )
    assert fit.criterion == pytest.approx(dense(at), abs=1e-6)
    assert np.abs(slopes(dense, at)).max() < 1e-3
    assert fit.variance_components()["percent"].sum() == pytest.approx(100)
    turned = reml.fit("y ~ trait", single, residual="id(animal):ar1(time):us(trait)")
    assert turned.criterion == pytest.approx(fit.criterion, abs=1e-6)


@pytest.mark.parametrize("first", ["ar1h(row)", "diag(row)", "csh(row)", "us(row)", "exph(row)"])
def test_a_variance_per_row_of_a_field(first):
    """ar1h(row):ar1(col) and its kin on a 4 x 15 field with plots missing, rows in no order."""
    rng = np.random.default_rng(6)
    row, col = (axis.reshape(-1) + 1 for axis in np.indices((4, 15)))
    root = np.linalg.cholesky(np.kron(correlation(0.5, np.arange(4)), correlation(0.6, np.arange(15))))
    y = 10 + np.array([1.0, 2.0, 0.5, 1.5])[row - 1] * (root @ rng.normal(size=60))
    table = pd.DataFrame({"row": row, "col": col, "y": y}).drop(index=[3, 22, 50]).sample(frac=1.0, random_state=4)
    fit = reml.fit("y ~ 1", table, residual=f"{first}:ar1(col)")
    index = table["row"].to_numpy() - 1

    def dense(p: np.ndarray) -> float:
        if first.startswith("us"):
            s = np.zeros((4, 4))
            s[np.tril_indices(4)] = p[:-1]
            s += np.tril(s, -1).T
        else:
            lags = np.abs(np.arange(4)[:, None] - np.arange(4)[None, :])
            c = {"ar1h": p[4] ** lags, "diag": lags == 0, "csh": np.where(lags, p[4], 1), "exph": np.exp(-lags / p[4])}
            s = np.sqrt(np.outer(p[:4], p[:4])) * c[first.partition("(")[0]]
        return criterion(
            table["y"].to_numpy(), np.ones((57, 1)), s[index][:, index] * correlation(p[-1], table["col"].to_numpy())
        )

    at = np.array(list(fit.parameters.values()))
    assert next(iter(fit.parameters)) == "residual.variance(1)" and list(fit.parameters)[-1] == "residual.ar1(col).rho"
    assert fit.converged and fit.criterion == pytest.approx(dense(at), abs=1e-6)
    assert np.abs(slopes(dense, at)).max() < 1e-3


def test_each_trial_its_own_product_and_a_nugget(single):
    halves = single.assign(farm=np.where(single["animal"] < "A12", "north", "south"))
    fit = reml.fit("y ~ trait", halves, residual="dsum(id(animal):diag(trait):ar1(time) | farm)")
    parts = [
        reml.fit("y ~ 1", halves[halves["farm"] == f], residual="id(animal):diag(trait):ar1(time)")
        for f in ("north", "south")
    ]
    assert [k for k in fit.parameters if "rho" in k] == [f"residual[{f}].ar1(time).rho" for f in ("north", "south")]
    assert all(p.converged for p in (fit, *parts))
    nugget = reml.fit("y ~ trait", single, residual="id(animal):us(trait):ar1(time) + id(units)")
    plain = reml.fit("y ~ trait", single, residual="id(animal):us(trait):ar1(time)")
    assert nugget.criterion <= plain.criterion + 1e-6


# -- what cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "kind", "says"),
    [
        ("kron(us(trait) | animal)", FormulaError, "has one structure"),
        ("kron(us(trait), ar1(trait) | animal)", FormulaError, "trait in two structures"),
        ("kron(us(trait), fa(time) | animal)", FormulaError, "Put fa first"),
        ("kron(us(trait), spl(time) | animal)", FormulaError, "is no structure"),
        ("kron(us(trait), known(time) | animal)", FormulaError, "is no structure"),
        ("kron(us(trait), time | animal)", FormulaError, "is no structure"),
        ("kron(us(trait), ante(time, k=4) | animal)", FormulaError, "cannot have the structure"),
        ("kron(us(trait), us(label) | animal)", FormulaError, "variance parameters; there are"),
        ("kron(us(trait), ar1(tim) | animal)", FormulaError, "Did you mean *time*?"),
        ("kron(us(trait), ar1(time) | one)", None, ""),
        ("kron(us(trait), id(time) | one)", DataError, "has one level"),
        ("known(1 | animal)", FormulaError, 'relationship={"animal": A}'),
    ],
)
def test_what_is_no_product_is_named(right, kind, says, animals):
    table = animals.assign(one="u", label=[f"L{place % 60}" for place in range(len(animals))])
    if kind is None:
        assert reml.fit(f"y ~ {right}", table).converged
        return
    with pytest.raises(kind) as error:
        reml.fit(f"y ~ {right}", table)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("residual", "says"),
    [
        ("id(animal):us(trait):rr(time)", "no structure of a residual"),
        ("us(trait):ar1(time)", "share a position"),
        ("id(animal):ante(time, k=4):ar1(trait)", "Ask for a lower order"),
        ("id(animal):ante(time, k=9)", "share a position"),
    ],
)
def test_what_is_no_residual_is_named(residual, says, single):
    with pytest.raises(reml.ModelError) as error:
        reml.fit("y ~ trait", single, residual=residual)
    assert says in str(error.value)
