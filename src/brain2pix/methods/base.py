"""The protocol that stimulation, evaluation, window and command line use with any system.

`Decoder` is what a trained system offers; `Method` adds what training needs. Both speak batches of *native* voxels: the voxels of
`SubjectInfo.voxel_index`, in that order, z-scored as the subject stores them, before any preparation (lag windows, PCA, ...).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from brain2pix.errors import ConfigError, NotSupportedError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import torch
    from torch import Tensor

    from brain2pix.arrays import RetinotopicMap, SubjectInfo, VoxelBatch
    from brain2pix.config.base import Settings
    from brain2pix.data.training import TrainingData
    from brain2pix.events import CancelToken, EventSink

Side = Literal["encoder", "decoder"]
CHOSEN_ON_TEST = "encoder chosen on test responses"  # among what a transductive system used


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
    transductive : tuple of str, uses of test responses in training, e.g. ("test responses without images", "SNR weights"); empty if none.
        Those that lie in the choice of the voxels are put before the method's own.
    folds : tuple of tuples of str, stimuli whose responses each part of the decoders never saw; a response to one of them is decoded by
        that part, any other by all. Empty for a system without parts.
    has_decoder : bool, whether it makes pictures; False for an encoder alone
    """

    name: str
    title: str
    image_size: int
    subjects: "tuple[SubjectInfo, ...]"
    has_encoder: bool
    transductive: tuple[str, ...] = ()
    folds: tuple[tuple[str, ...], ...] = ()
    has_decoder: bool = True

    def __post_init__(self) -> None:
        of_voxels = (use for subject in self.subjects for use in subject.transductive)
        object.__setattr__(self, "transductive", tuple(dict.fromkeys([*of_voxels, *self.transductive])))


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

    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Number of gradient steps."""

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
        """Update what follows the parameters (running averages, closed-form parts, ...).

        Long work checks `context.cancel`; it is then done again from its beginning when the run goes on.
        """

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

    def adopt_encoder(self, trained: "Method") -> None:
        """Take the trained encoder of another run, so that `phases` leaves the training of an encoder out.

        What follows is what training it again would give, as long as both runs have the same seed and data. A system whose losses need
        no encoder takes none.

        Parameters
        ----------
        trained : Method, of the same name, settings of the encoder and subject

        Raises
        ------
        NotSupportedError
            If the system has no encoder that could be shared.
        ConfigError
            If the other run's encoder is not the one that this system would train.
        """
        raise NotSupportedError(f"{self.name} has no encoder that another run could lend it; leave encoder_from out")

    def check_encoder_fits(self, trained: "Method", groups: "Sequence[str]") -> None:
        """Refuse the encoder of another method, subject, image size, or of other settings than this system's.

        Parameters
        ----------
        trained : Method
        groups : sequence of str, settings (groups or single ones) that decide what becomes of an encoder

        Raises
        ------
        ConfigError
        """
        if trained.name != self.name:
            raise ConfigError(f"{self.name} cannot take the encoder of {trained.name}; give a run of {self.name}")
        own, other = self.subjects[0], trained.subjects[0]
        if (own.voxel_hash, self.image_size) != (other.voxel_hash, trained.image_size):
            raise ConfigError(
                f"the encoder to take reads {other.n_voxels} voxels of {other.subject} and images of {trained.image_size} px, "
                f"this system {own.n_voxels} of {own.subject} (fingerprints {other.voxel_hash[:12]} and {own.voxel_hash[:12]}) and "
                f"{self.image_size} px; give a run on the same subject, region and image size"
            )
        if own.zscore != other.zscore:
            raise ConfigError(f"the encoder to take was trained with zscore {other.zscore!r}, not {own.zscore!r}; give a run with the same")
        wanted, found = self.settings.model_dump(include=set(groups)), trained.settings.model_dump(include=set(groups))
        differing = sorted(_differences(wanted, found))
        if differing:
            raise ConfigError(f"the encoder to take was trained with other settings: {'; '.join(differing)}; give a run with the same ones")

    def receptive_fields(self) -> "RetinotopicMap | None":
        """Say what the system itself holds to be its voxels' fields, [v]; None where it has no such parameters.

        Degrees, NaN where unknown; the quality is the system's own confidence, larger is better.
        """
        return None

    def weight_maps(self, side: "Side") -> "Tensor | None":
        """Energy of the weights with which each voxel looks at the image ("encoder") or writes into it ("decoder"), coarse.

        Parameters
        ----------
        side : str

        Returns
        -------
        Tensor, [v g g] on a grid over the image, row 0 is the top; None where the system has no such weights
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


def _differences(wanted: "dict[str, Any]", found: "dict[str, Any]", group: str = "") -> "Iterator[str]":
    """Name the settings that differ, with both values."""
    for key, value in wanted.items():
        other = found.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _differences(value, other, f"{group}{key}.")
        elif value != other:
            yield f"{group}{key} is {other}, not {value}"


class Published(Protocol):
    """What the checkpoints of a published system hold."""

    @property
    def n_voxels(self) -> int:
        """Voxels that it reads or predicts."""
        ...

    @property
    def image_size(self) -> int:
        """Edge of its images [px]."""
        ...

    def settings(self, given: "Settings", asked: "Mapping[str, Any]") -> "Settings":
        """Give the settings of the system that takes it: `given`, with what the files decide; `ConfigError` if `asked` contradicts them."""
        ...

    def fill(self, method: Method, given: "Settings") -> None:
        """Put it into an untrained system made with `settings`; `given` tells how it was trained."""
        ...

    def record(self) -> dict[str, Any]:
        """JSON values that tell where it comes from."""
        ...


@dataclass(frozen=True)
class Entry:
    """One row of the registry.

    Parameters
    ----------
    target : str, "module:Class" of the method, imported on use
    settings : str, "module:Class" of its settings
    title : str
    published : str or None, "module:function" that reads its published checkpoints: (encoder, decoder) -> `Published`
    """

    target: str
    settings: str
    title: str
    published: str | None = None
