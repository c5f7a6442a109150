"""The images of a split, and what each run made of their responses. No Qt, no napari."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.arrays import SubjectInfo
from brain2pix.data.image_scores import MAIN_RUN, ImageScores, cached_scores, fingerprint, read_image_scores
from brain2pix.errors import Brain2PixError, DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

TEST = "test"  # the split that is shown first
PICTURE_EDGE = 256  # test images larger than this are shrunk for display [px]
ROW_TITLES = {
    "supervised": "pairs only",
    "images": "without test responses",
    "inductive": "image unseen",
    "ridge_pairs": "ridge on pairs",
    "ridge_unpaired": "ridge on encoded images",
    "shuffled": "shuffled pairs (control)",
    "untrained": "untrained (control)",
}


@dataclass(frozen=True, eq=False)
class Run:
    """Reconstructions that one run made of the test images.

    Parameters
    ----------
    key : str, unique among the runs that are compared
    title : str, for people
    pictures : uint8 array, [m h w 3], in the order of the test images
    source : Path, the file that holds them
    row : str, name of the run in the table of scores
    scores : ImageScores of the same images, or None if they were not scored
    about : str, where it comes from
    """

    key: str
    title: str
    pictures: "NDArray[np.uint8]"
    source: Path
    row: str = MAIN_RUN
    scores: ImageScores | None = None
    about: str = ""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of a split, and what the runs made of their responses.

    Parameters
    ----------
    stimulus_ids : list of str
    stimuli : uint8 array, [m h w 3]
    runs : tuple of Run; the first is the opened model's
    split : str
    without_picture : frozenset of str, stimuli that have none, such as imagined words; grey in `stimuli`
    """

    stimulus_ids: list[str]
    stimuli: "NDArray[np.uint8]"
    runs: tuple[Run, ...] = ()
    split: str = TEST
    without_picture: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """What the images are, for people."""
        return "Test images" if self.split == TEST else f"Images of {self.split}"

    @property
    def reconstructions(self) -> "NDArray[np.uint8] | None":
        """What the opened model made, [m h w 3]; None if nothing was decoded."""
        return self.runs[0].pictures if self.runs else None


def splits_to_show(subject: "Subject") -> list[str]:
    """List the splits whose responses can be decoded, test first; not what systems are trained on."""
    found = [str(name) for name in dict.fromkeys(subject.trials["split"]) if name != "train"]
    return sorted(found, key=lambda name: name != TEST)


def read_images(notes: list[str], subject: "Subject", split: str = TEST) -> Pictures:
    """Images of a split, straight from the subject; what is wrong with them becomes a note."""
    from brain2pix.data.splits import images_of, pictures_of

    stimuli = subject.stimuli
    rows = np.flatnonzero(subject.trials["split"].to_numpy() == split)
    ids = images_of(subject, rows)[0] if rows.size else [str(name) for name in stimuli.loc[stimuli["split"] == split, "stimulus_id"]]
    try:
        images, pictured = pictures_of(subject, ids, PICTURE_EDGE)
    except (Brain2PixError, OSError, ValueError) as error:
        notes.append(f"The {split} images cannot be shown: {error}")
        return Pictures([], np.empty((0, 1, 1, 3), dtype=np.uint8), split=split)
    lacking = frozenset(name for name, there in zip(ids, pictured, strict=True) if not there)
    return Pictures(ids, images, split=split, without_picture=lacking)


def picture_places(path: Path, beside: Path | None, split: str = TEST) -> list[Path]:
    """Where reconstructions may lie: of the job that was opened, of the run (``brain2pix decode RUN``), of a demo."""
    if beside is None:
        return []
    jobs = [*([path] if split_of_job(path) == split else []), *jobs_about(beside, f"decode-{split}")]
    demo = [beside / "results" / "reconstructions.npz"] if split == TEST else []
    return [*(job / "results" / "reconstructions.npy" for job in jobs), *demo]


def split_of_job(folder: Path) -> str | None:
    """Split that a job has decoded; None if a folder is of no such job."""
    job = json_of(folder / "job.json")
    return str(job.get("params", {}).get("split", TEST)) if job.get("kind") == "decode" else None


def jobs_about(run: Path, name: str) -> list[Path]:
    """Where a job about a run may lie: in its folder, or beside it, as in the cells of sweeps and reproductions."""
    about = json_of(run.parent / name / "job.json").get("params", {}).get("run")
    return [run / name, *([run.parent / name] if isinstance(about, str) and Path(about) == run else [])]


def read_pictures(file: Path, tests: Pictures) -> Pictures:
    """Read what a demo keeps in one file, or what a job that decodes writes beside its names.

    Raises
    ------
    DataFormatError
        If the file is damaged, or made from other images.
    """
    return _read_decoded(file, tests) if file.suffix == ".npy" else _read_demo(file)


def with_runs_of_demo(notes: list[str], pictures: Pictures, demo: Path) -> Pictures:
    """Add what was decoded with single runs of a demo; what cannot be compared becomes a note."""
    for file in sorted(demo.glob(f"runs/*/decode-{pictures.split}/results/reconstructions.npy")):
        if any(run.source == file for run in pictures.runs):
            continue
        try:
            pictures = replace(pictures, runs=(*pictures.runs, _aligned(_decoded_run(file), pictures.stimulus_ids)))
        except (Brain2PixError, OSError, ValueError) as error:
            notes.append(f"The reconstructions in {file.parent} cannot be compared: {error}")
    return pictures


def runs_to_add(folder: Path, subject: "Subject", stimulus_ids: "Sequence[str]", split: str = TEST) -> list[Run]:
    """Read the runs of another folder, to be compared with those of an opened one.

    Parameters
    ----------
    folder : Path, a trained run that was decoded, the folder of the job that decoded it, or a demo
    subject : Subject, the opened one
    stimulus_ids : sequence of str, the images that are shown
    split : str, theirs

    Returns
    -------
    list of Run, in the order of `stimulus_ids`

    Raises
    ------
    MissingDataError
        If nothing was decoded there.
    DataFormatError
        If it is about another subject, other voxels or other images.
    """
    places = (folder / "results" / "reconstructions.npy", folder / f"decode-{split}" / "results" / "reconstructions.npy")
    file = next((place for place in places if place.is_file()), folder / "results" / "reconstructions.npz")
    if not file.is_file():
        command = f"decode {folder}" if (folder / "model").is_dir() else "decode RUN"
        raise MissingDataError(
            f"{folder} holds no reconstructions (decode-{split}/results/reconstructions.npy); choose a run that was decoded, "
            f"or decode it first: brain2pix {command}{'' if split == TEST else f' --split {split}'}"
        )
    _check_voxels(folder, subject)
    if file.suffix == ".npy":
        runs, stimuli, names = [_decoded_run(file)], json_of(file.with_suffix(".json")).get("stimuli"), None
    else:
        shown = _read_demo(file)
        runs, stimuli, names = list(shown.runs), fingerprint(shown.stimuli), shown.stimulus_ids
    added = [_aligned(run, stimulus_ids, names) for run in runs]
    _check_images(file, subject, names or _names_of(file), runs[0].pictures.shape[1], stimuli)
    return added


def score_again(run: Run, stimulus_ids: "Sequence[str]") -> Run:
    """Look once more for the scores of a run."""
    if run.scores is not None:
        return run
    if run.source.suffix == ".npy":
        fresh = _aligned(_decoded_run(run.source), stimulus_ids)
    else:
        shown = _read_demo(run.source)
        fresh = _aligned(next(other for other in shown.runs if other.row == run.row), stimulus_ids, shown.stimulus_ids)
    return replace(run, scores=fresh.scores)


def _read_decoded(file: Path, tests: Pictures) -> Pictures:
    run, names = _decoded_run(file), _names_of(file)
    place = {name: number for number, name in enumerate(tests.stimulus_ids)}
    absent = [name for name in names if name not in place]
    if absent:
        raise DataFormatError(f"{file} holds {absent[0]!r}, which is no {tests.split} image of the subject; decode its {tests.split} split")
    return replace(tests, stimulus_ids=names, stimuli=tests.stimuli[[place[name] for name in names]], runs=(run,))


def _read_demo(file: Path) -> Pictures:
    with np.load(file, allow_pickle=False) as stored:
        absent = {"stimulus_ids", "stimuli", "reconstructions"} - set(stored.files)
        if absent:
            raise DataFormatError(f"{file} lacks the arrays {', '.join(sorted(absent))}; run `brain2pix demo` again")
        ids, stimuli = stored["stimulus_ids"].astype(str), stored["stimuli"]
        rows = {MAIN_RUN: stored["reconstructions"]}
        rows |= {name.removeprefix("reconstructions_"): stored[name] for name in stored.files if name.startswith("reconstructions_")}
    for pictures in rows.values():
        if not len(ids) == len(stimuli) == len(pictures):
            raise DataFormatError(f"{file} has {len(ids)} names, {len(stimuli)} stimuli and {len(pictures)} reconstructions; run it again")
        _check_pictures(file, pictures)
    names = [str(name) for name in ids]
    demo = file.parent.parent
    method = str(json_of(demo / "demo.json").get("method") or demo.name)
    titles = {MAIN_RUN: f"{method}, full method", **ROW_TITLES}
    runs = [
        Run(f"{file}:{row}", titles.get(row, row), pictures, file, row, about=f"{demo.name}, row {row}") for row, pictures in rows.items()
    ]
    return Pictures(names, stimuli, tuple(replace(run, scores=_scores_of(run, names)) for run in runs))


def _decoded_run(file: Path) -> Run:
    pictures = np.load(file, mmap_mode="r", allow_pickle=False)
    names = _names_of(file)
    if len(names) != len(pictures):
        raise DataFormatError(f"{file.with_suffix('.json')} does not name the {len(pictures)} pictures of {file.name}; decode again")
    _check_pictures(file, pictures)
    about = json_of(file.with_suffix(".json"))
    job = file.parent.parent
    # a run that was moved, or that came with the program, lies around its pictures; its old name may be anything
    folder = job.parent if (job.parent / "model").is_dir() else Path(str(about.get("run") or job.parent))
    title = " · ".join(part for part in (str(about.get("method") or ""), folder.name) if part)
    transductive = about.get("transductive") or []
    seen = f"\nIts training also used: {', '.join(map(str, transductive))} (transductive)." if transductive else ""
    run = Run(str(file), title, pictures, file, about=f"{folder}{seen}")
    return replace(run, scores=_scores_of(run, names))


def _aligned(run: Run, stimulus_ids: "Sequence[str]", names: "Sequence[str] | None" = None) -> Run:
    """Put pictures and scores into the order of the images that are shown."""
    place = {name: row for row, name in enumerate(names if names is not None else _names_of(run.source))}
    absent = [name for name in stimulus_ids if name not in place]
    if absent:
        raise DataFormatError(
            f"{run.source} was made from other test images: it lacks {absent[0]!r} and {len(absent) - 1} more of the "
            f"{len(stimulus_ids)} that are shown; choose a run that was decoded on the same test split"
        )
    rows = [place[name] for name in stimulus_ids]
    if rows == list(range(len(run.pictures))):
        return run
    scores = run.scores.on(stimulus_ids) if run.scores is not None else None
    return replace(run, pictures=np.asarray(run.pictures[rows]), scores=scores)


def _scores_of(run: Run, names: "Sequence[str] | None" = None) -> ImageScores | None:
    """Scores of exactly these pictures: those beside them, those of an evaluation of the same run, or those in the cache."""
    folder = run.source.parent
    split = json_of(run.source.with_suffix(".json")).get("split") or TEST
    places = [folder, folder.parent.parent / f"evaluate-{split}" / "results", cached_scores(run.source)]
    made = None
    for place in places:
        try:
            found = read_image_scores(place).get(run.row)
        except Brain2PixError:
            continue  # absent or damaged: they can be made again
        made = made or fingerprint(run.pictures)
        if found is not None and found.fingerprint == made and (names is None or found.stimulus_ids == list(names)):
            return found
    return None


def _check_pictures(file: Path, pictures: "NDArray[Any]") -> None:
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise DataFormatError(f"{file} holds {pictures.dtype} of shape {pictures.shape}, expected uint8 [m h w 3]; decode again")


def _check_voxels(folder: Path, subject: "Subject") -> None:
    """Refuse a run of another subject or of other voxels, by what its model says of them."""
    from brain2pix.training.run_folder import check_voxels_fit, model_description

    job = json_of(folder / "job.json").get("params", {}).get("run")
    method = str(json_of(folder / "demo.json").get("method", ""))
    run = folder / job if isinstance(job, str) else folder / "runs" / method if method else folder
    trained = SubjectInfo.from_dict(model_description(run)["subjects"][0])
    if trained.subject != subject.name:
        raise DataFormatError(f"{folder} is about {trained.subject}, open is {subject.name}; only runs of one subject can be compared")
    check_voxels_fit(trained, subject)


def _check_images(file: Path, subject: "Subject", names: "Sequence[str]", size: int, stimuli: Any) -> None:
    """Refuse pictures of other images that have the same names, where the folder says which images it was made from."""
    from brain2pix.data.splits import pictures_of

    if isinstance(stimuli, str) and fingerprint(pictures_of(subject, list(names), size)[0]) != stimuli:
        raise DataFormatError(
            f"{file} was made from other images than those of {subject.path}, though they have the same names; "
            "choose a run of the subject that is open"
        )


def _names_of(file: Path) -> list[str]:
    names = json_of(file.with_suffix(".json")).get("stimulus_ids")
    return [str(name) for name in names] if isinstance(names, list) else []


def json_of(file: Path) -> dict[str, Any]:
    """Values of a JSON file; empty if there is none that can be read."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
