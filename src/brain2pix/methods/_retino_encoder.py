"""Phase I of retino: convolutions learn by gradient what all voxels share; what is a voxel's own is solved in closed form."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.losses import mse_cosine
from brain2pix.methods._empirical_bayes import (
    FieldGrid,
    Posterior,
    field_moments,
    field_posterior,
    image_means,
    posterior_weights,
    standardised,
    unit_sum,
)
from brain2pix.methods._features import FeatureCache
from brain2pix.methods._sampling import Epochs, generator, take_rows, torch_numbers
from brain2pix.methods._schedule import rate_factor
from brain2pix.methods.base import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from brain2pix.config.retino import FieldGridSettings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.retino import Retino
    from brain2pix.models import FieldEncoder

_VOXELS = 128  # at once


class FieldEncoderPhase(Phase):
    """Train the shared convolutions, and solve fields and weights before, between and after.

    Parameters
    ----------
    method : Retino
    data : TrainingData
    """

    name = "encoder"

    def __init__(self, method: "Retino", data: "TrainingData") -> None:
        self.method, self.data, self.encoder = method, data, method.encoder
        self.options = method.options.encoder
        self.responses = torch.from_numpy(data.responses)

    @property
    def n_steps(self) -> int:
        """Number of gradient steps."""
        return self.options.n_steps

    def prepare(self, context: "TrainingContext") -> None:
        """Compute the frozen features that training reads again and again."""
        torch.set_flush_denormal(True)  # numbers near the smallest float make a step up to ten times slower on CPU
        self.context = context
        self.epochs = Epochs(len(self.responses), self.options.batch, context.seed, "encoder pairs")
        self.responses = self.responses.to(context.device)
        self.features = FeatureCache(self._features, self.data.images, self.options, context, self.name)
        self.encoder.requires_grad_(False)
        for weight in self.encoder.convolutions():
            weight.requires_grad_(True)

    def initialise(self, context: "TrainingContext") -> None:
        """Draw the convolutions, then solve the rest."""
        with torch_numbers(context.seed, "encoder start", 0, context.device):
            self.encoder.load_state_dict(self.method.new_encoder().state_dict())
        self.encoder.calibrate(self.features.batches(np.arange(len(self.data.images))))
        self._solve()

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW on the shared convolutions."""
        return torch.optim.AdamW(self.encoder.convolutions(), lr=self.options.learning_rate)

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rate."""
        return rate_factor(step, self.n_steps, self.options.schedule)

    def loss(self, step: int) -> "dict[str, Tensor]":
        """Squared error and cosine on a batch of pairs."""
        rows = self.epochs.rows(step)
        predicted = self.encoder(self.features.batch(self.data.image_index[rows], step))
        return {"total": mse_cosine(predicted, take_rows(self.responses, rows), self.options.cosine_weight)}

    def after_step(self, step: int) -> None:
        """Solve fields and weights again now and then, and at the end."""
        if (step + 1) % self.options.solve_every == 0 or step + 1 == self.n_steps:
            self._solve()

    def finish(self, context: "TrainingContext") -> None:
        """Freeze the encoder for good."""
        self.method.freeze_encoder()
        self.encoder.zero_grad(set_to_none=True)
        del self.features

    def _features(self, pictures: "Tensor") -> "list[Tensor]":
        return self.encoder.compact(self.method.features(pictures))

    @torch.no_grad()
    def _solve(self) -> None:
        images, trial_image = np.unique(self.data.image_index, return_inverse=True)
        targets = image_means(self.responses, torch.from_numpy(trial_image), len(images))
        chunks = [self.encoder.activations(chunk) for chunk in self.features.batches(images)]
        activations = [torch.cat(parts) for parts in zip(*chunks, strict=True)]
        solve_fields(self.encoder, activations, targets, self.options.grid, self.context.seed, self.context.cancel.check)


@torch.no_grad()
def solve_fields(
    encoder: "FieldEncoder",
    activations: "Sequence[Tensor]",
    targets: "Tensor",
    settings: "FieldGridSettings",
    seed: int,
    check: "Callable[[], None]" = lambda: None,
) -> None:
    """Set fields, weights, bias and what is known of the fields to their posterior means.

    Parameters
    ----------
    encoder : FieldEncoder
    activations : sequence of Tensor, [n c g g], of the branches
    targets : Tensor, [n v]
    settings : FieldGridSettings
    seed : int, draws the voxels that find the prior
    check : function, called now and then; may raise to stop
    """
    grid = FieldGrid(settings.n_places, settings.sigmas)
    mean = targets.mean(dim=0)
    centred = targets - mean
    covariance = None
    if encoder.n_voxels > settings.prior_voxels:
        drawn = generator(seed, "voxels of the prior", 0).choice(encoder.n_voxels, settings.prior_voxels, replace=False)
        some = field_moments(activations, centred[:, torch.from_numpy(np.sort(drawn))], grid, check)
        covariance = field_posterior(some, settings.n_rounds, check=check).covariance
    for start in range(0, encoder.n_voxels, settings.prior_voxels):
        voxels = slice(start, start + settings.prior_voxels)
        moments = field_moments(activations, centred[:, voxels], grid, check)
        posterior = field_posterior(moments, settings.n_rounds, covariance, check)
        encoder.set_fields(voxels, posterior_fields(posterior, grid, encoder.grids), summary(posterior, grid))
        _set_weights(encoder, activations, centred, mean, posterior, voxels, check)


def posterior_fields(posterior: Posterior, grid: FieldGrid, cells: "Sequence[int]") -> "dict[int, Tensor]":
    """Posterior mean of the fields on some grids, [v g g] by edge of the grid."""
    return {edge: unit_sum(torch.einsum("kv,kyx->vyx", posterior.chance, grid.on(edge, posterior.chance.device))) for edge in set(cells)}


def summary(posterior: Posterior, grid: FieldGrid) -> "Tensor":
    """Gather what is known of each field, [v 6], as `FieldEncoder.summary` holds it."""
    chance, device = posterior.chance, posterior.chance.device
    places = grid.centres(device)
    centre = chance.T @ places  # [v 2]
    spread = (chance.T @ places.square() - centre.square()).clamp_min(0).sum(dim=1).sqrt()
    return torch.stack([*centre.T, chance.T @ grid.sizes(device), spread, posterior.noise, posterior.gain], dim=1)


def _set_weights(
    encoder: "FieldEncoder",
    activations: "Sequence[Tensor]",
    centred: "Tensor",
    mean: "Tensor",
    posterior: Posterior,
    voxels: slice,
    check: "Callable[[], None]",
) -> None:
    """Solve the weights of some voxels for the fields they have."""
    first = voxels.start
    for start in range(first, min(voxels.stop, encoder.n_voxels), _VOXELS):
        check()
        some = slice(start, min(start + _VOXELS, voxels.stop, encoder.n_voxels))
        own = slice(some.start - first, some.stop - first)
        pooled = encoder.pool(activations, some)  # [v n c]
        average, sd = pooled.mean(dim=1), pooled.std(dim=1, unbiased=False).clamp_min(1e-6)
        share, noise = posterior.share[own], posterior.noise[own]
        weights = posterior_weights(standardised(pooled), centred[:, some], posterior.covariance, share, noise) / sd
        encoder.set_weights(some, weights, mean[some] - (weights * average).sum(dim=1))
