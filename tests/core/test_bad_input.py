"""What a fit does with a table or a formula that is not as it should be: it works, or says what is wrong and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml


@pytest.fixture
def trial() -> pd.DataFrame:
    """8 genotypes in 4 blocks; the numbers come from a seed."""
    rng = np.random.default_rng(20)
    block, gen = np.divmod(np.arange(32), 8)
    y = 5 + rng.normal(0, 0.7, 4)[block] + rng.normal(0, 1, 8)[gen] + rng.normal(0, 0.5, 32)
    return pd.DataFrame(
        {
            "yield": y,
            "block": [f"B{b + 1}" for b in block],
            "gen": [f"G{g + 1}" for g in gen],
            "number": gen + 1,
            "x": rng.normal(size=32),
        }
    )


def message(formula: str, data: pd.DataFrame, **options: object) -> str:
    """The message of the ModelError that this fit ends in."""
    with pytest.raises(reml.ModelError) as caught:
        reml.fit(formula, data, **options)
    text = str(caught.value)
    assert text.endswith((".", "?")), text
    assert "\x1b" not in text, "terminal colours"
    return text


# --- what works ---------------------------------------------------------------------------------------------------


def test_a_rank_deficient_x_drops_and_names_the_column(trial: pd.DataFrame) -> None:
    fit = reml.fit("yield ~ x + twice + (1 | gen)", trial.assign(twice=2 * trial["x"]))
    plain = reml.fit("yield ~ x + (1 | gen)", trial)
    assert fit.aliased == ("twice",)
    assert fit.rank == 2
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert any("twice" in text for text in fit.warnings)


def test_a_factor_nested_in_another_is_aliased(trial: pd.DataFrame) -> None:
    fit = reml.fit("yield ~ gen + half + (1 | block)", trial.assign(half=np.where(trial["number"] > 4, "high", "low")))
    assert fit.aliased == ("half[T.low]",)
    assert fit.rank == 8


def test_intercept_only(trial: pd.DataFrame) -> None:
    fit = reml.fit("yield ~ 1 + (1 | gen)", trial)
    assert fit.rank == 1
    means = trial.groupby("gen")["yield"].mean()
    assert fit.fixed_effects().loc["(Intercept)", "estimate"] == pytest.approx(means.mean())  # balanced


def test_no_intercept(trial: pd.DataFrame) -> None:
    fit = reml.fit("yield ~ 0 + gen + (1 | block)", trial)
    means = trial.groupby("gen")["yield"].mean()
    assert fit.rank == 8
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], means, atol=1e-8)


def test_numbers_that_group_are_levels(trial: pd.DataFrame) -> None:
    by_number = reml.fit("yield ~ 1 + (1 | number)", trial)
    by_name = reml.fit("yield ~ 1 + (1 | gen)", trial)
    assert by_number.criterion == pytest.approx(by_name.criterion, abs=1e-8)
    assert len(by_number.random_effects("number")) == 8


def test_numbers_made_a_factor_in_the_fixed_part(trial: pd.DataFrame) -> None:
    assert reml.fit("yield ~ C(number) + (1 | block)", trial).rank == 8
    assert reml.fit("yield ~ factor(number) + (1 | block)", trial).rank == 8
    assert reml.fit("yield ~ number + (1 | block)", trial).rank == 2


def test_missing_values_are_dropped_where_the_model_uses_them(trial: pd.DataFrame) -> None:
    trial.loc[0, "yield"] = np.nan
    trial.loc[5, "gen"] = None
    trial.loc[9, "x"] = np.nan  # not in the model
    fit = reml.fit("yield ~ 1 + (1 | gen) + (1 | block)", trial)
    assert (fit.n_obs, fit.n_dropped) == (30, 2)
    assert list(fit.fitted().index) == [i for i in range(32) if i not in (0, 5)]


def test_a_level_seen_once(trial: pd.DataFrame) -> None:
    trial.loc[31, "gen"] = "new"
    fit = reml.fit("yield ~ 1 + (1 | gen) + (1 | block)", trial)
    effects = fit.random_effects("gen").set_index("level")
    assert fit.converged
    assert effects.loc["new", "std_error"] > effects.loc["G1", "std_error"]


def test_a_level_that_only_dropped_rows_have(trial: pd.DataFrame) -> None:
    trial["gen"] = trial["gen"].astype("category")
    trial.loc[trial["gen"] == "G3", "yield"] = np.nan
    fit = reml.fit("yield ~ gen + (1 | block)", trial)
    assert fit.rank == 7
    assert fit.aliased == ()
    assert not any("G3" in name for name in fit.fixed_effects().index)


def test_an_index_that_is_not_a_range(trial: pd.DataFrame) -> None:
    labelled = trial.set_index(pd.Index([f"plot {i}" for i in range(32)]))
    fit = reml.fit("yield ~ 1 + (1 | gen)", labelled)
    assert fit.residuals().index.equals(labelled.index)


def test_the_table_is_left_as_it_was(trial: pd.DataFrame) -> None:
    before = trial.copy(deep=True)
    reml.fit("log(yield) ~ x + (1 | gen)", trial.assign())
    reml.fit("yield ~ x + (1 | gen)", trial)
    pd.testing.assert_frame_equal(trial, before)


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "covariate", "group"),
    [
        ("yield", "lambda", "class"),
        ("IQ.verb", "x.1", "sub.ject"),
        ("größe", "höhe", "Sorte_ß"),
        ("`plot yield (t/ha)`", "`soil pH`", "`the block`"),
        ("`yield~1|g`", "`a:b`", "`c/d`"),
        ("`1st`", "`100`", "`2-row`"),
    ],
    ids=["keywords", "dots", "umlauts", "spaces", "operators", "digits"],
)
def test_names(trial: pd.DataFrame, response: str, covariate: str, group: str) -> None:
    plain = reml.fit("y ~ x + (x | gen)", trial.rename(columns={"yield": "y"}))
    logs = reml.fit("log(y) ~ log(z) + (1 | gen)", trial.rename(columns={"yield": "y"}).assign(z=np.exp(trial["x"])))
    renames = {"yield": response.strip("`"), "x": covariate.strip("`"), "gen": group.strip("`")}
    named = trial.rename(columns=renames)
    fit = reml.fit(f"{response} ~ {covariate} + ({covariate} | {group})", named)
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-7)
    assert list(fit.fixed_effects().index) == ["(Intercept)", renames["x"]]
    assert fit.random_terms == (renames["gen"],)
    positive = named.assign(**{renames["x"]: np.exp(trial["x"])})
    inside = reml.fit(f"log({response}) ~ log({covariate}) + (1 | {group})", positive)
    assert inside.criterion == pytest.approx(logs.criterion, abs=1e-7)


# --- what cannot be fitted ----------------------------------------------------------------------------------------


def test_an_unknown_column(trial: pd.DataFrame) -> None:
    text = message("yeild ~ 1 + (1 | gen)", trial)
    assert "yeild" in text
    assert "yield" in text.replace("yeild", "")
    assert "genn" in message("yield ~ 1 + (1 | genn)", trial)
    assert "bloc" in message("yield ~ bloc + (1 | gen)", trial)


def test_a_constant_response(trial: pd.DataFrame) -> None:
    assert "yield" in message("yield ~ 1 + (1 | gen)", trial.assign(**{"yield": 4.2}))


def test_a_response_that_the_fixed_part_explains_wholly(trial: pd.DataFrame) -> None:
    text = message("yield ~ x + (1 | gen)", trial.assign(**{"yield": 3 + 2 * trial["x"]}))
    assert "yield" in text


def test_a_response_of_text(trial: pd.DataFrame) -> None:
    text = message("note ~ 1 + (1 | gen)", trial.assign(note=["1.2"] * 31 + ["n. a."]))
    assert "note" in text


def test_an_infinite_value(trial: pd.DataFrame) -> None:
    trial.loc[4, "x"] = np.inf
    assert "x" in message("yield ~ x + (1 | gen)", trial)
    trial.loc[4, "yield"] = 0.0
    assert "yield" in message("log(yield) ~ 1 + (1 | gen)", trial)


def test_fewer_rows_than_parameters(trial: pd.DataFrame) -> None:
    few = trial.iloc[[0, 9, 18]]
    assert "3" in message("yield ~ gen + (1 | block)", few)
    message("yield ~ 1 + (1 | gen)", trial.iloc[:1])


def test_no_rows(trial: pd.DataFrame) -> None:
    message("yield ~ 1 + (1 | gen)", trial.iloc[:0])
    assert "yield" in message("yield ~ 1 + (1 | gen)", trial.assign(**{"yield": np.nan}))


def test_a_group_of_one_level(trial: pd.DataFrame) -> None:
    assert "site" in message("yield ~ 1 + (1 | site)", trial.assign(site="Alnarp"))


def test_a_group_with_a_level_per_row(trial: pd.DataFrame) -> None:
    """Its variance cannot be told from the residual's."""
    assert "plot" in message("yield ~ 1 + (1 | plot)", trial.assign(plot=np.arange(32)))


def test_a_fixed_factor_of_one_level(trial: pd.DataFrame) -> None:
    assert "site" in message("yield ~ site + (1 | gen)", trial.assign(site="Alnarp"))


@pytest.mark.parametrize("weight", [-1.0, 0.0, np.inf])
def test_weights_that_cannot_be(trial: pd.DataFrame, weight: float) -> None:
    trial["w"] = 1.0
    trial.loc[7, "w"] = weight
    assert "w" in message("yield ~ 1 + (1 | gen)", trial, weights="w")


def test_an_unknown_column_of_weights(trial: pd.DataFrame) -> None:
    assert "wt" in message("yield ~ 1 + (1 | gen)", trial, weights="wt")


def test_no_random_term(trial: pd.DataFrame) -> None:
    """A plain linear model is a mixed model without a random term; its variance is the residual mean square."""
    fit = reml.fit("yield ~ gen", trial)
    within = trial["yield"] - trial.groupby("gen")["yield"].transform("mean")
    assert fit.sigma**2 == pytest.approx((within**2).sum() / (32 - 8), rel=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "reml2"},
        {"algorithm": "newton"},
        {"engine": "sparse"},
        {"missing": "ignore"},
        {"max_iterations": -1},
        {"start": {"genn": 1.0}},
        {"start": {"gen": -1.0}},
        {"fixed": {"genn": 1.0}},
    ],
    ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()),
)
def test_options_that_do_not_exist(trial: pd.DataFrame, options: dict[str, object]) -> None:
    text = message("yield ~ 1 + (1 | gen)", trial, **options)
    value = next(iter(options.values()))
    assert str(next(iter(value)) if isinstance(value, dict) else value) in text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("contrasts", v) for v in ("sum", ["gen"], 5, {1: "sum"})),
        *(("relationship", v) for v in ("A", [1], {1: 2}, {"gen": "A"})),
        *(("start", v) for v in (5, "g", {5: 1}, [1])),
        *(("fixed", v) for v in ([1], "gen", {None: 1})),
        *((name, v) for name in ("method", "algorithm", "engine", "missing") for v in ([], None, 5, {})),
        *(("on_iteration", v) for v in (5, "print")),
        *(("residual", v) for v in (5, ["id(units)"])),
        *(("max_iterations", v) for v in ("9", 1.5, True)),
    ],
)
def test_options_of_the_wrong_type(trial: pd.DataFrame, option: str, value: object) -> None:
    text = message("yield ~ gen + (1 | block)", trial, **{option: value})
    assert option in text or value == {"gen": "A"}


def test_a_formula_that_is_no_text(trial: pd.DataFrame) -> None:
    for formula in (None, 5, ["yield ~ x"]):
        message(formula, trial)  # type: ignore[arg-type]
    read = reml.parse_formula("yield ~ x + (1 | gen)")
    assert reml.fit(read, trial).formula == read.text  # type: ignore[arg-type]


@pytest.mark.parametrize("formula", ["yield ~ x - nope", "yield ~ x - x:nope", "yield ~ x - (x + nope) + (1 | gen)"])
def test_an_unknown_column_taken_away(trial: pd.DataFrame, formula: str) -> None:
    assert "*nope*" in message(formula, trial)


def test_a_known_column_taken_away(trial: pd.DataFrame) -> None:
    assert reml.fit("yield ~ x - gen + (1 | block)", trial).rank == 2


def test_the_term_with_most_coefficients_is_named(trial: pd.DataFrame) -> None:
    text = message("yield ~ x + plot + (1 | gen)", trial.assign(plot=[f"p{i}" for i in range(32)]))
    assert "*plot* has" in text


def test_weights_are_named(trial: pd.DataFrame) -> None:
    for bad in (0.0, np.inf):
        text = message("yield ~ x + (1 | gen)", trial.assign(reps=[bad] + [1.0] * 31), weights="reps")
        assert "*reps*" in text and "row 1" in text


@pytest.mark.parametrize("size", ["1e300", "1e160", "1e90"])
def test_numbers_too_large(trial: pd.DataFrame, size: str) -> None:
    data = trial.rename(columns={"yield": "y"})
    assert "too large" in message(f"I(y * {size}) ~ x + (1 | gen)", data)
    assert "too close" in message(f"I(y / {size}) ~ x + (1 | gen)", data)


def test_levels_of_large_whole_numbers(trial: pd.DataFrame) -> None:
    large = trial.assign(big=np.where(trial["x"] > 0, 1e20, 2.0**53), near=2.0**53 + 2 * (np.arange(32) % 4))
    fit = reml.fit("yield ~ factor(big) + (1 | near)", large)
    assert list(fit.fixed_effects().index)[1] == "factor(big)[T.1e+20]"
    assert len(fit.random_effects("near")) == 4


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "yield",
        "~ x",
        "yield ~",
        "yield ~ x + (1 | gen",
        "yield ~ x + (1 | )",
        "yield ~ x + ( | gen)",
        "yield ~ x +",
        "yield ~ x ~ gen",
        "yield ~ (1 | gen",
        "yield ~ foo(x) + (1 | gen)",
        "yield ~ us(1 | gen | block)",
        "yield ~ nonsense(1 | gen)",
    ],
)
def test_a_formula_that_cannot_be_read(trial: pd.DataFrame, formula: str) -> None:
    message(formula, trial)


@pytest.mark.parametrize(
    "part",
    [
        "x.__class__",
        "x.values",
        "__import__('os')",
        "open('{path}', 'w')",
        "I(open('{path}', 'w'))",
        "(lambda: open('{path}', 'w'))()",
        "log(open('{path}', 'w'))",
        "{{open('{path}', 'w')}}",
        "C(x, open('{path}', 'w'))",
        "poly(x, open('{path}', 'w'))",
        "[open('{path}', 'w')][0]",
        "exec('1')",
        "getattr(x, 'values')",
        "I(x.__init__)",
        "log((x := 1))",
        "`x`.values",
    ],
)
@pytest.mark.parametrize("place", ["fixed", "bar", "response", "group"])
def test_a_formula_cannot_run_code(trial: pd.DataFrame, tmp_path: Path, part: str, place: str) -> None:
    path = tmp_path / "made"
    code = part.format(path=path.as_posix())
    formula = {
        "fixed": f"yield ~ {code} + (1 | gen)",
        "bar": f"yield ~ 1 + ({code} | gen)",
        "response": f"{code} ~ 1 + (1 | gen)",
        "group": f"yield ~ 1 + (1 | {code})",
    }[place]
    with pytest.raises(reml.FormulaError):
        reml.fit(formula, trial)
    assert not path.exists()


# --- files --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(reml.DataError, match=r"trial\.csv"):
        reml.read_table(tmp_path / "trial.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("blank.csv", b"\n\n  \n"),
        ("noise.csv", bytes(range(256)) * 8),
        ("noise.xlsx", b"PK\x03\x04 not a workbook"),
        ("noise.parquet", b"PAR1 not a table PAR1"),
        ("header.csv", b"yield,gen\n"),
        ("letter.docx", b"PK\x03\x04"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(reml.DataError) as caught:
        reml.read_table(path)
    assert str(caught.value).endswith((".", "?"))
