"""``brain2pix inspect`` as a user types it: what is said of files, subjects and runs, and with which exit code."""

import json
import shutil

import numpy as np
import pytest


@pytest.mark.parametrize("place", ["", "sub-01"])
def test_a_subject(say, tiny_subject, place):
    code, out, err = say("inspect", tiny_subject / place)
    assert code == 0 and not err
    assert out.startswith("sub-01 of Simulated subject") and "SIMULATED" in out
    assert out.splitlines()[-1] == f"next      brain2pix window {tiny_subject / place}"


def test_files_of_a_subject(say, tiny_subject):
    [table] = tiny_subject.glob("sub-01/func/*_betas.tsv")
    code, out, _ = say("inspect", table)
    assert code == 0 and "trials with their split" in out
    assert f"part of   the dataset {tiny_subject}" in out and f"next      brain2pix inspect {tiny_subject}" in out
    [responses] = tiny_subject.glob("sub-01/func/*_betas.h5")
    code, out, _ = say("inspect", responses)
    assert code == 0 and "responses of a native subject, 568 trials of 1,280 voxels" in out and "import own" not in out


def test_a_dataset_of_several_subjects(say, tiny_copy):
    shutil.copytree(tiny_copy / "sub-01", tiny_copy / "sub-02")
    code, out, _ = say("inspect", tiny_copy)
    assert code == 0 and "2: sub-01, sub-02" in out and f"brain2pix inspect {tiny_copy} --subject-name sub-02" in out
    code, out, _ = say("inspect", tiny_copy, "--subject-name", "sub-01")
    assert code == 0 and out.startswith("sub-01 of Simulated subject")


def test_what_is_wrong_with_a_subject_is_said(say, tiny_copy):
    (tiny_copy / "stimuli" / "stimuli.tsv").unlink()
    code, out, err = say("inspect", tiny_copy)
    assert code == 1 and not out and "does not exist" in err
    (tiny_copy / "dataset_description.json").write_text("{")
    code, _, err = say("inspect", tiny_copy)
    assert code == 1 and "dataset_description.json is not valid JSON" in err
    (tiny_copy / "dataset_description.json").write_text("[" * 200_000)
    code, out, _ = say("inspect", tiny_copy)
    assert code == 0 and "BIDS dataset (raw)" in out


def test_a_run(say, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "job.json").write_text(json.dumps({"schema": "b2p-job-1", "kind": "train", "params": {}}))
    status = {"kind": "train", "state": "finished", "attempt": 1, "started": "2026-01-01", "pid": 1, "host": "here"}
    (tmp_path / "run" / "status.json").write_text(json.dumps(status))
    code, out, _ = say("inspect", tmp_path / "run")
    assert code == 0 and out.startswith(f"train run {tmp_path / 'run'}: finished") and "brain2pix window" in out


def test_any_file(say, tmp_path):
    np.save(tmp_path / "a b.npy", np.zeros((4, 5)))
    code, out, _ = say("inspect", tmp_path / "a b.npy")
    assert code == 0
    assert out.splitlines()[1] == "array     (4, 5) float64, 160 bytes"
    assert f"brain2pix import own '{tmp_path / 'a b.npy'}' OUT" in out  # as a shell wants it
    (tmp_path / "odd.bin").write_bytes(b"\x01\x02\x03\x00" * 50)
    code, out, err = say("inspect", tmp_path / "odd.bin")
    assert code == 1 and not out and "of no known format" in err
