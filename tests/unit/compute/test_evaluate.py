"""What an evaluation writes of an encoder, voxel by voxel, and of a pool of distractors: counted again with numpy, read with nibabel."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from imageio.v3 import imwrite

from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.maps import read_maps
from brain2pix.data.subject import open_subject
from brain2pix.data.voxel_accuracy import read_voxel_accuracy, with_voxel_accuracy
from brain2pix.errors import DataFormatError
from brain2pix.evaluation.report import read_lines
from brain2pix.methods.predictions import predict_responses


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    """Seventy pictures of noise, one of them wide: it is cut, not squeezed."""
    folder = tmp_path_factory.mktemp("pool")
    rng = np.random.default_rng(5)
    (folder / "more").mkdir()
    for number in range(70):
        edge = (40, 80) if number == 3 else (40, 40)
        imwrite(folder / ("more" if number % 2 else "") / f"noise-{number:02d}.png", rng.integers(0, 256, (*edge, 3), dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def results(trained, pool, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "out"
    params = {"run": str(trained / "gaziv"), "device": "cpu", "pool": str(pool)}
    assert run_job(JobSpec("evaluate", params, folder)) == "finished"
    return folder / "results"


@pytest.fixture(scope="module")
def table(results) -> pd.DataFrame:
    return pd.read_csv(results / "encoder_voxels.tsv", sep="\t", na_values="n/a", keep_default_na=False)


@pytest.fixture(scope="module")
def measured(trained, tiny_subject):
    """Predictions and mean responses of the test images, by another way."""
    loaded = open_run(trained / "gaziv", tiny_subject, "cpu")
    subject, rows = loaded.subject, loaded.subject.rows("test")
    responses, shown = subject.responses(rows, loaded.voxel_index), subject.trials["stimulus_id"].to_numpy()[rows]
    names = sorted(set(shown))
    means = np.array([responses[shown == name].mean(axis=0) for name in names])
    predicted = predict_responses(loaded.method, subject.images(names, loaded.method.image_size)).astype(np.float64)
    return loaded, predicted, means


def test_every_voxel_of_the_model_has_its_numbers(table, measured) -> None:
    loaded, predicted, means = measured
    subject = loaded.subject
    np.testing.assert_array_equal(table["voxel"], loaded.voxel_index)
    np.testing.assert_array_equal(table[["i", "j", "k"]], subject.ijk[loaded.voxel_index])
    r = [np.corrcoef(predicted[:, voxel], means[:, voxel])[0, 1] for voxel in range(means.shape[1])]
    np.testing.assert_allclose(table["r"], r, atol=2e-5)
    h = table["half"].to_numpy()
    np.testing.assert_allclose(table["reliability"], np.where(h > 0, 2 * h / (1 + h), np.nan), atol=1e-4)
    np.testing.assert_allclose(table["ceiling"], np.sqrt(table["reliability"]), atol=1e-4)
    shown = table["r_over_ceiling"].notna()
    assert (table["ceiling"][shown] > 0.2).all() and not (table["ceiling"][~shown] > 0.2001).any()
    np.testing.assert_allclose(table["r_over_ceiling"][shown], (table["r"] / table["ceiling"])[shown], rtol=1e-3)
    row = table.iloc[17]
    names = {name for name, mask in subject.areas.items() if mask[row["voxel"]]} - {"L", "R", "all"}
    assert set(row["areas"].split(",")) == names and {"V1"} < names


def test_volumes_hold_the_table_at_the_right_voxels(results, table, tiny_subject) -> None:
    grid = nibabel.load(next((tiny_subject / "sub-01" / "func").glob("*desc-brain_mask.nii.gz")))
    for name, column in (("prediction", "r"), ("ceiling", "ceiling"), ("accuracy", "r_over_ceiling")):
        image = nibabel.load(next(results.glob(f"sub-01_space-*_desc-test_{name}.nii.gz")))
        np.testing.assert_allclose(image.affine, grid.affine, atol=1e-4)
        volume = np.asarray(image.dataobj)
        assert volume.shape == grid.shape
        values = volume[table["i"], table["j"], table["k"]]
        np.testing.assert_allclose(values, table[column], rtol=1e-4, atol=1e-6)
        assert np.isfinite(volume).sum() == table[column].notna().sum()


def test_summaries_are_the_percentiles_of_every_area_with_voxels(results, table) -> None:
    lines = {(line.row, line.score): line for line in read_lines(results / "scores.tsv") if line.part == "encoder"}
    areas = {name for names in table["areas"] for name in names.split(",")}
    assert {row.removeprefix("gaziv").strip() for row, _ in lines} == areas | {""}
    for area in ("", *areas):
        mask = np.array([not area or area in names.split(",") for names in table["areas"]])
        for score, column in (("r", "r"), ("r_over_ceiling", "r_over_ceiling")):
            values = table[column][mask].dropna()
            for name, share in (("median", 50), ("percentile_75", 75), ("percentile_90", 90)):
                line = lines[f"gaziv {area}".strip(), f"{name}_{score}"]
                assert line.value == pytest.approx(np.percentile(values, share), abs=2e-4) and line.n == len(values)


def test_the_sidecar_says_what_it_was_measured_on(results, table) -> None:
    about = json.loads((results / "encoder_voxels.json").read_text())
    assert (about["Split"], about["Images"], about["Repeats"], about["Simulated"]) == ("test", 20, [8, 8], True)
    assert list(about["Columns"]) == list(table)
    assert about["NotAvailable"] is None and about["Transductive"]


def test_maps_and_evaluation_hold_the_same(trained, results, tiny_subject, tmp_path) -> None:
    params = {"run": str(trained / "gaziv"), "device": "cpu", "settings": {"n_images": 1, "max_spread": 1}}
    assert run_job(JobSpec("maps", params, tmp_path / "maps")) == "finished"
    subject = open_subject(tiny_subject)
    found = read_maps(tmp_path / "maps" / "results", "encoder").on(subject)
    voxels = read_voxel_accuracy(results, subject)
    for part, column in (("prediction", "r"), ("ceiling", "ceiling"), ("accuracy", "r_over_ceiling")):
        np.testing.assert_allclose(getattr(found, part), voxels.values[column], rtol=1e-4, atol=1e-5)
    assert found.accuracy_name == "r of the encoder on 20 test images, mean of 8 repeats each, over the split-half noise ceiling"
    assert with_voxel_accuracy(found, results, subject) is found
    older = replace(found, prediction=None, ceiling=None, accuracy=None)
    filled = with_voxel_accuracy(older, results, subject)
    np.testing.assert_array_equal(filled.prediction, voxels.values["r"])
    np.testing.assert_array_equal(filled.x0_deg, found.x0_deg)
    alone = with_voxel_accuracy(None, results, subject)
    assert np.isnan(alone.x0_deg).all() and alone.source == "encoder of gaziv"
    assert with_voxel_accuracy(None, tmp_path, subject) is None and with_voxel_accuracy(older, None, subject) is older


def test_a_table_of_other_voxels_is_refused(results, tiny_subject, tmp_path) -> None:
    subject = open_subject(tiny_subject)
    for file in ("encoder_voxels.tsv", "encoder_voxels.json"):
        (tmp_path / file).write_bytes((results / file).read_bytes())
    text = (tmp_path / "encoder_voxels.tsv").read_text().splitlines()
    moved = text[1].split("\t")
    moved[1] = str(int(moved[1]) + 1)
    (tmp_path / "encoder_voxels.tsv").write_text("\n".join([text[0], "\t".join(moved), *text[2:]]))
    with pytest.raises(DataFormatError, match="is about other voxels than those of"):
        read_voxel_accuracy(tmp_path, subject)
    moved[1] = "1.5"
    (tmp_path / "encoder_voxels.tsv").write_text("\n".join([text[0], "\t".join(moved), *text[2:]]))
    with pytest.raises(DataFormatError, match="column i must hold whole numbers"):
        read_voxel_accuracy(tmp_path, subject)
    (tmp_path / "encoder_voxels.tsv").write_bytes((results / "encoder_voxels.tsv").read_bytes())
    (tmp_path / "encoder_voxels.json").write_text("{}")
    with pytest.raises(DataFormatError, match=r"is damaged \(KeyError"):
        read_voxel_accuracy(tmp_path, subject)


def test_identification_in_a_pool_names_it(results, pool) -> None:
    lines = {line.score: line for line in read_lines(results / "scores.tsv") if line.part == "pool"}
    scores = ("2-way", "5-way", "10-way", "50-way", "rank")
    assert set(lines) == {f"{judge} {score}, pool" for judge in ("pixel", "random", "random_residual") for score in scores}
    assert all(line.note == f"distractors: 70 pictures of {pool}" and line.n == 20 for line in lines.values())
    assert (lines["pixel 50-way, pool"].chance, lines["pixel rank, pool"].chance) == (2, 0.5)
    assert lines["pixel 2-way, pool"].value == pytest.approx(100 * (1 - lines["pixel rank, pool"].value), abs=1e-3)
    about = json.loads((results / "about.json").read_text())
    assert about["pool"] == f"the other images of the split, and {pool}"


def test_ranks_of_the_split_stand_beside_its_ways(results) -> None:
    lines = {(line.part, line.score): line for line in read_lines(results / "scores.tsv")}
    rank, two = lines["rank", "pixel rank"], lines["identification", "pixel 2-way"]
    assert two.value == pytest.approx(100 * (1 - rank.value), abs=1e-3) and rank.chance == 0.5
    assert ("identification", "pixel 5-way") in lines and ("identification", "pixel 50-way") not in lines
