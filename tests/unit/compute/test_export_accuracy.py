"""The figure of how well responses are predicted: its numbers counted again, with and without receptive fields."""

import json
from pathlib import Path

import numpy as np
import pytest
from imageio.v3 import imread

from brain2pix.arrays import RetinotopicMap
from brain2pix.compute.export.write import export
from brain2pix.compute.spec import JobSpec
from brain2pix.config.export import ExportSettings
from brain2pix.data.maps import read_maps, write_maps
from brain2pix.data.subject import open_subject
from brain2pix.data.voxel_accuracy import COLUMNS, VoxelAccuracy, write_voxel_accuracy
from brain2pix.errors import MissingDataError


@pytest.fixture(scope="module")
def values(tiny_subject: Path) -> dict[str, np.ndarray]:
    """Made-up accuracy of the voxels of V1 and V2, some without a ceiling."""
    subject, rng = open_subject(tiny_subject), np.random.default_rng(2)
    n = subject.select("V1 + V2").size
    ceiling = np.where(rng.random(n) < 0.8, rng.uniform(0.3, 0.9, n), np.nan)
    r = np.nan_to_num(ceiling, nan=0.3) * rng.uniform(-0.1, 1.0, n)
    parts = {"r": r, "ceiling": ceiling, "r_over_ceiling": r / ceiling, "half": 0 * r, "reliability": ceiling**2}
    return {name: parts[name].astype(np.float32) for name in COLUMNS}


@pytest.fixture(scope="module")
def evaluated(tiny_subject: Path, values, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the results of an evaluation, without maps."""
    run = tmp_path_factory.mktemp("run") / "run"
    JobSpec("train", {"subject": str(tiny_subject), "method": "ridge"}, run).write()
    subject = open_subject(tiny_subject)
    found = VoxelAccuracy(values, "test", 20, (6, 8), "gaziv")
    results = run / "evaluate-test" / "results"
    write_voxel_accuracy(results, found, subject, subject.select("V1 + V2"), {})
    (results / "scores.tsv").write_text("")
    return run


def sidecar(out: Path, name: str) -> dict:
    return json.loads((out / f"sub-01_{name}.json").read_text(encoding="utf-8"))


def test_numbers_and_words_of_the_figure(evaluated, values, tiny_subject, tmp_path) -> None:
    width_mm = 89.0
    settings = ExportSettings(folder=evaluated, out=tmp_path / "out", what=("accuracy",), dpi=72, width_mm=width_mm)
    written = {path.name for path in export(settings)}
    names = ("accuracy", "accuracy-cortex")
    assert written == {f"sub-01_{name}.{ending}" for name in names for ending in ("png", "json", "txt")}
    subject = open_subject(tiny_subject)
    index = subject.select("V1 + V2")
    for name in names:
        about = sidecar(tmp_path / "out", name)
        for words in ("20 test images", "mean of 6 to 8 repeats each", "split-half noise ceiling", "encoder of gaziv", "simulated subject"):
            assert words in about["caption"]
        assert about["size"]["width_mm"] == pytest.approx(width_mm, abs=0.01)
        assert imread(tmp_path / "out" / f"sub-01_{name}.png").shape[1] == pytest.approx(width_mm / 25.4 * 72, abs=1)
        areas = about["accuracy"]["areas"]
        assert {"V1", "V2"} <= set(areas) and "V1v" not in areas and "outside" not in areas and "V3" not in areas
        for area in ("V1", "V2"):
            mine = subject.areas[area][index]
            for part, column in (("prediction", "r"), ("ceiling", "ceiling"), ("accuracy", "r_over_ceiling")):
                known = values[column][mine][np.isfinite(values[column][mine])]
                assert areas[area][part]["n"] == known.size
                for share in (50, 75, 90):
                    assert areas[area][part][f"percentile_{share}"] == pytest.approx(np.percentile(known, share), abs=1e-4)
    assert sidecar(tmp_path / "out", "accuracy-cortex")["accuracy"]["rows"] == ["r", "ceiling", "r / ceiling"]


def test_maps_of_an_evaluation_alone_are_drawn(evaluated, values, tmp_path) -> None:
    settings = ExportSettings(folder=evaluated, out=tmp_path / "out", what=("maps",), dpi=72, threshold=-1.0)
    written = {path.name for path in export(settings) if path.suffix == ".png"}
    assert written == {f"sub-01_map-{kind}.png" for kind in ("prediction", "ceiling", "accuracy")}
    about = sidecar(tmp_path / "out", "map-ceiling")["map"]
    assert about["n_shown"] == np.isfinite(values["ceiling"]).sum() and about["limits"] == [0, 1] and about["colour_map"] == "inferno"
    with pytest.raises(MissingDataError, match=r"cannot export coverage of .*no maps yet"):
        export(ExportSettings(folder=evaluated, out=tmp_path / "no", what=("coverage",)))


def test_maps_carry_the_three_parts_into_files(tiny_subject, values, tmp_path) -> None:
    subject = open_subject(tiny_subject)
    index = subject.select("V1 + V2")
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "subject").symlink_to(tiny_subject)
    x0 = np.linspace(-4, 4, index.size).astype(np.float32)
    plain = RetinotopicMap(x0, x0, 0 * x0 + 1, np.abs(x0) / 4, subject.field_of_view_deg, "held-out r", "encoder gradients of gaziv")
    found = VoxelAccuracy(values, "test", 20, (8, 8), "gaziv").beside(plain, 12.0)
    write_maps(demo / "maps", found, subject, index)
    again = read_maps(demo / "maps", "encoder").on(subject, index)
    for name in ("prediction", "ceiling", "accuracy"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    settings = ExportSettings(folder=demo, out=tmp_path / "out", what=("map-files", "accuracy"), dpi=72, threshold=0.5, whole_maps=False)
    export(settings)
    cut = read_maps(tmp_path / "out" / "sub-01_maps", "encoder").on(subject, index)
    kept = plain.quality >= 0.5
    np.testing.assert_array_equal(np.isfinite(cut.prediction), kept & np.isfinite(values["r"]))
    assert "mean of 8 repeats each" in sidecar(tmp_path / "out", "accuracy")["caption"]
    write_maps(demo / "maps", plain, subject, index)  # made again without: nothing of before stays
    assert not list((demo / "maps").glob("*_prediction.*")) and not list((demo / "maps").glob("*_ceiling.*"))
    with pytest.raises(MissingDataError, match="no accuracy of an encoder yet; measure it, of a system that has one: brain2pix evaluate"):
        export(ExportSettings(folder=demo, out=tmp_path / "no", what=("accuracy",)))


def test_without_repeats_there_is_r_alone(tiny_subject, values, tmp_path) -> None:
    subject = open_subject(tiny_subject)
    run, nothing = tmp_path / "run", np.full_like(values["r"], np.nan)
    JobSpec("train", {"subject": str(tiny_subject), "method": "ridge"}, run).write()
    single = {"r": values["r"], **dict.fromkeys(list(COLUMNS)[1:], nothing)}
    found = VoxelAccuracy(single, "once", 5, (1, 1), "gaziv", "no noise ceiling: no image of split 'once' has more than one trial")
    results = run / "evaluate-test" / "results"
    write_voxel_accuracy(results, found, subject, subject.select("V1 + V2"), {})
    (results / "scores.tsv").write_text("")
    export(ExportSettings(folder=run, out=tmp_path / "out", what=("accuracy",), dpi=72, surfaces=("flat",)))
    about = sidecar(tmp_path / "out", "accuracy-cortex")
    assert about["accuracy"]["rows"] == ["r"] and "no noise ceiling: no image of split 'once'" in about["caption"]
