"""What a folder holds: a subject alone, a demo, or the run folder of a job with what was made of it. No Qt, no napari."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import Brain2PixError, DataFormatError, MissingDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject

PICTURE_EDGE = 256  # test images larger than this are shrunk for display [px]


@dataclass(frozen=True)
class Pictures:
    """Test images, and what the model made of their responses.

    Parameters
    ----------
    stimulus_ids : list of str
    stimuli : uint8 array, [m h w 3]
    reconstructions : uint8 array, [m h w 3], or None without a model
    """

    stimulus_ids: list[str]
    stimuli: "NDArray[np.uint8]"
    reconstructions: "NDArray[np.uint8] | None" = None


@dataclass(frozen=True)
class Workspace:
    """An opened folder.

    Parameters
    ----------
    folder : Path, what the user opened
    subject : Subject
    subject_folder : Path, the dataset root, as the live decoder needs it
    pictures : Pictures
    map : RetinotopicMap over all voxels of the subject, NaN where it says nothing; or None
    model : Path or None, folder of a trained model
    notes : tuple of str: what could not be used, and why
    """

    folder: Path
    subject: "Subject"
    subject_folder: Path
    pictures: Pictures
    map: "RetinotopicMap | None" = None
    model: Path | None = None
    notes: tuple[str, ...] = ()


def find_subject(path: Path) -> Path | None:
    """Dataset root that a path means; None if it is none of ours.

    Parameters
    ----------
    path : Path, a demo folder, a dataset, its description file, one of its subject folders, or a run folder (its job names the subject, or
        the run that does)
    """
    if path.name == "dataset_description.json" and path.is_file():
        path = path.parent
    candidates = [path, path / "subject"]
    if path.name.startswith("sub-"):
        candidates.append(path.parent)
    named = [job.get("params", {}).get("subject") for job in (_json(path / "job.json"), _json(trained_run(path) / "job.json"))]
    candidates += [path / name for name in named if isinstance(name, str)]
    candidates += [folder.parent for folder in candidates if folder.name.startswith("sub-")]
    return next((folder for folder in candidates if (folder / "dataset_description.json").is_file()), None)


def trained_run(path: Path) -> Path:
    """Run folder of the trained system that a job's folder is about (maps, pictures, scores); for others the folder itself."""
    run = _json(path / "job.json").get("params", {}).get("run")
    return path / run if isinstance(run, str) and (path / run).is_dir() else path


def open_workspace(path: Path) -> Workspace:
    """Open a demo folder, a run folder or a native subject folder.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Workspace. Parts beside the subject that are damaged end up in `notes`.

    Raises
    ------
    Brain2PixError
        If there is no readable subject.
    """
    from brain2pix.data.subject import open_subject

    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise MissingDataError(f"{path} does not exist; choose a subject folder, or a folder made by `brain2pix demo`")
    root = find_subject(path)
    if root is None:
        raise DataFormatError(
            f"{path.name or path} holds no subject: expected dataset_description.json in it or in its subject/ folder; "
            "choose a native subject folder, or a folder made by `brain2pix demo`"
        )
    subject = open_subject(root, path.name if path.name.startswith("sub-") else None)
    notes: list[str] = list(subject.notes)
    beside = _results_folder(path, root)
    model = _find_model(beside)
    tests = _test_images(notes, subject)
    maps, pictures = (_first(places) for places in (_map_places(path, beside), _picture_places(path, beside)))
    shown = _try(notes, "maps", _read_map, maps, subject)
    decoded = _try(notes, "reconstructions", _read_pictures, pictures, tests)
    if beside is not None and (beside / "job.json").is_file():
        notes += _what_is_missing(beside, model, maps, pictures)
    return Workspace(
        folder=beside or root,
        subject=subject,
        subject_folder=root,
        pictures=decoded or tests,
        map=shown,
        model=model,
        notes=tuple(notes),
    )


def _results_folder(path: Path, root: Path) -> Path | None:
    """Folder of models and results: the demo around a subject, or the run that was opened; None for a bare subject."""
    if root == path / "subject":
        return path
    if (path / "job.json").is_file():
        return trained_run(path)
    return root.parent if root.name == "subject" and (root.parent / "demo.json").is_file() else None


def _map_places(path: Path, beside: Path | None) -> list[Path]:
    """Where maps may lie: of the job that was opened, of the run (``brain2pix maps RUN``), of a demo."""
    if beside is None:
        return []
    own = [path / "results"] if _json(path / "job.json").get("kind") == "maps" else []
    return [*own, beside / "maps" / "results", beside / "decoder_maps" / "results", beside / "maps"]


def _picture_places(path: Path, beside: Path | None) -> list[Path]:
    """Where reconstructions may lie: of the job that was opened, of the run (``brain2pix decode RUN``), of a demo."""
    if beside is None:
        return []
    jobs = [path, beside / "decode-test"] if _json(path / "job.json").get("kind") == "decode" else [beside / "decode-test"]
    return [*(job / "results" / "reconstructions.npy" for job in jobs), beside / "results" / "reconstructions.npz"]


def _first(places: list[Path]) -> Path | None:
    """First of some places that is there; the run folder of a job is none, for what it made lies in its ``results``."""
    return next((place for place in places if place.exists() and not (place / "job.json").is_file()), None)


def _what_is_missing(run: Path, model: Path | None, maps: Path | None, pictures: Path | None) -> list[str]:
    """Say what an opened run has not got, and what makes it."""
    from brain2pix.compute.runner import run_state
    from brain2pix.training.run_folder import RunFolder

    if model is None:
        return [f"No trained model here: the run is {run_state(RunFolder(run))}. Go on with it in the Jobs tab, or by: brain2pix run {run}"]
    side = "" if _json(model / "model.json").get("has_encoder", True) else " --side decoder"
    parts = (("maps", "Make maps", f"maps {run}{side}", maps), ("reconstructions", "Reconstruct", f"decode {run}", pictures))
    return [
        f"No {what} of this run yet: press “{button}” in the Jobs tab, or run: brain2pix {command}"
        for what, button, command, there in parts
        if there is None
    ]


def _try(notes: list[str], what: str, read: Any, path: Path | None, *arguments: Any) -> Any:
    """Read an optional part: None where it is absent, a note where it is damaged."""
    if path is None or not path.exists():
        return None
    try:
        return read(path, *arguments)
    except (Brain2PixError, OSError, ValueError, KeyError) as error:
        notes.append(f"The {what} in {path.name} cannot be shown: {error}")
        return None


def _read_map(folder: Path, subject: "Subject") -> "RetinotopicMap":
    from brain2pix.data.maps import read_maps

    return read_maps(folder).on(subject)


def _read_pictures(file: Path, tests: Pictures) -> Pictures:
    """Read what a demo keeps in one file, or what a job that decodes writes beside its names."""
    return _read_decoded(file, tests) if file.suffix == ".npy" else _read_demo_pictures(file)


def _read_decoded(file: Path, tests: Pictures) -> Pictures:
    reconstructions = np.load(file, allow_pickle=False)
    names = _json(file.with_suffix(".json")).get("stimulus_ids")
    if not isinstance(names, list) or len(names) != len(reconstructions):
        raise DataFormatError(f"{file.with_suffix('.json')} does not name the {len(reconstructions)} pictures of {file.name}; decode again")
    place = {name: number for number, name in enumerate(tests.stimulus_ids)}
    absent = [name for name in names if name not in place]
    if absent:
        raise DataFormatError(f"{file} holds {absent[0]!r}, which is no test image of the subject; decode its test split")
    return Pictures([str(name) for name in names], tests.stimuli[[place[name] for name in names]], reconstructions)


def _read_demo_pictures(file: Path) -> Pictures:
    with np.load(file, allow_pickle=False) as stored:
        absent = {"stimulus_ids", "stimuli", "reconstructions"} - set(stored.files)
        if absent:
            raise DataFormatError(f"{file} lacks the arrays {', '.join(sorted(absent))}; run `brain2pix demo` again")
        ids, stimuli, reconstructions = stored["stimulus_ids"].astype(str), stored["stimuli"], stored["reconstructions"]
    if not len(ids) == len(stimuli) == len(reconstructions):
        raise DataFormatError(
            f"{file} has {len(ids)} names, {len(stimuli)} stimuli and {len(reconstructions)} reconstructions; run it again"
        )
    return Pictures([str(name) for name in ids], stimuli, reconstructions)


def _test_images(notes: list[str], subject: "Subject") -> Pictures:
    """Images of the test split, straight from the subject."""
    stimuli = subject.stimuli
    ids = [str(name) for name in stimuli.loc[stimuli["split"] == "test", "stimulus_id"]]
    try:
        return Pictures(ids, subject.images(ids, size=PICTURE_EDGE))
    except (Brain2PixError, OSError, ValueError) as error:
        notes.append(f"The test images cannot be shown: {error}")
        return Pictures([], np.empty((0, 1, 1, 3), dtype=np.uint8))


def _find_model(folder: Path | None) -> Path | None:
    """Find the trained model of a run or of a demo: that of the demo's method, else the first there is."""
    if folder is None:
        return None
    main = _json(folder / "demo.json").get("method", "")
    candidates = [folder / "model", folder / "runs" / str(main) / "model", *sorted(folder.glob("runs/*/model"))]
    return next((model for model in candidates if (model / "model.json").is_file()), None)


def _json(file: Path) -> dict[str, Any]:
    """Values of a JSON file; empty if there is none that can be read."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def describe(workspace: Workspace) -> str:
    """Say in one line what was opened."""
    subject = workspace.subject
    edges = subject.space.voxel_mm
    edge = f"{edges[0]:.3g}" if np.allclose(edges, edges[0], rtol=0.01) else " x ".join(f"{value:.3g}" for value in edges)
    return f"{subject.name} · {len(subject.voxels):,} voxels of {edge} mm · {len(subject.trials):,} trials"


def describe_more(workspace: Workspace) -> str:
    """Say in a few lines where it comes from."""
    subject = workspace.subject
    images = f"{len(subject.stimuli):,} images, {subject.field_of_view_deg:g}° wide; responses in {subject.unit}"
    return "\n".join([str(workspace.folder), subject.title, images])
