"""What a look into a file says is what was written into it; what cannot be looked at is said in words."""

import json
import operator
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import Vim1

from brain2pix.config.importing import Choices
from brain2pix.data.readers import READERS
from brain2pix.data.readers.describe import answer, describe, main
from brain2pix.data.readers.uses import USES, uses
from brain2pix.errors import Brain2PixError, MissingDataError


def test_a_look_says_what_was_written(god, god_images, tmp_path):
    found = describe(god.write_hdf5(tmp_path / "Subject3.h5"), "auto", Choices(images=god_images))
    assert found["kind"] == "god-hdf5" and found["subject"] == "sub-03"
    assert found["voxels"] == len(god.xyz)
    assert (found["left"], found["right"]) == ((god.xyz[:, 0] < 0).sum(), (god.xyz[:, 0] > 0).sum())
    assert found["areas"] == {name: int(mask.sum()) for name, mask in god.areas.items()}
    counts = god.trials["split"].value_counts()
    assert {split["split"]: split["trials"] for split in found["splits"]} == counts.to_dict()
    test = next(split for split in found["splits"] if split["split"] == "test")
    assert (test["stimuli"], test["repeats"], test["runs"]) == (4, [3, 3], 3)
    assert (found["stimuli"], found["missing"], found["pictures_wanted"]) == (12, 0, "")
    assert found["field_of_view_deg"] == 12 and found["bytes"] == 4 * god.responses.size
    assert json.loads(json.dumps(found)) == found, "plain JSON values"


def test_missing_pictures_are_counted_and_named(god, god_images, tmp_path):
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    found = describe(path, "god-hdf5", Choices())
    assert found["missing"] == found["stimuli"] == 12 and "images" in found["pictures_wanted"]
    for name in (god.train[2], god.test[1]):
        next(god_images.rglob(f"{name}.png")).unlink()
    found = describe(path, "god-hdf5", Choices(images=god_images))
    assert found["missing"] == 2 and set(found["missing_names"]) == {god.train[2], god.test[1]} and found["pictures_wanted"] == ""


def test_an_error_is_an_answer_and_the_kind_is_known_all_the_same(god, tmp_path):
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    said = answer({"source": str(path), "kind": "auto", "images": str(tmp_path / "nowhere")})
    assert said["kind"] == "god-hdf5" and "nowhere does not exist" in said["error"]
    page = tmp_path / "Subject1.mat"
    page.write_text("<html>404")
    assert answer({"source": str(page), "kind": "auto"})["kind"] == ""
    assert "not a MATLAB" in answer({"source": str(page), "kind": "auto"})["error"]
    assert "n_trian" in answer({"source": str(path), "kind": "auto", "n_trian": 3})["error"]
    with pytest.raises(MissingDataError):
        describe(tmp_path / "gone.h5", "auto", Choices())


def test_the_program_answers_in_one_line(god, tmp_path, capsys):
    asked = {"source": str(god.write_hdf5(tmp_path / "Subject1.h5")), "kind": "auto"}
    command = [sys.executable, "-m", "brain2pix.data.readers.describe"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout) == answer(asked)
    assert main(["file"]) == 2 and "usage" in capsys.readouterr().err


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300),
    suffix=st.sampled_from([".mat", ".h5", ".npz", ".npy", ".nii"]),
    kind=st.sampled_from(["auto", *READERS]),
)
def test_anything_gets_an_answer(tmp_path, content, suffix, kind):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    before = set(tmp_path.iterdir())
    said = answer({"source": str(path), "kind": kind})
    assert said["error"] and set(tmp_path.iterdir()) == before


# ---------------------------------------------------------------------- which choices a format can use


def test_every_choice_of_the_table_is_one_of_the_settings():
    for kind, used in USES.items():
        assert kind in READERS and len(set(used.every)) == len(used.every)
        for key in used.every:
            operator.attrgetter(key)(Choices())  # raises for what is no setting
    assert set(READERS) <= set(USES), "a format without a row shows choices that it may not use"
    assert "images" in uses("a later one").every and "own" not in uses("a later one").every


GIVEN = {"flip": ("x",), "masks": Path("masks"), "zscore": "run"}


@pytest.mark.parametrize("key", GIVEN)
@pytest.mark.parametrize("kind", ["god-npz", "vim-1"])
def test_a_choice_that_a_format_refuses_is_not_offered(god, tmp_path, kind, key):
    assert key not in uses(kind).every
    vim1 = Vim1()
    path = god.write_npz(tmp_path / "sbj_1.npz") if kind == "god-npz" else vim1.write_responses(tmp_path / "EstimatedResponses.mat")
    counts = {"n_train": vim1.n_train, "n_validation": vim1.n_validation} if kind == "vim-1" else {}
    with READERS[kind].open(path, Choices(**counts)) as dataset:
        assert dataset.responses.shape[1] == (len(god.xyz) if kind == "god-npz" else vim1.codes.size)
    with pytest.raises(Brain2PixError, match=path.name), READERS[kind].open(path, Choices(**counts, **{key: GIVEN[key]})):
        pass


def test_choices_that_are_offered_change_what_is_read(god, tmp_path):
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    plain = describe(path, "god-hdf5", Choices())
    assert {"flip", "zscore", "areas", "subject", "field_of_view_deg"} <= set(uses("god-hdf5").every)
    flipped = describe(path, "god-hdf5", Choices(flip=("x",)))
    assert (flipped["left"], flipped["right"]) == (plain["right"], plain["left"]) and plain["left"] != plain["right"]
    assert describe(path, "god-hdf5", Choices(zscore="run"))["unit"] == "z-run"
    assert list(describe(path, "god-hdf5", Choices(areas=("V1",)))["areas"]) == ["V1"]
    assert describe(path, "god-hdf5", Choices(subject="07", field_of_view_deg=9))["subject"] == "sub-07"
    np.testing.assert_equal(describe(path, "god-hdf5", Choices(field_of_view_deg=9))["field_of_view_deg"], 9)
