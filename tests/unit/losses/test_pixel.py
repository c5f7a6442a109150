"""Image losses against values worked out by hand."""

import math

import pytest
import torch

from brain2pix.losses import channel_scale, scaled_l1, tv


@pytest.mark.parametrize("slope", [0.1, -0.3, 2.0])
@pytest.mark.parametrize("axis", [2, 3])
def test_variation_of_a_ramp_is_its_slope_to_the_power_two_and_a_half(slope: float, axis: int) -> None:
    shape = [1, 1, 1, 1]
    shape[axis] = 9
    ramp = (slope * torch.arange(9.0)).view(shape).expand(2, 3, 9, 9)
    assert tv(ramp).item() == pytest.approx(abs(slope) ** 2.5, rel=1e-5)


def test_variation_of_an_oblique_ramp_takes_both_directions() -> None:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    assert tv((3 * x + 4 * y).view(1, 1, 6, 6)).item() == pytest.approx(5**2.5, rel=1e-5)


def test_variation_of_a_flat_image_is_zero_with_a_finite_gradient() -> None:
    flat = torch.full((1, 3, 5, 5), 0.4, requires_grad=True)
    tv(flat).backward()
    assert tv(flat).item() == 0
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_each_channel_counts_in_units_of_its_own_mean() -> None:
    targets = torch.stack([torch.full((4, 4), 0.1), torch.full((4, 4), 0.5), torch.full((4, 4), 1.0)]).unsqueeze(0)
    scale = channel_scale(targets)
    assert torch.allclose(scale, torch.tensor([0.1, 0.5, 1.0]))
    # each channel off by its own mean: a difference of 1 in each
    assert scaled_l1(2 * targets, targets, scale).item() == pytest.approx(1)
    assert scaled_l1(targets + torch.tensor([0.1, 0, 0]).view(1, 3, 1, 1), targets, scale).item() == pytest.approx(1 / 3)
    assert scaled_l1(targets, targets, scale).item() == 0


def test_a_black_channel_gives_no_infinity() -> None:
    black = torch.zeros(1, 3, 4, 4)
    assert math.isfinite(scaled_l1(black, black, channel_scale(black)).item())
