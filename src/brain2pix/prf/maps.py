"""From a map per voxel to a receptive field per voxel: centre, size, and whether to believe it.

Source: Gaziv et al. 2022 (blur, power, centre of mass, discard what is not confined). The paper gives no threshold for "confined" and no
size; both are decided here: the root-mean-square distance from the centre, and a Gaussian fitted through the blur. A model that has
receptive fields as parameters may be asked for its own instead, or for the mean of both.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import NotSupportedError, ShapeError
from brain2pix.prf.gaussian import GaussianFit, fit_gaussians

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.prf import PRFSettings

FLAT_SPREAD = 1 / np.sqrt(6)  # rms distance of a flat square map from its middle [share of its edge]


@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields, how many were thrown away, and what they were read from.

    Parameters
    ----------
    map : RetinotopicMap, centres and sizes are NaN where the field was discarded; the quality is kept
    confined : bool array, [v], what was kept
    spread : float32 array, [v], rms distance from the centre of the map that the centre is taken from [share of the image edge]
    used : dict, for "centre", "size" and "quality" the option that was followed: "gradient" where a model has no fields of its own
    """

    map: RetinotopicMap
    confined: "NDArray[np.bool_]"
    spread: "NDArray[np.float32]"
    used: dict[str, str] = field(default_factory=dict)

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
    model: RetinotopicMap | None = None,
) -> ReceptiveFields:
    """Read centre, size and quality from one map per voxel, from the model's own fields, or from both.

    Parameters
    ----------
    maps : float32 array, [v h w], row 0 is the top; what `gradient_maps` or `change_maps` gives
    settings : PRFSettings
    field_of_view_deg : float, width of the image [degrees]
    quality : float array, [v], the encoder's held-out r; None if there is none
    quality_name : str, what `quality` measures
    source : str, where the maps come from
    model : RetinotopicMap or None, [v], what the system itself says (`Method.receptive_fields`)

    Returns
    -------
    ReceptiveFields

    Raises
    ------
    ShapeError
        If the maps are not square, or `quality` or `model` has another number of voxels.
    NotSupportedError
        If the centres are to be the model's own alone and it has none.
    """
    _check_inputs(maps, quality, model)
    check_centre(settings, model)
    of_maps = _read_maps(maps, settings, field_of_view_deg)
    x0, y0, confined, centre_from = _centres(of_maps, settings, model)
    sigma, size_from = _sizes(of_maps, settings, model)
    ranked, ranked_name, quality_from = _quality(of_maps, settings, quality, quality_name, model)
    hide = np.where(confined, np.float32(1), np.float32(np.nan))
    own = model.source if model is not None and model.source else "the model's own fields"
    found = RetinotopicMap(
        x0_deg=(hide * x0).astype(np.float32),
        y0_deg=(hide * y0).astype(np.float32),
        sigma_deg=(hide * sigma).astype(np.float32),
        quality=np.asarray(ranked, dtype=np.float32),
        field_of_view_deg=field_of_view_deg,
        quality_name=ranked_name,
        source=_describe(source, own, centre_from, size_from),
    )
    return ReceptiveFields(
        found, confined, of_maps.spread.astype(np.float32), {"centre": centre_from, "size": size_from, "quality": quality_from}
    )


def check_centre(settings: "PRFSettings", model: RetinotopicMap | None) -> None:
    """Refuse to take centres from a model that has none; asked before the maps are computed."""
    if settings.centre == "model" and model is None:
        raise NotSupportedError("this system has no receptive fields of its own; set centre='gradient', or 'mean', which then is the same")


@dataclass(frozen=True)
class _OfMaps:
    """What the maps alone say, [v] each; degrees."""

    x0_deg: "NDArray[np.float64]"
    y0_deg: "NDArray[np.float64]"
    sigma_deg: "NDArray[np.float64]"
    spread: "NDArray[np.float64]"
    confined: "NDArray[np.bool_]"
    contrast: "NDArray[np.float64]"


def _read_maps(maps: "NDArray[np.float32]", settings: "PRFSettings", field_of_view_deg: float) -> _OfMaps:
    size = maps.shape[1]
    degrees_per_pixel = field_of_view_deg / size
    smooth = smooth_maps(maps, settings)
    islands, peak, background = half_maximum_islands(smooth)
    weights = smooth ** np.float32(settings.power)
    if settings.window == "half_maximum":
        weights = weights * islands
    column, row = centre_of_mass(weights)
    spread = rms_distance(weights, column, row) / size
    fit = fit_gaussians(smooth, islands, settings.blur * size)
    if settings.estimator == "gaussian":
        column, row = (np.clip(part, -0.5, size - 0.5) for part in (fit.column, fit.row))  # a centre is never beyond the image
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = np.where(peak > 0, peak / np.maximum(background, peak * 1e-6), 0.0)
    return _OfMaps(
        x0_deg=(column - (size - 1) / 2) * degrees_per_pixel,
        y0_deg=((size - 1) / 2 - row) * degrees_per_pixel,
        sigma_deg=field_sigma(fit, settings) * degrees_per_pixel,
        spread=spread,
        confined=np.isfinite(column) & (spread <= settings.max_spread),
        contrast=contrast,
    )


def field_sigma(fit: GaussianFit, settings: "PRFSettings") -> "NDArray[np.float64]":
    """Sigma of the field behind a fitted map [px], at least half a pixel: squaring a gradient halves the variance of its Gaussian."""
    sigma: NDArray[np.float64] = np.maximum(fit.sigma * (np.sqrt(2) if settings.gradient == "squared" else 1.0), 0.5)
    return sigma


def _centres(
    of_maps: _OfMaps, settings: "PRFSettings", model: RetinotopicMap | None
) -> "tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_], str]":
    """Centres, which of them to believe, and the option that was followed."""
    if model is None or settings.centre == "gradient":
        return of_maps.x0_deg, of_maps.y0_deg, of_maps.confined, "gradient"
    known = np.isfinite(model.x0_deg + model.y0_deg)
    if settings.centre == "model":
        return model.x0_deg, model.y0_deg, known, "model"
    x0 = np.where(known, (of_maps.x0_deg + model.x0_deg) / 2, of_maps.x0_deg)
    y0 = np.where(known, (of_maps.y0_deg + model.y0_deg) / 2, of_maps.y0_deg)
    return x0, y0, of_maps.confined, "mean" if known.any() else "gradient"


def _sizes(of_maps: _OfMaps, settings: "PRFSettings", model: RetinotopicMap | None) -> "tuple[NDArray[np.floating], str]":
    if settings.size == "model" and model is not None:
        known = np.isfinite(model.sigma_deg)
        return np.where(known, model.sigma_deg, of_maps.sigma_deg), "model" if known.any() else "gradient"
    return of_maps.sigma_deg, "gradient"


def _quality(
    of_maps: _OfMaps,
    settings: "PRFSettings",
    held_out: "NDArray[np.float32] | None",
    held_out_name: str,
    model: RetinotopicMap | None,
) -> "tuple[NDArray[np.floating], str, str]":
    """Values that rank the voxels, what they measure, and the option that was followed: what is missing falls to the next one."""
    if settings.quality == "model" and model is not None:
        return model.quality, model.quality_name, "model"
    if settings.quality == "spread":
        return (
            np.clip(1 - np.nan_to_num(of_maps.spread, nan=np.inf) / FLAT_SPREAD, 0, 1),
            "confinement of the map, 0 flat .. 1 a point",
            "spread",
        )
    if settings.quality != "peak" and held_out is not None:
        return held_out, held_out_name, "held_out_r"
    return of_maps.contrast, "peak over background of the map", "peak"


def _describe(source: str, own: str, centre_from: str, size_from: str) -> str:
    centre = {"gradient": source, "model": own, "mean": f"mean of {source} and {own}"}[centre_from]
    if size_from == "model" and centre_from != "model":
        return f"{centre}; sizes: {own}"
    return f"{centre}; sizes: {source}" if size_from == "gradient" and centre_from == "model" else centre


def smooth_maps(maps: "NDArray[np.float32]", settings: "PRFSettings") -> "NDArray[np.float32]":
    """Scale each map to a maximum of 1, optionally take away the median map over voxels, blur, scale again; [v h w]."""
    scaled = _to_unit_peak(maps.astype(np.float32))
    if settings.subtract_median:
        scaled = np.maximum(scaled - np.median(scaled, axis=0), 0)
    if settings.blur:
        blur_px = settings.blur * maps.shape[-1]
        scaled = ndimage.gaussian_filter(scaled, (0, blur_px, blur_px), mode="constant")
    return _to_unit_peak(scaled)


def enlarge_maps(maps: "NDArray[np.float32]", size: int) -> "NDArray[np.float32]":
    """Bring coarse maps [v g g] that cover the image to its size by linear interpolation, [v size size]."""
    factor = size / maps.shape[-1]
    enlarged = ndimage.zoom(maps, (1, factor, factor), order=1, mode="nearest", grid_mode=True)
    return np.asarray(enlarged, dtype=np.float32)


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


def _to_unit_peak(maps: "NDArray[np.float32]") -> "NDArray[np.float32]":
    peak = maps.max(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float32] = np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)
    return scaled


def _check_inputs(maps: "NDArray[np.float32]", quality: "NDArray[np.float32] | None", model: RetinotopicMap | None) -> None:
    if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
        raise ShapeError(f"receptive fields are read from square maps [v h w], got shape {maps.shape}")
    if quality is not None and quality.shape != maps.shape[:1]:
        raise ShapeError(f"{maps.shape[0]} maps need one quality each, got shape {quality.shape}")
    if model is not None and model.x0_deg.shape != maps.shape[:1]:
        raise ShapeError(f"{maps.shape[0]} maps need one field of the model each, got {model.x0_deg.size}")
