"""The little that Streamlit's theme cannot say: less empty space above, columns that stack on narrow screens."""

from __future__ import annotations

import streamlit as st

CSS = """
<style>
[data-testid="stMainBlockContainer"] { padding: 2.6rem 2.4rem 4rem; max-width: 1280px; }
[data-testid="stMainBlockContainer"] h1 { font-size: 2rem; padding-bottom: 0.2rem; }
.katex-display { overflow-x: auto; overflow-y: hidden; padding: 0.2rem 0; }
.katex { font-size: 1.02em; }
@media (max-width: 1050px) {
  [data-testid="stMainBlockContainer"] { padding-left: 1.2rem; padding-right: 1.2rem; }
  [class*="st-key-sides"] [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  [class*="st-key-sides"] [data-testid="stColumn"] { min-width: 100%; }
  [class*="st-key-sides"] [data-testid="stColumn"]:has([data-testid="stMetric"]):not(:has([data-testid="stColumn"])) {
    min-width: 22%;
  }
  [class*="st-key-sides"] [class*="st-key-random_row"] [data-testid="stColumn"],
  [class*="st-key-sides"] .st-key-residual_box [data-testid="stColumn"] { min-width: 40%; }
  [class*="st-key-sides"] [data-testid="stHorizontalBlock"]:has([class*="st-key-emblem"]):not(
    :has([data-testid="stHorizontalBlock"])) { flex-wrap: nowrap; }
  [class*="st-key-sides"] [data-testid="stColumn"]:has([class*="st-key-emblem"]):not(:has([data-testid="stColumn"])) {
    min-width: 112px; max-width: 112px;
  }
  [class*="st-key-sides"] [data-testid="stColumn"]:has([class*="st-key-emblem"]) + [data-testid="stColumn"]:not(
    :has([data-testid="stColumn"])) { min-width: 0; }
  [class*="st-key-sides"] [class*="st-key-beside"] [data-testid="stColumn"] { min-width: 44%; }
  .st-key-role_rows [data-testid="stColumn"]:nth-child(3),
  .st-key-role_rows [data-testid="stColumn"]:nth-child(6) { display: none; }
}
@media (max-width: 1050px) {
  [class*="st-key-wrapping"] [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  [class*="st-key-wrapping"] [data-testid="stColumn"] { min-width: 44%; }
  [class*="st-key-wrapping"] [data-testid="stColumn"]:has([data-testid="stButtonGroup"]) { min-width: 100%; }
  [class*="st-key-wrapping"] [class*="st-key-sides"] [data-testid="stColumn"] { min-width: 100%; }
}
@media print { [data-testid="stSidebar"], [data-testid="stHeader"] { display: none; } }
</style>
"""


def draw() -> None:
    """Put the style into the page."""
    st.html(CSS)
