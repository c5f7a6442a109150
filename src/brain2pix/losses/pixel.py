"""Losses between images, and the smoothness of one image."""

from torch import Tensor

_SMALLEST_SCALE = 1e-6


def tv(images: Tensor) -> Tensor:
    """Total variation, mean of (dx^2 + dy^2)^1.25 over the pixels that have both neighbours.

    Parameters
    ----------
    images : Tensor, [b c h w]

    Returns
    -------
    Tensor, scalar

    References
    ----------
    .. [1] Gaziv et al. 2022, doi:10.1016/j.neuroimage.2022.119121; the exponent is the released code's.
    """
    dx = images[..., :-1, 1:] - images[..., :-1, :-1]
    dy = images[..., 1:, :-1] - images[..., :-1, :-1]
    return (dx.square() + dy.square()).pow(1.25).mean()


def channel_scale(images: Tensor) -> Tensor:
    """Mean absolute value of each channel over images [b c h w], at least 1e-6; [c]."""
    return images.abs().mean(dim=(0, 2, 3)).clamp_min(_SMALLEST_SCALE)


def scaled_l1(images: Tensor, targets: Tensor, scale: Tensor) -> Tensor:
    """Mean absolute difference in units of each channel's scale.

    Parameters
    ----------
    images, targets : Tensor, [b c h w]
    scale : Tensor, [c], see `channel_scale`

    Returns
    -------
    Tensor, scalar
    """
    return ((images - targets).abs() / scale.view(1, -1, 1, 1)).mean()
