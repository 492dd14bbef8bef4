"""Related levels on the Model page: uploaded, matched, fitted, taken away; what is wrong is said in place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from tests.app.driver import fit, goto, opened, sound, study, text

JOHN = "yield ~ rep + (1 | gen) + (1 | rep:block)"


def csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def genotypes() -> list[str]:
    return sorted(reml.load_sample("john_alpha")["gen"].unique())


def pedigree() -> pd.DataFrame:
    """Each genotype with a sire of six."""
    names = genotypes()
    return pd.DataFrame({"id": names, "sire": [f"S{i % 6}" for i in range(len(names))], "dam": [""] * len(names)})


def uploaded(at, name: str, content: bytes):
    return at.file_uploader(key="relation_file_0").set_value((name, content, "text/csv")).run()


def model():
    return sound(goto(opened(), "model"))


def test_a_pedigree_is_matched_shown_and_fitted() -> None:
    at = sound(uploaded(model(), "ped.csv", csv(pedigree())))
    assert "24 of 24 levels are in the pedigree; 6 further relatives without data." in text(at)
    assert "count as founders" in text(at)
    assert "variance between the 30 levels of gen" in text(at)  # relatives get BLUPs as well
    fit(at)
    expected = reml.fit(JOHN, reml.load_sample("john_alpha"), relationship={"gen": reml.Pedigree(pedigree())})
    assert study(at).shown.fit.criterion == pytest.approx(expected.criterion, abs=1e-8)
    sound(goto(at, "results"))
    assert "related: gen by ped.csv" in text(at)


def test_markers_and_a_matrix_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    names = genotypes()
    markers = pd.DataFrame(rng.integers(0, 3, (len(names), 40)), columns=[f"m{j}" for j in range(40)])
    markers.insert(0, "gen", names)
    at = sound(uploaded(model(), "markers.csv", csv(markers)))
    assert "24 of 24 levels are in the markers." in text(at)
    sound(at.button(key="remove_relation_gen").click().run())
    assert study(at).specification.relations == ()
    k = pd.DataFrame(0.3 + 0.7 * np.eye(len(names)), columns=names)
    k.insert(0, "gen", names)
    at = sound(uploaded(at, "k.csv", csv(k)))
    assert "24 of 24 levels are in the relationship matrix." in text(at)


def test_levels_without_a_row_are_named_and_can_be_unrelated() -> None:
    at = sound(uploaded(model(), "ped.csv", csv(pedigree().iloc[2:])))
    assert at.error and "ped.csv: 2 levels of the data have no row in the relationship matrix: G01, G02." in text(at)
    assert study(at).specification.relations == ()
    sound(at.checkbox(key="relation_absent").check().run())
    assert "22 of 24 levels are in the pedigree" in text(at)
    assert "taken as unrelated" in text(at)


def test_a_table_that_holds_no_relationships_is_refused_in_words() -> None:
    table = pd.DataFrame({"gen": genotypes(), "colour": ["red"] * 24, "height": range(24)})
    at = sound(uploaded(model(), "odd.csv", csv(table)))
    assert len(at.error) == 1 and at.error[0].value.startswith("odd")
    assert "Traceback" not in text(at)


def test_relationships_wait_while_no_term_has_their_levels() -> None:
    at = sound(uploaded(model(), "ped.csv", csv(pedigree())))
    sound(at.text_area(key="model_text").set_value("yield ~ rep + (1 | rep:block)").run())
    assert "relationships wait" in text(at)
    assert not at.error
    fit(at)
    assert study(at).shown.specification.related == ()


def test_relationships_end_with_the_study() -> None:
    at = sound(uploaded(model(), "ped.csv", csv(pedigree())))
    goto(at, "data").button(key="open_sleepstudy").click().run()
    sound(goto(at, "model"))
    assert study(at).specification.relations == ()
