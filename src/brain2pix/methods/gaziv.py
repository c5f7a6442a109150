"""Self-supervised decoding: an encoder from images to voxels first, then a decoder that may also learn without pairs.

Source: Gaziv, Beliy, Granot, Hoogi, Strappini, Golan, Irani 2022 (NeuroImage 254, 119121). Clean-room: written from the paper and our own
notes on the released code, whose licence is academic non-commercial. Phase I trains E on pairs. Phase II freezes E and trains D on up to
three losses at once::

    pairs      r  --D--> image                against its image
    images     s  --E--> r^ --D--> image      against s, without any response
    responses  r  --D--> image --E--> r^      against r, without any image (transductive where these are test responses)

What we changed: the step of E is chosen on held-out groups of training images, never on the test set; E(s) is computed once; closed-form
starts (`start`) make training possible on two cores; the losses are brought to the same size as the paper says (`balance`).
"""

import hashlib
from typing import TYPE_CHECKING

import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.config.methods import GazivSettings
from brain2pix.errors import ConfigError, DataFormatError, NotSupportedError, ShapeError
from brain2pix.methods._gaziv_decoder import DecoderPhase
from brain2pix.methods._gaziv_encoder import EncoderPhase, RefitPhase
from brain2pix.methods._state import check_state
from brain2pix.methods.base import Method, MethodInfo, Phase
from brain2pix.models import (
    AlexNetFeatures,
    ConvDecoder,
    FeatureNetwork,
    ResidualFeatures,
    SeparableEncoder,
    TinyBackbone,
    VGG16Features,
    VGG19Features,
    load_backbone,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from brain2pix.arrays import SubjectInfo
    from brain2pix.config.base import Settings
    from brain2pix.config.models import BackboneSettings
    from brain2pix.data.training import TrainingData

_ARCHITECTURES: "dict[str, Callable[[], FeatureNetwork]]" = {
    "tiny": TinyBackbone,
    "random": TinyBackbone,
    "random_residual": ResidualFeatures,
    "vgg16": VGG16Features,
    "vgg19": VGG19Features,
    "alexnet": AlexNetFeatures,
}
_USES = ("test responses without images", "SNR weights")  # what `transductive` can name, in the order of its flags


class Gaziv(Method):
    """Encoder, decoder and what was learned of them. The frozen backbones are loaded when they are first needed.

    Attributes
    ----------
    encoder : SeparableEncoder or None; None for supervised training, which needs no encoder
    decoder : ConvDecoder
    held_out_r : Tensor, [v], correlation of predicted and measured responses on held-out training groups; NaN before phase I
    training_state : dict of Tensor, what a phase must find again after a resume; empty in a trained system
    """

    name = "gaziv"
    title = "Gaziv et al. 2022, self-supervised"

    def __init__(self, settings: "Settings", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        super().__init__(settings, subjects, image_size)
        assert isinstance(settings, GazivSettings)
        self.options = settings
        n_voxels = self.subjects[0].n_voxels
        self.encoder = self.new_encoder() if settings.needs_encoder else None
        self.decoder = ConvDecoder(n_voxels, image_size, settings.decoder).eval()
        self.held_out_r = torch.full((n_voxels,), torch.nan)
        self.best_step = torch.zeros((), dtype=torch.int64)
        self.uses = torch.zeros(len(_USES), dtype=torch.uint8)
        self.training_state: dict[str, Tensor] = {}
        self._backbones: dict[BackboneSettings, FeatureNetwork] = {}
        self._fingerprint: Tensor | None = None
        self._checked = False
        self._device = torch.device("cpu")
        self._adopted = False

    def new_encoder(self) -> SeparableEncoder:
        """Make an encoder with a start of its own, drawn from torch's random numbers."""
        with torch.device("meta"):
            shapes = _ARCHITECTURES[self.options.backbone.name]().tap_shapes(self.image_size)
        return SeparableEncoder(self.subjects[0].n_voxels, shapes, self.image_size, self.options.encoder).eval()

    @property
    def info(self) -> MethodInfo:
        """What the system is and which voxels it reads."""
        used = tuple(name for name, flag in zip(_USES, self.uses.tolist(), strict=True) if flag)
        return MethodInfo(self.name, self.title, self.image_size, self.subjects, self.encoder is not None, used)

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

    def phases(self, data: "TrainingData") -> "Iterator[Phase]":
        """List phase I (unless nothing needs an encoder, or a trained one was adopted), its refit if wanted, and phase II."""
        if self.encoder is not None and not self._adopted:
            yield EncoderPhase(self, data)
            if self.options.encoder.refit:
                yield RefitPhase(self, data)
        if self.options.decoder.n_steps:
            yield DecoderPhase(self, data)

    def adopt_encoder(self, trained: Method) -> None:
        """Take the encoder of another gaziv run with how well it predicts, and leave phase I out."""
        self.check_encoder_fits(trained, ("backbone", "start", "encoder"))
        assert isinstance(trained, Gaziv)
        if self.encoder is None:
            return
        if trained.encoder is None:
            raise ConfigError("the run to take an encoder from was trained on pairs only and has none; give one with weight_images above 0")
        self.encoder.load_state_dict(trained.encoder.state_dict())
        self.encoder.freeze()
        self.held_out_r, self.best_step = trained.held_out_r.clone(), trained.best_step.clone()
        self._fingerprint, self._checked = trained._fingerprint, False
        self._adopted = True

    def decode(self, voxels: "VoxelBatch") -> "Tensor":
        """Reconstruct images, [b 3 h w], float32 in 0..1."""
        self.check_voxels(voxels)
        images: Tensor = self.decoder(voxels.values.to(self._device, torch.float32)).float()
        return images.clamp(0, 1).expand(-1, 3, -1, -1)

    def encode(self, images: "Tensor") -> VoxelBatch:
        """Predict the responses to images [b 3 h w] in 0..1; differentiable with respect to the images."""
        if self.encoder is None:
            raise NotSupportedError(
                "this gaziv model was trained on pairs only and has no encoder; train with weight_images or weight_fmri above 0"
            )
        if images.shape[1:] != (3, self.image_size, self.image_size):
            raise ShapeError(f"{self.name} reads images [b 3 {self.image_size} {self.image_size}], got {tuple(images.shape)}")
        predicted = self.encoder(self.backbone(images.to(self._device)))
        return VoxelBatch(predicted, (self.subjects[0].subject,) * len(images), self.subjects[0].unit)

    def held_out_quality(self) -> "NDArray[np.float32] | None":
        """Give the encoder's held-out r of each voxel, [v], or None if there is none."""
        return None if bool(self.held_out_r.isnan().all()) else self.held_out_r.cpu().numpy()

    def state_dict(self) -> "dict[str, Tensor]":
        """Give everything that training changed; the frozen backbone only by its fingerprint."""
        state = {f"decoder.{key}": value for key, value in self.decoder.state_dict().items()}
        if self.encoder is not None:
            state |= {f"encoder.{key}": value for key, value in self.encoder.state_dict().items()}
            state |= {"held_out_r": self.held_out_r, "best_step": self.best_step}
            state["backbone"] = self._fingerprint if self._fingerprint is not None else torch.zeros(32, dtype=torch.uint8)
        state["transductive"] = self.uses
        return state | {f"training.{key}": value for key, value in self.training_state.items()}

    def load_state_dict(self, state: "dict[str, Tensor]") -> None:
        """Take what `state_dict` gave."""
        lasting = {key: value for key, value in state.items() if not key.startswith("training.")}
        check_state({key: value for key, value in self.state_dict().items() if not key.startswith("training.")}, lasting, self.name)
        self.training_state = {key[9:]: value.to(self._device) for key, value in state.items() if key.startswith("training.")}
        self.decoder.load_state_dict(part(lasting, "decoder."))
        self.uses = lasting["transductive"].cpu().clone()
        if self.encoder is not None:
            self.encoder.load_state_dict(part(lasting, "encoder."))
            self.encoder.freeze()
            self.held_out_r, self.best_step = lasting["held_out_r"].cpu().clone(), lasting["best_step"].cpu().clone()
            self._fingerprint = lasting["backbone"].cpu().clone() if lasting["backbone"].any() else None
            self._checked = False

    def to(self, device: torch.device) -> None:
        """Move the system to a device."""
        self._device = device
        for module in (self.encoder, self.decoder, *self._backbones.values()):
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
