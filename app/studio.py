"""The studio's entry: page settings, navigation, sidebar."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if str(ROOT.parent) not in sys.path:
    sys.path.insert(0, str(ROOT.parent))

import streamlit as st  # noqa: E402

from app.widgets import group_sidebar, sidebar, style  # noqa: E402

st.set_page_config(page_title="OpenREML Studio", page_icon=str(ROOT / "static" / "favicon.png"), layout="wide")
st.logo(str(ROOT / "static" / "logo.svg"), icon_image=str(ROOT / "static" / "favicon.png"), size="large")
pages = st.navigation(
    {
        "Study": [st.Page("app_pages/data.py", title="Data", icon=":material/table_chart:", default=True)],
        "Model": [
            st.Page("app_pages/model.py", title="Model", icon=":material/function:"),
            st.Page("app_pages/fit.py", title="Fit", icon=":material/monitoring:"),
        ],
        "Results": [
            st.Page("app_pages/results.py", title="Results", icon=":material/query_stats:"),
            st.Page("app_pages/means.py", title="Means & comparisons", icon=":material/format_list_numbered:"),
            st.Page("app_pages/diagnostics.py", title="Diagnostics", icon=":material/troubleshoot:"),
            st.Page("app_pages/compare.py", title="Compare fits", icon=":material/balance:"),
            st.Page("app_pages/predict.py", title="Predict", icon=":material/batch_prediction:"),
        ],
        "Hierarchical models": [
            st.Page("app_pages/hierarchical_trials.py", title="Trials", icon=":material/groups:"),
            st.Page("app_pages/hierarchical_fit.py", title="Group fit", icon=":material/monitoring:"),
            st.Page("app_pages/hierarchical_results.py", title="Group results", icon=":material/scatter_plot:"),
            st.Page("app_pages/hierarchical_compare.py", title="Model evidence", icon=":material/balance:"),
            st.Page("app_pages/hierarchical_recovery.py", title="Recovery", icon=":material/school:"),
        ],
    },
    expanded=True,
)
style.draw()
(group_sidebar if pages.url_path.startswith("hierarchical") else sidebar).draw()
pages.run()
