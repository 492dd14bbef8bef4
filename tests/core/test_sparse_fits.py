"""Whole fits by sparse mixed-model equations: crossed factors, pedigrees whose A is never written out, what is said of them."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import openreml_core as reml
from openreml_core.assembly import build_model
from openreml_core.covariance import kernel
from openreml_core.engines import HendersonEngine, choose, choose_engine, plan
from openreml_core.relationship import build, inverse

ANIMALS = "y ~ sex + (1 | herd) + (1 | animal)"


def herds(animals: int, seed: int = 4) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """A pedigree of families within herds, records of four animals in five, and the true breeding values."""
    rng = np.random.default_rng(seed)
    herd = np.arange(animals) % max(animals // 50, 2)
    rows, u = [], np.zeros(animals)
    for k in range(animals):
        before = [j for j in range(k - 40 * (herd.max() + 1), k, herd.max() + 1) if j >= 0]
        sire, dam = (int(p) for p in rng.choice(before, 2, replace=False)) if len(before) > 7 else (-1, -1)
        u[k] = 0.5 * (u[sire] + u[dam]) + rng.normal() * 0.5**0.5 if sire >= 0 else rng.normal()
        rows.append((f"a{k}", f"a{sire}" if sire >= 0 else None, f"a{dam}" if dam >= 0 else None))
    pedigree = pd.DataFrame(rows, columns=["id", "sire", "dam"])
    seen = np.sort(rng.choice(animals, animals * 4 // 5, replace=False))
    shift = rng.normal(size=herd.max() + 1) * 0.7
    sex = rng.choice(["f", "m"], len(seen))
    y = 10 + (sex == "m") + u[seen] + shift[herd[seen]] + rng.normal(size=len(seen))
    data = pd.DataFrame({"animal": [f"a{k}" for k in seen], "herd": [f"h{h}" for h in herd[seen]], "sex": sex, "y": y})
    return pedigree, data, u


@pytest.fixture
def always_sparse(monkeypatch):
    """Relationships are kept as inverses and sparse equations taken, however small the model."""
    for module in (inverse, build):
        monkeypatch.setattr(module, "WRITTEN", 10)
    monkeypatch.setattr(choose, "LOOKED_AT", -1.0)
    monkeypatch.setattr(choose, "BATCH", -1.0)


def test_a_pedigree_as_inverse_fits_as_the_dense_matrix(monkeypatch, always_sparse):
    """Same variances, BLUPs, reliabilities, fixed effects and degrees of freedom; K is not written out on the way."""
    pedigree, data, _ = herds(120)
    monkeypatch.setattr(kernel.KnownInverse, "matrix", property(lambda self: pytest.fail("K is written out")))
    found = reml.fit(ANIMALS, data, relationship={"animal": reml.Pedigree(pedigree)}, engine="henderson")
    assert found.engine == "henderson (sparse)" and found.converged
    monkeypatch.undo()
    a = reml.Pedigree(pedigree).matrix()
    expected = reml.fit(ANIMALS, data, relationship={"animal": a}, engine="marginal")
    assert found.criterion == pytest.approx(expected.criterion, abs=1e-7)
    for name, value in expected.parameters.items():
        assert found.parameters[name] == pytest.approx(value, rel=1e-4, abs=1e-6)
    numbers = ["blup", "std_error", "reliability"]
    for term in ("animal", "herd"):
        tables = [f.random_effects(term).set_index("level")[numbers] for f in (found, expected)]
        np.testing.assert_allclose(tables[0].loc[tables[1].index], tables[1], atol=2e-4)
    np.testing.assert_allclose(
        found.fixed_effects().drop(columns="p_value"), expected.fixed_effects().drop(columns="p_value"), rtol=1e-3
    )


def test_a_saved_fit_keeps_the_inverse(tmp_path, always_sparse):
    pedigree, data, _ = herds(120)
    fit = reml.fit(ANIMALS, data, relationship={"animal": reml.Pedigree(pedigree)}, engine="henderson")
    fit.save(tmp_path / "a.fit")
    again = reml.load(tmp_path / "a.fit")
    assert again.engine == fit.engine == "henderson (sparse)"
    assert again.criterion == pytest.approx(fit.criterion, rel=1e-12)
    pd.testing.assert_frame_equal(again.random_effects("animal"), fit.random_effects("animal"))
    with zipfile.ZipFile(tmp_path / "a.fit") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    entries = pd.read_parquet(io.BytesIO(parts["relationship0_inverse.parquet"]))
    for changed, said in (
        (entries.assign(row=entries["row"] + 500), "without a label"),
        (entries.iloc[1:], "positive definite|symmetric"),
        (entries.assign(value=-entries["value"]), "not positive definite"),
    ):
        buffer = io.BytesIO()
        changed.to_parquet(buffer)
        with zipfile.ZipFile(tmp_path / "b.fit", "w") as archive:
            for name, part in {**parts, "relationship0_inverse.parquet": buffer.getvalue()}.items():
                archive.writestr(name, part)
        with pytest.raises(reml.DataError, match=said):
            reml.load(tmp_path / "b.fit")


def test_thousands_of_animals(monkeypatch):
    """4,000 animals by their pedigree alone: the breeding values behind the records are found, A is never written out."""
    pedigree, data, u = herds(4_000)
    monkeypatch.setattr(kernel.KnownInverse, "matrix", property(lambda self: pytest.fail("K is written out")))
    fit = reml.fit(ANIMALS, data, relationship={"animal": reml.Pedigree(pedigree)})
    assert fit.engine == "henderson (sparse)" and fit.converged
    table = fit.variance_components().set_index("group")
    for name, value in (("animal", 1.0), ("residual", 1.0)):
        assert abs(table.loc[name, "estimate"] - value) < 4 * table.loc[name, "std_error"]
    blups = fit.random_effects("animal").set_index("level")
    assert len(blups) == 4_000
    true = u[[int(name[1:]) for name in blups.index]]
    # The correlation of BLUPs with the true values is the root of their mean reliability.
    assert np.corrcoef(blups["blup"], true)[0, 1] == pytest.approx(blups["reliability"].mean() ** 0.5, abs=0.05)
    inside = (blups["blup"] - true).abs() < 2 * np.sqrt(table.loc["animal", "estimate"] * (1 - blups["reliability"]))
    assert 0.93 < inside.mean() < 0.975


def crossed(levels: tuple[int, int], rows: int, seed: int = 2) -> pd.DataFrame:
    """Two crossed factors; every level of the first meets a few neighbouring ones of the second."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, levels[0], rows)
    b = (a * levels[1] // levels[0] + rng.integers(0, 6, rows)) % levels[1]
    y = rng.normal(size=levels[0])[a] + 0.5 * rng.normal(size=levels[1])[b] + rng.normal(size=rows)
    return pd.DataFrame({"a": [f"a{k}" for k in a], "b": [f"b{k}" for k in b], "y": y})


def test_auto_takes_sparse_equations_where_they_are_cheaper():
    data = crossed((4_000, 3_000), 12_000)
    _, model = build_model("y ~ 1 + (1 | a) + (1 | b)", data)
    found = plan("auto", model)
    assert found.engine == "henderson (sparse)"
    effects = data["a"].nunique() + data["b"].nunique()
    assert f"sparse mixed-model equations of {effects:,} effects" in found.words
    engine = choose_engine("henderson", model)
    assert engine.name == "henderson (sparse)"
    theta = model.start()
    dense, lean = HendersonEngine(model).evaluate(theta), engine.evaluate(theta)
    assert lean.criterion == pytest.approx(dense.criterion, rel=1e-12)
    for name in ("score", "information"):
        expected = getattr(dense, name)
        assert float((getattr(lean, name) - expected).abs().max()) < 1e-8 * float(expected.abs().max())


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch):
    data = crossed((4_000, 3_000), 12_000)
    _, model = build_model("y ~ 1 + (1 | a) + (1 | b)", data)
    monkeypatch.setattr(choose, "available_bytes", lambda: 2 * 2**20)
    with pytest.raises(reml.ModelError, match=r"GiB for .*, and sparse mixed-model equations .*GiB.*GiB are free"):
        choose_engine("auto", model)


def test_an_inverse_that_is_none_is_refused(always_sparse):
    _, data, _ = herds(120)
    names = tuple(f"a{k}" for k in range(120))
    wrong = sparse.csr_array(np.eye(120) - 0.5 * np.ones((120, 120)))
    with pytest.raises(reml.DataError, match="not positive definite"):
        reml.fit(ANIMALS, data, relationship={"animal": reml.LabelledInverse(wrong, names)})
