"""One look for every figure: what a colour means, the ground, the axes, notes, and the figure that says why it is empty.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers. Each carries one meaning in all figures. The ground
is transparent; ink and grid are greys that read on white (4.4 : 1) and on the dark ground (4.3 : 1) alike. What a host
page may want to recolour stands in the template; what a figure needs to be legible stands in its layout.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
VERMILLION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"

FIXED, RANDOM, RESIDUAL = BLUE, PURPLE, SKY
CONVERGED, BOUND, FAILED = GREEN, ORANGE, VERMILLION

INK = "#787D86"
FAINT = "rgba(128, 134, 145, 0.45)"
GRID = "rgba(128, 134, 145, 0.18)"
CLEAR = "rgba(0, 0, 0, 0)"

QUALITATIVE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, "#999999")
DIVERGING = ((0.0, "#08507F"), (0.25, "#5BA3CF"), (0.5, "#D9DBDE"), (0.75, "#EB9A5B"), (1.0, "#A84300"))
SEQUENTIAL = ((0.0, "#E3EEF5"), (0.25, "#A9CFE6"), (0.5, "#5BA3CF"), (0.75, "#1F75AE"), (1.0, "#053B61"))

FONT = '"Source Sans 3", "Source Sans Pro", "Segoe UI", "Helvetica Neue", Arial, sans-serif'

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,  # plotly's own default offers to upload the chart, data and all
    "responsive": True,
    "toImageButtonOptions": {"format": "svg", "filename": "openreml-figure"},
    "modeBarButtonsToRemove": ["autoScale2d", "zoomIn2d", "zoomOut2d"],
}

BAR_HEIGHT = 30

_AXIS: dict[str, Any] = dict(
    gridcolor=GRID,
    linecolor=FAINT,
    tickcolor=FAINT,
    zerolinecolor=FAINT,
    tickfont=dict(color=INK, size=12),
    title=dict(font=dict(color=INK, size=13)),
)

TEMPLATE = go.layout.Template(
    layout=dict(
        font=dict(family=FONT, size=13, color=INK),
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        colorway=list(QUALITATIVE),
        title=dict(font=dict(size=15, color=INK)),
        legend=dict(font=dict(color=INK, size=12), bgcolor=CLEAR),
        hoverlabel=dict(
            align="left", bgcolor="#22262E", bordercolor="#22262E", font=dict(color="#F4F5F7", family=FONT, size=13)
        ),
        xaxis=_AXIS,
        yaxis=_AXIS,
        coloraxis=dict(colorbar=dict(outlinewidth=0)),
    )
)


def config(name: str = "openreml-figure", *, image: str = "svg") -> dict[str, Any]:
    """Give plotly's display options with the file name and the image format of the download button.

    Parameters
    ----------
    name : str
        File name, without its ending.
    image : {"svg", "png"}
        Format; a PNG is written at twice the size on screen.
    """
    options: dict[str, Any] = {"format": image, "filename": name}
    return {**CONFIG, "toImageButtonOptions": options | ({"scale": 2} if image == "png" else {})}


def apply(fig: go.Figure, *, height: int, title: str | None = None, legend: bool = False) -> go.Figure:
    """Dress a figure: template, height, margins, thin axes.

    Parameters
    ----------
    fig : Figure
        Changed in place and returned.
    height : int
        Pixels. The width is the page's.
    title : str, optional
        A heading inside the figure; pages have their own, so most figures carry none.
    legend : bool
        Whether to show the legend, in a line above the plot.
    """
    fig.update_layout(
        template=TEMPLATE,
        height=height + (30 if title else 0),
        margin=dict(l=12, r=16, t=(44 if title else 16) + (26 if legend else 0), b=12, pad=2),
        showlegend=legend,
        legend=dict(orientation="h", x=0, xanchor="left", y=1, yanchor="bottom", title_text=""),
        bargap=0.05,
        hovermode="closest",
        dragmode="zoom",
        separators=".",  # no mark between thousands: ticks stay as they are written elsewhere
    )
    if title:
        heading = dict(
            text=title, x=0, xanchor="left", xref="paper", y=1, yanchor="top", yref="container", pad=dict(t=12)
        )
        fig.update_layout(title=heading)
    axis = dict(automargin=True, zeroline=False, showline=False, ticks="", title_standoff=10, exponentformat="e")
    fig.update_xaxes(axis)
    fig.update_yaxes(axis)
    fig.update_annotations(font_size=13)
    return fig


def note(fig: go.Figure, text: str) -> go.Figure:
    """Write a small line above the plot, at its right: what was left out, and why. A second note follows the first."""
    earlier = next((a for a in fig.layout.annotations if a.name == "note"), None)
    before = earlier.text.count("<br>") + 1 if earlier else 0
    words = wrap(text, 54)
    if earlier:
        earlier.text += "<br>" + "<br>".join(words)
    else:
        fig.add_annotation(
            text="<br>".join(words), name="note", xref="paper", yref="paper", x=1, y=1, xanchor="right", yanchor="bottom",
            yshift=fig.layout.margin.t - (40 if fig.layout.title.text else 12), showarrow=False, align="right",
            font=dict(size=12),
        )  # fmt: skip
    grown, height = 16 * len(words) + (0 if before else 6), fig.layout.height
    for heat in fig.select_traces(selector=dict(type="heatmap", colorbar_yref="container")):
        heat.colorbar.y = 1 - ((1 - heat.colorbar.y) * height + grown) / (height + grown)
    fig.update_layout(margin_t=fig.layout.margin.t + grown, height=fig.layout.height + grown)
    return fig


def message(text: str, *, height: int = 180) -> go.Figure:
    """Make a figure without data that says, calmly, why there is nothing to draw."""
    fig = apply(go.Figure(), height=height)
    fig.update_xaxes(visible=False, range=[0, 1])
    fig.update_yaxes(visible=False, range=[0, 1])
    fig.add_annotation(
        text="<br>".join(wrap(text, 46)), name="message", xref="paper", yref="paper", x=0.5, y=0.5,
        showarrow=False, align="center", font=dict(size=14),
    )  # fmt: skip
    return fig


def colour_bar(fig: go.Figure, words: str) -> go.Figure:
    """Lay the heat map's colour bar flat above the plot, its words beside it, and make room for it."""
    fig.update_layout(margin_t=fig.layout.margin.t + BAR_HEIGHT, height=fig.layout.height + BAR_HEIGHT)
    bar = dict(
        orientation="h", x=0, xanchor="left", xpad=0, yref="container", yanchor="top", ypad=0, lenmode="pixels", len=180,
        y=1 - (44 if fig.layout.title.text else 10) / fig.layout.height, thickness=10, outlinewidth=0, nticks=5,
        tickfont_size=12, title=dict(text=words, side="right", font_size=12),
    )  # fmt: skip
    return fig.update_traces(colorbar=bar, selector=dict(type="heatmap"))


def tint(colour: str, alpha: float) -> str:
    """Give a ``#rrggbb`` colour as rgba with the opacity ``alpha``."""
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r}, {g}, {b}, {alpha:g})"
