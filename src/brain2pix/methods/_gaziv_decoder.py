"""Phase II of gaziv: what its decoder starts from, how its pictures are compared, and the penalties on its weights."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.losses import decoder_group_lasso, inverse_snr_weights, l1
from brain2pix.methods._decoder_phase import DecoderPhase, equalised, perceptual_image_loss
from brain2pix.methods._gaziv_start import in_chunks, ridge_start
from brain2pix.methods._sampling import generator, torch_numbers
from brain2pix.methods._schedule import rate_factor
from brain2pix.models import ConvDecoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.gaziv import Gaziv
    from brain2pix.methods.predictions import Predictions


class GazivDecoderPhase(DecoderPhase):
    """Train the decoder of Gaziv et al.

    Parameters
    ----------
    method : Gaziv
    data : TrainingData
    number : int, of the decoder
    predictions : Predictions or None, shared with the phases of other decoders
    """

    method: "Gaziv"
    decoder: ConvDecoder

    def __init__(self, method: "Gaziv", data: "TrainingData", number: int = 0, predictions: "Predictions | None" = None) -> None:
        super().__init__(method, data, number, predictions)
        self.options = method.options.decoder

    def initialise(self, context: "TrainingContext") -> None:
        """Draw the decoder's start; the linear layer by ridge regression if the start is in closed form."""
        with torch_numbers(context.seed, f"{self.name} start", 0, context.device):
            fresh = ConvDecoder(self.decoder.n_voxels, self.decoder.image_size, self.options)
        self.decoder.load_state_dict(fresh.state_dict())
        if self.method.options.start == "glorot":
            return
        context.cancel.check()
        rng = generator(context.seed, self.own("patch basis"), 0)
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
        # fused on a CPU: one walk through the 56 million weights and their moments instead of ten
        fused = True if self.context.device.type == "cpu" else None
        return torch.optim.Adam(groups, amsgrad=self.options.optimizer == "amsgrad", fused=fused)

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rates."""
        return rate_factor(step, self.n_steps, self.options.schedule)

    def _image_loss(self, images: "Tensor", targets: "Tensor") -> "Tensor":
        return perceptual_image_loss(self.method, self.method.options.image_loss, images, targets, self.colour_scale)

    def _disturbed(self, predicted: "NDArray[np.float32]", step: int) -> "NDArray[np.float32]":
        if not self.options.response_noise:
            return predicted
        noise = generator(self.context.seed, f"{self.name} response noise", step).standard_normal(predicted.shape, dtype=np.float32)
        return predicted + np.float32(self.options.response_noise) * noise

    def _balance(self, raw: "dict[str, Tensor]") -> "dict[str, Tensor]":
        return raw if self.method.options.balance == "fixed" else equalised(raw, self.method.training_state)

    def _penalty(self) -> "Tensor":
        options, total = self.options, super()._penalty()
        if options.conv_l1:
            total = total + options.conv_l1 * l1(self.decoder.convolution_weights())
        if options.linear_l1 or options.linear_group:
            inverse = None if self.snr is None else inverse_snr_weights(self.snr)
            total = total + decoder_group_lasso(self.decoder.start_weight(), inverse, options.linear_l1, options.linear_group)
        if options.linear_l2:
            total = total + options.linear_l2 * self.decoder.fc.weight.square().sum()
        return total
