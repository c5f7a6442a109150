"""What systems share that learn an encoder from pairs and then a decoder with its help: networks, frozen backbones, saving, lending.

A subclass makes `encoder` and `decoders`, lists its phases, and names in `encoder_settings` what decides the encoder.

There is one decoder, or one for each run (`decoder.n_runs`) of each part of the test images (`repeats.folds`); the runs of part 0 come
first. Those of a part learn without its responses and alone decode them.
"""

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.errors import ConfigError, DataFormatError, NotSupportedError, ShapeError
from brain2pix.methods._folds import Folds
from brain2pix.methods._state import check_state
from brain2pix.methods.base import CHOSEN_ON_TEST, Method, MethodInfo
from brain2pix.methods.predictions import Predictions
from brain2pix.models import FeatureNetwork, load_backbone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from brain2pix.arrays import SubjectInfo
    from brain2pix.config.beliy import BeliySettings
    from brain2pix.config.methods import GazivSettings
    from brain2pix.config.models import BackboneSettings
    from brain2pix.config.retino import RetinoSettings
    from brain2pix.data.training import RepeatedResponses, TrainingData
    from brain2pix.methods.base import Phase

    OptionsOfSystem = GazivSettings | BeliySettings | RetinoSettings

TEST_RESPONSES, SNR_WEIGHTS = "test responses without images", "SNR weights"
_USES = (TEST_RESPONSES, SNR_WEIGHTS, CHOSEN_ON_TEST)  # what `transductive` can name, in the order of its flags
_USES_OF_OTHERS = ("responses of other test images", "SNR weights of other test images", CHOSEN_ON_TEST)  # the same, with folds
_FOLDS = "folds"


class SelfSupervised(Method):
    """Encoder, decoder and what was learned of them. The frozen backbones are loaded when they are first needed.

    Attributes
    ----------
    options : the system's settings
    encoder : nn.Module or None; None for supervised training that needs no encoder
    decoder : nn.Module, the first one
    decoders : list of nn.Module
    folds : Folds, parts of the test images; empty before training, and without `repeats.folds`
    training_state : dict of Tensor, what a phase must find again after a resume; empty in a trained system
    encoder_settings : tuple of str, settings that decide what becomes of an encoder
    encoder_facts : tuple of str, attributes (Tensor) that are kept and lent with the encoder
    """

    options: "OptionsOfSystem"
    encoder: "nn.Module | None"
    decoder: "nn.Module"
    decoders: "list[nn.Module]"
    encoder_settings: ClassVar[tuple[str, ...]]
    encoder_facts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: "OptionsOfSystem", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        super().__init__(settings, subjects, image_size)
        self.uses = torch.zeros(len(_USES), dtype=torch.uint8)
        self.folds = Folds()
        self.training_state: dict[str, Tensor] = {}
        self.adopted = False
        self.options = settings
        self._backbones: dict[BackboneSettings, FeatureNetwork] = {}
        self._fingerprint: Tensor | None = None
        self._checked = False
        self._device = torch.device("cpu")

    @property
    def info(self) -> MethodInfo:
        """What the system is and which voxels it reads."""
        names = _USES_OF_OTHERS if self.folds.ids else _USES
        used = tuple(name for name, flag in zip(names, self.uses.tolist(), strict=True) if flag)
        has_encoder = self.encoder is not None
        return MethodInfo(self.name, self.title, self.image_size, self.subjects, has_encoder, used, self.folds.ids, self.has_decoder)

    @property
    def has_decoder(self) -> bool:
        """Whether a decoder is trained."""
        return self.options.decoder.n_steps > 0

    @property
    def n_parts(self) -> int:
        """Parts of the test images that have decoders of their own; 1 where no test response is used: there is nothing to divide."""
        return max(1, self.options.repeats.folds) if self.options.weight_fmri else 1

    @property
    def n_decoders(self) -> int:
        """Decoders that are trained: runs of each part."""
        return self.n_parts * self.options.decoder.n_runs

    @property
    def backbone(self) -> FeatureNetwork:
        """Frozen network under the encoder."""
        network = self._load(self.options.backbone)
        if self._checked:
            return network
        found = fingerprint(network)
        if self._fingerprint is not None and not torch.equal(self._fingerprint, found):
            raise DataFormatError(
                f"the weights of backbone {self.options.backbone.name!r} are not those this model was trained with; "
                "give the original weight file (backbone.weights) or train again"
            )
        self._fingerprint, self._checked = found, True
        return network

    @property
    def perceptual_network(self) -> FeatureNetwork:
        """Frozen network of the perceptual loss."""
        return self._load(self.options.image_loss.backbone)

    def adopt_encoder(self, trained: Method) -> None:
        """Take the encoder of another run of this method, and what is known of it; `phases` then leaves its training out."""
        self.check_encoder_fits(trained, self.encoder_settings)
        assert isinstance(trained, SelfSupervised)
        if self.encoder is None:
            return
        if trained.encoder is None:
            raise ConfigError("the run to take an encoder from was trained on pairs only and has none; give one with weight_images above 0")
        self.encoder.load_state_dict(trained.encoder.state_dict())
        self.freeze_encoder()
        for name in self.encoder_facts:
            setattr(self, name, getattr(trained, name).clone())
        self._fingerprint, self._checked = trained._fingerprint, False
        if trained.uses[_USES.index(CHOSEN_ON_TEST)]:
            self.mark_use(CHOSEN_ON_TEST)
        self.adopted = True

    def features(self, images: "Tensor") -> "list[Tensor]":
        """Give what the encoder reads of images [b 3 h w]."""
        found: list[Tensor] = self.backbone(images)
        return found

    def freeze_encoder(self) -> None:
        """Take the encoder out of training."""
        assert self.encoder is not None
        self.encoder.requires_grad_(False).eval()

    def decode(self, voxels: "VoxelBatch") -> "Tensor":
        """Reconstruct images, [b 3 h w], float32 in 0..1."""
        if not self.has_decoder:
            raise NotSupportedError(
                f"this {self.name} model has an encoder only (decoder.n_steps 0): it makes no pictures; train or import one with a decoder"
            )
        self.check_voxels(voxels)
        values = voxels.values.to(self._device, torch.float32)
        parts = self.folds.of(voxels.stimulus_ids or ("",) * len(values))
        if (parts < 0).all():
            images = self.pictures(values, range(self.n_decoders))
        else:
            rows = [np.flatnonzero(parts == part) for part in np.unique(parts)]
            made = [self.pictures(values[torch.from_numpy(some)], self._decoders_of(int(parts[some[0]]))) for some in rows]
            images = torch.cat(made)[torch.from_numpy(np.argsort(np.concatenate(rows)))]
        return images.clamp(0, 1).expand(-1, 3, -1, -1)

    def pictures(self, values: "Tensor", numbers: "Sequence[int]") -> "Tensor":
        """Mean of the pictures that some decoders make of responses [b v]; [b c h w]."""
        return torch.stack([self.decoders[number](values).float() for number in numbers]).mean(dim=0)

    def decoder_of(self, number: int) -> "nn.Module":
        """Give the module that holds one decoder."""
        return self.decoders[number]

    def decoder_name(self, number: int) -> str:
        """Name of a decoder's phase, and of its random numbers: "decoder" for the only one."""
        part, run = divmod(number, self.options.decoder.n_runs)
        if self.n_parts == 1:
            return f"decoder {run + 1}" if run else "decoder"
        return f"decoder fold {part + 1}" + (f" run {run + 1}" if run else "")

    def decoder_phases(self, data: "TrainingData", make: "Callable[[Any, TrainingData, int, Predictions], Phase]") -> "Iterator[Phase]":
        """List phase II, once for each decoder; all share what the encoder says of images without responses."""
        if self.options.decoder.n_steps:
            predictions = Predictions()
            for number in range(self.n_decoders):
                yield make(self, data, number, predictions)

    def divide(self, repeats: "RepeatedResponses | None") -> None:
        """Decide which decoders may not see the responses to which test images, if any.

        Raises
        ------
        ConfigError
            If the test images cannot be divided into as many parts.
        """
        if self.n_parts > 1:
            self.folds = Folds.divide(repeats, self.n_parts)

    def hidden_images(self, number: int, repeats: "RepeatedResponses") -> "list[int]":
        """Numbers of the test images whose responses a decoder may not see."""
        if self.n_parts == 1:
            return []
        part = number // self.options.decoder.n_runs
        return [int(image) for image in np.flatnonzero(self.folds.of(repeats.stimulus_ids) == part)]

    def _decoders_of(self, part: int) -> range:
        """List the decoders that decode responses to stimuli of a part; all of them for stimuli of none (-1)."""
        n_runs = self.options.decoder.n_runs
        return range(self.n_decoders) if part < 0 else range(part * n_runs, (part + 1) * n_runs)

    def encode(self, images: "Tensor") -> VoxelBatch:
        """Predict the responses to images [b 3 h w] in 0..1; differentiable with respect to the images."""
        if self.encoder is None:
            raise NotSupportedError(
                f"this {self.name} model was trained on pairs only and has no encoder; train with weight_images or weight_fmri above 0"
            )
        if images.shape[1:] != (3, self.image_size, self.image_size):
            raise ShapeError(f"{self.name} reads images [b 3 {self.image_size} {self.image_size}], got {tuple(images.shape)}")
        predicted = self.encoder(self.features(images.to(self._device)))
        return VoxelBatch(predicted, (self.subjects[0].subject,) * len(images), self.subjects[0].unit)

    def encoder_state(self) -> "dict[str, Tensor]":
        """Give the encoder, what is known of it, and the fingerprint of the frozen network that it reads; empty without an encoder."""
        if self.encoder is None:
            return {}
        state = {f"encoder.{key}": value for key, value in self.encoder.state_dict().items()}
        state |= {name: getattr(self, name) for name in self.encoder_facts}
        return state | {"backbone": self._fingerprint if self._fingerprint is not None else torch.zeros(32, dtype=torch.uint8)}

    def state_dict(self) -> "dict[str, Tensor]":
        """Give everything that training changed; the frozen backbone only by its fingerprint."""
        state = {
            f"{_prefix(number)}{key}": value for number, decoder in enumerate(self.decoders) for key, value in decoder.state_dict().items()
        }
        state |= self.encoder_state()
        state["transductive"] = self.uses
        if self.n_parts > 1:
            state[_FOLDS] = self.folds.to_tensor()
        return state | {f"training.{key}": value for key, value in self.training_state.items()}

    def load_state_dict(self, state: "dict[str, Tensor]") -> None:
        """Take what `state_dict` gave."""
        lasting = {key: value for key, value in state.items() if not key.startswith("training.")}
        expected = {key: value for key, value in self.state_dict().items() if not key.startswith("training.")}
        unknown_uses = self.uses.numel() - lasting.get("transductive", self.uses).numel()
        if unknown_uses > 0:  # earlier versions knew fewer
            lasting["transductive"] = torch.nn.functional.pad(lasting["transductive"], (0, unknown_uses))
        if _FOLDS in expected and _FOLDS in lasting:
            expected[_FOLDS] = lasting[_FOLDS]  # as long as the names in it
        check_state(expected, lasting, self.name)
        self.training_state = {key[9:]: value.to(self._device) for key, value in state.items() if key.startswith("training.")}
        for number, decoder in enumerate(self.decoders):
            decoder.load_state_dict(part(lasting, _prefix(number)))
        if _FOLDS in lasting:
            self.folds = Folds.from_tensor(lasting[_FOLDS], self.n_parts)
        self.uses = lasting["transductive"].cpu().clone()
        if self.encoder is not None:
            self.encoder.load_state_dict(part(lasting, "encoder."))
            self.freeze_encoder()
            for name in self.encoder_facts:
                setattr(self, name, lasting[name].cpu().clone())
            self._fingerprint = lasting["backbone"].cpu().clone() if lasting["backbone"].any() else None
            self._checked = False

    def to(self, device: torch.device) -> None:
        """Move the system to a device."""
        self._device = device
        for module in (self.encoder, *self.decoders, *self._backbones.values()):
            if module is not None:
                module.to(device)
        self.training_state = {key: value.to(device) for key, value in self.training_state.items()}

    def mark_use(self, name: str) -> None:
        """Note a use of test responses, for `info.transductive`."""
        self.uses[_USES.index(name)] = 1

    def _load(self, settings: "BackboneSettings") -> FeatureNetwork:
        if settings not in self._backbones:
            self._backbones[settings] = load_backbone(settings.name, settings.weights, settings.seed).to(self._device)
        return self._backbones[settings]


class JudgedEncoder(SelfSupervised):
    """A system whose encoder is judged on held-out groups of training images.

    Attributes
    ----------
    held_out_r : Tensor, [v], correlation of predicted and measured responses on held-out training groups; NaN before phase I
    best_step : Tensor, step of phase I that predicted them best
    """

    encoder_facts = ("held_out_r", "best_step")

    def __init__(self, settings: "OptionsOfSystem", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        super().__init__(settings, subjects, image_size)
        self.held_out_r = torch.full((self.subjects[0].n_voxels,), torch.nan)
        self.best_step = torch.zeros((), dtype=torch.int64)

    def held_out_quality(self) -> "NDArray[np.float32] | None":
        """Give the encoder's held-out r of each voxel, [v], or None if there is none."""
        return None if bool(self.held_out_r.isnan().all()) else self.held_out_r.cpu().numpy()


def _prefix(number: int) -> str:
    """Begin the names of a decoder's tensors; those of the first are the same with and without others."""
    return f"decoders.{number}." if number else "decoder."


def part(state: "dict[str, Tensor]", prefix: str) -> "dict[str, Tensor]":
    """Select the tensors whose names begin with a prefix, and cut it off."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def fingerprint(network: FeatureNetwork) -> "Tensor":
    """SHA-256 over a network's weights, as 32 bytes."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
