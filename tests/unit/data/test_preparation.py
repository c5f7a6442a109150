"""z-scores, averages and the choice of voxels against scipy and pandas; no held-out trial has a say in any of them."""

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from brain2pix.config.base import build
from brain2pix.config.preparation import PreparationSettings
from brain2pix.data import open_subject, training_data
from brain2pix.errors import ConfigError

RELIABLE = 30  # of the 60 voxels, the first ones


@pytest.fixture
def study(lab, write_table):
    """The lab's subject with repeats of all images, test trials among the training trials, and sessions that differ in level and scale."""
    rng = np.random.default_rng(3)
    ids = [f"{n:04d}" for n in range(8)] * 3 + [f"t{n}" for n in range(4)] * 4
    trials = pd.DataFrame({"stimulus_id": rng.permutation(ids)})
    trials["split"] = np.where(trials["stimulus_id"].str.startswith("t"), "test", "train")
    trials["session"] = np.repeat([1, 2], 20)
    trials["run"] = np.tile(np.repeat([1, 2], 10), 2)
    images = {name: rng.standard_normal(60) for name in sorted(set(ids))}
    signal = np.stack([images[name] for name in trials["stimulus_id"]])
    noise = np.where(np.arange(60) < RELIABLE, 0.5, 5.0)
    level = 3.0 * trials["session"].to_numpy()[:, None] + trials["run"].to_numpy()[:, None]
    lab.betas = (level * (signal + noise * rng.standard_normal((40, 60)) + 2)).astype(np.float32)
    lab.trials = trials
    rewrite(lab, write_table)
    return lab


def rewrite(lab, write_table, unit="a.u."):
    lab.edit_h5(betas=lab.betas)
    with h5py.File(lab.h5, "a") as file:
        file.attrs["unit"] = unit
    write_table(lab.h5_table, lab.trials)


def by_training(values, trials, keys):
    """Z-score all trials of a group by its training trials, as scipy does it."""
    groups = trials.groupby(keys).ngroup() if keys else np.zeros(len(trials), dtype=int)
    expected = np.empty(values.shape)
    for group in np.unique(groups):
        rows = np.asarray(groups == group)
        expected[rows] = scipy.stats.zmap(values[rows].astype(float), values[rows & (trials["split"] == "train")].astype(float), axis=0)
    return expected


@pytest.mark.parametrize(("zscore", "keys"), [("auto", []), ("train", []), ("session", ["session"]), ("run", ["session", "run"])])
def test_training_trials_scale_their_group(study, zscore, keys):
    subject = open_subject(study.root, zscore=zscore)
    expected = by_training(study.betas, study.trials, keys)
    np.testing.assert_allclose(subject.responses(), expected, atol=2e-5)
    rows, voxels = np.array([39, 3, 11]), np.array([7, 2])
    np.testing.assert_allclose(subject.responses(rows, voxels), expected[np.ix_(rows, voxels)], atol=2e-5)
    assert subject.unit == f"z-{'train' if zscore == 'auto' else zscore}" and subject.zscore == zscore
    assert subject.describe(voxels).zscore == zscore
    assert open_subject(study.root).describe(np.arange(60)).voxel_hash == subject.describe(np.arange(60)).voxel_hash


def test_none_leaves_responses_as_they_are(study):
    subject = open_subject(study.root, zscore="none")
    np.testing.assert_array_equal(subject.responses(), study.betas)
    assert subject.unit == "a.u." and any("responses stay in a.u." in note for note in subject.notes)


def test_runs_without_training_trials_are_scaled_by_their_own(study, write_table):
    """Run numbers that start anew in each split are not one run, whether the splits follow each other or not."""
    study.trials["split"] = np.repeat(["train", "test", "validation"], [20, 10, 10])
    study.trials["stimulus_id"] = [f"{n % 8:04d}" for n in range(20)] + [f"t{n % 4}" for n in range(10)] + ["v0"] * 10
    study.trials["session"] = 1
    study.trials["run"] = [1] * 10 + [2] * 10 + [1] * 10 + [3] * 10
    rewrite(study, write_table)
    subject = open_subject(study.root, zscore="run")
    parts = [scipy.stats.zscore(study.betas[start : start + 10].astype(float), axis=0) for start in range(0, 40, 10)]
    np.testing.assert_allclose(subject.responses(), np.concatenate(parts), atol=2e-5)


def test_a_second_z_score_is_done_and_said(study, write_table):
    rewrite(study, write_table, "z-session")
    once, twice = open_subject(study.root), open_subject(study.root, zscore="run")
    np.testing.assert_array_equal(once.responses(), study.betas)
    np.testing.assert_allclose(twice.responses(), by_training(study.betas, study.trials, ["session", "run"]), atol=2e-5)
    assert not any("z-scored" in note for note in once.notes)
    assert any("responses in z-session are z-scored a second time per voxel" in note for note in twice.notes)


def test_a_voxel_that_is_constant_in_a_run_is_zero_there_and_counted(study, write_table):
    study.betas[:10, 5] = 4.0
    rewrite(study, write_table)
    subject = open_subject(study.root, zscore="run")
    found = subject.responses()[:, 5]
    assert (found[:10] == 0).all() and np.isfinite(found).all() and (found[10:] != 0).any()
    assert any("1 of 60 voxels are constant in at least one run: they are 0 there" in note for note in subject.notes)


@pytest.mark.parametrize(
    ("change", "zscore", "words"),
    [
        (
            {"run": [1] * 39 + [7]},
            "run",
            r"one trial alone cannot z-score run 7 of session 2 \((train|test)\); choose zscore session, train",
        ),
        ({"session": [1] * 39 + [7]}, "session", r"one trial alone cannot z-score session 7 \((train|test)\); choose zscore train or none"),
        ({"run": [None] * 2 + [1] * 38}, "run", "2 trials have no run; choose zscore train or none, or complete the table"),
        ({"split": "mine"}, "train", "no trial has the split 'train' to z-score the others by; choose zscore run, session or none"),
        ({}, "runs", "unknown zscore 'runs'. Did you mean 'run'"),
    ],
)
def test_what_cannot_be_z_scored_is_said(study, write_table, change, zscore, words):
    for key, value in change.items():
        study.trials[key] = value
    write_table(study.h5_table, study.trials)
    with pytest.raises(ConfigError, match=words):
        open_subject(study.root, zscore=zscore)


PREPARATIONS = [
    {"zscore": "train"},
    {"zscore": "run", "average_repeats": True},
    {"zscore": "session", "min_ncsnr": 0.7},
    {"zscore": "none", "max_voxels": 20},
    {"min_ceiling": 0.8, "max_voxels": 25, "average_repeats": True},
]


@pytest.mark.parametrize("poison", [1e30, np.nan])
@pytest.mark.parametrize("values", PREPARATIONS, ids=str)
def test_held_out_trials_have_no_say(study, write_table, values, poison):
    """With huge or absent responses in all held-out trials, training data are the same to the last bit."""
    settings = PreparationSettings(**values)
    study.trials.loc[study.trials["stimulus_id"] == "t3", "split"] = "validation"
    study.trials.loc[study.trials["stimulus_id"] == "t3", "stimulus_id"] = "v0"
    rewrite(study, write_table)

    def prepared():
        return training_data(open_subject(study.root, nan="keep", zscore=settings.zscore), "all", preparation=settings)

    before = prepared()
    held_out = np.flatnonzero(study.trials["split"] != "train")
    study.betas[held_out, 1:] = poison  # one voxel stays, for a trial without any response is refused
    rewrite(study, write_table)
    after = prepared()
    np.testing.assert_array_equal(after.responses, before.responses)
    np.testing.assert_array_equal(after.subject.voxel_index, before.subject.voxel_index)
    assert after.subject.transductive == () and before.responses.size
    assert not np.array_equal(after.repeats.values, before.repeats.values)  # the poison is there


def test_repeats_are_averaged_after_z_scoring(study):
    subject = open_subject(study.root, zscore="session")
    data = training_data(subject, "all", preparation=PreparationSettings(zscore="session", average_repeats=True))
    rows = subject.rows("train")
    scaled = pd.DataFrame(by_training(study.betas, study.trials, ["session"])[rows])
    expected = scaled.groupby(study.trials["stimulus_id"].to_numpy()[rows]).mean()
    np.testing.assert_allclose(data.responses, expected, atol=2e-5)
    ids = list(expected.index)
    np.testing.assert_array_equal(data.images[data.image_index], np.stack([study.images[name] for name in ids]))
    assert data.responses.shape == (8, 60) and data.responses.dtype == np.float32
    assert data.repeats.values.shape == (16, 60)  # test repeats stay single trials


def signal_to_noise(values, names):
    """Another way to the same ratio: one-way analysis of variance, all images having equally many trials."""
    table = pd.DataFrame(values).groupby(names)
    within = table.var(ddof=1).mean()
    between = table.mean().var(ddof=1) - within / table.size().iloc[0]
    return np.sqrt(between.clip(lower=0) / within).to_numpy()


def test_voxels_are_chosen_by_training_repeats(study):
    subject = open_subject(study.root, zscore="run")
    rows = subject.rows("train")
    ratio = signal_to_noise(by_training(study.betas, study.trials, ["session", "run"])[rows], study.trials["stimulus_id"].to_numpy()[rows])

    def chosen(**limits):
        data = training_data(subject, "all", preparation=PreparationSettings(zscore="run", **limits))
        np.testing.assert_array_equal(data.responses, subject.responses(rows, data.subject.voxel_index))
        assert data.areas["all"].size == data.voxel_xyz.shape[0] == data.subject.n_voxels == data.repeats.values.shape[1]
        assert data.subject.voxel_hash == subject.describe(data.subject.voxel_index).voxel_hash
        return data.subject.voxel_index.tolist()

    limit = float(np.sort(ratio)[-10:-8].mean())
    assert chosen(min_ncsnr=limit) == np.flatnonzero(ratio >= limit).tolist()
    assert chosen(max_voxels=9) == np.sort(np.argsort(-ratio)[:9]).tolist()
    assert chosen(max_voxels=9, min_ncsnr=limit) == np.sort(np.argsort(-ratio)[:9]).tolist()
    assert len(chosen(max_voxels=500)) == 60
    reliable = chosen(min_ceiling=0.85)
    assert np.mean(np.array(reliable) < RELIABLE) > 0.9 and len(reliable) > 20


def test_a_choice_by_test_repeats_is_labelled(study, write_table):
    settings = PreparationSettings(repeats_of="test", max_voxels=20)
    data = training_data(open_subject(study.root), "all", preparation=settings)
    assert data.subject.transductive == ("voxels chosen by test repeats",)
    rows = study.trials["split"] == "test"
    ratio = signal_to_noise(study.betas[rows], study.trials["stimulus_id"].to_numpy()[rows])
    assert data.subject.voxel_index.tolist() == np.sort(np.argsort(-ratio)[:20]).tolist()
    plain = training_data(open_subject(study.root), "all", preparation=PreparationSettings(repeats_of="test"))
    assert plain.subject.transductive == ()  # nothing was chosen


@pytest.mark.parametrize(
    ("values", "repeats_split", "words"),
    [
        ({"min_ncsnr": 0.1}, "test", r"0 of 8 train images have them; leave .* out, or choose by test repeats \(prepare.repeats_of test\)"),
        ({"min_ceiling": 0.1}, "test", "which needs 3 images with several trials each; 0 of 8 train images"),
        ({"max_voxels": 3, "repeats_of": "test"}, None, r"test responses are kept out of this training \(inductive\); choose by training"),
        (
            {"max_voxels": 3, "repeats_of": "test"},
            "validation",
            "needs 2 images with several trials each; 1 of 1 test images have them; leave",
        ),
        ({"min_ncsnr": 50, "repeats_of": "test"}, "test", "none of 60 voxels is reliable enough .* lower prepare.min_ncsnr"),
    ],
)
def test_what_cannot_be_chosen_is_said(lab, values, repeats_split, words):
    with pytest.raises(ConfigError, match=words):
        training_data(open_subject(lab.root), "all", repeats_split=repeats_split, preparation=PreparationSettings(**values))


def test_a_subject_without_test_trials_has_none_to_choose_by(lab):
    lab.edit_table(lab.h5_table, lambda table: table.assign(split=table["split"].replace("test", "validation")))
    with pytest.raises(ConfigError, match="there are no test trials; choose by training repeats"):
        training_data(open_subject(lab.root), "all", preparation=PreparationSettings(repeats_of="test", max_voxels=3))


def test_a_subject_opened_otherwise_is_refused(lab):
    with pytest.raises(ConfigError, match="sub-01 was opened with zscore 'auto', not 'run'; open it again"):
        training_data(open_subject(lab.root), "all", preparation=PreparationSettings(zscore="run"))


@pytest.mark.parametrize(("key", "value"), [("min_ncsnr", -1), ("min_ceiling", 1.5), ("max_voxels", 0), ("zscore", "mean"), ("min", 1)])
def test_settings_out_of_range(key, value):
    with pytest.raises(ConfigError, match=f"'{key}'"):
        build(PreparationSettings, {key: value})
