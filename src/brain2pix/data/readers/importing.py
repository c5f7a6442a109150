"""From a dataset in a published layout to a native folder, with bounded memory."""

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.data.betas import VOXELS_PER_CHUNK
from brain2pix.data.checks import IMAGELESS_SPLITS
from brain2pix.data.field_signs import Cortex
from brain2pix.data.images import centre_crop
from brain2pix.data.native import NativeContent, write_native
from brain2pix.data.provenance import write_provenance
from brain2pix.data.readers._reading import BLOCK_BYTES
from brain2pix.data.readers.sides import FieldPreference, SideReport, report
from brain2pix.data.rois import with_unions
from brain2pix.data.volumes import join_names
from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.events import CancelToken, Message, Progress, ignore

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from brain2pix.config.importing import Choices
    from brain2pix.data.readers.base import Dataset, Pictures
    from brain2pix.events import Event, EventSink


@dataclass(frozen=True)
class Listener:
    """Who hears of the progress, and may stop it."""

    sink: "EventSink" = ignore
    cancel: CancelToken = field(default_factory=CancelToken)


@dataclass(frozen=True)
class Origin:
    """Where a dataset comes from, for the record.

    Parameters
    ----------
    source : Path
    kind : str, name of its format
    """

    source: "Path"
    kind: str


def import_dataset(
    dataset: "Dataset", out: "Path", choices: "Choices", listener: Listener | None = None, origin: Origin | None = None
) -> SideReport:
    """Write a native folder, and into it how it was imported.

    Responses pass in blocks of voxels of at most 32 MiB, pictures one by one. A cancelled or failed import leaves nothing behind.

    Parameters
    ----------
    dataset : Dataset, opened
    out : Path, dataset folder to make
    choices : Choices
    listener : Listener or None
    origin : Origin or None; None: nothing is noted of where it comes from

    Returns
    -------
    SideReport, what is known of left and right

    Raises
    ------
    MissingDataError
        If pictures are not there, unless `choices.missing` is "skip".
    ConfigError
        If `out` exists and is not empty, or no trial with a picture is left.
    """
    listener, warnings = _noting_warnings(listener or Listener())
    rows = rows_with_pictures(dataset, choices, listener)
    assert dataset.pictures is not None  # or rows_with_pictures has raised
    trials = dataset.trials.iloc[rows].reset_index(drop=True)
    stimuli = dataset.stimuli[dataset.stimuli["stimulus_id"].isin(set(trials["stimulus_id"]))].reset_index(drop=True)
    sides = FieldPreference(dataset, trials)
    shown = stimuli.loc[~stimuli["split"].isin(IMAGELESS_SPLITS), "stimulus_id"].tolist()
    responses = ResponseBlocks(dataset, rows, sides, listener)
    content = NativeContent(
        subject=dataset.subject,
        name=dataset.title,
        space=dataset.placement.space,
        voxels=_voxel_table(dataset),
        areas=dict(dataset.areas),
        responses=responses,
        trials=trials,
        stimuli=stimuli,
        images=_LazyPictures(dataset.pictures, shown, choices, sides, listener),
        field_of_view_deg=dataset.field_of_view_deg,
        unit=dataset.unit,
        simulated=dataset.simulated,
        t1w=None if dataset.t1w is None else dataset.t1w[0],
        t1w_affine=None if dataset.t1w is None else dataset.t1w[1],
        meshes=dataset.meshes,
        sulc=dataset.sulc,
        descriptions=dataset.descriptions,
        segmentation=_apart(dataset.areas),
        description=f"{dataset.title}, imported. Not told by the files: {'; '.join(dataset.unknown) or 'nothing'}",
    )
    write_native(out, content, listener.cancel)
    if responses.n_bad:
        listener.sink(Message("warning", f"{responses.n_bad} voxels have responses that are not finite; opening leaves them out"))
    found = report(sides, choices, has_world=dataset.placement.has_world, cortex=_cortex(dataset))
    if origin is not None:
        try:
            write_provenance(out, _provenance(dataset, choices, origin, warnings, found))
        except BaseException:  # a full disk: the folder that is there must be whole
            shutil.rmtree(out, ignore_errors=True)
            raise
    _tell_sides(found, listener)
    return found


def rows_with_pictures(dataset: "Dataset", choices: "Choices", listener: Listener) -> "NDArray[np.int64]":
    """Trials that can be imported, in their order: those with a picture, and imagery.

    Raises
    ------
    MissingDataError, ConfigError
        Also if the size of the pictures is not known.
    """
    if math.isnan(dataset.field_of_view_deg):
        raise ConfigError(f"{dataset.title}: no file says how wide the pictures were seen; give --field-of-view-deg, their edge in degrees")
    if dataset.pictures is None:
        raise MissingDataError(f"{dataset.subject} of {dataset.title} needs its pictures: {dataset.pictures_wanted}")
    needed = dataset.trials.loc[~dataset.trials["split"].isin(IMAGELESS_SPLITS), "stimulus_id"].drop_duplicates().tolist()
    missing = dataset.pictures.missing(needed)
    if missing and choices.missing == "error":
        raise MissingDataError(
            f"{len(missing)} of {len(needed)} stimuli have no picture: {join_names(missing)}; add the files, "
            "or leave out their trials with --missing skip"
        )
    lost = (dataset.trials["stimulus_id"].isin(set(missing)) & ~dataset.trials["split"].isin(IMAGELESS_SPLITS)).to_numpy()
    if missing:
        listener.sink(Message("warning", f"{int(lost.sum())} trials of {len(missing)} stimuli without a picture are left out"))
    if len(missing) == len(needed):
        raise ConfigError(f"no trial with a picture is left of {len(dataset.trials)}; give the right --images")
    return np.flatnonzero(~lost).astype(np.int64)


class ResponseBlocks:
    """Responses of the imported trials, for the native writer.

    Parameters
    ----------
    dataset : Dataset
    rows : int array, [n]
    sides : FieldPreference, sees each block
    listener : Listener
    """

    def __init__(self, dataset: "Dataset", rows: "NDArray[np.int64]", sides: FieldPreference, listener: Listener) -> None:
        self._responses, self._rows, self._sides, self._listener = dataset.responses, rows, sides, listener
        self.shape = (int(rows.size), dataset.responses.shape[1])
        self.n_bad = 0

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float32]]]":
        """Go once through all voxels, in blocks of columns of at most 32 MiB, or of one column."""
        n_rows, n_voxels = self._responses.shape
        per_voxel = max(1, 4 * n_rows)
        step = BLOCK_BYTES // per_voxel
        step = step // VOXELS_PER_CHUNK * VOXELS_PER_CHUNK or max(1, step)
        every_row = self._rows.size == n_rows
        for start in range(0, n_voxels, step):
            self._listener.cancel.check()
            columns = slice(start, min(start + step, n_voxels))
            values = self._responses.read(columns.start, columns.stop)
            kept = values if every_row else values[self._rows]
            self.n_bad += int((~np.isfinite(kept)).any(axis=0).sum())
            self._sides.responses(columns, kept)
            yield columns, kept
            self._listener.sink(Progress("import", columns.stop, n_voxels, "voxels"))


class _LazyPictures(Mapping[str, "NDArray[np.uint8]"]):
    """Pictures that are read when the native writer asks for them."""

    def __init__(self, pictures: "Pictures", ids: list[str], choices: "Choices", sides: FieldPreference, listener: Listener) -> None:
        self._pictures, self._ids, self._flips = pictures, dict.fromkeys(ids), choices.flip_images
        self._sides, self._listener, self._done = sides, listener, 0

    def __getitem__(self, stimulus_id: str) -> "NDArray[np.uint8]":
        if stimulus_id not in self._ids:
            raise KeyError(stimulus_id)
        self._listener.cancel.check()
        image = self._pictures.read(stimulus_id)
        image = image[:, ::-1] if "x" in self._flips else image
        image = image[::-1] if "y" in self._flips else image
        self._sides.picture(stimulus_id, centre_crop(image))
        self._done += 1
        self._listener.sink(Progress("import", self._done, len(self._ids), "pictures"))
        return np.ascontiguousarray(image)

    def __contains__(self, stimulus_id: object) -> bool:  # that of Mapping would read the picture
        return stimulus_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _voxel_table(dataset: "Dataset") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({**dict(zip("ijk", dataset.placement.ijk.T, strict=True)), "hemi": dataset.placement.hemi})


def _apart(areas: "Mapping[str, NDArray[np.bool_]]") -> tuple[str, ...]:
    """Early areas that share no voxel, for the label volume; parts before their unions."""
    early = [name for name in areas if name.rstrip("vd") in ("V1", "V2", "V3", "V4", "hV4", "V3A", "V3B")]
    taken: list[str] = []
    for name in sorted(early, key=lambda name: (not name.endswith(("v", "d")), name)):
        if not any((areas[name] & areas[other]).any() for other in taken):
            taken.append(name)
    return tuple(taken)


def _cortex(dataset: "Dataset") -> Cortex | None:
    if not dataset.meshes:
        return None
    placement, areas = dataset.placement, with_unions(dict(dataset.areas))
    return Cortex(dataset.meshes, placement.space.to_world(placement.ijk), placement.hemi, areas, max(placement.space.voxel_mm))


def _noting_warnings(listener: Listener) -> tuple[Listener, list[str]]:
    """Give a listener that tells the same, and the list of the warnings it will have told."""
    warnings: list[str] = []

    def sink(event: "Event") -> None:
        if isinstance(event, Message) and event.level == "warning":
            warnings.append(event.text)
        listener.sink(event)

    return Listener(sink, listener.cancel), warnings


def _provenance(dataset: "Dataset", choices: "Choices", origin: Origin, warnings: list[str], sides: SideReport) -> dict[str, Any]:
    """How a dataset was imported: names of files, no folders of this machine."""
    asked = choices.model_dump(mode="json", exclude={"source", "out", "kind"}, exclude_defaults=True)
    return {
        "source": origin.source.name,
        "kind": origin.kind,
        "title": dataset.title,
        "choices": _names_only(asked, choices.model_dump()),
        "warnings": list(warnings),
        "unknown": list(dataset.unknown),
        "notes": list(dataset.notes),
        "sides": sides.to_dict(),
    }


def _names_only(plain: Any, values: Any) -> Any:
    """JSON values with the names of files in place of their paths."""
    if isinstance(plain, dict):
        return {key: _names_only(value, values[key]) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_names_only(*pair) for pair in zip(plain, values, strict=True)]
    return values.name if isinstance(values, Path) else plain


def _tell_sides(found: SideReport, listener: Listener) -> None:
    if found.check is None:
        listener.sink(Message("info", found.unchecked))
        return
    good = [*(side for side in found.check.sides if side.n_voxels and side.ok), *(sign for sign in found.check.signs if sign.ok)]
    for each in good:
        listener.sink(Message("info", f"sides: {each}"))
    if found.warning:
        listener.sink(Message("warning", found.warning))
