"""Phase II of gaziv: the decoder learns from pairs, from images without responses and from responses without images."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.errors import MissingDataError
from brain2pix.events import Progress
from brain2pix.losses import (
    channel_scale,
    decoder_group_lasso,
    inverse_snr_weights,
    l1,
    perceptual_loss,
    scaled_l1,
    snr_l1_cosine,
    snr_weights,
    tv,
)
from brain2pix.methods._gaziv_start import in_chunks, ridge_start
from brain2pix.methods._pictures import to_tensor
from brain2pix.methods._sampling import Epochs, RepeatSampler, generator, torch_numbers
from brain2pix.methods._schedule import rate_factor
from brain2pix.methods.base import Phase
from brain2pix.methods.predictions import predict_responses
from brain2pix.models import ConvDecoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.data.training import RepeatedResponses, TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.gaziv import Gaziv

_log = logging.getLogger(__name__)

_MOMENTUM = 0.99  # of the running means that balance the losses
_PREVIEWS = 4


class DecoderPhase(Phase):
    """Train D on every loss whose weight is above 0 and whose data exist; E and the backbones stay as they are.

    Parameters
    ----------
    method : Gaziv
    data : TrainingData
    """

    name = "decoder"

    def __init__(self, method: "Gaziv", data: "TrainingData") -> None:
        self.method, self.data, self.decoder = method, data, method.decoder
        self.options, self.loss_options = method.options.decoder, method.options.image_loss
        self.n_steps = self.options.n_steps
        self.weights = active_losses(method, data)
        self.responses = torch.from_numpy(data.responses)
        self.unpaired = None if data.unpaired is None else data.unpaired[: self.options.max_unpaired]

    def prepare(self, context: "TrainingContext") -> None:
        """Compute what the frozen encoder says of the images without responses, and the voxels' SNR weights."""
        torch.set_flush_denormal(True)  # numbers near the smallest float make a step up to ten times slower on CPU
        self.context = context
        seed, options = context.seed, self.options
        self.decoder.train()
        self.responses = self.responses.to(context.device)
        self.colour_scale = channel_scale(to_tensor(self.data.images[:512])).to(context.device)
        self.pairs = Epochs(len(self.responses), options.batch_pairs, seed, "decoder pairs")
        if "images" in self.weights:
            assert self.unpaired is not None
            self.predicted = predict_responses(self.method, self.unpaired, context.cancel, self._on_progress)
            self.images = Epochs(len(self.unpaired), options.batch_images, seed, "decoder images")
        self.snr: Tensor | None = None
        if "fmri" in self.weights:
            assert self.data.repeats is not None
            self.sampler = RepeatSampler(self.data.repeats, self.method.options.repeats, options.batch_fmri, seed)
            self.method.mark_use("test responses without images")
            if self.method.options.snr_source == "test_repeats":
                self.snr = snr_of(self.data.repeats, self.sampler).to(context.device)
                self.method.mark_use("SNR weights")
        if self.method.encoder is not None:
            self.method.freeze_encoder()

    def initialise(self, context: "TrainingContext") -> None:
        """Draw the decoder's start; the linear layer by ridge regression if the start is in closed form."""
        with torch_numbers(context.seed, "decoder start", 0, context.device):
            fresh = ConvDecoder(self.decoder.n_voxels, self.decoder.image_size, self.options)
        self.decoder.load_state_dict(fresh.state_dict())
        if self.method.options.start == "glorot":
            return
        context.cancel.check()
        rng = generator(context.seed, "patch basis", 0)
        # unpaired images are many and free of noise; without them the pairs must do
        if "images" in self.weights:
            assert self.unpaired is not None
            chunks = in_chunks(self.predicted, self.unpaired, np.arange(len(self.unpaired)))
            ridge_start(self.decoder, chunks, self.unpaired[:256], self.options.start_penalty, rng)
        else:
            chunks = in_chunks(self.data.responses, self.data.images, self.data.image_index)
            ridge_start(self.decoder, chunks, self.data.images[:256], self.options.start_penalty_pairs, rng)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam; the linear layer may have a rate of its own."""
        linear = list(self.decoder.fc.parameters())
        rest = [parameter for name, parameter in self.decoder.named_parameters() if not name.startswith("fc.")]
        rate = self.options.learning_rate
        groups = [{"params": linear, "lr": rate * self.options.linear_rate}, {"params": rest, "lr": rate}]
        return torch.optim.Adam(groups, amsgrad=self.options.optimizer == "amsgrad")

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rates."""
        return rate_factor(step, self.n_steps, self.options.schedule)

    def loss(self, step: int) -> "dict[str, Tensor]":
        """Run D once on everything this step sees, then each loss on its part."""
        values, targets = self._draw(step)
        made = self._make(values, step)
        images = dict(zip(values, torch.split(made, [len(each) for each in values.values()]), strict=True))
        raw = {name: self._image_loss(images[name], targets[name]) for name in values if name != "fmri"}
        if "fmri" in self.weights:
            predicted = self.method.encode(images["fmri"].expand(-1, 3, -1, -1)).values
            raw["fmri"] = snr_l1_cosine(predicted, targets["fmri"], self.snr, self.method.options.repeats.cosine_weight)
        weighted = {name: self.weights[name] * term for name, term in self._balance(raw).items()}
        penalty = self._penalty()
        total = torch.stack(list(weighted.values())).sum() + penalty
        return raw | {f"{name} weighted": term for name, term in weighted.items()} | {"penalty": penalty, "total": total}

    def preview(self) -> "Tensor":
        """Give training images over their reconstructions."""
        with torch.no_grad():
            made = self.decoder(self.responses[:_PREVIEWS]).expand(-1, 3, -1, -1)
        return torch.cat([to_tensor(self.data.images[self.data.image_index[:_PREVIEWS]], made.device), made])

    def finish(self, context: "TrainingContext") -> None:
        """Drop what only training needs."""
        self.method.training_state = {}
        self.decoder.eval()
        self.decoder.zero_grad(set_to_none=True)

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
            values["pairs"] = self.responses[torch.from_numpy(rows)]
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

    def _disturbed(self, predicted: "NDArray[np.float32]", step: int) -> "NDArray[np.float32]":
        """Add to predicted responses [b v] what measured ones have and predicted ones lack."""
        if not self.options.response_noise:
            return predicted
        noise = generator(self.context.seed, "decoder response noise", step).standard_normal(predicted.shape, dtype=np.float32)
        return predicted + np.float32(self.options.response_noise) * noise

    def _image_loss(self, images: "Tensor", targets: "Tensor") -> "Tensor":
        options = self.loss_options
        total = torch.zeros((), device=images.device)
        if images.shape[1] == 1:  # grey datasets
            pixel_targets, scale = targets.mean(dim=1, keepdim=True), self.colour_scale.mean(dim=0, keepdim=True)
        else:
            pixel_targets, scale = targets, self.colour_scale
        if options.pixel:
            total = total + options.pixel * scaled_l1(images, pixel_targets, scale)
        if options.tv:
            total = total + options.tv * tv(images)
        if any(options.perceptual):
            network = self.method.perceptual_network
            taps = network.perceptual_taps[: len(options.perceptual)]
            with torch.no_grad():
                wanted = network(pixel_targets.expand(-1, 3, -1, -1), taps)
            total = total + perceptual_loss(network(images.expand(-1, 3, -1, -1), taps), wanted, options.perceptual)
        return total

    def _balance(self, raw: "dict[str, Tensor]") -> "dict[str, Tensor]":
        """Divide each loss by its running mean, so that equal weights mean equal sizes, as the paper says."""
        if getattr(self.method.options, "balance", "fixed") == "fixed":
            return raw
        balanced, state = {}, self.method.training_state
        for name, term in raw.items():
            now, before = term.detach().float(), state.get(f"mean {name}")
            state[f"mean {name}"] = now if before is None else _MOMENTUM * before + (1 - _MOMENTUM) * now
            balanced[name] = term / state[f"mean {name}"].clamp_min(1e-12)
        return balanced

    def _penalty(self) -> "Tensor":
        options, weight = self.options, self.decoder.fc.weight
        total = torch.zeros((), device=weight.device)
        if options.conv_l1:
            total = total + options.conv_l1 * l1(self.decoder.convolution_weights())
        if options.linear_l1 or options.linear_group:
            inverse = None if self.snr is None else inverse_snr_weights(self.snr)
            total = total + decoder_group_lasso(self.decoder.start_weight(), inverse, options.linear_l1, options.linear_group)
        if options.linear_l2:
            total = total + options.linear_l2 * weight.square().sum()
        return total

    def _on_progress(self, done: int, total: int) -> None:
        self.context.sink(Progress(self.name, done, total, "predicted responses to images without responses"))


def active_losses(method: "Gaziv", data: "TrainingData") -> dict[str, float]:
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


def snr_of(repeats: "RepeatedResponses", sampler: RepeatSampler) -> "Tensor":
    """Weight of each voxel by its signal-to-noise ratio over the images that may be used; mean 1, [v]."""
    groups = [repeats.values[rows] for _, rows in sorted(sampler.trials.items())]
    signal = np.var([group.mean(axis=0) for group in groups], axis=0, ddof=1)
    noise = np.mean([group.var(axis=0, ddof=1) for group in groups if len(group) > 1], axis=0)
    return snr_weights(torch.from_numpy((signal / np.maximum(noise, 1e-12)).astype(np.float32)))
