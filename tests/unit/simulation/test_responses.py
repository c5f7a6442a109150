from functools import lru_cache

import numpy as np
import pytest
import torch

from brain2pix.config.base import resolve
from brain2pix.config.simulation import SimulationSettings
from brain2pix.events import Cancelled
from brain2pix.simulation.channels import channel_maps
from brain2pix.simulation.images import make_stimuli
from brain2pix.simulation.responses import (
    AUTOCORRELATION,
    _factors,
    _loadings,
    expected_ceiling,
    fit_forward,
    flush_denormal,
    make_trials,
    measure,
    noise_free,
    receptive_fields,
)
from brain2pix.simulation.voxels import make_voxels

FOV = 12.0
SETTINGS = resolve(
    SimulationSettings,
    "simulation",
    "tiny",
    changes={
        "image_size": 64,
        "n_train": 150,
        "n_test": 50,
        "n_repeats": 35,
        "n_validation": 12,
        "n_category_train": 36,
        "n_category_test": 60,
        "n_category_repeats": 10,
    },
)


@lru_cache
def _simulated():
    voxels, stimuli = make_voxels(SETTINGS), make_stimuli(SETTINGS)
    forward = fit_forward(voxels, stimuli.images[stimuli.rows("train")], SETTINGS)
    signal = noise_free(forward, stimuli.images, stimuli.table["category"].tolist())
    return voxels, stimuli, forward, signal, measure(voxels, signal, stimuli, SETTINGS)


def test_channels_are_divided_by_their_mean_over_training_images():
    _, stimuli, forward, _, _ = _simulated()
    train = stimuli.images[stimuli.rows("train")]
    mean = channel_maps(train, FOV).mean(dim=(0, 2, 3)).numpy()
    assert np.allclose(forward.channel_mean, mean, rtol=1e-4)


def test_a_voxel_pools_compresses_and_weighs_as_the_sheet_says():
    """One voxel of each area, summed pixel by pixel in plain Python."""
    voxels, stimuli, forward, signal, _ = _simulated()
    image = stimuli.rows("test")[3]
    maps = channel_maps(stimuli.images[image : image + 1], FOV)[0].double().numpy()
    pixel = FOV / 32
    for area in (1, 2, 3):
        voxel = np.flatnonzero((voxels.area == area) & voxels.in_scope)[7]
        sigma = voxels.sigma_deg[voxel]
        total = 0.0
        for row in range(32):
            for column in range(32):
                x, y = ((column + 0.5) / 32 - 0.5) * FOV, (0.5 - (row + 0.5) / 32) * FOV
                squared = (x - voxels.x0_deg[voxel]) ** 2 + (y - voxels.y0_deg[voxel]) ** 2
                gauss = np.exp(-squared / (2 * sigma**2)) / (2 * np.pi * sigma**2) * pixel**2
                total += gauss * np.dot(voxels.channel_weight[voxel], maps[:, row, column] / forward.channel_mean)
        exponent = {1: 0.8, 2: 0.65, 3: 0.55}[area]
        assert signal[image, voxel] == pytest.approx((total + 0.02) ** exponent, rel=1e-3)


def test_voxels_answer_to_a_spot_where_their_field_is():
    """White spots on black, each in one place: the best spot is the one nearest to the centre."""
    voxels, _, forward, _, _ = _simulated()
    places = [(x, y) for x in (-4, -1.5, 1.5, 4) for y in (-4, -1.5, 1.5, 4)]
    axis = (np.arange(64) + 0.5) / 64 * FOV - FOV / 2
    spots = [(np.hypot(axis[None, :] - x, -axis[:, None] - y) < 1.2) * 255 for x, y in places]
    images = np.repeat(np.stack(spots)[..., None], 3, axis=3).astype(np.uint8)
    best = np.array(places)[noise_free(forward, images, ["photo"] * len(images)).argmax(axis=0)]
    rows = voxels.in_scope & (np.hypot(voxels.x0_deg, voxels.y0_deg) > 1.5)
    assert (np.sign(best[rows, 0]) == np.sign(voxels.x0_deg[rows]))[np.abs(voxels.x0_deg[rows]) > 1].mean() > 0.97
    assert (np.sign(best[rows, 1]) == np.sign(voxels.y0_deg[rows]))[np.abs(voxels.y0_deg[rows]) > 1].mean() > 0.97
    assert np.median(np.hypot(best[rows, 0] - voxels.x0_deg[rows], best[rows, 1] - voxels.y0_deg[rows])) < 1.5


def test_fields_sum_to_the_part_inside_the_image_and_have_no_tails():
    voxels = _simulated()[0]
    fields = receptive_fields(voxels, 64, FOV)
    total = fields.sum(axis=1)
    central = voxels.early & (np.hypot(voxels.x0_deg, voxels.y0_deg) < 2)
    assert np.allclose(total[central], 1, atol=0.03)
    far = voxels.early & (np.hypot(voxels.x0_deg, voxels.y0_deg) > 14)
    assert far.any() and total[far].max() < 0.05
    assert (fields[~voxels.visual] == 0).all()
    assert fields[fields > 0].min() >= 1e-7


def test_category_voxels_prefer_their_category():
    voxels, stimuli, _, signal, _ = _simulated()
    category = stimuli.table["category"].to_numpy()
    rows = stimuli.rows("category_test")
    for area, wanted in (("FFA", "face"), ("PPA", "place"), ("LO", "object")):
        here = voxels.members[area] & (voxels.preference == ["face", "word", "digit", "place", "body", "object"].index(wanted))
        answers = signal[rows][:, here].mean(axis=1)
        assert answers[category[rows] == wanted].min() > answers[category[rows] != wanted].max()
        # exemplars of one class differ a little
        assert 0 < signal[rows][category[rows] == wanted][:, here].std(axis=0).mean() < 0.3


def test_trials_are_laid_out_as_the_sheet_says():
    settings = resolve(SimulationSettings, "simulation", "demo")
    _, stimuli, *_ = _simulated()
    trials = make_trials(stimuli, SETTINGS)
    shown = trials.groupby(["split", "stimulus_id"]).size()
    assert (shown["train"] == 1).all() and (shown["test"] == 35).all() and (shown["validation"] == 35).all()
    assert trials.groupby("run").size().max() == 50 and (trials.groupby("run")["split"].nunique() == 1).all()
    repeats = trials[trials["split"] == "test"].groupby("stimulus_id")["repeat"]
    assert (repeats.nunique() == 35).all() and (repeats.min() == 1).all()
    runs_of_one = trials[trials["stimulus_id"] == "test-0000"]["run"]
    assert runs_of_one.nunique() == 35
    assert (settings.n_train, settings.n_test, settings.n_repeats, settings.run_length) == (1200, 50, 35, 50)


def test_responses_are_z_scored_by_training_trials_only():
    voxels, _, _, _, measured = _simulated()
    train = (measured.trials["split"] == "train").to_numpy()
    assert np.abs(measured.responses[train].mean(axis=0)).max() < 1e-3
    assert np.allclose(measured.responses[train].std(axis=0), 1, atol=1e-3)
    mean = _means(measured, "test")
    assert np.median(mean[:, voxels.in_scope].std(axis=0)) < 0.7  # averaging takes noise away: the test mean has less variance


def _means(measured, split, parity=None):
    rows = (measured.trials["split"] == split).to_numpy()
    if parity is not None:
        rows = rows & (measured.trials["repeat"] % 2 == parity).to_numpy()
    frame = measured.trials[rows].assign(row=np.flatnonzero(rows))
    return np.stack([measured.responses[group["row"]].mean(axis=0) for _, group in frame.groupby("stimulus_id")])


def _columnwise(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


@pytest.mark.parametrize("split", ["test", "category_test"])
def test_split_half_ceilings_agree_with_the_truth(split):
    voxels, stimuli, _, signal, measured = _simulated()
    repeats = {"test": 35, "category_test": SETTINGS.n_category_repeats}[split]
    truth = expected_ceiling(signal[stimuli.rows(split)], measured.noise_sd, repeats)
    half = _columnwise(_means(measured, split, 0), _means(measured, split, 1))
    estimate = np.sqrt(np.clip(2 * half / (1 + half), 0, 1))
    rows = voxels.in_scope if split == "test" else voxels.mix > 0
    assert np.median(estimate[rows]) == pytest.approx(np.median(truth[rows]), abs=0.03)
    reached = _columnwise(signal[stimuli.rows(split)][:, rows], _means(measured, split)[:, rows])
    assert np.median(np.abs(reached - truth[rows])) < 0.05
    if split == "test":
        assert np.median(truth[rows]) == pytest.approx(0.93, abs=0.02)


def test_voxels_outside_the_stimulus_are_weak():
    voxels, stimuli, _, signal, measured = _simulated()
    ceiling = expected_ceiling(signal[stimuli.rows("test")], measured.noise_sd, 35)
    ecc = np.hypot(voxels.x0_deg, voxels.y0_deg)
    assert np.median(ceiling[voxels.early & (ecc > 12)]) < 0.1
    assert (ceiling[~voxels.visual] == 0).all()


def test_noise_has_the_shared_part_of_the_sheet():
    """Of the noise that is left when signal is taken away, 10 % follows six smooth factors with a memory of .3."""
    voxels, stimuli, _, signal, measured = _simulated()
    row_of = {name: row for row, name in enumerate(stimuli.table["stimulus_id"])}
    order = [row_of[name] for name in measured.trials["stimulus_id"]]
    residual = (measured.responses * measured.sd + measured.mean - signal[order]) / measured.noise_sd
    assert residual.std() == pytest.approx(1, abs=0.01)
    loadings = _loadings(voxels, np.random.default_rng(0))
    assert np.allclose((loadings**2).sum(axis=0), 1, atol=1e-5)
    values = np.linalg.eigvalsh(np.corrcoef(residual[:, ::3].T))[::-1]
    assert values[:6].sum() / values.sum() == pytest.approx(0.1, abs=0.03)
    assert values[5] > 1.8 * values[6]
    # neighbours share more than voxels far apart
    order = np.argsort(voxels.xyz[:, 0])
    close = np.corrcoef(residual[:, order[:200]].T)
    mixed = np.corrcoef(residual[:, np.random.default_rng(0).permutation(order)[:200]].T)
    off = ~np.eye(200, dtype=bool)
    assert close[off].mean() > mixed[off].mean()


def test_shared_factors_remember_the_trial_before():
    rng = np.random.default_rng(0)
    runs = [_factors(50, rng) for _ in range(300)]
    before, after = np.concatenate([run[:-1] for run in runs]), np.concatenate([run[1:] for run in runs])
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] == pytest.approx(AUTOCORRELATION, abs=0.01) == pytest.approx(0.3, abs=0.01)
    assert np.concatenate(runs).std() == pytest.approx(1, abs=0.01)


def test_same_seed_same_bytes_other_seed_other_noise():
    voxels, stimuli, forward, signal, measured = _simulated()
    again = noise_free(forward, stimuli.images, stimuli.table["category"].tolist())
    assert again.tobytes() == signal.tobytes()
    assert measure(voxels, signal, stimuli, SETTINGS).responses.tobytes() == measured.responses.tobytes()
    other = measure(voxels, signal, stimuli, SETTINGS.with_changes({"seed": 1}))
    assert (other.responses != measured.responses).mean() > 0.99


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_as_before_afterwards(before):
    try:
        torch.set_flush_denormal(before)
        with flush_denormal():
            assert not (torch.tensor([1e-310], dtype=torch.float64) * 1.0).any()
        assert bool((torch.tensor([1e-310], dtype=torch.float64) * 1.0).any()) is not before
    finally:
        torch.set_flush_denormal(False)


def test_work_can_be_stopped():
    voxels, stimuli, forward, signal, _ = _simulated()

    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        noise_free(forward, stimuli.images, stimuli.table["category"].tolist(), stop)
    with pytest.raises(Cancelled):
        measure(voxels, signal, stimuli, SETTINGS, stop)
