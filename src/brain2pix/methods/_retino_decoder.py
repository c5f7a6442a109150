"""Phase II of retino: the linear map in closed form, then the networks by gradient."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.events import Progress
from brain2pix.methods._decoder_phase import DecoderPhase, perceptual_image_loss
from brain2pix.methods._linear import group_folds
from brain2pix.methods._local_map import ResponseMoments, contrast_pictures, solve_blocks
from brain2pix.methods._pictures import shrink, to_tensor
from brain2pix.methods._sampling import generator, torch_numbers
from brain2pix.methods._schedule import rate_factor
from brain2pix.models import LocalDecoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.predictions import Predictions
    from brain2pix.methods.retino import Retino

_CHUNK = 256


class LocalDecoderPhase(DecoderPhase):
    """Train one network; the first one solves the linear map that all share.

    Parameters
    ----------
    method : Retino
    data : TrainingData
    number : int, of the network
    predictions : Predictions or None, shared with the phases of other networks
    """

    method: "Retino"
    decoder: LocalDecoder

    def __init__(self, method: "Retino", data: "TrainingData", number: int = 0, predictions: "Predictions | None" = None) -> None:
        super().__init__(method, data, number, predictions)
        self.settings = method.options.decoder
        self.network = self.decoder.networks[number]

    def prepare(self, context: "TrainingContext") -> None:
        """Compute what the frozen encoder says of the images without responses, and the noise to expect."""
        super().prepare(context)
        self.decoder.requires_grad_(False)
        self.network.requires_grad_(True)
        if "images" in self.weights:
            variance = self.predicted.astype(np.float32).var(axis=0)
            self.noise_sd = np.sqrt(self._trial_noise() + self.settings.error_share * variance)
        if "pairs" in self.weights and "images" not in self.weights:
            self.cross_fitted = self._cross_fitted()

    def initialise(self, context: "TrainingContext") -> None:
        """Solve the linear map and draw the network's start."""
        if self.number == 0:
            if "images" in self.weights:
                self._set_map(*self._map_of_images())
            else:
                self._set_map(*self._map_of_pairs(np.arange(len(self.data.responses))))
        with torch_numbers(context.seed, f"{self.name} start", 0, context.device):
            fresh = LocalDecoder(self.decoder.n_voxels, self.decoder.image_size, self.settings).networks[0]
        self.network.load_state_dict(fresh.state_dict())
        self.method.training_state = {f"average.{key}": value.clone() for key, value in self.network.state_dict().items()}

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam on the network."""
        return torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate)

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rate."""
        return rate_factor(step, self.n_steps, self.settings.schedule)

    def after_step(self, step: int) -> None:
        """Let the running average of the weights follow."""
        decay = min(self.settings.average, (step + 1) / (step + 10))
        for key, value in self.network.state_dict().items():
            self.method.training_state[f"average.{key}"].lerp_(value, 1 - decay)

    def finish(self, context: "TrainingContext") -> None:
        """Keep the average of the weights."""
        state = self.method.training_state
        self.network.load_state_dict({key.removeprefix("average."): value for key, value in state.items()})
        super().finish(context)

    def preview(self) -> "Tensor":
        """Give training images over their reconstructions."""
        return super().preview().clamp(0, 1)

    def _make(self, values: "dict[str, Tensor]", step: int) -> "Tensor":
        seen = self.decoder.linear_pictures(torch.cat(list(values.values())))
        if "pairs" in values and "images" not in self.weights:
            # a map must not be asked for pictures that it was made from: it would look better than it is
            rows = torch.from_numpy(self.pairs.rows(step))
            seen[: len(rows)] = self.cross_fitted[rows]
        made: Tensor = self.network(seen)
        return made

    def _disturbed(self, predicted: "NDArray[np.float32]", step: int) -> "NDArray[np.float32]":
        rng = generator(self.context.seed, f"{self.name} response noise", step)
        strength = rng.uniform(*self.settings.noise_range, size=(len(predicted), 1)).astype(np.float32)
        noise = rng.standard_normal(predicted.shape, dtype=np.float32) * self.noise_sd
        disturbed: NDArray[np.float32] = predicted + strength * noise
        return disturbed

    def _image_loss(self, images: "Tensor", targets: "Tensor") -> "Tensor":
        return perceptual_image_loss(self.method, self.method.options.image_loss, images, targets, self.colour_scale)

    def _trial_noise(self) -> "NDArray[np.float32]":
        """Variance of the noise in the responses to be decoded, [v]: what training trials leave over, averaged."""
        averaged = self.method.encoder.summary[:, 4] / self.settings.linear.averaged_trials
        return averaged.cpu().numpy()

    def _map_of_images(self) -> "tuple[Tensor, ...]":
        """Linear map from what the encoder predicts for images without responses."""
        assert self.unpaired is not None
        linear, moments = self.settings.linear, ResponseMoments()
        for start in range(0, len(self.unpaired), _CHUNK):
            self.context.cancel.check()
            responses = torch.from_numpy(self.predicted[start : start + _CHUNK].astype(np.float32))
            moments.add(responses.to(self.context.device), *self._targets(self.unpaired[start : start + _CHUNK]))
        noise = torch.from_numpy(self._trial_noise()).to(self.context.device)
        variance = moments.covariances()[:, : self.decoder.n_voxels].diagonal().float()
        return self._solve(moments, [noise + share * variance for share in linear.error_shares])

    def _map_of_pairs(self, rows: "NDArray[np.int64]") -> "tuple[Tensor, ...]":
        """Linear map from measured single trials."""
        moments = ResponseMoments()
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            moments.add(self.responses[torch.from_numpy(some)], *self._targets(self.data.images[self.data.image_index[some]]))
        variance = moments.covariances()[:, : self.decoder.n_voxels].diagonal().float()
        shares = self.settings.linear.pair_penalties[: len(self.settings.linear.error_shares)]
        return self._solve(moments, [share * variance for share in shares])

    def _targets(self, images: "NDArray[np.uint8]") -> "list[Tensor]":
        linear, device = self.settings.linear, self.context.device
        targets = [shrink(images, linear.size).to(device)]
        return [*targets, contrast_pictures(to_tensor(images, device), linear.blocks)] if linear.contrast else targets

    def _solve(self, moments: ResponseMoments, added: "list[Tensor]") -> "tuple[Tensor, ...]":
        """Solve one picture for each variance that is added to the voxels', and the contrasts with the first."""
        linear, n_voxels = self.settings.linear, self.decoder.n_voxels
        means, both = moments.means().float(), moments.covariances().float()
        covariance, cross = both[:, :n_voxels], both[:, n_voxels:]
        n_pixels = 3 * linear.size**2
        pixels = cross[:, :n_pixels].reshape(n_voxels, 3, linear.size, linear.size)
        penalty = self.method.distance_penalty()
        solved = []
        for number, variance in enumerate(added):
            self.context.sink(Progress(self.name, number, len(added), "linear map"))
            solved.append(solve_blocks(covariance + torch.diag(variance), pixels, penalty, linear.blocks, self.context.cancel.check))
        weight = torch.cat(solved, dim=1).flatten(1)
        offset = means[n_voxels : n_voxels + n_pixels].repeat(len(added)) - means[:n_voxels] @ weight
        root = torch.linalg.cholesky(covariance + torch.diag(added[0]))
        contrasts = torch.cholesky_solve(cross[:, n_pixels:], root)
        return weight, offset, contrasts, means[n_voxels + n_pixels :] - means[:n_voxels] @ contrasts

    def _set_map(self, pictures: "Tensor", pictures_offset: "Tensor", contrasts: "Tensor", contrasts_offset: "Tensor") -> None:
        decoder = self.decoder
        decoder.pictures, decoder.pictures_offset = pictures, pictures_offset
        decoder.contrasts, decoder.contrasts_offset = contrasts, contrasts_offset

    @torch.no_grad()
    def _cross_fitted(self) -> "Tensor":
        """Pictures of each pair's response by a map that was made without its group, [n c s s]."""
        own = {name: getattr(self.decoder, name) for name in ("pictures", "pictures_offset", "contrasts", "contrasts_offset")}
        found: Tensor | None = None
        for held_out in group_folds(self.data.groups[self.data.image_index], self.settings.linear.pair_folds):
            self._set_map(*self._map_of_pairs(np.flatnonzero(~held_out)))
            rows = torch.from_numpy(np.flatnonzero(held_out))
            made = self.decoder.linear_pictures(self.responses[rows])
            found = torch.zeros(len(self.responses), *made.shape[1:], device=made.device) if found is None else found
            found[rows] = made
        self._set_map(*own.values())
        assert found is not None
        return found
