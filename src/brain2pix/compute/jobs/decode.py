"""Reconstruct the images of a split and put them beside the stimuli."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import decode_images, open_run
from brain2pix.data.image_scores import MAIN_RUN, fingerprint, write_image_scores
from brain2pix.data.splits import evaluation_set
from brain2pix.evaluation.images import score_images
from brain2pix.files import atomic_folder, write_json
from brain2pix.training.pictures import tile, write_png

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.config.run import DecodeParams
    from brain2pix.data.splits import EvaluationSet


def prepare(params: "DecodeParams") -> Prepared:
    """Load system and subject, gather the responses of the split."""
    trained = open_run(params.run, params.subject, params.device)
    shown = evaluation_set(trained.subject, trained.voxel_index, params.split, trained.method.image_size, without_pictures=True)
    notes = trained.notes_on(params.split)

    def run(context: JobContext) -> None:
        for note in notes:
            context.message(note)
        with memory_reported(trained.device, params), context.stage("decode"):
            images = decode_images(trained.method, shown.responses, trained.device, context.cancel, params.batch, shown.stimulus_ids)
            uses = list(trained.method.info.transductive)
            about = {**trained.describe(), "split": params.split, "transductive": uses, "notes": notes}
            write_reconstructions(context.folder.results, images, shown, about)

    return Prepared({**trained.describe(), "split": params.split, "n_images": len(shown.stimulus_ids), "batch": params.batch}, run)


def write_reconstructions(folder: "Path", images: "NDArray[np.uint8]", shown: "EvaluationSet", about: dict[str, object]) -> None:
    """Write reconstructions as one array, as PNG files and as a sheet (stimulus above its reconstruction) and scores, all or nothing.

    A stimulus without a picture is grey in the sheet, and its reconstruction has no scores.

    Parameters
    ----------
    folder : Path
    images : uint8 array, [m h w 3]
    shown : EvaluationSet of the same images
    about : dict, JSON values
    """
    with atomic_folder(folder) as beside:
        np.save(beside / "reconstructions.npy", images)
        for name, image in zip(shown.stimulus_ids, images, strict=True):
            write_png(beside / "reconstructions" / f"{name.replace('/', '_')}.png", image)
        write_png(beside / "comparison.png", comparison(shown.images, images))
        named = {"stimulus_ids": shown.stimulus_ids, "stimuli": fingerprint(shown.images), "without_picture": shown.without_picture}
        write_json(beside / "reconstructions.json", {**about, **named})
        if shown.pictured.any():
            write_image_scores(beside, {MAIN_RUN: score_images(images, shown.images, shown.stimulus_ids, shown.groups, shown.pictured)})


def comparison(stimuli: "NDArray[np.uint8]", images: "NDArray[np.uint8]", columns: int = 10) -> "NDArray[np.uint8]":
    """Lay out rows of stimuli, each row above the row of its reconstructions."""
    rows = []
    for start in range(0, len(images), columns):
        for part in (stimuli[start : start + columns], images[start : start + columns]):
            blank = np.full((columns - len(part), *part.shape[1:]), 255, dtype=np.uint8)
            rows.append(np.concatenate([part, blank]))
    return tile(np.concatenate(rows), columns)
