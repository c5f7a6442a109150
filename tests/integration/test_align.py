"""Simulated people with individual differences, the same pictures for all: from their folders to one space, by the command."""

import json

import numpy as np
import pandas as pd
import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.config.base import resolve
from brain2pix.config.simulation import SimulationSettings
from brain2pix.data import NativeContent, Space, open_subject, write_native
from brain2pix.data.alignment_files import load_alignment

N_PEOPLE = 3


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Folders of people whose areas are moved, scaled and turned, with noise of their own."""
    from brain2pix.anatomy import mni_grid
    from brain2pix.simulation.images import make_stimuli
    from brain2pix.simulation.responses import fit_forward, measure, noise_free
    from brain2pix.simulation.voxels import make_voxels

    folder = tmp_path_factory.mktemp("people")
    shared = resolve(SimulationSettings, "simulation", "tiny")
    stimuli = make_stimuli(shared)
    for seed in range(N_PEOPLE):
        settings = shared.with_changes({"seed": seed, "individual": True})
        voxels = make_voxels(settings)
        forward = fit_forward(voxels, stimuli.images[stimuli.rows("train")], settings)
        signal = noise_free(forward, stimuli.images, stimuli.table["category"].tolist(), lambda done, total: None)
        measured = measure(voxels, signal, stimuli, settings, lambda done, total: None)
        content = NativeContent(
            subject="sub-01",
            name=f"Simulated person {seed}",
            space=Space("MNI152", *mni_grid(settings.voxel_mm)),
            voxels=pd.DataFrame(voxels.ijk, columns=["i", "j", "k"]).assign(hemi=voxels.hemi),
            areas=voxels.areas(),
            responses=measured.responses,
            trials=measured.trials,
            stimuli=stimuli.table,
            images=stimuli.by_id(),
            field_of_view_deg=settings.field_of_view_deg,
            simulated=True,
        )
        write_native(folder / f"person{seed}", content)
    return [folder / f"person{seed}" for seed in range(N_PEOPLE)]


def run(*arguments):
    return run_arguments([str(argument) for argument in arguments])


def test_people_become_one(people, tmp_path, capfd):
    out = tmp_path / "aligned"
    assert run("align", *people, out) == 0
    said = capfd.readouterr().out
    for part in ("person0_sub-01", "r before", "matched     240 rows of 240 stimuli (single trials, split train)", f"aligned: {out}"):
        assert part in said, said
    found = pd.read_csv(out / "agreement.tsv", sep="\t")
    # their areas lie in about the same places: alignment must add to an agreement that is there already
    assert (found["correlation_after"] > found["correlation_before"] + 0.03).all(), found
    assert (found["correlation_before"] > 0.2).all()
    alignment = load_alignment(out)
    subject = open_subject(people[1], nan="keep")
    one = alignment.check(subject, "person1_sub-01")
    rows = subject.rows("test")
    aligned = alignment.transform(subject.responses(rows, one.info.voxel_index), one.key)
    ids = subject.trials["stimulus_id"].to_numpy()[rows]
    table = pd.read_csv(out / "split-test_rows.tsv", sep="\t")
    expected = np.stack([aligned[ids == name].mean(axis=0) for name in table["stimulus_id"]])
    np.testing.assert_allclose(np.load(out / "person1_sub-01_split-test_responses.npy"), expected, atol=1e-4)
    assert json.loads((out / "alignment.json").read_text())["simulated"] is True


def test_alignment_on_other_peoples_rows_does_not_help(people, tmp_path):
    """The control: rows matched wrongly align to nothing, so held-out agreement must fall below that without alignment."""
    from brain2pix.data.agreement import held_out_agreement
    from brain2pix.data.alignment import align_subjects

    subjects = [open_subject(folder, nan="keep") for folder in people]
    rng = np.random.default_rng(0)
    right = align_subjects(subjects)
    for subject in subjects:  # names of the training stimuli change places, held-out trials stay
        rows = subject.rows("train")
        names = subject.trials["stimulus_id"].to_numpy(copy=True)
        names[rows] = rng.permutation(names[rows])
        subject.trials["stimulus_id"] = names
    wrong = align_subjects(subjects)
    known = dict(zip(right.keys, subjects, strict=True))
    for one, other in zip(held_out_agreement(right, known), held_out_agreement(wrong, known), strict=True):
        assert other.after < one.before < one.after


def test_one_subject(people, tmp_path, capfd):
    out = tmp_path / "aligned"
    assert run("align", people[0], out, "--region", "V1", "--variance", "0.9") == 0
    said = capfd.readouterr().out
    assert "hold 9" in said and "n/a" in said
    assert not (out / "agreement.tsv").exists() and not list(out.glob("*basis*"))
    assert np.load(out / "mean_split-train_components.npy").shape[0] == 240


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("out",), 1, "needs one subject folder or more, and then the folder to make"),
        (("0", "1"), 1, "exists and is not an empty folder; the last folder named is the one to make"),
        (("0", "1", "out", "--region", "V9"), 1, "unknown area 'V9'"),
        (("0", "1", "out", "--variance", "2"), 1, "option 'variance'"),
        (("0", "1", "out", "--set", "rounds=2"), 1, "unknown option 'rounds'. Did you mean 'n_rounds'?"),
        (("0", "nowhere", "out"), 1, "nowhere does not exist"),
    ],
)
def test_what_is_refused(people, tmp_path, capfd, arguments, code, message):
    places = [people[int(one)] if one.isdigit() else tmp_path / one if one in ("out", "nowhere") else one for one in arguments[:3]]
    assert run("align", *places, *arguments[3:]) == code
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
