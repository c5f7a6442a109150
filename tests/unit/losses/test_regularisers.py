"""Penalties against sums by hand and scipy.ndimage."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from brain2pix.errors import ShapeError
from brain2pix.losses import (
    decoder_group_lasso,
    inverse_snr_weights,
    l1,
    map_variation,
    neighbour_group_lasso,
    neighbour_mean,
    second_moment,
)

FOUR = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
EIGHT = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]) / 8
SCIPY_MODES = {"reflect": "mirror", "symmetric": "reflect"}  # scipy's names differ


def test_l1_adds_up_all_tensors() -> None:
    assert l1([torch.tensor([1.0, -2.0]), torch.tensor([[-3.0]])]).item() == 6


def test_one_point_has_no_spread() -> None:
    maps = torch.zeros(2, 8, 8)
    maps[0, 2, 5] = 3
    maps[1, 7, 0] = -1
    assert second_moment(maps).item() == pytest.approx(0, abs=1e-9)


def test_spread_of_two_points_by_hand() -> None:
    # amplitudes 1 and 2 at (y, x) = (1, 1) and (1, 4): W = 1 and 4, centroid x = 17/5, sum W d^2 = (12/5)^2 + 4 (3/5)^2 = 7.2
    maps = torch.zeros(1, 8, 8)
    maps[0, 1, 1], maps[0, 1, 4] = 1, -2
    assert second_moment(maps).item() == pytest.approx(7.2 / (2 * 8))
    # along y it is the same, and a second voxel without spread halves the mean
    assert second_moment(torch.cat([maps.transpose(1, 2), torch.zeros(1, 8, 8)])).item() == pytest.approx(7.2 / 16 / 2)


def test_spread_matches_a_sum_over_the_grid_and_has_finite_gradients() -> None:
    maps = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = 0.0
    for power in maps.square().numpy():
        cy, cx = ndimage.center_of_mass(power)
        y, x = np.mgrid[:6, :6]
        expected += (power * ((x - cx) ** 2 + (y - cy) ** 2)).sum() / 12 / 3
    assert second_moment(maps).item() == pytest.approx(expected)
    empty = torch.zeros(2, 6, 6, requires_grad=True)
    second_moment(empty).backward()
    assert empty.grad is not None and empty.grad.isfinite().all()


@pytest.mark.parametrize("padding", ["reflect", "symmetric"])
@pytest.mark.parametrize(("count", "kernel"), [(4, FOUR), (8, EIGHT)])
def test_neighbour_mean_agrees_with_scipy(padding: str, count: int, kernel: np.ndarray) -> None:
    maps = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    ours = neighbour_mean(maps, count, padding).numpy()  # type: ignore[arg-type]
    for one, map_ in zip(ours, maps.numpy(), strict=True):
        np.testing.assert_allclose(one, ndimage.correlate(map_.astype(float), kernel, mode=SCIPY_MODES[padding]), rtol=1e-5)


def test_space_maps_are_penalised_by_their_neighbours_not_by_themselves() -> None:
    maps = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    squares = maps.double().numpy() ** 2
    groups = sum(np.sqrt(ndimage.correlate(one, FOUR, mode="mirror")).sum() for one in squares)
    expected = 5e-6 * np.abs(maps.numpy()).sum() + 1e-5 * groups
    assert neighbour_group_lasso(maps).item() == pytest.approx(expected, rel=1e-4)
    # an inner point alone: four neighbours see 1/4 of its square each
    point = torch.zeros(1, 7, 7)
    point[0, 3, 3] = 2
    assert neighbour_group_lasso(point, 0, 1).item() == pytest.approx(4 * 1, rel=1e-4)


def test_group_penalties_have_finite_gradients_at_zero() -> None:
    maps = torch.zeros(1, 5, 5, requires_grad=True)
    weight = torch.zeros(2, 4, 4, 3, requires_grad=True)
    (neighbour_group_lasso(maps) + decoder_group_lasso(weight)).backward()
    assert maps.grad is not None and maps.grad.isfinite().all()
    assert weight.grad is not None and weight.grad.isfinite().all()


def test_variation_of_maps_by_hand() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 1] = -3  # four edges of height 3
    assert map_variation(maps).item() == pytest.approx(12 / 2)


@pytest.mark.parametrize(("count", "kernel", "padding"), [(8, EIGHT, "reflect"), (4, FOUR, "symmetric")])
def test_decoder_penalty_equals_the_formula_that_averages_channels_last(count: int, kernel: np.ndarray, padding: str) -> None:
    weight = torch.randn(5, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    inverse = torch.tensor([0.5, 1.0, 1.5])
    squares = weight.double().numpy() ** 2
    blended = np.empty_like(squares)
    for c in range(5):
        for v in range(3):
            near = ndimage.correlate(squares[c, :, :, v], kernel, mode=SCIPY_MODES[padding])
            blended[c, :, :, v] = (squares[c, :, :, v] + 0.5 * near) / 1.5
    expected = 40 * np.mean(np.abs(weight.numpy()) * inverse.numpy()) + 400 * np.sqrt(blended.mean(0)).mean()
    ours = decoder_group_lasso(weight, inverse, neighbours=count, padding=padding).item()  # type: ignore[arg-type]
    assert ours == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("view", ["stored", "permuted"])
@pytest.mark.parametrize("in_cache", [1 << 16, 12])  # all rows of a channel at once, and two of three
def test_decoder_penalty_has_the_gradient_of_its_differences(view: str, in_cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brain2pix.losses.regularisers._IN_CACHE", in_cache)
    numbers = torch.randn(5, 3, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    inverse = torch.tensor([0.5, 1.5], dtype=torch.float64)

    def penalty(given: torch.Tensor) -> torch.Tensor:
        weight = given if view == "stored" else given.transpose(0, 3).contiguous().permute(3, 1, 2, 0)
        return decoder_group_lasso(weight, inverse)

    assert torch.autograd.gradcheck(penalty, numbers)


def test_decoder_penalty_wants_a_grid() -> None:
    with pytest.raises(ShapeError, match=r"must be \[c h w v\], got \(4, 3\)"):
        decoder_group_lasso(torch.zeros(4, 3))


def test_inverse_snr_weights_average_to_one_and_stay_finite() -> None:
    weights = inverse_snr_weights(torch.tensor([1.0, 2.0, 4.0]))
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[0] / weights[2]).item() == pytest.approx(4)
    assert inverse_snr_weights(torch.tensor([0.0, -1.0, 1.0, 1.0, 1.0])).isfinite().all()
