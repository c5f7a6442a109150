"""Phase I of the self-supervised systems: an encoder learns from pairs; held-out groups of training images say when it is best."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from brain2pix.errors import ConfigError
from brain2pix.events import Metric
from brain2pix.methods._features import FeatureCache, ShiftSettings
from brain2pix.methods._sampling import Epochs, generator, take_rows
from brain2pix.methods._schedule import rate_factor
from brain2pix.methods.base import Phase

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from brain2pix.config.methods import ScheduleSettings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods._self_supervised import JudgedEncoder
    from brain2pix.methods.base import TrainingContext

_CHUNK = 64  # images that are predicted at once


class LearningSettings(ShiftSettings, Protocol):
    """Settings of an encoder's training that all systems have."""

    @property
    def n_steps(self) -> int:
        """Gradient steps."""
        ...

    @property
    def batch(self) -> int:
        """Pairs per step."""
        ...

    @property
    def schedule(self) -> "ScheduleSettings":
        """Learning rate over the steps."""
        ...

    @property
    def validation_share(self) -> float:
        """Share of the training groups that is held out; 0: none."""
        ...

    @property
    def check_every(self) -> int:
        """Steps between looks at the held-out groups."""
        ...


class EncoderPhase(Phase):
    """Train on the pairs whose group is not held out, and keep the step that predicts the held-out pairs best.

    The test set is never looked at, other than in the published programs.

    Parameters
    ----------
    method : JudgedEncoder
    data : TrainingData
    encoder : nn.Module, features -> responses [b v]
    settings : LearningSettings
    """

    name = "encoder"

    def __init__(self, method: "JudgedEncoder", data: "TrainingData", encoder: "nn.Module", settings: LearningSettings) -> None:
        self.method, self.data, self.network, self.learning = method, data, encoder, settings
        self.responses = torch.from_numpy(data.responses)

    @property
    def n_steps(self) -> int:
        """Number of gradient steps."""
        return self.learning.n_steps

    @property
    def holds_out(self) -> bool:
        """Whether some groups are kept back to judge the encoder."""
        return self.learning.validation_share > 0

    def prepare(self, context: "TrainingContext") -> None:
        """Split the pairs and compute the frozen features that training reads again and again."""
        torch.set_flush_denormal(True)  # numbers near the smallest float make a step up to ten times slower on CPU
        self.context = context
        held_out = self._held_out(context.seed)
        self.train_rows, self.held_out_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.epochs = Epochs(len(self.train_rows), self.learning.batch, context.seed, f"{self.name} pairs")
        self.responses = self.responses.to(context.device)
        self.features = FeatureCache(self._features, self.data.images, self.learning, context, self.name)
        self.network.requires_grad_(True).train()

    def learning_rate(self, step: int) -> float:
        """Give the factor on the base rates."""
        return rate_factor(step, self.n_steps, self.learning.schedule)

    def loss(self, step: int) -> "dict[str, Tensor]":
        """Misfit on a batch of pairs, plus the penalties."""
        rows = self.train_rows[self.epochs.rows(step)]
        predicted = self._predict(self.features.batch(self.data.image_index[rows], step), step)
        fit = self._fit(predicted, take_rows(self.responses, rows))
        penalty = self._penalty()
        return {"fit": fit, "penalty": penalty, "total": fit + penalty}

    def after_step(self, step: int) -> None:
        """Look at the held-out pairs now and then, and remember the best parameters."""
        if self.holds_out and ((step + 1) % self.learning.check_every == 0 or step + 1 == self.n_steps):
            self._check(step + 1)

    def finish(self, context: "TrainingContext") -> None:
        """Go back to the best step, note how well each voxel is predicted, and freeze the encoder for good."""
        if self.holds_out:
            if self.n_steps == 0:
                self._check(0)
            state = self.method.training_state
            self.network.load_state_dict({key.removeprefix("best."): value for key, value in state.items() if key.startswith("best.")})
            self.method.best_step = state["best_step"].cpu()
            self.method.held_out_r = correlation(self._predict_held_out(), self.responses[torch.from_numpy(self.held_out_rows)]).cpu()
            context.sink(Metric(self.name, int(self.method.best_step), "held-out r, median", float(self.method.held_out_r.nanmedian())))
        else:
            self.method.best_step = torch.tensor(self.n_steps)
        self.method.training_state = {}
        self.method.freeze_encoder()
        self.network.zero_grad(set_to_none=True)
        del self.features

    @abstractmethod
    def _features(self, pictures: "Tensor") -> "list[Tensor]":
        """Frozen features that are worth keeping, of pictures [b 3 h w]."""

    @abstractmethod
    def _predict(self, features: "list[Tensor]", step: int) -> "Tensor":
        """Responses [b v] as training sees them, with dropout."""

    @abstractmethod
    def _fit(self, predicted: "Tensor", measured: "Tensor") -> "Tensor":
        """Misfit of responses, [b v] each; scalar."""

    @abstractmethod
    def _penalty(self) -> "Tensor":
        """Penalty on the encoder's weights; scalar."""

    def _check(self, step: int) -> None:
        measured = self.responses[torch.from_numpy(self.held_out_rows)]
        error = float(self._fit(self._predict_held_out(), measured))
        self.context.sink(Metric(self.name, step, "held-out loss", error))
        state = self.method.training_state
        if "best_error" not in state or error < float(state["best_error"]):
            best = {f"best.{key}": value.detach().clone() for key, value in self.network.state_dict().items()}
            numbers = {"best_error": torch.tensor(error, dtype=torch.float32), "best_step": torch.tensor(step)}
            self.method.training_state = best | numbers

    @torch.no_grad()
    def _predict_held_out(self) -> "Tensor":
        self.network.eval()
        index = self.data.image_index[self.held_out_rows]
        parts = [self.network(self.features.plain(index[k : k + _CHUNK])) for k in range(0, len(index), _CHUNK)]
        self.network.train()
        return torch.cat(parts)

    def _held_out(self, seed: int) -> "NDArray[np.bool_]":
        if not self.holds_out:
            return np.zeros(len(self.data.image_index), dtype=np.bool_)
        return hold_out(self.data.groups[self.data.image_index], self.learning.validation_share, seed)


class Refit(EncoderPhase):
    """Train again on all pairs, for the number of steps that was best; how well voxels are predicted stays as it was measured.

    To be mixed into the phase of a system, before it.
    """

    name = "encoder refit"

    @property
    def n_steps(self) -> int:
        """Number of gradient steps: the best one of the phase before."""
        return int(self.method.best_step)

    @property
    def holds_out(self) -> bool:
        """Nothing is kept back."""
        return False

    def learning_rate(self, step: int) -> float:
        """Give the same factor as in the phase before."""
        return rate_factor(step, self.learning.n_steps, self.learning.schedule)


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
