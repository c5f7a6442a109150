"""Colours of retinotopic maps, and their legend in the visual field itself. Numpy only: figures and window share it.

The angle map is our own: four anchors (right vermilion, up cream, left blue, down dark), joined by straight lines in CIE Lab. Any two
angles at least 60 degrees apart differ by 28 or more (CIE76) in normal, deutan, protan and tritan vision alike; HSV, the field's habit,
falls to 0.1. Every map keeps 20 or more away from the two greys of the curvature beneath. Viridis, plasma, magma and inferno are CC0.
"""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.arrays import ENCODER_PARTS
from brain2pix.errors import ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from brain2pix.arrays import RetinotopicMap

ANGLE_ANCHORS = np.array([[0.82, 0.22, 0.06], [1.0, 0.96, 0.82], [0.26, 0.55, 0.93], [0.15, 0.06, 0.16]])  # right, up, left, down
MERIDIAN_ANCHORS = np.array([[0.92, 0.56, 0.13], [0.93, 0.93, 0.92], [0.10, 0.35, 0.71]])  # lower vertical, horizontal, upper vertical
# Viridis, plasma and magma at 17 evenly spaced places; inferno, which bends more, at 25. Not cividis: its middle is the grey of the
# curvature beneath (CIE76 0.7).
_SEQUENTIAL = {
    "eccentricity": "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1f9f8827ad813dbc745cc86381d34daadc32d5e21afde725",
    "size": "0d08873105974c02a16600a77e03a89511a1aa2395bc3587cc4778d9586ae56b5df07f4ff89441fdab33fdc328f9dd25f0f921",
    "quality": "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779cf4070e55064f4695cfb8761fea571fec287fde0a1fcfdbf",
    "accuracy": "000004050417110a30210c4a320a5e450a6957106e67166e781c6d8a226a9a2865ab2f5ebc3"
    "754ca404ad84c3ee45a31ed6925f57b17f98e09fca108fbb61af9cb35f4df53f2f27dfcffa4",
}
# A correlation, what noise allows of it and the one over the other are read beside each other: one scale for all three.
_SEQUENTIAL |= dict.fromkeys(ENCODER_PARTS, _SEQUENTIAL["accuracy"])
TITLES = {
    "angle": "polar angle",
    "meridian": "polar angle, left and right folded",
    "eccentricity": "eccentricity",
    "size": "receptive field size",
    "quality": "quality",
    "prediction": "prediction [r]",
    "ceiling": "noise ceiling [r]",
    "accuracy": "accuracy over noise ceiling",
}
LINEAR = ("quality", *ENCODER_PARTS)  # scales that are not logarithmic
MAP_NAMES = tuple(TITLES)
# Defaults; degrees lie on a log scale, the others on a linear one.
LIMITS = {"eccentricity": (0.5, 8.0), "size": (0.25, 4.0), "quality": (0.0, 1.0), **dict.fromkeys(ENCODER_PARTS, (0.0, 1.0))}
THRESHOLD = (0.1, 0.4)  # of a correlation: fully transparent, fully opaque
GYRUS, SULCUS = 0.60, 0.40  # greys of the curvature beneath a map
_TICKS_DEG = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


def map_colors(
    values: "ArrayLike",
    map_name: str,
    *,
    quality: "ArrayLike | None" = None,
    threshold: tuple[float, float] = THRESHOLD,
    limits: tuple[float, float] | None = None,
) -> "NDArray[np.float32]":
    """Colour values of a map; what has no value is fully transparent.

    Parameters
    ----------
    values : float array, [v]; "angle" and "meridian": degrees, 0 = right horizontal, 90 = up; "eccentricity" and "size": degrees;
        the others: as they are
    map_name : str, one of `MAP_NAMES`
    quality : float array, [v], or None = all opaque; becomes opacity, see `quality_alpha`
    threshold : (float, float), quality where colours begin to show and where they are opaque
    limits : (float, float) or None, values at the ends of the scale, see `LIMITS`; values beyond take the end colour

    Returns
    -------
    float32 array, [v 4], RGBA in 0..1

    Raises
    ------
    ConfigError
        If there is no such map, or its limits are not rising (and positive, on a log scale).
    ShapeError
        If `quality` does not have one entry per value.
    """
    numbers = np.asarray(values, dtype=np.float64)
    place = scale_position(numbers, map_name, limits)
    finite = np.isfinite(place)
    table = color_table(map_name, 1024)
    steps = len(table) if map_name == "angle" else len(table) - 1  # a cycle has no last colour
    index = np.round(np.where(finite, place, 0) * steps).astype(int) % len(table)
    rgba = np.empty((*numbers.shape, 4), dtype=np.float32)
    rgba[..., :3] = table[index]
    rgba[..., 3] = finite
    if quality is not None:
        if np.shape(quality) != numbers.shape:
            raise ShapeError(f"{numbers.shape} values need one quality each, got shape {np.shape(quality)}")
        rgba[..., 3] *= quality_alpha(quality, threshold)
    return rgba


def retinotopic_colors(
    prf_map: "RetinotopicMap",
    map_name: str,
    *,
    threshold: tuple[float, float] | None = THRESHOLD,
    limits: tuple[float, float] | None = None,
) -> "NDArray[np.float32]":
    """Colour the voxels of a map; missing fields and fields that miss the stimulus are transparent.

    Parameters
    ----------
    prf_map : RetinotopicMap, [v]
    map_name : str, one of `MAP_NAMES`
    threshold : (float, float) on the map's quality, or None = show all that have a field
    limits : (float, float) or None, see `map_colors`; None = up to half the field of view for eccentricity

    Returns
    -------
    float32 array, [v 4], RGBA in 0..1
    """
    if limits is None and map_name == "eccentricity":
        limits = eccentricity_limits(prf_map.field_of_view_deg)
    rgba = map_colors(
        map_values(prf_map, map_name),
        map_name,
        quality=None if threshold is None else prf_map.quality,
        threshold=threshold or THRESHOLD,
        limits=limits,
    )
    rgba[~visible(prf_map), 3] = 0
    return rgba


def map_values(prf_map: "RetinotopicMap", map_name: str) -> "NDArray[np.float32]":
    """Values of a map by its name, [v], in the unit that `map_colors` takes."""
    _check_name(map_name)
    if map_name in ("angle", "meridian"):
        return prf_map.angle_deg
    if map_name == "eccentricity":
        return prf_map.eccentricity_deg
    if map_name in ENCODER_PARTS:
        return prf_map.encoder_parts.get(map_name, np.full_like(prf_map.quality, np.nan))
    return prf_map.sigma_deg if map_name == "size" else prf_map.quality


def visible(prf_map: "RetinotopicMap") -> "NDArray[np.bool_]":
    """Voxels with a field that reaches the stimulus: beyond it, centres are extrapolated and pile up at the edge; bool [v]."""
    reach = prf_map.eccentricity_deg - 2 * np.nan_to_num(prf_map.sigma_deg)
    return np.asarray(np.isfinite(prf_map.eccentricity_deg) & ~(reach > prf_map.field_of_view_deg / 2))


def quality_alpha(quality: "ArrayLike", threshold: tuple[float, float] = THRESHOLD) -> "NDArray[np.float64]":
    """Opacity from quality: 0 up to the first threshold, 1 from the second, a ramp between; NaN is transparent. Equal ones make a step."""
    low, high = threshold
    if not high >= low:
        raise ConfigError(f"the quality thresholds must rise, got {low} and {high}")
    numbers = np.nan_to_num(np.asarray(quality, dtype=np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    return np.where(numbers >= high, 1.0, 0.0) if high == low else np.clip((numbers - low) / (high - low), 0, 1)


def scale_position(values: "ArrayLike", map_name: str, limits: tuple[float, float] | None = None) -> "NDArray[np.float64]":
    """Place of values on a map's scale, 0..1; NaN stays NaN."""
    _check_name(map_name)
    numbers = np.asarray(values, dtype=np.float64)
    if map_name == "angle":
        return np.asarray((numbers % 360) / 360)
    if map_name == "meridian":
        return _fold(numbers) / 180
    low, high = limits or LIMITS[map_name]
    if not (high > low and (map_name in LINEAR or low > 0)):
        need = "rise" if map_name in LINEAR else "rise and be positive"
        raise ConfigError(f"limits of the {map_name} map must {need}, got {low} and {high}")
    if map_name not in LINEAR:
        with np.errstate(divide="ignore"):  # an eccentricity of 0 takes the first colour
            numbers, low, high = np.log(np.maximum(numbers, 0)), np.log(low), np.log(high)
    return np.asarray(np.clip((numbers - low) / (high - low), 0, 1))


def color_table(map_name: str, n: int = 256) -> "NDArray[np.float64]":
    """Colours of a map from one end of its scale to the other (angle: once around, without repeating the first); [n 3], 0..1."""
    _check_name(map_name)
    if map_name == "angle":
        return _through_lab(np.vstack([ANGLE_ANCHORS, ANGLE_ANCHORS[:1]]), np.arange(n) / n)
    if map_name == "meridian":
        return _through_lab(MERIDIAN_ANCHORS, np.linspace(0, 1, n))
    anchors = np.frombuffer(bytes.fromhex(_SEQUENTIAL[map_name]), dtype=np.uint8).reshape(-1, 3) / 255
    return _interpolate(anchors, np.linspace(0, 1, n))


def eccentricity_limits(field_of_view_deg: float) -> tuple[float, float]:
    """Scale of eccentricity for a stimulus: from .5 degree (or 1/24 of the field) to its edge."""
    return min(0.5, field_of_view_deg / 24), field_of_view_deg / 2


def scale_ticks(map_name: str, limits: tuple[float, float] | None = None) -> list[tuple[float, str]]:
    """Places (0..1) and labels of ticks on the scale of a map that has one."""
    if map_name not in LIMITS:
        raise ConfigError(unknown_name("map with a scale", map_name, LIMITS))
    low, high = limits or LIMITS[map_name]
    inside = [tick for tick in _TICKS_DEG if 0.999 * low <= tick <= 1.001 * high]
    values = np.linspace(low, high, 5) if map_name in LINEAR else np.array(inside)
    return [(float(place), f"{value:g}") for place, value in zip(scale_position(values, map_name, limits), values, strict=True)]


def wheel_image(
    map_name: str,
    size: int = 256,
    field_of_view_deg: float = 12.0,
    max_ecc_deg: float | None = None,
    limits: tuple[float, float] | None = None,
) -> "NDArray[np.uint8]":
    """Draw the legend of a map: its colours in the visual field itself, or a bar for maps that are not about place.

    Parameters
    ----------
    map_name : str, one of `MAP_NAMES`
    size : int, edge of the picture [px]
    field_of_view_deg : float, full width of the stimulus; its edge is the thin circle
    max_ecc_deg : float or None, radius of the wheel; None = the edge of the stimulus
    limits : (float, float) or None, see `map_colors`

    Returns
    -------
    uint8 array, [size size 4], RGBA, row 0 = top of the field; transparent outside. "size" and the maps of `LINEAR`: an upright bar,
    high at the top, in the middle third; its ticks are `scale_ticks`.
    """
    _check_name(map_name)
    if map_name in ("size", *LINEAR):
        rgba = _bar(map_name, size)
    else:
        rgba = _wheel(map_name, size, field_of_view_deg, max_ecc_deg, limits)
    return np.round(255 * np.clip(rgba, 0, 1)).astype(np.uint8)


def curvature_colors(sulc: "ArrayLike") -> "NDArray[np.float32]":
    """Two mid greys for gyri and sulci, [p] -> RGBA [p 4]: positive depth is a sulcus."""
    grey = np.where(np.asarray(sulc) > 0, SULCUS, GYRUS)
    return np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1).astype(np.float32)


def over(top: "NDArray[np.floating]", below: "NDArray[np.floating]") -> "NDArray[np.float32]":
    """Lay RGBA colours over opaque ones, [... 4] each."""
    alpha = top[..., 3:]
    mixed = alpha * top[..., :3] + (1 - alpha) * below[..., :3]
    return np.concatenate([mixed, np.ones_like(alpha)], axis=-1).astype(np.float32)


def _wheel(
    map_name: str, size: int, field_of_view_deg: float, max_ecc_deg: float | None, limits: tuple[float, float] | None
) -> "NDArray[np.float64]":
    radius = max_ecc_deg or field_of_view_deg / 2
    place = ((np.arange(size) + 0.5) / size - 0.5) * 2 * radius * (1 + 2 / size)  # degrees; one pixel of margin for the smooth edge
    x, y = place[None, :], -place[:, None]
    ecc = np.hypot(x, y)
    if map_name == "eccentricity":
        rgba = map_colors(ecc, map_name, limits=limits or eccentricity_limits(field_of_view_deg)).astype(np.float64)
    else:
        rgba = map_colors(np.degrees(np.arctan2(y, x)), map_name).astype(np.float64)
    pixel = 2 * radius / size
    rgba[..., 3] = np.clip((radius - ecc) / pixel + 0.5, 0, 1)
    line = max(1.0, size / 130) * pixel
    thin, far = np.minimum(np.abs(x), np.abs(y)), np.maximum(np.abs(x), np.abs(y))  # across and along the arms of the cross
    for width, length, grey in ((1.5 * line, 0.08 * radius + line, 1.0), (0.6 * line, 0.08 * radius, 0.1)):  # seen on any colour
        _ink(rgba, np.clip((width - thin) / pixel + 0.5, 0, 1) * (far <= length), grey)
    if field_of_view_deg / 2 < radius:
        for width, grey in ((1.6, 1.0), (0.7, 0.1)):
            _ink(rgba, np.clip(width - np.abs(ecc - field_of_view_deg / 2) / pixel + 0.5, 0, 1), grey)
    return rgba


def _ink(rgba: "NDArray[np.float64]", strength: "NDArray[np.float64]", grey: float) -> None:
    rgba[..., :3] += strength[..., None] * (grey - rgba[..., :3])


def _bar(map_name: str, size: int) -> "NDArray[np.float64]":
    rgba = np.zeros((size, size, 4))
    column = color_table(map_name, size)[::-1]
    rgba[:, size // 3 : -(size // 3) or None, :3] = column[:, None]
    rgba[:, size // 3 : -(size // 3) or None, 3] = 1
    return rgba


def _fold(angle_deg: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Angle from the lower vertical meridian (0) over the horizontal (90) to the upper one (180), left and right alike."""
    return 180 - np.abs((angle_deg - 90 + 180) % 360 - 180)


def _check_name(map_name: str) -> None:
    if map_name not in TITLES:
        raise ConfigError(unknown_name("map", map_name, TITLES))


def _interpolate(anchors: "NDArray[np.float64]", place: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Straight lines between evenly spaced anchors [k 3] at places in 0..1."""
    knots = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(place, knots, anchors[:, c]) for c in range(3)], axis=-1)


def _through_lab(anchors: "NDArray[np.float64]", place: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return _lab_to_rgb(_interpolate(_rgb_to_lab(anchors), place))


# sRGB (IEC 61966-2-1) and CIE Lab under D65
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE = _XYZ.sum(axis=1)


def _rgb_to_lab(rgb: "NDArray[np.float64]") -> "NDArray[np.float64]":
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ _XYZ.T / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def _lab_to_rgb(lab: "NDArray[np.float64]") -> "NDArray[np.float64]":
    fy = (lab[:, 0] + 16) / 116
    f = np.stack([fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200], axis=-1)
    t = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip((t * _WHITE) @ np.linalg.inv(_XYZ).T, 0, 1)
    return np.asarray(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))
