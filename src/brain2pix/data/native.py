"""Write the native folder: a BIDS derivative dataset that any lab can make with its own tools.

The layout is that of the documentation page on the native format; the reader is `brain2pix.data.subject.open_subject`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import imageio.v3 as iio
import numpy as np
import pandas as pd

from brain2pix import __version__
from brain2pix.data.betas import VOXELS_PER_CHUNK, create_hdf5
from brain2pix.data.checks import IMAGELESS_SPLITS
from brain2pix.data.rois import RESERVED
from brain2pix.data.space import Space
from brain2pix.data.stacks import write_stack
from brain2pix.data.surface_files import write_mesh, write_vertex_values
from brain2pix.data.tables import check_trials, write_table
from brain2pix.data.volumes import join_names, write_volume
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.events import CancelToken
from brain2pix.files import atomic_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from brain2pix.anatomy.surfaces import Mesh

__all__ = ["NativeContent", "Space", "write_anatomy", "write_native"]

SCHEMA = "b2p-1"
BIDS_VERSION = "1.10.0"
# What BIDS has no rule for yet: its validator skips these.
_NOT_BIDS = ("**/*_betas.*", "**/*_statmap.tsv", "**/prf/**", "stimuli/stimuli.tsv", "stimuli/unpaired*")
_EARLY = re.compile(r"h?V\d[ABab]?[vd]?")
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")


class ResponseBlocks(Protocol):
    """Responses that are not in memory: written block by block."""

    shape: tuple[int, int]

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float32]]]":
        """Go once through all voxels, in blocks of columns, [n columns] each."""


@dataclass(frozen=True)
class NativeContent:
    """Everything that a native folder holds.

    Parameters
    ----------
    subject : str, "sub-01"
    name : str, of the dataset
    space : Space, grid of the responses and of the areas
    voxels : DataFrame, one row per voxel: `i j k` (0-based ints), `hemi` ("L", "R" or "n/a"); `x y z` are derived from the affine
    areas : mapping of name to bool array, [v]. Areas may overlap. "V1v" and "V1d" suffice for V1: the reader forms the union, and "L", "R"
        and "all" too. "outside" marks voxels whose receptive field lies outside the stimulus.
    responses : float32 array, [n v], or ResponseBlocks of that shape; row n = row n of `trials`
    trials : DataFrame, [n] rows: `stimulus_id` (str), `split`, `run`, `session`, `repeat` (ints from 1); `onset`, `duration` (s) if known
    stimuli : DataFrame: `stimulus_id` (str), `category`, `split`; `source` (the photo or class that a stimulus comes from: stimuli of one
        source stay on one side of a hold-out split); other columns are kept. `file`, `width_deg` and `height_deg` are added by the writer.
    images : mapping of stimulus id to uint8 array, [h w 3], one for each row of `stimuli`, but those of imagery
    field_of_view_deg : float, edge of the square stimulus
    unit : str, of the responses: "z-train", "z-run", "z-session", "psc" or "a.u."
    simulated : bool
    unpaired : uint8 array, [u h w 3], or None: images without responses
    t1w : float32 volume or None
    t1w_affine : float array, [4 4], or None if `t1w` is on the grid of `space`
    meshes : mapping of (hemi, kind) to Mesh; kinds white, pial, inflated, sphere, flat; white and pial in world mm of `space`
    sulc : mapping of hemi to float array, [p], positive in a sulcus
    descriptions : mapping of area name to text, e.g. "simulated V1, ventral"
    segmentation : tuple of str or None: areas without overlap that share one label volume; None takes the names of early visual areas
    description : str, one line on the dataset
    """

    subject: str
    name: str
    space: Space
    voxels: "pd.DataFrame"
    areas: "Mapping[str, NDArray[np.bool_]]"
    responses: "NDArray[np.float32] | ResponseBlocks"
    trials: "pd.DataFrame"
    stimuli: "pd.DataFrame"
    images: "Mapping[str, NDArray[np.uint8]]"
    field_of_view_deg: float
    unit: str = "z-train"
    simulated: bool = False
    unpaired: "NDArray[np.uint8] | None" = None
    t1w: "NDArray[np.float32] | None" = None
    t1w_affine: "NDArray[np.float64] | None" = None
    meshes: "Mapping[tuple[str, str], Mesh]" = field(default_factory=dict)
    sulc: "Mapping[str, NDArray[np.float32]]" = field(default_factory=dict)
    descriptions: "Mapping[str, str]" = field(default_factory=dict)
    segmentation: tuple[str, ...] | None = None
    description: str = ""


def write_native(folder: "Path", content: NativeContent, cancel: "CancelToken | None" = None) -> "Path":
    """Write a dataset folder with one subject; nothing half-written is left behind.

    Parameters
    ----------
    folder : Path, the dataset root; must not exist or be empty
    content : NativeContent
    cancel : CancelToken or None, asked between the parts

    Returns
    -------
    Path, `folder`

    Raises
    ------
    ShapeError
        If parts of the content do not fit each other; nothing is written then.
    ConfigError
        If `folder` exists and is not empty.
    ComputeError
        If the disk is full; nothing is left behind then.
    """
    _check_content(content)
    token = cancel or CancelToken()
    try:
        with atomic_folder(folder) as beside:
            for part in (_write_description, _write_stimuli, _write_responses, _write_areas, _write_anatomy):
                token.check()
                part(beside, content)
    except FileExistsError as error:
        raise ConfigError(str(error)) from None
    return folder


def _check_content(content: NativeContent) -> None:
    n_trials, n_voxels = content.responses.shape
    for what, got, expected in (
        ("trials rows", len(content.trials), n_trials),
        ("voxels rows", len(content.voxels), n_voxels),
        *((f"area {name!r} entries", np.shape(mask)[0], n_voxels) for name, mask in content.areas.items()),
    ):
        if got != expected:
            raise ShapeError(f"responses are {n_trials} trials x {n_voxels} voxels, got {got} {what}, expected {expected}")
    known = set(content.stimuli["stimulus_id"])
    shown = set(content.stimuli.loc[~content.stimuli["split"].isin(IMAGELESS_SPLITS), "stimulus_id"])
    for what, ids in (("trials name", set(content.trials["stimulus_id"]) - known), ("stimuli name", shown - set(content.images))):
        if ids:
            missing = "stimuli row" if what.startswith("trials") else "image"
            raise ShapeError(f"{what} {len(ids)} ids without {missing}: {join_names(sorted(map(str, ids)))}")
    if len(known) != len(content.stimuli):
        raise ShapeError("stimuli name an id twice")
    if not re.fullmatch(r"sub-[A-Za-z0-9]+", content.subject) or not content.space.name.isalnum():
        raise ShapeError(
            f"expected a subject like 'sub-01' and a space of letters and digits, got {content.subject!r}, {content.space.name!r}"
        )


def _write_description(root: "Path", content: NativeContent) -> None:
    generated: dict[str, Any] = {"Name": "brain2pix", "Version": __version__}
    if content.simulated:
        generated["Description"] = "simulated subject: no measured brain responses"
    description = {"Name": content.name, "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative", "GeneratedBy": [generated]}
    write_json(root / "dataset_description.json", description)
    write_table(root / "participants.tsv", pd.DataFrame({"participant_id": [content.subject]}))
    (root / ".bidsignore").write_text("\n".join(_NOT_BIDS) + "\n", encoding="utf-8")


def _write_stimuli(root: "Path", content: NativeContent) -> None:
    folder = root / "stimuli"
    files: list[str | None] = []
    for stimulus_id, split in zip(content.stimuli["stimulus_id"], content.stimuli["split"], strict=True):
        if stimulus_id not in content.images:
            files.append(None)
            continue
        place = folder / _file_name(split) / f"{_file_name(stimulus_id)}.png"
        if place.exists():  # two ids may differ only in signs that a file name cannot hold
            place = place.with_name(f"{place.stem}.{len(files)}.png")
        place.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(place, content.images[stimulus_id], plugin="pillow", compress_level=1)
        files.append(place.relative_to(folder).as_posix())
    table = content.stimuli.drop(columns=["file", "width_deg", "height_deg"], errors="ignore")
    table.insert(1, "file", files)
    write_table(folder / "stimuli.tsv", table.assign(width_deg=content.field_of_view_deg, height_deg=content.field_of_view_deg))
    if content.unpaired is not None:
        write_stack(folder / "unpaired.npy", content.unpaired, content.unpaired.shape)


def _write_responses(root: "Path", content: NativeContent) -> None:
    func = root / content.subject / "func"
    func.mkdir(parents=True)
    base = f"{content.subject}_task-images"
    betas = func / f"{base}_space-{content.space.name}_desc-singletrial_betas.h5"
    trials = _complete_trials(content.trials)
    with create_hdf5(betas) as file:
        n_trials, n_voxels = content.responses.shape
        chunks = (max(n_trials, 1), max(1, min(n_voxels, VOXELS_PER_CHUNK)))
        matrix = file.create_dataset("betas", shape=(n_trials, n_voxels), dtype=np.float32, chunks=chunks)
        for columns, block in _blocks(content.responses):
            matrix[:, columns] = block
        file["ijk"] = content.voxels[["i", "j", "k"]].to_numpy(dtype=np.int32)
        file["affine"] = content.space.affine
        file["shape"] = np.asarray(content.space.shape, dtype=np.int32)
        for name in trials:
            values = trials[name].to_numpy()
            file[f"trials/{name}"] = values if values.dtype.kind in "iuf" else [_text(value) for value in values]
        file.attrs.update(unit=content.unit, space=content.space.name, subject=content.subject, schema=SCHEMA)
    write_table(betas.with_suffix(".tsv"), trials)
    sidecar = {"SchemaVersion": SCHEMA, "Units": content.unit, "Space": content.space.name, "Simulated": content.simulated}
    write_json(betas.with_suffix(".json"), {**sidecar, "Description": content.description or content.name})
    if {"onset", "duration"} <= set(trials):
        _write_events(func, base, trials, content.stimuli)


def _blocks(responses: "NDArray[np.float32] | ResponseBlocks") -> "Iterator[tuple[slice, NDArray[np.float32]]]":
    if isinstance(responses, np.ndarray):
        yield slice(0, responses.shape[1]), np.asarray(responses, dtype=np.float32)
    else:
        yield from responses.blocks()


def _write_events(func: "Path", base: str, trials: pd.DataFrame, stimuli: pd.DataFrame) -> None:
    """One table per run, as BIDS asks for; runs are numbered through over sessions."""
    files = pd.read_csv(func.parents[1] / "stimuli" / "stimuli.tsv", sep="\t", dtype=str).set_index("stimulus_id")["file"]
    for number, (_, run) in enumerate(trials.groupby(["session", "run"], sort=True), start=1):
        events = pd.DataFrame(
            {
                "onset": run["onset"],
                "duration": run["duration"],
                "trial_type": run["split"],
                "stim_file": files.loc[run["stimulus_id"].astype(str)].to_numpy(),
                "stimulus_id": run["stimulus_id"],
                "repeat": run["repeat"],
            }
        )
        write_table(func / f"{base}_run-{number:02d}_events.tsv", events)


def _write_areas(root: "Path", content: NativeContent) -> None:
    func = root / content.subject / "func"
    space, base = content.space, f"{content.subject}_space-{content.space.name}"
    ijk = content.voxels[["i", "j", "k"]].to_numpy(dtype=np.int64)

    def save(name: str, values: "NDArray[Any]") -> None:
        volume = np.zeros(space.shape, dtype=values.dtype)
        volume[tuple(ijk.T)] = values
        write_volume(func / f"{name}.nii.gz", volume, space.name, space.affine)

    save(f"{content.subject}_task-images_space-{space.name}_desc-brain_mask", np.ones(len(ijk), dtype=np.uint8))
    hemi = content.voxels["hemi"].to_numpy()
    for side in ("L", "R"):
        save(f"{content.subject}_hemi-{side}_space-{space.name}_desc-brain_mask", (hemi == side).astype(np.uint8))
    names = _segmentation_names(content)
    labels = np.zeros(len(ijk), dtype=np.int16)
    for index, name in enumerate(names, start=1):
        mask = np.asarray(content.areas[name], dtype=bool)
        if labels[mask].any():
            raise ShapeError(f"area {name!r} overlaps another area of the segmentation; leave it out of `segmentation`")
        labels[mask] = index
    if names:
        save(f"{base}_seg-visual_dseg", labels)
        rows = [(i, name, _COLORS[(i - 1) % len(_COLORS)], _describe(content, name)) for i, name in enumerate(names, start=1)]
        write_table(func / f"{base}_seg-visual_dseg.tsv", pd.DataFrame(rows, columns=["index", "name", "color", "description"]))
    for name in sorted(set(content.areas) - set(names) - set(RESERVED)):
        save(f"{base}_label-{name}_mask", np.asarray(content.areas[name], dtype=np.uint8))
        write_json(func / f"{base}_label-{name}_mask.json", {"Type": "ROI", "Description": _describe(content, name)})


def _write_anatomy(root: "Path", content: NativeContent) -> None:
    affine = content.space.affine if content.t1w_affine is None else content.t1w_affine
    t1w = None if content.t1w is None else (content.t1w, affine)
    write_anatomy(root / content.subject / "anat", content.subject, content.space.name, t1w, content.meshes, content.sulc)


def write_anatomy(
    anat: "Path",
    subject: str,
    space: str,
    t1w: "tuple[NDArray[np.float32], NDArray[np.float64]] | None",
    meshes: "Mapping[tuple[str, str], Mesh]",
    sulc: "Mapping[str, NDArray[np.float32]]",
) -> None:
    """Write the ``anat`` folder of a subject.

    Parameters
    ----------
    anat : Path, folder to make
    subject : str, "sub-01"
    space : str, name of the space of the T1w volume, and of the white and pial meshes
    t1w : volume and its affine, or None
    meshes, sulc : as in `NativeContent`
    """
    anat.mkdir(parents=True)
    if t1w is not None:
        name = "" if space == "T1w" else f"_space-{space}"
        write_volume(anat / f"{subject}{name}_T1w.nii.gz", np.asarray(t1w[0], dtype=np.float32), space, t1w[1])
    for (hemi, kind), mesh in meshes.items():
        write_mesh(anat / f"{subject}_hemi-{hemi}_{kind}.surf.gii", mesh, hemi, kind, space)
    for hemi, values in sulc.items():
        write_vertex_values(anat / f"{subject}_hemi-{hemi}_sulc.shape.gii", values, hemi, meta={"Name": "sulc"})


def _segmentation_names(content: NativeContent) -> list[str]:
    """Names for the label volume: those given, or the early visual areas, without unions of parts that are there too."""
    if content.segmentation is not None:
        return list(content.segmentation)
    early = [name for name in content.areas if _EARLY.fullmatch(name)]
    return [name for name in early if not {f"{name}v", f"{name}d"} & set(early)]


def _complete_trials(trials: pd.DataFrame) -> pd.DataFrame:
    complete = check_trials(trials, Path("trials"))
    first = ["trial", "stimulus_id", "split", "run", "session", "repeat"]
    return complete[[*first, *(name for name in complete if name not in first)]]


def _describe(content: NativeContent, name: str) -> str:
    return content.descriptions.get(name, f"simulated {name}" if content.simulated else name)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", str(text)).lstrip(".") or "_"


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)
