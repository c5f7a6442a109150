import numpy as np
import pytest
import torch

from brain2pix.config.retino import LocalMapSettings
from brain2pix.methods._local_map import ResponseMoments, contrast_pictures, distance_penalty, solve_blocks


def test_the_penalty_is_free_within_reach_rises_with_distance_and_ends():
    settings = LocalMapSettings(size=8, blocks=4, reach_deg=1.0, distance=2.0, cap=3.0)
    penalty = distance_penalty(torch.tensor([[4.5, 4.5], [0.0, 0.0]]), torch.tensor([0.5, 2.0]), settings, 12.0)
    assert penalty.shape == (16, 2)
    upper_right = 3  # row 0, last column: its centre lies at (4.5, 4.5)
    assert penalty[upper_right, 0] == 0
    assert penalty[12, 0] == pytest.approx(2 * 9)  # the opposite corner is beyond the cap
    beside = penalty[2, 0]  # 3 degrees to the left: (3 / 1.5 - 1)^2 = 1
    assert beside == pytest.approx(2.0)
    assert penalty[upper_right, 1] == pytest.approx(2 * (np.hypot(4.5, 4.5) / 3 - 1) ** 2)


def test_blocks_solve_the_penalised_least_squares_problem_and_pass_into_each_other():
    rng = np.random.default_rng(0)
    responses, picture = rng.standard_normal((60, 5)), rng.standard_normal((60, 3, 6, 6))
    penalty = rng.uniform(0, 2, (4, 5))
    covariance, cross = responses.T @ responses / 60, np.einsum("nv,ncyx->vcyx", responses, picture) / 60
    ours = solve_blocks(*(torch.from_numpy(part) for part in (covariance, cross, penalty)), blocks=2).numpy()
    expected = np.zeros((5, 3, 6, 6))
    towards_second = np.interp(np.arange(6), [1, 4], [0, 1])  # pixels 1 and 4 are the middles of the blocks
    for number in range(4):
        # the same minimum, written as ordinary least squares with one more row for each penalty
        stacked = np.vstack([responses, np.diag(np.sqrt(60 * penalty[number]))])
        theirs, *_ = np.linalg.lstsq(stacked, np.vstack([picture.reshape(60, -1), np.zeros((5, 108))]), rcond=None)
        down, across = (towards_second if second else 1 - towards_second for second in divmod(number, 2))
        expected += theirs.reshape(5, 3, 6, 6) * np.outer(down, across)
    np.testing.assert_allclose(ours, expected, atol=1e-10)


def test_moments_of_chunks_equal_numpy():
    rng = np.random.default_rng(0)
    responses, pictures = rng.standard_normal((50, 4)).astype(np.float32), rng.standard_normal((50, 3, 2, 2)).astype(np.float32)
    moments = ResponseMoments()
    for chunk in (slice(0, 20), slice(20, 50)):
        moments.add(torch.from_numpy(responses[chunk]), torch.from_numpy(pictures[chunk]))
    both = np.hstack([responses, pictures.reshape(50, -1)])
    np.testing.assert_allclose(moments.means(), both.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(moments.covariances(), np.cov(both, rowvar=False, ddof=0)[:4], atol=1e-6)


def test_contrast_is_found_where_the_edge_is():
    images = torch.zeros(1, 3, 8, 8)
    images[:, :, :, 6:] = 1  # a vertical edge in the right half
    across, down = contrast_pictures(images, 2)[0]
    assert (across[:, 1] > 0).all() and (across[:, 0] == 0).all()
    assert (down == 0).all()
    assert across[0, 1] == pytest.approx((1 / 4) ** 0.5)  # one column of four carries a difference of 1
