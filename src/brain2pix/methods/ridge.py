"""Ridge regression from voxels to a small image: the baseline that every network must beat.

Trained on pairs it is "ridge on pairs"; given responses that an encoder predicted for unpaired images it is "ridge on E(unpaired)".
Closed form, in the smaller of the two shapes of the problem.
"""

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from brain2pix.config.methods import RidgeSettings
from brain2pix.events import Metric
from brain2pix.methods._linear import RidgePath, choose_penalty
from brain2pix.methods._pictures import shrink
from brain2pix.methods._state import check_state
from brain2pix.methods.base import Method, MethodInfo, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from brain2pix.arrays import SubjectInfo, VoxelBatch
    from brain2pix.config.base import Settings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import TrainingContext


class Ridge(Method):
    """Linear decoder: image = voxels @ weight + offset, enlarged bilinearly and clipped to 0..1."""

    name = "ridge"
    title = "Ridge regression (baseline)"

    def __init__(self, settings: "Settings", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        super().__init__(settings, subjects, image_size)
        assert isinstance(settings, RidgeSettings)
        self.options = settings
        self.size = min(settings.size, image_size)
        self.weight = torch.zeros(self.subjects[0].n_voxels, 3 * self.size**2)  # [v d]
        self.offset = torch.full((3 * self.size**2,), 0.5)
        self.penalty = torch.zeros(())

    @property
    def info(self) -> MethodInfo:
        """What the system is and which voxels it reads."""
        return MethodInfo(self.name, self.title, self.image_size, self.subjects, has_encoder=False)

    def phases(self, data: "TrainingData") -> "Iterator[Phase]":
        """List the one phase, which needs no steps."""
        yield RidgePhase(self, data)

    def decode(self, voxels: "VoxelBatch") -> "Tensor":
        """Reconstruct images, [b 3 h w], float32 in 0..1."""
        self.check_voxels(voxels)
        pixels = voxels.values.to(self.weight) @ self.weight + self.offset
        images = pixels.reshape(-1, 3, self.size, self.size)
        if self.size != self.image_size:
            images = functional.interpolate(images, size=self.image_size, mode="bilinear", align_corners=False)
        return images.clamp(0, 1)

    def state_dict(self) -> "dict[str, Tensor]":
        """Give the linear map and the penalty it was made with."""
        return {"weight": self.weight, "offset": self.offset, "penalty": self.penalty}

    def load_state_dict(self, state: "dict[str, Tensor]") -> None:
        """Take what `state_dict` gave."""
        check_state(self.state_dict(), state, self.name)
        self.weight, self.offset, self.penalty = (state[key].to(self.weight) for key in ("weight", "offset", "penalty"))

    def to(self, device: torch.device) -> None:
        """Move the linear map to a device."""
        self.weight, self.offset, self.penalty = (part.to(device) for part in (self.weight, self.offset, self.penalty))


class RidgePhase(Phase):
    """Choose the penalty on held-out photos unless it is given, then solve."""

    name = "ridge"
    n_steps = 0

    def __init__(self, method: Ridge, data: "TrainingData") -> None:
        self.method = method
        self.data = data

    def initialise(self, context: "TrainingContext") -> None:
        """Solve in closed form."""
        method, data, options = self.method, self.data, self.method.options
        targets = shrink(data.images, method.size).flatten(1).numpy()[data.image_index]  # [n d]
        context.cancel.check()
        penalty = options.penalty
        if penalty is None:
            groups = data.groups[data.image_index]
            penalty, errors = choose_penalty(data.responses, targets, groups, options.penalties, options.n_folds, context.cancel.check)
            for step, (tried, error) in enumerate(zip(options.penalties, errors, strict=True)):
                context.sink(Metric(self.name, step, f"held-out squared error, penalty {tried:g}", float(error)))
        context.cancel.check()
        fit = RidgePath(data.responses, targets).solve(penalty)
        method.weight = torch.from_numpy(fit.weight).to(context.device)
        method.offset = torch.from_numpy(fit.offset).to(context.device)
        method.penalty = torch.tensor(penalty, dtype=torch.float32, device=context.device)

    def optimizer(self) -> None:
        """Give none: `initialise` completes the phase."""
        return

    def loss(self, step: int) -> "dict[str, Tensor]":
        """Refuse: there are no steps."""
        raise AssertionError("ridge has no training steps")
