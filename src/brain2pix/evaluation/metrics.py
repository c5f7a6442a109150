"""How alike reconstructions and images are: pixels, structure, and features of networks that took no part in training."""

from typing import TYPE_CHECKING

import numpy as np
from skimage.metrics import structural_similarity

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

SSIM_WINDOW = 7  # px, uniform: skimage's default


def as_images(images: "ArrayLike") -> "NDArray[np.float32]":
    """Bring pictures to one form.

    Parameters
    ----------
    images : uint8 array [m h w 3], or float array or Tensor in 0..1, [m 3 h w] or [m h w 3]

    Returns
    -------
    float32 array, [m h w 3], 0..1

    Raises
    ------
    ShapeError
        If it is not a batch of RGB pictures.
    """
    detach = getattr(images, "detach", None)
    array = np.asarray(detach().cpu() if detach is not None else images)
    if array.ndim == 4 and array.shape[-1] != 3 and array.shape[1] == 3:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[-1] != 3:
        raise ShapeError(f"expected RGB images of shape [m h w 3] or [m 3 h w], got {array.shape}")
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    return np.asarray(np.ascontiguousarray(array, dtype=np.float32) / np.float32(scale))


def pixel_correlation(reconstructions: "ArrayLike", images: "ArrayLike") -> "NDArray[np.float64]":
    """Pearson correlation over all RGB values between each reconstruction and each image.

    Parameters
    ----------
    reconstructions, images : pictures as `as_images` takes them, [m ...] and [k ...] of the same size

    Returns
    -------
    float array, [m k]; 0 where one of the two is flat
    """
    first, second = _same_size(reconstructions, images)
    return np.asarray(_unit_rows(first) @ _unit_rows(second).T)


def pixel_r(reconstructions: "ArrayLike", images: "ArrayLike") -> "NDArray[np.float64]":
    """Pixel correlation of each reconstruction with its own image, [m]."""
    first, second = _same_size(reconstructions, images)
    if len(first) != len(second):
        raise ShapeError(f"{len(first)} reconstructions need as many images, got {len(second)}")
    return np.asarray(np.einsum("md,md->m", _unit_rows(first), _unit_rows(second)))


def structural(reconstructions: "ArrayLike", images: "ArrayLike") -> "NDArray[np.float64]":
    """SSIM of each reconstruction with its own image: uniform 7 px window, colours averaged.

    A flat picture in the image's mean colour reaches about .36 on photographs: read scores against that, not against 0.

    Parameters
    ----------
    reconstructions, images : pictures as `as_images` takes them, [m ...] each

    Returns
    -------
    float array, [m]

    References
    ----------
    .. [1] Wang et al. 2004, doi:10.1109/TIP.2003.819861, as in scikit-image.
    """
    first, second = as_images(reconstructions), as_images(images)
    if first.shape != second.shape:
        raise ShapeError(f"reconstructions and images must have the same shape, got {first.shape} and {second.shape}")
    window = min(SSIM_WINDOW, 2 * ((min(first.shape[1:3]) - 1) // 2) + 1)
    return np.array(
        [structural_similarity(a, b, win_size=window, data_range=1.0, channel_axis=-1) for a, b in zip(first, second, strict=True)],
        dtype=np.float64,
    )


def feature_similarity(reconstruction_features: "Sequence[ArrayLike]", image_features: "Sequence[ArrayLike]") -> "NDArray[np.float64]":
    """Minus the perceptual distance between each reconstruction and each image, in features that the caller hands in.

    Per layer the distance is 1 - cosine over channels, averaged over positions; layers count equally.

    Parameters
    ----------
    reconstruction_features, image_features : sequences of float arrays, one per layer, [m c h w] or [m c] and [k c h w] or [k c]

    Returns
    -------
    float array, [m k], at most 0

    Raises
    ------
    ShapeError
        If the two differ in layers, channels or positions.
    """
    if len(reconstruction_features) != len(image_features) or not reconstruction_features:
        raise ShapeError(
            f"features need the same layers on both sides, at least one: got {len(reconstruction_features)} and {len(image_features)}"
        )
    layers = [_layer_similarity(a, b) for a, b in zip(reconstruction_features, image_features, strict=True)]
    return np.asarray(np.mean(layers, axis=0))


def low_resolution(images: "ArrayLike", pixels: int) -> "NDArray[np.float32]":
    """Shrink images to pixels x pixels by area and enlarge them bilinearly: what a reconstruction of that resolution would look like.

    Parameters
    ----------
    images : pictures as `as_images` takes them, [m ...]
    pixels : int, 1..edge of the images

    Returns
    -------
    float32 array, [m h w 3]
    """
    array = as_images(images)
    height, width = array.shape[1:3]
    if not 1 <= pixels <= min(height, width):
        raise ShapeError(f"resolution must lie in 1..{min(height, width)} px for images of {height} x {width}, got {pixels}")
    rows = _enlarge(height, pixels) @ _shrink(height, pixels)  # [h h]
    columns = _enlarge(width, pixels) @ _shrink(width, pixels)
    return np.asarray(np.einsum("yh,mhwc,xw->myxc", rows, array, columns, optimize=True), dtype=np.float32)


def _same_size(first: "ArrayLike", second: "ArrayLike") -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    a, b = as_images(first), as_images(second)
    if a.shape[1:] != b.shape[1:]:
        raise ShapeError(f"reconstructions and images must have the same size, got {a.shape[1:]} and {b.shape[1:]}")
    return a.reshape(len(a), -1), b.reshape(len(b), -1)


def _unit_rows(flat: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Centre each row and scale it to length 1; flat rows become 0."""
    centred = flat.astype(np.float64) - flat.mean(axis=1, keepdims=True, dtype=np.float64)
    length = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    # float32 rounding of a constant picture leaves a length of about 1e-6: that is flat, too
    return np.where(length > 1e-5, centred / np.maximum(length, 1e-5), 0.0)


def _layer_similarity(first: "ArrayLike", second: "ArrayLike") -> "NDArray[np.float64]":
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim < 2 or a.shape[1:] != b.shape[1:]:
        raise ShapeError(f"features of one layer must have the same channels and positions, got {a.shape} and {b.shape}")
    positions = int(np.prod(a.shape[2:], dtype=np.int64))
    return np.asarray(_unit_channels(a) @ _unit_channels(b).T / positions - 1.0)


def _unit_channels(features: "NDArray[np.float64]") -> "NDArray[np.float64]":
    length = np.sqrt(np.square(features).sum(axis=1, keepdims=True))
    return np.asarray(features / np.maximum(length, 1e-12)).reshape(len(features), -1)


def _shrink(size: int, pixels: int) -> "NDArray[np.float64]":
    """Area average as a matrix, [pixels size]; a source pixel on a border is shared."""
    edges = np.linspace(0, size, pixels + 1)
    left, right = np.arange(size), np.arange(1, size + 1)
    overlap = np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left)
    return np.asarray(np.clip(overlap, 0, None) * pixels / size)


def _enlarge(size: int, pixels: int) -> "NDArray[np.float64]":
    """Bilinear interpolation between pixel centres as a matrix, [size pixels]; beyond the outer centres the value stays."""
    place = np.clip((np.arange(size) + 0.5) * pixels / size - 0.5, 0, pixels - 1)
    return np.asarray(np.clip(1 - np.abs(place[:, None] - np.arange(pixels)), 0, None))
