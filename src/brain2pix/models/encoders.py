"""Encoder of Gaziv et al.: frozen image features -> branches -> one separable read-out per voxel.

Source: Gaziv, Beliy, Granot, Hoogi, Strappini, Golan, Irani 2022 (NeuroImage 254, 119121), section "Encoder", with the shapes of the
released code. Clean-room: written from the paper and our own notes. What we changed: the code's 1x1 convolution in the last branch and its
space maps per resolution are settings; the read-out can be folded into one exact linear map, which is 5-8 times cheaper.

The read-out of voxel v, for branch b with features F (c channels on a g x g grid, h = g - 2)::

    u_vb = sum_{c,ky,kx} C_vb[c,ky,kx] * sum_{i,j} S_vb[i,j] F[c, i+ky, j+kx]  +  bias_vb
    r_v  = sum_b |m_vb| u_vb

which is linear in F, so that r_v = sum_b <K_vb, F_b> + const with K_vb[c,y,x] = |m_vb| sum_{ky,kx} C_vb[c,ky,kx] S_vb[y-ky, x-kx].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from brain2pix.config.models import EncoderSettings
from brain2pix.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_PATCH = 9  # a 3x3 patch
_FINE_BRANCHES = 2  # the first two branches work on a grid of image size / 4, the others on / 8


@dataclass(frozen=True)
class FoldedReadout:
    """The read-out as one linear map of the branches' features before their last normalisation.

    Parameters
    ----------
    weight : Tensor, [v, sum of c*g*g], branches one after the other, each channel-major
    bias : Tensor, [v]
    shapes : tuple of (c, g, g), one per branch
    """

    weight: Tensor
    bias: Tensor
    shapes: tuple[tuple[int, int, int], ...]

    def __call__(self, activations: "Sequence[Tensor]") -> Tensor:
        """Responses [b v] to the branches' activations [b c g g]."""
        flat = torch.cat([part.flatten(1) for part in activations], dim=1).to(self.weight.dtype)
        return nnf.linear(flat, self.weight, self.bias.to(self.weight.dtype))

    def branch(self, index: int) -> Tensor:
        """Map of one branch, [v c g g]."""
        sizes = [c * h * w for c, h, w in self.shapes]
        return torch.split(self.weight, sizes, dim=1)[index].view(-1, *self.shapes[index])


class SeparableEncoder(nn.Module):
    """Predict responses from the tap features of a frozen backbone.

    Parameters
    ----------
    n_voxels : int
    tap_shapes : sequence of (c, h, w), of the backbone's taps for images of `image_size`, finest first
    image_size : int, edge of the images [px], a multiple of 8
    settings : EncoderSettings

    Attributes
    ----------
    branches : nn.ModuleList of `Branch`
    space : nn.ParameterList of [v h h], one per resolution, or per branch if not shared; `space_of` gives the one of a branch
    channel_mix, channel_bias : nn.ParameterList of [v c*9] and [v], one per branch; index c*9 + ky*3 + kx
    branch_mix : nn.Parameter, [v n_branches], used by its absolute value

    Raises
    ------
    ShapeError
        If the taps do not fit the grids of image size / 4 and / 8.
    """

    def __init__(
        self, n_voxels: int, tap_shapes: "Sequence[tuple[int, int, int]]", image_size: int, settings: EncoderSettings | None = None
    ) -> None:
        super().__init__()
        settings = settings or EncoderSettings()
        self.settings = settings
        self.n_voxels = n_voxels
        self.image_size = image_size
        self.grids = branch_grids(image_size, len(tap_shapes))
        if min(self.grids) < 3:
            raise ShapeError(f"images of {image_size} px leave grids of {self.grids}, a 3x3 patch needs 3; use images of 32 px or more")
        self.branches = nn.ModuleList(Branch(shape, grid, settings) for shape, grid in zip(tap_shapes, self.grids, strict=True))
        maps = list(dict.fromkeys(self.grids)) if settings.share_space else list(self.grids)
        self._map_index = [maps.index(grid) if settings.share_space else index for index, grid in enumerate(self.grids)]
        self.space = nn.ParameterList(torch.empty(n_voxels, grid - 2, grid - 2) for grid in maps)
        self.channel_mix = nn.ParameterList(torch.empty(n_voxels, settings.channels * _PATCH) for _ in tap_shapes)
        self.channel_bias = nn.ParameterList(torch.empty(n_voxels) for _ in tap_shapes)
        self.branch_mix = nn.Parameter(torch.empty(n_voxels, len(tap_shapes)))
        self.norms_frozen = False
        self._folded: FoldedReadout | None = None
        self.register_load_state_dict_post_hook(_drop_fold)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot normal for convolutions and mixes, 1/h for space maps, ones for the branch mix."""
        for module in self.branches.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for space in self.space:
            nn.init.normal_(space, std=1 / space.shape[-1])
        for mix in self.channel_mix:
            # each voxel is a unit of its own: fan 288 in, 1 out, whatever the number of voxels
            nn.init.normal_(mix, std=(2 / (mix.shape[1] + 1)) ** 0.5)
        for bias in self.channel_bias:
            nn.init.constant_(bias, 0.01)
        nn.init.ones_(self.branch_mix)

    def forward(self, features: "Sequence[Tensor]") -> Tensor:
        """Predict responses from tap features.

        Parameters
        ----------
        features : sequence of Tensor, [b c h w] each, as the backbone or `compact` gives them; any float type

        Returns
        -------
        Tensor, [b v], float32
        """
        if self._folded is not None:
            return self._folded(self.activations(features)).float()
        normalised = self.branch_features(features)
        if self.settings.dropout_on == "mix":
            return self.readout_folded(normalised)
        return self.readout_factorised(normalised)

    def compact(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Smallest features from which `forward` gives the same result: what a cache of frozen features should hold."""
        return [branch.compact(part) for branch, part in zip(self._branches(), features, strict=True)]

    def activations(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Branch outputs before their last normalisation, [b c g g] each."""
        if len(features) != len(self.branches):
            raise ShapeError(f"the encoder reads {len(self.branches)} taps, got {len(features)}")
        return [branch.activate(part) for branch, part in zip(self._branches(), features, strict=True)]

    def branch_features(self, features: "Sequence[Tensor]") -> list[Tensor]:
        """Branch outputs that the read-out sees, [b c g g] each."""
        return [branch.norm_out(part) for branch, part in zip(self._branches(), self.activations(features), strict=True)]

    def space_of(self, branch: int) -> nn.Parameter:
        """Space maps of a branch, [v h h]; branches of one resolution may share them."""
        return self.space[self._map_index[branch]]  # type: ignore[no-any-return]

    def readout_factorised(self, normalised: "Sequence[Tensor]") -> Tensor:
        """Read-out in the paper's order: space, dropout, channels, branches; [b v]."""
        total: Tensor | None = None
        for index, part in enumerate(normalised):
            stack = nnf.unfold(part, 3).transpose(1, 2)  # [b h*h c*9]
            pooled = self.space_of(index).flatten(1) @ stack  # [b v c*9]
            if self.settings.dropout_on == "stack":
                pooled = nnf.dropout(pooled, self.settings.dropout, self.training)
            unit = (pooled * self._mix(index)).sum(-1) + self.channel_bias[index]  # [b v]
            weighted = self.branch_mix[:, index].abs() * unit
            total = weighted if total is None else total + weighted
        assert total is not None
        return total

    def readout_folded(self, normalised: "Sequence[Tensor]") -> Tensor:
        """Do what `readout_factorised` does through one linear map per branch; gradients reach all factors. [b v]."""
        total = self._offset()
        for index, part in enumerate(normalised):
            total = total + part.flatten(1) @ self._fold_branch(index).t()
        return total

    def fold(self, dtype: torch.dtype = torch.float32) -> FoldedReadout:
        """Fold read-out and last normalisations (with their running statistics) into one linear map; exact in evaluation mode."""
        shapes = tuple((self.settings.channels, grid, grid) for grid in self.grids)
        sizes = [c * h * w for c, h, w in shapes]
        # filled part by part: joined at the end, it would stand in memory twice
        weight, bias = torch.empty((self.n_voxels, sum(sizes)), dtype=dtype, device=self.branch_mix.device), self._offset()
        for index, branch in enumerate(self._branches()):
            gain, offset = branch.output_gain()
            folded = self._fold_branch(index, dropout=False).view(self.n_voxels, self.settings.channels, -1)  # [v c g*g]
            bias = bias + folded.sum(-1) @ offset
            weight.narrow(1, sum(sizes[:index]), sizes[index]).copy_((folded * gain[:, None]).flatten(1))
        return FoldedReadout(weight, bias, shapes)

    def freeze(self) -> "SeparableEncoder":
        """Take the encoder out of training: evaluation mode, no parameter gradients, read-out folded if it fits.

        Call it again after changing parameters by hand; loading a state and going back to training drop the folded read-out.
        """
        self.requires_grad_(False)
        self.eval()
        size_mb = self.n_voxels * sum(self.settings.channels * grid**2 for grid in self.grids) * 4 / 2**20
        self._folded = None  # an old one goes before the new one is made
        with torch.no_grad():
            self._folded = self.fold(self.branch_mix.dtype) if size_mb <= self.settings.fold_limit_mb else None
        return self

    def unfreeze(self) -> "SeparableEncoder":
        """Make the encoder trainable again."""
        self._folded = None
        return self.requires_grad_(True)

    def train(self, mode: bool = True) -> "SeparableEncoder":
        """Set training mode; normalisations keep their statistics if `norms_frozen`."""
        super().train(mode)
        if mode:
            self._folded = None
        if mode and self.norms_frozen:
            for module in self.branches.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    @torch.no_grad()
    def calibrate(self, batches: "Iterable[Sequence[Tensor]]") -> None:
        """Set the statistics of all normalisations to the plain average over batches of features, first the inputs', then the outputs'.

        Parameters
        ----------
        batches : iterable of sequences of Tensor; it is walked twice
        """
        held = list(batches) if not isinstance(batches, list) else batches
        was_training, self._folded = self.training, None
        for name in ("norm_in", "norm_out"):
            self.eval()
            measure_statistics([getattr(branch, name) for branch in self._branches()], held, self.branch_features)
        self.train(was_training)

    def _apply(self, fn: object, recurse: bool = True) -> "SeparableEncoder":
        # moving to another device or type must take the folded read-out along
        folded, self._folded = self._folded, None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if folded is not None:
            self.freeze()
        return self

    def _branches(self) -> "list[Branch]":
        return list(self.branches)  # type: ignore[arg-type]

    def _mix(self, index: int, dropout: bool = True) -> Tensor:
        mix: Tensor = self.channel_mix[index]
        if self.settings.dropout_on == "mix" and dropout:
            mix = nnf.dropout(mix, self.settings.dropout, self.training)
        return mix

    def _offset(self) -> Tensor:
        return (self.branch_mix.abs() * torch.stack(list(self.channel_bias), dim=1)).sum(1)

    def _fold_branch(self, index: int, dropout: bool = True) -> Tensor:
        """K of one branch, [v c*g*g]: the full convolution of space map and channel mix, as one small product per voxel."""
        grid = self.grids[index]
        space = nnf.pad(self.space_of(index).unsqueeze(1), (2, 2, 2, 2))  # [v 1 g+2 g+2]
        shifted = nnf.unfold(space, 3).flip(1)  # [v 9 g*g]: the patch's order is mirrored against the map's shift
        mix = self._mix(index, dropout) * self.branch_mix[:, index].abs().unsqueeze(1)
        kernel = mix.view(self.n_voxels, -1, _PATCH)  # [v c 9]
        return torch.bmm(kernel, shifted).view(self.n_voxels, -1, grid, grid).flatten(1)


def branch_grids(image_size: int, n_branches: int) -> tuple[int, ...]:
    """Edge of the grid that each branch works on: image size / 4 for the first two, / 8 for the others.

    Raises
    ------
    ShapeError
        If the image size is not a multiple of 8.
    """
    if image_size % 8:
        raise ShapeError(f"image size must be a multiple of 8, got {image_size}; choose {max(32, image_size // 8 * 8)}")
    return tuple(image_size // (4 if index < _FINE_BRANCHES else 8) for index in range(n_branches))


def measure_statistics(
    norms: "Sequence[nn.BatchNorm2d]", batches: "Iterable[Sequence[Tensor]]", run: "Callable[[Sequence[Tensor]], object]"
) -> None:
    """Set the statistics of some normalisations to the plain average over batches that are run through the network."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    for features in batches:
        run(features)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _drop_fold(encoder: SeparableEncoder, _keys: object) -> None:
    # a read-out folded from the parameters before is no longer this encoder's; `freeze` makes it anew
    encoder._folded = None


class Branch(nn.Module):
    """Tap features -> normalised, thinned and halved features on the branch's grid.

    Parameters
    ----------
    tap_shape : (c, h, w)
    grid : int, edge of the output
    settings : EncoderSettings
    """

    def __init__(self, tap_shape: tuple[int, int, int], grid: int, settings: EncoderSettings) -> None:
        super().__init__()
        channels, height, width = tap_shape
        reduction = height // grid
        if height != width or height % grid or reduction not in (1, 2, 4):
            raise ShapeError(f"a tap of {height} x {width} cannot feed a grid of {grid}; its size must be 1, 2 or 4 times the grid")
        self.tap_size = height
        self.pool = reduction == 4
        self.pool_first = not settings.input_affine  # pooling commutes with a normalisation only if its gain is not negative
        kernel = settings.last_kernel if reduction == 1 else 3
        self.norm_in = nn.BatchNorm2d(channels, affine=settings.input_affine)
        self.conv = nn.Conv2d(channels, settings.channels, kernel, stride=1 if reduction == 1 else 2, padding=kernel // 2)
        self.norm_out = nn.BatchNorm2d(settings.channels)

    def compact(self, tap: Tensor) -> Tensor:
        """Pool where that can be done once for all."""
        if self.pool and self.pool_first and tap.shape[-1] == self.tap_size:
            return nnf.max_pool2d(tap, 2)
        return tap

    def activate(self, tap: Tensor) -> Tensor:
        """Everything before the last normalisation, [b c g g]."""
        expected = (self.tap_size, self.tap_size // 2 if self.pool and self.pool_first else self.tap_size)
        if tap.ndim != 4 or tap.shape[-1] not in expected:
            raise ShapeError(f"a branch of the encoder reads features of {self.tap_size} px, got {tuple(tap.shape)}")
        tap = self.compact(tap).to(self.conv.weight.dtype)
        hidden = self.norm_in(tap)
        if self.pool and not self.pool_first:
            hidden = nnf.max_pool2d(hidden, 2)
        return nnf.relu(self.conv(hidden))

    def forward(self, tap: Tensor) -> Tensor:
        """[b c h w] -> [b c' g g]."""
        return self.norm_out(self.activate(tap))  # type: ignore[no-any-return]

    def output_gain(self) -> tuple[Tensor, Tensor]:
        """Gain and offset of the last normalisation in evaluation mode, [c] each."""
        norm = self.norm_out
        assert norm.running_mean is not None and norm.running_var is not None
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return gain, norm.bias - norm.running_mean * gain
