"""What lies behind a word, a face or a thing, and the soft light on it."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from brain2pix.simulation.crops import colours_from_hsv

if TYPE_CHECKING:
    from numpy.typing import NDArray


def backdrop(size: int, rng: np.random.Generator, brightness: tuple[float, float] = (0.15, 0.9)) -> "NDArray[np.float32]":
    """Paint an out-of-focus background: two colours that blend, with soft blobs.

    Parameters
    ----------
    size : int, edge [px]
    rng : Generator
    brightness : two floats, range of the value of its colours

    Returns
    -------
    float32 array, [size size 3], 0..1
    """
    hue = rng.random()
    hues = np.array([hue, hue + rng.normal(0, 0.12)]) % 1
    first, second = colours_from_hsv(hues, rng.beta(1.5, 2.5, 2), rng.uniform(*brightness, 2))
    blobs = gaussian_filter(rng.standard_normal((size, size)), size * rng.uniform(0.06, 0.2), mode="reflect")
    axis = np.linspace(-1, 1, size)
    slope = rng.normal(0, 0.5) * axis[:, None] + rng.normal(0, 0.5) * axis[None, :]
    mix = 1 / (1 + np.exp(-(2 * slope + 1.2 * blobs / (blobs.std() + 1e-9))))
    return np.asarray(first + mix[..., None] * (second - first), dtype=np.float32)


def grid(size: int) -> tuple["NDArray[np.float32]", "NDArray[np.float32]"]:
    """Coordinates of pixel centres, x right and y up, -1..1, [1 size] and [size 1]."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    return axis[None, :], -axis[:, None]


def shrink(image: "NDArray[np.float32]", factor: int) -> "NDArray[np.float32]":
    """Average blocks of `factor` x `factor` pixels, [h w 3]."""
    height, width, channels = image.shape
    blocks: NDArray[np.float32] = image.reshape(height // factor, factor, width // factor, factor, channels).mean(axis=(1, 3))
    return blocks


def to_uint8(image: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """Round 0..1 to 0..255."""
    pixels: NDArray[np.uint8] = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels
