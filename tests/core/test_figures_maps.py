"""Field maps, matrices and the small pictures of columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openreml_core as reml
from openreml_core.figures import (
    column_bars,
    column_histogram,
    design_map,
    distance_curve,
    field_map,
    matrix_heatmap,
    matrix_thumbnail,
    theme,
)
from openreml_core.figures.grid import lay_out
from openreml_core.figures.plan import level_colours


def said(fig) -> str:
    return " ".join(a.text for a in fig.layout.annotations).replace("<br>", " ")


def test_field_map_puts_row_one_on_top_and_leaves_gaps() -> None:
    fig = field_map([1, 1, 3, 3], [1, 2, 1, 2], [1.0, -2.0, np.nan, 0.5])
    heat = fig.data[0]
    expected = [[1.0, -2.0], [np.nan, np.nan], [np.nan, 0.5]]  # no plot in row 2, none measured at row 3, column 1
    np.testing.assert_array_equal(np.array(heat.z, dtype=float), expected)
    assert fig.layout.yaxis.range[0] > fig.layout.yaxis.range[1]
    assert list(fig.layout.yaxis.ticktext) == ["1", "2", "3"]
    assert (heat.zmin, heat.zmax) == (-2, 2) and heat.colorscale[0][1] == theme.DIVERGING[0][1]
    assert heat.hovertext[0][1] == "Row 1, Column 2<br>Residual \u22122"


def test_field_map_keeps_the_plots_proportions() -> None:
    fig = field_map([1, 1, 2, 2], [1, 2, 1, 2], [1.0, 2, 3, 4], aspect=1.5)
    assert fig.layout.yaxis.scaleanchor == "x" and fig.layout.yaxis.scaleratio == 1.5


def test_a_long_field_lies_on_its_side_and_keeps_its_proportions() -> None:
    fig = field_map(np.arange(1, 73), np.ones(72), np.arange(72.0), aspect=2.0)
    assert np.shape(fig.data[0].z) == (1, 72) and fig.layout.yaxis.scaleratio == 0.5
    assert fig.layout.xaxis.title.text == "Row (Column 1)"
    assert "Row 5" in fig.data[0].hovertext[0][4]


def test_a_response_is_coloured_from_low_to_high() -> None:
    heat = field_map([1, 2], [1, 1], [10.0, 30.0], what="yield", diverging=False).data[0]
    assert (heat.zmin, heat.zmax) == (10, 30)


def test_plots_at_one_position_are_averaged_and_named() -> None:
    fig = field_map([1, 1, 1], [1, 1, 2], [1.0, 3.0, 5.0], labels=pd.Series(["a", "b", "c"]))
    assert np.array(fig.data[0].z).tolist() == [[2, 5]]
    assert "a, b" in fig.data[0].hovertext[0][0] and "1 position holds more than one plot" in said(fig)


@pytest.mark.parametrize(
    ("positions", "names"),
    [([1, 4, 2], (1, 2, 3, 4)), ([1000, 1, 2], (1, 2, 1000)), ([0.5, 2.5, 1.5], (0.5, 1.5, 2.5)), (["b", "a", "b"], ("a", "b")),
     (pd.Categorical(["10", "9", "11"]), (9, 10, 11))],
)  # fmt: skip
def test_positions_may_be_numbers_with_holes_fractions_or_names(positions, names) -> None:
    grid = lay_out(positions, np.ones(3))
    assert grid.rows == names
    assert [grid.rows[i] for i in grid.row] == [int(p) if isinstance(p, str) and p.isdigit() else p for p in positions]


@pytest.mark.parametrize("values", [[], [np.nan], [0.0], [3.0]])
def test_maps_of_nothing_or_one_plot(values) -> None:
    n = len(values)
    for fig in (field_map(np.ones(n), np.ones(n), values), field_map(np.ones(n), np.ones(n), values, diverging=False),
                field_map(np.full(n, np.nan), np.ones(n), values), design_map(np.ones(n), np.ones(n), ["a"] * n)):  # fmt: skip
        assert fig.data or said(fig)
        fig.to_json()


def test_design_map_of_few_levels_has_a_legend_in_their_colours() -> None:
    labels = pd.Series(pd.Categorical(["R2", "R1", "R3", None], categories=["R3", "R2", "R1"]))
    fig = design_map([1, 1, 2, 2], [1, 2, 1, 2], labels, name="rep")
    heat, *legend = fig.data
    assert [t.name for t in legend] == ["R3", "R2", "R1"]
    assert [t.marker.color for t in legend] == list(theme.QUALITATIVE[:3])
    np.testing.assert_array_equal(np.array(heat.z, dtype=float), [[1, 2], [0, np.nan]])
    assert heat.colorscale[2][1] == heat.colorscale[3][1] == theme.QUALITATIVE[1]
    assert "<b>R2</b> \u00b7 rep" in heat.hovertext[0][0]


def test_design_map_of_many_levels_writes_them_where_there_is_room() -> None:
    rows, cols = np.divmod(np.arange(24), 6)
    names = np.array([f"G{i:02d}" for i in range(24)])
    heat = design_map(rows + 1, cols + 1, names, name="gen").data[0]
    assert heat.text[0][:2] == ("G00", "G01") or list(heat.text[0][:2]) == ["G00", "G01"]
    crowded = design_map(*np.divmod(np.arange(400), 40), np.array([f"Line {i:03d}" for i in range(400)])).data[0]
    assert crowded.text is None
    assert len(set(level_colours(24))) == 24


def test_design_map_of_numbers_is_a_field_map() -> None:
    heat = design_map([1, 2], [1, 1], pd.Series([5.0, 7.0]), name="yield").data[0]
    assert (heat.zmin, heat.zmax) == (5, 7)


def test_the_field_of_a_fit_takes_columns_the_model_does_not_use() -> None:
    data = reml.load_sample("john_alpha")
    fit = reml.fit("yield ~ rep + (1 | gen) + (1 | rep:block)", data)
    heat = fit.plot.field(data["row"], data["col"]).data[0]
    values = np.array(heat.z, dtype=float)
    np.testing.assert_allclose(np.sort(values[np.isfinite(values)]), np.sort(fit.residuals()))
    assert "Residual" in heat.hovertext[0][0] and "<b>G" in heat.hovertext[0][0]
    assert fit.plot.field(data["row"], data["col"], "gen").data[0].z is not None
    assert np.nanmax(fit.plot.field(data["row"], data["col"], "fitted").data[0].z) == pytest.approx(fit.fitted().max())
    named = np.array(fit.plot.field("row", "col").data[0].z, dtype=float)
    np.testing.assert_allclose(named, values)
    with pytest.raises(reml.ModelError, match="nowhere"):
        fit.plot.field("nowhere", "col")


def test_matrix_is_about_zero_where_signs_differ_and_written_when_small() -> None:
    m = pd.DataFrame([[2.0, -1.0], [-1.0, 3e-17]], index=["(Intercept)", "x"], columns=["(Intercept)", "x"])
    heat = matrix_heatmap(m, "Covariance").data[0]
    assert (heat.zmin, heat.zmax) == (-2, 2) and list(heat.text[1]) == ["\u22121", "0"]
    assert list(matrix_heatmap(m).layout.xaxis.ticktext) == ["Intercept", "x"]
    assert matrix_heatmap(m.abs()).data[0].zmin == 0


def test_a_tall_matrix_is_thinned_with_a_note_and_an_empty_one_says_so() -> None:
    tall = pd.DataFrame(np.ones((300_000, 2)))
    fig = matrix_heatmap(tall)
    assert np.shape(fig.data[0].z) == (100_000, 2) and "of 300,000 rows" in said(fig)
    assert "nothing in this matrix" in said(matrix_heatmap(pd.DataFrame()))


def test_column_histogram_counts_the_rows_and_names_the_range() -> None:
    fig = column_histogram(pd.Series([1.0, 2, 2, 5, np.nan]))
    assert sum(fig.data[0].y) == 4 and list(fig.layout.xaxis.ticktext) == ["1", "5"]
    assert fig.layout.height < 120


def test_column_bars_follow_the_levels_order() -> None:
    column = pd.Series(pd.Categorical(["b", "a", "b", None], categories=["b", "a"]))
    fig = column_histogram(column)
    assert list(fig.data[0].y) == [2, 1] and list(fig.layout.xaxis.ticktext) == ["b", "a"]
    many = column_bars(pd.Series([f"L{i}" for i in range(500)] + ["L7"]))
    assert (
        len(many.data[0].y) == 30
        and many.data[0].y[0] == 2
        and "30 most frequent of 500" in many.layout.xaxis.ticktext[0]
    )


@pytest.mark.parametrize("column", [pd.Series([np.nan]), pd.Series([], dtype=float), pd.Series([None], dtype=object)])
def test_an_empty_column_says_so(column) -> None:
    assert said(column_histogram(column)) == "All missing."


def test_a_constant_a_truth_and_a_whole_number_column() -> None:
    assert list(column_histogram(pd.Series([3, 3])).layout.xaxis.ticktext) == ["3"]
    assert list(column_histogram(pd.Series([True, False, True])).data[0].y) == [1, 2]
    assert sum(column_histogram(pd.Series([1, None, 3], dtype="Int64")).data[0].y) == 2


def test_a_thumbnail_has_no_axes_and_names_its_cells() -> None:
    m = pd.DataFrame([[1.0, -0.5], [-0.5, 1.0]], index=["site[A]", "site[B]"], columns=["site[A]", "site[B]"])
    fig = matrix_thumbnail(m, size=100)
    heat = fig.data[0]
    assert fig.layout.height == 100 and not fig.layout.xaxis.visible and not heat.showscale
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert heat.hovertext[0][1] == "A, B<br>−0.50"
    assert "No matrix" in said(matrix_thumbnail(pd.DataFrame()))


def test_names_may_be_left_to_the_hover_box() -> None:
    m = pd.DataFrame(np.eye(20), index=[f"row {i}" for i in range(20)], columns=[f"row {i}" for i in range(20)])
    fig = matrix_heatmap(m, names=False, height=300)
    assert not fig.layout.xaxis.showticklabels and "<b>row 3</b>" in fig.data[0].hovertext[3][3]


def test_a_curve_of_correlation_by_distance() -> None:
    table = pd.DataFrame({"direction": 0, "distance": [0.0, 1.0], "correlation": [1.0, 0.37]})
    fig = distance_curve(table)
    assert list(fig.data[0].y) == [1.0, 0.37] and fig.data[0].hovertext[1] == "Distance 1<br>Correlation 0.370"
    both = pd.concat([table.assign(direction=1), table.assign(direction=2)])
    assert [t.name for t in distance_curve(both).data] == ["along coordinate 1", "along coordinate 2"]
    assert "no distances" in said(distance_curve(table.iloc[:0]))
