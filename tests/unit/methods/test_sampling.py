import numpy as np
import pytest
import torch

from brain2pix.config.methods import RepeatSettings, ScheduleSettings
from brain2pix.data.training import RepeatedResponses
from brain2pix.errors import ConfigError
from brain2pix.methods._sampling import Epochs, RepeatSampler, torch_numbers
from brain2pix.methods._schedule import rate_factor


def repeats(counts, n_voxels=3):
    """Trial k has the value k everywhere, so that an average says which trials went into it."""
    index = np.repeat(np.arange(len(counts)), counts)
    values = np.repeat(np.arange(len(index), dtype=np.float32)[:, None], n_voxels, axis=1)
    return RepeatedResponses(values, index)


def test_each_epoch_holds_each_row_once():
    epochs = Epochs(10, 4, seed=0, stream="a")
    drawn = np.concatenate([epochs.rows(step) for step in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_rows_follow_from_seed_stream_and_step_alone():
    first = Epochs(100, 7, 0, "a").rows(31)
    np.testing.assert_array_equal(first, Epochs(100, 7, 0, "a").rows(31))
    assert first.tolist() != Epochs(100, 7, 1, "a").rows(31).tolist()
    assert first.tolist() != Epochs(100, 7, 0, "b").rows(31).tolist()


def test_batch_larger_than_the_data():
    assert sorted(Epochs(3, 6, 0, "a").rows(0)) == [0, 0, 1, 1, 2, 2]


def test_fixed_share_of_35_repeats_is_11_different_ones():
    sampler = RepeatSampler(repeats([35] * 4), RepeatSettings(), 4, seed=0)
    rng = np.random.default_rng(0)
    for image in range(4):
        subset = sampler.subset(image, rng)
        assert len(subset) == len(set(subset.tolist())) == 11
        assert set(subset.tolist()) <= set(range(35 * image, 35 * image + 35))


def test_bernoulli_keeps_a_third_on_average_and_never_nothing():
    sampler = RepeatSampler(repeats([35, 1]), RepeatSettings(mode="bernoulli"), 2, seed=0)
    rng = np.random.default_rng(0)
    sizes = np.array([len(sampler.subset(0, rng)) for _ in range(2000)])
    assert abs(sizes.mean() - 35 / 3) < 3 * sizes.std() / np.sqrt(2000)
    assert sizes.min() >= 1 and sizes.std() > 1
    assert all(len(sampler.subset(1, rng)) == 1 for _ in range(50))


def test_fixed_share_of_one_or_two_repeats_is_one():
    sampler = RepeatSampler(repeats([1, 2, 3]), RepeatSettings(), 3, seed=0)
    rng = np.random.default_rng(0)
    assert [len(sampler.subset(image, rng)) for image in range(3)] == [1, 1, 1]


def test_all_repeats_give_the_mean_and_the_image_it_belongs_to():
    data = repeats([2, 5, 3])
    sampler = RepeatSampler(data, RepeatSettings(mode="all"), 3, seed=0)
    values, images = sampler.draw(0)
    assert sorted(images) == [0, 1, 2] and values.dtype == np.float32
    np.testing.assert_allclose(values, data.mean()[images])


def test_excluded_images_are_never_drawn():
    sampler = RepeatSampler(repeats([4] * 6), RepeatSettings(exclude=(1, 4)), 5, seed=0)
    seen = np.concatenate([sampler.draw(step)[1] for step in range(40)])
    assert set(seen.tolist()) == {0, 2, 3, 5}


def test_max_repeats_leaves_later_trials_unused():
    sampler = RepeatSampler(repeats([9, 9]), RepeatSettings(mode="all", max_repeats=2), 2, seed=0)
    values, images = sampler.draw(3)
    np.testing.assert_allclose(values[:, 0], np.where(images == 0, 0.5, 9.5))


def test_draws_follow_from_seed_and_step():
    make = lambda seed: RepeatSampler(repeats([8] * 5), RepeatSettings(), 4, seed)  # noqa: E731
    np.testing.assert_array_equal(make(0).draw(7)[0], make(0).draw(7)[0])
    assert not np.array_equal(make(0).draw(7)[0], make(1).draw(7)[0])


def test_exclusions_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"names images \[9\], there are images 0\.\.1"):
        RepeatSampler(repeats([2, 2]), RepeatSettings(exclude=(9,)), 2, 0)
    with pytest.raises(ConfigError, match="leaves no image"):
        RepeatSampler(repeats([2, 2]), RepeatSettings(exclude=(0, 1)), 2, 0)


def test_torch_numbers_leave_the_outside_alone():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with torch_numbers(0, "a", 1, torch.device("cpu")):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(4), expected)
    with torch_numbers(0, "a", 1, torch.device("cpu")):
        assert torch.equal(torch.rand(4), inside)


def test_schedules():
    def rates(settings, n=100):
        return np.array([rate_factor(step, n, settings) for step in range(n)])

    assert rates(ScheduleSettings()).tolist() == [1.0] * 100
    steps = rates(ScheduleSettings(kind="steps", milestones=(0.4, 0.6), factor=0.1))
    np.testing.assert_allclose(steps[[0, 39, 40, 59, 60, 99]], [1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = rates(ScheduleSettings(kind="cosine", floor=0.1))
    assert cosine[0] == 1 and abs(cosine[50] - 0.55) < 1e-9 and 0.1 < cosine[99] < 0.102
    tail = rates(ScheduleSettings(kind="tail", milestones=(0.5,), floor=0.02, warm_up=4))
    np.testing.assert_allclose(tail[[0, 1, 4, 50, 75]], [0.2, 0.4, 1, 1, 0.51])
    assert np.all(np.diff(tail[50:]) < 0)
    cycles = rates(ScheduleSettings(kind="cosine", cycles=2))
    np.testing.assert_allclose(cycles, np.tile(rates(ScheduleSettings(kind="cosine"), 50), 2))


def test_schedules_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        ScheduleSettings(kind="steps", milestones=(0.5, 2.0))
    with pytest.raises(ValueError, match="needs milestones"):
        ScheduleSettings(kind="tail")
