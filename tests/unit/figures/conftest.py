"""What the figures of this folder are judged by: their pixels and where their words stand."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def pixels(figure: Figure) -> np.ndarray:
    """Draw a figure, [h w 3] in 0..1, row 0 at the top."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def words(figure: Figure) -> list[str]:
    """All texts of a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def collisions(figure: Figure) -> list[str]:
    """Texts that overlap each other or leave the page."""
    figure.canvas.draw()
    boxes = [
        (text.get_text(), text.get_window_extent().padded(-1.0))
        for text in figure.findobj(Text)
        if (text.get_visible() and text.get_text().strip() and text.axes is not None) or text in figure.texts
    ]
    boxes = [(text, box) for text, box in boxes if text.strip()]
    page = figure.bbox.padded(1.0)
    found = [
        f"{text!r} leaves the page"
        for text, box in boxes
        if not (page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1)
    ]
    for index, (text, box) in enumerate(boxes):
        found += [f"{text!r} on {other!r}" for other, beside in boxes[index + 1 :] if box.overlaps(beside)]
    return found


@pytest.fixture
def drawn() -> Callable[[Figure], np.ndarray]:
    """Pixels of a figure."""
    return pixels


@pytest.fixture
def colliding() -> Callable[[Figure], list[str]]:
    """Texts that overlap or leave the page."""
    return collisions


@pytest.fixture
def written() -> Callable[[Figure], list[str]]:
    """All texts of a figure."""
    return words
