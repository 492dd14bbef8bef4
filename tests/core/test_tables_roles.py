"""Guessing roles, correcting them, and a table whose columns are what their roles ask."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.errors import DataError
from openreml_core.tables import Role, apply_roles, describe_columns, guess_roles, load_sample, read_table, sample_data

#: What a reader of the publications would say of each column: response | factors | row col | covariates | identifiers.
PUBLISHED = {
    "besag_elbatan": "yield | gen | row col | |",
    "besag_met": "yield | county rep block gen | row col | |",
    "bodyweight": "weight | Rat Diet | | Time |",
    "burgueno_alpha": "yield | rep block gen | row col | |",
    "burgueno_rowcol": "yield | rep gen | row col | |",
    "butron_maize": "yield | gen male female env | | |",
    "butron_pedigree": "| sire dam | | | id",
    "cochran_beets": "yield | fert block | | plants |",
    "cox_stripsplit": "yield | rep soil fert calcium | | |",
    "crossa_wheat": "yield | loc locgroup gen gengroup | | |",
    "cullis_earlygen": "yield | gen | row col | weed | entry",
    "durban_rowcol": "yield | rep gen | row bed | |",
    "durban_splitplot": "yield | block gen fung | row bed | |",
    "gilmour_serpentine": "yield | rep gen | row col | |",
    "gilmour_slatehall": "yield | rep gen | row col | |",
    "gomez_stripplot": "yield | rep nitro gen | row col | |",
    "hadasch_lettuce": "dmr | loc gen rep | | |",
    "insteval": "y | s d studage lectage service dept | | |",
    "kling_augmented": "tsw | gen block | row col | | plot name",
    "oats_unbalanced": "yield | Block Variety nitro | | |",
    "omer_sorghum": "yield | env rep gen | | |",
    "stroup_nin": "yield | gen rep | row col | |",
    "stroup_splitplot": "y | rep b a | | |",
    "theobald_covariate": "yield | year env gen | | chu |",
    "vargas_wheat2_yield": "yield | env gen | | |",
    "vsn_lupin3": "yield | site gen | row col | |",
    "yates_oats": "yield | nitro gen block | row col | grain straw |",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_studies(reference, name: str) -> None:
    response, factors, positions, covariates, identifiers = (part.split() for part in PUBLISHED[name].split("|"))
    roles = guess_roles(read_table(reference.data / f"{name}.csv"))

    def held(*kinds: Role) -> set[str]:
        return {column for column, role in roles.items() if role in kinds}

    assert held(Role.RESPONSE) == set(response)
    assert held(Role.FACTOR) == set(factors)
    assert [c for kind in (Role.ROW, Role.COLUMN) for c, role in roles.items() if role is kind] == positions
    assert held(Role.COVARIATE) == set(covariates)
    assert held(Role.IDENTIFIER) == set(identifiers)


def test_marker_data_have_an_identifier_and_covariates_only(reference) -> None:
    roles = guess_roles(read_table(reference.data / "hadasch_lettuce_markers.csv"))
    assert roles.pop("gen") is Role.IDENTIFIER
    assert set(roles.values()) == {Role.COVARIATE} and len(roles) == 300


@pytest.mark.parametrize("sample", sample_data(), ids=lambda sample: sample.name)
def test_sample_studies(sample) -> None:
    assert guess_roles(load_sample(sample.name)) == sample.roles


def test_names_in_other_words_and_languages() -> None:
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "Parzelle": range(101, 113),
            "Wiederholung": [1] * 4 + [2] * 4 + [3] * 4,
            "Sorte": list("abcd") * 3,
            "Korn-Ertrag (dt/ha)": rng.normal(80, 5, 12).round(1),
            "plant height [cm]": rng.normal(90, 5, 12).round(1),
            "Bemerkung": [None] * 12,
            "harvest": ["2024"] * 12,
        }
    )
    assert [role.value for role in guess_roles(table).values()] == [
        "identifier", "factor", "factor", "response", "covariate", "ignore", "ignore",
    ]  # fmt: skip


def test_a_count_is_no_code_and_a_code_is_no_count() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {"aphids": rng.poisson(1.0, 300), "soilclass": rng.integers(1, 5, 300), "y": rng.normal(size=300)}
    )
    roles = guess_roles(table)
    assert (roles["aphids"], roles["soilclass"]) == (Role.COVARIATE, Role.FACTOR)


def test_coordinates_called_x_and_y() -> None:
    grid = pd.DataFrame({"x": np.tile(range(6), 5), "y": np.repeat(range(5), 6), "height": np.linspace(80, 99, 30)})
    assert guess_roles(grid) == {"x": Role.COLUMN, "y": Role.ROW, "height": Role.RESPONSE}
    assert guess_roles(grid[["x", "y"]])["y"] is Role.RESPONSE


def test_numbers_with_a_few_words_among_them_are_still_the_response() -> None:
    table = pd.DataFrame(
        {"gen": list("abcdefghij") * 3, "yield": [*map(str, np.linspace(4, 6, 29).round(3)), "lodged"]}
    )
    roles = guess_roles(table)
    assert roles["yield"] is Role.RESPONSE
    with pytest.raises(DataError, match=r"Column \*yield\*, row 30: 'lodged' is not a number\. Correct the cell"):
        apply_roles(table, roles)


def test_roles_are_text() -> None:
    assert Role("factor") is Role.FACTOR and Role.FACTOR == "factor" and f"{Role.ROW}" == "row"


def test_apply_makes_factors_in_order() -> None:
    table = pd.DataFrame(
        {"n": [10, 2, 10], "gap": [10.0, np.nan, 2.0], "dose": [0.4, 0.0, 0.2], "gen": ["G10", "G2", "G1"]}
    )
    made = apply_roles(table, dict.fromkeys(table.columns, Role.FACTOR))
    assert [made[name].cat.categories.tolist() for name in made] == [
        [2, 10],
        [2, 10],
        [0.0, 0.2, 0.4],
        ["G1", "G10", "G2"],
    ]
    assert [str(level) for level in made["gap"].cat.categories] == ["2", "10"]
    assert made["gap"].isna().tolist() == [False, True, False]
    assert made["n"].tolist() == [10, 2, 10]
    assert table["n"].dtype == np.int64, "the table given is not touched"


def test_apply_keeps_the_order_of_categories() -> None:
    doses = pd.Series(pd.Categorical(["high", "low"], categories=["low", "mid", "high"]), name="dose")
    assert apply_roles(doses.to_frame(), {"dose": "factor"})["dose"].cat.categories.tolist() == ["low", "high"]


def test_apply_makes_numbers() -> None:
    table = pd.DataFrame({"y": ["4.5", None, "5"], "x": [1, 2, 3], "row": ["1", "2", "3"], "id": ["a", "b", "c"]})
    made = apply_roles(table, {"y": Role.RESPONSE, "x": Role.COVARIATE, "row": Role.ROW, "id": Role.IDENTIFIER})
    assert made["y"].dtype == np.float64 and made["x"].dtype == np.float64
    assert made["row"].tolist() == [1, 2, 3] and made["id"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("column", "role", "said"),
    [
        (["4", "x", "y"], "response", r"row 2: 'x' is not a number \(2 such cells\)\. Correct the cell"),
        (["a", "b", "c"], "response", r"Text cannot be the response: give the column another role"),
        (["a", "b", "c"], "row", r"Text cannot be a row position"),
        ([1.0, np.inf, 2.0], "covariate", r"row 2: 'inf' is not a number"),
    ],
)
def test_apply_names_the_cell_that_is_no_number(column: list[object], role: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        apply_roles(pd.DataFrame({"v": column}), {"v": role})


def test_apply_names_an_unknown_column() -> None:
    with pytest.raises(DataError, match=r"Column \*yeild\* is not in this table\. Did you mean \*yield\*\?"):
        apply_roles(pd.DataFrame({"yield": [1.0]}), {"yeild": Role.RESPONSE})


def test_columns_are_described() -> None:
    table = load_sample("dietox")
    about = describe_columns(table, guess_roles(table)).set_index("name")
    assert about.index.tolist() == table.columns.tolist()
    assert about.loc["Weight", ["role", "type", "min", "max", "missing"]].tolist() == [
        "response",
        "numbers",
        15.0,
        117.0,
        0,
    ]
    assert about.loc["Feed", "missing"] == 72
    assert about.loc["Pig", ["type", "n_levels", "levels"]].tolist() == [
        "whole numbers",
        72,
        "4601, 4602, 4603, …, 8442",
    ]
    assert about.loc["Evit", "levels"] == "1, 2, 3" and np.isnan(about.loc["Evit", "min"])
    empty = describe_columns(pd.DataFrame({"note": [np.nan, np.nan]}), {})
    assert empty.loc[0, ["role", "type", "n_levels", "missing"]].tolist() == ["ignore", "empty", 0, 2]


def test_a_factor_of_large_whole_numbers() -> None:
    table = apply_roles(pd.DataFrame({"id": [3e20, 1e20, np.nan, 2.0**53]}), {"id": "factor"})
    assert table["id"].cat.categories.tolist() == ["9007199254740992", "1e+20", "3e+20"]
    assert table["id"].isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize("role", ["nope", None, 5, []])
def test_an_unknown_role_is_named(role: object) -> None:
    table = pd.DataFrame({"gen": ["a", "b"]})
    for asked in (apply_roles, describe_columns):
        with pytest.raises(DataError, match=r"Column \*gen\* has the role .* Roles are response, factor"):
            asked(table, {"gen": role})


def test_what_is_no_table_or_no_roles() -> None:
    with pytest.raises(DataError, match="not a table"):
        guess_roles("x.csv")
    with pytest.raises(DataError, match="not a table"):
        apply_roles("x.csv", {})
    for roles in (None, "factor", ["gen"]):
        with pytest.raises(DataError, match="does not name columns"):
            apply_roles(pd.DataFrame({"gen": ["a"]}), roles)
