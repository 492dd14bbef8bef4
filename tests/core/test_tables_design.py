"""What a table shows of its design, in sentences and as a first model: recognised from counts, whatever the names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openreml_core.tables import describe_design, guess_roles, load_sample, read_table, suggest_formula


def seen(table: pd.DataFrame) -> tuple[list[str], str]:
    roles = guess_roles(table)
    return describe_design(table, roles), suggest_formula(table, roles)


#: Sentences and model of the samples, as a reader of the publication would put them.
SAMPLES = {
    "john_alpha": (
        "72 plots: 24 genotypes in 3 replicates of 6 incomplete blocks of 4 plots; every genotype once in each replicate.",
        "yield ~ rep + (1 | gen) + (1 | rep:block)",
    ),
    "oats": (
        "72 plots: 12 combinations of 3 varieties and 4 levels of nitro in 6 blocks of 12 plots; "
        "every combination once in each block.",
        "yield ~ Variety * nitro + (1 | Block)",
    ),
    "sleepstudy": (
        "180 observations: 18 subjects measured 10 times each over Days, all at the same 10 values: balanced.",
        "Reaction ~ Days + (Days | Subject)",
    ),
    "ovary": (
        "308 observations: 11 mares measured 25 to 31 times each over Time, at values of their own.",
        "follicles ~ Time + (Time | Mare)",
    ),
    "penicillin": (
        "144 observations: 24 plates and 6 samples, crossed: every pair once.",
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
    ),
    "pastes": (
        "60 observations: 30 samples in 10 batches, 3 in each.",
        "strength ~ 1 + (1 | batch) + (1 | sample)",
    ),
    "dyestuff": ("30 observations: 6 batches with 5 observations each.", "Yield ~ 1 + (1 | Batch)"),
    "dietox": (
        "861 observations: 72 pigs in 21 litters, 2 to 4 in each.",
        "Weight ~ Time * Evit + Time * Cu + (1 | Litter) + (Time | Pig)",
    ),
    "machines": (
        "54 observations: 6 workers with 9 observations each.",
        "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)",
    ),
    "wheat2": (
        "224 plots: 56 varieties in 4 blocks of 56 plots; every variety once in each block.",
        "yield ~ Block + (1 | variety)",
    ),
    "orthodont": (
        "108 observations: 27 subjects measured 4 times each over age, all at the same 4 values: balanced.",
        "distance ~ age * Sex + (age | Subject)",
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str) -> None:
    sentences, formula = seen(load_sample(name))
    assert (sentences[0], formula) == SAMPLES[name]


def test_further_sentences_of_the_samples() -> None:
    def of(name: str) -> list[str]:
        return seen(load_sample(name))[0]

    assert of("john_alpha")[1] == "The plots stand in one line of 72 (row, col)."
    assert "add (1 | Block:Variety) or (1 | Block:nitro)" in of("oats")[1]
    assert "72 pigs measured 11 to 12 times each over Time, not all at each of the 12 values: unbalanced." in of(
        "dietox"
    )
    assert "Evit and Cu do not change within a pig." in of("dietox")
    assert "6 workers and 3 machines, crossed: every pair 3 times." in of("machines")
    assert "A grid of 11 rows by 22 columns (latitude, longitude); 18 positions without a plot." in of("wheat2")
    assert "cask counts anew in each batch: sample names the combinations." in of("pastes")


PUBLISHED = {
    "besag_met": (
        "1,188 plots in 6 counties, 198 in each.",
        "64 genotypes, all of them in every county.",
        "In each county 3 replicates of 8 incomplete blocks of 8 to 14 plots.",
        "6 grids of 18 rows by 11 columns (row, col), a plot at every position.",
        "36 rows have no yield and are left out.",
    ),
    "yates_oats": (
        "A split plot, seen from the positions: gen lies on whole plots within each block, nitro on the plots inside them.",
    ),
    "durban_splitplot": (
        "A split plot, seen from the positions: fung lies on whole plots within each block, gen on the plots inside them.",
    ),
    "gomez_stripplot": (
        "A strip plot, seen from the positions: gen and nitro both lie on strips within each replicate.",
    ),
    "kling_augmented": (
        "50 genotypes on one plot, 3 on 6 plots: unreplicated entries with replicated checks.",
        "A grid of 6 rows by 12 columns (row, col); 4 positions without a plot.",
    ),
    "stroup_nin": (
        "242 plots: 56 genotypes in 4 replicates of 56 plots; every genotype once in each replicate.",
        "18 rows have no yield and are left out.",
    ),
    "besag_elbatan": ("150 plots: 50 genotypes; every genotype once in each column (col).",),
    "oats_unbalanced": (
        "65 plots: 12 combinations of 3 varieties and 4 levels of nitro in 6 blocks of 9 to 12 plots; "
        "every combination once in each block, but for 7 missing.",
    ),
    "insteval": ("2,972 levels of s and 1,128 levels of d, partly crossed: 73,421 of 3,352,416 pairs occur.",),
    "crossa_wheat": ("Each genotype belongs to one level of gengroup: 18 in 3 levels of gengroup.",),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_designs(reference, name: str) -> None:
    sentences, _ = seen(read_table(reference.data / f"{name}.csv"))
    assert set(PUBLISHED[name]) <= set(sentences), sentences


FORMULAS = {
    "besag_met": "yield ~ county + (1 | gen) + (1 | gen:county) + (1 | county:rep) + (1 | county:rep:block)",
    "burgueno_alpha": "yield ~ rep + (1 | gen) + (1 | rep:block)",
    "cochran_beets": "yield ~ fert + (1 | block)",
    "gilmour_slatehall": "yield ~ rep + (1 | gen) + (1 | rep:row) + (1 | rep:col)",
    "gomez_stripplot": "yield ~ gen * nitro + (1 | rep) + (1 | rep:gen) + (1 | rep:nitro)",
    "omer_sorghum": "yield ~ env + (1 | gen) + (1 | gen:env) + (1 | env:rep)",
    "vargas_wheat2_yield": "yield ~ gen + (1 | env)",
    "yates_oats": "yield ~ gen * nitro + (1 | block) + (1 | block:gen)",
    "butron_pedigree": "",
}


@pytest.mark.parametrize("name", FORMULAS)
def test_published_formulas(reference, name: str) -> None:
    assert seen(read_table(reference.data / f"{name}.csv"))[1] == FORMULAS[name]


def trial(rng: np.random.Generator, *, blocks: int, entries: int) -> pd.DataFrame:
    rows = [(f"b{b}", f"v{v}") for b in range(blocks) for v in rng.permutation(entries)]
    return pd.DataFrame(rows, columns=["block", "variety"]).assign(yield_=rng.normal(5, 1, blocks * entries))


def test_renaming_and_shuffling_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    table = load_sample("john_alpha")
    shuffled = table.sample(frac=1, random_state=3)
    assert seen(shuffled) == seen(table)
    recoded = table.assign(
        gen=table["gen"].map({g: i for i, g in enumerate(rng.permutation(table["gen"].unique()), 1)})
    )
    assert seen(recoded) == seen(table)


def test_an_entry_moved_to_another_block_is_no_longer_complete() -> None:
    table = trial(np.random.default_rng(1), blocks=4, entries=6)
    assert "every variety once in each block" in seen(table)[0][0]
    table.loc[0, "variety"] = table.loc[1, "variety"]
    sentences, _ = seen(table)
    assert "once in each" not in sentences[0] and sentences[1] == "Each variety on 3 to 5 plots."


def test_a_split_plot_in_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(4)
    rows = [(f"b{b}", f"v{v}", 40 * n) for b in range(4) for v in rng.permutation(3) for n in rng.permutation(4)]
    table = pd.DataFrame(rows, columns=["block", "variety", "N rate"]).assign(yield_=rng.normal(size=48))
    sentences, formula = seen(table)
    assert sentences[1].startswith("A split plot, seen from the order of the rows: variety lies on whole plots")
    assert formula == "yield_ ~ variety * `N rate` + (1 | block) + (1 | block:variety)"
    alphabetical = table.sort_values(["block", "variety", "N rate"])
    assert "which this table cannot show" in seen(alphabetical)[0][1]


@pytest.mark.parametrize(("numbering", "term"), [("own", "(DAP | plot)"), ("anew", "(DAP | block:plot)")])
def test_plots_of_a_block_design_measured_repeatedly(numbering: str, term: str) -> None:
    rng = np.random.default_rng(1)
    rows = [
        (100 * b + i if numbering == "own" else i, f"B{b}", f"T{t}", day)
        for b in (1, 2, 3, 4)
        for i, t in enumerate(rng.permutation(5), 1)
        for day in (30, 60, 90)
    ]
    table = pd.DataFrame(rows, columns=["plot", "block", "treatment", "DAP"]).assign(height=rng.normal(size=60))
    sentences, formula = seen(table)
    assert sentences[:2] == [
        "60 observations of 20 plots: 5 treatments in 4 blocks of 5 plots; every treatment once in each block.",
        "20 plots measured 3 times each over DAP, all at the same 3 values: balanced.",
    ]
    assert formula == f"height ~ DAP * treatment + (1 | block) + {term}"


def test_classes_numbered_anew_in_each_school_are_pointed_out() -> None:
    table = pd.DataFrame({"school": np.repeat(range(1, 21), 30), "class": np.tile(np.repeat([1, 2, 3], 10), 20)})
    sentences, _ = seen(table.assign(score=np.random.default_rng(1).normal(size=600)))
    assert "If each school has its own classes, they are nested: (1 | school/class)." in sentences[0]


def test_positions_used_twice() -> None:
    table = pd.DataFrame(
        {"row": [1, 1, 2, 2, 2], "col": [1, 2, 1, 2, 2], "gen": list("ababa"), "yield": [1.5, 2, 3, 4, 5]}
    )
    assert seen(table)[0][-1].endswith("1 row of the table repeats a position.")


def test_tables_without_much_in_them() -> None:
    numbers = pd.DataFrame({"x": [1.5, 2.5, 3.5, 4, 5], "y": [2.5, 3, 4, 5, 6.5]})
    assert seen(numbers) == (["5 observations."], "y ~ x")
    assert seen(pd.DataFrame({"y": pd.Series([], dtype=float)})) == (["No rows."], "")
    assert seen(pd.DataFrame({"note": [np.nan, np.nan]})) == (["2 observations."], "")
    treated = pd.DataFrame({"treatment": list("abc") * 5, "y": np.linspace(1, 2, 15)})
    assert seen(treated)[1] == "y ~ treatment"


def test_missing_levels_are_counted() -> None:
    table = load_sample("john_alpha")
    table.loc[[3, 4], "gen"] = np.nan
    table.loc[0, "yield"] = np.nan
    sentences, _ = seen(table)
    assert sentences[-2:] == [
        "1 row has no yield and is left out.",
        "2 rows have no gen and are left out of a model with gen.",
    ]
