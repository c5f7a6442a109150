"""From a map per voxel to a receptive field per voxel: centre, size, and whether to believe it.

Source: Gaziv et al. 2022 (blur, power, centre of mass, discard what is not confined). The paper gives no threshold for "confined" and no
size; both are decided here: the root-mean-square distance from the centre, and the area at half maximum with the blur taken out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.prf import PRFSettings


@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields and how many were thrown away.

    Parameters
    ----------
    map : RetinotopicMap, centres and sizes are NaN where the field was discarded; the quality is kept
    confined : bool array, [v], what was kept
    spread : float32 array, [v], rms distance from the centre of the map that the centre is taken from [share of the image edge]
    """

    map: RetinotopicMap
    confined: "NDArray[np.bool_]"
    spread: "NDArray[np.float32]"

    @property
    def discarded(self) -> float:
        """Share of voxels without a believable field, 0..1."""
        return float(1 - self.confined.mean()) if self.confined.size else 0.0


def receptive_fields(
    maps: "NDArray[np.float32]",
    settings: "PRFSettings",
    field_of_view_deg: float,
    *,
    quality: "NDArray[np.float32] | None" = None,
    quality_name: str = "held-out r",
    source: str = "encoder gradients",
) -> ReceptiveFields:
    """Read centre, size and quality from one map per voxel.

    Parameters
    ----------
    maps : float32 array, [v h w], row 0 is the top; what `gradient_maps` gives
    settings : PRFSettings
    field_of_view_deg : float, width of the image [degrees]
    quality : float array, [v], e.g. the encoder's held-out r; None: how far the peak stands above the rest of its map
    quality_name : str, what `quality` measures
    source : str, where the maps come from

    Returns
    -------
    ReceptiveFields

    Raises
    ------
    ShapeError
        If the maps are not square or `quality` has another number of voxels.
    """
    size = _check_inputs(maps, quality)
    smooth = smooth_maps(maps, settings)
    islands, peak, background = half_maximum_islands(smooth)
    weights = smooth ** np.float32(settings.power)
    if settings.window == "half_maximum":
        weights = weights * islands
    column, row = centre_of_mass(weights)
    spread = rms_distance(weights, column, row) / size
    confined = np.isfinite(column) & (spread <= settings.max_spread)
    degrees_per_pixel = field_of_view_deg / size
    sigma = island_sigma(islands, settings, size)
    if quality is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            quality = np.where(peak > 0, peak / np.maximum(background, peak * 1e-6), 0.0)
        quality_name = "peak over background of the gradient map"
    hide = np.where(confined, np.float32(1), np.float32(np.nan))
    found = RetinotopicMap(
        x0_deg=(hide * (column - (size - 1) / 2) * degrees_per_pixel).astype(np.float32),
        y0_deg=(hide * ((size - 1) / 2 - row) * degrees_per_pixel).astype(np.float32),
        sigma_deg=(hide * sigma * degrees_per_pixel).astype(np.float32),
        quality=np.asarray(quality, dtype=np.float32),
        field_of_view_deg=field_of_view_deg,
        quality_name=quality_name,
        source=source,
    )
    return ReceptiveFields(found, confined, spread.astype(np.float32))


def smooth_maps(maps: "NDArray[np.float32]", settings: "PRFSettings") -> "NDArray[np.float32]":
    """Scale each map to a maximum of 1, optionally take away the median map over voxels, blur, scale again; [v h w]."""
    scaled = _to_unit_peak(maps.astype(np.float32))
    if settings.subtract_median:
        scaled = np.maximum(scaled - np.median(scaled, axis=0), 0)
    if settings.blur:
        blur_px = settings.blur * maps.shape[-1]
        scaled = ndimage.gaussian_filter(scaled, (0, blur_px, blur_px), mode="constant")
    return _to_unit_peak(scaled)


def centre_of_mass(weights: "NDArray[np.float32]") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Give the mean column and row of each map [v h w], in pixels from the centre of the first; NaN where a map is empty."""
    columns = np.arange(weights.shape[2])
    rows = np.arange(weights.shape[1])
    along_columns = weights.sum(axis=1, dtype=np.float64)
    along_rows = weights.sum(axis=2, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mass = along_rows.sum(axis=1)
        return along_columns @ columns / mass, along_rows @ rows / mass


def rms_distance(maps: "NDArray[np.float32]", column: "NDArray[np.float64]", row: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Give the root-mean-square distance of each map's mass [v h w] from a point [px]."""
    along_columns = maps.sum(axis=1, dtype=np.float64)
    along_rows = maps.sum(axis=2, dtype=np.float64)
    far_x = (np.arange(maps.shape[2]) - column[:, None]) ** 2
    far_y = (np.arange(maps.shape[1]) - row[:, None]) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        distance: NDArray[np.float64] = np.sqrt(
            ((along_columns * far_x).sum(axis=1) + (along_rows * far_y).sum(axis=1)) / along_rows.sum(axis=1)
        )
    return distance


def half_maximum_islands(
    smooth: "NDArray[np.float32]",
) -> "tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]":
    """Find the pixels above half of the peak that hang together with it.

    Parameters
    ----------
    smooth : float32 array, [v h w]

    Returns
    -------
    islands : bool array, [v h w]
    peak : float32 array, [v]
    background : float32 array, [v], mean of the map outside its island
    """
    flat = smooth.reshape(len(smooth), -1)
    top = flat.argmax(axis=1)
    peak = flat[np.arange(len(flat)), top]
    islands = np.zeros(smooth.shape, dtype=np.bool_)
    for voxel, position in enumerate(top):
        if peak[voxel] > 0:
            labels, _ = ndimage.label(smooth[voxel] > peak[voxel] / 2)
            islands[voxel] = labels == labels.flat[position]
    outside = ~islands
    background = (smooth * outside).sum(axis=(1, 2)) / np.maximum(outside.sum(axis=(1, 2)), 1)
    return islands, peak, background.astype(np.float32)


def island_sigma(islands: "NDArray[np.bool_]", settings: "PRFSettings", size: int) -> "NDArray[np.float64]":
    """Turn the area at half maximum into the sigma of a Gaussian field [px], without the blur; at least half a pixel.

    A Gaussian is above half its peak on a disc of area 2 pi ln 2 sigma^2. Squaring a gradient halves its variance.
    """
    variance = islands.sum(axis=(1, 2)) / (2 * np.pi * np.log(2)) - (settings.blur * size) ** 2
    if settings.gradient == "squared":
        variance = 2 * variance
    sigma: NDArray[np.float64] = np.sqrt(np.maximum(variance, 0.25))
    return sigma


def _to_unit_peak(maps: "NDArray[np.float32]") -> "NDArray[np.float32]":
    peak = maps.max(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float32] = np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)
    return scaled


def _check_inputs(maps: "NDArray[np.float32]", quality: "NDArray[np.float32] | None") -> int:
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise ShapeError(f"receptive fields are read from square maps [v h w], got shape {maps.shape}")
    if quality is not None and quality.shape != maps.shape[:1]:
        raise ShapeError(f"{maps.shape[0]} maps need one quality each, got shape {quality.shape}")
    return int(maps.shape[1])
