"""Diagnostics: do the residuals look as the model says they should?"""

from __future__ import annotations

import pandas as pd
import streamlit as st

import openreml_core as reml
from app.session import seed, study
from app.widgets import parts
from openreml_core import figures

found = study()
parts.head("Diagnostics", "Do the residuals look as the model says they should?")
shown = parts.need_fit(found)
fit = shown.fit
parts.model(shown.specification)
if fit.warnings:
    parts.notes(fit.warnings)
else:
    st.success("The search converged and no variance is on a bound.", icon=":material/check:")

with st.container(key="sides_diagnostics"):
    left, right = st.columns(2)
with left:
    st.markdown("**Fitted against residuals**", help="A cloud without shape is what the model expects.")
    parts.figure(fit.plot.residuals(), "diag_residuals", "residuals-fitted")
    st.markdown("**Histogram**", help="With the normal curve of the same mean and spread.")
    parts.figure(fit.plot.histogram(), "diag_histogram", "residuals-histogram")
with right:
    st.markdown("**Normal quantiles**", help="Points within the band are what normal residuals give 95 times in 100.")
    parts.figure(fit.plot.qq(), "diag_qq", "residuals-qq")
    st.markdown("**Observed against fitted**", help="The closer to the line, the more the model explains.")
    parts.figure(fit.plot.observed(), "diag_observed", "observed-fitted")

st.markdown("**Scale and location**", help="A rising line means that the spread grows with the mean.")
parts.figure(fit.plot.scale_location(), "diag_scale", "scale-location")

data = fit.data
factors = [str(c) for c in data.columns if not pd.api.types.is_float_dtype(data[c])]
if factors:
    by = st.selectbox(
        "Residuals by", factors, key=seed("diag_by", factors[0]), help="Boxes of equal height and spread are good."
    )
    if by in factors:
        parts.figure(fit.plot.residuals_by(by), "diag_groups", f"residuals-{by}")

if found.data is not None and shown.digest == found.data.digest:
    rows = [c for c, r in found.data.roles.items() if r == reml.Role.ROW]
    cols = [c for c, r in found.data.roles.items() if r == reml.Role.COLUMN]
    if rows and cols:
        st.markdown("**Field map of the residuals**", help="Patches of one colour are a trend that the model leaves.")
        where, left_over = found.data.table, fit.residuals().reindex(found.data.table.index)
        parts.figure(
            figures.field_map(where[rows[0]], where[cols[0]], left_over, title="Residual"), "diag_field", "residual-map"
        )
table = pd.DataFrame({"fitted": fit.fitted(), "residual": fit.residuals()})
parts.download(fit.data.assign(**table), "diag_csv", "residuals")
parts.next_step("compare", "Next: compare this fit with others")
