"""Fitted covariance matrices: heat maps, loadings, residual correlation by lag or by distance."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.session import FittedModel, put, seed, value
from app.widgets import parts
from openreml_core import ModelError, figures
from openreml_core.inference import FittedMatrices

#: Effects, or places of a residual, up to which the matrix itself is drawn.
MOST = 150


def names(shown: FittedModel) -> list[str]:
    """The terms and parts of the residual that have a matrix to show; none of a covariance that was built by hand."""
    try:
        matrices = shown.fit.matrices
    except ModelError:
        return []
    return [name for name in (*matrices.random, *matrices.residual) if matrices.size(name) > 1]


def draw(shown: FittedModel) -> None:
    """One matrix at a time, as covariances or correlations."""
    offered = names(shown)
    if value("matrix_term") not in offered:
        put("matrix_term", offered[0])
    matrices = shown.fit.matrices
    left, right = st.columns([2, 1.4], vertical_alignment="bottom")
    name = left.selectbox(
        "Matrix of", offered, key="matrix_term", format_func=lambda n: parts.part_name(n, matrices.residual),
        help="Terms with several effects, and residuals with a structure.",
    )  # fmt: skip
    lags, curve = matrices.by_lag(name, most=7), matrices.by_distance(name)
    if lags is not None:
        _lags(matrices, name, lags)
    elif curve is not None:
        _curve(matrices, name, curve)
    elif matrices.size(name) <= MOST:
        scale = right.segmented_control(
            "Shown as", ["correlation", "covariance"], key=seed("matrix_scale", "correlation"), format_func=str.capitalize,
            help="Correlations tell what goes together; covariances hold the variances on their diagonal.",
        )  # fmt: skip
        _matrix(matrices, name, scale == "covariance")
    else:
        st.caption(f"Its {matrices.size(name):,} places are too many to draw; the variance components say it all.")
    _loadings(matrices, name)


def _matrix(matrices: FittedMatrices, name: str, covariance: bool) -> None:
    matrix = matrices.covariance(name, correlation=not covariance)
    parts.figure(
        figures.matrix_heatmap(matrix, height=420, digits=4 if covariance else 2), "matrix_map", f"matrix-{name}"
    )
    if not covariance and matrix.isna().to_numpy().any():
        st.caption("Gaps: effects whose variance is estimated as zero have no correlation.")
    parts.download(matrix.rename_axis("effect").reset_index(), "matrix_csv", f"matrix-{name}")


def _lags(matrices: FittedMatrices, name: str, lags: pd.DataFrame) -> None:
    """Correlation by lags, at most seven each way."""
    rows, columns = f"Lag in {lags.index.name}", f"Lag in {lags.columns.name}"
    parts.figure(figures.matrix_heatmap(lags, rows=rows, columns=columns, digits=2), "matrix_lags", f"lags-{name}")
    st.caption(f"Correlation of two {_what(matrices, name)} that lie so many steps apart.{_nugget(matrices, name)}")
    parts.download(lags.rename_axis(rows).reset_index(), "matrix_csv", f"lags-{name}")


def _curve(matrices: FittedMatrices, name: str, curve: pd.DataFrame) -> None:
    parts.figure(figures.distance_curve(curve), "matrix_curve", f"distance-{name}")
    words = f"Correlation of two {_what(matrices, name)} by their distance, in the units of the positions."
    st.caption(words + _nugget(matrices, name))
    parts.download(curve, "matrix_csv", f"distance-{name}")


def _what(matrices: FittedMatrices, name: str) -> str:
    return "residuals" if name in matrices.residual else "effects"


def _nugget(matrices: FittedMatrices, name: str) -> str:
    section = name.partition("[")[2]
    beside = [r for r in matrices.residual if r.startswith("units") and r.partition("[")[2] == section]
    return " The error of each row (nugget) is not in it." if beside else ""


def _loadings(matrices: FittedMatrices, name: str) -> None:
    """Loadings of a factor-analytic term."""
    table = matrices.loadings(name)
    if table is None:
        return
    factors = [c for c in table.columns if str(c).startswith("factor")]
    st.markdown("**Loadings**", help="How strongly each effect follows the hidden factors.")
    if len(factors) > 1:
        turned = st.segmented_control(
            "Axes", ["principal", "estimated"], key=seed("matrix_axes", "principal"), format_func=str.capitalize,
            help="Principal: turned so that the first factor explains most. Estimated: with zeros above the diagonal, as "
            "the search has them. The covariances are the same.",
        )  # fmt: skip
        table = matrices.loadings(name, rotated=turned != "estimated")
        assert table is not None
    shown = pd.DataFrame({"Effect": figures.effect_labels(table.index)})
    for factor in factors:
        shown[str(factor).capitalize()] = table[factor].to_numpy()
    shown["Specific variance"] = table["specific_variance"].to_numpy()
    shown["Variance"] = table["variance"].to_numpy()
    shown["Explained"] = table["percent"].to_numpy()
    share = st.column_config.ProgressColumn(
        "Explained", format="%.0f %%", min_value=0, max_value=100, help="Part of the variance that the factors explain."
    )
    parts.table(shown, "loadings", f"loadings-{name}", columns={"Explained": share}, height=420)
