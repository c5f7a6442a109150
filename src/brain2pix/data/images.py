"""Read image files, cut them square and resize them; numpy at the edge, torch inside."""

from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np

from brain2pix.data.volumes import require_file, unreadable
from brain2pix.errors import DataFormatError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_IMAGES_AT_ONCE = 256
_MID_GREY = 128.0


def read_image(path: "Path") -> "NDArray[np.uint8]":
    """Read an image file as RGB.

    Grey images are repeated, 16-bit images scaled to 8 bit, transparent ones laid on mid-grey (the usual background of a stimulus).

    Parameters
    ----------
    path : Path

    Returns
    -------
    uint8 array, [h w 3]

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "image")
    try:
        pixels = iio.imread(path, plugin="pillow", rotate=True)
    # Pillow raises SyntaxError for broken PNG chunks and struct errors for cut headers
    except Exception as error:
        raise unreadable(path, "image", error) from None
    try:
        return as_rgb(pixels)
    except ShapeError as error:
        raise DataFormatError(f"image {path}: {error}") from None


def as_rgb(pixels: "NDArray[Any]") -> "NDArray[np.uint8]":
    """Turn decoded pixels (grey, grey + alpha, RGB or RGBA; 1, 8 or 16 bit) into uint8 RGB, [h w 3]."""
    values = pixels[..., None] if pixels.ndim == 2 else pixels
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4):
        raise ShapeError(f"expected one picture, grey or RGB, got an array of shape {pixels.shape}")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    elif values.dtype.kind in "iu" and values.dtype.itemsize > 1:  # Pillow gives 16-bit grey as uint16 or int32
        values = np.round(values.astype(np.float64) / 257).clip(0, 255).astype(np.uint8)
    elif values.dtype != np.uint8:
        raise ShapeError(f"expected 8- or 16-bit pixels, got {values.dtype}")
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:].astype(np.float64) / 255
        values = np.round(values[..., :-1] * alpha + _MID_GREY * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def centre_crop(image: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Cut the largest centred square out of [h w 3]."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    return image[top : top + edge, left : left + edge]


def resize(images: "NDArray[np.uint8]", size: int) -> "NDArray[np.uint8]":
    """Resize square images: the mean over the covered area when shrinking, linear when growing.

    Parameters
    ----------
    images : uint8 array, [n h h 3]
    size : int, new edge [px]

    Returns
    -------
    uint8 array, [n size size 3]
    """
    old = images.shape[1]
    if images.ndim != 4 or images.shape[2] != old:
        raise ShapeError(f"expected square images [n h h 3], got {images.shape}")
    if old == size:
        return images
    weights = _resize_weights(old, size)
    out = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = images[start : start + _IMAGES_AT_ONCE].astype(np.float32)
        rows = np.tensordot(part, weights, axes=(1, 1))  # [n w 3 size]
        both = np.tensordot(rows, weights, axes=(1, 1))  # [n 3 size(y) size(x)]
        out[start : start + _IMAGES_AT_ONCE] = np.rint(both).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return out


def read_square_images(paths: "Iterable[Path]", size: int | None) -> "Iterator[NDArray[np.uint8]]":
    """Read image files one by one, cut square; resized if `size` is given."""
    for path in paths:
        square = centre_crop(read_image(path))
        yield square if size is None else resize(square[None], size)[0]


def as_tensor(images: "NDArray[np.uint8]") -> "Tensor":
    """Turn uint8 [n h w 3] into float32 [n 3 h w] in 0..1."""
    import torch

    pixels = torch.from_numpy(np.array(images, dtype=np.uint8))  # copied: a memory map may be read-only
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255).contiguous()


def as_uint8(images: "Tensor") -> "NDArray[np.uint8]":
    """Turn float [n 3 h w] in 0..1 into uint8 [n h w 3]."""
    pixels = images.detach().clamp(0, 1).mul(255).round().permute(0, 2, 3, 1).cpu().numpy()
    result: NDArray[np.uint8] = pixels.astype(np.uint8)
    return result


def _resize_weights(old: int, new: int) -> "NDArray[np.float32]":
    """Weights [new old] of one axis: overlap of pixel intervals when shrinking, linear between pixel centres when growing."""
    if new < old:
        edges = np.arange(new + 1) * (old / new)
        overlap = np.minimum(edges[1:, None], np.arange(1, old + 1)) - np.maximum(edges[:-1, None], np.arange(old))
        weights = overlap.clip(0)
    else:
        centres = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
        weights = (1 - np.abs(centres[:, None] - np.arange(old))).clip(0)
    normalised: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
