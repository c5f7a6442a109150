"""From the numbers of a convention to x0, y0, size and quality, and back; what was done is said."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.prf_files.conventions import CAP_DEG, check_angles
from brain2pix.errors import ConfigError, DataFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.prf_files.conventions import Convention

QUALITY_R2 = "R2 (fraction of variance)"
NO_QUALITY = "none given: 1 where there is a field"
_FEWEST = 20


@dataclass(frozen=True)
class Fields:
    """Receptive fields in our convention.

    Parameters
    ----------
    x0, y0, sigma, quality : float64 arrays, [n], degrees; NaN where there is none
    quality_name : str
    size : str, what sigma is
    converted : tuple of str, what was done
    """

    x0: "NDArray[np.float64]"
    y0: "NDArray[np.float64]"
    sigma: "NDArray[np.float64]"
    quality: "NDArray[np.float64]"
    quality_name: str
    size: str
    converted: tuple[str, ...]


def to_fields(
    convention: "Convention",
    values: "Mapping[str, NDArray[np.floating]]",
    hemi: "NDArray[np.str_]",
    *,
    scale_deg: float | None = None,
    percent: bool | None = None,
    measure: str = "",
) -> Fields:
    """Convert the quantities of a convention.

    Parameters
    ----------
    convention : Convention
    values : mapping of quantity (`angle` and `ecc`, or `x0` and `y0`; `sigma`, `minor`, `exponent`, `quality`, `area`) to array, [n]
    hemi : str array, [n], "L", "R" or "n/a"; asked only where an angle has no sign
    scale_deg : float or None, degrees in one unit of length, where that is not the degree
    percent : bool or None, whether R2 is in percent; None: as the convention has it
    measure : str, what the quality is, where our own JSON says so; "" for R2

    Raises
    ------
    ConfigError
        If `scale_deg` is needed.
    DataFormatError
        If values are out of the range of the convention; the message names what would fit.
    """
    scale, done = _scale(convention, scale_deg)
    raw = {name: np.asarray(part, dtype=np.float64) for name, part in values.items()}
    if convention.angle is None:
        x0, y0 = raw["x0"] * scale, raw["y0"] * (-scale if convention.y_down else scale)
        done += ["y0 turned upwards"] if convention.y_down else []
        lost = ~np.isfinite(x0 + y0)
    else:
        check_angles(convention, _where_known(raw))
        x0, y0, lost = _from_polar(convention, raw, hemi, scale)
        done.append(f"angle ({convention.angle}) and eccentricity to x0, y0")
    capped = np.hypot(x0, y0) >= CAP_DEG
    if capped.any():
        done.append(f"{int(capped.sum())} fits that ran off ({CAP_DEG:g} degrees and more) left out")
    sigma, size = _size(convention, raw, scale)
    quality, name, said = _quality(convention, raw, percent, ~(lost | capped), measure)
    none = lost | capped
    blank = np.where(none, np.nan, 1.0)
    with np.errstate(invalid="ignore"):
        sigma = np.where((sigma >= CAP_DEG) | none, np.nan, sigma)
    return Fields(x0 * blank, y0 * blank, sigma, quality, name, size, (*done, *said))


def from_fields(convention: "Convention", found: "RetinotopicMap", hemi: "NDArray[np.str_]") -> "dict[str, NDArray[np.float64]]":
    """Write receptive fields as the quantities of a convention.

    Parameters
    ----------
    convention : Convention
    found : RetinotopicMap, [n]
    hemi : str array, [n]

    Returns
    -------
    dict of quantity to float64 array, [n]. Quality is there only if the convention's R2 is what `found` has.

    Raises
    ------
    ConfigError
        If lengths cannot be told in its unit.
    """
    if convention.length == "px":
        raise ConfigError(
            f"convention {convention.name} counts pixels of an aperture, which a map does not know; write nsd, the same in degrees"
        )
    scale = 1.0
    if convention.length == "field":
        scale = float(found.field_of_view_deg)
        if not scale > 0:
            raise ConfigError(f"convention {convention.name} needs the field of view of the map; give it with --field-of-view-deg")
    x0, y0 = found.x0_deg.astype(np.float64) / scale, found.y0_deg.astype(np.float64) / scale
    values = {"x0": x0, "y0": -y0 if convention.y_down else y0}
    if convention.angle is not None:
        values = {"angle": convention.angle.from_ours(np.arctan2(y0, x0), hemi), "ecc": np.hypot(x0, y0)}
        values["ecc"] = np.where(np.isfinite(values["angle"]) | np.isnan(values["ecc"]), values["ecc"], np.nan)
    values["sigma"] = found.sigma_deg.astype(np.float64) / scale
    if found.quality_name == QUALITY_R2 or convention.name == "brain2pix":
        values["quality"] = found.quality.astype(np.float64) * (100 if convention.percent else 1)
    return values


def _scale(convention: "Convention", scale_deg: float | None) -> tuple[float, list[str]]:
    if convention.length == "deg":
        return 1.0, []
    option = {"px": "--degrees-per-pixel", "field": "--field-of-view-deg"}[convention.length]
    if scale_deg is None:
        unit = {"px": "pixels of the aperture", "field": "shares of the field of view"}[convention.length]
        raise ConfigError(f"convention {convention.name} has lengths in {unit}; give {option}")
    if not (np.isfinite(scale_deg) and scale_deg > 0):
        raise ConfigError(f"{option} must be a number above 0, got {scale_deg}")
    return scale_deg, [f"lengths times {scale_deg:g} degrees"]


def _where_known(raw: "Mapping[str, NDArray[np.float64]]") -> "NDArray[np.float64]":
    """Angles that belong to a field."""
    with np.errstate(invalid="ignore"):
        return raw["angle"][raw["ecc"] > 0]


def _from_polar(
    convention: "Convention", raw: "Mapping[str, NDArray[np.float64]]", hemi: "NDArray[np.str_]", scale: float
) -> "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]":
    assert convention.angle is not None
    ecc = raw["ecc"] * scale
    with np.errstate(invalid="ignore"):
        if (ecc < 0).any():
            raise DataFormatError(f"{convention}: eccentricity reaches {np.nanmin(ecc):.4g}, it cannot be below 0; are files exchanged?")
    ours = convention.angle.to_ours(raw["angle"], hemi)
    # at fixation there is no angle: a field there is a field all the same
    x0, y0 = (np.where(ecc == 0, 0.0, ecc * part) for part in (np.cos(ours), np.sin(ours)))
    lost = ~np.isfinite(x0 + y0)
    if "area" in raw:
        lost |= ~(raw["area"] > 0)
    elif convention.angle.unsigned:  # templates are 0 in every map where they say nothing
        lost |= (ecc == 0) & ~(raw["angle"] > 0)
    return x0, y0, lost


def _size(convention: "Convention", raw: "Mapping[str, NDArray[np.float64]]", scale: float) -> "tuple[NDArray[np.float64], str]":
    if "sigma" not in raw:
        return np.full(next(iter(raw.values())).shape, np.nan), "not given"
    sigma, told = raw["sigma"] * scale, "sigma of the Gaussian"
    if convention.size == "effective":
        return sigma, "effective size: sigma / sqrt(exponent), as the source has it"
    with np.errstate(invalid="ignore", divide="ignore"):
        if "minor" in raw:
            sigma, told = np.sqrt(sigma * raw["minor"] * scale), "root of the product of both sigmas of the Gaussian"
        if "exponent" in raw:
            return sigma / np.sqrt(np.where(raw["exponent"] > 0, raw["exponent"], np.nan)), f"effective size: {told} / sqrt(exponent)"
    return sigma, told


def _quality(
    convention: "Convention", raw: "Mapping[str, NDArray[np.float64]]", percent: bool | None, has_field: "NDArray[np.bool_]", measure: str
) -> "tuple[NDArray[np.float64], str, list[str]]":
    if "quality" not in raw:
        return np.where(has_field, 1.0, np.nan), NO_QUALITY, []
    quality = raw["quality"]
    if measure:
        return quality, measure, []
    known = quality[np.isfinite(quality)]
    in_percent = convention.percent if percent is None else percent
    if percent is None and known.size:
        high = float(known.max())
        if not in_percent and high > 1.01:
            raise DataFormatError(f"{convention}: R2 reaches {high:.4g}, expected at most 1: percent? say --r2-unit percent")
        if in_percent and known.size >= _FEWEST and 0 < high <= 1:
            raise DataFormatError(
                f"{convention}: R2 reaches {high:.3g} percent: a fraction? say --r2-unit fraction, or percent if it is so"
            )
    quality = np.where(np.isfinite(quality), quality, np.nan)
    return (quality / 100, QUALITY_R2, ["R2 from percent to a fraction"]) if in_percent else (quality, QUALITY_R2, [])
