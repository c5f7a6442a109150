import subprocess
import sys
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from brain2pix.errors import ConfigError
from brain2pix.evaluation import ScoreLine
from brain2pix.figures._style import add_caption, new_figure, place
from brain2pix.figures.scores import encoder_figure, score_figure

Words = Callable[[Figure], list[str]]


@pytest.fixture
def lines() -> list[ScoreLine]:
    made = []
    for row, value in (("full", 97.0), ("ridge_pairs", 60.0), ("shuffled", 8.0)):
        made.append(ScoreLine("identification", row, "pixel 10-way", value, "%", value - 5, min(value + 5, 100), 10.0, 50))
        made.append(ScoreLine("ssim", row, "ssim", value / 200, "", None, None, 0.36, 50))
    return made


def test_bars_are_as_long_as_their_scores(lines: list[ScoreLine], written: Words, colliding: Words) -> None:
    figure = score_figure(lines, titles={"full": "gaziv", "shuffled": "shuffled pairs"}, caption="50 images, simulated subject")
    pixel, ssim = figure.axes
    assert [bar.get_width() for bar in pixel.patches] == [97, 60, 8]
    assert [bar.get_width() for bar in ssim.patches] == [0.485, 0.3, 0.04]
    chance = [line.get_xdata()[0] for line in pixel.lines if line.get_linestyle() == "--"]  # type: ignore[index]
    assert chance == [10.0]
    assert {"gaziv", "ridge_pairs", "shuffled pairs", "97.0", "0.485"} <= set(written(figure))
    assert not colliding(figure)


def test_references_stand_below_the_systems(lines: list[ScoreLine], written: Words, colliding: Words) -> None:
    small = [
        ScoreLine("identification", f"true image at {size} x {size} px", "pixel 10-way", value, "%", value - 4, value)
        for size, value in ((4, 87.0), (6, 100.0))
    ]
    figure = score_figure(lines, references=small, caption="simulated subject")
    pixel, ssim = figure.axes
    assert [bar.get_width() for bar in pixel.patches] == [97, 60, 8, 87, 100]
    assert len(ssim.patches) == 3
    heights = [bar.get_y() for bar in pixel.patches]
    assert heights == sorted(heights)
    assert heights[3] - heights[2] > heights[2] - heights[1]  # a gap before them
    assert [bar.get_facecolor() == (1.0, 1.0, 1.0, 1.0) for bar in pixel.patches] == [False, False, False, True, True]
    assert {"true image at 4 x 4 px", "true image at 6 x 6 px", "87.0"} <= set(written(figure))
    assert not colliding(figure)


def test_scores_that_nobody_has_are_left_out_or_refused(lines: list[ScoreLine]) -> None:
    assert len(score_figure(lines, scores=("pixel 10-way", "pixel 50-way")).axes) == 1
    with pytest.raises(ConfigError, match=r"none of the scores pixel 50-way is in the lines; there are \['pixel 10-way', 'ssim'\]"):
        score_figure(lines, scores=("pixel 50-way",))


def test_encoder_shows_voxels_below_their_ceiling(rng: np.random.Generator, written: Words, colliding: Words) -> None:
    ceiling = rng.uniform(0.5, 0.95, 300)
    r = ceiling * rng.uniform(0.5, 0.9, 300)
    r[:3] = np.nan
    areas = {"V1": np.arange(300) < 100, "V2": np.arange(300) >= 100, "few": np.arange(300) < 5}
    figure = encoder_figure(r, ceiling, areas, caption="simulated subject")
    assert {"noise ceiling [r]", "encoder [r]", "V1\n97", "V2\n200", "few\n2"} <= set(written(figure))
    assert not colliding(figure)
    assert len(encoder_figure(r, None, areas).axes) == 1
    medians = [line.get_ydata()[0] for line in figure.axes[1].lines if line.get_linewidth() == 2.0]  # type: ignore[index]
    assert medians == pytest.approx([np.nanmedian(r[:100]), np.median(r[100:])])


def test_long_captions_take_more_lines_and_move_nothing(colliding: Words) -> None:
    figure = new_figure(3.0, 2.0)
    axes = place(figure, 0.5, 0.5, 2.0, 1.0)
    before = axes.get_window_extent().frozen()
    add_caption(figure, "   ·   ".join(["part number one", "another part", "a third part of the caption", "simulated subject"]), "Title")
    after = axes.get_window_extent()
    assert figure.get_figheight() > 2.0
    assert (after.width, after.height) == pytest.approx((before.width, before.height))
    assert after.y0 - before.y0 == pytest.approx((figure.get_figheight() - 2.0) * figure.dpi)
    lines = figure.texts[-1].get_text().splitlines()
    assert len(lines) >= 2
    assert not any(line.strip().startswith("·") for line in lines)
    assert not colliding(figure)


def test_pyplot_and_the_users_settings_are_left_alone(lines: list[ScoreLine]) -> None:
    before = dict(mpl.rcParams)
    score_figure(lines)
    assert dict(mpl.rcParams) == before
    code = (
        "import sys, brain2pix.figures.maps, brain2pix.figures.pictures, brain2pix.figures.scores, brain2pix.figures.stimulation;"
        "brain2pix.figures.maps.legend_figure('angle').savefig('/dev/null', format='png'); print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
