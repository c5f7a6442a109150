"""An import leaves a note of how it was done and what is known of left and right."""

import json
import sys
from pathlib import Path

import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.provenance import provenance_lines, read_provenance
from brain2pix.data.readers import importing
from brain2pix.errors import ComputeError
from brain2pix.events import Message

sys.path.append(str(Path(__file__).parents[1] / "unit" / "data" / "readers" / "helpers"))

from published import God


@pytest.fixture(scope="module")
def god():
    return God(n_train=24, n_test=6, n_voxels=100)


@pytest.fixture(scope="module")
def files(god, tmp_path_factory):
    folder = tmp_path_factory.mktemp("god")
    god.write_images(folder / "pictures")
    god.write_matlab(folder / "Subject1.mat")
    return folder


def bring(files, out, **choices):
    """Import, and give the messages."""
    heard = []
    params = {"source": str(files / "Subject1.mat"), "out": str(out), "images": str(files / "pictures"), **choices}
    assert run_job(JobSpec("import", params), heard.append) == "finished"
    return [event.text for event in heard if isinstance(event, Message)]


def test_the_note_says_how_it_was_imported(god, files, tmp_path, capsys):
    said = bring(files, tmp_path / "out", subject="7")
    note = json.loads((tmp_path / "out" / "sourcedata" / "import.json").read_text())
    assert (note["source"], note["kind"], note["schema"]) == ("Subject1.mat", "god-matlab", "b2p-import-1")
    assert note["choices"] == {"subject": "7", "images": "pictures"} and str(files) not in json.dumps(note)
    assert any("unit" in text for text in note["unknown"])
    sides = note["sides"]
    assert sides["outcome"] == "good" and sides["offers"] == [] and sides["warning"] == ""
    early = god.areas["V1"] | god.areas["V2"] | god.areas["V3"]
    at = {side["group"]: side for side in sides["sides"]}
    assert set(at) == {"left hemisphere", "right hemisphere"}
    # every voxel of the fixture follows the opposite half; a few are lost to noise
    for group, there in (("left hemisphere", god.xyz[:, 0] < 0), ("right hemisphere", god.xyz[:, 0] > 0)):
        assert at[group]["ok"] and at[group]["wrong_share"] <= 0.1
        assert 0.5 * (early & there).sum() <= at[group]["n_voxels"] <= (early & there).sum()
    assert [f"sides: {side['text']}" for side in sides["sides"]] == [text for text in said if text.startswith("sides:")]
    capsys.readouterr()
    assert run_arguments(["inspect", str(tmp_path / "out")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("imported "))
    assert "from Subject1.mat as god-matlab; with images, subject; left and right agree" in line.replace(
        "subject, images", "images, subject"
    )


@pytest.mark.parametrize(
    ("choices", "offers"),
    [
        ({"flip": ["x"]}, [("flip", "x", True), ("flip_images", "x", False)]),
        ({"flip_images": ["x"]}, [("flip", "x", False), ("flip_images", "x", True)]),
    ],
)
def test_a_contradiction_is_offered_its_remedies(files, tmp_path, choices, offers):
    said = bring(files, tmp_path / "out", **choices)
    sides = read_provenance(tmp_path / "out")["sides"]
    assert sides["outcome"] == "contradiction" and [side["ok"] for side in sides["sides"]] == [False, False]
    assert [(offer["choice"], offer["axis"], offer["used"]) for offer in sides["offers"]] == offers
    assert sides["warning"] == said[-1] and "Nothing was changed" in said[-1]
    assert "CONTRADICT" in provenance_lines(tmp_path / "out")[0]
    # each offer, taken, mends it
    for offer in sides["offers"]:
        axes = {key: list(choices.get(key, [])) for key in ("flip", "flip_images")}
        axes[offer["choice"]] = [] if offer["used"] else [offer["axis"]]
        bring(files, tmp_path / offer["choice"], **axes)
        assert read_provenance(tmp_path / offer["choice"])["sides"]["outcome"] == "good"


def test_what_was_left_out_and_what_was_not_checked_stands_in_the_note(god, tmp_path):
    god.write_npz(tmp_path / "sbj_1.npz")
    god.write_npz_images(tmp_path / "images_112.npz")
    assert run_job(JobSpec("import", {"source": str(tmp_path / "sbj_1.npz"), "out": str(tmp_path / "npz")})) == "finished"
    sides = read_provenance(tmp_path / "npz")["sides"]
    assert sides["outcome"] == "unchecked" and "in which hemisphere" in sides["unchecked"] and sides["sides"] == []
    pictures = god.write_images(tmp_path / "pictures")
    next(pictures.rglob(f"{god.train[0]}.png")).unlink()
    god.write_matlab(tmp_path / "Subject1.mat")
    bring(tmp_path, tmp_path / "out", missing="skip")
    assert read_provenance(tmp_path / "out")["warnings"] == ["1 trials of 1 stimuli without a picture are left out"]


def test_a_note_that_cannot_be_written_leaves_nothing(files, tmp_path, monkeypatch):
    def full(*_):
        raise ComputeError("no space left")

    monkeypatch.setattr(importing, "write_provenance", full)
    with pytest.raises(ComputeError, match="no space left"):
        bring(files, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "other"}', '{"schema": "b2p-import-1", "sides": 3, "choices": [1]}'])
def test_a_foreign_note_is_no_fault(tmp_path, text):
    (tmp_path / "sourcedata").mkdir()
    (tmp_path / "sourcedata" / "import.json").write_text(text)
    lines = provenance_lines(tmp_path)
    assert lines == [] if "import-1" not in text else "not checked" in lines[0]
