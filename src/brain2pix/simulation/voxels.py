"""The simulated voxels: where each lies, what it sees and how it answers. Everything here is truth that no reader opens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.anatomy import HEMISPHERES, SimulatedAtlas, individual_placement, mni_grid, posterior_ribbon, visual_field
from brain2pix.simulation.categories import CATEGORIES
from brain2pix.simulation.channel_names import CHANNEL_NAMES, N_ENERGY, ORIENTATIONS, WAVELENGTHS_DEG
from brain2pix.simulation.randomness import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.anatomy import Ribbon
    from brain2pix.config.simulation import SimulationSettings

# receptive field size in degrees at fixation, its growth per degree of eccentricity, and the exponent of the compression
SIZES = {1: (0.28, 0.07), 2: (0.40, 0.11), 3: (0.60, 0.17)}
EXPONENTS = {1: 0.80, 2: 0.65, 3: 0.55}
CATEGORY_SIZE = (1.5, 0.4)
CATEGORY_EXPONENT = 0.20
SIZE_SCATTER = 0.12  # of the logarithm
CATEGORY_MIX = (0.6, 0.9)
NON_PREFERRED = (0.1, 0.3)
EXEMPLAR_TERMS = 4
EXEMPLAR_GAIN = 0.05
DROPOUT = 0.05  # of the voxels, with individual differences

CATEGORY_CODE, NON_VISUAL_CODE = 4, 5
AREA_CODES = {"V1": 1, "V2": 2, "V3": 3, "category": CATEGORY_CODE, "non-visual": NON_VISUAL_CODE}


@dataclass(frozen=True)
class CategoryArea:
    """A simulated category area: a sphere in the ribbon outside V1-V3.

    Parameters
    ----------
    xyz : tuple of three floats, centre in the right hemisphere (the left one for one-sided areas), MNI152 mm
    radius_mm : float
    prefers : str, one of `CATEGORIES`
    eccentricity_deg : two floats, range of the centres of its receptive fields
    elevation_deg : float, mean angle from the horizontal meridian, positive = upper field
    one_sided : bool, only where `xyz` lies
    """

    xyz: tuple[float, float, float]
    radius_mm: float
    prefers: str
    eccentricity_deg: tuple[float, float]
    elevation_deg: float = 0.0
    one_sided: bool = False


CATEGORY_AREAS = {
    "FFA": CategoryArea((41, -52, -18), 6, "face", (0.3, 3.0)),
    "OFA": CategoryArea((40, -78, -12), 6, "face", (0.3, 3.0)),
    "VWFA": CategoryArea((-44, -57, -14), 6, "word", (0.3, 3.0), one_sided=True),
    "PPA": CategoryArea((27, -46, -10), 7, "place", (2.0, 8.0), elevation_deg=35),
    "OPA": CategoryArea((33, -80, 21), 6, "place", (2.0, 8.0), elevation_deg=-35),
    "RSC": CategoryArea((17, -56, 13), 6, "place", (2.0, 8.0)),
    "LO": CategoryArea((42, -76, -4), 8, "object", (0.5, 5.0)),
    "EBA": CategoryArea((47, -70, 3), 7, "body", (0.5, 5.0)),
}
# a band of parietal cortex that answers to nothing
NON_VISUAL_BOX_MM = ((-70.0, -52.0, 50.0), (70.0, -46.0, 90.0))


@dataclass(frozen=True)
class Voxels:
    """The voxels of a subject with their truth, one row each.

    Parameters
    ----------
    ijk : int array, [v 3]
    xyz : float array, [v 3], MNI152 mm
    hemi : str array, [v], "L" or "R"
    area : int array, [v]: 1, 2, 3 for V1-V3, 4 category, 5 non-visual
    ventral : bool array, [v], upper field of V1-V3
    in_scope : bool array, [v], V1-V3 with the centre inside the stimulus
    x0_deg, y0_deg, sigma_deg : float arrays, [v], receptive field; NaN for non-visual voxels
    exponent : float array, [v], of the compression
    channel_weight : float32 array, [v c], sums to 1
    preference : int array, [v], row of `CATEGORIES`, -1 without
    mix : float array, [v], share of the category term, 0 in V1-V3
    category_response : float array, [v k], response to each category, the last column to images of none
    exemplar_weight : float32 array, [v 4]
    nc1 : float array, [v], single-trial ceiling as drawn: share of variance; 0 for non-visual voxels
    members : dict of area name to bool array, [v]; category areas may overlap
    """

    ijk: "NDArray[np.int64]"
    xyz: "NDArray[np.float64]"
    hemi: "NDArray[np.str_]"
    area: "NDArray[np.int64]"
    ventral: "NDArray[np.bool_]"
    in_scope: "NDArray[np.bool_]"
    x0_deg: "NDArray[np.float64]"
    y0_deg: "NDArray[np.float64]"
    sigma_deg: "NDArray[np.float64]"
    exponent: "NDArray[np.float64]"
    channel_weight: "NDArray[np.float32]"
    preference: "NDArray[np.int64]"
    mix: "NDArray[np.float64]"
    category_response: "NDArray[np.float64]"
    exemplar_weight: "NDArray[np.float32]"
    nc1: "NDArray[np.float64]"
    members: "dict[str, NDArray[np.bool_]]"

    def __len__(self) -> int:
        return len(self.ijk)

    @property
    def early(self) -> "NDArray[np.bool_]":
        """V1-V3, inside the stimulus or not, [v]."""
        return self.area <= 3

    @property
    def visual(self) -> "NDArray[np.bool_]":
        """Voxels with a receptive field, [v]."""
        return self.area <= CATEGORY_CODE

    def areas(self) -> "dict[str, NDArray[np.bool_]]":
        """Masks as a lab would have them: V1v, V1d, ..., category areas, "nonvisual" and "outside"."""
        masks = {f"V{code}{part}": (self.area == code) & (self.ventral == (part == "v")) for code in (1, 2, 3) for part in ("v", "d")}
        return {**masks, **self.members, "nonvisual": self.area == NON_VISUAL_CODE, "outside": self.early & ~self.in_scope}


def make_voxels(settings: "SimulationSettings") -> Voxels:
    """Place the voxels on the cortex and draw what each sees.

    Parameters
    ----------
    settings : SimulationSettings
    """
    affine, shape = mni_grid(settings.voxel_mm)
    ribbon = posterior_ribbon(affine, shape)
    area, ventral, x0, y0 = _early_areas(ribbon, settings)
    members = {name: _members(ribbon, spec) & (area == 0) for name, spec in CATEGORY_AREAS.items()}
    area[(area == 0) & np.any(list(members.values()), axis=0)] = CATEGORY_CODE
    low, high = NON_VISUAL_BOX_MM
    area[(area == 0) & (ribbon.xyz >= low).all(axis=1) & (ribbon.xyz <= high).all(axis=1)] = NON_VISUAL_CODE
    keep = area > 0
    if settings.individual:
        keep &= stream(settings.seed, "voxels", "dropout").random(len(area)) >= DROPOUT
    members = {name: mask[keep] for name, mask in members.items()}
    return _with_tuning(ribbon, keep, area[keep], ventral[keep], x0[keep], y0[keep], members, settings)


def _early_areas(
    ribbon: "Ribbon", settings: "SimulationSettings"
) -> tuple["NDArray[np.int64]", "NDArray[np.bool_]", "NDArray[np.float64]", "NDArray[np.float64]"]:
    """Area code (0 outside V1-V3), ventral flag and centre of the receptive field of each ribbon voxel."""
    n = len(ribbon.ijk)
    area, ventral = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    x0, y0 = np.full(n, np.nan), np.full(n, np.nan)
    for hemi in HEMISPHERES:
        rows = ribbon.hemi == hemi
        placement = individual_placement(hemi, stream(settings.seed, "voxels", "placement", hemi)) if settings.individual else None
        area[rows], ecc, theta, ventral[rows] = SimulatedAtlas(hemi, placement).lookup_plane(ribbon.plane_xy[rows])
        x0[rows], y0[rows] = visual_field(hemi, ecc, theta)
    return area, ventral, x0, y0


def _members(ribbon: "Ribbon", spec: CategoryArea) -> "NDArray[np.bool_]":
    centres = [np.array(spec.xyz)] if spec.one_sided else [np.array(spec.xyz), np.array(spec.xyz) * (-1, 1, 1)]
    near = [np.linalg.norm(ribbon.xyz - centre, axis=1) <= spec.radius_mm for centre in centres]
    # a sphere beside the midline must not take voxels of the other side
    side = [ribbon.hemi == ("L" if centre[0] < 0 else "R") for centre in centres]
    inside: NDArray[np.bool_] = np.any([a & b for a, b in zip(near, side, strict=True)], axis=0)
    return inside


def _with_tuning(
    ribbon: "Ribbon",
    keep: "NDArray[np.bool_]",
    area: "NDArray[np.int64]",
    ventral: "NDArray[np.bool_]",
    x0: "NDArray[np.float64]",
    y0: "NDArray[np.float64]",
    members: "dict[str, NDArray[np.bool_]]",
    settings: "SimulationSettings",
) -> Voxels:
    """Draw tuning and noise level. Each kind of number has its own stream, so that none depends on how many others were drawn."""
    seed, n, half = settings.seed, len(area), settings.field_of_view_deg / 2
    hemi = ribbon.hemi[keep]
    preference = np.full(n, -1, dtype=np.int64)
    rng = stream(seed, "voxels", "category fields")
    for name, spec in CATEGORY_AREAS.items():
        new = members[name] & (preference < 0)  # where areas overlap, the first one decides
        preference[new] = CATEGORIES.index(spec.prefers)
        nearest, farthest = (float(np.log(edge)) for edge in spec.eccentricity_deg)
        ecc = np.exp(rng.uniform(nearest, farthest, n))
        theta = np.radians(np.clip(spec.elevation_deg + rng.normal(0, 25, n), -88, 88))
        side = np.where(hemi == "L", 1.0, -1.0)
        x0[new], y0[new] = (side * ecc * np.cos(theta))[new], (ecc * np.sin(theta))[new]
    ecc = np.hypot(x0, y0)
    category, early = area == CATEGORY_CODE, area <= 3
    base, slope, exponent = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    for code, (at_fixation, growth) in {**SIZES, CATEGORY_CODE: CATEGORY_SIZE}.items():
        base[area == code], slope[area == code] = at_fixation, growth
        exponent[area == code] = EXPONENTS.get(code, CATEGORY_EXPONENT)
    sigma = (base + slope * ecc) * np.exp(SIZE_SCATTER * stream(seed, "voxels", "size").standard_normal(n))
    response = stream(seed, "voxels", "category").uniform(*NON_PREFERRED, (n, len(CATEGORIES) + 1))
    response[category, preference[category]] = 1.0
    mix = np.where(category, stream(seed, "voxels", "mix").uniform(*CATEGORY_MIX, n), 0.0)
    exemplar = EXEMPLAR_GAIN * stream(seed, "voxels", "exemplar").standard_normal((n, EXEMPLAR_TERMS))
    with np.errstate(invalid="ignore"):
        inside = (np.abs(x0) < half) & (np.abs(y0) < half)
    return Voxels(
        ijk=ribbon.ijk[keep],
        xyz=ribbon.xyz[keep],
        hemi=hemi,
        area=area,
        ventral=ventral & early,
        in_scope=early & inside,
        x0_deg=x0,
        y0_deg=y0,
        sigma_deg=sigma,
        exponent=exponent,
        channel_weight=_channel_weights(np.nan_to_num(ecc), stream(seed, "voxels", "channels")),
        preference=preference,
        mix=mix,
        category_response=response,
        exemplar_weight=(exemplar * category[:, None]).astype(np.float32),
        nc1=_single_trial_ceilings(area, settings),
        members=members,
    )


def _channel_weights(ecc_deg: "NDArray[np.float64]", rng: np.random.Generator) -> "NDArray[np.float32]":
    """Draw from a Dirichlet distribution whose energy channels shift to longer waves with eccentricity, [v c].

    The preferred wavelength grows as .3 + .12 E, the inverse of the preferred frequency in the periphery, from .75 degrees at fixation.
    """
    preferred = np.log2(WAVELENGTHS_DEG[0] * (1 + 0.4 * ecc_deg))
    nearness = np.exp(-((np.log2(WAVELENGTHS_DEG)[None, :] - preferred[:, None]) ** 2) / (2 * 0.8**2))
    nearness *= len(WAVELENGTHS_DEG) / nearness.sum(axis=1, keepdims=True)
    concentration = np.ones((len(ecc_deg), len(CHANNEL_NAMES)))
    concentration[:, :N_ENERGY] = np.repeat(nearness, ORIENTATIONS, axis=1)
    drawn = rng.gamma(np.maximum(concentration, 0.02)) + 1e-9
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True), dtype=np.float32)


def _single_trial_ceilings(area: "NDArray[np.int64]", settings: "SimulationSettings") -> "NDArray[np.float64]":
    rng = stream(settings.seed, "voxels", "ceilings")
    nc1 = np.zeros(len(area))
    for rows, mean in ((area <= 3, settings.ceiling_mean), (area == CATEGORY_CODE, settings.category_ceiling_mean)):
        # a Beta distribution cannot be wider than this; the limit keeps it single-peaked
        spread = min(settings.ceiling_sd, 0.9 * mean, 0.9 * (1 - mean) * np.sqrt(mean))
        total = mean * (1 - mean) / spread**2 - 1
        nc1[rows] = rng.beta(mean * total, (1 - mean) * total, int(rows.sum()))
    return np.clip(nc1, 0, 0.95)
