"""Losses and penalties as pure functions; a perceptual loss is handed its features."""

from brain2pix.losses.perceptual import block_distance, perceptual_loss, scaled_features, unit_vectors
from brain2pix.losses.pixel import channel_scale, scaled_l1, tv
from brain2pix.losses.regularisers import (
    decoder_group_lasso,
    inverse_snr_weights,
    l1,
    map_variation,
    neighbour_group_lasso,
    neighbour_mean,
    second_moment,
)
from brain2pix.losses.voxel import alpha_mse_cosine, mse_cosine, snr_l1_cosine, snr_weights

__all__ = [
    "alpha_mse_cosine",
    "block_distance",
    "channel_scale",
    "decoder_group_lasso",
    "inverse_snr_weights",
    "l1",
    "map_variation",
    "mse_cosine",
    "neighbour_group_lasso",
    "neighbour_mean",
    "perceptual_loss",
    "scaled_features",
    "scaled_l1",
    "second_moment",
    "snr_l1_cosine",
    "snr_weights",
    "tv",
    "unit_vectors",
]
