from collections.abc import Callable

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.figures._images import to_rgb
from brain2pix.figures.pictures import reconstruction_figure
from brain2pix.figures.stimulation import quadrant_figure, stimulation_figure

Draw = Callable[[Figure], np.ndarray]
Words = Callable[[Figure], list[str]]


def plain(color: tuple[float, float, float], n: int, size: int = 16) -> np.ndarray:
    return np.broadcast_to(np.array(color, dtype=np.float32), (n, size, size, 3)).copy()


def near(image: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    return np.abs(image - np.array(color)).max(axis=-1) < 0.1


def test_pictures_take_one_form(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels / 255).permute(0, 3, 1, 2)
    for form in (pixels, pixels / 255, tensor):
        assert (to_rgb(form) == pixels).all()
    assert to_rgb(np.full((1, 2, 2, 3), 1.7)).max() == 255
    with pytest.raises(ShapeError, match=r"expected RGB images of shape .* got \(2, 8, 8\)"):
        to_rgb(pixels[..., 0])


def test_reconstructions_stand_beneath_their_stimuli(drawn: Draw, written: Words, colliding: Words) -> None:
    red, blue = plain((0.9, 0.1, 0.1), 23), plain((0.1, 0.1, 0.9), 23)
    figure = reconstruction_figure(
        {"stimulus": red, "gaziv": torch.from_numpy(blue).permute(0, 3, 1, 2)},
        scores=np.linspace(0, 1, 23),
        labels=[f"crop_{k}" for k in range(23)],
        caption="simulated subject",
    )
    image = drawn(figure)
    reds, blues = near(image, (0.9, 0.1, 0.1)), near(image, (0.1, 0.1, 0.9))
    assert reds.sum() == pytest.approx(blues.sum(), rel=0.02)
    assert np.nonzero(reds)[0].min() < np.nonzero(blues)[0].min()
    runs = np.diff(np.flatnonzero(np.diff(reds.any(axis=1).astype(int))))
    assert len(runs) == 5  # three bands: 10, 10 and 3 pictures
    text = written(figure)
    assert {"stimulus", "gaziv", "crop_22", "1.00", "simulated subject"} <= set(text)
    assert text.count("gaziv") == 3
    assert not colliding(figure)


def test_picture_rows_must_match() -> None:
    with pytest.raises(ShapeError, match=r"same number of pictures.*'a': 3, 'b': 2"):
        reconstruction_figure({"a": plain((0, 0, 0), 3), "b": plain((0, 0, 0), 2)})
    with pytest.raises(ShapeError, match="'scores': 4"):
        reconstruction_figure({"a": plain((0, 0, 0), 3)}, scores=[1, 2, 3, 4])
    with pytest.raises(ConfigError, match="at least one row with at least one picture"):
        reconstruction_figure({})


def test_change_is_drawn_where_the_picture_changed(drawn: Draw, written: Words, colliding: Words) -> None:
    before = plain((0.5, 0.5, 0.5), 2, 32)
    after = before.copy()
    after[0, :16, 16:] = (1.0, 0.5, 0.5)  # upper right: rows at the top, columns to the right
    after[1, 16:, :16] = (0.5, 0.5, 1.0)  # lower left
    figure = stimulation_figure(
        before, after, ["upper right, +2 SD", "lower left, +2 SD"],
        quadrants=["upper_right", "lower_left"], shares=[1.0, float("nan")],
        badges=["like measured responses (farther than 40% of held-out trials)", "out of distribution: 2 x the distance that 95% keep"],
    )  # fmt: skip
    image = drawn(figure)
    for line, (top, right) in enumerate([(True, True), (False, False)]):
        box = figure.axes[3 * line + 2].get_window_extent()
        panel = image[image.shape[0] - int(box.y1) : image.shape[0] - int(box.y0), int(box.x0) : int(box.x1)]
        dark = panel.max(axis=-1) < 0.2
        h, w = dark.shape
        rows = slice(4, h // 2 - 4) if top else slice(h // 2 + 4, h - 4)
        columns = slice(w // 2 + 4, w - 4) if right else slice(4, w // 2 - 4)
        assert dark[rows, columns].mean() > 0.9
        assert dark.sum() < 1.35 * dark[rows, columns].size
    text = written(figure)
    assert {"before", "after", "change", "squared RGB change"} <= set(text)
    assert any("100% of the change inside" in part for part in text)
    assert sum("of the change inside" in part for part in text) == 1
    assert any("prediction of a model, not of a brain" in part for part in text)
    assert not colliding(figure)


def test_stimulation_parts_must_match() -> None:
    one, two = plain((0, 0, 0), 1), plain((0, 0, 0), 2)
    with pytest.raises(ShapeError, match="2 stimulations need as many after, got 1"):
        stimulation_figure(two, one, ["a", "b"])
    with pytest.raises(ShapeError, match="2 stimulations need as many labels, got 1"):
        stimulation_figure(two, two, ["a"])
    with pytest.raises(ConfigError, match="unknown quadrant 'up'"):
        stimulation_figure(one, one, ["a"], quadrants=["up"])


def test_no_change_draws_no_change(drawn: Draw) -> None:
    same = plain((0.5, 0.5, 0.5), 1)
    figure = stimulation_figure(same, same, ["nothing"])
    box = figure.axes[2].get_window_extent()
    image = drawn(figure)
    panel = image[image.shape[0] - int(box.y1) + 4 : image.shape[0] - int(box.y0) - 4, int(box.x0) + 4 : int(box.x1) - 4]
    assert (panel == 1).all()


def test_quadrant_shares_show_chance_and_means(written: Words, colliding: Words) -> None:
    shares = {"gaziv": {"upper_right": [0.8, 0.9], "lower_left": [0.7, float("nan")]}, "random voxels": {"upper_right": [0.2, 0.3]}}
    figure = quadrant_figure(shares, caption="simulated subject")
    assert {"0.80", "0.25", "chance", "gaziv", "random voxels", "share inside the quadrant"} <= set(written(figure))
    assert not colliding(figure)
