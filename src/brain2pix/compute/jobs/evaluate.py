"""Score a trained system on held-out images: every number with its interval, chance level and N."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import TrainedRun, decode_images, open_run
from brain2pix.data.image_scores import MAIN_RUN, write_image_scores
from brain2pix.data.splits import EvaluationSet, evaluation_set
from brain2pix.evaluation import encoder_accuracy, encoder_lines, row_lines, score_row, write_lines
from brain2pix.evaluation.functional import independent_networks, network_features
from brain2pix.evaluation.images import score_images
from brain2pix.files import write_json
from brain2pix.methods.predictions import predict_responses
from brain2pix.signals.ceilings import split_half_ceiling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.run import EvaluateParams
    from brain2pix.evaluation.report import ScoreLine
    from brain2pix.events import CancelToken


def prepare(params: "EvaluateParams") -> Prepared:
    """Load system and subject, gather images and responses of the split."""
    trained = open_run(params.run, params.subject, params.device)
    shown = evaluation_set(trained.subject, trained.voxel_index, params.split, trained.method.image_size)
    about = {
        **trained.describe(),
        "split": params.split,
        "n_images": len(shown.stimulus_ids),
        "transductive": list(trained.method.info.transductive),
    }

    def run(context: JobContext) -> None:
        with memory_reported(trained.device, params), context.stage("evaluate"):
            images = decode_images(trained.method, shown.responses, trained.device, context.cancel, params.batch)
            lines = _reconstructions(trained.method.name, images, shown)
            if trained.method.info.has_encoder:
                lines += _encoder(trained, shown, context.cancel)
            write_json(context.folder.results / "about.json", about)
            scored = score_images(images, shown.images, shown.stimulus_ids, shown.groups)
            write_image_scores(context.folder.results, {MAIN_RUN: scored})
            write_lines(context.folder.results / "scores.tsv", lines)
        for line in lines:
            if not line.score.startswith("random"):  # the single networks stand in the table
                context.message(describe(line))

    return Prepared(about, run)


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


def _reconstructions(name: str, images: "NDArray[np.uint8]", shown: EvaluationSet) -> "list[ScoreLine]":
    networks = {judge: partial(network_features, network) for judge, network in independent_networks().items()}
    return row_lines(name, score_row(images, shown.images, shown.groups, networks))


def _encoder(trained: TrainedRun, shown: EvaluationSet, cancel: "CancelToken") -> "list[ScoreLine]":
    predicted = predict_responses(trained.method, shown.images, cancel).astype(np.float32)
    ceiling = split_half_ceiling(shown.repeats.values, shown.repeats.image_index).ceiling
    areas = {name: mask[trained.voxel_index] for name, mask in trained.subject.areas.items() if name in ("V1", "V2", "V3")}
    return encoder_lines(encoder_accuracy(predicted, shown.responses, ceiling, areas=areas), trained.method.name)
