"""Read receptive fields from a trained encoder and write them as maps."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import TrainedRun, open_run
from brain2pix.config.base import resolve
from brain2pix.config.prf import PRFSettings
from brain2pix.data.maps import write_maps
from brain2pix.data.splits import evaluation_set
from brain2pix.errors import NotSupportedError
from brain2pix.evaluation.encoding import voxel_correlation
from brain2pix.events import Progress
from brain2pix.files import write_json
from brain2pix.methods.predictions import predict_responses
from brain2pix.prf import gradient_maps, input_images, receptive_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.config.run import MapsParams
    from brain2pix.events import CancelToken


def prepare(params: "MapsParams") -> Prepared:
    """Load the encoder and its subject."""
    settings = resolve(PRFSettings, "prf", params.preset, changes=params.settings)
    trained = open_run(params.run, params.subject, params.device)
    if not trained.method.info.has_encoder:
        raise NotSupportedError(f"{trained.method.name} in {params.run} has no encoder to read receptive fields from; train gaziv, e.g.")

    def run(context: JobContext) -> None:
        with memory_reported(trained.device, settings), context.stage("receptive fields"):
            _write(trained, settings, params, context)

    return Prepared({**trained.describe(), "settings": settings.model_dump(mode="json"), "quality_split": params.quality_split}, run)


def _write(trained: TrainedRun, settings: PRFSettings, params: "MapsParams", context: JobContext) -> None:
    subject, method = trained.subject, trained.method
    rows = subject.rows("train")
    shown = list(dict.fromkeys(subject.trials["stimulus_id"].to_numpy()[rows]))
    photos = subject.images(shown, method.image_size)
    inputs = input_images(photos, settings, method.image_size, params.seed).to(trained.device)

    def encode(images: "Tensor") -> "Tensor":
        return method.encode(images).values

    def on_progress(done: int, total: int) -> None:
        context.sink(Progress("receptive fields", done, total))

    maps = gradient_maps(
        encode,
        inputs,
        trained.voxel_index.size,
        gradient=settings.gradient,
        chunk=settings.chunk,
        cancel=context.cancel,
        on_progress=on_progress,
    )
    quality, quality_name = encoder_quality(trained, params.quality_split, context.cancel)
    fields = receptive_fields(
        maps,
        settings,
        subject.field_of_view_deg,
        quality=quality,
        quality_name=quality_name,
        source=f"encoder gradients of {method.name}",
        model=method.receptive_fields(),
    )
    written = write_maps(context.folder.results, fields.map, subject, trained.voxel_index)
    summary = {
        "n_voxels": int(trained.voxel_index.size),
        "kept": 1 - fields.discarded,
        "source": fields.map.source,
        "used": fields.used,
        "quality": fields.map.quality_name,
        "simulated": subject.simulated,
        "files": [file.name for file in written],
    }
    write_json(context.folder.results / "summary.json", summary)
    context.message(f"{summary['kept']:.0%} of {summary['n_voxels']} voxels have a confined receptive field")


def encoder_quality(trained: TrainedRun, split: str | None, cancel: "CancelToken") -> "tuple[NDArray[np.float32] | None, str]":
    """Correlate predicted and measured responses of a split that took no part in training, [v]; None if the subject lacks it.

    A validation split lets the test images stay unseen by every choice made with this quality.
    """
    if split is None or not (trained.subject.trials["split"] == split).any():
        return None, ""
    held_out = evaluation_set(trained.subject, trained.voxel_index, split, trained.method.image_size)
    predicted = predict_responses(trained.method, held_out.images, cancel)
    r = voxel_correlation(predicted.astype(np.float32), held_out.responses)
    return np.nan_to_num(r).astype(np.float32), f"r of the encoder on {len(held_out.stimulus_ids)} {split} images"
