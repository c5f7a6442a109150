"""From voxels to pixels and back: two shallow networks, the second trained on pairs, on images and on test responses at once.

Source: Beliy, Gaziv, Hoogi, Strappini, Golan, Irani 2019 (NeurIPS, arXiv:1907.02431). Clean-room: written from the paper and our own notes
on the released program, whose licence is academic non-commercial. Phase I trains E on pairs; phase II freezes it and trains D::

    pairs      r  --D--> image                against its image
    images     s  --E--> r^ --D--> image      against s, without any response
    responses  r  --D--> image --E--> r^      against r, without any image (transductive where these are test responses)

What we changed: the step of E is chosen on held-out groups of training images; every pair is seen in each epoch (the program dropped 28 %);
D sees all three sources in one batch, so that its batch normalisation has one set of statistics; E is fixed while D trains
(`decoder.encoder_stochastic` gives the program's behaviour).
"""

from typing import TYPE_CHECKING

from brain2pix.config.beliy import BeliySettings
from brain2pix.methods._beliy_phases import BeliyDecoderPhase, BeliyEncoderPhase, BeliyRefit
from brain2pix.methods._self_supervised import JudgedEncoder
from brain2pix.methods._weight_maps import read_energy, written_energy
from brain2pix.models import ShallowDecoder, ShallowEncoder, first_layer, first_layer_channels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from brain2pix.arrays import SubjectInfo
    from brain2pix.config.base import Settings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import Phase, Side


class Beliy(JudgedEncoder):
    """Encoder, decoder and what was learned of them.

    Attributes
    ----------
    encoder : ShallowEncoder or None; None for supervised training, which needs no encoder
    decoder : ShallowDecoder, the first one
    """

    name = "beliy"
    title = "Beliy et al. 2019, from voxels to pixels and back"
    encoder_settings = ("backbone", "encoder")
    options: BeliySettings
    encoder: ShallowEncoder | None
    decoder: ShallowDecoder

    def __init__(self, settings: "Settings", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        assert isinstance(settings, BeliySettings)
        super().__init__(settings, subjects, image_size)
        self.encoder = self.new_encoder() if settings.needs_encoder else None
        made = [ShallowDecoder(self.subjects[0].n_voxels, image_size, settings.decoder).eval() for _ in range(self.n_decoders)]
        self.decoder, self.decoders = made[0], [*made]

    def new_encoder(self) -> ShallowEncoder:
        """Make an encoder with a start of its own, drawn from torch's random numbers."""
        channels = first_layer_channels(self.options.backbone.name)
        return ShallowEncoder(self.subjects[0].n_voxels, channels, self.image_size, self.options.encoder).eval()

    def features(self, images: "Tensor") -> "list[Tensor]":
        """Give the backbone's first layer for images [b 3 h w]."""
        return [first_layer(self.backbone, images)]

    def weight_maps(self, side: "Side") -> "Tensor | None":
        """Give the weights of the encoder's or the decoder's linear layer."""
        if side == "decoder":
            return written_energy(self.decoders)
        return None if self.encoder is None else read_energy(self.encoder.linear_weight())

    def phases(self, data: "TrainingData") -> "Iterator[Phase]":
        """List phase I (unless nothing needs an encoder, or a trained one was adopted), its refit if wanted, and each phase II."""
        if self.encoder is not None and not self.adopted:
            yield BeliyEncoderPhase(self, data)
            if self.options.encoder.refit:
                yield BeliyRefit(self, data)
        yield from self.decoder_phases(data, BeliyDecoderPhase)

    def encode_stochastic(self, images: "Tensor") -> "Tensor":
        """Predict responses [b v] to images [b 3 h w] with the statistics of this batch and dropout; for `encoder_stochastic`."""
        assert self.encoder is not None
        predicted: Tensor = self.encoder(self.features(images), stochastic=True)
        return predicted
