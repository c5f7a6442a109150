"""Compare trained runs by their reconstructions of the same images: differences image by image, with intervals and corrected p-values."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.arrays import SubjectInfo
from brain2pix.compute.device import choose_device
from brain2pix.compute.reproduce.judges import Judge, make_judges
from brain2pix.compute.reproduce.rows import read_reconstructions, score
from brain2pix.data.image_scores import fingerprint
from brain2pix.data.splits import EvaluationSet, evaluation_set
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError
from brain2pix.evaluation.comparison import Comparison, compare_scores, corrected
from brain2pix.events import Progress
from brain2pix.files import read_json_if_there
from brain2pix.training.run_folder import RunFolder, model_description

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from brain2pix.events import CancelToken, EventSink

PIXEL_R = "pixel r"
_WAYS = 2  # every image gives a graded score: the share of the other images that it beats


@dataclass(frozen=True)
class RunComparison:
    """What a comparison of runs says.

    Parameters
    ----------
    subject, split : str
    simulated : bool
    n_images, n_photos : int
    means : dict of score to dict of run to its mean over images; percent, or a correlation
    comparisons : list of Comparison, of every two runs by every score; percentage points, or a difference of correlations
    transductive : dict of run to what it took from test responses
    notes : list of str
    """

    subject: str
    split: str
    simulated: bool
    n_images: int
    n_photos: int
    means: dict[str, dict[str, float]]
    comparisons: list[Comparison]
    transductive: dict[str, tuple[str, ...]]
    notes: list[str]

    def table(self) -> pd.DataFrame:
        """One line for each comparison."""
        rows = [
            {
                "score": each.family,
                "first": each.better,
                "second": each.worse,
                "mean_first": self.means[each.family][each.better],
                "mean_second": self.means[each.family][each.worse],
                "difference": each.difference.mean,
                "low": each.difference.low,
                "high": each.difference.high,
                "wilcoxon_p": each.p,
                "holm_p": each.corrected,
                "n_images": each.difference.n,
                "n_photographs": each.difference.n_clusters,
            }
            for each in self.comparisons
        ]
        return pd.DataFrame(rows)


def compare_runs(
    runs: "Sequence[Path]", split: str, subject: "Path | None", device: str, sink: "EventSink", cancel: "CancelToken"
) -> RunComparison:
    """Compare every two of some runs.

    Parameters
    ----------
    runs : sequence of Path, folders of trained runs that were decoded on the split
    split : str
    subject : Path or None, where the subject lies; None: where the first run was trained
    device : str
    sink : callable, takes events
    cancel : CancelToken

    Raises
    ------
    ConfigError
        If there are fewer than two runs, or fewer than two images to compare by.
    MissingDataError
        If a run was not decoded, or the subject is gone.
    DataFormatError
        If reconstructions are damaged, or of other images than the first run's.
    """
    names = _names(runs)
    folders = {name: _decoded(run, split) for name, run in zip(names, runs, strict=True)}
    shown = _images(runs[0], subject, split, _edge(next(iter(folders.values()))))
    made, uses = {}, {}
    for name, folder in folders.items():
        _check_same(folder, shown, runs[0])
        pictures, uses[name] = read_reconstructions(folder, shown)
        made[name] = pictures[shown.pictured]
    notes = [f"{len(shown.without_picture)} stimuli without a picture are left out"] if shown.without_picture else []
    test = shown.part(shown.pictured)
    if len(test.stimulus_ids) < 2:
        raise ConfigError(f"split {split!r} has {len(test.stimulus_ids)} images with a picture; runs are compared by two and more")
    judges = [judge for judge in make_judges(choose_device(device)) if not judge.why]
    scores = _scores(made, test, judges, sink, cancel)
    if len({bool(each) for each in uses.values()}) > 1:
        notes.append("some runs used test responses in training (transductive) and some did not: these are not compared on equal terms")
    comparisons = [each for family, rows in scores.items() for each in _family(family, rows, test.groups)]
    means = {family: {name: _factor(family) * float(np.mean(rows[name])) for name in rows} for family, rows in scores.items()}
    n_photos = len(np.unique(test.groups))
    info = test.subject
    return RunComparison(info.subject, split, info.simulated, len(test.stimulus_ids), n_photos, means, comparisons, uses, notes)


def _names(runs: "Sequence[Path]") -> list[str]:
    if len(runs) < 2:
        raise ConfigError(f"a comparison needs two runs or more, got {len(runs)}")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ConfigError("a run is named twice; give different ones")
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else ["/".join(run.resolve().parts[-2:]) for run in runs]


def _decoded(run: "Path", split: str) -> "Path":
    folder = RunFolder(run / f"decode-{split}").results
    if not (folder / "reconstructions.npy").is_file():
        more = "" if split == "test" else f" --split {split}"
        raise MissingDataError(f"{run} was not decoded on split {split!r}; do it first: brain2pix decode {run}{more}")
    return folder


def _check_same(folder: "Path", shown: EvaluationSet, first: "Path") -> None:
    about = read_json_if_there(folder / "reconstructions.json")
    if about.get("stimulus_ids") != shown.stimulus_ids or about.get("stimuli") != fingerprint(shown.images):
        raise DataFormatError(
            f"{folder} holds reconstructions of other images, or in another size, than {first} has; only runs on the same images can be "
            "compared. If the subject has changed since, decode again"
        )


def _edge(folder: "Path") -> int:
    return int(np.load(folder / "reconstructions.npy", mmap_mode="r", allow_pickle=False).shape[1])


def _images(run: "Path", subject: "Path | None", split: str, size: int) -> EvaluationSet:
    """Read the images of a split, of the subject that a run was trained on, with the response of one voxel."""
    info = SubjectInfo.from_dict(model_description(run)["subjects"][0])
    place = subject or RunFolder(run).read_job().get("params", {}).get("subject")
    if place is None:
        raise MissingDataError(f"{run} does not say where its subject lies; give it with --subject")
    opened = open_subject(Path(place), None if subject is not None else info.subject, zscore=info.zscore)
    return evaluation_set(opened, np.zeros(1, dtype=np.int64), split, size, without_pictures=True)


def _scores(
    made: "dict[str, NDArray[np.uint8]]", test: EvaluationSet, judges: list[Judge], sink: "EventSink", cancel: "CancelToken"
) -> "dict[str, dict[str, NDArray[np.float64]]]":
    """Scores of each run, [m], by the name of the score."""
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for number, (name, images) in enumerate(made.items()):
        cancel.check()
        scored = score(name, images, test, judges, cancel)
        for judge, ways in scored.ways.items():
            found.setdefault(f"{judge} {_WAYS}-way", {})[name] = ways[_WAYS]
        found.setdefault(PIXEL_R, {})[name] = scored.pixel_r
        sink(Progress("compare", number + 1, len(made), "runs scored"))
    return found


def _family(family: str, rows: "dict[str, NDArray[np.float64]]", groups: "NDArray[np.int64]") -> list[Comparison]:
    pairs = combinations(rows, 2)
    return corrected([compare_scores(family, a, rows[a], b, rows[b], groups, factor=_factor(family)) for a, b in pairs])


def _factor(family: str) -> float:
    return 1.0 if family == PIXEL_R else 100.0
