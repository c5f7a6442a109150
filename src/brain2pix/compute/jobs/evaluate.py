"""Score a trained system on held-out images: every number with its interval, chance level and N."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.accuracy import measure_encoder
from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import TrainedRun, decode_images, open_run
from brain2pix.data.ceilings import why_no_ceiling
from brain2pix.data.image_scores import MAIN_RUN, write_image_scores
from brain2pix.data.pool import Pool, open_pool
from brain2pix.data.splits import EvaluationSet, evaluation_set
from brain2pix.data.voxel_accuracy import write_voxel_accuracy
from brain2pix.evaluation import encoder_lines, row_lines, score_row, write_lines
from brain2pix.evaluation.encoding import MIN_IMAGES
from brain2pix.evaluation.functional import independent_networks, network_features
from brain2pix.evaluation.identification import WAYS
from brain2pix.evaluation.images import score_images
from brain2pix.evaluation.pool import score_in_pool
from brain2pix.files import write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.run import EvaluateParams
    from brain2pix.evaluation.report import ScoreLine


def prepare(params: "EvaluateParams") -> Prepared:
    """Load system and subject, gather images and responses of the split."""
    trained = open_run(params.run, params.subject, params.device)
    shown = evaluation_set(trained.subject, trained.voxel_index, params.split, trained.method.image_size)
    pool = None if params.pool is None else open_pool(params.pool, trained.subject, trained.method.image_size)
    notes = trained.notes_on(params.split) + left_out(shown, params.split, trained.method.info.has_encoder)
    about = {
        **trained.describe(),
        "split": params.split,
        "n_images": len(shown.stimulus_ids),
        "pool": "the other images of the split" if pool is None else f"the other images of the split, and {pool.folder}",
        "transductive": list(trained.method.info.transductive),
        "notes": notes,
    }

    def run(context: JobContext) -> None:
        for note in notes:
            context.message(note)
        with memory_reported(trained.device, params), context.stage("evaluate"):
            lines: list[ScoreLine] = []
            if trained.method.info.has_decoder:
                images = decode_images(trained.method, shown.responses, trained.device, context.cancel, params.batch, shown.stimulus_ids)
                lines += _reconstructions(trained.method.name, images, shown, pool)
                scored = score_images(images, shown.images, shown.stimulus_ids, shown.groups)
                write_image_scores(context.folder.results, {MAIN_RUN: scored})
            if trained.method.info.has_encoder and len(shown.stimulus_ids) >= MIN_IMAGES:
                lines += _encoder(trained, shown, params.split, context)
            write_json(context.folder.results / "about.json", about)
            write_lines(context.folder.results / "scores.tsv", lines)
        for line in lines:
            if not line.score.startswith(("random", "percentile")):  # the single networks and the spread stand in the table
                context.message(describe(line))

    return Prepared(about, run)


def left_out(shown: EvaluationSet, split: str, has_encoder: bool) -> list[str]:
    """Say which scores a set of images is too small for, and where there is no noise ceiling."""
    n_images, notes = len(shown.stimulus_ids), []
    if ways := [f"{n}-way" for n in WAYS if n > n_images]:
        notes.append(f"{', '.join(ways)} identification is left out: split {split!r} has {n_images} images with a picture")
    if has_encoder and n_images < MIN_IMAGES:
        notes.append(f"predictions of the encoder are left out: a correlation needs {MIN_IMAGES} images, there are {n_images}")
    elif has_encoder and (why := why_no_ceiling(np.bincount(shown.repeats.image_index), split)):
        notes.append(f"predictions of the encoder have no noise ceiling: {why}")
    return notes


def describe(line: "ScoreLine") -> str:
    """One score with what is needed to judge it."""
    digits = 1 if line.unit == "%" else 3
    value = f"{line.value:.{digits}f}{' ' * bool(line.unit)}{line.unit}"
    parts = [
        f"95 % {line.low:.{digits}f} .. {line.high:.{digits}f}" if line.low is not None and line.high is not None else "",
        f"chance {line.chance:.{digits}f}" if line.chance is not None else "",
        f"N {line.n}" if line.n is not None else "",
        line.note,
    ]
    return f"{line.row}, {line.score}: {value} ({', '.join(part for part in parts if part)})"


def _reconstructions(name: str, images: "NDArray[np.uint8]", shown: EvaluationSet, pool: Pool | None) -> "list[ScoreLine]":
    networks = {judge: partial(network_features, network) for judge, network in independent_networks().items()}
    lines = row_lines(name, score_row(images, shown.images, shown.groups, networks))
    if pool is not None:
        lines += score_in_pool(images, shown.images, pool.images, shown.groups, networks).lines(name, str(pool.folder))
    return lines


def _encoder(trained: TrainedRun, shown: EvaluationSet, split: str, context: JobContext) -> "list[ScoreLine]":
    """Measure the encoder, write what is known of each voxel, and give the summaries."""
    voxels, found = measure_encoder(trained, shown, split, context.cancel)
    about = {"Run": str(trained.path), "Transductive": list(trained.method.info.transductive)}
    write_voxel_accuracy(context.folder.results, voxels, trained.subject, trained.voxel_index, about)
    return encoder_lines(found, trained.method.name)
