"""Between stored pictures (uint8, channel last) and what networks eat."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def to_tensor(images: "NDArray[np.uint8]", device: torch.device | None = None) -> "Tensor":
    """Turn pictures, uint8 [n h w 3], into float32 [n 3 h w] in 0..1."""
    # a memory map opened for reading is copied: torch warns of arrays that it could write to but must not
    pixels = torch.from_numpy(np.require(images, requirements=("C", "W", "E")))
    return pixels.to(device).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def shrink(images: "NDArray[np.uint8]", size: int, chunk: int = 512) -> "Tensor":
    """Shrink pictures, uint8 [n h w 3] (may be memory-mapped), by area to float32 [n 3 size size]."""
    parts = [functional.interpolate(to_tensor(images[k : k + chunk]), size=size, mode="area") for k in range(0, len(images), chunk)]
    return torch.cat(parts) if parts else torch.zeros((0, 3, size, size))
