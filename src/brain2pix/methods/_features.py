"""Frozen features of the training images, computed once where they can be kept."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.nn import functional

from brain2pix.events import Progress
from brain2pix.methods._pictures import to_tensor
from brain2pix.methods._sampling import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.methods.base import TrainingContext

_CHUNK = 64  # images that go through the backbone at once


class ShiftSettings(Protocol):
    """Settings of an encoder's training that decide which features it sees."""

    @property
    def shift_px(self) -> int:
        """Largest random shift of the images [px]."""
        ...

    @property
    def cached_copies(self) -> int:
        """Shifted copies that are kept; 0: computed anew at each step."""
        ...

    @property
    def half_precision_cache(self) -> bool:
        """Whether features are kept as bfloat16."""
        ...


class FeatureCache:
    """Frozen features of the training images, shifted at random; kept or computed when asked for.

    Parameters
    ----------
    features : function, pictures [b 3 h w] -> features that are worth keeping, [b c h w] each
    images : uint8 array, [m h w 3]
    options : ShiftSettings
    context : TrainingContext
    stream : str, name of the random numbers
    """

    def __init__(
        self,
        features: "Callable[[Tensor], list[Tensor]]",
        images: "NDArray[np.uint8]",
        options: ShiftSettings,
        context: "TrainingContext",
        stream: str,
    ) -> None:
        self.features, self.images, self.options, self.context, self.stream = features, images, options, context, stream
        self.copies = self.options.cached_copies
        self.kept: list[list[Tensor]] = [self._cache(copy) for copy in range(self.copies)]

    def batch(self, index: "NDArray[np.int64]", step: int) -> "list[Tensor]":
        """Features of some images in the shifts of one step."""
        rng = generator(self.context.seed, f"{self.stream} shifts", step)
        if not self.copies:
            return self._compute(index, rng)
        copy = rng.integers(self.copies, size=len(index))
        order = np.argsort(copy, kind="stable")
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        picked = [[tap[torch.from_numpy(index[copy == k])] for tap in self.kept[k]] for k in range(self.copies)]
        return [torch.cat(taps)[back] for taps in zip(*picked, strict=True)]

    def plain(self, index: "NDArray[np.int64]") -> "list[Tensor]":
        """Features of some images without a shift."""
        if self.copies:
            return [tap[torch.from_numpy(index)] for tap in self.kept[0]]
        return self._compute(index, None)

    def batches(self, index: "NDArray[np.int64]") -> "Iterator[list[Tensor]]":
        """Unshifted features of many images, in chunks."""
        for k in range(0, len(index), _CHUNK):
            self.context.cancel.check()
            yield self.plain(index[k : k + _CHUNK])

    def _cache(self, copy: int) -> "list[Tensor]":
        rng = None if copy == 0 else generator(self.context.seed, f"{self.stream} cached shifts", copy)  # the first copy is not shifted
        chunks = []
        for k in range(0, len(self.images), _CHUNK):
            self.context.cancel.check()
            chunk = self._compute(np.arange(k, min(k + _CHUNK, len(self.images))), rng)
            chunks.append([tap.bfloat16() for tap in chunk] if self.options.half_precision_cache else chunk)
            done = copy * len(self.images) + k + len(chunk[0])
            self.context.sink(Progress(self.stream, done, self.copies * len(self.images), "features of the training images"))
        return [torch.cat(taps) for taps in zip(*chunks, strict=True)]

    @torch.no_grad()
    def _compute(self, index: "NDArray[np.int64]", rng: np.random.Generator | None) -> "list[Tensor]":
        pictures = to_tensor(self.images[index], self.context.device)
        if rng is not None and self.options.shift_px:
            pictures = shifted(pictures, rng.integers(-self.options.shift_px, self.options.shift_px + 1, size=(len(index), 2)))
        return self.features(pictures)


def shifted(pictures: "Tensor", shifts: "NDArray[np.int64]") -> "Tensor":
    """Move each picture [b c h w] by its (rows, columns) [b 2] of pixels; edges are repeated."""
    reach = int(np.abs(shifts).max(initial=0))
    padded = functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    height, width = pictures.shape[-2:]
    moved = [padded[k, :, reach - y : reach - y + height, reach - x : reach - x + width] for k, (y, x) in enumerate(shifts.tolist())]
    return torch.stack(moved)
