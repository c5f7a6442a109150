"""The protocol that stimulation, evaluation, window and command line use with any system.

`Decoder` is what a trained system offers; `Method` adds what training needs. Both speak batches of *native* voxels: the voxels of
`SubjectInfo.voxel_index`, in that order, z-scored as the subject stores them, before any preparation (lag windows, PCA, ...).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from brain2pix.errors import NotSupportedError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch
    from torch import Tensor

    from brain2pix.arrays import RetinotopicMap, SubjectInfo, VoxelBatch
    from brain2pix.config.base import Settings
    from brain2pix.data.training import TrainingData
    from brain2pix.events import CancelToken, EventSink


@dataclass(frozen=True)
class MethodInfo:
    """What a trained system says of itself.

    Parameters
    ----------
    name : str, name in the registry
    title : str, for people
    image_size : int, edge of the images it makes [px]
    subjects : tuple of SubjectInfo, whose voxels it can decode
    has_encoder : bool
    transductive : tuple of str, uses of test responses in training, e.g. ("test responses without images", "SNR weights"); empty if none
    """

    name: str
    title: str
    image_size: int
    subjects: "tuple[SubjectInfo, ...]"
    has_encoder: bool
    transductive: tuple[str, ...] = ()


class Decoder(Protocol):
    """What stimulation, evaluation and window may use."""

    @property
    def info(self) -> MethodInfo:
        """What the system is and which voxels it reads."""
        ...

    def decode(self, voxels: "VoxelBatch") -> "Tensor":
        """Reconstruct images, [b 3 h w], float32 in 0..1."""
        ...

    def encode(self, images: "Tensor") -> "VoxelBatch":
        """Predict the responses to images [b 3 h w] in 0..1; `NotSupportedError` where the system has no encoder."""
        ...


@dataclass(frozen=True)
class TrainingContext:
    """What a system needs from its surroundings while it trains: a place, an ear and a way to be stopped."""

    device: "torch.device"
    seed: int
    sink: "EventSink"
    cancel: "CancelToken"


class Phase(ABC):
    """One stretch of training: what is optimised, how often, with which loss.

    The engine calls `prepare` at the start and again after a resume, `initialise` only when the phase starts fresh, then `loss` once a
    step. The data of step `k` must follow from (seed, phase, k) alone, so that a resumed run sees what the uninterrupted one saw.
    """

    name: str
    n_steps: int

    def prepare(self, context: TrainingContext) -> None:
        """Compute what stays fixed during the phase (caches of frozen features, ...)."""

    def initialise(self, context: TrainingContext) -> None:
        """Closed-form start of the parameters. Long work checks `context.cancel`."""

    @abstractmethod
    def optimizer(self) -> "torch.optim.Optimizer | None":
        """Make the optimizer; None for a phase that `initialise` completes (then `n_steps` is 0)."""

    def learning_rate(self, step: int) -> float:
        """Give the factor on the optimizer's base rates at a step."""
        return 1.0

    @abstractmethod
    def loss(self, step: int) -> "dict[str, Tensor]":
        """Compute the loss terms of one step; "total" is what is minimised."""

    def after_step(self, step: int) -> None:
        """Update what follows the parameters (running averages, ...)."""

    def preview(self) -> "Tensor | None":
        """Pictures that show the state, [b 3 h w] in 0..1, or None."""
        return None

    def finish(self, context: TrainingContext) -> None:
        """Complete the phase after its last step (fold the readout, recompute statistics, ...)."""


class Method(ABC):
    """A system that can be trained, saved and used as a `Decoder`.

    Parameters
    ----------
    settings : the system's own settings
    subjects : sequence of SubjectInfo
    image_size : int, edge of the images [px]
    """

    name: str
    title: str

    def __init__(self, settings: "Settings", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        self.settings = settings
        self.subjects = tuple(subjects)
        self.image_size = image_size

    @property
    @abstractmethod
    def info(self) -> MethodInfo:
        """What the system is and which voxels it reads."""

    @abstractmethod
    def phases(self, data: "TrainingData") -> "Iterable[Phase]":
        """List the stretches of training, in order. Each may rely on what the ones before it left in the system."""

    @abstractmethod
    def decode(self, voxels: "VoxelBatch") -> "Tensor":
        """Reconstruct images, [b 3 h w], float32 in 0..1."""

    def encode(self, images: "Tensor") -> "VoxelBatch":
        """Predict responses; systems without an encoder raise `NotSupportedError`."""
        raise NotSupportedError(f"{self.name} has no encoder: it cannot predict responses. Choose a method with one, e.g. gaziv.")

    def receptive_fields(self) -> "RetinotopicMap | None":
        """Say what the system itself holds to be its voxels' fields, [v]; None where it has no such parameters.

        Degrees, NaN where unknown; the quality is the system's own confidence, larger is better.
        """
        return None

    @abstractmethod
    def state_dict(self) -> "dict[str, Tensor]":
        """Everything that training changed, as tensors."""

    @abstractmethod
    def load_state_dict(self, state: "dict[str, Tensor]") -> None:
        """Take what `state_dict` gave."""

    def to(self, device: "torch.device") -> None:
        """Move the system to a device."""

    def check_voxels(self, voxels: "VoxelBatch") -> None:
        """Refuse a batch of another size than the system was made for.

        Raises
        ------
        ShapeError
        """
        expected = self.subjects[0].n_voxels
        if voxels.n_voxels != expected:
            raise ShapeError(
                f"{self.name} was trained on {expected} voxels of {self.subjects[0].subject}, the batch has {voxels.n_voxels}; "
                "select the model's voxels with its voxel_index first"
            )


@dataclass(frozen=True)
class Entry:
    """One row of the registry.

    Parameters
    ----------
    target : str, "module:Class" of the method, imported on use
    settings : str, "module:Class" of its settings
    title : str
    """

    target: str
    settings: str
    title: str
