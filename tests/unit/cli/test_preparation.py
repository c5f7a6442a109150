"""The commands around the preparation of responses."""

import typing

import numpy as np
import pytest

from brain2pix.cli.train import Prepare
from brain2pix.config.preparation import PreparationSettings
from brain2pix.data import cache, open_subject, training_data


def choices(annotation):
    """Values of a Literal, wherever it stands in an annotation."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    return set().union(*(choices(part) for part in typing.get_args(annotation)))


def test_the_flags_are_the_settings():
    flags, settings = typing.get_type_hints(Prepare), PreparationSettings.model_fields
    assert list(flags) == list(settings)
    for name, field in settings.items():
        assert choices(flags[name]) == choices(field.annotation), name


def test_train_hands_on_what_was_typed(say, monkeypatch):
    asked = []
    monkeypatch.setattr("brain2pix.cli._job.run_job", lambda kind, params, folder, where: asked.append(params) or 0)
    assert say("train", "x")[0] == 0 and "prepare" not in asked[-1]
    say("train", "x", "--prepare.zscore", "run", "--prepare.average-repeats", "--prepare.max-voxels", "5")
    assert asked[-1]["prepare"] == {"zscore": "run", "average_repeats": True, "max_voxels": 5}


def test_ceilings(say, tiny_subject, tmp_path):
    code, out, _ = say("ceilings", tiny_subject, "--out", tmp_path / "out")
    assert code == 0 and "SIMULATED, responses in z-train" in out and "20 of 20 images have repeats, 8 trials each" in out
    (line,) = [line for line in out.splitlines() if line.startswith("V1 ")]
    assert float(line.split()[3]) == pytest.approx(0.73, abs=0.03) and line.endswith("%")
    assert len([line for line in out.splitlines() if line.startswith("wrote ")]) == 8
    code, _, err = say("ceilings", tiny_subject, "--out", tmp_path / "out")
    assert code == 1 and "exists and is not an empty folder" in err


def test_no_repeats_are_no_ceiling(say, tiny_subject):
    code, out, _ = say("ceilings", tiny_subject, "--split", "train", "--zscore", "run")
    assert code == 0 and "n/a: no image of split 'train' has more than one trial" in out and "z-run" in out
    assert [line.split()[2:] for line in out.splitlines() if line.startswith("V1 ")] == [["0", "n/a", "n/a", "n/a", "n/a"]]


def test_caches_are_listed_and_removed(say, tiny_subject, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert say("cache")[:2] == (0, f"in all 0 files, 0.0 MB, in {tmp_path / 'napari-brain2pix'}\n")
    monkeypatch.setattr(cache, "LARGE_BYTES", 0)
    data = training_data(open_subject(tiny_subject), "V1")
    (file,) = (tmp_path / "napari-brain2pix" / "responses").iterdir()
    stray = tmp_path / "napari-brain2pix" / "mine.npy"
    np.save(stray, np.zeros(3))
    code, out, _ = say("cache")
    assert code == 0 and str(file) in out and f"{(data.responses.nbytes + data.repeats.values.nbytes) / 1e6:.1f} MB" in out
    assert file.exists()
    code, out, _ = say("cache", "--clear")
    assert code == 0 and "removed 1 files" in out and not file.exists() and stray.exists()
