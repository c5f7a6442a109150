"""One step of the second phase of gaziv, written down as the released program computes it: a yardstick for speed, and a second formula.

What is wasteful here is on purpose (the numbers are those of ours): the frozen networks take gradients for their weights, the read-out
goes through its stack of 9 x channels, targets and images without responses go through their networks at each step, the decoder runs once
per source, and the group lasso averages neighbours of all weights before it averages channels. Source: Gaziv et al. 2022, by formula.
"""

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

if TYPE_CHECKING:
    from brain2pix.methods._gaziv_decoder import GazivDecoderPhase
    from brain2pix.methods.gaziv import Gaziv
    from brain2pix.models import ConvDecoder, FeatureNetwork, SeparableEncoder

_EPS = 1e-12


class Straightforward:
    """Give the loss of a step of a prepared phase, from the same draws; it shares the phase's decoder.

    Parameters
    ----------
    phase : GazivDecoderPhase, prepared; fixed balance, three colours, the released decoder
    """

    def __init__(self, phase: "GazivDecoderPhase") -> None:
        self.phase, self.decoder, self.options = phase, phase.decoder, phase.method.options
        self.network = _wasteful(phase.method.perceptual_network)
        self.encoder = StraightforwardEncoder(phase.method)

    def loss(self, step: int) -> Tensor:
        """Total loss of one step."""
        phase, total = self.phase, torch.zeros(())
        values, targets = phase._draw(step)
        rows = torch.from_numpy(phase.images.rows(step))
        with torch.no_grad():  # what is kept of these is kept in half precision
            pictures = torch.from_numpy(phase.unpaired[rows.numpy()]).permute(0, 3, 1, 2).to(values["pairs"].dtype) / 255
            values["images"] = self.encoder(pictures).half().to(pictures.dtype)
        for name in ("pairs", "images"):
            total = total + phase.weights[name] * self.image_loss(make(self.decoder, values[name]), targets[name])
        predicted = self.encoder(make(self.decoder, values["fmri"]))
        total = total + phase.weights["fmri"] * self.response_loss(predicted, targets["fmri"])
        return total + self.penalty()

    def image_loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Colours, smoothness and features."""
        options, scale = self.options.image_loss, self.phase.colour_scale.view(1, -1, 1, 1)
        total = options.pixel * (images / scale - targets / scale).abs().mean()
        down = images[..., 1:, :-1] - images[..., :-1, :-1]
        right = images[..., :-1, 1:] - images[..., :-1, :-1]
        total = total + options.tv * ((right**2 + down**2) ** 1.25).mean()
        taps = self.network.perceptual_taps[: len(options.perceptual)]
        with torch.no_grad():
            wanted = features(self.network, targets, taps)
        for found, aim, weight in zip(features(self.network, images, taps), wanted, options.perceptual, strict=True):
            total = total + weight * (1 - (_unit(found) * _unit(aim)).sum(1)).mean()
        return total

    def response_loss(self, predicted: Tensor, measured: Tensor) -> Tensor:
        """Absolute difference by signal-to-noise ratio, and the angle between the patterns."""
        cosine = (predicted * measured).sum(1) / (predicted.norm(dim=1) * measured.norm(dim=1))
        error = (self.phase.snr * (predicted - measured).abs()).mean()
        return error + self.options.repeats.cosine_weight * ((1 - cosine) / 2).mean()

    def penalty(self) -> Tensor:
        """Penalties on the decoder's weights."""
        options, snr = self.options.decoder, self.phase.snr
        inverse = 1 / torch.maximum(snr, (0.01 * snr.median()).clamp_min(1e-6))
        convolutions = [module.weight for module in self.decoder.modules() if isinstance(module, nn.Conv2d)]
        total = options.conv_l1 * torch.stack([weight.abs().sum() for weight in convolutions]).sum()
        grid = self.decoder.fc.weight.view(-1, self.decoder.start_size, self.decoder.start_size, self.decoder.n_voxels)
        return total + group_lasso(grid, inverse / inverse.mean(), options.linear_l1, options.linear_group)


class StraightforwardEncoder:
    """The frozen encoder with the read-out in the order of the paper: space, channels, branches.

    Parameters
    ----------
    method : Gaziv
    """

    def __init__(self, method: "Gaziv") -> None:
        self.network = _wasteful(method.backbone)
        folded, method.encoder._folded = method.encoder._folded, None  # not needed, and large
        self.encoder: SeparableEncoder = copy.deepcopy(method.encoder).requires_grad_(True).eval()
        method.encoder._folded = folded

    def __call__(self, images: Tensor) -> Tensor:
        """Responses [b v] to images [b 3 h w]."""
        return self.readout(self.branches(images))

    def branches(self, images: Tensor) -> list[Tensor]:
        """What the read-out sees, [b c g g] of each branch."""
        parts = []
        for branch, tap in zip(self.encoder.branches, features(self.network, images, self.network.encoder_taps), strict=True):
            hidden = branch.norm_in(tap)
            if branch.pool:
                hidden = nnf.max_pool2d(hidden, 2)
            parts.append(branch.norm_out(torch.relu(branch.conv(hidden))))
        return parts

    def readout(self, parts: list[Tensor]) -> Tensor:
        """Responses [b v] through the stack of shifted features."""
        encoder, total = self.encoder, 0
        for index, part in enumerate(parts):
            stack = nnf.unfold(part, 3)  # [b c*9 h*h]
            pooled = stack @ encoder.space_of(index).flatten(1).t()  # [b c*9 v]
            unit = (pooled * encoder.channel_mix[index].t()).sum(1) + encoder.channel_bias[index]
            total = total + encoder.branch_mix[:, index].abs() * unit
        return total


def make(decoder: "ConvDecoder", values: Tensor) -> Tensor:
    """Images of responses by the released decoder: doubled, mirrored at the border, convolved, normalised, SiLU."""
    hidden = nnf.linear(values, decoder.fc.weight, decoder.fc.bias).view(len(values), -1, decoder.start_size, decoder.start_size)
    for block in decoder.blocks:
        hidden = nnf.interpolate(hidden, scale_factor=2, mode="bicubic", align_corners=False)
        hidden = nnf.conv2d(nnf.pad(hidden, (2, 2, 2, 2), mode="reflect"), block.conv.weight, block.conv.bias)
        hidden = nnf.silu(nnf.group_norm(hidden, block.norm.num_groups, block.norm.weight, block.norm.bias))
    return torch.sigmoid(nnf.conv2d(nnf.pad(hidden, (2, 2, 2, 2), mode="reflect"), decoder.top.weight, decoder.top.bias))


def features(network: "FeatureNetwork", images: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
    """Outputs of some layers."""
    hidden, found = (images - network.input_mean) / network.input_sd, []
    for index, layer in enumerate(network.features):
        hidden = layer(hidden)
        if index in taps:
            found.append(hidden)
        if index == taps[-1]:
            break
    return found


def group_lasso(weight: Tensor, inverse_snr: Tensor, l1_weight: float, group_weight: float) -> Tensor:
    """Penalty on the linear layer [c h w v], from the mean of the eight neighbours of each single weight's square."""
    squares = weight.square().permute(3, 0, 1, 2)  # [v c h w]
    padded = nnf.pad(squares, (1, 1, 1, 1), mode="reflect")
    height, width = squares.shape[-2:]
    around = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    near = sum(padded[..., y : y + height, x : x + width] for y, x in around) / 8
    groups = ((squares + 0.5 * near) / 1.5).mean(1)
    return l1_weight * (weight.abs() * inverse_snr).mean() + group_weight * (groups + _EPS).sqrt().mean()


def field_of(encode: "StraightforwardEncoder", image: Tensor, voxels: range) -> Tensor:
    """Squared input gradients of some voxels, one after the other, from one forward pass; [k h w]."""
    leaf = image.unsqueeze(0).clone().requires_grad_(True)
    responses = encode(leaf)
    slopes = [torch.autograd.grad(responses[0, voxel], leaf, retain_graph=True)[0][0] for voxel in voxels]
    return torch.stack([slope.square().mean(0) for slope in slopes] or [leaf.new_empty(0)])


@torch.no_grad()
def distance(network: "FeatureNetwork", first: Tensor, second: Tensor) -> float:
    """Perceptual distance of two pictures [3 h w], both sent through the network: 1 - cosine, averaged over places and layers."""
    pairs = zip(*(features(network, one.unsqueeze(0), network.perceptual_taps) for one in (first, second)), strict=True)
    return float(torch.stack([(1 - (_unit(a) * _unit(b)).sum(1)).mean() for a, b in pairs]).mean())


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + _EPS).sqrt()


def _wasteful(network: "FeatureNetwork") -> "FeatureNetwork":
    """Copy a frozen network and compute gradients for its weights, as if it learned."""
    return copy.deepcopy(network).requires_grad_(True)
