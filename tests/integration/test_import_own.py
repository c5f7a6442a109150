"""From a laboratory's loose files to a subject that opens, and on which a system trains; and the documented example, as it stands."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.data import open_subject
from brain2pix.data.provenance import read_provenance
from brain2pix.data.splits import evaluation_set, training_data

PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"


def run(*arguments):
    return run_arguments([str(argument) for argument in arguments])


# ---------------------------------------------------------------------- a simulated subject, taken apart


@pytest.fixture(scope="module")
def apart(tiny_subject, tmp_path_factory):
    """Loose files of the simulated subject: 4-D NIfTI, matrix in MATLAB's order, table, masks, surfaces, pictures."""
    lab = tmp_path_factory.mktemp("lab")
    func, anat = tiny_subject / "sub-01" / "func", tiny_subject / "sub-01" / "anat"
    with h5py.File(next(func.glob("*_betas.h5"))) as file:
        betas, ijk, affine, shape = (file[name][()] for name in ("betas", "ijk", "affine", "shape"))
    series = np.zeros((*shape, len(betas)), dtype=np.float32)
    series[tuple(ijk.T)] = betas.T
    nibabel.save(nibabel.Nifti1Image(series, affine), lab / "betas.nii.gz")
    inside = np.zeros(shape, dtype=bool)
    inside[tuple(ijk.T)] = True
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), affine), lab / "mask.nii.gz")
    np.save(lab / "matrix.npy", series.reshape(-1, len(betas), order="F")[inside.ravel(order="F")])  # voxels first
    table = pd.read_csv(next(func.glob("*_betas.tsv")), sep="\t")
    stimuli = pd.read_csv(tiny_subject / "stimuli" / "stimuli.tsv", sep="\t").set_index("stimulus_id").loc[table["stimulus_id"]]
    table = table.assign(image=stimuli["file"].to_numpy(), category=stimuli["category"].to_numpy(), source=stimuli["source"].to_numpy())
    table.to_csv(lab / "betas.tsv", sep="\t", index=False)
    table.drop(columns="split").to_csv(lab / "matrix.csv", index=False)
    for path in (*func.glob("*_mask.nii.gz"), *func.glob("*_dseg.*")):
        if "task-images" not in path.name:
            (lab / path.name).write_bytes(path.read_bytes())
    shutil.copy(next(anat.glob("*_T1w.nii.gz")), lab / "T1w.nii.gz")
    return lab


def regions(lab):
    return [part for path in sorted(lab.glob("sub-01_*.nii.gz")) for part in ("--regions", path)]


@pytest.fixture(scope="module")
def whole(tiny_subject):
    return open_subject(tiny_subject)


def assert_same(subject, whole, trials=slice(None)):
    """Voxels may come in another order; at its place each has the same responses, areas and hemisphere."""
    place = {tuple(one): number for number, one in enumerate(whole.ijk)}
    order = np.array([place[tuple(one)] for one in subject.ijk])
    assert len(order) == whole.n_voxels and len(set(order)) == len(order)
    np.testing.assert_array_equal(subject._betas.read(np.arange(len(order))), whole._betas.read(np.arange(len(order)))[trials][:, order])
    np.testing.assert_allclose(subject.xyz, whole.xyz[order], atol=1e-4)
    np.testing.assert_array_equal(subject.voxels["hemi"], whole.voxels["hemi"].to_numpy()[order])
    assert set(subject.areas) == set(whole.areas)
    for name, mask in whole.areas.items():
        np.testing.assert_array_equal(subject.areas[name], mask[order], err_msg=name)


def test_volumes(apart, whole, tiny_subject, tmp_path, capfd):
    out = tmp_path / "out"
    asked = ["--images", tiny_subject / "stimuli", "--mask", apart / "mask.nii.gz", "--anatomy", apart / "T1w.nii.gz", *regions(apart)]
    asked += ["--surfaces", tiny_subject / "sub-01" / "anat", "--unit", "z-train"]
    assert run("import", "own", apart / "betas.nii.gz", out, *asked) == 1
    assert "no file says how wide the pictures were seen; give --field-of-view-deg" in capfd.readouterr().err
    assert not out.exists()
    assert run("import", "auto", apart / "betas.nii.gz", out, *asked, "--field-of-view-deg", 12) == 0
    said = capfd.readouterr().out
    assert "left hemisphere prefers the right field" in said and "ventral V1-V3 prefers the upper field" in said, said
    assert re.search(r"V1 field sign is negative in \d+% of \d+ triangles\n", said) and "V2 field sign is positive" in said
    subject = open_subject(out)
    assert_same(subject, whole)
    for name in ("stimulus_id", "split", "run", "session", "repeat", "onset"):
        np.testing.assert_array_equal(subject.trials[name], whole.trials[name])
    ids = list(whole.stimuli["stimulus_id"])
    assert set(subject.stimuli["stimulus_id"]) == set(ids)
    np.testing.assert_array_equal(subject.images(ids), whole.images(ids))
    assert subject.unit == whole.unit == "z-train" and subject.field_of_view_deg == whole.field_of_view_deg
    assert subject.meshes() == whole.meshes()
    for hemi, kind in whole.meshes():
        np.testing.assert_allclose(subject.mesh(hemi, kind).vertices, whole.mesh(hemi, kind).vertices)
    for hemi in ("L", "R"):
        np.testing.assert_allclose(subject.sulc(hemi), whole.sulc(hemi))
        assert (subject.vertex_voxels(hemi) >= 0).sum() == (whole.vertex_voxels(hemi) >= 0).sum() > 0
    for found, expected in zip(subject.t1w(), whole.t1w(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert read_provenance(out)["kind"] == "own"
    assert run("train", out, "--method", "ridge", "--preset", "tiny", "--device", "cpu", "--out", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


def test_mirrored_pictures_are_told_from_mirrored_voxels_by_the_field_sign(apart, tiny_subject, tmp_path, capfd):
    asked = ["--images", tiny_subject / "stimuli", "--mask", apart / "mask.nii.gz", *regions(apart), "--field-of-view-deg", 12]
    asked += ["--unit", "z-train", "--flip-images", "x"]
    assert run("import", "own", apart / "betas.nii.gz", tmp_path / "flat", *asked) == 0
    said = capfd.readouterr().out
    assert "with --flip x (" in said and "or without --flip-images x" in said  # without surfaces both would do
    assert run("import", "own", apart / "betas.nii.gz", tmp_path / "out", *asked, "--surfaces", tiny_subject / "sub-01" / "anat") == 0
    said = capfd.readouterr().out
    assert "V1 field sign is positive" in said and "mirrored" in said
    assert "import again without --flip-images x" in said and "--flip x" not in said
    sides = read_provenance(tmp_path / "out")["sides"]
    assert [sign["area"] for sign in sides["signs"] if not sign["ok"]] and [offer["choice"] for offer in sides["offers"]] == ["flip_images"]


def test_a_matrix_in_matlabs_order_with_drawn_splits(apart, whole, tiny_subject, tmp_path, capfd):
    out = tmp_path / "out"
    asked = ["--images", tiny_subject / "stimuli", "--mask", apart / "mask.nii.gz", "--voxel-order", "F", *regions(apart)]
    asked += ["--unit", "z-train", "--field-of-view-deg", 12, "--split-by", "image", "--test-share", 0.2, "--validation-share", 0.1]
    assert run("import", "own", apart / "matrix.npy", out, *asked) == 0
    assert "images (by source) were drawn by seed 0" in capfd.readouterr().out
    subject = open_subject(out)
    assert_same(subject, whole)
    data, held = training_data(subject, "V1"), evaluation_set(subject, subject.select("V1"))
    sources = subject.stimuli.set_index("stimulus_id")["source"]
    train = set(subject.trials.loc[subject.trials["split"] == "train", "stimulus_id"])
    assert len(data.images) == len(train) and not {sources[name] for name in train} & {sources[name] for name in held.stimulus_ids}


# ---------------------------------------------------------------------- the documented example


def test_the_documented_example(tmp_path, monkeypatch, capfd):
    """Every command of the page, in its order, in an empty folder."""
    text = PAGE.read_text(encoding="utf-8")
    script, *more = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    commands = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert not more and len(commands) == 6
    monkeypatch.chdir(tmp_path)
    Path("make_example.py").write_text(script, encoding="utf-8")
    for command in commands:
        program, *arguments = shlex.split(command)
        if program == "python":
            subprocess.run([sys.executable, *arguments], check=True, timeout=120)
        else:
            assert program == "brain2pix" and run(*arguments) == 0, command
    said = capfd.readouterr().out
    assert "left hemisphere prefers the right field" in said and "SIMULATED" in said
    subject, second = open_subject(tmp_path / "my-subject"), open_subject(tmp_path / "my-subject-2")
    truth = nibabel.load("lab/sub-01_betas.nii.gz").get_fdata()
    assert subject.simulated and subject.unit == "z-run" and {"V1", "V2", "V3"} <= set(subject.areas)
    np.testing.assert_allclose(second._betas.read(np.arange(second.n_voxels)), truth[tuple(second.ijk.T)].T, rtol=1e-6)
    left = nibabel.load("lab/lh.V1.nii.gz").get_fdata() > 0
    np.testing.assert_array_equal(subject.areas["V1"] & subject.areas["L"], left[tuple(subject.ijk.T)])
    assert second.trials.groupby("split")["stimulus_id"].nunique().to_dict() == {"train": 42, "test": 12, "validation": 6}
    assert json.loads((tmp_path / "my-run" / "status.json").read_text())["state"] == "finished"


def test_help(capfd):
    assert run("import", "--help") == 0
    said = capfd.readouterr().out
    for option in ("--table", "--regions", "--surfaces", "--voxel-order", "--split-by", "--validation-share", "One's own files"):
        assert option in said, said
