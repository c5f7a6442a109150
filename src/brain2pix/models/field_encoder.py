"""Encoder of `retino`: image and frozen features -> shared convolutions -> what each voxel's receptive field pools, weighed.

The read-out is that of feature-weighted receptive fields (St-Yves & Naselaris 2018, doi:10.1016/j.neuroimage.2017.06.035). For branch b
with activations A_b (c channels on a g x g grid)::

    r_v = sum_b sum_c w_vbc sum_yx f_v^g[y, x] A_b[c, y, x] + bias_v

where the field f_v^g of a voxel is the same for all branches of one grid. Fields, weights and bias are buffers: they are solved in closed
form, gradients train the convolutions only.

Branches read the image at several scales, filtered, rectified and averaged, which is how a complex cell is drawn in textbooks, and the
deeper taps of the backbone. The filters start as smooth random ones: random weights under a Gaussian window.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.config.models import EncoderSettings
from brain2pix.errors import ShapeError
from brain2pix.models.encoders import Branch, branch_grids, measure_statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brain2pix.config.retino import RetinoEncoderSettings

_FILTER = 7  # edge of the image's filters [px of their scale]
_WINDOW = 1.2  # sigma of the window that smooths them at the start [px of their scale]


class ImageBranch(nn.Module):
    """Image at one scale -> filters -> rectified -> averaged on the branch's grid.

    The average comes after the rectification, so that strength is kept where position is lost.

    Parameters
    ----------
    halvings : int, how often the image is halved before
    grid : int, edge of the output
    channels : int
    """

    def __init__(self, halvings: int, grid: int, channels: int) -> None:
        super().__init__()
        self.reduction, self.grid = 2**halvings, grid
        self.norm_in = nn.BatchNorm2d(3, affine=False)
        self.conv = nn.Conv2d(3, channels, _FILTER, padding=_FILTER // 2, padding_mode="replicate")
        along = torch.arange(_FILTER) - _FILTER // 2
        window = torch.exp(-(along[:, None] ** 2 + along**2) / (2 * _WINDOW**2))
        _draw(self.conv)
        with torch.no_grad():
            self.conv.weight *= window / window.square().mean().sqrt()

    def activate(self, image: Tensor) -> Tensor:
        """[b 3 h w] -> [b c g g]."""
        image = nnf.avg_pool2d(image.to(self.conv.weight.dtype), self.reduction)
        filtered = nnf.relu(self.conv(self.norm_in(image)))
        return nnf.avg_pool2d(filtered, filtered.shape[-1] // self.grid)


class FieldEncoder(nn.Module):
    """Predict responses from an image and the tap features of a frozen backbone.

    Parameters
    ----------
    n_voxels : int
    tap_shapes : sequence of (c, h, w), of the backbone's taps for images of `image_size`, finest first
    image_size : int, edge of the images [px], a multiple of 8
    settings : RetinoEncoderSettings

    Attributes
    ----------
    branches : nn.ModuleList of `ImageBranch`, then `Branch`
    fields : list of Tensor, [v g g], one per grid size, sum 1; `field_of` gives the one of a branch
    weights : Tensor, [v sum of the branches' channels], of the pooled activations
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

    def __init__(
        self, n_voxels: int, tap_shapes: "Sequence[tuple[int, int, int]]", image_size: int, settings: "RetinoEncoderSettings"
    ) -> None:
        super().__init__()
        self.n_voxels, self.scales, self.first_tap = n_voxels, settings.image_scales, settings.first_tap
        tap_grids = branch_grids(image_size, len(tap_shapes))[self.first_tap :]
        self.grids = (*[image_size // 4] * self.scales, *tap_grids)
        self.channels = (*[settings.image_channels] * self.scales, *[settings.channels] * len(tap_grids))
        if not self.grids:
            raise ShapeError(
                f"the encoder would read no scale of the image and no tap of the backbone; set image_scales above 0, or first_tap below "
                f"{len(tap_shapes)}, the number of taps (first_tap is {self.first_tap})"
            )
        branches: list[nn.Module] = [ImageBranch(k, image_size // 4, settings.image_channels) for k in range(self.scales)]
        tap_settings = EncoderSettings(channels=settings.channels, input_affine=False, last_kernel=3)
        for shape, grid in zip(tap_shapes[self.first_tap :], tap_grids, strict=True):
            branch = Branch(shape, grid, tap_settings)
            del branch.norm_out  # the closed form scales what a voxel pools by itself
            _draw(branch.conv)
            branches.append(branch)
        self.branches = nn.ModuleList(branches)
        for grid in sorted(set(self.grids)):
            self.register_buffer(f"fields_{grid}", torch.zeros(n_voxels, grid, grid))
        self.register_buffer("weights", torch.zeros(n_voxels, sum(self.channels)))
        self.register_buffer("bias", torch.zeros(n_voxels))
        self.register_buffer("summary", torch.full((n_voxels, 6), torch.nan))
        self._folded: Tensor | None = None
        self.register_load_state_dict_post_hook(_drop_fold)  # type: ignore[no-untyped-call]

    def forward(self, features: "Sequence[Tensor]") -> Tensor:
        """Predict responses [b v] from what `inputs` or `compact` give, [b c h w] each."""
        return self.read_out(self.activations(features))

    def inputs(self, images: Tensor, features: "Sequence[Tensor]") -> list[Tensor]:
        """Gather what the branches read: the images [b 3 h w], and the deeper of the backbone's features of them."""
        return [*[images] * min(self.scales, 1), *features[self.first_tap :]]

    def read_out(self, activations: "Sequence[Tensor]") -> Tensor:
        """Responses [b v] to activations [b c g g] each, by one linear map."""
        if self._folded is None:
            self._folded = self._fold()
        return nnf.linear(torch.cat([part.flatten(1) for part in activations], dim=1), self._folded, self.bias)

    def pool(self, activations: "Sequence[Tensor]", voxels: slice) -> Tensor:
        """Pool activations [n c g g] each by the fields of some voxels; [v n channels]."""
        parts = [torch.einsum("ncyx,vyx->vnc", part, self.field_of(index)[voxels]) for index, part in enumerate(activations)]
        return torch.cat(parts, dim=2)

    def compact(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Smallest features from which `forward` gives the same result: what a cache of frozen features should hold."""
        images = features[: min(self.scales, 1)]  # all scales read one copy, which is as small as it gets
        taps = [branch for branch in self.branches if isinstance(branch, Branch)]
        return [*images, *[branch.compact(part) for branch, part in zip(taps, features[len(images) :], strict=True)]]

    def activations(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Branch outputs that the fields pool, [b c g g] each."""
        read = [*[features[0]] * self.scales, *features[min(self.scales, 1) :]]
        return [branch.activate(part) for branch, part in zip(self._branches(), read, strict=True)]

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
        """Replace weights [v channels] and bias [v] of some voxels."""
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

    def _branches(self) -> "list[ImageBranch | Branch]":
        return list(self.branches)  # type: ignore[arg-type]

    @torch.no_grad()
    def _fold(self) -> Tensor:
        """Fields and weights as one linear map, [v sum of c*g*g]."""
        parts = [
            torch.einsum("vc,vyx->vcyx", weights, self.field_of(index)).flatten(1)
            for index, weights in enumerate(torch.split(self.weights, list(self.channels), dim=1))
        ]
        return torch.cat(parts, dim=1)


def _drop_fold(encoder: FieldEncoder, _keys: object) -> None:
    encoder._folded = None  # it was made of the read-out before


def _draw(convolution: nn.Conv2d) -> None:
    assert convolution.bias is not None
    nn.init.xavier_normal_(convolution.weight)
    nn.init.zeros_(convolution.bias)
