"""Phase I of gaziv: the separable encoder learns from pairs, by gradient or with its read-out solved in closed form."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.losses import alpha_mse_cosine, l1, map_variation, mse_cosine, neighbour_group_lasso, second_moment
from brain2pix.methods._encoder_phase import EncoderPhase, Refit
from brain2pix.methods._gaziv_start import solve_readout
from brain2pix.methods._sampling import torch_numbers

if TYPE_CHECKING:
    from torch import Tensor

    from brain2pix.config.methods import ReadoutPenalties
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.gaziv import Gaziv
    from brain2pix.models import FoldedReadout, SeparableEncoder


class GazivEncoderPhase(EncoderPhase):
    """Train the encoder of Gaziv et al.

    Parameters
    ----------
    method : Gaziv
    data : TrainingData
    """

    method: "Gaziv"

    def __init__(self, method: "Gaziv", data: "TrainingData") -> None:
        assert method.encoder is not None
        self.options = method.options.encoder
        self.encoder = method.encoder
        super().__init__(method, data, method.encoder, self.options)

    @property
    def solves(self) -> bool:
        """Whether the read-out is solved in closed form again and again instead of learning by gradient."""
        return self.options.solve_every > 0

    def prepare(self, context: "TrainingContext") -> None:
        """Split the pairs, cache the frozen features, and choose what gradients reach."""
        super().prepare(context)
        self.encoder.norms_frozen = self.options.freeze_norms or self.solves
        self.encoder.unfreeze().train()
        self.folded: FoldedReadout | None = None
        if self.solves:  # gradients go to the shared convolutions only
            self.encoder.requires_grad_(False)
            for weight in self._convolutions():
                weight.requires_grad_(True)

    def initialise(self, context: "TrainingContext") -> None:
        """Draw or compute the start of all parameters."""
        with torch_numbers(context.seed, "encoder start", 0, context.device):
            self.encoder.load_state_dict(self.method.new_encoder().state_dict())
        if self.method.options.start != "glorot" or self.solves:
            self._solve()
        elif self.options.freeze_norms:
            self.encoder.calibrate(list(self.features.batches(np.unique(self.data.image_index[self.train_rows]))))
        self.encoder.train()

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam on everything that gradients reach."""
        learning = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        return torch.optim.Adam(learning, lr=self.options.learning_rate)

    def after_step(self, step: int) -> None:
        """Solve the read-out again where that is due, then look at the held-out pairs."""
        if self.solves and ((step + 1) % self.options.solve_every == 0 or step + 1 == self.n_steps):
            self._solve()
        super().after_step(step)

    def _features(self, pictures: "Tensor") -> "list[Tensor]":
        return self.encoder.compact(self.method.backbone(pictures))

    def _predict(self, features: "list[Tensor]", step: int) -> "Tensor":
        if self.solves:
            return self._folded_readout()(self.encoder.activations(features))
        with torch_numbers(self.context.seed, f"{self.name} dropout", step, self.context.device):
            predicted: Tensor = self.encoder(features)
        return predicted

    def _fit(self, predicted: "Tensor", measured: "Tensor") -> "Tensor":
        if self.options.alpha is not None:
            return alpha_mse_cosine(predicted, measured, self.options.alpha)
        return mse_cosine(predicted, measured, self.options.cosine_weight)

    def _penalty(self) -> "Tensor":
        return readout_penalty(self.encoder, self.options.penalties)

    def _solve(self) -> None:
        shared = self.method.options.start == "empirical_bayes"
        solve_readout(self.encoder, self.features, self.responses, self.data.image_index, self.train_rows, self.context.cancel, shared)
        self.encoder.train()
        self.folded = None

    def _folded_readout(self) -> "FoldedReadout":
        """Give the read-out as one fixed linear map; it changes only where it is solved."""
        if self.folded is None:
            with torch.no_grad():
                self.folded = self.encoder.fold()
        return self.folded

    def _convolutions(self) -> "list[torch.nn.Parameter]":
        return [parameter for name, parameter in self.encoder.branches.named_parameters() if ".conv." in name]


class GazivRefit(Refit, GazivEncoderPhase):
    """The refit of gaziv."""


def readout_penalty(encoder: "SeparableEncoder", weights: "ReadoutPenalties") -> "Tensor":
    """Add up the penalties whose weight is not 0; a map that two branches share counts once for each."""
    total = torch.zeros((), device=encoder.branch_mix.device)
    n_voxels = encoder.n_voxels
    maps = [encoder.space_of(index) for index in range(len(encoder.branches))]
    if weights.conv_l1:
        total = total + weights.conv_l1 * l1(module.weight for module in encoder.branches.modules() if isinstance(module, torch.nn.Conv2d))
    if weights.locality:
        total = total + weights.locality * torch.stack([second_moment(each) for each in maps]).sum()
    if weights.space_l1 or weights.neighbour:
        lasso = [neighbour_group_lasso(each, weights.space_l1 / n_voxels, weights.neighbour / n_voxels) for each in maps]
        total = total + torch.stack(lasso).sum()
    if weights.space_tv:
        total = total + weights.space_tv * torch.stack([map_variation(each) for each in maps]).sum()
    if weights.mix_l1:
        total = total + weights.mix_l1 / n_voxels * l1(encoder.channel_mix)
    if weights.mix_l2:
        total = total + weights.mix_l2 / n_voxels * torch.stack([mix.square().sum() for mix in encoder.channel_mix]).sum()
    if weights.branch_l1:
        total = total + weights.branch_l1 / n_voxels * encoder.branch_mix.abs().sum()
    return total
