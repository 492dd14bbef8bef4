"""Fits to files and partitions equal those to the table, and what is wrong with a file is said with its name."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.streaming import FrameSource

Writer = Callable[[pd.DataFrame, Path], Any]


def trial(seed: int = 7, n: int = 900) -> pd.DataFrame:
    """Rows sorted by site, so that portions see different levels; some values are missing."""
    rng = np.random.default_rng(seed)
    site = np.sort(rng.integers(0, 4, n))
    gen = rng.integers(0, 25, n) + 5 * site  # every site has genotypes that others lack
    d = pd.DataFrame(
        {
            "site": np.array(["Ames", "Basel", "Cali", "Delft"])[site],
            "gen": [f"G{g}" for g in gen],
            "block": rng.integers(1, 7, n),
            "x": rng.normal(50, 4, n),
            "z": rng.integers(0, 3, n).astype(float),
            "w": rng.uniform(0.5, 2.0, n),
            "dose": rng.integers(1, 5, n),
        }
    )
    u, v = rng.normal(size=60), rng.normal(size=(4, 7))
    d["y"] = 1000 + 0.3 * d["x"] + u[gen] + v[site, d["block"]] + rng.normal(size=n) * (1 + site) / d["w"] ** 0.5
    d.loc[rng.choice(n, 20, replace=False), "y"] = np.nan
    d.loc[rng.choice(n, 10, replace=False), "x"] = np.nan
    d.loc[rng.choice(n, 10, replace=False), "gen"] = None
    return d


def parts(d: pd.DataFrame) -> list[pd.DataFrame]:
    edges = [0, 7, 300, 301, 650, len(d)]
    return [d.iloc[a:b] for a, b in pairwise(edges)]


def as_parquet(d: pd.DataFrame, folder: Path) -> str:
    for i, part in enumerate(parts(d)):
        part.to_parquet(folder / f"part-{i}.parquet", index=False)
    return str(folder / "part-*.parquet")


def as_csv(d: pd.DataFrame, folder: Path) -> list[Path]:
    return [write_csv(part, folder / f"part-{i}.csv") for i, part in enumerate(parts(d))]


def write_csv(d: pd.DataFrame, path: Path, **options: Any) -> Path:
    d.to_csv(path, index=False, na_rep="NA", float_format="%.17g", **options)
    return path


def as_frame(d: pd.DataFrame, folder: Path) -> FrameSource:
    return FrameSource(d, rows=97)


def as_dask(d: pd.DataFrame, folder: Path) -> Any:
    dask = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    return dask.from_pandas(d, npartitions=5, sort=False)


WRITERS: tuple[Writer, ...] = (as_parquet, as_csv, as_frame, as_dask)

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "crossed": ("y ~ x + (1 | gen) + (1 | block)", {}),
    "ml": ("y ~ x + site + (1 | gen)", {"method": "ml"}),
    "nested": ("y ~ x + (1 | site/block) + (1 | gen)", {}),
    "slopes": ("y ~ x + z + (z | gen) + (1 | block)", {}),
    "a variance per site": ("y ~ site + us(0 + site | gen) + (1 | site:block)", {}),
    "serial": ("y ~ x + ar1(0 + dose | gen)", {}),
    "weights": ("y ~ x + (1 | gen)", {"weights": "w"}),
    "sections": ("y ~ site * x + (1 | gen)", {"residual": "dsum(id(units) | site)"}),
    "sections by number, weights": ("y ~ x + (1 | gen)", {"residual": "dsum(id(units) | dose)", "weights": "w"}),
    "offset": ("y ~ z + offset(x) + (1 | gen)", {"offset": "w"}),
    "no intercept": ("y ~ 0 + site + x + (1 | gen)", {}),
    "through the origin": ("y ~ 0 + x + (1 | gen)", {}),
    "learned": ("log(y) ~ scale(x) + center(log(x)) + C(dose) + I(x > 50) + poly(z, 2, raw=TRUE) + (1 | gen)", {}),
    "contrasts": ("y ~ site + factor(dose) + (1 | gen)", {"contrasts": {"site": "sum"}}),
    "rank": ("y ~ x + I(2 * x + 1) + site + gen:site + (1 | block)", {}),
    "no random term": ("y ~ x + site", {"residual": "dsum(id(units) | site)"}),
    "held": ("y ~ x + (1 | gen) + (1 | block)", {"fixed": {"gen": 1.0}}),
    "tied": ("y ~ x + (1 | gen) + (1 | block)", {"ties": {"block.variance": "0.5 * gen.variance"}}),
}  # fmt: skip


def compare(found: reml.MixedModelFit, expected: reml.MixedModelFit, near: float = 1e-8) -> None:
    """Everything that both say, to 1e-8 of its size; where the searches end, to 1e-6."""
    assert (found.n_obs, found.n_dropped, found.rank) == (expected.n_obs, expected.n_dropped, expected.rank)
    assert found.aliased == expected.aliased
    assert found.random_terms == expected.random_terms
    assert found.warnings == expected.warnings
    assert found.design.fixed_terms == expected.design.fixed_terms
    assert found.criterion == pytest.approx(expected.criterion, rel=1e-10)
    assert found.parameters == pytest.approx(expected.parameters, rel=max(near, 1e-6))
    b, c = found.fixed_effects(), expected.fixed_effects()
    assert list(b.index) == list(c.index)
    np.testing.assert_allclose(b["estimate"], c["estimate"], rtol=near, atol=near * c["std_error"].max())
    np.testing.assert_allclose(b["std_error"], c["std_error"], rtol=near)
    np.testing.assert_allclose(b["df"], c["df"], rtol=1e-5)  # by differences of the score
    v, w = found.variance_components(), expected.variance_components()
    assert v.drop(columns=v.columns[5:9]).equals(w.drop(columns=w.columns[5:9]))
    for name in ("estimate", "std_error", "std_dev", "percent"):
        np.testing.assert_allclose(v[name], w[name], rtol=1e-6, atol=near)
    for term in found.random_terms:
        r, s = found.random_effects(term), expected.random_effects(term)
        assert r[["level", "effect"]].equals(s[["level", "effect"]])
        numbers = ["blup", "std_error", "lower", "upper", "reliability"]
        np.testing.assert_allclose(r[numbers], s[numbers], atol=near * max(1.0, float(s["blup"].abs().max())))
    assert found.effective_dimensions()["dimension"].to_numpy() == pytest.approx(
        expected.effective_dimensions()["dimension"].to_numpy(), abs=1e-5
    )


@pytest.mark.parametrize("name", MODELS)
def test_portions_give_what_the_table_gives(name: str, tmp_path: Path) -> None:
    formula, options = MODELS[name]
    d = trial()
    compare(reml.fit(formula, as_frame(d, tmp_path), **options), reml.fit(formula, d, engine="henderson", **options))


@pytest.mark.parametrize("write", WRITERS, ids=lambda w: w.__name__)
@pytest.mark.parametrize("name", ["nested", "sections", "weights", "learned", "rank"])
def test_files_and_partitions_give_what_the_table_gives(name: str, write: Writer, tmp_path: Path) -> None:
    formula, options = MODELS[name]
    d = trial()
    found = reml.fit(formula, write(d, tmp_path), **options)
    compare(found, reml.fit(formula, d, engine="henderson", **options))
    assert found.engine == "henderson"


@pytest.mark.parametrize("write", [as_parquet, as_dask], ids=lambda w: w.__name__)
def test_categories_keep_their_order(write: Writer, tmp_path: Path) -> None:
    d = trial()
    d["site"] = pd.Categorical(d["site"], categories=["Delft", "Cali", "Basel", "Ames", "Zurich"])
    formula = "y ~ site + (1 | gen)"
    found = reml.fit(formula, write(d, tmp_path))
    compare(found, reml.fit(formula, d, engine="henderson"))
    assert next(iter(found.fixed_effects().index[1:])) == "site[T.Cali]"


def test_categories_that_differ_between_files_are_sorted(tmp_path: Path) -> None:
    d = trial()
    for i, part in enumerate(parts(d)):
        own = part.assign(site=pd.Categorical(part["site"], categories=sorted(set(part["site"]), reverse=True)))
        own.to_parquet(tmp_path / f"part-{i}.parquet", index=False)
    compare(reml.fit("y ~ site + (1 | gen)", tmp_path), reml.fit("y ~ site + (1 | gen)", d, engine="henderson"))


def test_relationship(tmp_path: Path) -> None:
    d = trial()
    names = [*sorted({g for g in d["gen"] if isinstance(g, str)}), "unseen"]
    rng = np.random.default_rng(1)
    root = rng.normal(size=(len(names), 80))
    k = pd.DataFrame(root @ root.T / 80 + 0.1 * np.eye(len(names)), index=names, columns=names)
    formula = "y ~ x + (1 | gen) + (1 | block)"
    found = reml.fit(formula, as_parquet(d, tmp_path), relationship={"gen": k})
    compare(found, reml.fit(formula, d, relationship={"gen": k}, engine="henderson"))
    assert "unseen" in set(found.random_effects("gen")["level"])


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    d = trial()
    for i, part in enumerate(parts(d)):
        part.to_csv(tmp_path / f"{i}.csv", index=False, sep=";", decimal=",", na_rep="*", float_format="%.17g")
    d["gen"] = d["gen"].fillna("*")  # among text, a star is a level
    formula = "y ~ x + (1 | gen)"
    compare(reml.fit(formula, tmp_path), reml.fit(formula, d, engine="henderson"))


def test_levels_that_are_numbers_in_one_file_and_text_in_another(tmp_path: Path) -> None:
    d = trial()
    late = d.index >= 301
    d["gen"] = d["gen"].str[1:].where(~late, d["gen"])
    compare(reml.fit("y ~ x + (1 | gen)", as_csv(d, tmp_path)), reml.fit("y ~ x + (1 | gen)", d, engine="henderson"))


def test_a_mean_far_from_zero_costs_no_digits(tmp_path: Path) -> None:
    d = trial()
    formula = "y ~ x + site + (1 | gen)"
    near = reml.fit(formula, as_frame(d, tmp_path))
    far = reml.fit(formula, as_frame(d.assign(y=d["y"] + 2.0**30), tmp_path))
    assert far.criterion == pytest.approx(near.criterion, abs=1e-4)  # y itself is rounded to 1e-7
    assert far.parameters == pytest.approx(near.parameters, rel=1e-5)


def test_one_row_a_portion() -> None:
    d = trial(n=120)
    formula = "y ~ scale(x) + (1 | site:block)"
    compare(reml.fit(formula, FrameSource(d, rows=1)), reml.fit(formula, d, engine="henderson"))


def test_what_needs_rows_says_where_they_are(tmp_path: Path) -> None:
    fit = reml.fit("y ~ x + (1 | gen)", as_parquet(trial(), tmp_path))
    for ask in (
        fit.fitted, fit.residuals, fit.augment, fit.plot.residuals, fit.plot.field, lambda: fit.data, lambda: fit.response,
        lambda: fit.residuals("pearson"), lambda: len(fit.design.frame), lambda: fit.design.X @ np.ones(2),
        lambda: fit.estimates.engine.random_fit(fit.estimates.at),
    ):  # fmt: skip
        with pytest.raises(reml.ModelError, match=r"stayed in 5 files .*part-\*\.parquet"):
            ask()
    assert "Linear mixed model" in fit.summary()
    assert '"part-*.parquet"' in fit.to_code() and "lmer(" in fit.to_code("r-lme4")
    assert fit.plot.caterpillar("gen").data
    assert len(fit.tidy("blup")) == 40
    assert int(fit.glance()["n_obs"].iloc[0]) == fit.n_obs


@pytest.mark.parametrize("name", ["nested", "sections by number, weights", "learned", "rank", "held", "serial"])
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    formula, options = MODELS[name]
    fit = reml.fit(formula, as_parquet(trial(), tmp_path), **options)
    fit.save(tmp_path / "trial.fit")
    again = reml.load(tmp_path / "trial.fit")
    compare(again, fit)
    assert again.trace.equals(fit.trace)
    assert again.summary() == fit.summary()
    new = trial().dropna().head(5)
    np.testing.assert_array_equal(again.design.fixed_matrix(new), fit.design.fixed_matrix(new))
    again.save(tmp_path / "twice.fit")
    compare(reml.load(tmp_path / "twice.fit"), fit)
    with pytest.raises(reml.ModelError, match=r"stayed in 5 files"):
        again.residuals()


def test_relationships_are_saved(tmp_path: Path) -> None:
    d = trial().dropna()
    names = sorted(set(d["gen"]))
    k = pd.DataFrame(0.2 + 0.8 * np.eye(len(names)), index=names, columns=names)
    fit = reml.fit("y ~ x + (1 | gen)", as_frame(d, tmp_path), relationship={"gen": k})
    fit.save(tmp_path / "trial.fit")
    compare(reml.load(tmp_path / "trial.fit"), fit)


@pytest.mark.parametrize("entry", ["columns", "answers", "kept", "mean_squares", "size", "response", "rows"])
@pytest.mark.parametrize("value", [None, [], "x", {}, [[1.0]]])
def test_a_damaged_saved_fit(entry: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "trial.fit"
    reml.fit("y ~ scale(x) + (1 | gen)", as_frame(trial(), tmp_path)).save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    record = json.loads(files["fit.json"])
    record["portions"][entry] = value
    files["fit.json"] = json.dumps(record).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(reml.DataError, match="damaged"):
        reml.load(path)


def test_new_data_have_the_columns_of_the_fit(tmp_path: Path) -> None:
    d = trial()
    formula = "y ~ site * scale(x) + (z | gen)"
    found, expected = reml.fit(formula, as_parquet(d, tmp_path)), reml.fit(formula, d, engine="henderson")
    new = d.dropna().head(20)
    np.testing.assert_allclose(found.design.fixed_matrix(new), expected.design.fixed_matrix(new), rtol=1e-12)
    for a, b in zip(found.design.random_matrix("gen", new), expected.design.random_matrix("gen", new), strict=True):
        np.testing.assert_array_equal(a, b)


# -- what is wrong -------------------------------------------------------------------------------------------------


def test_no_file_matches(tmp_path: Path) -> None:
    with pytest.raises(reml.DataError, match=r"No file matches \*.*none-\*"):
        reml.fit("y ~ x", str(tmp_path / "none-*.parquet"))
    write_csv(trial(), tmp_path / "trial.csv")
    with pytest.raises(reml.DataError, match=r"Did you mean \*trial\.csv"):
        reml.fit("y ~ x", tmp_path / "trail.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(reml.DataError, match="holds no Parquet or CSV"):
        reml.fit("y ~ x", tmp_path / "empty")


def test_an_empty_file(tmp_path: Path) -> None:
    as_csv(trial(), tmp_path)
    (tmp_path / "part-2.csv").write_bytes(b"")
    with pytest.raises(reml.DataError, match=r"part-2\.csv\* is empty"):
        reml.fit("y ~ x + (1 | gen)", str(tmp_path / "*.csv"))
    (tmp_path / "part-2.csv").write_text("y,x,gen\n")
    with pytest.raises(reml.DataError, match=r"part-2\.csv\* has a header .* but no rows"):
        reml.fit("y ~ x + (1 | gen)", str(tmp_path / "*.csv"))


def test_a_part_without_rows_is_no_mistake(tmp_path: Path) -> None:
    d = trial()
    as_parquet(d, tmp_path)
    d.head(0).to_parquet(tmp_path / "part-9.parquet", index=False)
    compare(reml.fit("y ~ x + (1 | gen)", tmp_path), reml.fit("y ~ x + (1 | gen)", d, engine="henderson"))
    for path in tmp_path.glob("part-[0-8]*"):
        path.unlink()
    with pytest.raises(reml.DataError, match="There are no rows"):
        reml.fit("y ~ x + (1 | gen)", tmp_path)


@pytest.mark.parametrize("write", [as_parquet, as_csv], ids=lambda w: w.__name__)
def test_a_column_missing_in_one_file(write: Writer, tmp_path: Path) -> None:
    write(trial(), tmp_path)
    ending = write.__name__[3:]
    path = tmp_path / f"part-3.{ending}"
    d = pd.read_parquet(path) if ending == "parquet" else pd.read_csv(path)
    d = d.drop(columns="x")
    d.to_parquet(path) if ending == "parquet" else d.to_csv(path, index=False)
    with pytest.raises(reml.DataError, match=rf"part-3\.{ending}: there is no column \*x\*"):
        reml.fit("y ~ x + (1 | gen)", tmp_path)
    with pytest.raises(reml.FormulaError, match=r"Column \*wrong\* is not in this table"):
        reml.fit("y ~ wrong + (1 | gen)", tmp_path)


@pytest.mark.parametrize("column", ["y", "x"])
@pytest.mark.parametrize("write", [as_parquet, as_csv], ids=lambda w: w.__name__)
def test_text_where_numbers_are_needed(write: Writer, column: str, tmp_path: Path) -> None:
    d = trial()
    d[column] = d[column].astype(object)
    write(d, tmp_path)
    ending = write.__name__[3:]
    path = tmp_path / f"part-3.{ending}"
    part = parts(d)[3].copy()
    part[column] = ["high" if i == 5 else f"{v:g}" for i, v in enumerate(part[column])]
    part.to_parquet(path) if ending == "parquet" else write_csv(part, path)
    with pytest.raises(reml.DataError, match=rf"part-3\.{ending}: .*\*{column}\*"):
        reml.fit("y ~ x + (1 | gen)", tmp_path)


def test_text_far_below_the_beginning_of_a_file(tmp_path: Path) -> None:
    n = 200_000
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"y": rng.normal(size=n).astype(str), "g": rng.integers(0, 9, n)})
    d.loc[150_000, "y"] = "broken"
    with pytest.raises(reml.DataError, match=r"big\.csv: the column \*y\* holds 'broken' in row 150001"):
        reml.fit("y ~ 1 + (1 | g)", write_csv(d, tmp_path / "big.csv"))


def test_rows_are_named_as_in_their_file(tmp_path: Path) -> None:
    d = trial()
    d.loc[310, "w"] = -1.0
    with pytest.raises(reml.DataError, match=r"part-3\.parquet: The weights \*w\* are not above zero in row 10\b"):
        reml.fit("y ~ x + (1 | gen)", as_parquet(d, tmp_path), weights="w")
    d = trial()
    d.loc[311, "x"] = -1.0
    with pytest.raises(reml.DataError, match=r"part-3\.parquet: log\(x\) has no finite value in row 11\b"):
        reml.fit("y ~ log(x) + (1 | gen)", as_parquet(d, tmp_path))
    with pytest.raises(reml.DataError, match=r"part-3\.parquet: log\(x\) has no finite value in row 11\b"):
        reml.fit("y ~ z + (log(x) | gen)", as_parquet(d, tmp_path))
    with pytest.raises(reml.DataError, match=r"part-\d\.parquet: Values are missing in rows? "):
        reml.fit("y ~ x + (1 | gen)", as_parquet(trial(), tmp_path), missing="error")


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "trial.parquet"
    trial().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(reml.DataError, match=r"trial\.parquet\* is damaged"):
        reml.fit("y ~ x", path)
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(reml.DataError, match="book"):
        reml.fit("y ~ x", tmp_path / "book.xlsx")


@pytest.mark.parametrize(
    ("formula", "options", "named"),
    [
        ("y ~ poly(x, 2) + (1 | gen)", {}, r"poly\(x, 2\)"),
        ("y ~ bs(x, df=4) + (1 | gen)", {}, r"bs\(x, df ?= ?4\)"),
        ("scale(y) ~ x + (1 | gen)", {}, r"scale\(y\)"),
        ("y ~ I(center(x) > 0) + (1 | gen)", {}, "center"),
        ("y ~ 1 + spl(x) + (1 | gen)", {}, r"spl\(x\)"),
        ("y ~ 1 + exp(0 + pos(x, z) | site)", {}, r"exp\("),
        ("y ~ x + (1 | gen)", {"residual": "ar1(block):ar1(dose)"}, "correlates rows"),
        ("y ~ x + (1 | gen)", {"weights": np.ones(900)}, "weights must be a column"),
        ("y ~ x + (1 | gen)", {"engine": "marginal"}, "marginal engine needs all rows"),
        ("y ~ x + (1 | nothing)", {}, "nothing"),
        ("gen ~ x + (1 | block)", {}, r"response \*gen\* is not numeric"),
        ("y ~ y + (1 | gen)", {}, "is the response"),
        ("y ~ y + I(2 * y) + (1 | gen)", {}, "is the response"),
        ("y ~ I(2 * y) + (1 | gen)", {}, "is the response"),
        ("I(3 * x) ~ x + (1 | gen)", {}, "reproduce the response"),
        ("y ~ x + (1 | gen)", {"relationship": {"site": pd.DataFrame()}}, "groups no random term"),
    ],
)
def test_what_cannot_be_read_in_portions_is_named(
    formula: str, options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(reml.ModelError, match=named):
        reml.fit(formula, as_frame(trial(), tmp_path), **options)


def test_a_constant_response_and_too_few_rows() -> None:
    d = trial()
    with pytest.raises(reml.DataError, match="in every row"):
        reml.fit("y ~ x + (1 | gen)", FrameSource(d.assign(y=1.0), 100))
    with pytest.raises(reml.DataError, match="coefficients but there are only"):
        reml.fit("y ~ x + z + w + gen + C(dose) + C(block)", FrameSource(d.dropna().head(8), 3))
    with pytest.raises(reml.DataError, match="has one level"):
        reml.fit("y ~ x + (1 | gen)", FrameSource(d.assign(gen="G1"), 100))
    with pytest.raises(reml.DataError, match="has one level"):
        reml.fit("y ~ site + (1 | gen)", FrameSource(d.assign(site="A"), 100))
    with pytest.raises(reml.DataError, match="Every row lacks a value"):
        reml.fit("y ~ x + (1 | gen)", FrameSource(d.assign(x=np.nan), 100))
