"""A field trial in a real browser: structure and residual chosen by clicking, fitted, and its matrices looked at."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml

pytestmark = pytest.mark.browser


def field() -> pd.DataFrame:
    """12 x 8 plots whose neighbours are alike, 24 entries four times each."""
    rng = np.random.default_rng(7)
    row, col = (v.ravel() for v in np.meshgrid(np.arange(1, 13), np.arange(1, 9), indexing="ij"))
    c = 0.7 ** np.abs(np.subtract.outer(row, row)) * 0.5 ** np.abs(np.subtract.outer(col, col))
    gen = np.arange(96)[rng.permutation(96)] % 24
    y = 60 + np.linalg.cholesky(9 * c) @ rng.standard_normal(96) + 2 * rng.standard_normal(24)[gen]
    return pd.DataFrame({"row": row, "col": col, "gen": [f"G{g:02d}" for g in gen], "yield": y.round(4)})


def test_rows_by_columns_by_clicking(visit: Any, tmp_path: Path) -> None:
    path = tmp_path / "field.csv"
    field().to_csv(path, index=False)
    visitor = visit()
    page = visitor.page
    visitor.upload(path)
    visitor.go("Model")
    visitor.type("model_text", "yield ~ 1 + (1 | gen)", "Control+Enter")
    page.get_by_text("One variance: the levels are independent draws").wait_for()

    # the residual: rows and columns are proposed, R and V are drawn before the fit
    visitor.choose("residual_kind", "rows and columns of a field")
    text_is(visitor, "residual_text", "ar1(row):ar1(col)")
    visitor.at("emblem_residual").locator(".main-svg").first.wait_for()
    visitor.at("preview_v").locator(".main-svg").first.wait_for()
    page.get_by_text("correlation ar1(row).rho of the residual").wait_for()

    # by typing, the menus in step; and back
    visitor.type("residual_text", "ar1(row):ar1(col) + id(units)", "Enter")
    nugget_is(visitor, True)
    visitor.type("residual_text", "ar1(row):ar1(col)", "Enter")
    nugget_is(visitor, False)

    visitor.press("fit_now")
    page.get_by_text("Converged in").first.wait_for()
    visitor.go("Results")
    visitor.at("matrix_lags").locator(".main-svg").first.wait_for()
    expected = reml.fit("yield ~ 1 + (1 | gen)", pd.read_csv(path), residual="ar1(row):ar1(col)")
    lags = pd.read_csv(io.BytesIO(visitor.download("matrix_csv")), encoding="utf-8-sig")
    rho = expected.parameters
    assert lags.loc[1, "0"] == pytest.approx(rho["residual.ar1(row).rho"], rel=1e-4)
    assert lags.loc[0, "1"] == pytest.approx(rho["residual.ar1(col).rho"], rel=1e-4)
    assert visitor.faults == []
    assert visitor.hosts == {"localhost"}


def test_a_structure_over_levels_by_clicking(visit: Any) -> None:
    visitor = visit()
    visitor.press("open_machines")
    visitor.go("Model")
    visitor.type("model_text", "score ~ Machine + (0 + Machine | Worker)", "Control+Enter")
    visitor.choose("model_random_0_structure", "Simple: compound symmetry (cs)")
    visitor.formula_is("score ~ Machine + cs(0 + Machine | Worker)")
    visitor.at("emblem_0").locator(".main-svg").first.wait_for()
    visitor.page.get_by_text("3 effects, 2 parameters").wait_for()
    visitor.press("fit_now")
    visitor.page.get_by_text("Converged in").first.wait_for()
    visitor.go("Results")
    visitor.at("matrix_map").locator(".main-svg").first.wait_for()
    assert visitor.faults == []


def text_is(visitor: Any, key: str, text: str) -> None:
    """Wait until a text field holds `text`."""
    visitor.page.wait_for_function(
        "([key, text]) => document.querySelector(`.st-key-${key} input`)?.value === text", arg=[key, text]
    )


def nugget_is(visitor: Any, checked: bool) -> None:
    """Wait until the box of the nugget is as it should be."""
    visitor.page.wait_for_function(
        "checked => document.querySelector('.st-key-residual_nugget input')?.checked === checked", arg=checked
    )
