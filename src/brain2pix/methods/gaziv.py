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

from typing import TYPE_CHECKING

from brain2pix.config.methods import GazivSettings
from brain2pix.methods._gaziv_decoder import GazivDecoderPhase
from brain2pix.methods._gaziv_encoder import GazivEncoderPhase, GazivRefit
from brain2pix.methods._self_supervised import JudgedEncoder
from brain2pix.methods._weight_maps import separable_energy, written_energy
from brain2pix.models import ConvDecoder, SeparableEncoder, tap_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from brain2pix.arrays import SubjectInfo
    from brain2pix.config.base import Settings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import Phase, Side


class Gaziv(JudgedEncoder):
    """Encoder, decoder and what was learned of them.

    Attributes
    ----------
    encoder : SeparableEncoder or None; None for supervised training, which needs no encoder
    decoder : ConvDecoder, the first one
    """

    name = "gaziv"
    title = "Gaziv et al. 2022, self-supervised"
    encoder_settings = ("backbone", "start", "encoder")
    options: GazivSettings
    encoder: SeparableEncoder | None
    decoder: ConvDecoder

    def __init__(self, settings: "Settings", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        assert isinstance(settings, GazivSettings)
        super().__init__(settings, subjects, image_size)
        n_voxels = self.subjects[0].n_voxels
        self.encoder = self.new_encoder() if settings.needs_encoder else None
        made = [ConvDecoder(n_voxels, image_size, settings.decoder).eval() for _ in range(self.n_decoders)]
        self.decoder, self.decoders = made[0], [*made]

    def new_encoder(self) -> SeparableEncoder:
        """Make an encoder with a start of its own, drawn from torch's random numbers."""
        shapes = tap_shapes(self.options.backbone.name, self.image_size)
        return SeparableEncoder(self.subjects[0].n_voxels, shapes, self.image_size, self.options.encoder).eval()

    def freeze_encoder(self) -> None:
        """Take the encoder out of training and fold its read-out."""
        assert self.encoder is not None
        self.encoder.freeze()

    def weight_maps(self, side: "Side") -> "Tensor | None":
        """Give the space maps, weighted by what is read through them; or the decoder's linear layer."""
        if side == "decoder":
            return written_energy(self.decoders)
        return None if self.encoder is None else separable_energy(self.encoder)

    def phases(self, data: "TrainingData") -> "Iterator[Phase]":
        """List phase I (unless nothing needs an encoder, or a trained one was adopted), its refit if wanted, and each phase II."""
        if self.encoder is not None and not self.adopted:
            yield GazivEncoderPhase(self, data)
            if self.options.encoder.refit:
                yield GazivRefit(self, data)
        yield from self.decoder_phases(data, GazivDecoderPhase)
