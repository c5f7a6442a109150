"""Score reconstructions one by one: what the window shows beside each of them."""

import math
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.image_scores import SCORES, ImageScores, Mean, fingerprint
from brain2pix.errors import ShapeError
from brain2pix.evaluation.identification import mean_rank
from brain2pix.evaluation.metrics import low_resolution, pixel_correlation, pixel_r, structural
from brain2pix.evaluation.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_BLOCK = 512  # images compared with as many others at once: thousands of pictures must not be held as float64


def score_images(
    reconstructions: "NDArray[np.uint8]",
    images: "NDArray[np.uint8]",
    stimulus_ids: "Sequence[str]",
    groups: "ArrayLike",
    pictured: "NDArray[np.bool_] | None" = None,
) -> ImageScores:
    """Score each reconstruction against its own image, and its own image against all others.

    Parameters
    ----------
    reconstructions, images : uint8 arrays, [m h w 3]
    stimulus_ids : sequence of str, [m]
    groups : int array, [m], images of one number come from one photo
    pictured : bool array, [m], or None: stimuli that have a picture; the others have no scores and are no rivals. None: all have

    Returns
    -------
    ImageScores

    Raises
    ------
    ShapeError
        If the numbers or sizes of pictures differ.
    """
    if reconstructions.shape != images.shape or len(images) != len(stimulus_ids):
        raise ShapeError(
            f"scores need as many images as reconstructions, of one size, each with a name: got reconstructions "
            f"{reconstructions.shape}, images {images.shape} and {len(stimulus_ids)} names"
        )
    there = np.ones(len(images), dtype=bool) if pictured is None else pictured
    values = {name: np.full(len(images), np.nan) for name in ("pixel_r", "ssim", "ssim_flat", "beaten")}
    for name, scored in _scored(reconstructions[there], images[there]).items():
        values[name][there] = scored
    labels = np.asarray(groups, dtype=np.int64)
    means = {name: _mean(values[name], labels) for name in SCORES}
    return ImageScores(list(stimulus_ids), values, means, len(np.unique(labels[there])), fingerprint(reconstructions))


def _scored(reconstructions: "NDArray[np.uint8]", images: "NDArray[np.uint8]") -> "dict[str, NDArray[np.float64]]":
    return {
        "pixel_r": pixel_r(reconstructions, images),
        "ssim": structural(reconstructions, images),
        "ssim_flat": structural(low_resolution(images, 1), images),
        "beaten": 1 - mean_rank(_similarity(reconstructions, images)) if len(images) > 1 else np.full(len(images), np.nan),
    }


def _similarity(reconstructions: "NDArray[np.uint8]", images: "NDArray[np.uint8]") -> "NDArray[np.float64]":
    """Pixel correlation of each reconstruction with each image, [m m]."""
    starts = range(0, len(images), _BLOCK)
    return np.block([[pixel_correlation(reconstructions[a : a + _BLOCK], images[b : b + _BLOCK]) for b in starts] for a in starts])


def _mean(values: "NDArray[np.float64]", groups: "NDArray[np.int64]") -> Mean:
    found = bootstrap_interval(values, groups)
    low, high = (bound if math.isfinite(bound) else None for bound in (found.low, found.high))
    return Mean(found.mean, low, high)
