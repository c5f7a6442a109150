"""What a trained encoder says of images without responses, for any method that has one."""

import dataclasses
import hashlib
import logging
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path

from brain2pix.errors import MissingDataError
from brain2pix.events import CancelToken

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from brain2pix.data.training import TrainingData
    from brain2pix.methods._self_supervised import SelfSupervised
    from brain2pix.methods.base import Decoder

logger = logging.getLogger(__name__)

_IN_MEMORY_BYTES = 1 << 30  # larger tables go to a file that vanishes with the process
_HASHED = 256  # images that are looked at together
_COLUMNS = 512  # voxels that are written together
_KEPT_BYTES = 4 << 30  # in the cache folder; what was used longest ago goes first


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
    """What a frozen encoder says of images without responses: computed when it is first asked for, then the same for all who share it.

    Of an encoder taken from another run it is kept in the user's cache folder: the next training that takes this encoder finds it there.
    """

    def __init__(self) -> None:
        self._found: NDArray[Any] | None = None

    def of(
        self, method: "SelfSupervised", images: "NDArray[np.uint8]", cancel: CancelToken, on_progress: Callable[[int, int], None]
    ) -> "NDArray[Any]":
        """Give the responses to images [u h w 3]; always to be asked for the same method and images.

        Returns
        -------
        float16 array as of `predict_responses`, or a float32 memory map of the same numbers, [u v]
        """
        from brain2pix.data.cache import open_cache  # with HDF5, which a look at the list of systems need not load

        if self._found is None:
            path = _cache_of(method, images) if method.adopted else None
            self._found = None if path is None else open_cache(path, (len(images), method.info.subjects[0].n_voxels))
            if self._found is None:
                self._found = predict_responses(method, images, cancel, on_progress)
                if path is not None:
                    _keep(path, self._found)
            elif path is not None:
                with suppress(OSError):  # a cache that may only be read
                    path.touch()
        return self._found


def _cache_of(method: "SelfSupervised", images: "NDArray[np.uint8]") -> "Path":
    """Name a cache by all that decides its last bit."""
    import torch

    settings = method.options.model_dump(mode="json", include=set(method.encoder_settings))
    digest = hashlib.sha256(f"{method.name} {settings} {torch.__version__} {torch.get_num_threads()}".encode())
    for key, value in sorted(method.encoder_state().items()):
        digest.update(f"{key} {value.device.type}".encode() + value.detach().cpu().contiguous().numpy().tobytes())
    digest.update(str(images.shape).encode())
    for start in range(0, len(images), _HASHED):
        digest.update(np.ascontiguousarray(images[start : start + _HASHED]).data)
    return user_cache_path("napari-brain2pix") / "predictions" / f"{method.name}_{digest.hexdigest()[:32]}.npy"


def _keep(path: "Path", predicted: "NDArray[Any]") -> None:
    from brain2pix.data.cache import write_cache

    n_voxels = predicted.shape[1]
    parts = (slice(start, min(start + _COLUMNS, n_voxels)) for start in range(0, n_voxels, _COLUMNS))
    try:
        write_cache(path, predicted.shape, ((part, predicted[:, part].astype(np.float32)) for part in parts))
    except OSError as error:
        logger.warning("predicted responses are not kept: %s cannot be written (%s)", path.parent, error)
        return
    with suppress(OSError):  # another process tidies too
        _forget_old(path)


def _forget_old(newest: "Path") -> None:
    """Remove what was used longest ago: an encoder's predictions can be a gigabyte, and a sweep may train many."""
    total = newest.stat().st_size
    others = [(file.stat(), file) for file in newest.parent.glob("*.npy") if file != newest]
    for status, file in sorted(others, key=lambda each: each[0].st_mtime, reverse=True):
        total += status.st_size
        if total > _KEPT_BYTES:
            file.unlink(missing_ok=True)


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
