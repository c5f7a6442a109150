"""What repeats of the same image tell: the mean response, the noise around it, the signal-to-noise ratio."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RepeatStatistics:
    """Statistics over repeats, of `m` images.

    Parameters
    ----------
    mean : float32 array, [m v], average over the repeats of each image
    counts : int array, [m], repeats of each image
    noise_variance : float64 array, [v], variance over repeats (ddof 1), averaged over the images with repeats; NaN without any
    signal_variance : float64 array, [v], variance between images without what noise adds to it, not below 0; NaN without repeats
    """

    mean: "NDArray[np.float32]"
    counts: "NDArray[np.int64]"
    noise_variance: "NDArray[np.float64]"
    signal_variance: "NDArray[np.float64]"

    @property
    def snr(self) -> "NDArray[np.float64]":
        """Variance of the averages between images over the noise variance of single trials, [v]."""
        between = self.mean.astype(np.float64).var(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.noise_variance > 0, between / self.noise_variance, np.nan)


def repeat_statistics(values: "NDArray[np.floating]", image_index: "NDArray[np.integer]") -> RepeatStatistics:
    """Separate signal from noise with the repeats of images; images may differ in their number of repeats.

    Parameters
    ----------
    values : float array, [n v], single trials
    image_index : int array, [n], 0..m-1, which image each trial showed

    Raises
    ------
    ShapeError
        If there is not one image per trial, or an image without a trial.

    Notes
    -----
    The signal variance is that of the image means minus noise variance times mean(1 / repeats), the unbiased estimate for any number of
    images. Total minus noise variance, as often written, comes out low by a factor (m - 1) / m.
    """
    counts = check_repeats(values, image_index)
    precise = np.asarray(values, dtype=np.float64)
    means = sum_by_image(precise, image_index, len(counts)) / counts[:, None]
    squares = sum_by_image((precise - means[image_index]) ** 2, image_index, len(counts))
    repeated = counts > 1
    if not repeated.any():
        unknown = np.full(precise.shape[1], np.nan)
        return RepeatStatistics(means.astype(np.float32), counts, unknown, unknown)
    noise = (squares[repeated] / (counts[repeated] - 1)[:, None]).mean(axis=0)
    if len(counts) > 1:
        signal = np.maximum(means.var(axis=0, ddof=1) - noise * (1 / counts).mean(), 0)
    else:
        signal = np.full(precise.shape[1], np.nan)
    return RepeatStatistics(means.astype(np.float32), counts, noise, signal)


def snr_weights(values: "NDArray[np.floating]", image_index: "NDArray[np.integer]") -> "NDArray[np.float32]":
    """Weights of voxels in the response loss: the SNR divided by its mean over voxels.

    Made from test repeats they are transductive: whoever uses them says so.

    Parameters
    ----------
    values : float array, [n v], single trials
    image_index : int array, [n]

    Returns
    -------
    float32 array, [v], mean 1; all 1 if no image has repeats
    """
    snr = repeat_statistics(values, image_index).snr
    if not np.isfinite(snr).any():
        return np.ones(snr.size, dtype=np.float32)
    known = np.where(np.isfinite(snr), snr, 0)
    weights: NDArray[np.float32] = (known / max(known.mean(), np.finfo(np.float64).tiny)).astype(np.float32)
    return weights


def check_repeats(values: "NDArray[np.floating]", image_index: "NDArray[np.integer]") -> "NDArray[np.int64]":
    """Count the repeats of each image, [m].

    Raises
    ------
    ShapeError
    """
    if values.ndim != 2 or image_index.shape != (len(values),):
        raise ShapeError(f"expected values [n v] and one image index per trial, got {values.shape} and {image_index.shape}")
    counts = np.bincount(image_index)
    if not counts.size or not counts.all():
        absent = ", ".join(map(str, np.flatnonzero(counts == 0)[:5])) or "any"
        raise ShapeError(f"image_index must use each of 0..{max(len(counts) - 1, 0)}; no trial of image {absent}")
    return counts.astype(np.int64)


def sum_by_image(values: "NDArray[np.float64]", image_index: "NDArray[np.integer]", n_images: int) -> "NDArray[np.float64]":
    """Sum the trials of each image, [m v]."""
    order = np.argsort(image_index, kind="stable")
    starts = np.searchsorted(image_index[order], np.arange(n_images))
    return np.add.reduceat(values[order], starts, axis=0)
