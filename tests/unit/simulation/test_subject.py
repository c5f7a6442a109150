import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from brain2pix.config.base import resolve
from brain2pix.config.simulation import SimulationSettings
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, DataFormatError
from brain2pix.events import Cancelled, CancelToken, Finished, Progress, Started
from brain2pix.simulation import load_truth, simulate, simulate_content, truth_folder

TINY = resolve(
    SimulationSettings,
    "simulation",
    "tiny",
    changes={
        "voxel_mm": 6.0,
        "n_train": 40,
        "n_test": 10,
        "n_validation": 4,
        "n_category_train": 6,
        "n_category_test": 6,
        "n_unpaired": 24,
        "n_repeats": 4,
    },
)


def test_it_opens_like_any_subject(tiny_subject):
    subject = open_subject(tiny_subject)
    assert subject.simulated and subject.field_of_view_deg == 12 and subject.unit == "z-train"
    assert subject.space.name == "MNI152NLin2009aSym" and subject.space.voxel_mm == pytest.approx((4, 4, 4))
    assert {"V1", "V2", "V3", "FFA", "PPA", "VWFA", "LO", "EBA", "outside", "nonvisual"} <= set(subject.areas)
    assert len(subject.trials) == subject.responses().shape[0]
    assert subject.images(["test-0000"]).shape == (1, 32, 32, 3)
    assert subject.unpaired().shape == (400, 32, 32, 3)
    white = subject.mesh("L", "white").vertices
    left = subject.voxels[(subject.voxels["hemi"] == "L").to_numpy() & subject.areas["V1"]]
    distance = np.linalg.norm(white[:, None] - left[["x", "y", "z"]].to_numpy()[None, ::10], axis=2).min(axis=0)
    assert np.median(distance) < 4  # voxels lie on the surface that is shown


def test_every_name_says_simulated(tiny_subject):
    texts = [path.read_text() for path in tiny_subject.rglob("*dseg.tsv")] + [
        path.read_text() for path in tiny_subject.rglob("*_mask.json")
    ]
    assert len(texts) > 5
    for text in texts:
        rows = text.strip().splitlines()[1:] if "\t" in text else [text]
        assert all("simulated" in row for row in rows if row.strip())


def test_truth_lies_beside_in_the_order_of_the_voxels(tiny_subject):
    truth, subject = load_truth(tiny_subject), open_subject(tiny_subject)
    assert truth is not None and truth_folder(tiny_subject) == tiny_subject.parent.resolve() / "tiny-truth"
    assert (subject.voxels[["i", "j", "k"]].to_numpy() == truth.ijk).all()
    areas = subject.areas
    assert (areas["V2"] == (truth.area == 2)).all()
    assert (truth.in_scope == ((truth.area <= 3) & ~areas["outside"])).all()
    left = (subject.voxels["hemi"] == "L").to_numpy()
    assert (truth.x0_deg[left & truth.in_scope] >= 0).all() and (truth.x0_deg[~left & truth.in_scope] <= 0).all()
    assert np.nanmax(np.abs(truth.size_deg**2 * truth.exponent - truth.sigma_deg**2)) < 1e-9
    assert truth.settings["seed"] == 0
    for path in (tiny_subject / "sub-01", tiny_subject):
        assert (load_truth(path).x0_deg[truth.in_scope] == truth.x0_deg[truth.in_scope]).all()


def test_noise_free_signal_is_in_the_unit_of_the_responses(tiny_subject):
    truth, subject = load_truth(tiny_subject), open_subject(tiny_subject)
    trials = subject.trials
    ids = subject.stimuli.loc[subject.stimuli["split"] == "test", "stimulus_id"].tolist()
    values = subject.responses()
    mean = np.stack([values[(trials["stimulus_id"] == one).to_numpy()].mean(axis=0) for one in ids])
    rows = truth.in_scope & (truth.ceiling["test"] > 0.85)
    slope = [np.polyfit(truth.signal["test"][:, v], mean[:, v], 1)[0] for v in np.flatnonzero(rows)]
    assert np.median(slope) == pytest.approx(1, abs=0.1)
    assert np.abs(truth.signal["test"][:, rows].mean(axis=0) - mean[:, rows].mean(axis=0)).max() < 0.5


def test_without_truth_the_subject_is_whole(tiny_copy):
    assert load_truth(tiny_copy) is None and not truth_folder(tiny_copy).exists()
    assert open_subject(tiny_copy).responses().shape[0] == len(open_subject(tiny_copy).trials)


def test_same_seed_gives_the_same_files(tmp_path):
    def fingerprint(folder):
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in (".png", ".npy", ".tsv")
        }

    one, same = simulate(tmp_path / "one", TINY), simulate(tmp_path / "same", TINY)
    other = simulate(tmp_path / "other", TINY.with_changes({"seed": 1}))
    assert fingerprint(one) == fingerprint(same) and len(fingerprint(one)) > 60
    responses = [open_subject(folder).responses().tobytes() for folder in (one, same, other)]
    assert responses[0] == responses[1] != responses[2]


def test_stages_are_announced_and_closed(tmp_path, events):
    simulate_content(TINY, events)
    started, finished = [event.stage for event in events.of(Started)], [event.stage for event in events.of(Finished)]
    assert started == finished == ["anatomy", "images", "unpaired images", "responses", "trials"]
    assert {event.stage for event in events.of(Progress)} >= {"unpaired images", "responses", "trials"}


@pytest.mark.parametrize("stage", ["anatomy", "responses", "files"])
def test_cancel_leaves_nothing_behind(tmp_path, stage):
    token = CancelToken()

    def stop(event):
        if isinstance(event, Started) and event.stage == stage:
            token.cancel()

    with pytest.raises(Cancelled):
        simulate(tmp_path / "subject", TINY, stop, token)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["subject", "subject-truth"])
def test_existing_folders_are_kept(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match=f"{name} exists and is not an empty folder"):
        simulate(tmp_path / "subject", TINY)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_broken_truth_is_named(tiny_subject, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_subject / "sub-01", copy / "sub-01")
    shutil.copytree(truth_folder(tiny_subject), tmp_path / "tiny-truth")
    (tmp_path / "tiny-truth" / "sub-01_truth.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DataFormatError, match="tiny-truth is not a readable truth folder"):
        load_truth(copy)


def test_voxels_without_categories_work(tmp_path):
    content, truth = simulate_content(TINY.with_changes({"n_category_train": 0, "n_category_test": 0}))
    assert set(truth.ceiling) == {"test", "validation"} and np.isfinite(content.responses).all()


def test_importing_the_package_loads_no_torch():
    code = "import sys, brain2pix.simulation; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
