"""What a trained encoder says of images without responses, for any method that has one."""

import dataclasses
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import MissingDataError
from brain2pix.events import CancelToken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import Decoder

_IN_MEMORY_BYTES = 1 << 30  # larger tables go to a file that vanishes with the process


def predict_responses(
    method: "Decoder",
    images: "NDArray[np.uint8]",
    cancel: CancelToken | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    chunk: int = 64,
) -> "NDArray[np.float16]":
    """Predict the responses to many images, a chunk at a time.

    Parameters
    ----------
    method : Decoder with an encoder
    images : uint8 array (may be memory-mapped), [u h w 3]
    cancel : CancelToken or None, asked before each chunk
    on_progress : function or None, called with (images done, images in all)
    chunk : int, images at once

    Returns
    -------
    float16 array, [u v], in memory, or memory-mapped to a nameless temporary file if it is larger than 1 GiB

    Raises
    ------
    NotSupportedError
        If the method has no encoder.
    """
    import torch

    from brain2pix.methods._pictures import to_tensor

    shape = (len(images), method.info.subjects[0].n_voxels)
    if shape[0] * shape[1] * 2 > _IN_MEMORY_BYTES:
        with tempfile.TemporaryFile() as file:  # the map keeps the file alive
            predicted: NDArray[np.float16] = np.memmap(file, dtype=np.float16, mode="w+", shape=shape)
    else:
        predicted = np.empty(shape, dtype=np.float16)
    for start in range(0, len(images), chunk):
        if cancel is not None:
            cancel.check()
        with torch.no_grad():
            values = method.encode(to_tensor(images[start : start + chunk])).values
        predicted[start : start + chunk] = values.half().cpu().numpy()
        if on_progress is not None:
            on_progress(min(start + chunk, len(images)), len(images))
    return predicted


class Predictions:
    """What a frozen encoder says of images without responses: computed when it is first asked for, then the same for all who share it."""

    def __init__(self) -> None:
        self._found: NDArray[np.float16] | None = None

    def of(
        self, method: "Decoder", images: "NDArray[np.uint8]", cancel: CancelToken, on_progress: Callable[[int, int], None]
    ) -> "NDArray[np.float16]":
        """Give the responses to images [u h w 3], see `predict_responses`; always to be asked for the same method and images."""
        if self._found is None:
            self._found = predict_responses(method, images, cancel, on_progress)
        return self._found


def unpaired_as_pairs(
    method: "Decoder", data: "TrainingData", max_images: int | None = None, cancel: CancelToken | None = None
) -> "TrainingData":
    """Make pairs of the images without responses and what an encoder predicts for them: the data of "ridge on E(unpaired)".

    Parameters
    ----------
    method : Decoder with an encoder, of the same voxels as `data`
    data : TrainingData with unpaired images
    max_images : int or None
    cancel : CancelToken or None

    Returns
    -------
    TrainingData whose every image is a group of its own; without repeats, without unpaired images

    Raises
    ------
    MissingDataError
        If there are no unpaired images.
    """
    if data.unpaired is None:
        raise MissingDataError(f"{data.subject.subject} has no unpaired images to predict responses for; add a stack or folder of them")
    images = data.unpaired[:max_images]
    responses = predict_responses(method, images, cancel).astype(np.float32)
    index = np.arange(len(images))
    return dataclasses.replace(data, responses=responses, images=images, image_index=index, groups=index, unpaired=None, repeats=None)
