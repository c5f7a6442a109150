"""Stacks of images without responses: one ``.npy`` array, or a folder of image files made into one."""

import hashlib
import logging
from typing import TYPE_CHECKING

import numpy as np
from platformdirs import user_cache_path

from brain2pix.data.images import SUFFIXES, read_square_images
from brain2pix.data.volumes import UNREADABLE, require_file, unreadable
from brain2pix.errors import Brain2PixError, DataFormatError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


def open_stack(path: "Path") -> "NDArray[np.uint8]":
    """Map a stack of images from a ``.npy`` file, read-only.

    Returns
    -------
    uint8 memory map, [u h h 3]

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "image stack")
    try:
        stack: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise unreadable(path, "image stack", error) from None
    if stack.dtype != np.uint8 or stack.ndim != 4 or stack.shape[3] != 3 or stack.shape[1] != stack.shape[2]:
        raise DataFormatError(f"image stack {path}: expected uint8 square RGB images [n h h 3], got {stack.dtype} {stack.shape}")
    return stack


def image_files(folder: "Path") -> "list[Path]":
    """List image files of a folder and its sub-folders, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def stack_of_folder(folder: "Path", size: int, without: "Collection[str]" = ()) -> "NDArray[np.uint8]":
    """Decode a folder of images once; later calls map the result from the user's cache folder.

    Parameters
    ----------
    folder : Path
    size : int, edge of the images, cut square [px]
    without : collection of str, names of sub-folders that are left out

    Returns
    -------
    uint8 array, [u size size 3]; in memory if the cache folder cannot be written

    Raises
    ------
    DataFormatError
        If there are no images, or none are left.
    """
    every = image_files(folder)
    if not every:
        raise DataFormatError(f"{folder} holds no image files ({', '.join(SUFFIXES)})")
    paths = [path for path in every if not set(path.relative_to(folder).parts[:-1]) & set(without)]
    if not paths:
        raise DataFormatError(f"all {len(every)} images of {folder} are of classes that are held out; add images of other classes")
    if len(paths) < len(every):
        logger.info("%d images of %s are left out: their classes are held out", len(every) - len(paths), folder)
    cached = user_cache_path("napari-brain2pix") / "stacks" / f"{_fingerprint(paths, size)}.npy"
    if cached.exists():
        return open_stack(cached)
    try:
        write_stack(cached, read_square_images(paths, size), (len(paths), size, size, 3))
        return open_stack(cached)
    except (OSError, Brain2PixError) as error:
        if isinstance(error, DataFormatError):
            raise
        logger.warning("images of %s are kept in memory: the cache %s cannot be written (%s)", folder, cached.parent, error)
    in_memory = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    for row, image in enumerate(read_square_images(paths, size)):
        in_memory[row] = image
    return in_memory


def write_stack(path: "Path", images: "Iterable[NDArray[np.uint8]]", shape: tuple[int, int, int, int]) -> "Path":
    """Stream images into a ``.npy`` stack, atomically.

    Written as bytes, not through a writable memory map: on a full disk that ends the process instead of raising an error.

    Parameters
    ----------
    path : Path
    images : iterable of uint8 arrays, [h h 3]
    shape : tuple of four ints, [u h h 3]
    """
    with atomic_path(path) as beside, beside.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for image in images:
            file.write(np.ascontiguousarray(image, dtype=np.uint8).tobytes())
    return path


def _fingerprint(paths: "list[Path]", size: int) -> str:
    digest = hashlib.sha256(f"{size}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]
