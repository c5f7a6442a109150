"""From another program's maps to a subject that shows them, by the commands that a user types."""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.data import open_subject
from brain2pix.data.maps import imported_maps, read_imported
from brain2pix.simulation import load_truth

sys.path.append(str(Path(__file__).parents[1] / "unit" / "data" / "prf_files" / "helpers"))

import prf_published as published


def run(*arguments):
    return run_arguments([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def truth(tiny_subject):
    return load_truth(tiny_subject)


@pytest.fixture(scope="module")
def nsd(tiny_subject, truth, tmp_path_factory):
    """Volumes of NSD, with x mirrored."""
    folder = tmp_path_factory.mktemp("func1pt8mm")
    subject = open_subject(tiny_subject)
    hemi = subject.voxels["hemi"].to_numpy(dtype=str)
    parts = {
        "angle": published.angles(-truth.x0_deg, truth.y0_deg, hemi, "nsd"),
        "eccentricity": published.eccentricity(truth.x0_deg, truth.y0_deg),
        "size": truth.size_deg,
        "R2": np.full(subject.n_voxels, 45.0),
    }
    for name, values in parts.items():
        published.write_volume(folder / f"prf_{name}.nii.gz", values, subject.ijk, subject.space.shape, subject.space.affine)
    return folder


def test_import_check_mend_show_export(tiny_copy, truth, nsd, tmp_path, capfd):
    assert run("prf", "import", nsd, tiny_copy, "--check") == 0
    said = capfd.readouterr().out
    assert "convention nsd (0 = right, counter-clockwise, deg): proposed, for it has maps called prf_angle, prf_eccentricity" in said
    assert "check      try: flip x\n" in said and said.endswith("nothing was written\n")
    assert imported_maps(tiny_copy / "sub-01") is None

    assert run("prf", "import", nsd, tiny_copy, "--flip", "x", "--field-of-view-deg", "12") == 0
    said = capfd.readouterr().out
    assert "converted  sign of x0 turned over" in said and "WARNING" not in said and "V1 field sign is negative in" in said
    subject = open_subject(tiny_copy)
    back = read_imported(imported_maps(subject.path)).on(subject)
    np.testing.assert_allclose(back.x0_deg, truth.x0_deg, atol=1e-4)
    np.testing.assert_allclose(back.sigma_deg, truth.size_deg, rtol=1e-5)
    about = json.loads((tiny_copy / "sub-01" / "prf" / "sub-01_desc-prf_prf.json").read_text())
    assert about["FieldOfViewDeg"] == 12 and about["Sources"][0] == "prf_R2.nii.gz"

    assert run("prf", "import", nsd, tiny_copy) == 1
    assert "replace them with --replace" in capfd.readouterr().err
    assert run("inspect", tiny_copy) == 0
    said = capfd.readouterr().out
    assert "(imported pRF map (nsd))" in said and "V2 field sign is positive in" in said and "WARNING" not in said

    assert run("prf", "export", tiny_copy, tmp_path / "out", "--convention", "benson14", "--formats", "mgz") == 0
    angle = nib.load(tmp_path / "out" / "rh.benson14_angle.mgz").get_fdata()
    assert 0 <= np.nanmin(angle) and np.nanmax(angle) <= 180 and np.isfinite(angle).sum() > 400
    assert run("export", tiny_copy, "--out", tmp_path / "maps", "--what", "map-files") == 0
    files = {path.name for path in (tmp_path / "maps" / "sub-01_maps").iterdir()}
    assert files >= {"about.json", "lh.prf_x0.mgz", "sub-01_desc-prf_voxels.tsv", "sub-01_desc-prf_voxels.json", "sub-01_desc-prf_prf.json"}
    about = json.loads((tmp_path / "maps" / "sub-01_maps" / "sub-01_desc-prf_prf.json").read_text())
    assert about["SourceConvention"].startswith("nsd") and about["Model"] == "imported pRF map (nsd)"


def test_a_subject_without_a_run_shows_what_was_imported(tiny_copy, nsd, capfd):
    from napari_brain2pix.folders.contents import contents
    from napari_brain2pix.folders.workspace import open_workspace

    assert open_workspace(tiny_copy).map is None
    assert run("prf", "import", nsd, tiny_copy, "--flip", "x") == 0
    for place in (tiny_copy, tiny_copy / "sub-01"):
        workspace = open_workspace(place)
        assert workspace.map is not None and workspace.map.source == "imported pRF map (nsd)" and workspace.notes == ()
    row = next(row for row in contents(workspace) if row.name == "Map")
    lines = row.lines()
    assert row.mark == "done" and any("from\timported pRF map (nsd)" in line for line in lines)
    assert any("V1 field sign\tnegative in 9" in line for line in lines)
    assert run("prf", "import", nsd, tiny_copy, "--replace") == 0
    row = next(row for row in contents(open_workspace(tiny_copy)) if row.name == "Map")
    assert row.mark == "mind" and "flip x" in row.todo
    assert any("V1 field sign\tpositive in 9" in line and "mirrored" in line for line in row.lines())


def test_maps_of_an_encoder_and_imported_ones_side_by_side(tiny_subject, tiny_copy, truth, nsd, tmp_path, capfd):
    from brain2pix.arrays import RetinotopicMap
    from brain2pix.data import write_maps

    demo = tmp_path / "demo"
    demo.mkdir()
    tiny_copy.rename(demo / "subject")
    assert run("prf", "import", nsd, demo, "--flip", "x") == 0
    subject = open_subject(demo / "subject")
    parts = [np.asarray(part, dtype=np.float32) for part in (truth.x0_deg + 0.5, truth.y0_deg, truth.size_deg)]
    encoder = RetinotopicMap(*parts, np.ones(subject.n_voxels, dtype=np.float32), 12.0, "held-out r", "an encoder")
    write_maps(demo / "maps", encoder, subject, np.arange(subject.n_voxels))
    capfd.readouterr()
    assert run("inspect", demo) == 0
    assert "and the imported map: x0 r 1.00, y0 r 1.00, 0.50 degrees apart in the median" in capfd.readouterr().out
    for out, option, expected in (("one", [], 0.5), ("two", ["--imported"], 0.0)):
        assert run("prf", "export", demo, tmp_path / out, "--formats", "nifti", *option) == 0
        file = next((tmp_path / out).glob("*_x0.nii.gz"))
        shift = nib.load(file).get_fdata()[tuple(subject.ijk.T)] - truth.x0_deg
        assert np.nanmedian(shift) == pytest.approx(expected, abs=1e-4)


def test_words_of_refusal(tiny_subject, nsd, tmp_path, capfd):
    assert run("prf", "import", nsd, tiny_subject, "--convention", "fsfast") == 1
    assert "Say all of --zero right|up, --direction" in capfd.readouterr().err
    assert run("prf", "import", nsd, tiny_subject, "--convention", "neuropythy-standard") == 1
    assert "degrees? use nsd" in capfd.readouterr().err
    assert run("prf", "export", tiny_subject, tmp_path / "out") == 1
    assert "holds no maps; import some (brain2pix prf import), or make them (brain2pix maps RUN)" in capfd.readouterr().err
    assert run("prf", "conventions") == 0
    said = capfd.readouterr().out
    assert "nsd " in said and "(also: hcp)" in said and "refused without more: what its phase means depends on the paradigm" in said
    assert not (tiny_subject / "sub-01" / "prf").exists() and not (tmp_path / "out").exists()
