"""Which voxels: a region of cortex, a part of the visual field, or both."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.config.stimulation import QUADRANTS
from brain2pix.data.regions import region_mask
from brain2pix.errors import ConfigError, ShapeError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.config.stimulation import StimulationSettings

_SIDES = {"upper_right": (1, 1), "upper_left": (-1, 1), "lower_left": (-1, -1), "lower_right": (1, -1)}  # signs of x, y


def quadrant_signs(quadrant: str) -> tuple[int, int]:
    """Signs of x and y in a quadrant of the visual field.

    Raises
    ------
    ConfigError
        If there is no such quadrant.
    """
    if quadrant not in _SIDES:
        raise ConfigError(unknown_name("quadrant", quadrant, _SIDES))
    return _SIDES[quadrant]


def quadrant_mask(prf_map: "RetinotopicMap", quadrant: str, margin_deg: float = 0.0) -> "NDArray[np.bool_]":
    """Voxels whose receptive field centre lies in a quadrant of the visual field.

    Parameters
    ----------
    prf_map : RetinotopicMap, [v]
    quadrant : str, "upper_right", "upper_left", "lower_left" or "lower_right"
    margin_deg : float, least distance from both meridians

    Returns
    -------
    bool array, [v]; centres on a meridian and missing centres are in no quadrant
    """
    x_sign, y_sign = quadrant_signs(quadrant)
    return np.asarray((x_sign * prf_map.x0_deg > margin_deg) & (y_sign * prf_map.y0_deg > margin_deg))


def quadrant_masks(prf_map: "RetinotopicMap", scope: "ArrayLike | None" = None, margin_deg: float = 0.0) -> "dict[str, NDArray[np.bool_]]":
    """Masks of the four quadrants, cut to the voxels in scope ([v], None = all)."""
    inside = np.ones(len(prf_map.x0_deg), dtype=bool) if scope is None else np.asarray(scope, dtype=bool)
    return {quadrant: quadrant_mask(prf_map, quadrant, margin_deg) & inside for quadrant in QUADRANTS}


def seen_quadrants(prf_map: "RetinotopicMap", mask: "ArrayLike", share: float = 0.9) -> list[str]:
    """Quadrants of the visual field that some voxels look at: the fewest that hold a share of their receptive field centres.

    Parameters
    ----------
    prf_map : RetinotopicMap, [v]
    mask : bool array, [v]
    share : float, 0..1; estimated centres stray over the meridians

    Returns
    -------
    list of str, the fullest quadrant first; empty if no voxel has a receptive field
    """
    inside = np.asarray(mask, dtype=bool)
    counts = {quadrant: int(found.sum()) for quadrant, found in quadrant_masks(prf_map, inside).items()}
    total, seen, held = sum(counts.values()), [], 0
    for quadrant in sorted(counts, key=lambda name: -counts[name]):
        if held >= share * total:
            break
        seen.append(quadrant)
        held += counts[quadrant]
    return seen


def disc_mask(prf_map: "RetinotopicMap", x_deg: float, y_deg: float, radius_deg: float) -> "NDArray[np.bool_]":
    """Voxels whose receptive field centre lies in a disc of the visual field.

    Parameters
    ----------
    prf_map : RetinotopicMap, [v]
    x_deg, y_deg, radius_deg : float, degrees from fixation, x right, y up

    Returns
    -------
    bool array, [v]
    """
    if not radius_deg > 0:
        raise ConfigError(f"the radius of a disc must be positive, got {radius_deg} degrees")
    return np.asarray(np.hypot(prf_map.x0_deg - x_deg, prf_map.y0_deg - y_deg) <= radius_deg)


def select_voxels(
    settings: "StimulationSettings", areas: "Mapping[str, NDArray[np.bool_]]", prf_map: "RetinotopicMap | None" = None
) -> "NDArray[np.bool_]":
    """Voxels that the settings name: the region, cut to a part of the visual field.

    Parameters
    ----------
    settings : StimulationSettings; uses region, field, disc and kept_share
    areas : mapping of name to bool array, [v]
    prf_map : RetinotopicMap, [v], or None; needed unless ``field="all"``

    Returns
    -------
    bool array, [v]

    Raises
    ------
    ConfigError
        If the region is unknown or empty, no voxel of it sees that part of the field, or the map is missing.
    ShapeError
        If map and areas speak of different voxels.
    """
    chosen = region_mask(settings.region, areas)
    if settings.field == "all":
        return chosen
    if prf_map is None:
        raise ConfigError(f"field {settings.field!r} needs receptive fields; estimate maps first, or choose field 'all'")
    if prf_map.x0_deg.shape != chosen.shape:
        raise ShapeError(f"the map has {prf_map.x0_deg.size} voxels, the areas have {chosen.size}; they must be those of the same model")
    if settings.field == "disc":
        part = disc_mask(prf_map, settings.disc_x_deg, settings.disc_y_deg, settings.disc_radius_deg)
    else:
        part = quadrant_mask(prf_map, settings.field)
    selected = chosen & part & _trusted(prf_map, settings.kept_share)
    if not selected.any():
        raise ConfigError(
            f"none of the {int(chosen.sum())} voxels of {settings.region!r} has a trusted receptive field in {describe_part(settings)}; "
            "choose a larger region, a larger disc or a larger kept_share"
        )
    return selected


def describe_part(settings: "StimulationSettings") -> str:
    """Name the part of the visual field in words."""
    if settings.field == "disc":
        return f"the disc at ({settings.disc_x_deg:g}, {settings.disc_y_deg:g}) degrees of radius {settings.disc_radius_deg:g}"
    return "the whole visual field" if settings.field == "all" else f"the {settings.field.replace('_', ' ')} quadrant"


def _trusted(prf_map: "RetinotopicMap", share: float) -> "NDArray[np.bool_]":
    """Voxels of best quality; all with a quality for a share of 1."""
    quality = prf_map.quality
    finite = np.isfinite(quality)
    if not finite.any():
        return finite
    return np.asarray(finite & (quality >= np.quantile(quality[finite], 1 - share)))
