"""One map per voxel of a trained system: of gradients, of changes of the picture, or of the weights themselves."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import NotSupportedError
from brain2pix.events import Progress
from brain2pix.prf import base_patterns, change_maps, enlarge_maps, gradient_maps, input_images
from brain2pix.stimulation import decode_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.compute.context import JobContext
    from brain2pix.compute.jobs._inputs import TrainedRun
    from brain2pix.config.prf import PRFSettings
    from brain2pix.methods.base import Side


def encoder_maps(trained: "TrainedRun", settings: "PRFSettings", seed: int, context: "JobContext") -> "tuple[NDArray[np.float32], str]":
    """Where each voxel looks, [v h w], and what the maps are made of."""
    subject, method = trained.subject, trained.method
    if settings.maps == "weights":
        return weight_maps(trained, settings, "encoder"), f"encoder weights of {method.name}"
    shown = list(dict.fromkeys(subject.trials["stimulus_id"].to_numpy()[subject.rows("train")]))
    photos = subject.images(shown, method.image_size)

    def encode(images: "Tensor") -> "Tensor":
        return method.encode(images).values

    maps = gradient_maps(
        encode,
        input_images(photos, settings, method.image_size, seed).to(trained.device),
        trained.voxel_index.size,
        gradient=settings.gradient,
        chunk=settings.chunk,
        cancel=context.cancel,
        on_progress=_progress(context, "receptive fields"),
    )
    return maps, f"encoder gradients of {method.name}"


def decoder_maps(
    trained: "TrainedRun", settings: "PRFSettings", held_out: "NDArray[np.int64]", seed: int, context: "JobContext"
) -> "tuple[NDArray[np.float32], str]":
    """Where each voxel writes, [v h w], and what the maps are made of; voxels are raised in patterns of some held-out trials."""
    subject, index, method = trained.subject, trained.voxel_index, trained.method
    if settings.maps == "weights":
        return weight_maps(trained, settings, "decoder"), f"decoder weights of {method.name}"
    training = subject.responses(subject.rows("train"), index)
    maps = change_maps(
        decode_function(method),
        base_patterns(training, subject.responses(held_out, index), settings.n_patterns, seed),
        (settings.step * training.std(axis=0)).astype(np.float32),
        energy=settings.gradient,
        chunk=settings.chunk,
        cancel=context.cancel,
        on_progress=_progress(context, "receptive fields of the decoder"),
    )
    return maps, f"change of the picture by {method.name}"


def weight_maps(trained: "TrainedRun", settings: "PRFSettings", side: "Side") -> "NDArray[np.float32]":
    """Read maps from the weights themselves, at the size of the images, [v h w].

    Raises
    ------
    NotSupportedError
        If the system has no such weights.
    """
    energy = trained.method.weight_maps(side)
    if energy is None:
        raise NotSupportedError(f"{trained.method.name} has no weights of places on the {side}'s side; set maps='gradient'")
    maps = enlarge_maps(energy.detach().cpu().numpy(), trained.method.image_size)
    return maps if settings.gradient == "squared" else np.sqrt(maps)


def _progress(context: "JobContext", label: str) -> "Callable[[int, int], None]":
    def report(done: int, total: int) -> None:
        context.sink(Progress(label, done, total))

    return report
