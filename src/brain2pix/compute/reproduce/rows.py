"""Rows of the report: reconstructions of their cells put together, scored image by image."""

import json
import tokenize
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.reproduce.prepare import DECODE
from brain2pix.compute.sweep_cells import folder_standing
from brain2pix.data.image_scores import fingerprint
from brain2pix.errors import DataFormatError
from brain2pix.evaluation.identification import exact_identification, mean_rank
from brain2pix.evaluation.metrics import pixel_r
from brain2pix.evaluation.report import ScoreLine
from brain2pix.evaluation.statistics import bootstrap_interval
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.compute.reproduce.judges import Judge
    from brain2pix.compute.reproduce.plans import Row
    from brain2pix.compute.reproduce.prepare import Reproduction
    from brain2pix.compute.sweep_cells import SweepCell
    from brain2pix.data.splits import EvaluationSet
    from brain2pix.evaluation.statistics import Interval
    from brain2pix.events import CancelToken

WAYS = (2, 5, 10, 50)
# What numpy raises on damaged files: it reads a header with Python's own tokenizer.
_UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, RecursionError, MemoryError),
    *(SyntaxError, tokenize.TokenError),
)
_AGAIN = "remove its folder to decode again"


@dataclass(frozen=True)
class Pictures:
    """Reconstructions of all test images by one row.

    Parameters
    ----------
    row : Row
    images : uint8 array, [m h w 3], or None where a part of them is missing
    transductive : tuple of str, what the systems took from test responses
    why : str, why there is none
    """

    row: "Row"
    images: "NDArray[np.uint8] | None" = None
    transductive: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Scored:
    """Scores of a row, image by image.

    Parameters
    ----------
    name : str, of the row
    ways : dict of judge to dict of n to float array, [m], in 0..1
    ranks : dict of judge to float array, [m], share of the other images that beat the true one
    pixel_r : float array, [m]
    groups : int array, [m], photograph of each image
    """

    name: str
    ways: "dict[str, dict[int, NDArray[np.float64]]]"
    ranks: "dict[str, NDArray[np.float64]]"
    pixel_r: "NDArray[np.float64]"
    groups: "NDArray[np.int64]"

    def lines(self) -> list[ScoreLine]:
        """All numbers with their intervals over photographs, chance and N."""
        found = []
        for judge, rates in self.ways.items():
            for n, values in rates.items():
                interval = bootstrap_interval(values, self.groups).scaled(100)
                found.append(_line("identification", self.name, f"{judge} {n}-way", interval, "%", 100 / n))
            found.append(_line("rank", self.name, f"{judge} rank", bootstrap_interval(self.ranks[judge], self.groups), "", 0.5))
        return [*found, _line("pixel_r", self.name, "pixel r", bootstrap_interval(self.pixel_r, self.groups), "", 0.0)]


@dataclass
class Memory:
    """Reconstructions of cells that were read already."""

    read: "dict[Path, tuple[NDArray[np.uint8], tuple[str, ...]]]" = field(default_factory=dict)


def gather(reproduction: "Reproduction", row: "Row", memory: Memory) -> Pictures:
    """Put the reconstructions of a row together: each part of the test images from its cell, then the mean over runs.

    Nothing is put in the place of a cell that has not finished: the row is missing then, and says which cells lack.
    """
    if row.why:
        return Pictures(row, why=row.why)
    by_place = {cell.at: cell for cell in reproduction.cells}
    cells = [[by_place[at] for at in run] for run in row.runs]
    lacking = [why for run in cells for cell in run if (why := why_unfinished(cell))]
    if lacking:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        return Pictures(row, why=f"{lacking[0]}{more}")
    total = np.zeros(reproduction.test.images.shape, dtype=np.float64)
    transductive: list[str] = []
    try:
        for run in cells:
            for number, cell in enumerate(run):
                images, uses = _read(cell, reproduction.test, memory)
                mine = reproduction.part == number if len(run) > 1 else slice(None)
                total[mine] += images[mine]
                transductive += uses
    except DataFormatError as damaged:
        return Pictures(row, why=str(damaged))
    mean = np.round(total / len(cells)).astype(np.uint8)
    return Pictures(row, mean, tuple(dict.fromkeys(transductive)))


def why_unfinished(cell: "SweepCell") -> str:
    """Say why the reconstructions of a cell are not there; empty if they are."""
    job = next(job for job in cell.results if job.name == DECODE)
    own, train = folder_standing(job.folder), folder_standing(cell.train.folder)
    if own.state == "finished":
        return ""
    stands = own if train.state == "finished" or own.error else train
    return f"cell {cell.id} is {stands.state}{': ' * bool(stands.error)}{stands.error}"


def score(name: str, images: "NDArray[np.uint8]", test: "EvaluationSet", judges: "Sequence[Judge]", cancel: "CancelToken") -> Scored:
    """Score reconstructions of the test images by every judge that can be asked.

    Parameters
    ----------
    name : str, of the row
    images : uint8 array, [m h w 3]
    test : EvaluationSet of the same images
    judges : sequence of Judge
    cancel : CancelToken
    """
    ways: dict[str, dict[int, NDArray[np.float64]]] = {}
    ranks: dict[str, NDArray[np.float64]] = {}
    for judge in judges:
        if judge.why:
            continue
        similar = judge.similarity(images, test.images, cancel)
        ways[judge.key] = {n: exact_identification(similar, n) for n in WAYS if n <= len(images)}
        ranks[judge.key] = mean_rank(similar)
    return Scored(name, ways, ranks, pixel_r(images, test.images), test.groups)


def _line(part: str, row: str, score: str, interval: "Interval", unit: str, chance: float) -> ScoreLine:
    low, high = (bound if np.isfinite(bound) else None for bound in (interval.low, interval.high))
    return ScoreLine(part, row, score, interval.mean, unit, low, high, chance, interval.n)


def _read(cell: "SweepCell", test: "EvaluationSet", memory: Memory) -> "tuple[NDArray[np.uint8], tuple[str, ...]]":
    job = next(job for job in cell.results if job.name == DECODE)
    if job.folder not in memory.read:
        memory.read[job.folder] = read_reconstructions(RunFolder(job.folder).results, test)
    return memory.read[job.folder]


def read_reconstructions(folder: "Path", test: "EvaluationSet") -> "tuple[NDArray[np.uint8], tuple[str, ...]]":
    """Read reconstructions that a decode job wrote, and what their system took from test responses.

    Raises
    ------
    DataFormatError
        If a file is damaged, or belongs to other images than the test set's.
    """
    file = folder / "reconstructions.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        same = about["stimulus_ids"] == test.stimulus_ids and about["stimuli"] == fingerprint(test.images)
        uses = tuple(str(use) for use in about["transductive"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataFormatError(f"{file} does not describe reconstructions ({type(error).__name__}); {_AGAIN}") from None
    if not same:
        raise DataFormatError(f"{folder} holds reconstructions of other test images than {test.subject.subject} has now; use another OUT")
    return load_pictures(folder / "reconstructions.npy", test.images.shape), uses


def load_pictures(file: "Path", shape: tuple[int, ...]) -> "NDArray[np.uint8]":
    """Read an array of pictures of which the shape is known; nothing is read before it is found to have that shape.

    Raises
    ------
    DataFormatError
        If the file is missing, damaged or holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy warns of odd headers just before it refuses them
            stored = np.lib.format.open_memmap(file, mode="r")
    except _UNREADABLE as error:
        raise DataFormatError(f"{file} does not hold pictures ({type(error).__name__}); {_AGAIN}") from None
    if stored.shape != shape or stored.dtype != np.uint8:
        raise DataFormatError(f"{file} holds {stored.dtype} of shape {stored.shape}, expected uint8 of shape {shape}; {_AGAIN}")
    return np.array(stored)
