"""Scores of each reconstruction: a table beside the pictures, and a file that says what its columns mean. No torch, no scipy.

::

    image_scores.tsv     run, stimulus_id and one column per score; n/a where a score could not be computed
    image_scores.json    what the columns mean, and for each run its means with intervals and the fingerprint of its pictures
"""

import csv
import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path

from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.files import atomic_path, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

TABLE, SIDECAR = "image_scores.tsv", "image_scores.json"
MAIN_RUN = "full"  # name of the run where a folder holds one
_COLUMNS = ("pixel_r", "ssim", "ssim_flat", "beaten")


@dataclass(frozen=True)
class Score:
    """What a score is, in words.

    Parameters
    ----------
    title, short : str
    meaning : str
    chance : float or None; None: the mean of `ssim_flat`, which differs between images
    """

    title: str
    short: str
    meaning: str
    chance: float | None


SCORES = {
    "pixel_r": Score(
        "Pixel correlation",
        "r",
        "Pearson correlation between a reconstruction and its stimulus over all pixels and colours. 1 is identical, chance is 0.",
        0.0,
    ),
    "ssim": Score(
        "Structural similarity",
        "SSIM",
        "SSIM of a reconstruction with its stimulus (Wang et al. 2004, uniform window of 7 px, colours averaged). 1 is identical. "
        "Its chance line is what a flat picture in the stimulus' mean colour scores, not 0.",
        None,
    ),
    "beaten": Score(
        "Identification",
        "beaten",
        "Share of the other test images that resemble the reconstruction less than its own stimulus does, by pixel correlation; a tie "
        "counts one half. 100 %: the stimulus is found among all test images. Chance is 50 %.",
        0.5,
    ),
}


@dataclass(frozen=True)
class Mean:
    """Mean of a score over images, with the 95 % interval over photographs; None where there is too little for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ImageScores:
    """Scores of the reconstructions that one run made.

    Parameters
    ----------
    stimulus_ids : list of str, [m]
    values : dict of column to float array, [m]: `pixel_r`, `ssim`, `ssim_flat` (of a flat picture in the mean colour), `beaten` (0..1)
    means : dict of score to Mean
    n_photos : int, independent photographs among the images
    fingerprint : str, of the reconstructions that were scored, see `fingerprint`
    """

    stimulus_ids: list[str]
    values: "dict[str, NDArray[np.float64]]"
    means: dict[str, Mean]
    n_photos: int
    fingerprint: str

    @property
    def n_scored(self) -> int:
        """Images with a score: what is compared with no picture has none."""
        return int(np.isfinite(self.values["pixel_r"]).sum())

    def chance(self, name: str) -> float:
        """Mean that a reconstruction without knowledge of the stimulus would reach."""
        fixed = SCORES[name].chance
        return float(np.nanmean(self.values["ssim_flat"])) if fixed is None else fixed

    def on(self, stimulus_ids: "Sequence[str]") -> "ImageScores":
        """Give the values in another order of the same images; means stay those of all images that were scored.

        Raises
        ------
        DataFormatError
            If an image was not scored.
        """
        place = {name: row for row, name in enumerate(self.stimulus_ids)}
        absent = next((name for name in stimulus_ids if name not in place), None)
        if absent is not None:
            raise DataFormatError(f"{absent!r} was not scored; score the reconstructions again")
        rows = [place[name] for name in stimulus_ids]
        return replace(self, stimulus_ids=list(stimulus_ids), values={name: values[rows] for name, values in self.values.items()})


def fingerprint(pictures: "NDArray[np.uint8]") -> str:
    """Tell pictures apart: scores of other pictures are not shown for these."""
    array = np.ascontiguousarray(pictures)
    return hashlib.sha256(repr((array.shape, str(array.dtype))).encode() + array.tobytes()).hexdigest()[:24]


def write_image_scores(folder: Path, runs: "Mapping[str, ImageScores]") -> None:
    """Write the scores of some runs into a folder.

    Parameters
    ----------
    folder : Path
    runs : mapping of run to ImageScores
    """
    about = {
        run: {
            "fingerprint": scores.fingerprint,
            "n_images": len(scores.stimulus_ids),
            "n_photos": scores.n_photos,
            "means": {
                name: {"value": _null(mean.value), "low": _null(mean.low), "high": _null(mean.high), "chance": _null(scores.chance(name))}
                for name, mean in scores.means.items()
            },
        }
        for run, scores in runs.items()
    }
    meanings = {name: score.meaning for name, score in SCORES.items()}
    meanings["ssim_flat"] = "SSIM of a flat picture in the stimulus' mean colour with the stimulus."
    with atomic_path(folder / TABLE) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["run", "stimulus_id", *_COLUMNS])
        for run, scores in runs.items():
            for row, name in enumerate(scores.stimulus_ids):
                writer.writerow([run, name, *(_cell(scores.values[column][row]) for column in _COLUMNS)])
    write_json(folder / SIDECAR, {"columns": meanings, "runs": about})


def read_image_scores(folder: Path) -> dict[str, ImageScores]:
    """Read what `write_image_scores` wrote.

    Raises
    ------
    MissingDataError
        If there are no scores.
    DataFormatError
        If a file is damaged; the message names it.
    """
    table, sidecar = folder / TABLE, folder / SIDECAR
    for file in (table, sidecar):
        if not file.is_file():
            raise MissingDataError(f"{file} does not exist; `brain2pix decode` and `brain2pix evaluate` write it")
    try:
        about = json.loads(sidecar.read_text(encoding="utf-8"))["runs"]
        cells = _read_table(table)
        return {run: _scores(run, values, cells) for run, values in about.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataFormatError(
            f"{table} and {sidecar.name} do not hold the scores of images ({type(error).__name__}: {error}); score again"
        ) from None


def cached_scores(source: Path) -> Path:
    """Folder in the user's cache where scores of reconstructions are kept if none lie beside them: another one once the file changes."""
    known = source.stat()
    key = hashlib.sha256(f"{source.resolve()}|{known.st_size}|{known.st_mtime_ns}".encode()).hexdigest()[:24]
    return user_cache_path("napari-brain2pix") / "image-scores" / key


def _read_table(file: Path) -> dict[str, list[dict[str, str]]]:
    with file.open(encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text, delimiter="\t")
        absent = {"run", "stimulus_id", *_COLUMNS} - set(reader.fieldnames or ())
        if absent:
            raise DataFormatError(f"{file} lacks the columns {', '.join(sorted(absent))}; score again")
        cells: dict[str, list[dict[str, str]]] = {}
        for line in reader:
            cells.setdefault(line["run"], []).append(line)
    return cells


def _scores(run: str, about: dict[str, Any], cells: dict[str, list[dict[str, str]]]) -> ImageScores:
    lines = cells.get(run, [])
    if len(lines) != about["n_images"]:
        raise ValueError(f"{len(lines)} lines of run {run}, expected {about['n_images']}")
    values = {column: np.array([_number(line[column]) for line in lines], dtype=np.float64) for column in _COLUMNS}
    means = {name: Mean(_number(mean["value"]), mean["low"], mean["high"]) for name, mean in about["means"].items() if name in SCORES}
    return ImageScores([line["stimulus_id"] for line in lines], values, means, int(about["n_photos"]), str(about["fingerprint"]))


def _number(cell: Any) -> float:
    return math.nan if cell in (None, "n/a") else float(cell)


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "n/a"


def _null(value: float | None) -> float | None:
    """JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
