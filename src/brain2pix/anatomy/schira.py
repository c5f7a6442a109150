"""Where a point of the visual field lies on the cortex: the banded double-sech model, fitted to fsaverage5.

The model is that of Schira, Tyler, Spehar & Breakspear (2010), doi:10.1371/journal.pcbi.1000651, in the form of the paper's text, which
shears numerator and denominator separately. Written from the formulas. The fit to fsaverage5 is a similarity with a shear, six numbers a
hemisphere: good enough for a simulated subject, not an atlas of any person.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from brain2pix.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

AREA_NAMES = ("none", "V1", "V2", "V3")  # the place in this list is the area code

# constants of the model
FOVEAL_POLE_DEG = 1.05  # a
PERIPHERAL_POLE_DEG = 90.0  # b
BAND_DEG = 0.4  # lambda: the fovea of V2 and V3 is a band, not a point
SHEAR = (0.1821, 0.76)  # S1, S2
WIDTHS = (1.0, 0.5, 0.4)  # alpha of V1, V2, V3

MAX_ECCENTRICITY_DEG = 20.0
MAX_DISTANCE = 1.5  # plane units from the nearest tabulated point
MIN_COSINE = 0.2  # of the sphere that the plane covers
_TABLE = (301, 181)  # eccentricities (log-spaced), angles


@dataclass(frozen=True)
class Placement:
    """How the model lies on one hemisphere's sphere.

    Parameters
    ----------
    center : tuple of three floats, sphere coordinates of the plane's origin
    scale_x, scale_y : float, plane units per model unit along and across the horizontal meridian
    rotation : float, radians
    center_x, center_y : float, plane units
    shear : float
    """

    center: tuple[float, float, float]
    scale_x: float
    scale_y: float
    rotation: float
    center_x: float
    center_y: float
    shear: float


PLACEMENTS = {
    "L": Placement((28.62, -78.76, -54.57), 22.24, -18.22, 0.038, -33.41, -2.55, 0.314),
    "R": Placement((-56.21, -63.94, -52.46), 22.03, -18.80, 0.254, -32.40, -9.81, 0.295),
}


def cortical_position(area: int, eccentricity_deg: "ArrayLike", theta: "ArrayLike") -> "NDArray[np.complex128]":
    """Map the visual field to the model's plane, with k = 1.

    Parameters
    ----------
    area : int, 1, 2 or 3
    eccentricity_deg : float array
    theta : float array of the same shape, radians in -pi/2..pi/2, 0 = horizontal meridian, positive = upper field

    Returns
    -------
    complex128 array: real part from fovea to periphery, imaginary part from lower to upper field

    References
    ----------
    .. [1] Schira et al., 2010, doi:10.1371/journal.pcbi.1000651, double-sech shear; band of width lambda.
    """
    ecc, angle = np.broadcast_arrays(np.asarray(eccentricity_deg, dtype=np.float64), np.asarray(theta, dtype=np.float64))
    phi = _unfolded_angle(area, angle)
    z = ecc * np.exp(1j * phi) + BAND_DEG * np.minimum(1.0, 2 * (1 - np.abs(phi) / np.pi))
    e, p = np.abs(z), np.angle(z)
    near = e * np.exp(1j * p * _shear(e, p, FOVEAL_POLE_DEG)) + FOVEAL_POLE_DEG
    far = e * np.exp(1j * p * _shear(e, p, PERIPHERAL_POLE_DEG)) + PERIPHERAL_POLE_DEG
    origin = np.log((BAND_DEG + FOVEAL_POLE_DEG) / (BAND_DEG + PERIPHERAL_POLE_DEG))
    position: NDArray[np.complex128] = np.log(near / far) - origin
    return position


def _unfolded_angle(area: int, theta: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Polar angle in the common plane: V1 inside, V2 mirrored around it, V3 mirrored around V2."""
    if area not in (1, 2, 3):
        raise ConfigError(f"area must be 1, 2 or 3, got {area!r}")
    a1, a2, a3 = WIDTHS
    sign = np.where(theta < 0, -1.0, 1.0)
    if area == 1:
        return a1 * theta
    if area == 2:
        return sign * (np.pi / 2 * a1 + a2 * (np.pi / 2 - np.abs(theta)))
    return sign * (np.pi / 2 * (a1 + a2) + a3 * np.abs(theta))


def _shear(e: "NDArray[np.float64]", p: "NDArray[np.float64]", pole_deg: float) -> "NDArray[np.float64]":
    s1, s2 = SHEAR
    with np.errstate(divide="ignore"):  # e = 0 only where the band ends: the shear is then 1
        exponent = s1 / np.cosh(s2 * np.log(e / pole_deg))
    return np.cosh(p) ** -exponent


def plane_coordinates(sphere_xyz: "ArrayLike", hemi: str, center: tuple[float, float, float] | None = None) -> "NDArray[np.float64]":
    """Project points of the registration sphere to the plane, by Lambert's equal-area projection.

    Parameters
    ----------
    sphere_xyz : float array, [p 3]
    hemi : str, "L" or "R"
    center : tuple of three floats or None, of the plane; None takes the fitted one

    Returns
    -------
    float64 array, [p 2]; NaN where the plane does not reach
    """
    placement = _placement(hemi)
    points = _unit(np.asarray(sphere_xyz, dtype=np.float64))
    c = _unit(np.asarray(center or placement.center, dtype=np.float64))
    ey = _unit(np.array([0.0, 0.0, 1.0]) - c[2] * c)
    ex = np.cross(ey, c)
    cosine = points @ c
    radius = np.sqrt(2 / (1 + np.clip(cosine, MIN_COSINE - 1, 1)))
    plane = 100 * radius[:, None] * np.stack([points @ ex, points @ ey], axis=1)
    if hemi == "R":
        plane[:, 0] *= -1
    plane[cosine <= MIN_COSINE] = np.nan
    return plane


class SimulatedAtlas:
    """The model on one hemisphere of fsaverage5: plane coordinates to area, eccentricity and angle.

    Parameters
    ----------
    hemi : str, "L" or "R"
    placement : Placement or None, None takes the fitted one
    max_eccentricity_deg : float
    """

    def __init__(self, hemi: str, placement: Placement | None = None, max_eccentricity_deg: float = MAX_ECCENTRICITY_DEG) -> None:
        self.hemi = hemi
        self.placement = placement or _placement(hemi)
        ecc = np.geomspace(0.02, max_eccentricity_deg, _TABLE[0])
        theta = np.linspace(-np.pi / 2, np.pi / 2, _TABLE[1])
        self._area, self._ecc, self._theta = (part.ravel() for part in np.meshgrid([1, 2, 3], ecc, theta, indexing="ij"))
        self._tree = cKDTree(np.concatenate([self.place(area, *np.meshgrid(ecc, theta, indexing="ij")) for area in (1, 2, 3)]))

    def place(self, area: int, eccentricity_deg: "ArrayLike", theta: "ArrayLike") -> "NDArray[np.float64]":
        """Plane coordinates of points of the visual field.

        Parameters
        ----------
        area : int, 1, 2 or 3
        eccentricity_deg, theta : float arrays of one shape

        Returns
        -------
        float64 array, [points 2]
        """
        w = cortical_position(area, eccentricity_deg, theta).ravel()
        fit = self.placement
        along = fit.scale_x * (w.real + fit.shear * w.imag)
        across = fit.scale_y * w.imag
        cos, sin = np.cos(fit.rotation), np.sin(fit.rotation)
        return np.stack([fit.center_x + along * cos - across * sin, fit.center_y + along * sin + across * cos], axis=1)

    def lookup_plane(
        self, plane_xy: "NDArray[np.float64]"
    ) -> tuple["NDArray[np.int64]", "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.bool_]"]:
        """Invert the model by the nearest tabulated point.

        Parameters
        ----------
        plane_xy : float array, [p 2]; NaN where unknown

        Returns
        -------
        area : int array, [p], 0 outside V1-V3, else 1, 2, 3
        eccentricity_deg, theta : float arrays, [p], NaN outside
        ventral : bool array, [p], upper field
        """
        n = len(plane_xy)
        known = np.isfinite(plane_xy).all(axis=1)
        distance = np.full(n, np.inf)
        nearest = np.zeros(n, dtype=np.int64)
        distance[known], nearest[known] = self._tree.query(plane_xy[known], distance_upper_bound=MAX_DISTANCE)
        found = distance < MAX_DISTANCE
        nearest[~found] = 0
        area = np.where(found, self._area[nearest], 0)
        ecc = np.where(found, self._ecc[nearest], np.nan)
        theta = np.where(found, self._theta[nearest], np.nan)
        return area, ecc, theta, found & (self._theta[nearest] > 0)

    def lookup(
        self, sphere_xyz: "ArrayLike"
    ) -> tuple["NDArray[np.int64]", "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.bool_]"]:
        """Area, eccentricity, angle and ventral flag of points of the registration sphere; as `lookup_plane`.

        Parameters
        ----------
        sphere_xyz : float array, [p 3]
        """
        return self.lookup_plane(plane_coordinates(sphere_xyz, self.hemi))


def visual_field(hemi: str, eccentricity_deg: "ArrayLike", theta: "ArrayLike") -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Turn eccentricity and angle from the horizontal meridian into degrees right and up: each hemisphere sees the other side.

    Parameters
    ----------
    hemi : str, "L" or "R"
    eccentricity_deg, theta : float arrays

    Returns
    -------
    x0_deg, y0_deg : float arrays
    """
    _placement(hemi)
    side = 1.0 if hemi == "L" else -1.0
    ecc, angle = np.asarray(eccentricity_deg, dtype=np.float64), np.asarray(theta, dtype=np.float64)
    return side * ecc * np.cos(angle), ecc * np.sin(angle)


def individual_placement(hemi: str, rng: np.random.Generator) -> Placement:
    """Draw a placement as people differ: turned by 3 degrees, scaled by 8 %, shifted by 3 units (standard deviations).

    Parameters
    ----------
    hemi : str, "L" or "R"
    rng : Generator
    """
    fit = _placement(hemi)
    return replace(
        fit,
        rotation=fit.rotation + float(np.radians(rng.normal(0, 3))),
        scale_x=fit.scale_x * float(rng.normal(1, 0.08)),
        scale_y=fit.scale_y * float(rng.normal(1, 0.08)),
        center_x=fit.center_x + float(rng.normal(0, 3)),
        center_y=fit.center_y + float(rng.normal(0, 3)),
    )


def _placement(hemi: str) -> Placement:
    if hemi not in PLACEMENTS:
        raise ConfigError(unknown_name("hemisphere", hemi, PLACEMENTS))
    return PLACEMENTS[hemi]


def _unit(vectors: "NDArray[np.float64]") -> "NDArray[np.float64]":
    length: NDArray[np.float64] = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / length
