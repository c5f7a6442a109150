"""Where the parts of a demo, a run or a subject lie: what an export finds is what the window shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.image_scores import SIDECAR, TABLE
from brain2pix.data.maps import imported_maps
from brain2pix.data.splits import pictures_of
from brain2pix.data.voxel_accuracy import TABLE as VOXELS
from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.files import read_json_if_there

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject


@dataclass(frozen=True)
class Parts:
    """Places of what belongs to one subject and one trained system; None for what is not there.

    Parameters
    ----------
    folder : Path, what was asked for
    subject : Path, dataset root
    subject_name : str or None, which subject of it, if the path says so
    maps : Path or None, folder of receptive fields: of the trained system; for a bare subject those that were imported
    pictures : Path or None, file of reconstructions
    model : Path or None
    scores : Path or None, table ``scores.tsv``
    accuracy : Path or None, results of an evaluation with the accuracy of the encoder per voxel
    """

    folder: Path
    subject: Path
    subject_name: str | None = None
    maps: Path | None = None
    pictures: Path | None = None
    model: Path | None = None
    scores: Path | None = None
    accuracy: Path | None = None

    @property
    def run(self) -> Path | None:
        """Run folder of the model."""
        return self.model.parent if self.model is not None else None

    @property
    def image_scores(self) -> Path | None:
        """Table of the scores of each reconstruction, which lies beside them."""
        table = None if self.pictures is None else self.pictures.parent / TABLE
        return table if table is not None and table.is_file() and table.with_name(SIDECAR).is_file() else None


def find_parts(path: Path) -> Parts:
    """Find what a folder holds, without opening any of it.

    Parameters
    ----------
    path : Path, a demo folder, a run folder, a dataset or one of its subject folders

    Raises
    ------
    MissingDataError, DataFormatError
        If there is no such folder, or no subject in it.
    """
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise MissingDataError(f"{path} does not exist; give a demo, run or subject folder")
    root = _subject_root(path)
    if root is None:
        raise DataFormatError(f"{path} holds no subject (dataset_description.json); give a demo, run or subject folder")
    kind, beside = read_json_if_there(path / "job.json").get("kind"), _beside(path, root)
    maps: list[Path] = []
    pictures, scores, model = [], [], None
    if beside is not None:
        maps = [beside / "maps" / "results", beside / "decoder_maps" / "results", beside / "maps"]
        pictures = [beside / "decode-test" / "results" / "reconstructions.npy", beside / "results" / "reconstructions.npz"]
        scores = [beside / "evaluate-test" / "results" / "scores.tsv", beside / "scores.tsv"]
        own = {"maps": (maps, path / "results"), "decode": (pictures, path / "results" / "reconstructions.npy")}
        own["evaluate"] = (scores, path / "results" / "scores.tsv")
        if kind in own:
            own[kind][0].insert(0, own[kind][1])
        model = _model(beside)
    name = path.name if path.name.startswith("sub-") else None
    if beside is None:
        people = [root / name] if name else sorted(root.glob("sub-*"))
        maps = [found for found in map(imported_maps, people) if found is not None][: len(people) == 1]
    accuracy = _first([table.with_name(VOXELS) for table in scores])
    return Parts(path, root, name, _first(maps), _first(pictures), model, _first(scores), accuracy and accuracy.parent)


def read_pictures(parts: Parts, subject: "Subject") -> "tuple[list[str], NDArray[np.uint8], NDArray[np.uint8]]":
    """Read stimulus ids, stimuli (grey where there is no picture) and reconstructions, [m h w 3] each.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    file = parts.pictures
    if file is None:
        raise MissingDataError(f"{parts.folder} holds no reconstructions; make them: brain2pix decode {parts.run or 'RUN'}")
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as stored:
            absent = {"stimulus_ids", "stimuli", "reconstructions"} - set(stored.files)
            if absent:
                raise DataFormatError(f"{file} lacks the arrays {', '.join(sorted(absent))}; run `brain2pix demo` again")
            ids = [str(name) for name in stored["stimulus_ids"]]
            stimuli, made = stored["stimuli"], stored["reconstructions"]
    else:
        made = np.load(file, allow_pickle=False)
        ids = [str(name) for name in read_json_if_there(file.with_suffix(".json")).get("stimulus_ids", [])]
        stimuli = pictures_of(subject, ids, int(made.shape[1]))[0] if len(ids) == len(made) else made[:0]
    if not len(ids) == len(stimuli) == len(made):
        raise DataFormatError(f"{file} has {len(ids)} names, {len(stimuli)} stimuli and {len(made)} reconstructions; decode again")
    return ids, stimuli, made


def _subject_root(path: Path) -> Path | None:
    path = path.parent if path.name == "dataset_description.json" and path.is_file() else path
    candidates = [path, path / "subject"]
    named = [read_json_if_there(place / "job.json").get("params", {}).get("subject") for place in (path, _trained_run(path))]
    candidates += [path / name for name in named if isinstance(name, str)]
    candidates += [folder.parent for folder in candidates if folder.name.startswith("sub-")]
    return next((folder for folder in candidates if (folder / "dataset_description.json").is_file()), None)


def _trained_run(path: Path) -> Path:
    """Run of the trained system that a job is about (maps, pictures, scores); for others the folder itself."""
    run = read_json_if_there(path / "job.json").get("params", {}).get("run")
    return path / run if isinstance(run, str) and (path / run).is_dir() else path


def _beside(path: Path, root: Path) -> Path | None:
    """Folder of models and results: the demo around a subject, or the run; None for a bare subject."""
    if root == path / "subject":
        return path
    if (path / "job.json").is_file():
        return _trained_run(path)
    return root.parent if root.name == "subject" and (root.parent / "demo.json").is_file() else None


def _model(folder: Path) -> Path | None:
    """Trained model of a run or of a demo: that of the demo's method, else the first there is."""
    main = str(read_json_if_there(folder / "demo.json").get("method", ""))
    candidates = [folder / "model", folder / "runs" / main / "model", *sorted(folder.glob("runs/*/model")), folder]
    return next((model for model in candidates if (model / "model.json").is_file()), None)


def _first(places: list[Path]) -> Path | None:
    """First of some places that is there; the run folder of a job is none, for what it made lies in its ``results``."""
    return next((place for place in places if place.exists() and not (place / "job.json").is_file()), None)
