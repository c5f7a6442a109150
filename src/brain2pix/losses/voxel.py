"""Losses between predicted and measured responses. The cosine is taken across voxels within each sample."""

from torch import Tensor
from torch.nn import functional as nnf


def mse_cosine(predicted: Tensor, measured: Tensor, cosine_weight: float = 0.3) -> Tensor:
    """Mean squared error plus weight x (1 - cosine) / 2, the released code's encoder loss.

    Parameters
    ----------
    predicted, measured : Tensor, [b v]
    cosine_weight : float

    Returns
    -------
    Tensor, scalar

    References
    ----------
    .. [1] Gaziv et al. 2022, doi:10.1016/j.neuroimage.2022.119121.
    """
    return (predicted - measured).square().mean() + cosine_weight * _one_minus_cosine(predicted, measured)


def alpha_mse_cosine(predicted: Tensor, measured: Tensor, alpha: float = 0.9) -> Tensor:
    """Blend alpha x mean squared error - (1 - alpha) x cosine, as the papers' text gives it; scalar.

    References
    ----------
    .. [1] Beliy et al. 2019 (arXiv:1907.02431), alpha = 0.9; Gaziv et al. 2022 do not give alpha.
    """
    cosine = nnf.cosine_similarity(predicted, measured, dim=1).mean()
    return alpha * (predicted - measured).square().mean() - (1 - alpha) * cosine


def snr_l1_cosine(predicted: Tensor, measured: Tensor, snr: Tensor | None = None, cosine_weight: float = 0.2) -> Tensor:
    """Mean absolute error weighted by each voxel's SNR plus weight x (1 - cosine) / 2, the released code's loss on responses.

    Parameters
    ----------
    predicted, measured : Tensor, [b v]
    snr : Tensor or None, [v], signal-to-noise ratios divided by their mean (`snr_weights`); None = all 1
    cosine_weight : float

    Returns
    -------
    Tensor, scalar
    """
    error = (predicted - measured).abs()
    if snr is not None:
        error = error * snr
    return error.mean() + cosine_weight * _one_minus_cosine(predicted, measured)


def snr_weights(snr: Tensor) -> Tensor:
    """Signal-to-noise ratios divided by their mean over voxels, negative ones set to 0; [v]."""
    snr = snr.clamp_min(0)
    return snr / snr.mean().clamp_min(1e-12)


def _one_minus_cosine(predicted: Tensor, measured: Tensor) -> Tensor:
    return (1 - nnf.cosine_similarity(predicted, measured, dim=1).mean()) / 2
