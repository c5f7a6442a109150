"""Ours: receptive fields that a network finds by itself, a decoder that draws voxels where they look, and no mapping scan.

It joins two ideas of the field: Brain2Pix (Le et al. 2021) paints a voxel's response into the visual field where a mapping experiment
found its receptive field; Gaziv et al. 2022 train a decoder on images without responses with the help of an encoder. Here the encoder
finds the fields, and they confine the decoder::

    encoder   r_v = sum_c w_vc sum_yx f_v[y, x] A_c[y, x]     A: image, frozen features -> shared convolutions, by gradient
                                                              f, w: empirical-Bayes posterior (`_empirical_bayes.py`)
    decoder   r --linear map, voxels pay for distance from f_v (`_local_map.py`)--> small pictures --U-Net--> image
    losses    images     s --E--> r^ + noise --D--> image     against s: absolute and perceptual difference
              responses  r --D--> image --E--> r^             against r, without any image (transductive where these are test responses)
              pairs      r --D--> image                       off by default: pairs train the encoder; "supervised" runs use them alone

What is published: feature-weighted receptive fields (St-Yves & Naselaris 2018), empirical Bayes, the Wiener filter, U-Nets, perceptual
losses. What is ours: the weight prior shared by voxels and candidates, the distance penalty from fields so found, and their union.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from brain2pix.arrays import RetinotopicMap
from brain2pix.config.retino import RetinoSettings
from brain2pix.methods._local_map import distance_penalty
from brain2pix.methods._retino_decoder import LocalDecoderPhase
from brain2pix.methods._retino_encoder import FieldEncoderPhase
from brain2pix.methods._self_supervised import SelfSupervised
from brain2pix.models import FieldEncoder, LocalDecoder, tap_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from brain2pix.arrays import SubjectInfo
    from brain2pix.config.base import Settings
    from brain2pix.data.training import TrainingData
    from brain2pix.methods.base import Phase


class Retino(SelfSupervised):
    """Encoder, decoder and what was learned of them.

    Attributes
    ----------
    encoder : FieldEncoder
    decoder : LocalDecoder
    """

    name = "retino"
    title = "Ours: fields by empirical Bayes, local decoder"
    encoder_settings = ("backbone", "encoder")
    options: RetinoSettings
    encoder: FieldEncoder
    decoder: LocalDecoder

    def __init__(self, settings: "Settings", subjects: "Sequence[SubjectInfo]", image_size: int) -> None:
        assert isinstance(settings, RetinoSettings)
        super().__init__(settings, subjects, image_size)
        self.encoder = self.new_encoder()
        self.decoder = LocalDecoder(self.subjects[0].n_voxels, image_size, settings.decoder, self.n_parts).eval()
        self.decoders = [self.decoder]  # one module for all of them: they share the linear map

    def new_encoder(self) -> FieldEncoder:
        """Make an encoder with a start of its own, drawn from torch's random numbers."""
        shapes = tap_shapes(self.options.backbone.name, self.image_size)
        return FieldEncoder(self.subjects[0].n_voxels, shapes, self.image_size, self.options.encoder).eval()

    def features(self, images: "Tensor") -> "list[Tensor]":
        """Give what the encoder reads of images [b 3 h w]: themselves, and the backbone's deeper features."""
        return self.encoder.inputs(images, super().features(images))

    def phases(self, data: "TrainingData") -> "Iterator[Phase]":
        """List the encoder (unless a trained one was adopted) and each network of the decoder."""
        if not self.adopted:
            yield FieldEncoderPhase(self, data)
        if data.unpaired is None:  # what the encoder says of the training images carries no noise and is many times better than nothing
            data = dataclasses.replace(data, unpaired=data.images)
        yield from self.decoder_phases(data, LocalDecoderPhase)

    def pictures(self, values: "Tensor", numbers: "Sequence[int]") -> "Tensor":
        """Mean of the pictures that some networks make of responses [b v]; [b 3 h w]."""
        made: Tensor = self.decoder(values, numbers)
        return made.float()

    def decoder_of(self, number: int) -> LocalDecoder:
        """Give the module that holds all networks."""
        return self.decoder

    def receptive_fields(self) -> RetinotopicMap:
        """Give the posterior means of the voxels' fields; the quality is how sure the posterior is of the centre, 0..1."""
        x, y, sigma = self._fields_deg()
        spread_deg = self.encoder.summary[:, 3].cpu().numpy() * np.float32(self._field_of_view_deg)
        return RetinotopicMap(
            x.cpu().numpy(),
            y.cpu().numpy(),
            sigma.cpu().numpy(),
            quality=(1 / (1 + spread_deg**2)).astype(np.float32),
            field_of_view_deg=self._field_of_view_deg,
            quality_name="certainty of the centre, 1 / (1 + (spread / deg)^2)",
            source="field posterior of retino",
        )

    def distance_penalty(self) -> "Tensor":
        """Penalty of each voxel in each block of the decoder's pictures, [blocks^2 v]."""
        x, y, sigma = self._fields_deg()
        return distance_penalty(torch.stack([x, y], dim=1), sigma, self.options.decoder.linear, self._field_of_view_deg)

    @property
    def _field_of_view_deg(self) -> float:
        return self.subjects[0].field_of_view_deg

    def _fields_deg(self) -> "tuple[Tensor, Tensor, Tensor]":
        """Centres, x to the right and y up, and sigma, [v] each, in degrees."""
        column, row, sigma = self.encoder.summary[:, :3].T * self._field_of_view_deg
        return column - self._field_of_view_deg / 2, self._field_of_view_deg / 2 - row, sigma
