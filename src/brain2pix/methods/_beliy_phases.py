"""The two phases of beliy."""

from typing import TYPE_CHECKING

import torch

from brain2pix.losses import alpha_mse_cosine, decoder_group_lasso, l1, scaled_features, scaled_l1, tv
from brain2pix.methods._decoder_phase import DecoderPhase, equalised, for_channels, used_blocks
from brain2pix.methods._encoder_phase import EncoderPhase, Refit
from brain2pix.methods._pictures import to_tensor
from brain2pix.methods._sampling import torch_numbers
from brain2pix.methods._schedule import rate_factor
from brain2pix.models import ShallowDecoder

if TYPE_CHECKING:
    from torch import Tensor

    from brain2pix.config.beliy import BeliyDecoderSettings, BeliyEncoderSettings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.beliy import Beliy
    from brain2pix.methods.predictions import Predictions

_CHUNK = 64  # images whose features are looked at together
_SCALED_ON = 512  # training images that give the features their scale


class BeliyEncoderPhase(EncoderPhase):
    """Train the encoder of Beliy et al.

    Parameters
    ----------
    method : Beliy
    data : TrainingData
    """

    method: "Beliy"

    def __init__(self, method: "Beliy", data: "TrainingData") -> None:
        assert method.encoder is not None
        self.options, self.encoder = method.options.encoder, method.encoder
        super().__init__(method, data, method.encoder, self.options)

    def initialise(self, context: "TrainingContext") -> None:
        """Draw the start of all parameters."""
        with torch_numbers(context.seed, "encoder start", 0, context.device):
            self.encoder.load_state_dict(self.method.new_encoder().state_dict())
        self.encoder.train()

    def optimizer(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent with Nesterov momentum."""
        options = self.options
        return torch.optim.SGD(
            self.encoder.parameters(), lr=options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0
        )

    def _features(self, pictures: "Tensor") -> "list[Tensor]":
        return self.method.features(pictures)

    def _predict(self, features: "list[Tensor]", step: int) -> "Tensor":
        with torch_numbers(self.context.seed, f"{self.name} dropout", step, self.context.device):
            predicted: Tensor = self.encoder(features)
        return predicted

    def _fit(self, predicted: "Tensor", measured: "Tensor") -> "Tensor":
        return alpha_mse_cosine(predicted, measured, self.options.alpha)

    def _penalty(self) -> "Tensor":
        options, weights = self.options, self.encoder.convolution_weights()
        total = torch.zeros((), device=self.context.device)
        if options.conv_l1:
            total = total + options.conv_l1 * l1(weights)
        if options.conv_l2:
            total = total + options.conv_l2 * torch.stack([weight.square().sum() for weight in weights]).sum()
        return total + linear_penalty(self.encoder.linear_weight(), options)


class BeliyRefit(Refit, BeliyEncoderPhase):
    """The refit of beliy."""


class BeliyDecoderPhase(DecoderPhase):
    """Train the decoder of Beliy et al.

    Parameters
    ----------
    method : Beliy
    data : TrainingData
    number : int, of the decoder
    predictions : Predictions or None, shared with the phases of other decoders
    """

    method: "Beliy"
    decoder: ShallowDecoder

    def __init__(self, method: "Beliy", data: "TrainingData", number: int = 0, predictions: "Predictions | None" = None) -> None:
        super().__init__(method, data, number, predictions)
        self.options = method.options.decoder

    def prepare(self, context: "TrainingContext") -> None:
        """Compute what the frozen encoder says of images without responses, and the scale of the features that are compared."""
        super().prepare(context)
        self.feature_weights = used_blocks(self.method.options.image_loss.features)
        self.feature_scales = self._feature_scales() if self.feature_weights else []

    def initialise(self, context: "TrainingContext") -> None:
        """Draw the decoder's start."""
        with torch_numbers(context.seed, f"{self.name} start", 0, context.device):
            fresh = ShallowDecoder(self.decoder.n_voxels, self.decoder.image_size, self.options)
        self.decoder.load_state_dict(fresh.state_dict())

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, amsgrad."""
        return torch.optim.Adam(self.decoder.parameters(), lr=self.options.learning_rate, amsgrad=True)

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rate."""
        return rate_factor(step, self.n_steps, self.options.schedule)

    def _image_loss(self, images: "Tensor", targets: "Tensor") -> "Tensor":
        options = self.method.options.image_loss
        targets, colour_scale = for_channels(images, targets, self.colour_scale)
        total = torch.zeros((), device=images.device)
        if options.pixel:
            total = total + options.pixel * scaled_l1(images, targets, colour_scale)
        if options.tv:
            total = total + options.tv * tv(images)
        if self.feature_weights:
            with torch.no_grad():
                wanted = self._compared(targets)
            total = total + scaled_features(self._compared(images), wanted, self.feature_scales, self.feature_weights, options.power)
        return total

    def _compared(self, images: "Tensor") -> "list[Tensor]":
        """Features of pictures [b c h w] in the blocks that are compared."""
        network = self.method.perceptual_network
        found: list[Tensor] = network(images.expand(-1, 3, -1, -1), network.encoder_taps[: len(self.feature_weights)])
        return found

    def _predict(self, images: "Tensor", step: int) -> "Tensor":
        if not self.options.encoder_stochastic:
            return super()._predict(images, step)
        with torch_numbers(self.context.seed, self.own("encoder noise"), step, self.context.device):
            return self.method.encode_stochastic(images)

    def _balance(self, raw: "dict[str, Tensor]") -> "dict[str, Tensor]":
        return raw if self.method.options.balance == "fixed" else equalised(raw, self.method.training_state)

    def _penalty(self) -> "Tensor":
        options, total = self.options, super()._penalty()
        if options.conv_l1:
            total = total + options.conv_l1 * l1(self.decoder.convolution_weights())
        return total + linear_penalty(self.decoder.start_weight(), options)

    @torch.no_grad()
    def _feature_scales(self) -> "list[Tensor]":
        """Mean absolute value of each channel over training images, [c] for each tap."""
        images = self.data.images[:_SCALED_ON]
        sums = [torch.zeros((), device=self.context.device) for _ in self.feature_weights]
        for start in range(0, len(images), _CHUNK):
            self.context.cancel.check()
            found = self._compared(to_tensor(images[start : start + _CHUNK], self.context.device))
            sums = [total + tap.abs().mean(dim=(2, 3)).sum(dim=0) for total, tap in zip(sums, found, strict=True)]
        return [(total / len(images)).clamp_min(1e-6) for total in sums]


def linear_penalty(weight: "Tensor", options: "BeliyEncoderSettings | BeliyDecoderSettings") -> "Tensor":
    """Penalty on a linear layer, whose weights are a grid for each voxel [c h w v]; 0 without a look at them where it is off."""
    if not options.linear_l1 and not options.linear_group:
        return torch.zeros((), device=weight.device)
    return decoder_group_lasso(weight, None, options.linear_l1, options.linear_group, neighbours=4, padding="symmetric")
