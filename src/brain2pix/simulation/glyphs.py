"""Faces, words and digits: stimuli made from small pictures and fonts that ship inside installed packages."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from brain2pix.simulation.backdrop import backdrop, grid, to_uint8
from brain2pix.simulation.crops import colours_from_hsv

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The 100 faces of scikit-image's subset of "Labeled Faces in the Wild" carry no names and some people appear more than once. The test
# faces are people who look like nobody else in the set (told apart by eye); faces that resemble one of them are left out.
FACES_TEST = (12, 16, 17, 25, 46, 47, 50, 52, 64, 80, 83)
FACES_LEFT_OUT = (22, 23, 24, 26, 57, 72)
FACES_TRAIN = tuple(face for face in range(100) if face not in FACES_TEST + FACES_LEFT_OUT)

N_DIGITS_TRAIN = 1400  # of 1,797

WORDS_TRAIN = (
    "apple bread chair dance earth field glass house ink jolly king lemon music night ocean paper queen river stone table under "
    "voice water young zebra cloud green light sugar train"
).split()
WORDS_TEST = "amber brick coral dream flame grape honey ivory maple pearl spice tiger".split()
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmtt10",
)


def face(index: int, size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Place a face before a soft background, in skin-like tones.

    Parameters
    ----------
    index : int, 0..99, row of the subset
    size : int, edge [px]
    rng : Generator

    Returns
    -------
    uint8 array, [size size 3]
    """
    width = int(size * rng.uniform(0.7, 1.05))
    grey = np.asarray(Image.fromarray(_faces()[index]).resize((width, width), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    tone = rng.uniform(0.6, 1)
    bright = np.array([1.0, 0.86, 0.74]) * (0.8 + 0.2 * tone)
    dark = np.array([0.10, 0.06, 0.05]) + rng.uniform(0, 0.05)
    picture = (dark + grey[..., None] * (bright - dark)).astype(np.float32)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    x, y = grid(width)
    oval = np.sqrt((x / 0.86) ** 2 + (y / 1.02) ** 2)
    cover = np.asarray(np.clip((1.02 - oval) / 0.16, 0, 1), dtype=np.float32)[..., None]
    return to_uint8(_pasted(backdrop(size, rng), picture, cover, rng))


def word(text: str, size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Write a word, slightly turned, on paper or on a screen.

    Parameters
    ----------
    text : str
    size : int, edge [px]
    rng : Generator

    Returns
    -------
    uint8 array, [size size 3]
    """
    if rng.random() < 0.3:
        text = text.upper()
    mask = _written(text, FONTS[rng.integers(len(FONTS))], 4 * size, rng.uniform(0.72, 0.94), rng.normal(0, 6))
    return _inked(mask, size, rng)


def digit_rows(value: int, part: str) -> "NDArray[np.int64]":
    """List the rows of scikit-learn's digits that show a value; no row serves both "train" and "test"."""
    rows = np.flatnonzero(_digits()[1] == value)
    chosen: NDArray[np.int64] = rows[rows < N_DIGITS_TRAIN] if part == "train" else rows[rows >= N_DIGITS_TRAIN]
    return chosen


def digit(row: int, size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Enlarge a handwritten digit and ink it.

    Parameters
    ----------
    row : int, of scikit-learn's set, see `digit_rows`
    size : int, edge [px]
    rng : Generator

    Returns
    -------
    uint8 array, [size size 3]
    """
    small = Image.fromarray(np.pad(_digits()[0][row] * (255 / 16), 1).astype(np.uint8))  # padded: some strokes touch the edge
    inner = int(4 * size * rng.uniform(0.7, 0.95))
    big = small.resize((inner, inner), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (4 * size, 4 * size))
    left, top = (int(edge) for edge in (4 * size - inner) * rng.uniform(0.3, 0.7, 2))
    canvas.paste(big, (left, top))
    canvas = canvas.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    smooth = np.asarray(canvas, dtype=np.float32) / 255
    # a steep ramp turns the blurred 8 x 8 pixels into a stroke with an edge
    return _inked(np.clip((smooth - 0.35) * 6, 0, 1), size, rng)


def _inked(mask: "NDArray[np.float32]", size: int, rng: np.random.Generator) -> "NDArray[np.uint8]":
    factor = mask.shape[0] // size
    cover = mask.reshape(size, factor, size, factor).mean(axis=(1, 3))[..., None]
    on_dark = rng.random() < 0.3
    paper = backdrop(size, rng, (0.02, 0.3) if on_dark else (0.65, 1.0))
    ink = colours_from_hsv(
        np.asarray(rng.random()), np.asarray(rng.uniform(0, 0.8)), np.asarray(rng.uniform(0.75, 1) if on_dark else rng.uniform(0, 0.35))
    )
    return to_uint8((paper + cover * (ink.astype(np.float32) - paper)).astype(np.float32))


def _written(text: str, font: str, size: int, share: float, turn_deg: float) -> "NDArray[np.float32]":
    """White text on black, [size size], `share` of the width wide."""
    path = _font_folder() / f"{font}.ttf"
    trial = ImageFont.truetype(str(path), 100)
    left, top, right, bottom = trial.getbbox(text)
    points = 100 * min(share * size / max(right - left, 1), 0.6 * size / max(bottom - top, 1))
    face_font = ImageFont.truetype(str(path), max(int(points), 4))
    canvas = Image.new("L", (size, size))
    ImageDraw.Draw(canvas).text((size / 2, size / 2), text, fill=255, font=face_font, anchor="mm")
    return np.asarray(canvas.rotate(turn_deg, Image.Resampling.BILINEAR), dtype=np.float32) / np.float32(255)


def _pasted(
    background: "NDArray[np.float32]", picture: "NDArray[np.float32]", cover: "NDArray[np.float32]", rng: np.random.Generator
) -> "NDArray[np.float32]":
    """Lay a square picture over a square background near its middle, cut where it reaches over the edge."""
    size, width = len(background), len(picture)
    slack = abs(size - width)
    shift = (rng.uniform(0.2, 0.8, 2) * slack).astype(int)
    if width > size:
        inside = (slice(shift[0], shift[0] + size), slice(shift[1], shift[1] + size))
        picture, cover, shift, width = picture[inside], cover[inside], np.zeros(2, int), size
    result = background.copy()
    patch = result[shift[0] : shift[0] + width, shift[1] : shift[1] + width]
    patch += cover * (picture - patch)
    return result


@lru_cache(maxsize=1)
def _faces() -> "NDArray[np.uint8]":
    from skimage.data import lfw_subset

    pixels: NDArray[np.uint8] = (np.asarray(lfw_subset())[:100] * 255).astype(np.uint8)
    return pixels


@lru_cache(maxsize=1)
def _digits() -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.asarray(bunch.images), np.asarray(bunch.target)


@lru_cache(maxsize=1)
def _font_folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
