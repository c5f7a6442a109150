"""Where in the image each voxel of an encoder looks: the energy of its input gradient, for all voxels at once.

Source: Gaziv et al. 2022, receptive fields from the trained encoder. The paper walks voxel by voxel with one random input; here the
voxels go backwards in chunks (a batch of vector-Jacobian products) and several inputs are added, which is less noisy.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.errors import ShapeError
from brain2pix.events import CancelToken

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.config.prf import PRFSettings

Encode = Callable[["Tensor"], "Tensor"]
OnProgress = Callable[[int, int], None]


def input_images(training_images: "NDArray[np.uint8] | None", settings: "PRFSettings", image_size: int, seed: int = 0) -> "Tensor":
    """Choose the inputs at which gradients are taken.

    Parameters
    ----------
    training_images : uint8 array, [m h w 3], or None if `settings.inputs` is "noise"
    settings : PRFSettings
    image_size : int [px]
    seed : int

    Returns
    -------
    Tensor, [n_images 3 h w], float32 in 0..1

    Raises
    ------
    ShapeError
        If training images are wanted and there are none, or they have another size.
    """
    rng = np.random.default_rng([seed, 7])
    n_noise = {"training": 0, "noise": settings.n_images, "mixed": settings.n_images // 2}[settings.inputs]
    n_photos = settings.n_images - n_noise
    noise = rng.random((n_noise, 3, image_size, image_size), dtype=np.float32)
    photos = np.zeros_like(noise[:0])
    if n_photos:
        if training_images is None or training_images.shape[1:] != (image_size, image_size, 3) or not len(training_images):
            got = None if training_images is None else training_images.shape
            raise ShapeError(
                f"receptive fields with inputs={settings.inputs!r} need training images [m {image_size} {image_size} 3], got {got}; "
                "give them, or set inputs='noise'"
            )
        rows = np.sort(rng.choice(len(training_images), size=min(n_photos, len(training_images)), replace=False))
        photos = np.moveaxis(training_images[rows], -1, 1).astype(np.float32) / np.float32(255)
    return torch.from_numpy(np.concatenate([photos, noise]))


def gradient_maps(
    encode: Encode,
    images: "Tensor",
    n_voxels: int,
    *,
    gradient: str = "squared",
    chunk: int = 64,
    cancel: CancelToken | None = None,
    on_progress: OnProgress | None = None,
) -> "NDArray[np.float32]":
    """Add up the input-gradient energy of every voxel over some images.

    Parameters
    ----------
    encode : function, images [b 3 h w] in 0..1 -> responses [b v], differentiable and independent between images
    images : Tensor, [k 3 h w], on the device of the encoder
    n_voxels : int
    gradient : str, "squared" or "absolute"
    chunk : int, voxels per backward pass
    cancel : CancelToken or None, asked before each pass
    on_progress : function or None, called with (passes done, passes in all)

    Returns
    -------
    float32 array, [v h w], mean over colours and images; computed in float32 whatever autocast is on

    Raises
    ------
    ShapeError
        If the encoder gives another number of voxels.

    References
    ----------
    .. [1] Gaziv et al. 2022, receptive field estimation: the squared gradient of a voxel, averaged over colours.
    """
    total = torch.zeros((n_voxels, *images.shape[-2:]), dtype=torch.float32)
    starts = range(0, n_voxels, chunk)
    copies = min(chunk, n_voxels)
    done = 0
    for image in images.float():
        with torch.enable_grad(), torch.autocast(image.device.type, enabled=False):
            # one copy of the image for each voxel of a chunk: a single forward pass serves all chunks, and each backward pass is one
            # ordinary batch (batching over cotangents instead falls back to a loop over voxels in pooling and convolution)
            leaf = image.expand(copies, -1, -1, -1).clone().requires_grad_(True)
            responses = encode(leaf)
        if responses.shape != (copies, n_voxels):
            raise ShapeError(f"the encoder gave responses of shape {tuple(responses.shape)}, expected ({copies}, {n_voxels})")
        for start in starts:
            if cancel is not None:
                cancel.check()
            stop = min(start + copies, n_voxels)
            cotangents = torch.zeros_like(responses)
            cotangents[torch.arange(stop - start), torch.arange(start, stop)] = 1
            with torch.autocast(image.device.type, enabled=False):
                (slopes,) = torch.autograd.grad(responses, leaf, cotangents, retain_graph=True)  # [copies 3 h w]
            energy = slopes.square() if gradient == "squared" else slopes.abs()
            total[start:stop] += energy[: stop - start].mean(dim=1).cpu()
            done += 1
            if on_progress is not None:
                on_progress(done, len(images) * len(starts))
    return (total / len(images)).numpy()
