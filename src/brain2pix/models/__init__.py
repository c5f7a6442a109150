"""Networks as plain modules: frozen feature backbones, the separable encoder, the convolutional decoder. No training code."""

from brain2pix.models.backbones import backbone_names, first_layer_channels, load_backbone, tap_shapes
from brain2pix.models.decoders import ConvDecoder
from brain2pix.models.encoders import FoldedReadout, SeparableEncoder
from brain2pix.models.feature_networks import (
    AlexNetFeatures,
    CaffeAlexNetFeatures,
    FeatureNetwork,
    ResidualFeatures,
    TinyBackbone,
    VGG16Features,
    VGG19Features,
)
from brain2pix.models.field_encoder import FieldEncoder
from brain2pix.models.local_decoder import LocalDecoder
from brain2pix.models.shallow import ShallowDecoder, ShallowEncoder, first_layer
from brain2pix.models.weights import WeightsCard, card_names, download_weights, read_card, weights_folder

__all__ = [
    "AlexNetFeatures",
    "CaffeAlexNetFeatures",
    "ConvDecoder",
    "FeatureNetwork",
    "FieldEncoder",
    "FoldedReadout",
    "LocalDecoder",
    "ResidualFeatures",
    "SeparableEncoder",
    "ShallowDecoder",
    "ShallowEncoder",
    "TinyBackbone",
    "VGG16Features",
    "VGG19Features",
    "WeightsCard",
    "backbone_names",
    "card_names",
    "download_weights",
    "first_layer",
    "first_layer_channels",
    "load_backbone",
    "read_card",
    "tap_shapes",
    "weights_folder",
]
