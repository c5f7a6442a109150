"""The linear half of `retino`'s decoder: each place of a picture is predicted from the voxels, and far voxels pay.

Block b of the picture (a few pixels) minimises, over its weights W [v d],

    E |r W - y|^2 + sum_v p_v(b) |W_v|^2,    E[r r'] = C + N

C is the covariance of the responses that the encoder predicts for images without responses and N what measured responses add to it: the
noise of an average over trials, taken from what training trials leave over, and the encoder's own errors. This is the Wiener filter with
a penalty on distance

    p_v(b) = distance * min(max(d_vb / (reach + sigma_v) - 1, 0), cap)^2

from the centre of the voxel's receptive field to the block. Without it far voxels with compensating weights win, and stimulating one
quarter of the visual field changes the picture everywhere. It is the idea of Brain2Pix (Le et al. 2021), voxels drawn where they look,
with fields that need no mapping scan and with weights instead of paint.
"""

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from brain2pix.config.retino import LocalMapSettings


def distance_penalty(centres_deg: "Tensor", sigma_deg: "Tensor", settings: "LocalMapSettings", field_of_view_deg: float) -> "Tensor":
    """Penalty of each voxel in each block, [blocks^2 v], blocks row by row from the top left.

    Parameters
    ----------
    centres_deg : Tensor, [v 2], x to the right and y up
    sigma_deg : Tensor, [v]
    settings : LocalMapSettings
    field_of_view_deg : float, width of the picture
    """
    along = ((torch.arange(settings.blocks, device=sigma_deg.device) + 0.5) / settings.blocks - 0.5) * field_of_view_deg
    y, x = torch.meshgrid(-along, along, indexing="ij")
    places = torch.stack([x, y], dim=-1).flatten(0, 1)  # [blocks^2 2]
    reaches = torch.cdist(places, centres_deg) / (settings.reach_deg + sigma_deg) - 1
    return settings.distance * reaches.clamp(0, settings.cap).square()


def solve_blocks(
    covariance: "Tensor",
    cross: "Tensor",
    penalty: "Tensor",
    blocks: int,
    check: "Callable[[], None]" = lambda: None,
) -> "Tensor":
    """Solve the map of each block; between the middles of blocks maps pass into each other linearly, which leaves no seams.

    Parameters
    ----------
    covariance : Tensor, [v v], C + N
    cross : Tensor, [v c s s], covariance of responses and pixels
    penalty : Tensor, [blocks^2 v]
    blocks : int, along an edge; divides s
    check : function, called before each block; may raise to stop

    Returns
    -------
    Tensor, [v c s s]
    """
    solved = torch.zeros_like(cross)
    one = torch.eye(blocks, dtype=cross.dtype, device=cross.device)
    hats = functional.interpolate(one[None], size=cross.shape[-1], mode="linear", align_corners=False)[0]  # [blocks s]
    reach = [slice(int(inside[0]), int(inside[-1]) + 1) for inside in map(torch.nonzero, hats)]
    for number in range(blocks**2):
        check()
        row, column = divmod(number, blocks)
        part = cross[:, :, reach[row], reach[column]]
        root = torch.linalg.cholesky(covariance + torch.diag(penalty[number]))
        found = torch.cholesky_solve(part.flatten(1), root).view(part.shape)
        share = torch.outer(hats[row, reach[row]], hats[column, reach[column]])
        solved[:, :, reach[row], reach[column]] += share * found
    return solved


def contrast_pictures(images: "Tensor", grid: int) -> "Tensor":
    """Square root of the mean absolute luminance difference along x and y within each cell, [b 2 grid grid] of images [b 3 h w]."""
    light = images.mean(dim=1, keepdim=True)
    across = functional.pad(light.diff(dim=3).abs(), (0, 1, 0, 0))
    down = functional.pad(light.diff(dim=2).abs(), (0, 0, 0, 1))
    return functional.adaptive_avg_pool2d(torch.cat([across, down], dim=1), grid).sqrt()


class ResponseMoments:
    """Means and covariances of responses and pictures, summed over chunks."""

    def __init__(self) -> None:
        self.n = 0
        self._sums: list[Tensor] = []

    def add(self, responses: "Tensor", *pictures: "Tensor") -> None:
        """Add samples: responses [n v], and pictures [n c h w] of one or several kinds."""
        flat = torch.cat([responses, *(each.flatten(1) for each in pictures)], dim=1)
        parts = (flat.sum(dim=0).double(), (responses.T @ flat).double())
        self._sums = list(parts) if not self._sums else [total + new for total, new in zip(self._sums, parts, strict=True)]
        self.n += len(responses)

    def means(self) -> "Tensor":
        """Mean of responses and pixels, [v + pixels]."""
        return self._sums[0] / self.n

    def covariances(self) -> "Tensor":
        """Covariance of responses with responses and pixels, [v v + pixels]."""
        means = self.means()
        n_voxels = len(self._sums[1])
        return self._sums[1] / self.n - torch.outer(means[:n_voxels], means)
