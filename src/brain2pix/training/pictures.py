"""Pictures of a batch as one PNG."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def tile(images: "NDArray[np.uint8]", columns: int = 8, gap: int = 2) -> "NDArray[np.uint8]":
    """Lay images out in rows on white.

    Parameters
    ----------
    images : uint8 array, [b h w 3]
    columns : int, images in a row, at most
    gap : int, white pixels between images

    Returns
    -------
    uint8 array, [h w 3]
    """
    if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ShapeError(f"a picture is made from images [b h w 3], got shape {images.shape}")
    n_images, height, width, _ = images.shape
    columns = min(columns, n_images)
    rows = -(-n_images // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def write_png(file: "Path", image: "NDArray[np.uint8]") -> "Path":
    """Write one picture [h w 3] as PNG, atomically."""
    from imageio.v3 import imwrite

    with atomic_path(file) as beside:
        imwrite(beside, image, extension=".png")
    return file
