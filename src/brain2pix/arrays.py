"""The few dataclasses that travel between packages, and the conventions they share.

Conventions, stated once:

* visual field: degrees of visual angle from fixation, x right, y up; angle = atan2(y, x) in 0..360, 0 = right horizontal, 90 = up
* images: float32 in 0..1, channel first, row 0 is the top
* world: RAS millimetres
* axis letters: `b` batch, `n` trials, `t` TRs, `l` lags, `v` voxels, `p` vertices, `r` areas, `c` channels, `h w` pixels
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.config.preparation import ZScore


@dataclass(frozen=True)
class SubjectInfo:
    """Which voxels a batch or a model speaks of, in which order.

    Parameters
    ----------
    subject : str, e.g. "sub-01"
    voxel_index : int array, [v], rows of the subject's voxel table, in the order of the batch
    voxel_hash : str, sha256 over the grid, its affine and the (i, j, k) of these voxels in this order
    unit : str, of the responses, e.g. "z-train"
    field_of_view_deg : float, full width of the square stimulus
    simulated : bool
    zscore : str, how the subject is opened so that its responses are in `unit`, see `PreparationSettings`
    transductive : tuple of str, uses of test responses in the choice of these voxels, or of the encoder that gave their responses
    """

    subject: str
    voxel_index: "NDArray[np.int64]"
    voxel_hash: str
    unit: str
    field_of_view_deg: float
    simulated: bool
    zscore: "ZScore" = "auto"
    transductive: tuple[str, ...] = ()

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return int(self.voxel_index.size)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self.__dict__, "voxel_index": self.voxel_index.tolist(), "transductive": list(self.transductive)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SubjectInfo":
        """Read what `to_dict` wrote; older versions wrote nothing of z-scores and choice of voxels, for there was one way only."""
        index = np.asarray(values["voxel_index"], dtype=np.int64)
        return cls(**{**values, "voxel_index": index, "transductive": tuple(values.get("transductive", ()))})


@dataclass(frozen=True)
class VoxelBatch:
    """Responses of one or several subjects, in the subject's own voxels, before any preparation by a method.

    Parameters
    ----------
    values : Tensor, [b v], or [b l v] for systems that see several lags
    subjects : tuple of str, one id per row; one subject per batch for the systems that know one
    unit : str, e.g. "z-train"
    stimulus_ids : tuple of str, which stimulus each row was measured for; "" where it is none of the subject's. Empty if nothing is known.
        Systems with folds decode a row by the decoders that never saw the responses to its stimulus.

    Raises
    ------
    ShapeError
        If there are stimulus ids, but not one per row.
    """

    values: "Tensor"
    subjects: tuple[str, ...] = ()
    unit: str = "z-train"
    stimulus_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stimulus_ids and len(self.stimulus_ids) != len(self):
            raise ShapeError(
                f"a batch of {len(self)} responses needs one stimulus id each, got {len(self.stimulus_ids)}; give '' where there is none"
            )

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return int(self.values.shape[-1])

    def __len__(self) -> int:
        return int(self.values.shape[0])


# Optional parts of a map: how well each voxel is predicted by an encoder, what noise allows, and the one over the other.
ENCODER_PARTS = ("prediction", "ceiling", "accuracy")


@dataclass(frozen=True)
class RetinotopicMap:
    """Receptive fields of voxels; NaN where none was found. Angle and eccentricity are always derived, never stored.

    Parameters
    ----------
    x0_deg, y0_deg, sigma_deg : float arrays, [v], degrees from fixation, x right, y up
    quality : float array, [v], larger is better; what it measures is in `quality_name`
    field_of_view_deg : float
    quality_name : str
    source : str, e.g. "encoder gradients of gaziv"
    accuracy : float array, [v], or None: the encoder's r on test images over its noise ceiling, not clipped;
        NaN where that is unknown
    accuracy_name : str, what `accuracy` was measured on, or why there is none
    prediction, ceiling : float arrays, [v], or None: that r, and that noise ceiling
    """

    x0_deg: "NDArray[np.float32]"
    y0_deg: "NDArray[np.float32]"
    sigma_deg: "NDArray[np.float32]"
    quality: "NDArray[np.float32]"
    field_of_view_deg: float
    quality_name: str = "held-out r"
    source: str = ""
    accuracy: "NDArray[np.float32] | None" = None
    accuracy_name: str = ""
    prediction: "NDArray[np.float32] | None" = None
    ceiling: "NDArray[np.float32] | None" = None

    def __post_init__(self) -> None:
        shapes = {name: getattr(self, name).shape for name in ("x0_deg", "y0_deg", "sigma_deg", "quality")}
        shapes |= {name: part.shape for name, part in self.encoder_parts.items()}
        if len(set(shapes.values())) != 1 or self.x0_deg.ndim != 1:
            raise ShapeError(f"a map needs one value per voxel in each of its parts, got shapes {shapes}")

    @property
    def encoder_parts(self) -> "dict[str, NDArray[np.float32]]":
        """Those of `ENCODER_PARTS` that there are, each [v]."""
        found = {"prediction": self.prediction, "ceiling": self.ceiling, "accuracy": self.accuracy}
        return {name: part for name, part in found.items() if part is not None}

    @property
    def eccentricity_deg(self) -> "NDArray[np.float32]":
        """Distance from fixation, [v]."""
        return np.hypot(self.x0_deg, self.y0_deg)

    @property
    def angle_deg(self) -> "NDArray[np.float32]":
        """Polar angle in 0..360, 0 = right horizontal, 90 = up, [v]."""
        return np.degrees(np.arctan2(self.y0_deg, self.x0_deg)) % 360
