"""Phase I of gaziv: the encoder learns from pairs; held-out groups of training images say when it is best."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.errors import ConfigError
from brain2pix.events import Metric
from brain2pix.losses import l1, map_variation, mse_cosine, neighbour_group_lasso, second_moment
from brain2pix.methods._features import FeatureCache
from brain2pix.methods._gaziv_start import solve_readout
from brain2pix.methods._sampling import Epochs, generator, torch_numbers
from brain2pix.methods._schedule import rate_factor
from brain2pix.methods.base import Phase

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.config.methods import ReadoutPenalties
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext
    from brain2pix.methods.gaziv import Gaziv
    from brain2pix.models import FoldedReadout, SeparableEncoder

_CHUNK = 64  # images that go through the backbone at once while features are cached


class EncoderPhase(Phase):
    """Train on the pairs whose group is not held out, and keep the step that predicts the held-out pairs best.

    Parameters
    ----------
    method : Gaziv
    data : TrainingData
    """

    name = "encoder"

    def __init__(self, method: "Gaziv", data: "TrainingData") -> None:
        assert method.encoder is not None
        self.method, self.data, self.encoder = method, data, method.encoder
        self.options = method.options.encoder
        self.responses = torch.from_numpy(data.responses)

    @property
    def n_steps(self) -> int:  # type: ignore[override]  # the phase declares an attribute; a refit knows it only after its predecessor
        """Number of gradient steps."""
        return self.options.n_steps

    @property
    def solves(self) -> bool:
        """Whether the read-out is solved in closed form again and again instead of learning by gradient."""
        return self.options.solve_every > 0

    @property
    def holds_out(self) -> bool:
        """Whether some groups are kept back to judge the encoder."""
        return self.options.validation_share > 0

    def prepare(self, context: "TrainingContext") -> None:
        """Split the pairs and compute the frozen features that training reads again and again."""
        torch.set_flush_denormal(True)  # numbers near the smallest float make a step up to ten times slower on CPU
        self.context = context
        held_out = self._held_out(context.seed)
        self.train_rows, self.held_out_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.epochs = Epochs(len(self.train_rows), self.options.batch, context.seed, f"{self.name} pairs")
        self.responses = self.responses.to(context.device)
        self.features = FeatureCache(self._features, self.data.images, self.options, context, self.name)
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

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rates."""
        return rate_factor(step, self.n_steps, self.options.schedule)

    def loss(self, step: int) -> "dict[str, Tensor]":
        """Squared error and cosine on a batch of pairs, plus the penalties."""
        rows = self.train_rows[self.epochs.rows(step)]
        features = self.features.batch(self.data.image_index[rows], step)
        if self.solves:
            predicted = self._folded_readout()(self.encoder.activations(features))
        else:
            with torch_numbers(self.context.seed, f"{self.name} dropout", step, self.context.device):
                predicted = self.encoder(features)
        fit = mse_cosine(predicted, self.responses[torch.from_numpy(rows)], self.options.cosine_weight)
        penalty = readout_penalty(self.encoder, self.options.penalties)
        return {"fit": fit, "penalty": penalty, "total": fit + penalty}

    def after_step(self, step: int) -> None:
        """Solve the read-out again, look at the held-out pairs now and then, and remember the best parameters."""
        if self.solves and ((step + 1) % self.options.solve_every == 0 or step + 1 == self.n_steps):
            self._solve()
        if self.holds_out and ((step + 1) % self.options.check_every == 0 or step + 1 == self.n_steps):
            self._check(step + 1)

    def finish(self, context: "TrainingContext") -> None:
        """Go back to the best step, note how well each voxel is predicted, and freeze the encoder for good."""
        if self.holds_out:
            if self.n_steps == 0:
                self._check(0)
            state = self.method.training_state
            self.encoder.load_state_dict({key.removeprefix("best."): value for key, value in state.items() if key.startswith("best.")})
            self.method.best_step = state["best_step"].cpu()
            self.method.held_out_r = correlation(self._predict_held_out(), self.responses[torch.from_numpy(self.held_out_rows)]).cpu()
            context.sink(Metric(self.name, int(self.method.best_step), "held-out r, median", float(self.method.held_out_r.nanmedian())))
        else:
            self.method.best_step = torch.tensor(self.n_steps)
        self.method.training_state = {}
        self.encoder.freeze()
        self.encoder.zero_grad(set_to_none=True)
        del self.features

    def _features(self, pictures: "Tensor") -> "list[Tensor]":
        return self.encoder.compact(self.method.backbone(pictures))

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

    def _check(self, step: int) -> None:
        measured = self.responses[torch.from_numpy(self.held_out_rows)]
        error = float(mse_cosine(self._predict_held_out(), measured, self.options.cosine_weight))
        self.context.sink(Metric(self.name, step, "held-out loss", error))
        state = self.method.training_state
        if "best_error" not in state or error < float(state["best_error"]):
            best = {f"best.{key}": value.detach().clone() for key, value in self.encoder.state_dict().items()}
            numbers = {"best_error": torch.tensor(error, dtype=torch.float32), "best_step": torch.tensor(step)}
            self.method.training_state = best | numbers

    @torch.no_grad()
    def _predict_held_out(self) -> "Tensor":
        self.encoder.eval()
        index = self.data.image_index[self.held_out_rows]
        parts = [self.encoder(self.features.plain(index[k : k + _CHUNK])) for k in range(0, len(index), _CHUNK)]
        self.encoder.train()
        return torch.cat(parts)

    def _held_out(self, seed: int) -> "NDArray[np.bool_]":
        if not self.holds_out:
            return np.zeros(len(self.data.image_index), dtype=np.bool_)
        return hold_out(self.data.groups[self.data.image_index], self.options.validation_share, seed)


class RefitPhase(EncoderPhase):
    """Train again on all pairs, for the number of steps that was best; how well voxels are predicted stays as it was measured."""

    name = "encoder refit"

    @property
    def n_steps(self) -> int:  # type: ignore[override]
        """Number of gradient steps: the best one of the phase before."""
        return int(self.method.best_step)

    @property
    def holds_out(self) -> bool:
        """Nothing is kept back."""
        return False

    def learning_rate(self, step: int) -> float:
        """Give the same factor as in the phase before."""
        return rate_factor(step, self.options.n_steps, self.options.schedule)


def hold_out(groups: "NDArray[np.int64]", share: float, seed: int) -> "NDArray[np.bool_]":
    """Choose whole groups at random until they hold about a share of the samples; mask [n] of the held-out ones.

    Raises
    ------
    ConfigError
        If there are fewer than two groups.
    """
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ConfigError(
            f"holding out groups needs at least 2 groups of training images, got {len(names)}; set encoder.validation_share to 0"
        )
    order = generator(seed, "held-out groups", 0).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]
    # the last group is never held out: something must be left to train on
    chosen = order[: max(1, min(int((before < share * len(groups)).sum()), len(names) - 1))]
    return np.isin(member, chosen)


def correlation(predicted: "Tensor", measured: "Tensor") -> "Tensor":
    """Pearson r over samples for each column, [n v] twice -> [v]; NaN where one of them is constant."""
    a, b = predicted - predicted.mean(dim=0), measured - measured.mean(dim=0)
    return (a * b).sum(dim=0) / (a.square().sum(dim=0) * b.square().sum(dim=0)).sqrt()


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
