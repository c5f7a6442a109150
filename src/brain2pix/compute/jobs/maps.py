"""Read receptive fields from a trained encoder, or from a decoder, and write them as maps."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.accuracy import measure_encoder
from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._field_maps import decoder_maps, encoder_maps, weight_maps
from brain2pix.compute.jobs._inputs import TrainedRun, open_run
from brain2pix.config.base import resolve
from brain2pix.config.prf import PRFSettings
from brain2pix.data.maps import read_maps, write_maps
from brain2pix.data.splits import evaluation_set
from brain2pix.errors import NotSupportedError
from brain2pix.evaluation import agreement_lines, compare_maps, voxel_correlation, write_lines
from brain2pix.evaluation.encoding import MIN_IMAGES
from brain2pix.files import atomic_path, write_json
from brain2pix.methods.predictions import predict_responses
from brain2pix.prf import check_centre, receptive_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    if settings.maps == "weights":
        weight_maps(trained, settings, params.side)  # refuses what has none
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
    fields, maps = read(trained, settings, params, quality, context)
    folder = context.folder.results
    stored = with_accuracy(fields.map, trained, context.cancel) if params.side == "encoder" else fields.map
    written = write_maps(folder, stored, trained.subject, trained.voxel_index, label=params.side)
    summary: dict[str, Any] = {
        "n_voxels": int(trained.voxel_index.size),
        "side": params.side,
        "kept": 1 - fields.discarded,
        "source": fields.map.source,
        "used": fields.used,
        "quality": fields.map.quality_name,
        "accuracy": stored.accuracy_name,
        "simulated": trained.subject.simulated,
        "files": [file.name for file in written],
    }
    if params.side == "decoder" and trained.method.info.has_encoder:
        summary["agreement"] = _compare(trained, fields.map, maps, settings, params, quality, context)
    write_json(folder / "summary.json", summary)
    context.message(f"{summary['kept']:.0%} of {summary['n_voxels']} voxels have a confined receptive field")


def _encoder_fields(
    trained: TrainedRun,
    settings: PRFSettings,
    params: "MapsParams",
    quality: "tuple[NDArray[np.float32] | None, str]",
    context: JobContext,
) -> "tuple[ReceptiveFields, NDArray[np.float32]]":
    maps, source = encoder_maps(trained, settings, params.seed, context)
    fields = receptive_fields(
        maps,
        settings,
        trained.subject.field_of_view_deg,
        quality=quality[0],
        quality_name=quality[1],
        source=source,
        model=trained.method.receptive_fields(),
    )
    return fields, maps


def _decoder_fields(
    trained: TrainedRun,
    settings: PRFSettings,
    params: "MapsParams",
    quality: "tuple[NDArray[np.float32] | None, str]",
    context: JobContext,
) -> "tuple[ReceptiveFields, NDArray[np.float32]]":
    maps, source = decoder_maps(trained, settings, _rows(trained, params.quality_split), params.seed, context)
    fields = receptive_fields(
        maps,
        settings.with_changes({"centre": "gradient", "size": "gradient"}),  # what a model says of its fields is the encoder's, not this
        trained.subject.field_of_view_deg,
        quality=quality[0],
        quality_name=quality[1],
        source=source,
        model=trained.method.receptive_fields(),
    )
    return fields, maps


def _compare(
    trained: TrainedRun,
    fields: "RetinotopicMap",
    maps: "NDArray[np.float32]",
    settings: PRFSettings,
    params: "MapsParams",
    quality: "tuple[NDArray[np.float32] | None, str]",
    context: JobContext,
) -> dict[str, Any]:
    """Set the decoder's fields beside the encoder's: numbers as a table, and a figure."""
    from brain2pix.figures.maps import agreement_figure, agreement_notes, map_caption

    if params.compare is not None:
        reference, pair = read_maps(params.compare, "encoder").on(trained.subject, trained.voxel_index), None
    else:
        of_encoder, encoder_side = _encoder_fields(trained, settings, params, quality, context)
        reference, pair = of_encoder.map, (maps, encoder_side)
    agreement = compare_maps(fields, reference, maps=pair, seed=params.seed)
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


def _rows(trained: TrainedRun, split: str | None) -> "NDArray[np.int64]":
    """Trials of a split; none where the subject lacks it."""
    return np.flatnonzero(trained.subject.trials["split"].to_numpy() == split)


def encoder_quality(trained: TrainedRun, split: str | None, cancel: "CancelToken") -> "tuple[NDArray[np.float32] | None, str]":
    """Correlate predicted and measured responses of a split that took no part in training, [v]; None if it has not three images.

    A validation split lets the test images stay unseen by every choice made with this quality.
    """
    if split is None or not _rows(trained, split).size:
        return None, ""
    held_out = evaluation_set(trained.subject, trained.voxel_index, split, trained.method.image_size)
    if len(held_out.stimulus_ids) < MIN_IMAGES:
        return None, ""
    predicted = predict_responses(trained.method, held_out.images, cancel)
    r = voxel_correlation(predicted.astype(np.float32), held_out.responses)
    return np.nan_to_num(r).astype(np.float32), f"r of the encoder on {len(held_out.stimulus_ids)} {split} images"


def with_accuracy(found: "RetinotopicMap", trained: TrainedRun, cancel: "CancelToken") -> "RetinotopicMap":
    """Add to a map how well the encoder predicts the test images, what noise allows, and the one over the other; or why not.

    It is only shown: nothing is chosen by it, so the test images stay what they are.
    """
    name = trained.subject.name
    if not _rows(trained, "test").size:
        return replace(found, accuracy_name=f"{name} has no test trials")
    shown = evaluation_set(trained.subject, trained.voxel_index, "test", trained.method.image_size)
    if len(shown.stimulus_ids) < MIN_IMAGES:
        return replace(found, accuracy_name=f"{name} has {len(shown.stimulus_ids)} test images, a correlation needs {MIN_IMAGES}")
    return measure_encoder(trained, shown, "test", cancel)[0].beside(found, found.field_of_view_deg)
