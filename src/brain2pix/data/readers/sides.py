"""Hold the responses of a dataset against left and right, up and down, before any system is trained on it."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from brain2pix.arrays import RetinotopicMap
from brain2pix.data.field_signs import Cortex, field_signs
from brain2pix.data.hemifield import HemifieldCheck, check_hemifields

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices
    from brain2pix.data.readers.base import Dataset

_GRID = 8  # patches along an edge of the picture
_EARLY = ("V1", "V2", "V3")
# A voxel without a receptive field reaches this r over sqrt(n) in one of 64 patches about once in 250 voxels.
_MIN_R = 4.0
_FEWEST_VOXELS = 20


class FieldPreference:
    """Where in the picture contrast drives the voxels of V1-V3: a coarse map, collected while pictures and responses pass by.

    Parameters
    ----------
    dataset : Dataset
    trials : DataFrame, the rows that are imported
    """

    def __init__(self, dataset: "Dataset", trials: "pd.DataFrame") -> None:
        self._field_deg = dataset.field_of_view_deg
        self._hemi = dataset.placement.hemi
        self._areas = {name: mask for name, mask in dataset.areas.items() if name.rstrip("vd") in _EARLY}
        self._contrast: dict[str, NDArray[np.float32]] = {}
        self._ids = trials["stimulus_id"].to_numpy(dtype=str)
        self._design: tuple[NDArray[np.bool_], NDArray[np.float32]] | None = None
        n_voxels = dataset.responses.shape[1]
        every = list(self._areas.values())
        self._chosen = np.logical_or.reduce(every) if every else np.zeros(n_voxels, dtype=bool)
        self._x, self._y, self._r = (np.full(n_voxels, np.nan, dtype=np.float32) for _ in range(3))

    @property
    def possible(self) -> bool:
        """Whether there are voxels of V1-V3 whose hemisphere, or whose upper or lower part, is known."""
        parts = any(name.endswith(("v", "d")) for name in self._areas)
        return bool(self._chosen.any()) and (parts or bool(np.isin(self._hemi[self._chosen], ("L", "R")).any()))

    def picture(self, stimulus_id: str, image: "NDArray[np.uint8]") -> None:
        """Take a picture, [h w 3]."""
        if self.possible and min(image.shape[:2]) >= _GRID:
            self._contrast[stimulus_id] = _patch_contrast(image)

    def responses(self, columns: slice, values: "NDArray[np.float32]") -> None:
        """Take the responses of some voxels to all trials, [n v]."""
        chosen = np.flatnonzero(self._chosen[columns])
        if not chosen.size or not self._contrast:
            return
        rows, design = self._design_of_trials()
        own = values[np.ix_(rows, chosen)].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            own -= own.mean(axis=0)
            own /= np.sqrt((own**2).sum(axis=0))
            r = (design.T @ own).T  # [v patches]
        target = chosen + (columns.start or 0)
        self._x[target], self._y[target], self._r[target] = _centres(r, self._field_deg)

    def check(self, cortex: Cortex | None = None) -> HemifieldCheck | None:
        """Give the result, with the field sign where surfaces are given; None if too few voxels follow any patch's contrast to tell."""
        # Pictures count, not trials: repeats of one picture tell nothing new of what its contrast drives.
        enough = np.nan_to_num(self._r) > _MIN_R / np.sqrt(max(len(self._contrast), 1))
        if enough.sum() < _FEWEST_VOXELS:
            return None
        quality = np.where(enough, 1, 0).astype(np.float32)
        found = RetinotopicMap(self._x, self._y, np.ones_like(self._x), quality, self._field_deg, "drive", "contrast in patches")
        signs = () if cortex is None else field_signs(cortex, found, min_quality=0.5)
        return check_hemifields(found, self._hemi, self._areas, min_quality=0.5, signs=signs)

    def _design_of_trials(self) -> "tuple[NDArray[np.bool_], NDArray[np.float32]]":
        """Rows with a picture, and their standardised contrast, [n patches]."""
        if self._design is None:
            rows = np.isin(self._ids, list(self._contrast))
            design = np.stack([self._contrast[name] for name in self._ids[rows]]).astype(np.float64)
            design -= design.mean(axis=0)
            norm = np.sqrt((design**2).sum(axis=0))
            self._design = rows, (design / np.where(norm > 0, norm, 1)).astype(np.float32)
        return self._design


@dataclass(frozen=True)
class Offer:
    """A choice of the import that would mend what the check found.

    Parameters
    ----------
    choice : "flip" or "flip_images", field of `Choices`
    axis : "x" or "y"
    used : bool, whether it was chosen: then it is to be taken back
    why : str
    """

    choice: Literal["flip", "flip_images"]
    axis: Literal["x", "y"]
    used: bool
    why: str

    def __str__(self) -> str:
        option = f"--{self.choice.replace('_', '-')} {self.axis}"
        return f"without {option}" if self.used else f"with {option} ({self.why})"


@dataclass(frozen=True)
class SideReport:
    """What an import knows of left and right, up and down.

    Parameters
    ----------
    check : HemifieldCheck or None if nothing could be checked
    unchecked : str, why not; empty if it was
    offers : tuple of Offer; empty if all is well
    warning : str, for the user; empty if all is well
    """

    check: HemifieldCheck | None
    unchecked: str = ""
    offers: tuple[Offer, ...] = ()
    warning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `outcome` is "good", "contradiction" or "unchecked"."""
        sides = () if self.check is None else tuple(side for side in self.check.sides if side.n_voxels)
        signs = () if self.check is None else self.check.signs
        return {
            "outcome": "contradiction" if self.warning else "good" if sides else "unchecked",
            "unchecked": self.unchecked,
            "sides": [
                {
                    "group": side.group,
                    "expected": side.expected,
                    "n_voxels": side.n_voxels,
                    "wrong_share": side.wrong_share,
                    "median_deg": side.median_deg,
                    "ok": side.ok,
                    "text": str(side),
                }
                for side in sides
            ],
            "signs": [
                {
                    "area": sign.area,
                    "expected": sign.expected,
                    "n_triangles": sign.n_triangles,
                    "right_share": sign.right_share,
                    "ok": sign.ok,
                    "text": str(sign),
                }
                for sign in signs
            ],
            "warning": self.warning,
            "offers": [asdict(offer) for offer in self.offers],
        }


def report(sides: FieldPreference, choices: "Choices", *, has_world: bool, cortex: Cortex | None = None) -> SideReport:
    """Say what was found, or why nothing was.

    Parameters
    ----------
    sides : FieldPreference, after all pictures and responses have passed by
    choices : Choices, of the import
    has_world : bool, whether voxel coordinates mean something
    cortex : Cortex or None, the surfaces of the dataset
    """
    if not sides.possible:
        reason = "no voxels of V1-V3" if has_world else "the files do not say in which hemisphere a voxel lies"
        return SideReport(None, f"left and right were not checked: {reason}; check the maps of a trained system")
    check = sides.check(cortex)
    if check is None:
        return SideReport(None, "left and right could not be checked: too few voxels follow the contrast of the pictures")
    found = offers(check, choices, has_world)
    return SideReport(check, "", found, _advice(check, found))


def offers(check: HemifieldCheck, choices: "Choices", has_world: bool) -> tuple[Offer, ...]:
    """Choices of the import that would mend what a check found; none if all is well.

    Mirrored pictures turn the field sign over, mirrored voxel coordinates do not: where surfaces tell, only what agrees is offered.
    """
    wrong = {side.expected for side in check.sides if not side.ok}
    sideways, upright = bool(wrong & {"left", "right"}), bool(wrong & {"upper", "lower"})
    mirrored = None if sideways and upright else check.mirrored  # two mirrorings undo each other's sign
    found = []
    if sideways and has_world and mirrored is not True:
        found.append(Offer("flip", "x", "x" in choices.flip, "the voxel coordinates are mirrored, as LPS read as RAS"))
    if sideways and not (has_world and mirrored is False):
        found.append(Offer("flip_images", "x", "x" in choices.flip_images, "the pictures are mirrored"))
    if upright and mirrored is not False:
        found.append(Offer("flip_images", "y", "y" in choices.flip_images, "the pictures are upside down"))
    return tuple(found)


def _advice(check: HemifieldCheck, found: tuple[Offer, ...]) -> str:
    """Say what is wrong and what would mend it; "" if all is well."""
    if check.ok or all(side.ok for side in check.sides):
        return check.warning()  # "", or of the field sign alone
    wrong = "; ".join(
        f"{side.group} follows the {_OPPOSITE[side.expected]} half of the pictures in {side.wrong_share:.0%}"
        for side in check.sides
        if not side.ok
    )
    signs = f"; {', '.join(map(str, check.signs))}" if check.mirrored is not None else ""
    mend = (
        f"if that is why, import again {' or '.join(map(str, found))}" if found else "the names of ventral and dorsal areas look exchanged"
    )
    return f"responses contradict the brain's own sides: {wrong}{signs}. Nothing was changed; {mend}"


_OPPOSITE = {"right": "LEFT", "left": "RIGHT", "upper": "LOWER", "lower": "UPPER"}


def _patch_contrast(image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """Take the standard deviation of the luminance in each patch, row by row from the top, [64]."""
    grey = image.astype(np.float32).mean(axis=2)
    height, width = (edge // _GRID * _GRID for edge in grey.shape)
    top, left = (grey.shape[0] - height) // 2, (grey.shape[1] - width) // 2
    cut = grey[top : top + height, left : left + width]
    patches = cut.reshape(_GRID, height // _GRID, _GRID, width // _GRID)
    return np.asarray(patches.std(axis=(1, 3)).reshape(-1), dtype=np.float32)


def _centres(r: "NDArray[np.floating]", field_deg: float) -> "tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]":
    """Centre of gravity of what stands out of the mean r over the picture, and the largest r."""
    weights = np.clip(r - r.mean(axis=1, keepdims=True), 0, None) ** 2
    total = weights.sum(axis=1)
    place = ((np.arange(_GRID) + 0.5) / _GRID - 0.5) * field_deg
    x, y = np.tile(place, _GRID), np.repeat(-place, _GRID)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights @ x / total, weights @ y / total, r.max(axis=1)
