"""Figures for one and for two columns of a journal's page: as wide as asked, and every word inside and legible."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from brain2pix.arrays import RetinotopicMap
from brain2pix.evaluation.report import ScoreLine
from brain2pix.figures.maps import coverage_figure
from brain2pix.figures.pictures import reconstruction_figure
from brain2pix.figures.scores import SCORES, encoder_figure, score_figure
from brain2pix.figures.stimulation import one_stimulation_figure

Words = Callable[[Figure], list[str]]
COLUMNS = (89 / 25.4, 183 / 25.4)
CAPTION = "1,338 of 1,350 mapped voxels   ·   certainty of the centre, 1 / (1 + (spread / deg)^2) ≥ 0.1   ·   simulated subject"


def check(figure: Figure, width: float, colliding: Words) -> None:
    assert figure.get_figwidth() == pytest.approx(width)
    assert figure.get_figheight() * 25.4 < 297, "no page is longer"
    assert not colliding(figure)
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()) >= 6


@pytest.mark.parametrize("width", COLUMNS)
def test_scores(width: float, colliding: Words) -> None:
    rows = ("full", "supervised", "images", "inductive", "ridge_pairs", "ridge_unpaired", "shuffled")
    names = dict.fromkeys(rows, "ridge on encoded unpaired images")
    lines = [
        ScoreLine("", row, score, 0.5 if score == "ssim" else 84.9, "" if score == "ssim" else "%", 0.4, 0.6, 0.3, 50)
        for row in rows
        for score in SCORES
    ]
    check(score_figure(lines, titles=names, width=width, caption=CAPTION), width, colliding)


@pytest.mark.parametrize("width", COLUMNS)
@pytest.mark.parametrize("n_areas", [1, 8])
def test_prediction_beside_the_ceiling(width: float, n_areas: int, colliding: Words, rng: np.random.Generator) -> None:
    r, names = rng.uniform(0, 0.8, 400), ("V1", "V2", "V3", "hV4", "LOC", "FFA", "PPA", "EBA")
    areas = {name: np.arange(400) % n_areas == number for number, name in enumerate(names[:n_areas])}
    check(encoder_figure(r, np.minimum(r + 0.1, 1), areas, width=width, caption=CAPTION), width, colliding)


@pytest.mark.parametrize("width", COLUMNS)
def test_pictures(width: float, colliding: Words, rng: np.random.Generator) -> None:
    pictures = rng.integers(0, 256, (13, 16, 16, 3), dtype=np.uint8)
    columns = 5 if width < 5 else 10
    figure = reconstruction_figure(
        {"stimulus": pictures, "retino": pictures},
        columns=columns,
        scores=np.linspace(-1, 1, 13),
        labels=[f"test-{number:04}" for number in range(13)],
        width=width,
        caption=CAPTION,
    )
    check(figure, width, colliding)


@pytest.mark.parametrize("width", COLUMNS)
@pytest.mark.parametrize("whole", [True, False])
def test_one_stimulation(width: float, whole: bool, colliding: Words, drawn: Callable[[Figure], np.ndarray]) -> None:
    before, after = np.zeros((1, 16, 16, 3), dtype=np.uint8), np.zeros((1, 16, 16, 3), dtype=np.uint8)
    after[:, :8, 8:] = (0, 255, 0)
    centres = np.array([[3.0, 3.0], [-3.0, -3.0], [np.nan, np.nan]])
    chosen = np.array([True, False, True])
    figure = one_stimulation_figure(
        before,
        after,
        stimulus=before if whole else None,
        centres_deg=centres if whole else None,
        chosen=chosen if whole else None,
        width=width,
        caption=CAPTION,
    )
    check(figure, width, colliding)
    words = [text.get_text() for text in figure.findobj(Text)]
    assert any("prediction of a model, not of a brain" in word for word in words)
    assert ("2 voxels" in words) is whole and ("stimulus" in words) is whole
    green = np.abs(drawn(figure) - np.array([0, 1, 0])).max(axis=-1) < 0.05
    assert green.any(), "the stimulated picture is there"


@pytest.mark.parametrize("width", COLUMNS)
def test_coverage(width: float, colliding: Words, rng: np.random.Generator) -> None:
    x, y = rng.uniform(-5, 5, (2, 60)).astype(np.float32)
    found = RetinotopicMap(x, y, np.ones_like(x), np.ones_like(x), 12.0)
    areas = {name: np.arange(60) % 3 == number for number, name in enumerate(("V1", "V2", "V3"))}
    check(coverage_figure(found, areas, width=width, caption=CAPTION), width, colliding)
