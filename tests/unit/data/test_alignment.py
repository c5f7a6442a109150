"""People who saw the same pictures through planted rotations: aligned, measured, stored; held-out rows touch nothing."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.decomposition import PCA

from brain2pix.config.alignment import AlignmentSettings
from brain2pix.data.agreement import held_out_agreement
from brain2pix.data.alignment import align_subjects, unique_keys
from brain2pix.data.alignment_files import DESCRIPTION, TENSORS, load_alignment, save_alignment, write_alignment
from brain2pix.data.matched_rows import match_rows
from brain2pix.data.native import NativeContent, Space, write_native
from brain2pix.data.subject import open_subject
from brain2pix.errors import Brain2PixError, ConfigError, DataFormatError, MissingDataError, ShapeError
from brain2pix.events import Cancelled, CancelToken

N_TRAIN, N_TEST, N_REPEATS, N_LATENT = 40, 12, 3, 6
SPACE = Space("T1w", np.diag([3.0, 3.0, 3.0, 1.0]), (8, 8, 8))


class People:
    """Folders of several people; the same latent events, each seen through columns of an own."""

    def __init__(self, folder, sizes=(30, 24, 36), noise=0.3):
        self.folder, self.rng = folder, np.random.default_rng(5)
        self.ids = [f"a{n}" for n in range(N_TRAIN)] + [f"t{n}" for n in range(N_TEST)]
        self.latent = dict(zip(self.ids, self.rng.standard_normal((len(self.ids), N_LATENT)), strict=True))
        self.images = {name: self.rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for name in self.ids}
        self.noise = noise
        self.frames = [np.linalg.qr(self.rng.standard_normal((size, N_LATENT)))[0] for size in sizes]

    def trials(self, train=None, repeats=1):
        """Training trials in a shuffled order, each stimulus `repeats` times, then repeated test trials."""
        shown = [(name, "train", repeat) for name in train or self.ids[:N_TRAIN] for repeat in range(1, repeats + 1)]
        shown = [shown[place] for place in self.rng.permutation(len(shown))]
        shown += [(f"t{n}", "test", repeat) for repeat in range(1, N_REPEATS + 1) for n in range(N_TEST)]
        table = pd.DataFrame(shown, columns=["stimulus_id", "split", "repeat"])
        return table.assign(trial=np.arange(1, len(table) + 1), run=1, session=1)

    def responses(self, person, trials):
        clean = np.stack([self.latent[name] for name in trials["stimulus_id"]]) @ self.frames[person].T
        return (clean + self.noise / 5 * self.rng.standard_normal(clean.shape)).astype(np.float32)

    def write(self, person, *, name=None, trials=None, images=None, change=lambda content: content):
        trials = self.trials() if trials is None else trials
        ids = list(dict.fromkeys(trials["stimulus_id"]))
        size = len(self.frames[person])
        ijk = np.argwhere(np.ones(SPACE.shape))[:size]
        content = NativeContent(
            subject=name or f"sub-{person + 1:02d}",
            name=f"planted {person + 1}",
            space=SPACE,
            voxels=pd.DataFrame(ijk, columns=["i", "j", "k"]).assign(hemi="n/a"),
            areas={"V1": np.arange(size) < size - 4, "FFA": np.arange(size) >= size - 4},
            responses=self.responses(person, trials),
            trials=trials,
            stimuli=pd.DataFrame({"stimulus_id": ids, "category": None, "split": ["test" if one[0] == "t" else "train" for one in ids]}),
            images={one: (images or self.images)[one] for one in ids},
            field_of_view_deg=10.0,
            unit="a.u.",
            simulated=True,
        )
        return write_native(self.folder / f"person{person}", change(content))


@pytest.fixture
def people(tmp_path):
    return People(tmp_path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Three people for tests that only read."""
    made = People(tmp_path_factory.mktemp("planted"))
    made.folders = [made.write(person) for person in range(3)]
    return made


@pytest.fixture
def opened(planted):
    return [open_subject(folder, nan="keep") for folder in planted.folders]


def by_key(alignment, subjects):
    return dict(zip(alignment.keys, subjects, strict=True))


def test_planted_rotations_are_undone(opened):
    alignment = align_subjects(opened, "all")
    assert alignment.keys == ("sub-01", "sub-02", "sub-03") and alignment.reference == "sub-03"
    assert alignment.n_voxels == 36 and alignment.template.shape == (N_TRAIN, 36)
    tests = alignment.averages(by_key(alignment, opened), "test")
    assert set(tests.matched.table["stimulus_id"]) == {f"t{n}" for n in range(N_TEST)}
    for values in tests.values.values():
        assert pearsonr(values.ravel(), tests.values["sub-03"].ravel())[0] > 0.9
    agreement = held_out_agreement(alignment, by_key(alignment, opened))
    for one in agreement:
        assert one.n_voxels == 24  # the places of the smallest one, which all have
        assert abs(one.before) < 0.4 < 0.8 < one.after


def test_rows_are_matched_whatever_their_order(opened):
    matched = match_rows(opened, "train")
    assert list(matched.table.columns) == ["stimulus_id", "repeat"] and not matched.averaged
    for place, subject in enumerate(opened):
        shown = subject.trials["stimulus_id"].to_numpy()[matched.trials[place]]
        np.testing.assert_array_equal(shown[np.argsort(matched.events[place])], matched.table["stimulus_id"])
        values = subject.responses(matched.trials[place])
        np.testing.assert_array_equal(matched.gather(values, place)[3], values[np.flatnonzero(shown == matched.table["stimulus_id"][3])[0]])


def test_repetitions_are_matched_or_averaged(people):
    """Person 1 saw each twice, person 2 only for the second time: pairs are the second repetitions, or averages where none is shared."""
    two, one = people.trials(repeats=2), people.trials()
    subjects = [open_subject(people.write(0, trials=two)), open_subject(people.write(1, trials=one.assign(repeat=one["repeat"] + 1)))]
    pairs = match_rows(subjects, "train")
    assert len(pairs.table) == N_TRAIN and set(pairs.table["repeat"]) == {2}
    averages = match_rows(subjects, "train", "averages")
    assert averages.averaged and [len(trials) for trials in averages.trials] == [2 * N_TRAIN, N_TRAIN]
    values = subjects[0].responses(averages.trials[0])
    shown = subjects[0].trials["stimulus_id"].to_numpy()[averages.trials[0]]
    expected = pd.DataFrame(values).groupby(shown).mean().loc[averages.table["stimulus_id"]]
    np.testing.assert_allclose(averages.gather(values, 0), expected, atol=1e-6)


def test_without_common_repetitions_averages_are_taken(people):
    one = people.trials()
    later = one.assign(repeat=np.where(one["split"] == "train", 5, one["repeat"]))
    subjects = [open_subject(people.write(0, trials=one)), open_subject(people.write(1, trials=later))]
    assert match_rows(subjects, "train").averaged
    with pytest.raises(ConfigError, match=r"40 of 40 stimuli that all subjects saw have no repetition that all share.*rows=averages"):
        match_rows(subjects, "train", "trials")
    assert "repeat" not in align_subjects(subjects, "all").rows


def test_repetitions_named_twice_are_counted(people):
    table = people.trials(repeats=3)
    subjects = [open_subject(people.write(0, trials=table.assign(repeat=1))), open_subject(people.write(1, trials=table))]
    assert set(match_rows(subjects, "train").table["repeat"]) == {1, 2, 3}
    assert len(match_rows(subjects, "train", cap_repeats=2).table) == 2 * N_TRAIN


@pytest.mark.parametrize("rows", ["trials", "averages"])
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e9])
def test_held_out_rows_enter_no_statistic(people, poison, rows):
    settings = AlignmentSettings(rows=rows)
    folders = [people.write(person) for person in range(3)]
    clean = [open_subject(folder, nan="keep") for folder in folders]
    first = align_subjects(clean, "V1", settings)
    for folder in folders:
        [file] = folder.glob("sub-*/func/*_betas.h5")
        with h5py.File(file, "a") as content:
            content["betas"][N_TRAIN:, ::2] = poison
    poisoned = [open_subject(folder, nan="keep") for folder in folders]
    second = align_subjects(poisoned, "V1", settings)
    np.testing.assert_array_equal(first.template, second.template)
    np.testing.assert_array_equal(first.components.vectors, second.components.vectors)
    np.testing.assert_array_equal(first.components.mean, second.components.mean)
    for one, other in zip(first.subjects, second.subjects, strict=True):
        assert one.info == replace(other.info, voxel_index=one.info.voxel_index)
        for name in ("mean", "deviation", "rotation"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_test_rows_that_are_not_finite_count_as_the_mean(opened, caplog):
    alignment = align_subjects(opened, "V1")
    rows = opened[0].responses(opened[0].rows("test")[:2], alignment.subjects[0].info.voxel_index)
    broken = rows.copy()
    broken[0, 3] = np.nan
    with caplog.at_level("WARNING"):
        found = alignment.transform(broken, "sub-01")
    assert "sub-01: 1 responses that are not finite" in caplog.text
    rows[0, 3] = alignment.subjects[0].mean[3]
    np.testing.assert_allclose(found, alignment.transform(rows, "sub-01"), atol=1e-6)


def test_voxels_without_a_training_response_are_left_out(people):
    def spoil(content):
        values = content.responses.copy()
        values[2, 5], values[:N_TRAIN, 7] = np.nan, 1.5
        return replace(content, responses=values, unit="z-run")

    subjects = [open_subject(people.write(0, change=spoil), nan="keep"), open_subject(people.write(1), nan="keep")]
    said = []
    alignment = align_subjects(subjects, "V1", sink=said.append)
    assert alignment.subjects[0].left_out == 2 and not {5, 7} & set(alignment.subjects[0].info.voxel_index)
    assert "sub-01: 2 voxels are constant, or not finite, in the training trials" in said[0].text


def test_components_are_those_of_the_aligned_mean(opened):
    alignment = align_subjects(opened, "all", AlignmentSettings(variance=0.9))
    training = alignment.training(by_key(alignment, opened))
    theirs = PCA(n_components=0.9, svd_solver="full").fit(training.mean)
    assert alignment.components.n_components == theirs.n_components_
    tests = alignment.averages(by_key(alignment, opened), "test").mean
    ours, expected = alignment.components.project(tests), theirs.transform(tests)
    np.testing.assert_allclose(ours * np.sign((ours * expected).sum(axis=0)), expected, atol=1e-3)


def test_one_subject_is_not_aligned(opened):
    alignment = align_subjects(opened[:1], "V1")
    assert alignment.basis is None and alignment.subjects[0].rotation is None
    values = opened[0].responses(opened[0].rows("train"), alignment.subjects[0].info.voxel_index)
    expected = (values - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(alignment.transform(values, "sub-01"), expected, atol=1e-4)
    np.testing.assert_allclose(alignment.template, expected, atol=1e-4)
    assert held_out_agreement(alignment, {"sub-01": opened[0]}) == []


def test_regions_of_each_subject(opened):
    alignment = align_subjects(opened, ["V1", "all", "FFA"])
    assert [one.info.n_voxels for one in alignment.subjects] == [26, 24, 4] and alignment.reference == "sub-01"
    with pytest.raises(ConfigError, match="got 2 regions for 3 subjects"):
        align_subjects(opened, ["V1", "all"])


def test_subjects_of_one_name_get_names_of_their_own(people):
    folders = [people.write(person, name="sub-01") for person in range(2)]
    subjects = [open_subject(folder) for folder in folders]
    assert unique_keys(subjects) == ["person0_sub-01", "person1_sub-01"]
    assert unique_keys([subjects[0], subjects[0]]) == ["person0_sub-01_1", "person0_sub-01_2"]


def test_stimuli_held_out_elsewhere_are_refused(people):
    train = people.trials()
    moved = train.assign(split=np.where(train["stimulus_id"] == "a7", "test", train["split"]))
    double = pd.concat([moved, train[train["stimulus_id"] == "a7"]], ignore_index=True)
    subjects = [open_subject(people.write(0, trials=train)), open_subject(people.write(1, trials=double))]
    with pytest.raises(
        DataFormatError, match=r"person1: 1 stimuli to align on are held out there \(test, .*\): a7; give each stimulus one split"
    ):
        align_subjects(subjects, "all")


def test_one_name_for_two_pictures_is_refused(people):
    other = {name: 255 - picture for name, picture in people.images.items()}
    subjects = [open_subject(people.write(0)), open_subject(people.write(1, images=other))]
    with pytest.raises(
        DataFormatError, match=r"20 of 20 pictures compared differ between .*person0 and .*person1: a\d+.*compare_pictures=false"
    ):
        align_subjects(subjects, "all")
    assert align_subjects(subjects, "all", AlignmentSettings(compare_pictures=False)).keys == ("sub-01", "sub-02")


def test_the_same_pictures_in_another_size_are_no_others(people):
    larger = {name: picture.repeat(3, axis=0).repeat(3, axis=1) for name, picture in people.images.items()}
    subjects = [open_subject(people.write(0)), open_subject(people.write(1, images=larger))]
    assert len(align_subjects(subjects, "all").subjects) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "no stimulus of split 'train' was seen by all subjects"), (["a0", "a1"], "share 2 rows of split 'train'; at least 3")],
)
def test_too_little_in_common(people, names, message):
    for n in range(50):
        people.latent[f"b{n}"], people.images[f"b{n}"] = people.rng.standard_normal(N_LATENT), people.images["a0"]
    others = [*names, *(f"b{n}" for n in range(20))]
    subjects = [open_subject(people.write(0)), open_subject(people.write(1, trials=people.trials(others)))]
    with pytest.raises(ConfigError, match=message):
        align_subjects(subjects, "all")


def test_stopped_on_request(opened):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        align_subjects(opened, "all", cancel=token)


def test_transform_refuses_what_it_does_not_know(opened):
    alignment = align_subjects(opened, "all")
    with pytest.raises(ConfigError, match=r"unknown subject of this alignment 'sub-4'. Did you mean 'sub-0\d'"):
        alignment.transform(np.zeros((2, 30)), "sub-4")
    with pytest.raises(ShapeError, match=r"sub-01: responses have shape \(2, 31\), expected \[b 30\]"):
        alignment.transform(np.zeros((2, 31)), "sub-01")
    with pytest.raises(ConfigError, match="this alignment is of sub-01, sub-02, sub-03; got sub-01"):
        alignment.averages({"sub-01": opened[0]}, "test")


@pytest.mark.parametrize("count", [1, 3])
def test_stored_and_read(opened, tmp_path, count):
    subjects = opened[:count]
    alignment = align_subjects(subjects, "V1", AlignmentSettings(variance=0.8, whiten=True))
    folder = save_alignment(alignment, tmp_path / "stored")
    read = load_alignment(folder)
    assert read.keys == alignment.keys and read.settings == alignment.settings and read.reference == alignment.reference
    pd.testing.assert_frame_equal(read.rows, alignment.rows, check_dtype=False)
    for key, subject in by_key(alignment, subjects).items():
        one = read.check(subject, key)
        values = subject.responses(None, one.info.voxel_index)
        np.testing.assert_array_equal(read.transform(values, key), alignment.transform(values, key))
        scores = alignment.components.project(alignment.transform(values, key))
        np.testing.assert_array_equal(read.components.project(read.transform(values, key)), scores)
    np.testing.assert_array_equal(read.template, alignment.template)
    assert read.components.kept == pytest.approx(alignment.components.kept)


def test_other_voxels_are_refused(opened):
    alignment = align_subjects(opened, "all")
    with pytest.raises(DataFormatError, match=r"its voxels are not those of sub-01 in this alignment \(hash .*, expected .*\)"):
        alignment.check(opened[1], "sub-01")
    with pytest.raises(DataFormatError, match="its voxels are not those of sub-03"):
        alignment.averages({"sub-01": opened[0], "sub-02": opened[1], "sub-03": opened[1]}, "test")


def test_changed_files_are_refused(opened, tmp_path):
    folder = save_alignment(align_subjects(opened, "all"), tmp_path / "stored")
    about, tensors = (folder / DESCRIPTION).read_text(), (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(tensors[:-8])
    with pytest.raises(DataFormatError, match=r"alignment\.safetensors is truncated or was changed"):
        load_alignment(folder)
    (folder / TENSORS).write_bytes(tensors)
    for key, value in (("reference", "sub-09"), ("subjects", 3), ("rows", {"stimulus_id": ["a"]}), ("components", {"n": 2, "whiten": 1})):
        (folder / DESCRIPTION).write_text(json.dumps({**json.loads(about), key: value}))
        with pytest.raises(Brain2PixError):
            load_alignment(folder)
    (folder / DESCRIPTION).write_text(about.replace("b2p-alignment-1", "b2p-alignment-9"))
    with pytest.raises(DataFormatError, match="has schema 'b2p-alignment-9', this version reads 'b2p-alignment-1'"):
        load_alignment(folder)
    (folder / TENSORS).unlink()
    (folder / DESCRIPTION).write_text(about)
    with pytest.raises(MissingDataError, match=r"alignment .*alignment\.safetensors does not exist"):
        load_alignment(folder)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    people = People(tmp_path_factory.mktemp("stored"))
    alignment = align_subjects([open_subject(people.write(person)) for person in range(2)], "all")
    return save_alignment(alignment, people.folder / "alignment")


@given(st.integers(0, 10**6), st.integers(0, 255))
@examples(max_examples=60)
def test_damaged_descriptions_raise_ours_only(stored, tmp_path_factory, place, value):
    folder = tmp_path_factory.mktemp("damaged")
    text = bytearray((stored / DESCRIPTION).read_bytes())
    text[place % len(text)] = value
    (folder / DESCRIPTION).write_bytes(bytes(text))
    (folder / TENSORS).write_bytes((stored / TENSORS).read_bytes())
    try:
        load_alignment(folder)
    except Brain2PixError:
        pass
    assert {path.name for path in folder.iterdir()} == {DESCRIPTION, TENSORS}


def test_result_folder(opened, tmp_path):
    alignment = align_subjects(opened, "V1")
    agreement = write_alignment(tmp_path / "out", alignment, by_key(alignment, opened))
    out = tmp_path / "out"
    rows = pd.read_csv(out / "split-test_rows.tsv", sep="\t")
    values = {key: np.load(out / f"{key}_split-test_responses.npy") for key in alignment.keys}
    np.testing.assert_allclose(np.load(out / "mean_split-test_responses.npy"), np.mean(list(values.values()), axis=0), atol=1e-6)
    assert values["sub-01"].dtype == np.float32 and values["sub-01"].shape == (len(rows), 32)
    index = alignment.subjects[1].info.voxel_index
    third = opened[1].responses(opened[1].rows("test"), index)[
        opened[1].trials["stimulus_id"].to_numpy()[opened[1].rows("test")] == rows["stimulus_id"][2]
    ]
    np.testing.assert_allclose(values["sub-02"][2], alignment.transform(third, "sub-02").mean(axis=0), atol=1e-5)
    assert len(pd.read_csv(out / "voxels.tsv", sep="\t")) == 32
    assert list(pd.read_csv(out / "agreement.tsv", sep="\t")["subject"]) == list(alignment.keys) and len(agreement) == 3
    about = json.loads((out / DESCRIPTION).read_text())
    assert about["simulated"] is True and [one["info"]["voxel_hash"] for one in about["subjects"]] == [
        one.info.voxel_hash for one in alignment.subjects
    ]
    with pytest.raises(ConfigError, match="exists and is not an empty folder"):
        write_alignment(out, alignment, by_key(alignment, opened))
