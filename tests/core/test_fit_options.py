"""Options of ``fit``: starting values, held values, algorithms, cancelling, contrasts, offsets, and the files."""

from __future__ import annotations

import io
import json
import math
import zipfile
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.relationship import Pedigree

ALPHA = "yield ~ rep + (1 | gen) + (1 | rep:block)"
SLEEP = "Reaction ~ Days + (Days | Subject)"


def field() -> pd.DataFrame:
    """The alpha design with its plots on a grid of 6 x 12, so that both directions are held twice or more."""
    return reml.load_sample("john_alpha").assign(row=np.arange(72) % 6, col=np.arange(72) // 6)


def pedigree(data: pd.DataFrame) -> Pedigree:
    """Every genotype a child of two founders that have no data; the first half of both, the others of one."""
    levels = sorted(data["gen"].unique())
    dams = ["D" if i < 12 else None for i in range(len(levels))]
    return Pedigree(pd.DataFrame({"id": levels, "sire": "S", "dam": dams}))


@pytest.fixture(scope="module")
def alpha() -> pd.DataFrame:
    return reml.load_sample("john_alpha")


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return reml.load_sample("sleepstudy")


@pytest.fixture(scope="module")
def fitted(alpha):
    return reml.fit(ALPHA, alpha)


@pytest.fixture(scope="module")
def slopes(sleep):
    return reml.fit(SLEEP, sleep)


class TestStart:
    @pytest.mark.parametrize("start", [{"gen": 10.0}, {"gen.variance": 1e-4, "residual": 5.0}, {"rep:block": 0.0}])
    def test_any_start_gives_the_same_optimum(self, alpha, fitted, start):
        found = reml.fit(ALPHA, alpha, start=start)
        assert found.criterion == pytest.approx(fitted.criterion, abs=1e-8)

    def test_the_start_is_where_the_trace_begins(self, alpha):
        found = reml.fit(ALPHA, alpha, start={"gen": 0.4, "rep:block": 0.2, "residual": 0.1})
        first = found.trace.iloc[0]
        assert first["gen.variance"] / first["residual.variance"] == pytest.approx(4.0)
        assert first["sentence"] == "Starting values as given."

    def test_a_matrix_starts_a_term_with_several_effects(self, sleep, slopes):
        found = reml.fit(SLEEP, sleep, start={"Subject": [[400.0, 20.0], [20.0, 10.0]], "residual": 500.0})
        assert found.criterion == pytest.approx(slopes.criterion, abs=1e-8)
        assert found.trace.iloc[0]["Subject.covariance((Intercept), Days)"] == pytest.approx(20.0)

    @pytest.mark.parametrize(
        ("start", "said"),
        [
            ({"gne": 1.0}, "gne"),
            ({"gen": -1.0}, "gen"),
            ({"gen": "much"}, "gen"),
            ({"gen": [1.0, 2.0]}, "2 numbers"),
            ({"residual": 0.0}, "residual"),
            ({"gen": float("nan")}, "gen"),
        ],
    )
    def test_nonsense_is_refused_by_name(self, alpha, start, said):
        with pytest.raises(reml.ModelError, match=said):
            reml.fit(ALPHA, alpha, start=start)

    def test_an_indefinite_matrix_is_refused(self, sleep):
        with pytest.raises(reml.ModelError, match=r"Subject.*no covariance matrix"):
            reml.fit(SLEEP, sleep, start={"Subject": [[1.0, 2.0], [2.0, 1.0]]})


class TestFixed:
    def test_what_is_held_stays_and_the_rest_is_the_best(self, alpha, fitted):
        held = reml.fit(ALPHA, alpha, fixed={"gen": 0.3})
        assert held.parameters["gen.variance"] == pytest.approx(0.3, rel=1e-12)
        assert held.converged and held.criterion > fitted.criterion
        others = reml.fit(ALPHA, alpha, fixed={"gen": 0.3}, start={"rep:block": 1.0, "residual": 1.0})
        assert others.criterion == pytest.approx(held.criterion, abs=1e-8)
        table = held.variance_components().set_index("group")
        assert table.loc["gen", "bound"] == "held" and math.isnan(table.loc["gen", "std_error"])

    def test_holding_a_variance_at_its_estimate_changes_nothing(self, alpha, fitted):
        held = reml.fit(ALPHA, alpha, fixed={"gen": fitted.parameters["gen.variance"]})
        assert held.criterion == pytest.approx(fitted.criterion, abs=1e-9)
        assert held.parameters["residual.variance"] == pytest.approx(fitted.parameters["residual.variance"], rel=1e-6)
        assert held.n_parameters == fitted.n_parameters - 1

    def test_holding_a_variance_at_zero_is_leaving_the_term_out(self, alpha):
        held = reml.fit(ALPHA, alpha, fixed={"rep:block": 0.0})
        without = reml.fit("yield ~ rep + (1 | gen)", alpha)
        assert held.criterion == pytest.approx(without.criterion, abs=1e-8)

    def test_everything_held_is_an_evaluation(self, alpha, fitted):
        found = reml.fit(ALPHA, alpha, fixed={"gen": 0.1, "rep:block": 0.1, "residual": 0.1})
        assert found.converged and len(found.trace) == 1

    def test_part_of_a_term_is_refused(self, sleep):
        with pytest.raises(reml.ModelError, match="1 of the 3 parameters of \\*Subject\\*"):
            reml.fit(SLEEP, sleep, fixed={"Subject.variance(Days)": 30.0})


class TestAlgorithms:
    @pytest.mark.parametrize("algorithm", ["em", "ai-em"])
    def test_they_agree(self, alpha, fitted, algorithm):
        found = reml.fit(ALPHA, alpha, algorithm=algorithm)
        assert found.converged and found.criterion == pytest.approx(fitted.criterion, abs=1e-7)
        assert found.trace["step"].iloc[1] == "EM"

    def test_the_limit_is_said_and_the_fit_still_stands(self, alpha):
        found = reml.fit(ALPHA, alpha, max_iterations=1)
        assert not found.converged
        assert "not enough" in found.message and found.message in found.warnings
        assert "Not converged" in found.summary()

    @pytest.mark.parametrize(
        "option",
        [
            {"algorithm": "newton"},
            {"engine": "warp"},
            {"method": "mle"},
            {"missing": "guess"},
            {"max_iterations": -1},
            {"device": "abacus"},
        ],
    )
    def test_unknown_options_are_named(self, alpha, option):
        with pytest.raises(reml.ModelError, match=str(next(iter(option.values())))):
            reml.fit(ALPHA, alpha, **option)

    def test_cancelling(self, alpha):
        with pytest.raises(reml.FitCancelled) as caught:
            reml.fit(ALPHA, alpha, on_iteration=lambda row: row.iteration < 1)
        assert len(caught.value.trace) == 2

    def test_every_row_is_reported_once_in_order(self, alpha):
        rows = []
        found = reml.fit(ALPHA, alpha, on_iteration=rows.append)
        assert [r.iteration for r in rows] == list(found.trace["iteration"])
        assert all(r.sentence for r in rows)


class TestDesignOptions:
    def test_sum_contrasts_change_names_not_the_fit(self, alpha, fitted):
        coded = reml.fit(ALPHA, alpha, contrasts={"rep": "sum"})
        assert list(coded.fixed_effects().index) == ["(Intercept)", "rep[S.R1]", "rep[S.R2]"]
        np.testing.assert_allclose(coded.fitted(), fitted.fitted(), rtol=1e-6)
        assert float(coded.fixed_effects().loc["(Intercept)", "estimate"]) == pytest.approx(
            alpha["yield"].mean(), rel=1e-9
        )

    def test_an_offset_is_taken_off_and_put_back(self, alpha, fitted):
        moved = alpha.assign(known=np.linspace(0, 3, len(alpha)))
        moved["yield"] = moved["yield"] + moved["known"]
        for found in (
            reml.fit(ALPHA, moved, offset="known"),
            reml.fit(ALPHA, moved, offset=moved["known"].to_numpy()),
            reml.fit(ALPHA + " + offset(known)", moved),
        ):
            assert found.criterion == pytest.approx(fitted.criterion, abs=1e-8)
            np.testing.assert_allclose(found.fitted(), fitted.fitted() + moved["known"], rtol=1e-6)

    def test_weights_as_numbers_and_as_a_column(self, alpha):
        weighted = alpha.assign(w=1.0 + np.arange(len(alpha)) % 3)
        one, other = reml.fit(ALPHA, weighted, weights="w"), reml.fit(ALPHA, weighted, weights=weighted["w"].to_numpy())
        assert one.criterion == pytest.approx(other.criterion, abs=1e-10)
        doubled = reml.fit(ALPHA, weighted.assign(w=weighted["w"] * 2), weights="w")
        assert doubled.parameters["gen.variance"] == pytest.approx(one.parameters["gen.variance"], rel=1e-6)
        assert doubled.parameters["residual.variance"] == pytest.approx(
            2 * one.parameters["residual.variance"], rel=1e-6
        )

    @pytest.mark.parametrize("bad", [0.0, -1.0, float("inf")])
    def test_weights_must_be_positive(self, alpha, bad):
        weights = np.ones(len(alpha))
        weights[3] = bad
        with pytest.raises(reml.DataError, match="weight"):
            reml.fit(ALPHA, alpha, weights=weights)

    def test_a_model_without_random_terms_is_least_squares(self, alpha):
        found = reml.fit("yield ~ rep", alpha)
        x = np.column_stack([np.ones(72), alpha["rep"] == "R2", alpha["rep"] == "R3"]).astype(float)
        b, rss, *_ = np.linalg.lstsq(x, alpha["yield"], rcond=None)
        np.testing.assert_allclose(found.fixed_effects()["estimate"], b, rtol=1e-9)
        assert found.sigma == pytest.approx(math.sqrt(float(rss[0]) / 69), rel=1e-9)
        np.testing.assert_allclose(found.fixed_effects()["df"], 69, rtol=1e-6)
        with pytest.raises(reml.ModelError, match="no random effects"):
            found.random_effects()


class TestResults:
    def test_fitted_and_residuals_add_up(self, slopes, sleep):
        for kind, random in (("conditional", True), ("marginal", False)):
            total = slopes.fitted(random) + slopes.residuals(kind)
            np.testing.assert_allclose(total, sleep["Reaction"], rtol=1e-12)
        np.testing.assert_allclose(slopes.residuals("pearson") * slopes.sigma, slopes.residuals(), rtol=1e-12)

    def test_blups_make_the_fit(self, slopes, sleep):
        u = slopes.random_effects("Subject").pivot(index="level", columns="effect", values="blup")
        mine = u.loc[sleep["Subject"].astype(str)]
        by_hand = (
            slopes.fitted(False).to_numpy() + mine["(Intercept)"].to_numpy() + mine["Days"].to_numpy() * sleep["Days"]
        )
        np.testing.assert_allclose(slopes.fitted(), by_hand, rtol=1e-9)

    def test_shares_are_of_the_average_row(self, slopes, sleep):
        """By hand: mean over the rows of x'Sigma x, and sigma^2."""
        table = slopes.variance_components()
        assert table["percent"].sum() == pytest.approx(100.0)
        sigma = slopes.variance_matrix("Subject").to_numpy()
        x = np.column_stack([np.ones(len(sleep)), sleep["Days"]])
        random = float(np.einsum("ia,ab,ib->i", x, sigma, x).mean())
        expected = 100 * slopes.sigma**2 / (random + slopes.sigma**2)
        assert table.set_index("group").loc["residual", "percent"] == pytest.approx(expected, rel=1e-9)

    def test_tables_of_broom(self, fitted):
        assert list(fitted.tidy("fixed")["term"]) == ["(Intercept)", "rep[T.R2]", "rep[T.R3]"]
        assert len(fitted.tidy("blup")) == 24 + 18
        assert fitted.glance().loc[0, "aic"] == pytest.approx(fitted.aic)
        assert {".fitted", ".resid"} <= set(fitted.augment().columns) and len(fitted.augment()) == 72
        with pytest.raises(reml.ModelError, match="tidy"):
            fitted.tidy("all")

    def test_unknown_terms_kinds_and_levels_are_named(self, fitted):
        with pytest.raises(reml.ModelError, match=r"gne.*gen"):
            fitted.random_effects("gne")
        with pytest.raises(reml.ModelError, match="gen, rep:block"):
            fitted.random_effects()
        with pytest.raises(reml.ModelError, match="deviance"):
            fitted.residuals("deviance")
        with pytest.raises(reml.ModelError, match="level"):
            fitted.fixed_effects(level=95)
        with pytest.raises(reml.ModelError, match="guess"):
            fitted.fixed_effects(ddf="guess")

    @pytest.mark.parametrize("ddf", ["residual", "normal"])
    def test_other_degrees_of_freedom(self, fitted, ddf):
        table = fitted.fixed_effects(ddf=ddf)
        assert ddf in table.attrs["ddf"]
        assert (table["df"] == (69 if ddf == "residual" else math.inf)).all()

    def test_the_summary_says_what_matters(self, fitted):
        text = str(fitted)
        for part in (
            "93.1938",
            "16.8098",
            "0.1429",
            "0.07022",
            "0.08162",
            "Satterthwaite",
            "rep[T.R2]",
            "Converged",
            "REML",
        ):
            assert part in text
        assert "nan" not in text and max(map(len, text.splitlines())) < 180
        assert "<table" in fitted._repr_html_()

    def test_same_name_twice_gets_a_number(self, sleep):
        found = reml.fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", sleep)
        assert found.random_terms == ("Subject", "Subject.1")


class TestFiles:
    @pytest.mark.parametrize(
        ("formula", "options"),
        [
            (ALPHA, {}),
            (ALPHA, {"fixed": {"gen": 0.3}, "method": "ml"}),
            (ALPHA, {"weights": np.linspace(1, 2, 72), "offset": np.linspace(0, 1, 72)}),
            ("log(yield) ~ rep + poly(row, 2) + (1 | gen)", {"contrasts": {"rep": "sum"}}),
        ],
    )
    def test_a_fit_comes_back_as_it_went(self, alpha, tmp_path, formula, options):
        fit = reml.fit(formula, alpha, **options)
        path = tmp_path / "study.fit"
        fit.save(path)
        again = reml.load(path)
        assert again.criterion == pytest.approx(fit.criterion, abs=1e-9)
        pd.testing.assert_frame_equal(again.fixed_effects(), fit.fixed_effects())
        pd.testing.assert_frame_equal(again.variance_components(), fit.variance_components())
        pd.testing.assert_frame_equal(again.random_effects("gen"), fit.random_effects("gen"))
        pd.testing.assert_frame_equal(again.trace, fit.trace)
        pd.testing.assert_series_equal(again.residuals(), fit.residuals())
        assert again.summary() == fit.summary()

    def test_dropped_rows_are_remembered(self, alpha, tmp_path):
        holes = alpha.copy()
        holes.loc[[3, 9], "yield"] = np.nan
        fit = reml.fit(ALPHA, holes)
        fit.save(tmp_path / "a.fit")
        again = reml.load(tmp_path / "a.fit")
        assert (fit.n_dropped, again.n_dropped, again.n_obs) == (2, 2, 70)
        assert list(again.residuals().index) == list(fit.residuals().index)

    def test_no_pickle_inside(self, fitted, tmp_path):
        fitted.save(tmp_path / "a.fit")
        with zipfile.ZipFile(tmp_path / "a.fit") as archive:
            assert sorted(archive.namelist()) == ["fit.json", "rows.parquet"]
            json.loads(archive.read("fit.json"))

    @pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
    def test_a_foreign_file_is_refused_in_words(self, tmp_path, content):
        path = tmp_path / "x.fit"
        path.write_bytes(content)
        with pytest.raises(reml.DataError, match="not a saved fit"):
            reml.load(path)
        with pytest.raises(reml.DataError, match="no file"):
            reml.load(tmp_path / "absent.fit")

    def _changed(self, fitted, path, **changes):
        fitted.save(path)
        with zipfile.ZipFile(path) as archive:
            record, rows = json.loads(archive.read("fit.json")), archive.read("rows.parquet")
        for key, value in changes.items():
            record[key] = value
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fit.json", json.dumps(record))
            archive.writestr("rows.parquet", rows)
        return path

    @pytest.mark.parametrize(
        "changes",
        [
            {"criterion": 12.0},
            {"theta": [1.0]},
            {"version": 99},
            {"format": "other"},
            {"specification": {"x": 1}},
            {"theta": ["a"]},
        ],
    )
    def test_a_file_changed_by_hand_is_refused(self, fitted, tmp_path, changes):
        with pytest.raises(reml.DataError):
            reml.load(self._changed(fitted, tmp_path / "a.fit", **changes))

    @pytest.mark.parametrize(
        "changes",
        [
            *({"version": v} for v in ("x", None, [], float("inf"), True, 0, -1, 1.5)),
            *({"n_dropped": v} for v in ("1", None, -1, 1.5, [], True)),
            *({"seconds": v} for v in ("1", None, -1.0, [], False)),
            *({"converged": v} for v in (1, None, "yes", [])),
            *({"message": v} for v in (1, None, ["x"])),
            *(
                {"theta": v}
                for v in (5, None, [[1.0], [2.0]], [None, 1.0], [float("nan"), 1.0], [1e300, 1e300], [True, 1])
            ),
            *({"free": v} for v in (5, None, ["a", "b"], [1, 1], [[True], [True]], [True])),
            *({"criterion": v} for v in ("x", None, [], float("nan"), 10**400)),
            *({"trace": v} for v in ([], None, 5, [5], [{}], "text")),
            *({"factors": v} for v in ([], {"gen": 5}, {"nope": [1]}, {"gen": [1, 1]})),
            *({"relationships": v} for v in (5, [5], ["gen"])),
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_tampering_is_damage(self, fitted, tmp_path, changes):
        with pytest.raises(reml.DataError, match="is damaged"):
            reml.load(self._changed(fitted, tmp_path / "a.fit", **changes))

    @pytest.mark.parametrize("name", ["converged", "message", "theta", "trace", "specification", "version", "seconds"])
    def test_a_missing_entry_is_damage(self, fitted, tmp_path, name):
        path = self._changed(fitted, tmp_path / "a.fit")
        with zipfile.ZipFile(path) as archive:
            record, rows = json.loads(archive.read("fit.json")), archive.read("rows.parquet")
        del record[name]
        self._pack(path, json.dumps(record), rows)
        with pytest.raises(reml.DataError, match="is damaged"):
            reml.load(path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("method", v) for v in (5, None, [], "bayes")),
            *(("algorithm", v) for v in ([], "newton")),
            *(("contrasts", v) for v in ("sum", ["rep"], {"rep": 5}, {"rep": "best"}, None)),
            *(("formula", v) for v in (5, "yield ~", "yield ~ nope + (1 | gen)")),
            *(("residual", v) for v in (5, "ar1(", "ar1(nope)")),
            *(("start", v) for v in (5, {"gen": {"x": 1}}, {"gen": [[[1]]]})),
            ("max_iterations", "x"),
            ("engine", {}),
            ("weights", "nope"),
        ],
    )
    def test_a_tampered_specification_is_damage(self, fitted, tmp_path, name, value):
        from dataclasses import asdict

        spec = {**asdict(fitted.specification), name: value}
        with pytest.raises(reml.DataError, match="is damaged"):
            reml.load(self._changed(fitted, tmp_path / "a.fit", specification=spec))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("criterion", "x"),
            ("iteration", -1),
            ("step", 5),
            ("parameters", {"a": "b"}),
            ("parameters", {}),
            ("more", 1),
        ],
    )
    def test_a_tampered_row_of_the_trace_is_damage(self, fitted, tmp_path, name, value):
        from dataclasses import asdict

        trace = [asdict(row) for row in fitted.estimates.rows]
        trace[1] = {**trace[1], name: value}
        with pytest.raises(reml.DataError, match="is damaged"):
            reml.load(self._changed(fitted, tmp_path / "a.fit", trace=trace))

    def _pack(self, path, text, rows, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("fit.json", text)
            archive.writestr("rows.parquet", rows)

    def test_nested_encrypted_and_oddly_packed_files_are_damage(self, fitted, tmp_path):
        path = self._changed(fitted, tmp_path / "a.fit")
        rows = zipfile.ZipFile(path).read("rows.parquet")
        good = zipfile.ZipFile(path).read("fit.json").decode()
        files = {"deep": "[" * 200_000, "list": "[]"}
        for name, text in files.items():
            self._pack(tmp_path / name, text, rows)
        self._pack(tmp_path / "rows", good, b"PAR1 nothing PAR1")
        plain = bytearray(path.read_bytes())
        local, central = plain.find(b"PK\x03\x04"), plain.find(b"PK\x01\x02")
        for name, at, value in (("encrypted", 6, 1), ("compression", 8, 99)):
            data = bytearray(plain)
            data[local + at] = data[central + at + 2] = value
            (tmp_path / name).write_bytes(bytes(data))
        for name in ("deep", "rows", "encrypted", "compression"):
            with pytest.raises(reml.DataError, match="is damaged"):
                reml.load(tmp_path / name)
        with pytest.raises(reml.DataError, match="not a saved fit"):
            reml.load(tmp_path / "list")

    @pytest.mark.parametrize("path", [None, 5, [], {}, 1.5])
    def test_what_is_no_path_is_refused(self, path, fitted):
        with pytest.raises(reml.DataError, match="cannot be read from"):
            reml.load(path)
        with pytest.raises(reml.DataError, match="cannot be saved to"):
            fitted.save(path)

    def test_a_path_that_cannot_be_written_is_said(self, fitted, tmp_path):
        for path, said in ((tmp_path / "no" / "a.fit", "no folder"), (tmp_path, "a folder"), ("", "path of a file")):
            with pytest.raises(reml.DataError, match=said):
                fitted.save(path)
        with pytest.raises(reml.DataError, match="cannot be saved"):
            fitted.save("a\0b")

    def test_an_open_file_will_do(self, fitted):
        buffer = io.BytesIO()
        fitted.save(buffer)
        assert reml.load(io.BytesIO(buffer.getvalue())).criterion == pytest.approx(fitted.criterion)
        with pytest.raises(reml.DataError, match="The file is not a saved fit"):
            reml.load(io.BytesIO(b""))

    @pytest.mark.parametrize(
        "levels",
        [
            [1, "b", 2.5, "d"],
            [(1, "a"), (1, "b"), (2, "a"), (2, "b")],
            list(pd.period_range("2020", periods=4, freq="Y")),
            list(pd.interval_range(0, 4)),
            [Decimal("1.50"), Decimal("2"), Decimal("3"), Decimal("10")],
            list(pd.date_range("2020-01-01", periods=4)),
            [30, 4, 7, 100],
            [0.5, 1.0, 1.5, 10.0],
            [1e20, 2e20, 3e20, 4e20],
        ],
        ids=lambda levels: type(levels[0]).__name__ + str(levels[0])[:8],
    )
    @pytest.mark.parametrize("category", [False, True])
    def test_columns_of_any_kind_come_back(self, alpha, tmp_path, levels, category):
        odd = pd.Series(levels, dtype=object)[np.arange(72) % 4].reset_index(drop=True)
        if category:
            odd = pd.Series(pd.Categorical(odd, categories=list(dict.fromkeys(reversed(levels)))))
        data = alpha.assign(odd=odd)
        fit = reml.fit("yield ~ rep + (1 | gen) + (1 | odd)", data)
        self._same(fit, tmp_path)
        if not (isinstance(levels[0], (int, float)) and not category):
            self._same(reml.fit("yield ~ odd + (1 | gen)", data), tmp_path)

    def _same(self, fit, tmp_path):
        fit.save(tmp_path / "same.fit")
        again = reml.load(tmp_path / "same.fit")
        assert again.criterion == pytest.approx(fit.criterion, abs=1e-9)
        assert again.parameters == pytest.approx(fit.parameters, rel=1e-9)
        for term in fit.random_terms:
            pd.testing.assert_frame_equal(again.random_effects(term), fit.random_effects(term))
        pd.testing.assert_frame_equal(again.fixed_effects(), fit.fixed_effects())
        assert list(map(str, again.residuals().index)) == list(map(str, fit.residuals().index))
        assert again.summary() == fit.summary()
        return again

    @pytest.mark.parametrize(
        "numbers",
        [
            lambda x: pd.arrays.SparseArray(x),
            lambda x: x.astype("float32"),
            lambda x: x.astype("Int64"),
            lambda x: x.astype("uint64"),
            lambda x: x.astype(object),
            lambda x: [int(v) if v % 2 else float(v) for v in x],
        ],
    )
    def test_numbers_of_any_kind_come_back(self, alpha, tmp_path, numbers):
        data = alpha.assign(x=pd.Series(numbers(alpha["plot"]), index=alpha.index))
        self._same(reml.fit("yield ~ x + (1 | gen)", data), tmp_path)

    @pytest.mark.parametrize(
        "index",
        [
            pd.Index([f"p{i}" for i in range(72)], name="gen"),
            pd.Index([i if i % 2 else f"p{i}" for i in range(72)], dtype=object),
            pd.MultiIndex.from_product([range(12), pd.period_range("2020", periods=6, freq="D")]),
        ],
    )
    def test_labels_of_any_kind_come_back(self, alpha, tmp_path, index):
        data = alpha.set_axis(index)
        data.attrs["made"] = object()
        self._same(reml.fit(ALPHA, data), tmp_path)

    def test_numpy_options_come_back(self, alpha, tmp_path):
        start = {"gen": np.float32(0.5), "rep:block": [np.int64(1)], "residual": Decimal("0.1")}
        fit = reml.fit(ALPHA, alpha, max_iterations=np.int64(50), start=start, contrasts={"rep": np.str_("sum")})
        again = self._same(fit, tmp_path)
        assert again.specification.max_iterations == 50
        self._same(again, tmp_path)

    @pytest.mark.parametrize(
        ("formula", "residual"),
        [
            ("yield ~ gen", "ar1(row):ar1(col) + id(units)"),
            ("yield ~ rep + (1 | gen)", "dsum(id(units) | rep)"),
            ("yield ~ rep + (1 | gen)", "id(units)"),
        ],
    )
    def test_a_structured_residual_comes_back(self, tmp_path, formula, residual):
        fit = reml.fit(formula, field(), residual=residual)
        again = self._same(fit, tmp_path)
        assert again.specification.residual == residual and f"Residual:  {residual}" in fit.summary()
        assert ("ar1(row).rho" in fit.summary().split("Variance components")[1]) == ("ar1" in residual)
        pd.testing.assert_series_equal(again.residuals(), fit.residuals())

    def test_a_residual_over_visits_comes_back(self, tmp_path):
        data = reml.load_sample("orthodont")
        self._same(reml.fit("distance ~ age * Sex", data, residual="id(Subject):us(age)"), tmp_path)

    def test_a_pedigree_comes_back(self, alpha, tmp_path):
        fit = reml.fit("yield ~ rep + (1 | gen)", alpha, relationship={"gen": pedigree(alpha)})
        again = self._same(fit, tmp_path)
        assert len(again.random_effects("gen")) == 26  # two parents without data
        with zipfile.ZipFile(tmp_path / "same.fit") as archive:
            assert sorted(archive.namelist()) == ["fit.json", "relationship0.parquet", "rows.parquet"]
        self._same(again, tmp_path)

    def test_a_tampered_relationship_is_damage(self, alpha, tmp_path):
        path = tmp_path / "a.fit"
        reml.fit("yield ~ rep + (1 | gen)", alpha, relationship={"gen": pedigree(alpha)}).save(path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        table = pd.read_parquet(io.BytesIO(parts["relationship0.parquet"]))
        for changed in (
            table.iloc[1:],
            table.assign(label="G01"),
            table.assign(**{"0": np.nan}),
            table.assign(**{"0": 5.0}),
            table.assign(label=[f"x{i}" for i in range(26)]),
            table.drop(columns="label"),
        ):
            buffer = io.BytesIO()
            changed.to_parquet(buffer)
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in {**parts, "relationship0.parquet": buffer.getvalue()}.items():
                    archive.writestr(name, content)
            with pytest.raises(reml.DataError, match="is damaged"):
                reml.load(path)

    def test_a_formula_in_a_file_cannot_run_code(self, fitted, tmp_path):
        spec = {"formula": "yield ~ __import__('os').system('true') + (1 | gen)"}
        with pytest.raises(reml.ModelError):
            reml.load(self._changed(fitted, tmp_path / "a.fit", specification=spec))


class TestCode:
    def test_python_repeats_the_fit(self, alpha, fitted, tmp_path, monkeypatch):
        alpha.to_csv(tmp_path / "data.csv", index=False)
        monkeypatch.chdir(tmp_path)
        space: dict = {}
        exec(fitted.to_code("python"), space)
        assert space["fit"].criterion == pytest.approx(fitted.criterion, abs=1e-9)

    def test_lme4_is_given_its_own_words(self, alpha):
        code = reml.fit("yield ~ C(rep) + (1 | gen)", alpha, method="ml").to_code("r-lme4")
        assert "lmer(yield ~ factor(rep) + (1 | gen), data, REML = FALSE)" in code

    def test_a_residual_is_in_the_code(self):
        data = field()
        fit = reml.fit("yield ~ rep + (1 | gen)", data, residual="dsum(id(units) | rep)")
        space: dict = {"reml": reml, "data": data}
        exec("fit = " + fit.to_code().split("fit = ", 1)[1], space)
        assert space["fit"].criterion == pytest.approx(fit.criterion, abs=1e-9)
        with pytest.raises(reml.ModelError, match="lme4 cannot fit the residual"):
            fit.to_code("r-lme4")

    @pytest.mark.parametrize("language", ["python", "r-lme4"])
    def test_a_relationship_is_not_in_the_code(self, alpha, language):
        fit = reml.fit("yield ~ rep + (1 | gen)", alpha, relationship={"gen": pedigree(alpha)})
        with pytest.raises(reml.ModelError, match="relationship matrix of gen"):
            fit.to_code(language)

    def test_an_unknown_language_is_named(self, fitted):
        with pytest.raises(reml.ModelError, match="cobol"):
            fitted.to_code("cobol")


def test_preview_tells_size_and_parameters(alpha):
    seen = reml.preview(ALPHA, alpha)
    assert (seen.n_obs, seen.rank, seen.n_parameters, seen.engine) == (72, 3, 3, "marginal")
    assert list(seen.terms["levels"]) == [24, 18]
    assert seen.parameters == (
        "variance between the 24 levels of gen",
        "variance between the 18 levels of rep:block",
        "residual variance",
    )
    assert "sigma" in seen.latex


def test_preview_tells_the_parameters_of_the_residual(alpha):
    seen = reml.preview("yield ~ rep + (1 | gen)", field(), residual="ar1(row):ar1(col) + id(units)")
    assert seen.parameters == (
        "variance between the 24 levels of gen",
        "residual variance",
        "correlation ar1(row).rho of the residual",
        "correlation ar1(col).rho of the residual",
        "residual variance of the units",
    )
    assert seen.n_parameters == 5
    sections = reml.preview("yield ~ rep + (1 | gen)", field(), residual="dsum(id(units) | rep)").parameters
    assert sections[1:] == tuple(f"residual variance in R{k}" for k in (1, 2, 3))
    known = reml.preview("yield ~ rep + (1 | gen)", alpha, relationship={"gen": pedigree(alpha)})
    assert list(known.terms["levels"]) == [26]
    with pytest.raises(reml.ModelError, match=r"\*nope\*"):
        reml.preview(ALPHA, alpha, relationship={"nope": pedigree(alpha)})


def test_too_many_rows_for_memory_are_refused_with_the_size(monkeypatch, alpha):
    from openreml_core.engines import choose

    monkeypatch.setattr(choose, "available_bytes", lambda: 10_000)
    with pytest.raises(reml.ModelError, match="72 rows need about"):
        reml.fit(ALPHA, alpha)
