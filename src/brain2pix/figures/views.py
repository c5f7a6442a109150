"""Which maps there are, which voxels of them are shown, and in which colours. Numpy only: window and exported figures show the same."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.arrays import ENCODER_PARTS
from brain2pix.figures.colormaps import LIMITS, LINEAR, THRESHOLD, eccentricity_limits, map_colors, map_values, quality_alpha, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap

KEPT_SHARE = 0.85  # of the voxels, where the threshold starts if quality is no correlation
FAINTEST = 0.2  # opacity of the weakest voxel that is shown: what is counted can be seen
TITLES = {
    "angle": "Polar angle",
    "eccentricity": "Eccentricity",
    "size": "Size",
    "quality": "Quality",
    "prediction": "Prediction (r)",
    "ceiling": "Noise ceiling",
    "accuracy": "Accuracy over ceiling",
}
STEPS = 256


@dataclass(frozen=True)
class MapKind:
    """One way to colour receptive fields.

    Parameters
    ----------
    kind : str, as `brain2pix.figures.colormaps` knows it
    low, high : float, ends of the colour scale
    """

    kind: str
    low: float
    high: float

    @property
    def name(self) -> str:
        """For people."""
        return TITLES[self.kind]

    @property
    def unit(self) -> str:
        """Sign after a number."""
        return "" if self.kind in LINEAR else "°"

    @property
    def limits(self) -> tuple[float, float] | None:
        """Ends of the scale, as `map_colors` takes them; an angle has none."""
        return None if self.kind == "angle" else (self.low, self.high)

    def colours(self, values: "NDArray[np.floating]") -> "NDArray[np.float32]":
        """Colours of values, [... 3] in 0..1."""
        return map_colors(values, self.kind, limits=self.limits)[..., :3]

    def table(self) -> "NDArray[np.float32]":
        """Colours of values from `low` to `high` in equal steps, [256 3]."""
        return self.colours(np.linspace(self.low, self.high, STEPS))


def map_kinds(found: "RetinotopicMap") -> dict[str, MapKind]:
    """Kinds of map that a set of receptive fields offers, by name; without any field, only how voxels are predicted."""
    small, large = _span(found.sigma_deg, 2, 98)
    parts = [name for name, part in found.encoder_parts.items() if np.isfinite(part).any()]
    kinds = [
        MapKind("angle", 0.0, 360.0),
        MapKind("eccentricity", *eccentricity_limits(found.field_of_view_deg)),
        MapKind("size", max(small, 0.05), max(large, 0.1)),
        MapKind("quality", *_span(found.quality, 2, 98)),
    ]
    kinds = kinds if np.isfinite(found.x0_deg).any() or not parts else []
    return {kind.name: kind for kind in (*kinds, *(MapKind(name, *LIMITS[name]) for name in parts))}


def why_no_accuracy(found: "RetinotopicMap") -> str:
    """Say why there is no map of accuracy; empty if there is one."""
    if "Accuracy over ceiling" in map_kinds(found):
        return ""
    return found.accuracy_name or "these maps were made before it was stored; make them again with <code>brain2pix maps</code>"


def threshold_range(found: "RetinotopicMap") -> tuple[float, float, float]:
    """Lowest, first and highest threshold that make sense for a quality measure."""
    quality = found.quality[np.isfinite(found.quality)]
    low, high = _span(quality, 0, 99)
    if low >= -1 and high <= 1:  # a correlation
        return 0.0, THRESHOLD[0], max(high, THRESHOLD[1])
    return low, float(np.quantile(quality, 1 - KEPT_SHARE)), high


@dataclass(frozen=True)
class MapView:
    """A map as it is shown now, over all voxels of the subject.

    Parameters
    ----------
    kind : MapKind
    value : float32 array, [v], in the unit of `kind`; NaN without a receptive field
    alpha : float32 array, [v], 0..1
    colours : float32 array, [v 3], 0..1
    shown : bool array, [v]
    n_mapped : int, voxels with a receptive field, or with a value if that is not about fields
    """

    kind: MapKind
    value: "NDArray[np.float32]"
    alpha: "NDArray[np.float32]"
    colours: "NDArray[np.float32]"
    shown: "NDArray[np.bool_]"
    n_mapped: int


def map_view(found: "RetinotopicMap", kind: MapKind, threshold: float) -> MapView:
    """Colour receptive fields and decide which are shown.

    Receptive fields that miss the stimulus are hidden, not moved to its edge. How well a voxel is predicted does not need a field.

    Parameters
    ----------
    found : RetinotopicMap
    kind : MapKind
    threshold : float, least quality
    """
    value = np.asarray(map_values(found, kind.kind), dtype=np.float32)
    mapped = np.isfinite(value) if kind.kind in ENCODER_PARTS else np.isfinite(found.eccentricity_deg)
    with np.errstate(invalid="ignore"):
        shown = mapped & np.isfinite(value) & (found.quality >= threshold)
    if kind.kind not in ENCODER_PARTS:
        shown &= visible(found)
    low, _, high = threshold_range(found)
    ramp = (THRESHOLD[1] - THRESHOLD[0]) * (high - low)
    alpha = np.where(shown, np.maximum(quality_alpha(found.quality, (threshold, threshold + ramp)), FAINTEST), 0)
    return MapView(kind, value, alpha.astype(np.float32), kind.colours(value), shown, int(mapped.sum()))


def _span(values: "NDArray[np.floating]", low: float, high: float) -> tuple[float, float]:
    """Percentiles of the finite values, apart even if all are the same or there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    first, last = (float(value) for value in np.percentile(finite, (low, high)))
    return first, max(last, first + 1e-3)
