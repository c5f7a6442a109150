"""Phase II of the self-supervised systems: a decoder learns from pairs, from images without responses and from responses without images.

The three losses of Beliy et al. 2019 and Gaziv et al. 2022; what a system calls alike, penalises and starts from is its own.
"""

import logging
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.events import Progress
from brain2pix.losses import alpha_mse_cosine, channel_scale, perceptual_loss, scaled_l1, snr_l1_cosine, snr_weights, tv
from brain2pix.methods._pictures import to_tensor
from brain2pix.methods._sampling import Epochs, RepeatSampler, take_rows
from brain2pix.methods.base import Phase
from brain2pix.methods.predictions import Predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.config.methods import ImageLossSettings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods._self_supervised import SelfSupervised
    from brain2pix.methods.base import TrainingContext

_log = logging.getLogger(__name__)

# torch leaves it untyped
_once: "Callable[[Callable[..., Any]], Callable[..., Any]]" = once_differentiable
_MOMENTUM = 0.99  # of the running means that balance the losses
_PREVIEWS = 4


class StepSettings(Protocol):
    """Settings of a decoder's training that decide what a step sees."""

    @property
    def n_steps(self) -> int:
        """Gradient steps."""
        ...

    @property
    def batch_pairs(self) -> int:
        """Pairs per step."""
        ...

    @property
    def batch_images(self) -> int:
        """Images without responses per step."""
        ...

    @property
    def batch_fmri(self) -> int:
        """Responses without images per step."""
        ...

    @property
    def max_unpaired(self) -> int:
        """At most this many images without responses."""
        ...


class DecoderPhase(Phase):
    """Train D on every loss whose weight is above 0 and whose data exist; E and the backbones stay as they are.

    Parameters
    ----------
    method : SelfSupervised
    data : TrainingData
    number : int, of the decoder
    predictions : Predictions or None, shared with the phases of other decoders
    """

    def __init__(self, method: "SelfSupervised", data: "TrainingData", number: int = 0, predictions: Predictions | None = None) -> None:
        method.divide(data.repeats)
        self.method, self.data, self.decoder = method, data, method.decoder_of(number)
        self.number, self.name = number, method.decoder_name(number)
        self.predictions = Predictions() if predictions is None else predictions
        self.steps: StepSettings = method.options.decoder
        self.weights = active_losses(method, data)
        self.responses = torch.from_numpy(data.responses)
        self.unpaired = None if data.unpaired is None else data.unpaired[: self.steps.max_unpaired]

    @property
    def n_steps(self) -> int:
        """Number of gradient steps."""
        return self.steps.n_steps

    def prepare(self, context: "TrainingContext") -> None:
        """Compute what the frozen encoder says of the images without responses, and the voxels' SNR weights."""
        torch.set_flush_denormal(True)  # numbers near the smallest float make a step up to ten times slower on CPU
        self.context = context
        seed, steps, options = context.seed, self.steps, self.method.options
        self.decoder.train()
        self.responses = self.responses.to(context.device)
        self.colour_scale = channel_scale(to_tensor(self.data.images[:512])).to(context.device)
        self.pairs = Epochs(len(self.responses), steps.batch_pairs, seed, f"{self.name} pairs")
        if "images" in self.weights:
            assert self.unpaired is not None
            self.predicted = self.predictions.of(self.method, self.unpaired, context.cancel, self._on_progress)
            self.images = Epochs(len(self.unpaired), steps.batch_images, seed, f"{self.name} images")
        self.snr: Tensor | None = None
        if "fmri" in self.weights:
            assert self.data.repeats is not None
            hidden = {*options.repeats.exclude, *self.method.hidden_images(self.number, self.data.repeats)}
            allowed = options.repeats.model_copy(update={"exclude": tuple(sorted(hidden))})
            self.sampler = RepeatSampler(self.data.repeats, allowed, steps.batch_fmri, seed, self.own("repeats"))
            self.method.mark_use("test responses without images")
            if options.snr_source == "test_repeats":
                self.snr = snr_of(self.data.repeats.values, self.sampler.trials).to(context.device)
                self.method.mark_use("SNR weights")
        if options.snr_source == "train_repeats":
            self.snr = snr_of(self.data.responses, trials_of(self.data.image_index)).to(context.device)
        if self.method.encoder is not None:
            self.method.freeze_encoder()

    def loss(self, step: int) -> "dict[str, Tensor]":
        """Run D once on everything this step sees, then each loss on its part."""
        # first, so that its gradient, as large as the weights, comes last, when the pictures' activations are gone
        penalty = self._penalty()
        values, targets = self._draw(step)
        made = self._make(values, step)
        images = dict(zip(values, torch.split(made, [len(each) for each in values.values()]), strict=True))
        raw = {name: at_once(partial(self._image_loss, targets=targets[name]), images[name]) for name in values if name != "fmri"}
        if "fmri" in self.weights:
            raw["fmri"] = at_once(partial(self._response_loss, measured=targets["fmri"], step=step), images["fmri"])
        weighted = {name: self.weights[name] * term for name, term in self._balance(raw).items()}
        total = torch.stack(list(weighted.values())).sum() + penalty
        return raw | {f"{name} weighted": term for name, term in weighted.items()} | {"penalty": penalty, "total": total}

    def preview(self) -> "Tensor":
        """Give training images over their reconstructions."""
        self.decoder.eval()  # a look must not move the statistics of batch normalisation
        with torch.no_grad():
            made = self.method.pictures(self.responses[:_PREVIEWS], [self.number]).expand(-1, 3, -1, -1)
        self.decoder.train()
        return torch.cat([to_tensor(self.data.images[self.data.image_index[:_PREVIEWS]], made.device), made])

    def finish(self, context: "TrainingContext") -> None:
        """Drop what only training needs."""
        self.method.training_state = {}
        self.decoder.eval()
        self.decoder.zero_grad(set_to_none=True)
        self.responses, self.predictions = torch.from_numpy(self.data.responses), Predictions()
        if "images" in self.weights:
            del self.predicted

    def own(self, stream: str) -> str:
        """Name a stream of random numbers; further decoders have streams of their own."""
        return stream if self.name == "decoder" else f"{self.name} {stream}"

    @abstractmethod
    def _image_loss(self, images: "Tensor", targets: "Tensor") -> "Tensor":
        """Say how far pictures are from their targets, [b c h w] and [b 3 h w]; scalar."""

    def _response_loss(self, images: "Tensor", measured: "Tensor", step: int) -> "Tensor":
        """Say how far the responses to pictures [b c h w] are from those they were made of, [b v]; scalar."""
        predicted, options = self._predict(images.expand(-1, 3, -1, -1), step), self.method.options.repeats
        if options.alpha is not None:
            # the papers subtract the cosine; the constant keeps the loss above 0, which balancing by size needs
            return alpha_mse_cosine(predicted, measured, options.alpha) + (1 - options.alpha)
        return snr_l1_cosine(predicted, measured, self.snr, options.cosine_weight)

    def _predict(self, images: "Tensor", step: int) -> "Tensor":
        """Responses to pictures that D made, [b 3 h w] -> [b v]; the gradient flows through E to D."""
        return self.method.encode(images).values

    def _penalty(self) -> "Tensor":
        """Penalty on the decoder's weights; scalar."""
        return torch.zeros((), device=self.context.device)

    def _balance(self, raw: "dict[str, Tensor]") -> "dict[str, Tensor]":
        """Give the losses the sizes in which their weights count."""
        return raw

    def _disturbed(self, predicted: "NDArray[np.float32]", step: int) -> "NDArray[np.float32]":
        """Add to predicted responses [b v] what measured ones have and predicted ones lack."""
        return predicted

    def _make(self, values: "dict[str, Tensor]", step: int) -> "Tensor":
        """Images of all responses of a step, one after the other."""
        made: Tensor = self.decoder(torch.cat(list(values.values())))
        return made

    def _draw(self, step: int) -> "tuple[dict[str, Tensor], dict[str, Tensor]]":
        """Give what goes into D and what is compared with what comes out, by loss."""
        device = self.context.device
        values, targets = {}, {}
        if "pairs" in self.weights:
            rows = self.pairs.rows(step)
            values["pairs"] = take_rows(self.responses, rows)
            targets["pairs"] = to_tensor(self.data.images[self.data.image_index[rows]], device)
        if "images" in self.weights:
            assert self.unpaired is not None
            rows = self.images.rows(step)
            predicted = self._disturbed(self.predicted[rows].astype(np.float32), step)
            values["images"] = torch.from_numpy(predicted).to(device)
            targets["images"] = to_tensor(self.unpaired[rows], device)
        if "fmri" in self.weights:
            drawn, _ = self.sampler.draw(step)
            values["fmri"] = targets["fmri"] = torch.from_numpy(drawn).to(device)
        return values, targets

    def _on_progress(self, done: int, total: int) -> None:
        self.context.sink(Progress(self.name, done, total, "predicted responses to images without responses"))


def at_once(loss: "Callable[[Tensor], Tensor]", images: "Tensor") -> "Tensor":
    """Compute a loss of pictures and its gradient in one go: what the frozen networks keep for it is gone before the next loss begins.

    Parameters
    ----------
    loss : function, [b c h w] -> scalar; nothing else in it takes a gradient
    images : Tensor, [b c h w]

    Returns
    -------
    Tensor, scalar, differentiable once with respect to the pictures
    """
    value: Tensor = _APPLY(images, loss)
    return value


class _AtOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: "Tensor", loss: "Callable[[Tensor], Tensor]") -> "Tensor":
        with torch.enable_grad():
            leaf = images.detach().requires_grad_(True)
            value = loss(leaf)
        ctx.save_for_backward(*torch.autograd.grad(value, leaf))
        return value.detach()

    @staticmethod
    @_once
    def backward(ctx: Any, slope: "Tensor") -> "tuple[Tensor, None]":
        (of_images,) = ctx.saved_tensors
        return slope * of_images, None


_APPLY: Any = _AtOnce.apply  # which torch leaves untyped


def perceptual_image_loss(
    method: "SelfSupervised", options: "ImageLossSettings", images: "Tensor", targets: "Tensor", colour_scale: "Tensor"
) -> "Tensor":
    """Image loss of Gaziv et al.: scaled absolute difference, total variation, and 1 - cosine of features.

    Parameters
    ----------
    method : SelfSupervised, whose network is loaded only if features are compared
    options : ImageLossSettings
    images : Tensor, [b c h w], one channel for grey datasets
    targets : Tensor, [b 3 h w]
    colour_scale : Tensor, [3], see `channel_scale`

    Returns
    -------
    Tensor, scalar
    """
    targets, colour_scale = for_channels(images, targets, colour_scale)
    total = torch.zeros((), device=images.device)
    if options.pixel:
        total = total + options.pixel * scaled_l1(images, targets, colour_scale)
    if options.tv:
        total = total + options.tv * tv(images)
    if weights := used_blocks(options.perceptual):
        network = method.perceptual_network
        taps = network.perceptual_taps[: len(weights)]
        with torch.no_grad():
            wanted = network(targets.expand(-1, 3, -1, -1), taps)
        total = total + perceptual_loss(network(images.expand(-1, 3, -1, -1), taps), wanted, weights)
    return total


def used_blocks(weights: "tuple[float, ...]") -> "tuple[float, ...]":
    """Weights of a network's blocks up to the last one that counts: what lies behind it is not computed."""
    counts = [number for number, weight in enumerate(weights, start=1) if weight]
    return weights[: counts[-1]] if counts else ()


def for_channels(images: "Tensor", targets: "Tensor", colour_scale: "Tensor") -> "tuple[Tensor, Tensor]":
    """Make targets [b 3 h w] and scale [3] grey where the pictures [b c h w] are."""
    if images.shape[1] == targets.shape[1]:
        return targets, colour_scale
    return targets.mean(dim=1, keepdim=True), colour_scale.mean(dim=0, keepdim=True)


def equalised(raw: "dict[str, Tensor]", state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Divide each loss by its running mean, so that equal weights mean equal sizes; the means are kept in `state`."""
    balanced = {}
    for name, term in raw.items():
        now, before = term.detach().float(), state.get(f"mean {name}")
        state[f"mean {name}"] = now if before is None else _MOMENTUM * before + (1 - _MOMENTUM) * now
        balanced[name] = term / state[f"mean {name}"].clamp_min(1e-12)
    return balanced


def active_losses(method: "SelfSupervised", data: "TrainingData") -> dict[str, float]:
    """Weights of the losses that are on and whose data exist.

    Raises
    ------
    MissingDataError
        If none is left.
    """
    options = method.options
    weights = {"pairs": options.weight_pairs, "images": options.weight_images, "fmri": options.weight_fmri}
    unpaired = data.unpaired is not None and len(data.unpaired) > 0
    there = {"pairs": len(data.responses) > 0, "images": unpaired, "fmri": data.repeats is not None}
    for name, weight in weights.items():
        if weight and not there[name]:
            _log.warning("weight_%s is %g but the subject has no such data; this loss is left out", name, weight)
    active = {name: weight for name, weight in weights.items() if weight and there[name]}
    if not active:
        wanted = ", ".join(f"weight_{name}" for name, weight in weights.items() if weight)
        raise MissingDataError(
            f"nothing to train the decoder on: {wanted} is set, but the subject has no such data; set weight_pairs above 0"
        )
    return active


def trials_of(image_index: "NDArray[np.int64]") -> "dict[int, NDArray[np.int64]]":
    """List the trials of each image, image number -> rows, from the image of each trial [n]."""
    order = np.argsort(image_index, kind="stable")
    images, starts = np.unique(image_index[order], return_index=True)
    return dict(zip(images.tolist(), np.split(order, starts[1:]), strict=True))


def snr_of(responses: "NDArray[np.float32]", trials: "dict[int, NDArray[np.int64]]") -> "Tensor":
    """Weight of each voxel by its signal-to-noise ratio; mean 1, [v].

    Parameters
    ----------
    responses : float32 array, [n v], single trials
    trials : dict of image number to its rows

    Raises
    ------
    ConfigError
        If there are fewer than two images, or none has repeats.
    """
    groups = [responses[rows] for _, rows in sorted(trials.items())]
    most = max(map(len, groups))
    if len(groups) < 2 or most < 2:
        raise ConfigError(
            f"SNR weights need two images and repeats of one of them, got {len(groups)} images with at most {most} trials; "
            "set snr_source to none"
        )
    signal = np.var([group.mean(axis=0) for group in groups], axis=0, ddof=1)
    noise = np.mean([group.var(axis=0, ddof=1) for group in groups if len(group) > 1], axis=0)
    return snr_weights(torch.from_numpy((signal / np.maximum(noise, 1e-12)).astype(np.float32)))
