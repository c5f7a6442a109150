"""Noise ceilings of a subject against the simulated truth; a subject without repeats has none, and says why."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from brain2pix.data import open_subject, subject
from brain2pix.data.ceilings import QUANTITIES, area_table, measure_ceilings, write_ceilings
from brain2pix.errors import ConfigError
from brain2pix.simulation.truth import load_truth


@pytest.fixture(scope="module")
def opened(tiny_subject):
    return open_subject(tiny_subject)


@pytest.fixture(scope="module")
def found(opened):
    return measure_ceilings(opened)


@pytest.fixture
def averaged(lab):
    """A subject whose repeats were averaged away before, as those of vim-1."""
    lab.edit_table(lab.h5_table, lambda table: table.assign(stimulus_id=[f"{n % 8:04d}" if n < 8 else "t0" for n in range(len(table))]))
    lab.edit_table(lab.h5_table, lambda table: table.assign(split=["train"] * 8 + ["test"] + ["other"] * (len(table) - 9)))
    return open_subject(lab.root)


def test_the_truth_is_found(opened, found, tiny_subject):
    truth = load_truth(tiny_subject)
    seen, nc1 = truth.in_scope, truth.nc1[truth.in_scope]
    values = {name: part[seen] for name, part in found.values.items()}
    assert np.median(values["ncsnr"]) == pytest.approx(np.median(np.sqrt(nc1 / (1 - nc1))), abs=0.06)
    assert values["nc1"].mean() == pytest.approx(100 * nc1.mean(), abs=3)
    assert values["ncmean"].mean() == pytest.approx(100 * np.mean(8 * nc1 / (1 + 7 * nc1)), abs=3)
    assert np.nanmedian(values["splithalf"]) == pytest.approx(np.median(truth.ceiling["test"][seen]), abs=0.06)
    assert np.corrcoef(values["nc1"], nc1)[0, 1] > 0.75
    nonvisual = found.values["ncsnr"][truth.area == 5]
    assert np.median(nonvisual) < 0.1 and np.median(nonvisual) < np.median(values["ncsnr"]) / 4
    assert (found.n_trials, found.n_images, found.n_repeated, found.repeats, found.reason) == (160, 20, 20, (8, 8), "")
    assert str(found) == "test: 160 trials, 20 of 20 images have repeats, 8 trials each"


def test_areas_are_summarised(opened, found):
    table = area_table(opened, found).set_index("area")
    assert list(table.index) == list(opened.areas)
    for name in ("V1", "FFA", "nonvisual"):
        mask = opened.areas[name]
        assert table.loc[name, "voxels"] == mask.sum() and table.loc[name, "known"] == np.isfinite(found.values["splithalf"][mask]).sum()
        assert table.loc[name, "splithalf"] == pytest.approx(pd.Series(found.values["splithalf"][mask]).median())
    assert table.loc["V1", "ncsnr"] > 4 * table.loc["nonvisual", "ncsnr"]


def test_a_few_voxels_at_a_time_is_all_at_once(opened, found, monkeypatch):
    monkeypatch.setattr(subject, "BLOCK_BYTES", 4 * len(opened.trials) * 200)
    again = measure_ceilings(opened)
    for name in QUANTITIES:
        np.testing.assert_allclose(again.values[name], found.values[name], rtol=1e-4, atol=1e-4)


def test_files(opened, found, tmp_path):
    written = write_ceilings(tmp_path / "out", opened, found)
    assert sorted(written) == sorted((tmp_path / "out").iterdir()) and len(written) == 8
    base = f"sub-01_space-{opened.space.name}_desc-test"
    table = pd.read_csv(tmp_path / "out" / f"{base}_ceilings.tsv", sep="\t", na_values="n/a")
    np.testing.assert_array_equal(table[["i", "j", "k"]], opened.ijk)
    for name, values in found.values.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-5)
        volume = nib.load(tmp_path / "out" / f"{base}_{name}.nii.gz")
        np.testing.assert_array_equal(volume.get_fdata(dtype="float32")[tuple(opened.ijk.T)], values)
        assert np.isfinite(volume.get_fdata()).sum() == np.isfinite(values).sum()
        np.testing.assert_allclose(volume.affine, opened.space.affine)
    about = json.loads((tmp_path / "out" / f"{base}_ceilings.json").read_text())
    assert about["Simulated"] is True and about["Repeats"] == [8, 8] and set(about["Quantities"]) == set(found.values)
    assert about["NotAvailable"] is None
    with pytest.raises(ConfigError, match="out exists and is not an empty folder; choose another place"):
        write_ceilings(tmp_path / "out", opened, found)


def test_averaged_repeats_have_no_ceiling(averaged, tmp_path):
    found = measure_ceilings(averaged)
    assert "no image of split 'test' has more than one trial; where responses are averages over repeats already" in found.reason
    assert all(np.isnan(values).all() for values in found.values.values()) and found.repeats == (1, 1)
    assert str(found) == "test: 1 trials, 0 of 1 images have repeats"
    assert area_table(averaged, found).drop(columns=["area", "voxels", "known"]).isna().all(axis=None)
    names = [path.name for path in write_ceilings(tmp_path / "out", averaged, found)]
    assert not any(name.endswith(".nii.gz") for name in names)
    text = (tmp_path / "out" / "sub-01_space-T1w_desc-test_ceilings.tsv").read_text().splitlines()[1]
    assert text.endswith("n/a\tn/a\tn/a\tn/a\tn/a")
    assert (
        "averages over repeats" in json.loads((tmp_path / "out" / "sub-01_space-T1w_desc-test_ceilings.json").read_text())["NotAvailable"]
    )


def test_too_few_images_have_repeats(lab):
    opened = open_subject(lab.root)
    found = measure_ceilings(opened, "validation")
    assert found.reason == "1 of 1 images of split 'validation' have repeats, a correlation across images needs three"
    with pytest.raises(ConfigError, match=r"unknown split 'tst'\. Did you mean 'test'"):
        measure_ceilings(opened, "tst")
