"""How well the encoder of a trained system predicts responses, beside their noise ceiling: the one measurement that all parts show."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.data.ceilings import why_no_ceiling
from brain2pix.data.voxel_accuracy import VoxelAccuracy
from brain2pix.evaluation import EncoderAccuracy, encoder_accuracy
from brain2pix.methods.predictions import predict_responses
from brain2pix.signals.ceilings import split_half_ceiling

if TYPE_CHECKING:
    from brain2pix.compute.jobs._inputs import TrainedRun
    from brain2pix.data.splits import EvaluationSet
    from brain2pix.events import CancelToken

_NOT_AREAS = ("L", "R", "all")


def measure_encoder(
    trained: "TrainedRun", shown: "EvaluationSet", split: str, cancel: "CancelToken"
) -> tuple[VoxelAccuracy, EncoderAccuracy]:
    """Predict the mean responses to some images, and correlate voxel by voxel.

    Parameters
    ----------
    trained : TrainedRun, with an encoder
    shown : EvaluationSet, of at least three images
    split : str, its name
    cancel : CancelToken

    Returns
    -------
    VoxelAccuracy, [v], the voxels of the model
    EncoderAccuracy, with its summaries for every area that has voxels in the model
    """
    predicted = predict_responses(trained.method, shown.images, cancel).astype(np.float32)
    halves = split_half_ceiling(shown.repeats.values, shown.repeats.image_index)
    areas = {name: mask[trained.voxel_index] for name, mask in trained.subject.areas.items() if name not in _NOT_AREAS}
    found = encoder_accuracy(predicted, shown.responses, halves.ceiling, areas=areas)
    parts = {
        "r": found.r,
        "ceiling": halves.ceiling,
        "r_over_ceiling": found.r_over_ceiling,
        "half": halves.half,
        "reliability": halves.reliability,
    }
    counts = np.bincount(shown.repeats.image_index)
    none = why_no_ceiling(counts, split)
    if not none and not np.isfinite(halves.ceiling).any():
        none = f"the repeats of split {split!r} agree in no voxel"
    values = {name: np.asarray(part, dtype=np.float32) for name, part in parts.items()}
    repeats = (int(counts.min()), int(counts.max()))
    return VoxelAccuracy(values, split, len(shown.stimulus_ids), repeats, trained.method.name, none and f"no noise ceiling: {none}"), found
