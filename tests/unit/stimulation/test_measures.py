import numpy as np
import pytest
import torch

from brain2pix.errors import ShapeError
from brain2pix.stimulation import change_energy, disc_weights, pixel_centres_deg, quadrant_share, quadrant_weights, share_within

QUADRANTS = ("upper_right", "upper_left", "lower_left", "lower_right")


def test_energy_is_the_sum_of_squared_colour_changes(rng: np.random.Generator) -> None:
    first, second = rng.uniform(size=(2, 3, 4, 4)), rng.uniform(size=(2, 3, 4, 4))
    energy = change_energy(first, second)
    assert energy.shape == (2, 4, 4)
    assert energy[1, 2, 3] == pytest.approx(sum((second[1, c, 2, 3] - first[1, c, 2, 3]) ** 2 for c in range(3)))
    tensor = torch.from_numpy(first).requires_grad_()
    assert change_energy(tensor, torch.from_numpy(second)) == pytest.approx(energy)


def test_upper_right_is_the_top_rows_and_the_right_columns() -> None:
    energy = np.zeros((1, 8, 8))
    energy[0, 1, 6] = 3  # row 1 = near the top, column 6 = near the right edge
    assert [float(quadrant_share(energy, quadrant)[0]) for quadrant in QUADRANTS] == [1, 0, 0, 0]
    energy[0, 6, 6] = 1
    assert [float(quadrant_share(energy, quadrant)[0]) for quadrant in QUADRANTS] == [0.75, 0, 0, 0.25]


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (6, 9)])
def test_four_quadrants_share_everything_evenly(shape: tuple[int, int], rng: np.random.Generator) -> None:
    assert sum(quadrant_weights(quadrant, *shape) for quadrant in QUADRANTS) == pytest.approx(np.ones(shape))
    uniform = np.ones((1, *shape))
    assert [float(quadrant_share(uniform, quadrant)[0]) for quadrant in QUADRANTS] == pytest.approx([0.25] * 4)


def test_no_change_has_no_share() -> None:
    assert np.isnan(quadrant_share(np.zeros((2, 4, 4)), "upper_left")).all()


def test_pixels_lie_where_the_convention_says() -> None:
    x, y = pixel_centres_deg(4, 6, 12.0)
    assert x == pytest.approx([-5, -3, -1, 1, 3, 5])
    assert y == pytest.approx([4.5, 1.5, -1.5, -4.5])


def test_disc_covers_its_area_at_its_place() -> None:
    weights = disc_weights(3.0, -2.0, 1.5, 240, 12.0)
    assert weights.mean() * 144 == pytest.approx(np.pi * 1.5**2, rel=0.02)
    rows, columns = np.nonzero(weights)
    assert ((columns.mean() + 0.5) / 240 - 0.5) * 12 == pytest.approx(3, abs=0.05)
    assert (0.5 - (rows.mean() + 0.5) / 240) * 12 == pytest.approx(-2, abs=0.05)
    assert share_within(weights[None], weights) == pytest.approx(1)


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"two batches of RGB images \[b 3 h w\] of the same shape, got \(1, 8, 8, 3\)"):
        change_energy(np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)))
    with pytest.raises(ShapeError, match=r"energy must be \[b h w\] and the weights \[h w\]"):
        share_within(np.zeros((1, 8, 8)), np.zeros((4, 4)))
