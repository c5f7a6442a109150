"""Fit a round Gaussian to the peak of each map, through the very blur and pixels that the map went through.

Counting the area above half maximum and taking the blur off afterwards goes wrong where it matters: small fields are a handful of pixels,
and at the edge of the image both the field and the blur are cut. A model that is blurred and cut the same way has neither error.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SIGMA_PX = 0.35  # a narrower Gaussian is one pixel, whatever its width
_ROUNDS = 40
_CHUNK = 64  # maps that are fitted together, and stop together
_SETTLED = 1e-4  # a map is done when its squared error falls by no more than this share
_OUTSIDE = 0.25  # how far beyond the image a centre may lie [share of its edge]


@dataclass(frozen=True)
class GaussianFit:
    """Gaussians fitted to maps, without the blur.

    Parameters
    ----------
    column, row, sigma : float64 arrays, [v], pixels from the centre of the first; NaN where a map is empty
    """

    column: "NDArray[np.float64]"
    row: "NDArray[np.float64]"
    sigma: "NDArray[np.float64]"


def fit_gaussians(smooth: "NDArray[np.float32]", islands: "NDArray[np.bool_]", blur_px: float) -> GaussianFit:
    """Fit amplitude, centre and sigma of one Gaussian per map by damped least squares.

    Parameters
    ----------
    smooth : float32 array, [v h h], blurred with zeros beyond the image (`maps.smooth_maps`)
    islands : bool array, [v h h], the pixels around each peak that hang together above half of it; they and their neighbours are fitted
    blur_px : float, sigma of the blur [px]
    """
    size = smooth.shape[-1]
    blur = ndimage.gaussian_filter1d(np.eye(size), blur_px, axis=0, mode="constant") if blur_px else np.eye(size)
    parts = [_fit(smooth[k : k + _CHUNK], islands[k : k + _CHUNK], blur, blur_px) for k in range(0, len(smooth), _CHUNK)]
    state = np.concatenate([np.empty((0, 4)), *parts])
    state[~islands.any(axis=(1, 2))] = np.nan
    return GaussianFit(state[:, 1], state[:, 2], np.exp(state[:, 3]))


def _fit(smooth: "NDArray[np.float32]", islands: "NDArray[np.bool_]", blur: "NDArray[np.float64]", blur_px: float) -> "NDArray[np.float64]":
    """Amplitude, column, row and log sigma of some maps, [v 4]."""
    pixels = _Pixels.around(smooth, islands)
    state = _start(islands, blur_px)
    error = pixels.squared_error(_model(state, pixels, blur)[0])
    damping = np.full(len(smooth), 1e-2)
    for _ in range(_ROUNDS):
        step = _solve(*pixels.normal_equations(*_model(state, pixels, blur)), damping)
        proposal = _bounded(state + step, len(blur))
        new_error = pixels.squared_error(_model(proposal, pixels, blur)[0])
        better = new_error < error  # false for NaN
        settled = np.where(better, error - new_error <= _SETTLED * error, damping > 1)
        state = np.where(better[:, None], proposal, state)
        error = np.where(better, new_error, error)
        damping = np.clip(np.where(better, damping / 5, damping * 6), 1e-9, 1e9)
        if settled.all():
            break
    return state


@dataclass(frozen=True)
class _Pixels:
    """The pixels that are fitted, one map after the other; [k] each."""

    voxel: "NDArray[np.int64]"
    row: "NDArray[np.int64]"
    column: "NDArray[np.int64]"
    value: "NDArray[np.float64]"
    n_voxels: int

    @classmethod
    def around(cls, smooth: "NDArray[np.float32]", islands: "NDArray[np.bool_]") -> "_Pixels":
        """Take the islands and the ring of pixels around them, which tells where a small one ends."""
        grown = ndimage.binary_dilation(islands, structure=np.ones((1, 3, 3), dtype=bool))
        voxel, row, column = np.nonzero(grown)
        return cls(voxel, row, column, smooth[grown].astype(np.float64), len(smooth))

    def squared_error(self, model: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Sum of squared residuals of each map, [v]."""
        return self._sum((model - self.value) ** 2)

    def normal_equations(
        self, model: "NDArray[np.float64]", slopes: "list[NDArray[np.float64]]"
    ) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """Curvature [v 4 4] and downhill direction [v 4] of the squared error."""
        residual = self.value - model
        curvature = np.empty((self.n_voxels, len(slopes), len(slopes)))
        for i, first in enumerate(slopes):
            for j, second in enumerate(slopes[: i + 1]):
                curvature[:, i, j] = curvature[:, j, i] = self._sum(first * second)
        return curvature, np.stack([self._sum(slope * residual) for slope in slopes], axis=-1)

    def _sum(self, values: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return np.bincount(self.voxel, weights=values, minlength=self.n_voxels).astype(np.float64)


def _start(islands: "NDArray[np.bool_]", blur_px: float) -> "NDArray[np.float64]":
    """Amplitude, column, row and log sigma from the island's middle and area; a Gaussian's is 2 pi ln 2 sigma^2. [v 4]."""
    area = np.maximum(islands.sum(axis=(1, 2)), 1)
    grid = np.arange(islands.shape[-1])
    column, row = islands.sum(axis=1) @ grid / area, islands.sum(axis=2) @ grid / area
    variance = np.maximum(area / (2 * np.pi * np.log(2)) - blur_px**2, max(0.5, blur_px**2 / 4))  # an island may be cut by the edge
    amplitude = (variance + blur_px**2) / variance  # so that the blurred peak is 1
    return np.stack([amplitude, column, row, np.log(variance) / 2], axis=-1)


def _model(
    state: "NDArray[np.float64]", pixels: _Pixels, blur: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], list[NDArray[np.float64]]]":
    """Blurred Gaussian at the fitted pixels, [k], a product of two profiles, and its slopes by amplitude, column, row, log sigma."""
    amplitude, column, row, log_sigma = state.T
    across, across_place, across_width = (part[pixels.voxel, pixels.column] for part in _profile(column, log_sigma, blur))
    down, down_place, down_width = (part[pixels.voxel, pixels.row] for part in _profile(row, log_sigma, blur))
    height = amplitude[pixels.voxel]
    slopes = [
        across * down,
        height * across_place * down,
        height * across * down_place,
        height * (across_width * down + across * down_width),
    ]
    return height * slopes[0], slopes


def _profile(
    centre: "NDArray[np.float64]", log_sigma: "NDArray[np.float64]", blur: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], ...]":
    """One-dimensional Gaussian on the pixels of the image, blurred, and its slopes by centre and log sigma; [v h] each."""
    sigma = np.exp(log_sigma)[:, None]
    away = (np.arange(len(blur)) - centre[:, None]) / sigma
    bump = np.exp(-0.5 * away**2)
    return bump @ blur.T, (bump * away / sigma) @ blur.T, (bump * away**2) @ blur.T


def _solve(curvature: "NDArray[np.float64]", downhill: "NDArray[np.float64]", damping: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """One damped Gauss-Newton step (Levenberg and Marquardt), [v 4]."""
    diagonal = np.einsum("vii->vi", curvature)
    weight = damping[:, None] * diagonal + 1e-9  # the constant keeps what a handful of pixels cannot determine where it is
    damped = curvature + np.eye(diagonal.shape[1]) * weight[:, :, None]
    step: NDArray[np.float64] = np.linalg.solve(damped, downhill[:, :, None])[:, :, 0]
    return step


def _bounded(state: "NDArray[np.float64]", size: int) -> "NDArray[np.float64]":
    """Keep centres near the image and sizes between a fraction of a pixel and half the image."""
    low, high = -_OUTSIDE * size, (1 + _OUTSIDE) * size - 1
    limits = np.array([[1e-3, 1e4], [low, high], [low, high], [np.log(MIN_SIGMA_PX), np.log(size / 2)]])
    return np.clip(state, limits[:, 0], limits[:, 1])
