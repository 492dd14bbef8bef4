"""Random terms: which levels there are, which level and which basis each row has, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.design import build_design
from openreml_core.errors import DataError, FormulaError, ModelError


@pytest.fixture
def trial() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "y": rng.normal(size=24),
            "x": rng.normal(size=24),
            "rep": np.repeat(["R2", "R1"], 12),
            "block": np.tile(np.repeat([10, 9, 2], 4), 2),
            "gen": [f"G{k}" for k in range(1, 13)] * 2,
            "f": ["a", "b", "c", "b"] * 6,
        }
    )


def test_levels_are_sorted_and_only_those_that_occur(trial):
    first, second, third = build_design("y ~ (1 | gen) + (1 | block) + (1 | rep:block)", trial.iloc[:20]).random
    assert first.levels == tuple(sorted(trial["gen"].unique()))
    assert second.levels == ("2", "9", "10")
    assert third.levels == ("R1:9", "R1:10", "R2:2", "R2:9", "R2:10")
    assert third.name == "rep:block" and third.effects == ("(Intercept)",)
    expected = (trial["rep"] + ":" + trial["block"].astype(str)).iloc[:20]
    assert [third.levels[code] for code in third.codes] == expected.tolist()
    assert (third.basis == 1).all() and third.basis.shape == (20, 1)


def test_categories_keep_their_order_and_lose_unused_levels(trial):
    trial["rep"] = pd.Categorical(trial["rep"], categories=["R3", "R2", "R1"])
    (term,) = build_design("y ~ (1 | rep:block)", trial).random
    assert term.levels[0] == "R2:2" and len(term.levels) == 6
    assert build_design("y ~ rep", trial).fixed_names == ("(Intercept)", "rep[T.R1]")


@pytest.mark.parametrize(
    ("left", "effects"),
    [
        ("x", ("(Intercept)", "x")),
        ("0 + x", ("x",)),
        ("f", ("(Intercept)", "f[T.b]", "f[T.c]")),
        ("0 + f", ("f[a]", "f[b]", "f[c]")),
        ("0 + f:x", ("f[a]:x", "f[b]:x", "f[c]:x")),
        ("poly(x, 2)", ("(Intercept)", "poly(x, 2)[1]", "poly(x, 2)[2]")),
        ("log(I(x^2))", ("(Intercept)", "log(I(x^2))")),
    ],
)
@pytest.mark.parametrize("bar", ["|", "||"])
def test_effects_are_the_columns_of_the_left_side(left, effects, bar, trial):
    (term,) = build_design(f"y ~ ({left} {bar} rep)", trial).random
    assert term.effects == effects
    assert term.structure == ("us" if bar == "|" else "diag")
    fixed = build_design(f"y ~ {left}", trial)
    np.testing.assert_allclose(term.basis, fixed.X)


def test_a_second_term_on_a_group_has_its_own_name(trial):
    design = build_design("y ~ (1 | gen) + (0 + x | gen)", trial)
    assert [term.name for term in design.random] == ["gen", "gen.1"]
    assert [term.effects for term in design.random] == [("(Intercept)",), ("x",)]


def test_nesting_gives_two_terms(trial):
    assert [term.name for term in build_design("y ~ (1 | rep/block)", trial).random] == ["rep", "rep:block"]


def test_serial_structures_take_numbers_as_levels(trial):
    trial["t"] = np.tile([1, 2, 3, 10], 6)
    (term,) = build_design("y ~ ar1(0 + t | gen)", trial).random
    assert term.effects == ("t[1]", "t[2]", "t[3]", "t[10]")
    assert (term.basis.sum(axis=1) == 1).all()
    _, basis = build_design("y ~ ar1(0 + t | gen)", trial).random_matrix("gen", trial.iloc[[3]])
    assert basis.tolist() == [[0, 0, 0, 1]]


def test_new_data(trial):
    design = build_design("y ~ (poly(x, 2) | rep:block) + (1 | gen)", trial)
    new = trial.iloc[[20, 3]].drop(columns="y").reset_index(drop=True)
    new.loc[2] = [0.5, "R1", 99, "G1", "a"]
    new.loc[3] = [0.5, "R1", 9, "new", "a"]
    for term in design.random:
        codes, basis = design.random_matrix(term.name, new)
        assert codes[:2].tolist() == term.codes[[20, 3]].tolist()
        np.testing.assert_allclose(basis[:2], term.basis[[20, 3]])
        assert codes[2:].tolist() == ([-1, 1] if term.name == "rep:block" else [0, -1])
    with pytest.raises(ModelError, match="The terms are: rep:block, gen"):
        design.random_matrix("block", new)


def test_a_level_seen_once_is_a_level(trial):
    trial.loc[0, "gen"] = "single"
    (term,) = build_design("y ~ (1 | gen)", trial).random
    assert "single" in term.levels and np.bincount(term.codes)[term.levels.index("single")] == 1


@pytest.mark.parametrize(
    ("right", "says"),
    [
        ("(1 | one)", "*one* of (1 | one) has one level (u)"),
        ("(1 | row)", "*row* has 24 levels for 24 rows"),
        ("(1 | rep:row)", "*rep:row* has 24 levels for 24 rows"),
        ("(1 | gen/row)", "*gen:row* has 24 levels for 24 rows"),
        ("(1 | gen) + (1 | gen)", "stands twice"),
        ("(0 + one | gen)", ""),
        ("(1 | genn)", "Did you mean *gen*?"),
        ("(xx | gen)", "Did you mean *x*?"),
        ("(log(x) | gen)", "log(x) has no finite value in row"),
    ],
)
def test_what_cannot_be_fitted_is_named(right, says, trial):
    trial = trial.assign(one="u", row=range(24), x=trial["x"] - 5)
    if not says:
        assert build_design(f"y ~ {right}", trial).random[0].effects == ("one[u]",)
        return
    with pytest.raises((DataError, FormulaError)) as error:
        build_design(f"y ~ {right}", trial)
    assert says in str(error.value)


def test_a_level_per_row_is_fine_where_it_can_be_told_apart(trial):
    trial["row"] = range(24)
    assert len(build_design("y ~ (1 | row)", trial, known_groups={"row"}).random[0].levels) == 24
    assert len(build_design("y ~ (1 | row)", trial, plain_residual=False).random[0].levels) == 24
    assert len(build_design("y ~ known(1 | row)", trial).random[0].levels) == 24


def test_warnings_before_the_fit(trial):
    assert "nothing to explain" in build_design("y ~ gen + (1 | gen)", trial).warnings[0]
    assert "only the sum" in build_design("y ~ (1 | rep) + (x | rep)", trial).warnings[0]
    assert "24 random effects for 24 rows" in build_design("y ~ (x | gen)", trial).warnings[0]
    assert build_design("y ~ rep + (1 | gen) + (0 + x | gen)", trial).warnings == ()
