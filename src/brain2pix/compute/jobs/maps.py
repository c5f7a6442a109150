"""Read receptive fields from a trained encoder, or from a decoder, and write them as maps."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import TrainedRun, open_run
from brain2pix.config.base import resolve
from brain2pix.config.prf import PRFSettings
from brain2pix.data.maps import read_maps, write_maps
from brain2pix.data.splits import evaluation_set
from brain2pix.errors import NotSupportedError
from brain2pix.evaluation import agreement_lines, compare_maps, encoder_accuracy, voxel_correlation, write_lines
from brain2pix.events import Progress
from brain2pix.files import atomic_path, write_json
from brain2pix.methods.predictions import predict_responses
from brain2pix.prf import base_patterns, change_maps, check_centre, gradient_maps, input_images, receptive_fields
from brain2pix.signals.ceilings import split_half_ceiling
from brain2pix.stimulation import decode_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.config.run import MapsParams
    from brain2pix.events import CancelToken
    from brain2pix.prf import ReceptiveFields


def prepare(params: "MapsParams") -> Prepared:
    """Load the trained system and its subject."""
    settings = resolve(PRFSettings, "prf", params.preset, changes=params.settings)
    trained = open_run(params.run, params.subject, params.device)
    if params.side == "encoder" and not trained.method.info.has_encoder:
        raise NotSupportedError(
            f"{trained.method.name} in {params.run} has no encoder to read receptive fields from; read the decoder's with side=decoder, "
            "or train gaziv, e.g."
        )
    if params.side == "encoder":
        check_centre(settings, trained.method.receptive_fields())
    if params.compare is not None:
        read_maps(params.compare, "encoder").on(trained.subject, trained.voxel_index)

    def run(context: JobContext) -> None:
        with memory_reported(trained.device, settings), context.stage("receptive fields"):
            _write(trained, settings, params, context)

    about = {"settings": settings.model_dump(mode="json"), "side": params.side, "quality_split": params.quality_split}
    return Prepared({**trained.describe(), **about}, run)


def _write(trained: TrainedRun, settings: PRFSettings, params: "MapsParams", context: JobContext) -> None:
    quality = encoder_quality(trained, params.quality_split, context.cancel) if trained.method.info.has_encoder else (None, "")
    read = _encoder_fields if params.side == "encoder" else _decoder_fields
    fields = read(trained, settings, params, quality, context)
    folder = context.folder.results
    accuracy, accuracy_name = relative_accuracy(trained, context.cancel) if params.side == "encoder" else (None, "")
    stored = replace(fields.map, accuracy=accuracy, accuracy_name=accuracy_name)
    written = write_maps(folder, stored, trained.subject, trained.voxel_index, label=params.side)
    summary: dict[str, Any] = {
        "n_voxels": int(trained.voxel_index.size),
        "side": params.side,
        "kept": 1 - fields.discarded,
        "source": fields.map.source,
        "used": fields.used,
        "quality": fields.map.quality_name,
        "accuracy": accuracy_name,
        "simulated": trained.subject.simulated,
        "files": [file.name for file in written],
    }
    if params.side == "decoder" and trained.method.info.has_encoder:
        summary["agreement"] = _compare(trained, fields.map, settings, params, quality, context)
    write_json(folder / "summary.json", summary)
    context.message(f"{summary['kept']:.0%} of {summary['n_voxels']} voxels have a confined receptive field")


def _encoder_fields(
    trained: TrainedRun,
    settings: PRFSettings,
    params: "MapsParams",
    quality: "tuple[NDArray[np.float32] | None, str]",
    context: JobContext,
) -> "ReceptiveFields":
    subject, method = trained.subject, trained.method
    shown = list(dict.fromkeys(subject.trials["stimulus_id"].to_numpy()[subject.rows("train")]))
    photos = subject.images(shown, method.image_size)
    inputs = input_images(photos, settings, method.image_size, params.seed).to(trained.device)

    def encode(images: "Tensor") -> "Tensor":
        return method.encode(images).values

    maps = gradient_maps(
        encode,
        inputs,
        trained.voxel_index.size,
        gradient=settings.gradient,
        chunk=settings.chunk,
        cancel=context.cancel,
        on_progress=_progress(context, "receptive fields"),
    )
    return receptive_fields(
        maps,
        settings,
        subject.field_of_view_deg,
        quality=quality[0],
        quality_name=quality[1],
        source=f"encoder gradients of {method.name}",
        model=method.receptive_fields(),
    )


def _decoder_fields(
    trained: TrainedRun,
    settings: PRFSettings,
    params: "MapsParams",
    quality: "tuple[NDArray[np.float32] | None, str]",
    context: JobContext,
) -> "ReceptiveFields":
    subject, index = trained.subject, trained.voxel_index
    training = subject.responses(subject.rows("train"), index)
    held_out = subject.responses(_rows(trained, params.quality_split), index)
    maps = change_maps(
        decode_function(trained.method),
        base_patterns(training, held_out, settings.n_patterns, params.seed),
        (settings.step * training.std(axis=0)).astype(np.float32),
        energy=settings.gradient,
        chunk=settings.chunk,
        cancel=context.cancel,
        on_progress=_progress(context, "receptive fields of the decoder"),
    )
    return receptive_fields(
        maps,
        settings.with_changes({"centre": "gradient", "size": "gradient"}),  # what a model says of its fields is the encoder's, not this
        subject.field_of_view_deg,
        quality=quality[0],
        quality_name=quality[1],
        source=f"change of the picture by {trained.method.name}",
        model=trained.method.receptive_fields(),
    )


def _compare(
    trained: TrainedRun,
    fields: "RetinotopicMap",
    settings: PRFSettings,
    params: "MapsParams",
    quality: "tuple[NDArray[np.float32] | None, str]",
    context: JobContext,
) -> dict[str, Any]:
    """Set the decoder's fields beside the encoder's: numbers as a table, and a figure."""
    from brain2pix.figures.maps import agreement_figure, agreement_notes, map_caption

    if params.compare is not None:
        reference = read_maps(params.compare, "encoder").on(trained.subject, trained.voxel_index)
    else:
        reference = _encoder_fields(trained, settings, params, quality, context).map
    agreement = compare_maps(fields, reference, seed=params.seed)
    folder = context.folder.results
    write_lines(folder / "agreement.tsv", agreement_lines(agreement, trained.method.name))
    subject = trained.subject
    figure = agreement_figure(
        fields,
        reference,
        areas={name: subject.areas[name][trained.voxel_index] for name in ("V1", "V2", "V3") if name in subject.areas},
        names=("decoder", "encoder"),
        notes=agreement_notes(agreement.median_distance_deg, agreement.fisher_lee, agreement.log_ecc_r, agreement.size_spearman),
        title="Fields of the decoder against those of the encoder",
        caption=map_caption(agreement.n_voxels, trained.voxel_index.size, source=fields.source, simulated=subject.simulated),
    )
    with atomic_path(folder / "agreement.png") as beside:
        figure.savefig(beside, dpi=160)
    context.message(
        f"decoder fields lie {agreement.median_distance_deg:.2f} deg from the encoder's in the median, "
        f"{agreement.shuffled_distance_deg:.2f} deg from those of other voxels"
    )
    return {key: value if np.isfinite(value) else None for key, value in asdict(agreement).items()}


def _progress(context: JobContext, label: str) -> "Callable[[int, int], None]":
    def report(done: int, total: int) -> None:
        context.sink(Progress(label, done, total))

    return report


def _rows(trained: TrainedRun, split: str | None) -> "NDArray[np.int64]":
    """Trials of a split; none where the subject lacks it."""
    return np.flatnonzero(trained.subject.trials["split"].to_numpy() == split)


def encoder_quality(trained: TrainedRun, split: str | None, cancel: "CancelToken") -> "tuple[NDArray[np.float32] | None, str]":
    """Correlate predicted and measured responses of a split that took no part in training, [v]; None if the subject lacks it.

    A validation split lets the test images stay unseen by every choice made with this quality.
    """
    if split is None or not _rows(trained, split).size:
        return None, ""
    held_out = evaluation_set(trained.subject, trained.voxel_index, split, trained.method.image_size)
    predicted = predict_responses(trained.method, held_out.images, cancel)
    r = voxel_correlation(predicted.astype(np.float32), held_out.responses)
    return np.nan_to_num(r).astype(np.float32), f"r of the encoder on {len(held_out.stimulus_ids)} {split} images"


def relative_accuracy(trained: TrainedRun, cancel: "CancelToken") -> "tuple[NDArray[np.float32] | None, str]":
    """Accuracy of the encoder on the test images over its noise ceiling, [v], with what it was measured on; None with the reason.

    It is only shown: nothing is chosen by it, so the test images stay what they are.
    """
    name = trained.subject.name
    if not _rows(trained, "test").size:
        return None, f"{name} has no test trials"
    shown = evaluation_set(trained.subject, trained.voxel_index, "test", trained.method.image_size)
    ceiling = split_half_ceiling(shown.repeats.values, shown.repeats.image_index).ceiling
    if not np.isfinite(ceiling).any():
        return None, f"no noise ceiling: {name} has fewer than three test images with repeats, or they give no reliable voxel"
    predicted = predict_responses(trained.method, shown.images, cancel).astype(np.float32)
    found = encoder_accuracy(predicted, shown.responses, ceiling).r_over_ceiling.astype(np.float32)
    return found, f"r of the encoder on {len(shown.stimulus_ids)} test images over the split-half noise ceiling"
