"""Score reconstructions of folders that were made before scores were kept with them.

``python -m brain2pix.compute.image_scores SUBJECT SOURCE...`` scores each SOURCE (``reconstructions.npz`` of a demo,
``reconstructions.npy`` of ``brain2pix decode``) and keeps the result in the user's cache, see `data.image_scores.cached_scores`. The
folders themselves are not touched. SUBJECT is the subject's own folder (``.../sub-01``).
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.image_scores import MAIN_RUN, ImageScores, cached_scores, write_image_scores
from brain2pix.data.splits import photo_numbers, pictures_of
from brain2pix.data.subject import open_subject
from brain2pix.errors import Brain2PixError, DataFormatError
from brain2pix.evaluation.images import score_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject

_PREFIX = "reconstructions"  # names of arrays in a demo's file: reconstructions, reconstructions_<row>


def score_source(source: Path, subject: "Subject") -> dict[str, ImageScores]:
    """Score all reconstructions in a file.

    Parameters
    ----------
    source : Path, ``.npz`` of a demo or ``.npy`` of ``brain2pix decode``
    subject : Subject that saw the images

    Raises
    ------
    DataFormatError
        If the file does not name its images, or the subject does not have them.
    """
    names, images, runs = _read_demo(source) if source.suffix == ".npz" else _read_decoded(source, subject)
    known = {*subject.stimuli["stimulus_id"], *subject.trials["stimulus_id"]}
    absent = next((name for name in names if name not in known), None)
    if absent is not None:
        raise DataFormatError(f"{source} holds {absent!r}, which is no image of {subject.path}; open the subject that it was made from")
    groups, pictured = photo_numbers(subject, names), np.array([subject.has_picture(name) for name in names])
    if not pictured.any():
        raise DataFormatError(f"none of the {len(names)} stimuli in {source} has a picture: there is nothing to score reconstructions by")
    return {run: score_images(pictures, images, names, groups, pictured) for run, pictures in runs.items()}


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Score and keep; what went wrong goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m brain2pix.compute.image_scores", description="Score reconstructions.")
    parser.add_argument("subject", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    if hasattr(os, "nice"):
        os.nice(10)  # the window comes first
    try:
        subject = open_subject(options.subject.parent, options.subject.name)
        for source in options.sources:
            folder = cached_scores(source)
            write_image_scores(folder, score_source(source, subject))
    except (Brain2PixError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _read_demo(source: Path) -> "tuple[list[str], NDArray[np.uint8], dict[str, NDArray[np.uint8]]]":
    with np.load(source, allow_pickle=False) as stored:
        absent = {"stimulus_ids", "stimuli", _PREFIX} - set(stored.files)
        if absent:
            raise DataFormatError(f"{source} lacks the arrays {', '.join(sorted(absent))}; run `brain2pix demo` again")
        runs = {name.removeprefix(f"{_PREFIX}_"): stored[name] for name in stored.files if name.startswith(f"{_PREFIX}_")}
        names = [str(name) for name in stored["stimulus_ids"]]
        return names, stored["stimuli"], {MAIN_RUN: stored[_PREFIX], **runs}


def _read_decoded(source: Path, subject: "Subject") -> "tuple[list[str], NDArray[np.uint8], dict[str, NDArray[np.uint8]]]":
    pictures = np.load(source, allow_pickle=False)
    file = source.with_suffix(".json")
    names = json.loads(file.read_text(encoding="utf-8")).get("stimulus_ids")
    if not isinstance(names, list) or len(names) != len(pictures):
        raise DataFormatError(f"{file} does not name the {len(pictures)} pictures of {source.name}; decode again")
    images, _ = pictures_of(subject, names, int(pictures.shape[1]))
    return names, images, {MAIN_RUN: pictures}


if __name__ == "__main__":
    raise SystemExit(main())
