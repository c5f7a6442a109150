"""How well an encoder predicts each voxel, beside what noise allows: a table, volumes and a JSON that says what they are."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brain2pix.arrays import RetinotopicMap
from brain2pix.data.rois import names_of_voxels
from brain2pix.data.tables import read_json, read_table, write_table
from brain2pix.data.voxel_volumes import write_voxel_volumes
from brain2pix.errors import DataFormatError
from brain2pix.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

TABLE, SIDECAR = "encoder_voxels.tsv", "encoder_voxels.json"
# Columns of the table and what they are, in the sidecar too.
COLUMNS = {
    "r": "Pearson correlation, across the images, of the encoder's prediction with the mean measured response",
    "ceiling": "split-half noise ceiling: the correlation that a perfect model reaches, sqrt(2h / (1 + h)); n/a where h <= 0 or unknown",
    "r_over_ceiling": "r / ceiling, not clipped; n/a where the ceiling is unknown or not above 0.2",
    "half": "h: correlation of the means over random halves of the repeats, across images, Fisher-z averaged over 100 splits",
    "reliability": "2h / (1 + h); n/a where h <= 0",
}
_MAPS = {"r": "prediction", "ceiling": "ceiling", "r_over_ceiling": "accuracy"}  # columns that are maps, and what maps call them


@dataclass(frozen=True, eq=False)
class VoxelAccuracy:
    """Accuracy of an encoder per voxel.

    Parameters
    ----------
    values : dict of the names of `COLUMNS` to float32 array, [v], NaN where unknown
    split : str, of the images
    n_images : int
    repeats : tuple of two ints, fewest and most trials of an image
    method : str, whose encoder
    no_ceiling : str, why there is no ceiling; empty if there is one
    """

    values: "dict[str, NDArray[np.float32]]"
    split: str
    n_images: int
    repeats: tuple[int, int]
    method: str
    no_ceiling: str = ""

    @property
    def measured_on(self) -> str:
        """Split, images and repeats in words."""
        low, high = self.repeats
        each = f"{low}" if low == high else f"{low} to {high}"
        return f"{self.n_images:,} {self.split} images, mean of {each} repeat{'s' * (high > 1)} each"

    def on(self, subject: "Subject", voxel_index: "NDArray[np.integer]") -> "VoxelAccuracy":
        """Spread the values of some voxels, rows `voxel_index`, over all voxels of a subject."""

        def everywhere(part: "NDArray[np.float32]") -> "NDArray[np.float32]":
            whole = np.full(subject.n_voxels, np.nan, dtype=np.float32)
            whole[voxel_index] = part
            return whole

        return replace(self, values={name: everywhere(part) for name, part in self.values.items()})

    def beside(self, found: RetinotopicMap | None, field_of_view_deg: float) -> RetinotopicMap:
        """Give a map that also says this.

        Parameters
        ----------
        found : RetinotopicMap over the same voxels, or None: a map without receptive fields, whose quality is r
        field_of_view_deg : float, of a map that is made
        """
        parts: dict[str, Any] = {_MAPS[name]: self.values[name] for name in _MAPS}
        if not np.isfinite(self.values["ceiling"]).any():
            parts = {"prediction": parts["prediction"]}
        name = self.no_ceiling or f"r of the encoder on {self.measured_on}, over the split-half noise ceiling"
        if found is None:
            nowhere = np.full_like(self.values["r"], np.nan)
            source, quality = f"encoder of {self.method}", f"r of the encoder on {self.measured_on}"
            found = RetinotopicMap(nowhere, nowhere, nowhere, self.values["r"], field_of_view_deg, quality, source)
        return replace(found, accuracy_name=name, **parts)


def write_voxel_accuracy(
    folder: "Path", found: VoxelAccuracy, subject: "Subject", voxel_index: "NDArray[np.integer]", about: dict[str, Any]
) -> "list[Path]":
    """Write the table of voxels, a volume of r, of the ceiling and of the one over the other, and what they are.

    Parameters
    ----------
    folder : Path
    found : VoxelAccuracy, [v]
    subject : Subject
    voxel_index : int array, [v], rows of its voxel table
    about : dict, JSON values, more for the sidecar

    Returns
    -------
    list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = np.asarray(voxel_index, dtype=np.int64)
    table = pd.concat([pd.DataFrame({"voxel": index}), _places(subject, index), pd.DataFrame(found.values)], axis=1)
    base = f"{subject.name}_space-{subject.space.name}_desc-{''.join(filter(str.isalnum, found.split))}"
    maps = {name: found.values[column] for column, name in _MAPS.items() if np.isfinite(found.values[column]).any()}
    for stale in (path for name in _MAPS.values() for path in folder.glob(f"*_{name}.nii.gz")):
        stale.unlink()
    write_table(folder / TABLE, table)
    write_voxel_volumes(folder, base, maps, subject, index)
    write_json(folder / SIDECAR, {**_describe(found, subject), **about})
    return [folder / TABLE, *(folder / f"{base}_{name}.nii.gz" for name in maps), folder / SIDECAR]


def read_voxel_accuracy(folder: "Path", subject: "Subject") -> VoxelAccuracy:
    """Read what `write_voxel_accuracy` wrote, over all voxels of a subject: NaN where the table says nothing.

    Raises
    ------
    MissingDataError
        If there is no such table.
    DataFormatError
        If it is damaged, or of other voxels than the subject's.
    """
    file = folder / TABLE
    table = read_table(file, "accuracy of voxels", ("voxel", "i", "j", "k", *COLUMNS))
    about = read_json(folder / SIDECAR, "description of the accuracy of voxels")
    index = _whole(table["voxel"], file)
    ijk = np.stack([_whole(table[axis], file) for axis in "ijk"], axis=1)
    if index.size and (index.min() < 0 or index.max() >= subject.n_voxels or not np.array_equal(subject.ijk[index], ijk)):
        raise DataFormatError(f"{file} is about other voxels than those of {subject.path}; evaluate again")
    try:
        values = {name: table[name].to_numpy(dtype=np.float32) for name in COLUMNS}
        low, high = (int(number) for number in about["Repeats"])
        found = VoxelAccuracy(
            values, str(about["Split"]), int(about["Images"]), (low, high), str(about["Method"]), str(about["NotAvailable"] or "")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataFormatError(f"{folder / SIDECAR} or {TABLE} is damaged ({type(error).__name__}: {error}); evaluate again") from None
    return found.on(subject, index)


def with_voxel_accuracy(found: RetinotopicMap | None, folder: "Path | None", subject: "Subject") -> RetinotopicMap | None:
    """Add to a map what an evaluation of the same encoder has written, unless the map says it itself.

    Parameters
    ----------
    found : RetinotopicMap over all voxels of the subject, or None
    folder : Path or None, results of the evaluation
    subject : Subject

    Raises
    ------
    DataFormatError
        If the table of the evaluation is damaged, or of other voxels.
    """
    if folder is None or not (folder / TABLE).is_file() or (found is not None and found.prediction is not None):
        return found
    return read_voxel_accuracy(folder, subject).beside(found, subject.field_of_view_deg)


def _places(subject: "Subject", index: "NDArray[np.int64]") -> pd.DataFrame:
    table = subject.voxels.iloc[index][["i", "j", "k", "hemi"]].reset_index(drop=True)
    return table.assign(areas=names_of_voxels(subject.areas, index))


def _whole(column: "pd.Series[Any]", file: "Path") -> "NDArray[np.int64]":
    if column.dtype.kind != "i":
        raise DataFormatError(f"{file}: column {column.name} must hold whole numbers; evaluate again")
    return column.to_numpy(dtype=np.int64)


def _describe(found: VoxelAccuracy, subject: "Subject") -> dict[str, Any]:
    texts = {
        "voxel": "row of the subject's voxel table, from 0",
        **dict.fromkeys("ijk", "index in the grid, from 0"),
        "hemi": "hemisphere: L, R or n/a",
        "areas": "areas that hold the voxel, with commas",
        **COLUMNS,
    }
    return {
        "Subject": subject.name,
        "Dataset": subject.title,
        "Simulated": subject.simulated,
        "Method": found.method,
        "Split": found.split,
        "Images": found.n_images,
        "Repeats": list(found.repeats),
        "NotAvailable": found.no_ceiling or None,
        "Columns": texts,
        "Volumes": {name: column for column, name in _MAPS.items()},
    }
