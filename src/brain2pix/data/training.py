"""What a method may see while it trains. Test images are not in it and cannot be reached from it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.arrays import SubjectInfo


@dataclass(frozen=True)
class RepeatedResponses:
    """Single trials of repeated images, without the images.

    Parameters
    ----------
    values : float32 array, [n v], z-scored like the training responses
    image_index : int array, [n], 0..m-1, which image each trial showed; repeats may differ in number
    stimulus_ids : tuple of str, [m], names of the images; empty if they are not known
    groups : int array, [m], images of one number come from one photo or class; None if that is not known
    """

    values: "NDArray[np.float32]"
    image_index: "NDArray[np.int64]"
    stimulus_ids: tuple[str, ...] = ()
    groups: "NDArray[np.int64] | None" = None

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.image_index.max()) + 1 if self.image_index.size else 0

    def mean(self) -> "NDArray[np.float32]":
        """Average over repeats, [m v]."""
        sums = np.zeros((self.n_images, self.values.shape[1]), dtype=np.float64)
        np.add.at(sums, self.image_index, self.values)
        counts = np.bincount(self.image_index, minlength=self.n_images)
        return (sums / counts[:, None]).astype(np.float32)


@dataclass(frozen=True)
class TrainingData:
    """Everything a method may train on.

    Parameters
    ----------
    subject : SubjectInfo, of the voxels in all responses here
    responses : float32 array, [n v], training trials
    images : uint8 array (may be memory-mapped), [m h w 3], training images
    image_index : int array, [n], which image each trial showed
    groups : int array, [m], images of one group (source photo, category) stay on one side of a hold-out split
    unpaired : uint8 array (may be memory-mapped), [u h w 3], or None
    repeats : RepeatedResponses or None: test responses without their images (transductive), for the decoder-encoder loss
    voxel_xyz : float32 array, [v 3], RAS mm, or None
    areas : dict of bool arrays, [v], region masks over these voxels
    """

    subject: "SubjectInfo"
    responses: "NDArray[np.float32]"
    images: "NDArray[np.uint8]"
    image_index: "NDArray[np.int64]"
    groups: "NDArray[np.int64]"
    unpaired: "NDArray[np.uint8] | None"
    repeats: RepeatedResponses | None
    voxel_xyz: "NDArray[np.float32] | None"
    areas: "dict[str, NDArray[np.bool_]]"

    def __post_init__(self) -> None:
        n_trials, n_voxels = self.responses.shape
        if n_voxels != self.subject.n_voxels:
            raise ShapeError(f"responses have {n_voxels} voxels, {self.subject.subject} describes {self.subject.n_voxels}")
        if self.image_index.shape != (n_trials,):
            raise ShapeError(f"{n_trials} trials need one image index each, got shape {self.image_index.shape}")
        if n_trials and (self.image_index.min() < 0 or self.image_index.max() >= len(self.images)):
            raise ShapeError(f"image_index must lie in 0..{len(self.images) - 1}, got {self.image_index.min()}..{self.image_index.max()}")
        if self.groups.shape != (len(self.images),):
            raise ShapeError(f"{len(self.images)} images need one group each, got shape {self.groups.shape}")

    @property
    def image_size(self) -> int:
        """Edge of the images [px]."""
        return int(self.images.shape[1])
