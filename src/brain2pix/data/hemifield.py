"""Check a map against the brain's own left and right, up and down, and against the field sign of its areas.

The two see different mistakes. A map whose x0 has the wrong sign is mirrored on the cortex too; where the hemispheres only have each
other's names, left and right are wrong and the field sign is right.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.field_signs import CLEARLY_WRONG, SignCheck, cortex_of, field_signs
from brain2pix.errors import Brain2PixError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject

# More than this share of voxels on the wrong side: the map is mirrored, not noisy.
MAX_WRONG_SHARE = 0.3
_EARLY = ("V1", "V2", "V3")
# Nearer to a meridian than this, a field lies on it: the rounding of an angle is no side.
_MERIDIAN_DEG = 0.001
_LABELS = "exchange the labels of ventral and dorsal areas"
_REASONS = {
    "flip x": "the map is mirrored (the sign of x0: flip x)",
    "flip y": "the map is upside down (the sign of y0: flip y)",
    "flip x and y": "the map is turned by half a circle (the signs of both: flip x and y)",
    "swap hemispheres": "the hemispheres of the subject are exchanged (masks or affine: swap hemispheres)",
    "swap hemispheres and flip y": "the hemispheres are exchanged and the map is upside down (swap hemispheres and flip y)",
    _LABELS: "ventral and dorsal areas are exchanged (their labels)",
}
# Why not the other reading of the same wrong sides.
_AGAINST = {
    "flip x": "swap hemispheres would leave the field sign mirrored",
    "flip y": "other labels of ventral and dorsal areas would leave the field sign mirrored",
    "swap hemispheres": "flip x would turn the field sign over",
    _LABELS: "flip y would turn the field sign over",
}
_MIRRORED = {"right": ("LEFT", "x"), "left": ("RIGHT", "x"), "upper": ("LOWER", "y"), "lower": ("UPPER", "y")}


@dataclass(frozen=True)
class SideCheck:
    """One expectation and how the voxels meet it.

    Parameters
    ----------
    group : str, which voxels, e.g. "left hemisphere" or "ventral V1-V3"
    expected : str, field that they must prefer: "right", "left", "upper" or "lower"
    n_voxels : int, with a receptive field
    wrong_share : float, of these voxels, 0..1; NaN if there are none
    median_deg : float, of x0 or y0
    worst_area : str, early area with the largest wrong share, "" if none is named
    worst_share : float
    """

    group: str
    expected: str
    n_voxels: int
    wrong_share: float
    median_deg: float
    worst_area: str
    worst_share: float

    @property
    def ok(self) -> bool:
        """Whether the expectation is met, or could not be tested."""
        return not self.wrong_share > MAX_WRONG_SHARE

    def __str__(self) -> str:
        if not self.n_voxels:
            return f"{self.group}: no voxel with a receptive field"
        good = f"{self.group} prefers the {self.expected} field in {1 - self.wrong_share:.0%} of {self.n_voxels} voxels"
        if self.ok:
            return f"{good} (median {self.median_deg:+.2f} degrees)"
        found, axis = _MIRRORED[self.expected]
        return f"{self.group} prefers the {found} field in {self.worst_share:.0%} of {self.worst_area}: angle looks mirrored ({axis})"


@dataclass(frozen=True)
class HemifieldCheck:
    """Result of `check_hemifields`.

    Parameters
    ----------
    sides : tuple of SideCheck
    remedies : tuple of str, what to offer: "flip x", "flip y", "swap hemispheres", ...; empty if all is well. Of several, any one
    signs : tuple of SignCheck, one for each area with a known sign and enough triangles; empty without surfaces
    """

    sides: tuple[SideCheck, ...]
    remedies: tuple[str, ...]
    signs: tuple[SignCheck, ...] = ()

    @property
    def mirrored(self) -> bool | None:
        """Whether V1-V3 together are mirrored on the cortex; None if surfaces do not tell."""
        return _mirrored(self.signs)

    @property
    def ok(self) -> bool:
        """Whether no expectation is broken."""
        return all(side.ok for side in self.sides) and not self.mirrored

    def lines(self) -> list[str]:
        """One line for each expectation, and one for the remedies."""
        offer = [f"try: {' or '.join(self.remedies)}"] if self.remedies else []
        return [*map(str, (*self.sides, *self.signs)), *offer]

    def warning(self) -> str:
        """Say what to know before trusting left and right, up and down, with what would mend it; "" if all is well."""
        if self.ok:
            return ""
        wrong = [side for side in self.sides if not side.ok]
        if not wrong:
            return (
                f"This map lies mirrored on the cortex ({self._told()}), although left and right, up and down agree: the surfaces look "
                "mirrored or inside out, or the affine exchanges left and right. Nothing was changed: find out which before trusting it."
            )
        if not any(side.wrong_share > CLEARLY_WRONG for side in wrong):
            groups = ", ".join(f"{side.group} {side.wrong_share:.0%}" for side in wrong)
            return (
                f"This map shows no clear visual half-field (unexpected side: {groups}; at most {MAX_WRONG_SHARE:.0%} was expected). "
                "It may be noise: leave out weak voxels, or train longer."
            )
        axes = {"x" if side.expected in ("left", "right") else "y" for side in wrong}
        what = {"x": "left and right", "y": "up and down"}
        readings = {
            "x": f"Either {_REASONS['flip x']}, or {_REASONS['swap hemispheres']}.",
            "y": f"Either {_REASONS['flip y']}, or {_REASONS[_LABELS]}.",
        }
        found = "; ".join(map(str, wrong))
        told = " ".join(readings[axis] for axis in sorted(axes))
        if self.mirrored is not None:
            remedy = self.remedies[0]
            against = f"; {_AGAINST[remedy]}" if remedy in _AGAINST else ""
            told = f"{self._told()}. What agrees with all of this: {_REASONS[remedy]}{against}."
        return (
            f"This map contradicts {' and '.join(what[axis] for axis in sorted(axes))} of the brain: {found}. "
            f"{told} Nothing was changed: find out which before trusting it."
        )

    def _told(self) -> str:
        return ", ".join(str(sign) for sign in self.signs if sign.area in _EARLY)


def check_hemifields(
    retinotopy: "RetinotopicMap",
    hemi: "NDArray[np.str_]",
    areas: "Mapping[str, NDArray[np.bool_]]",
    *,
    min_quality: float | None = None,
    signs: tuple[SignCheck, ...] = (),
) -> HemifieldCheck:
    """Check that each hemisphere of V1-V3 prefers the opposite field, ventral parts the upper and dorsal parts the lower one.

    Run it after every import of a map and show the result.

    Parameters
    ----------
    retinotopy : RetinotopicMap, [v]
    hemi : array of "L", "R", "n/a", [v]
    areas : mapping of area name to bool array, [v]; V1, V2, V3 and V1v, V1d, ... are used. Without any of them all voxels are.
    min_quality : float or None, voxels below it are left out
    signs : tuple of SignCheck, see `field_signs`; they decide which remedies agree with what is seen

    Raises
    ------
    ShapeError
        If hemi or an area has not one value per voxel.
    """
    n_voxels = retinotopy.x0_deg.size
    for name, values in {"hemi": hemi, **areas}.items():
        if np.shape(values) != (n_voxels,):
            raise ShapeError(f"{name} needs one value for each of {n_voxels} voxels of the map, got shape {np.shape(values)}")
    good = np.isfinite(retinotopy.x0_deg) & np.isfinite(retinotopy.y0_deg)
    if min_quality is not None:
        good &= retinotopy.quality >= min_quality
    early = {name: np.asarray(areas[name], dtype=np.bool_) & good for name in _EARLY if name in areas}
    whole = early or {"all voxels": good}
    parts = {
        kind: {f"{name}{kind}": np.asarray(areas[f"{name}{kind}"], dtype=np.bool_) & good for name in _EARLY if f"{name}{kind}" in areas}
        for kind in "vd"
    }
    sides = (
        _side("left hemisphere", "right", retinotopy.x0_deg, {name: mask & (hemi == "L") for name, mask in whole.items()}),
        _side("right hemisphere", "left", retinotopy.x0_deg, {name: mask & (hemi == "R") for name, mask in whole.items()}),
        _side("ventral V1-V3", "upper", retinotopy.y0_deg, parts["v"]),
        _side("dorsal V1-V3", "lower", retinotopy.y0_deg, parts["d"]),
    )
    sideways, upright = not (sides[0].ok and sides[1].ok), not (sides[2].ok and sides[3].ok)
    return HemifieldCheck(sides, _remedies(sideways, upright, _mirrored(signs)), signs)


def _remedies(sideways: bool, upright: bool, mirrored: bool | None) -> tuple[str, ...]:
    """Say what mends left and right, up and down; one flip turns the field sign over, two do not, exchanged names do not."""
    if mirrored is None:
        return (*(("flip x", "swap hemispheres") if sideways else ()), *(("flip y",) if upright else ()))
    known = {
        (True, False, True): "flip x",
        (True, False, False): "swap hemispheres",
        (False, True, True): "flip y",
        (False, True, False): _LABELS,
        (True, True, True): "swap hemispheres and flip y",
        (True, True, False): "flip x and y",
    }
    found = known.get((sideways, upright, mirrored))
    return () if found is None else (found,)


def _mirrored(signs: tuple[SignCheck, ...]) -> bool | None:
    early = [sign for sign in signs if sign.area in _EARLY]
    count = sum(sign.n_triangles for sign in early)
    if not count:
        return None
    share = sum(sign.right_share * sign.n_triangles for sign in early) / count
    return True if share < 1 - CLEARLY_WRONG else False if share > CLEARLY_WRONG else None


def check_sides(subject: "Subject", retinotopy: "RetinotopicMap", *, min_quality: float | None = None) -> HemifieldCheck:
    """Run `check_hemifields` and `field_signs` on a map over all voxels of a subject.

    Parameters
    ----------
    subject : Subject
    retinotopy : RetinotopicMap, [v], as `StoredMaps.on` gives it
    min_quality : float or None, voxels below it are left out
    """
    hemi = subject.voxels["hemi"].to_numpy(dtype=str)
    try:
        signs = field_signs(cortex_of(subject), retinotopy, min_quality=min_quality)
    except Brain2PixError:  # of a damaged surface, which whoever draws it reports
        signs = ()
    return check_hemifields(retinotopy, hemi, subject.areas, min_quality=min_quality, signs=signs)


def _side(group: str, expected: str, position: "NDArray[np.floating]", masks: "Mapping[str, NDArray[np.bool_]]") -> SideCheck:
    sign = 1 if expected in ("right", "upper") else -1
    shares = {name: float((sign * position[mask] < -_MERIDIAN_DEG).mean()) for name, mask in masks.items() if mask.any()}
    if not shares:
        return SideCheck(group, expected, 0, float("nan"), float("nan"), "", float("nan"))
    every = np.logical_or.reduce(list(masks.values()))
    worst = max(shares, key=lambda name: shares[name])
    values = position[every]
    return SideCheck(
        group, expected, int(every.sum()), float((sign * values < -_MERIDIAN_DEG).mean()), float(np.median(values)), worst, shares[worst]
    )
