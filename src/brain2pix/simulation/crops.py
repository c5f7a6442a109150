"""Square crops, resized to the stimulus, and the colour jitter of training images."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from brain2pix.errors import ComputeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Box = tuple[float, float, float]  # left, top, side [px]

MAX_IOU = 0.2
MIN_STD = 0.12
CROP_SHARE = (0.32, 0.62)  # side of a test crop, of the photo's shorter side


def crop(picture: "NDArray[np.uint8]", box: Box, size: int) -> "NDArray[np.uint8]":
    """Cut a square and resize it, averaging where it shrinks.

    Parameters
    ----------
    picture : uint8 array, [h w 3]
    box : left, top, side [px]
    size : int, edge of the result [px]

    Returns
    -------
    uint8 array, [size size 3]
    """
    left, top, side = box
    method = Image.Resampling.HAMMING if side >= size else Image.Resampling.BICUBIC
    # the reducing gap averages blocks first: four times faster on large crops, and the same to within a grey level
    resized = Image.fromarray(picture).resize((size, size), method, box=(left, top, left + side, top + side), reducing_gap=2.0)
    return np.asarray(resized)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two squares."""
    return float(_overlaps(np.array([a]), b)[0])


def centre_box(picture: "NDArray[np.uint8]") -> Box:
    """Give the largest centred square."""
    height, width = picture.shape[:2]
    side = min(height, width)
    return (width - side) / 2, (height - side) / 2, float(side)


def spread_boxes(picture: "NDArray[np.uint8]", n: int, rng: np.random.Generator, max_iou: float = MAX_IOU) -> list[Box]:
    """Choose crops that overlap little and are not flat: the centred square first, then random ones.

    The rocket before the night sky has no ten crops with a deviation above `MIN_STD`: there the floor falls, step by step.

    Parameters
    ----------
    picture : uint8 array, [h w 3]
    n : int
    rng : Generator
    max_iou : float, any two have a smaller intersection over union

    Returns
    -------
    list of `n` boxes

    Raises
    ------
    ComputeError
        If the picture has no room for so many.
    """
    first = centre_box(picture)
    boxes = _random_boxes(picture, CROP_SHARE, 6000, rng)
    boxes = boxes[_overlaps(boxes, first) < max_iou]
    spread = _spreads(picture, boxes)
    for floor in (MIN_STD, 0.11, 0.10, 0.09, 0.08):
        varied = boxes[spread > floor]
        for _ in range(60):  # a random packing can jam: then try another order
            chosen = _pack(varied[rng.permutation(len(varied))], n - 1, max_iou)
            if len(chosen) == n - 1:
                return [first, *chosen]
    raise ComputeError(
        f"a photo of {picture.shape[1]} x {picture.shape[0]} px has no {n} crops that overlap less than {max_iou}; ask for fewer"
    )


def _pack(boxes: "NDArray[np.float64]", n: int, max_iou: float) -> list[Box]:
    """Take boxes in their order, each that overlaps little with those taken, until there are `n`."""
    chosen: list[Box] = []
    while len(boxes) and len(chosen) < n:
        chosen.append((float(boxes[0, 0]), float(boxes[0, 1]), float(boxes[0, 2])))
        boxes = boxes[1:][_overlaps(boxes[1:], chosen[-1]) < max_iou]
    return chosen


def random_crop(
    picture: "NDArray[np.uint8]", size: int, rng: np.random.Generator, *, share: tuple[float, float] = (0.25, 1.0)
) -> "NDArray[np.uint8]":
    """Cut a random square that is not almost flat (after some tries, whatever came).

    Parameters
    ----------
    picture : uint8 array, [h w 3]
    size : int, edge of the result [px]
    rng : Generator
    share : two floats, range of the side, of the shorter side
    """
    shorter = min(picture.shape[:2])
    lowest = min(max(share[0], 0.75 * size / shorter), share[1])  # a crop far smaller than the stimulus is only blur
    cut = crop(picture, _random_box(picture, (lowest, share[1]), rng), size)
    for _ in range(4):
        if cut[::4, ::4].std() > 12:
            break
        cut = crop(picture, _random_box(picture, (lowest, share[1]), rng), size)
    return cut


def jitter(images: "NDArray[np.uint8]", grey: "NDArray[np.bool_]", rng: np.random.Generator) -> "NDArray[np.uint8]":
    """Vary colours and mirror images: all get other gains, coloured ones sometimes other channels.

    Grey photos stay nearly grey: in natural scenes the three channels go together, and a system that never saw white or grey would paint
    them in colour.

    Parameters
    ----------
    images : uint8 array, [n h w 3]
    grey : bool array, [n]
    rng : Generator

    Returns
    -------
    uint8 array, [n h w 3]
    """
    n = len(images)
    gain = np.exp(rng.normal(0, 0.12, (n, 3)) + rng.normal(0, 0.15, (n, 1)))
    contrast = rng.uniform(0.75, 1.2, (n, 1))
    shuffled = rng.random(n) < 0.3
    orders = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)
    orders[~shuffled | grey] = (0, 1, 2)
    mirrored = rng.random(n) < 0.5
    # one affine map per channel: out = offset + slope * in
    slope = (gain * contrast).astype(np.float32)
    offset = (255 * 0.42 * gain * (1 - contrast)).astype(np.float32)
    result = np.empty_like(images)
    for i in range(n):
        source = images[i, :, ::-1] if mirrored[i] else images[i]
        values = np.arange(256, dtype=np.float32)
        for channel in range(3):
            table = np.clip(values * slope[i, channel] + offset[i, channel] + 0.5, 0, 255).astype(np.uint8)
            result[i, ..., channel] = table[source[..., orders[i, channel]]]
    return result


def colours_from_hsv(hue: "NDArray[np.float64]", saturation: "NDArray[np.float64]", value: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """RGB in 0..1, [... 3], of hue, saturation and value in 0..1."""
    k = (np.array([5.0, 3.0, 1.0]) + 6 * np.asarray(hue)[..., None]) % 6
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    colours: NDArray[np.float64] = np.asarray(value)[..., None] * (1 - np.asarray(saturation)[..., None] * ramp)
    return colours


def pick(names: "Sequence[str]", weights: "Sequence[float]", n: int, rng: np.random.Generator) -> list[str]:
    """Draw `n` names with replacement, with probabilities proportional to their weights."""
    share = np.asarray(weights, dtype=np.float64)
    return [names[i] for i in rng.choice(len(names), size=n, p=share / share.sum())]


def _random_box(picture: "NDArray[np.uint8]", share: tuple[float, float], rng: np.random.Generator) -> Box:
    left, top, side = _random_boxes(picture, share, 1, rng)[0]
    return float(left), float(top), float(side)


def _random_boxes(picture: "NDArray[np.uint8]", share: tuple[float, float], n: int, rng: np.random.Generator) -> "NDArray[np.float64]":
    height, width = picture.shape[:2]
    side = rng.uniform(*share, n) * min(height, width)
    return np.stack([rng.random(n) * (width - side), rng.random(n) * (height - side), side], axis=1)


def _overlaps(boxes: "NDArray[np.float64]", other: Box) -> "NDArray[np.float64]":
    left, top, side = boxes.T
    width = np.minimum(left + side, other[0] + other[2]) - np.maximum(left, other[0])
    height = np.minimum(top + side, other[1] + other[2]) - np.maximum(top, other[1])
    common = np.clip(width, 0, None) * np.clip(height, 0, None)
    shared: NDArray[np.float64] = common / (side**2 + other[2] ** 2 - common)
    return shared


def _spreads(picture: "NDArray[np.uint8]", boxes: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Measure the standard deviation over pixels and channels of each box, in 0..1, from tables of cumulative sums."""
    values = picture.astype(np.float64) / 255
    sums, squares = (np.pad(part.sum(axis=2).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0))) for part in (values, values**2))
    left, top, side = boxes.astype(np.int64).T
    right, bottom = left + side, top + side

    def total(table: "NDArray[np.float64]") -> "NDArray[np.float64]":
        inside: NDArray[np.float64] = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        return inside

    count = 3.0 * side**2
    variance: NDArray[np.float64] = total(squares) / count - (total(sums) / count) ** 2
    return np.sqrt(np.clip(variance, 0, None))
