"""Encoder of `retino`: image and frozen features -> shared convolutions -> what each voxel's receptive field pools, weighed.

The read-out is that of feature-weighted receptive fields (St-Yves & Naselaris 2018, doi:10.1016/j.neuroimage.2017.06.035). For branch b
with activations A_b (c channels on a g x g grid)::

    r_v = sum_b sum_c w_vbc sum_yx f_v^g[y, x] A_b[c, y, x] + bias_v

where the field f_v^g of a voxel is the same for all branches of one grid. Fields, weights and bias are buffers: they are solved in closed
form, gradients train the convolutions only.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.config.models import EncoderSettings
from brain2pix.models.encoders import Branch, branch_grids, measure_statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class FieldEncoder(nn.Module):
    """Predict responses from an image and the tap features of a frozen backbone.

    The first branch reads the image itself: early layers of a network pass brightness and colour on only roughly, and voxels of early
    visual cortex follow them.

    Parameters
    ----------
    n_voxels : int
    tap_shapes : sequence of (c, h, w), of the backbone's taps for images of `image_size`, finest first
    image_size : int, edge of the images [px], a multiple of 8
    channels : int, of each branch

    Attributes
    ----------
    branches : nn.ModuleList of `Branch`
    fields : list of Tensor, [v g g], one per grid size, sum 1; `field_of` gives the one of a branch
    weights : Tensor, [v n_branches*c], of the pooled activations
    bias : Tensor, [v]
    summary : Tensor, [v 6], of each field: column and row of its centre, sigma, spread of the centre (all as share of the image edge),
        variance of a trial's noise, log evidence over that of a voxel that does not respond

    Raises
    ------
    ShapeError
        If the taps do not fit the grids of image size / 4 and / 8.
    """

    weights: Tensor
    bias: Tensor
    summary: Tensor

    def __init__(self, n_voxels: int, tap_shapes: "Sequence[tuple[int, int, int]]", image_size: int, channels: int) -> None:
        super().__init__()
        self.n_voxels, self.channels = n_voxels, channels
        self.grids = (image_size // 4, *branch_grids(image_size, len(tap_shapes)))
        shapes = [(3, image_size // 2, image_size // 2), *tap_shapes]
        settings = EncoderSettings(channels=channels, input_affine=False, last_kernel=3)
        self.branches = nn.ModuleList(Branch(shape, grid, settings) for shape, grid in zip(shapes, self.grids, strict=True))
        for branch in self._branches():
            del branch.norm_out  # the closed form scales what a voxel pools by itself
            nn.init.xavier_normal_(branch.conv.weight)
            nn.init.zeros_(branch.conv.bias)  # type: ignore[arg-type]
        for grid in sorted(set(self.grids)):
            self.register_buffer(f"fields_{grid}", torch.zeros(n_voxels, grid, grid))
        self.register_buffer("weights", torch.zeros(n_voxels, len(shapes) * channels))
        self.register_buffer("bias", torch.zeros(n_voxels))
        self.register_buffer("summary", torch.full((n_voxels, 6), torch.nan))
        self._folded: Tensor | None = None
        self.register_load_state_dict_post_hook(_drop_fold)  # type: ignore[no-untyped-call]

    def forward(self, features: "Sequence[Tensor]") -> Tensor:
        """Predict responses [b v] from what `inputs` or `compact` give, [b c h w] each."""
        return self.read_out(self.activations(features))

    def inputs(self, images: Tensor, features: "Sequence[Tensor]") -> list[Tensor]:
        """Put images [b 3 h w] before the backbone's features of them."""
        return [nnf.avg_pool2d(images, 2), *features]

    def read_out(self, activations: "Sequence[Tensor]") -> Tensor:
        """Responses [b v] to activations [b c g g] each, by one linear map."""
        if self._folded is None:
            self._folded = self._fold()
        return nnf.linear(torch.cat([part.flatten(1) for part in activations], dim=1), self._folded, self.bias)

    def pool(self, activations: "Sequence[Tensor]", voxels: slice) -> Tensor:
        """Pool activations [n c g g] each by the fields of some voxels; [v n n_branches*c]."""
        parts = [torch.einsum("ncyx,vyx->vnc", part, self.field_of(index)[voxels]) for index, part in enumerate(activations)]
        return torch.cat(parts, dim=2)

    def compact(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Smallest features from which `forward` gives the same result: what a cache of frozen features should hold."""
        return [branch.compact(part) for branch, part in zip(self._branches(), features, strict=True)]

    def activations(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Branch outputs that the fields pool, [b c g g] each."""
        return [branch.activate(part) for branch, part in zip(self._branches(), features, strict=True)]

    def field_of(self, branch: int) -> Tensor:
        """Fields on the grid of a branch, [v g g]."""
        field: Tensor = getattr(self, f"fields_{self.grids[branch]}")
        return field

    def set_fields(self, voxels: slice, fields: "dict[int, Tensor]", summary: Tensor) -> None:
        """Replace the fields of some voxels, [v g g] by grid size, and what is known of them, [v 6]."""
        for grid, field in fields.items():
            getattr(self, f"fields_{grid}")[voxels] = field
        self.summary[voxels] = summary
        self._folded = None

    def set_weights(self, voxels: slice, weights: Tensor, bias: Tensor) -> None:
        """Replace weights [v n_branches*c] and bias [v] of some voxels."""
        self.weights[voxels], self.bias[voxels] = weights, bias
        self._folded = None

    def convolutions(self) -> "list[nn.Parameter]":
        """List what gradients train."""
        return [parameter for branch in self._branches() for parameter in branch.conv.parameters()]

    @torch.no_grad()
    def calibrate(self, batches: "Iterable[Sequence[Tensor]]") -> None:
        """Set the statistics of the features' normalisations to the plain average over batches of features."""
        measure_statistics([branch.norm_in for branch in self._branches()], batches, self.activations)

    def _apply(self, fn: object, recurse: bool = True) -> "FieldEncoder":
        self._folded = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _branches(self) -> "list[Branch]":
        return list(self.branches)  # type: ignore[arg-type]

    @torch.no_grad()
    def _fold(self) -> Tensor:
        """Fields and weights as one linear map, [v sum of c*g*g]."""
        parts = [
            torch.einsum("vc,vyx->vcyx", weights, self.field_of(index)).flatten(1)
            for index, weights in enumerate(torch.split(self.weights, self.channels, dim=1))
        ]
        return torch.cat(parts, dim=1)


def _drop_fold(encoder: FieldEncoder, _keys: object) -> None:
    encoder._folded = None  # it was made of the read-out before
