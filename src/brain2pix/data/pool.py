"""A folder of pictures as distractors of identification: none of them may be a stimulus, or an image that training saw."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain2pix.data.gallery import digest
from brain2pix.data.images import read_square_images
from brain2pix.data.stacks import image_files, open_stack, stack_of_folder
from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.data.subject import Subject


@dataclass(frozen=True)
class Pool:
    """Distractors.

    Parameters
    ----------
    folder : Path
    images : uint8 array (may be memory-mapped), [p h h 3], cut square about their centre
    """

    folder: "Path"
    images: "NDArray[np.uint8]"


def open_pool(folder: "Path", subject: "Subject", size: int) -> Pool:
    """Read the pictures of a folder, cut square about their centre.

    Parameters
    ----------
    folder : Path, with image files, also in sub-folders
    subject : Subject, whose stimuli and images without responses must not be among them
    size : int, edge [px]

    Raises
    ------
    MissingDataError
        If there is no such folder.
    DataFormatError
        If it holds no pictures, or one of them is a stimulus or an image without response of the subject: the same file, byte by byte;
        where these images are one stack, the same pixels once cut and resized to it.
    """
    if not folder.is_dir():
        raise MissingDataError(f"pool {folder} is not a folder; expected image files of any kind, also in sub-folders")
    files = image_files(folder)
    if not files:
        raise DataFormatError(f"pool {folder} holds no image files")
    stimuli = subject.root / "stimuli"
    shown = [stimuli / file for file in subject.stimuli["file"].dropna()]
    _refuse(folder, same_content(files, shown), f"stimuli of {subject.name}")
    if (stimuli / "unpaired").is_dir():
        _refuse(folder, same_content(files, image_files(stimuli / "unpaired")), f"images without responses in {stimuli / 'unpaired'}")
    if (stimuli / "unpaired.npy").exists():
        _refuse(folder, _in_stack(files, open_stack(stimuli / "unpaired.npy")), f"images without responses in {stimuli / 'unpaired.npy'}")
    return Pool(folder, stack_of_folder(folder, size))


def same_content(files: "Iterable[Path]", others: "Iterable[Path]") -> "list[Path]":
    """Those of some files whose content one of the others has too."""
    by_size: dict[int, list[Path]] = {}
    for other in others:
        if other.is_file():
            by_size.setdefault(other.stat().st_size, []).append(other)
    digests = {size: {digest(path) for path in paths} for size, paths in by_size.items()}
    return [path for path in files if (size := path.stat().st_size) in digests and digest(path) in digests[size]]


def _in_stack(files: "list[Path]", stack: "NDArray[np.uint8]") -> "list[Path]":
    known = {hashlib.sha256(picture.tobytes()).digest() for picture in stack}
    pictures = read_square_images(files, int(stack.shape[1]))
    return [path for path, picture in zip(files, pictures, strict=True) if hashlib.sha256(picture.tobytes()).digest() in known]


def _refuse(folder: "Path", both: "list[Path]", what: str) -> None:
    if both:
        raise DataFormatError(
            f"pool {folder}: {len(both)} of its pictures are {what} ({join_names(path.name for path in both)}); remove them from the pool, "
            "distractors must be new to the system"
        )
