"""The style of all plots."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from stc.report.plot_style import COLUMN, label_sizes, name_subject, wrapped


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize(
    "text", ["one two three four", "a_name_that_is/very-long,without=spaces", "x" * 60, "教师" * 20]
)
def test_wrapped_text_fits_and_loses_nothing(text: str) -> None:
    lines = wrapped(text, inches=0.7, points=7).split("\n")
    figure = Figure(dpi=72)
    assert len(lines) > 1
    for line in lines:
        assert figure.text(0, 0, line, fontsize=7).get_window_extent().width <= 72 * 0.7 + 1
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("ratios", "said"), [((), ""), ((0.5,), "50"), ((0.25, 0.5), "25 and 50"), ((0.125, 0.25, 0.5), "12.5 to 50")]
)
def test_subject_says_how_many_layers_are_removed(ratios: tuple[float, ...], said: str) -> None:
    expected = f"a-model, German, {said}\N{NO-BREAK SPACE}% of layers removed" if said else "a-model, German"
    assert name_subject(["a-model", "a-model"], "German", ratios) == expected


def test_ticks_of_sizes_are_numbered_in_the_unit_of_the_label() -> None:
    figure = Figure(figsize=(COLUMN, 2))
    axes = figure.subplots()
    label_sizes(axes, [4e9, 16e9], is_shifted=False)
    figure.draw_without_rendering()
    assert axes.get_xlabel().endswith("(GB)")
    assert {"5", "10"} <= {text.get_text() for text in axes.get_xticklabels()}
