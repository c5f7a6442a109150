"""What a folder holds: a subject alone, a demo, or the run folder of a job with what was made of it. No Qt, no napari."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import Brain2PixError, DataFormatError, MissingDataError
from napari_brain2pix.folders.pictures import (
    TEST,
    Pictures,
    jobs_about,
    json_of,
    picture_places,
    read_images,
    read_pictures,
    split_of_job,
    splits_to_show,
    with_runs_of_demo,
)

if TYPE_CHECKING:
    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data.subject import Subject


REPRODUCTION = "reproduce.json"  # in the folder of a paper's evaluation


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

    @property
    def split(self) -> str:
        """Split whose images are shown."""
        return self.pictures.split


def find_subject(path: Path) -> Path | None:
    """Dataset root that a path means; None if it is none of ours.

    Parameters
    ----------
    path : Path, a demo folder, a dataset, its description file, one of its subject folders, the folder of a reproduction, or a run folder
        (its job names the subject, or the run that does)
    """
    if path.name == "dataset_description.json" and path.is_file():
        path = path.parent
    candidates = [path, path / "subject"]
    if path.name.startswith("sub-"):
        candidates.append(path.parent)
    named = [job.get("params", {}).get("subject") for job in (json_of(path / "job.json"), json_of(trained_run(path) / "job.json"))]
    named.append(json_of(path / REPRODUCTION).get("data"))
    candidates += [path / name for name in named if isinstance(name, str)]
    candidates += [folder.parent for folder in candidates if folder.name.startswith("sub-")]
    return next((folder for folder in candidates if (folder / "dataset_description.json").is_file()), None)


def trained_run(path: Path) -> Path:
    """Run folder of the trained system that a job's folder is about (maps, pictures, scores); for others the folder itself."""
    run = json_of(path / "job.json").get("params", {}).get("run")
    return path / run if isinstance(run, str) and (path / run).is_dir() else path


def open_workspace(path: Path, split: str | None = None) -> Workspace:
    """Open a demo folder, a run folder or a native subject folder.

    Parameters
    ----------
    path : Path
    split : str or None, whose images are shown, if the subject has it; None: those of the job that is opened, else the test images

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
    subject = open_subject(root, _subject_name(path))
    notes: list[str] = list(subject.notes)
    beside = _results_folder(path, root)
    model = _find_model(beside)
    maps = _first(_map_places(path, beside, subject))
    shown = _with_accuracy(notes, _try(notes, "maps", _read_map, maps, subject), beside, subject)
    known = splits_to_show(subject)
    wanted = split if split in known else split_of_job(path)
    shown_pictures, pictures = _pictures(notes, path, beside, subject, wanted if wanted in known else next(iter(known), TEST))
    if beside is not None and (beside / REPRODUCTION).is_file():
        notes.append(_of_reproduction(beside))
    elif beside is not None and (beside / "job.json").is_file():
        notes += _what_is_missing(beside, model, maps, pictures)
    return Workspace(
        folder=beside or root,
        subject=subject,
        subject_folder=root,
        pictures=shown_pictures,
        map=shown,
        model=model,
        notes=tuple(notes),
    )


def with_split(workspace: Workspace, split: str) -> Workspace:
    """Give the same workspace with the images of another split, and what was made of them."""
    notes: list[str] = []
    beside = None if workspace.folder == workspace.subject_folder else workspace.folder
    pictures, _ = _pictures(notes, workspace.folder, beside, workspace.subject, split)
    return replace(workspace, pictures=pictures, notes=(*workspace.notes, *notes))


def _pictures(notes: list[str], path: Path, beside: Path | None, subject: "Subject", split: str) -> tuple[Pictures, Path | None]:
    """Images of a split with their reconstructions, and the file that holds these."""
    images, model = read_images(notes, subject, split), _find_model(beside)
    own = [] if model is None else picture_places(model.parent, model.parent, split)  # of a demo, whose runs lie in it
    file = _first([*picture_places(path, beside, split), *own])
    decoded = _try(notes, "reconstructions", read_pictures, file, images)
    if decoded is None:
        return images, file
    return (decoded if beside is None else with_runs_of_demo(notes, decoded, beside)), file


def _with_accuracy(notes: list[str], found: "RetinotopicMap | None", beside: Path | None, subject: "Subject") -> "RetinotopicMap | None":
    """Add to a map how well an evaluation found voxels to be predicted; a map of that alone where there are no receptive fields."""
    from brain2pix.data.voxel_accuracy import with_voxel_accuracy

    for folder in [] if beside is None else [job / "results" for job in jobs_about(beside, "evaluate-test")]:
        try:
            found = with_voxel_accuracy(found, folder, subject)
        except (Brain2PixError, OSError, ValueError) as error:
            notes.append(f"The accuracy of voxels in {folder} cannot be shown: {error}")
    return found


def _subject_name(path: Path) -> str | None:
    """Which subject of its dataset a path means; None where it does not say."""
    if path.name.startswith("sub-"):
        return path.name
    data, asked = json_of(path / REPRODUCTION).get("data"), json_of(trained_run(path) / "job.json").get("params", {}).get("subject_name")
    return Path(data).name if isinstance(data, str) else asked if isinstance(asked, str) else None


def _results_folder(path: Path, root: Path) -> Path | None:
    """Folder of models and results: the demo around a subject, the run or the reproduction that was opened; None for a bare subject."""
    if root == path / "subject" or (path / REPRODUCTION).is_file():
        return path
    if (path / "job.json").is_file():
        return trained_run(path)
    return root.parent if root.name == "subject" and (root.parent / "demo.json").is_file() else None


def _map_places(path: Path, beside: Path | None, subject: "Subject") -> list[Path]:
    """Where maps may lie: of the job that was opened, of the run (``brain2pix maps RUN``), of a demo; imported ones of a bare subject."""
    from brain2pix.data.maps import imported_maps

    if beside is None:
        imported = imported_maps(subject.path)
        return [] if imported is None else [imported]
    own = [path / "results"] if json_of(path / "job.json").get("kind") == "maps" else []
    jobs = [job / "results" for name in ("maps", "decoder_maps") for job in jobs_about(beside, name)]
    return [*own, *jobs, beside / "maps"]


def _first(places: list[Path]) -> Path | None:
    """First of some places that is there; the run folder of a job is none, for what it made lies in its ``results``."""
    return next((place for place in places if place.exists() and not (place / "job.json").is_file()), None)


def _what_is_missing(run: Path, model: Path | None, maps: Path | None, pictures: Path | None) -> list[str]:
    """Say what an opened run has not got, and what makes it."""
    from brain2pix.compute.runner import run_state
    from brain2pix.training.run_folder import RunFolder

    if model is None:
        return [f"No trained model here: the run is {run_state(RunFolder(run))}. Go on with it in the Jobs tab, or by: brain2pix run {run}"]
    side = "" if json_of(model / "model.json").get("has_encoder", True) else " --side decoder"
    parts = (("maps", "Make maps", f"maps {run}{side}", maps), ("reconstructions", "Reconstruct", f"decode {run}", pictures))
    return [
        f"No {what} of this run yet: press “{button}” in the Jobs tab, or run: brain2pix {command}"
        for what, button, command, there in parts
        if there is None
    ]


def _of_reproduction(folder: Path) -> str:
    """Say how the reproduction of a folder stands, and where its runs and its report are."""
    from brain2pix.compute.reproduce.folder import read_overview

    try:
        found = read_overview(folder)
    except DataFormatError as error:
        return str(error)
    cells = f"{found.n_finished} of {len(found.cells)} cells are finished"
    report = f"the report is {found.report}" if found.report else "there is no report yet"
    return f"Evaluation of {found.method}, plan {found.plan}: {cells}, {report}. The step Train shows the cells and opens their runs."


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
    from brain2pix.data.maps import read_imported

    return read_imported(folder).on(subject)


def _find_model(folder: Path | None) -> Path | None:
    """Find the trained model of a run or of a demo: that of the demo's method, else the first there is."""
    if folder is None:
        return None
    main = json_of(folder / "demo.json").get("method", "")
    candidates = [folder / "model", folder / "runs" / str(main) / "model", *sorted(folder.glob("runs/*/model"))]
    return next((model for model in candidates if (model / "model.json").is_file()), None)


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
