"""What an export writes is counted again here from the arrays, and opened with libraries that are not ours."""

import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
import pandas as pd
import pytest
from imageio.v3 import imread

from brain2pix.arrays import RetinotopicMap
from brain2pix.cli._main import run_arguments
from brain2pix.compute.export.write import export
from brain2pix.config.export import ExportSettings, command_line, in_the_way, stems
from brain2pix.data.maps import write_maps
from brain2pix.data.subject import open_subject
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError, MissingDataError
from brain2pix.evaluation.report import ScoreLine, read_lines, write_lines
from brain2pix.events import Cancelled, CancelToken
from brain2pix.simulation import load_truth

WIDTH_MM = 89.0
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def folder(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo folder without a model: true receptive fields with made-up quality, noise as reconstructions, three scores."""
    place = tmp_path_factory.mktemp("export") / "demo"
    place.mkdir()
    (place / "subject").symlink_to(tiny_subject)
    subject, truth, rng = open_subject(tiny_subject), load_truth(tiny_subject), np.random.default_rng(0)
    assert truth is not None
    index = subject.select("V1 + V2 + V3 - outside")
    parts = (np.asarray(values[index], dtype=np.float32) for values in (truth.x0_deg, truth.y0_deg, truth.size_deg))
    quality = rng.uniform(0, 1, index.size).astype(np.float32)
    write_maps(place / "maps", RetinotopicMap(*parts, quality, subject.field_of_view_deg, "held-out r", "the truth"), subject, index)
    (place / "results").mkdir()
    stimuli = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    made = np.clip(stimuli + rng.normal(0, 60, stimuli.shape), 0, 255).astype(np.uint8)
    ids = np.array([f"test-{number}" for number in range(12)])
    np.savez(place / "results" / "reconstructions.npz", stimulus_ids=ids, stimuli=stimuli, reconstructions=made)
    lines = [
        ScoreLine("identification", "full", "pixel 10-way", 61.5, "%", 50.0, 72.0, 10.0, 12),
        ScoreLine("ssim", "full", "ssim", 0.31, "", 0.2, 0.4, 0.35, 12, "chance = flat picture"),
        ScoreLine("encoder", "V1", "median_r", 0.42, n=100),
    ]
    write_lines(place / "scores.tsv", lines)
    (place / "demo.json").write_text(json.dumps({"method": "none"}))
    return place


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that this folder offers, in a narrow column."""
    out = tmp_path_factory.mktemp("exported") / "out"
    settings = ExportSettings(
        folder=folder,
        out=out,
        what=("maps", "coverage", "reconstructions", "map-files", "scores"),
        formats=("png", "svg", "pdf"),
        dpi=72,
        width_mm=WIDTH_MM,
        maps=("angle",),
        threshold=THRESHOLD,
        whole_maps=False,
        first=7,
    )
    written = export(settings)
    assert {path.name for path in written} == {path.name for path in out.iterdir()}
    return out


def sidecar(out: Path, name: str) -> dict:
    return json.loads((out / f"sub-01_{name}.json").read_text(encoding="utf-8"))


def volume(folder: Path, quantity: str) -> np.ndarray:
    return np.asarray(nibabel.load(next(folder.glob(f"*_{quantity}.nii.gz"))).dataobj)


def test_numbers_of_a_map_are_those_of_its_arrays(folder: Path, exported: Path) -> None:
    x0, y0, sigma, quality = (volume(folder / "maps", name) for name in ("x0", "y0", "sigma", "quality"))
    subject = open_subject(folder / "subject")
    field = subject.field_of_view_deg
    with np.errstate(invalid="ignore"):
        shown = (quality >= THRESHOLD) & (np.hypot(x0, y0) - 2 * sigma <= field / 2)
    about = sidecar(exported, "map-angle")
    found = about["map"]
    assert 0 < found["n_shown"] == int(shown.sum()) < found["n_mapped"] == int(np.isfinite(x0).sum())
    left = {tuple(place) for place in subject.ijk[(subject.voxels["hemi"] == "L").to_numpy()].tolist()}
    counted = sum(tuple(place) in left for place in np.argwhere(shown).tolist())
    assert found["hemispheres"]["L"]["n_shown"] == counted and found["hemispheres"]["R"]["n_shown"] == int(shown.sum()) - counted
    assert 0 < found["n_on_surface"] <= found["n_shown"]
    assert found["threshold"] == {**found["threshold"], "quality_at_least": THRESHOLD, "measure": "held-out r"}
    assert about["conventions"]["field_of_view_deg"] == field and "0 = right horizontal" in about["conventions"]["visual_field"]
    assert about["simulated"] is True and "simulated subject" in about["caption"]
    assert f"{found['n_shown']:,} of {found['n_mapped']:,} mapped voxels" in about["caption"]
    assert (exported / "sub-01_map-angle.txt").read_text(encoding="utf-8").strip() == about["caption"]
    assert {"python", "numpy", "matplotlib", "napari-brain2pix"} <= set(about["versions"])
    areas = sidecar(exported, "coverage")["map"]["n_shown_by_area"]
    assert sum(areas.values()) == found["n_shown"]


@pytest.mark.parametrize("name", ["map-angle", "coverage", "reconstructions", "scores"])
def test_figures_have_the_width_of_the_column_in_every_format(exported: Path, name: str) -> None:
    about = sidecar(exported, name)
    assert about["files"] == [f"sub-01_{name}.{ending}" for ending in ("png", "svg", "pdf")]
    assert about["size"]["width_mm"] == pytest.approx(WIDTH_MM, abs=0.01)
    assert imread(exported / f"sub-01_{name}.png").shape[1] == pytest.approx(WIDTH_MM / 25.4 * 72, abs=1)
    pdf = (exported / f"sub-01_{name}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and b"/Type3" not in pdf.replace(b" ", b""), "letters are fonts that a printer knows"
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert box is not None
    assert float(box[1]) == pytest.approx(WIDTH_MM / 25.4 * 72, abs=0.1)
    assert float(box[2]) == pytest.approx(about["size"]["height_mm"] / 25.4 * 72, abs=0.1)
    svg = exported / f"sub-01_{name}.svg"
    assert svg.stat().st_size < 2_500_000
    root = ElementTree.parse(svg).getroot()
    letters = [element for element in root.iter() if element.tag.endswith("}text")]
    assert letters, "letters are letters"
    sizes = [float(found[1]) for element in letters if (found := re.search(r"([\d.]+)px", element.get("style", "")))]
    assert sizes and min(sizes) >= 6, "readable in print"  # user units of an SVG are points here


def test_map_files_are_the_map_above_the_threshold(folder: Path, exported: Path) -> None:
    place = exported / "sub-01_maps"
    quality = volume(folder / "maps", "quality")
    with np.errstate(invalid="ignore"):
        kept = quality >= THRESHOLD
    for quantity in ("x0", "y0", "sigma"):
        before = volume(folder / "maps", quantity)
        assert np.array_equal(volume(place, quantity), np.where(kept, before, np.nan), equal_nan=True)
    assert np.array_equal(volume(place, "quality"), quality, equal_nan=True)
    about = json.loads((place / "about.json").read_text())
    assert about["threshold"]["quality_at_least"] == THRESHOLD and about["n_with_a_field"] == int(np.isfinite(volume(place, "x0")).sum())
    table = pd.read_csv(next(place.glob("*.tsv")), sep="\t", na_values="n/a")
    assert len(table) == int(np.isfinite(quality).sum()) and table["x0"].notna().sum() == about["n_with_a_field"]
    row = table[table["x0"].notna()].iloc[0]
    assert volume(place, "x0")[int(row.i), int(row.j), int(row.k)] == pytest.approx(row.x0, rel=1e-5)


def test_pictures_and_scores_say_their_numbers(folder: Path, exported: Path) -> None:
    with np.load(folder / "results" / "reconstructions.npz") as stored:
        pairs = zip(stored["stimuli"][:7], stored["reconstructions"][:7], strict=True)
        expected = [np.corrcoef(first.ravel().astype(float), second.ravel().astype(float))[0, 1] for first, second in pairs]
    about = sidecar(exported, "reconstructions")["pictures"]
    assert about["pixel_r"] == pytest.approx(expected, abs=1e-4) and (about["n_shown"], about["n_images"]) == (7, 12)
    assert [line["value"] for line in sidecar(exported, "scores")["scores"]["lines"]] == [61.5, 0.31, 0.42]
    assert read_lines(exported / "sub-01_scores.tsv") == read_lines(folder / "scores.tsv")
    assert "| identification | full | pixel 10-way | 61.5 % | 50.0 to 72.0 | 10.0 | 12 |" in (exported / "sub-01_scores.md").read_text()


def test_the_command_of_a_sidecar_makes_the_same_figure_again(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(sidecar(exported, "reconstructions")["command"])
    assert program == "brain2pix"
    assert run_arguments(words) == 1 and "--overwrite" in capsys.readouterr().err
    again = exported.parent / "again"
    words[words.index("--out") + 1] = str(again)
    assert run_arguments(words) == 0
    assert "wrote" in capsys.readouterr().out
    for ending in ("png", "svg"):
        name = f"sub-01_reconstructions.{ending}"
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_what_cannot_be_exported_is_explained_and_leaves_nothing(folder: Path, tiny_subject: Path, tmp_path: Path) -> None:
    def refused(error: type[Brain2PixError], match: str, **changes: object) -> None:
        values = {"folder": folder, "out": tmp_path / "out", "what": ("reconstructions",), **changes}
        with pytest.raises(error, match=match):
            export(ExportSettings.model_validate(values))
        assert not (tmp_path / "out").exists()

    refused(MissingDataError, "cannot export maps of .*no maps yet; make them: brain2pix maps", folder=tiny_subject, what=("maps",))
    refused(MissingDataError, "no trained model", what=("stimulation",))
    refused(MissingDataError, "does not exist", folder=tmp_path / "none")
    refused(ConfigError, "unknown stimulus 'test-99'", images=("test-99",))
    refused(ConfigError, "unknown map 'accuracy'", what=("maps",), maps=("accuracy",))
    (tmp_path / "file").write_text("")
    refused(ComputeError, "cannot be written to", out=tmp_path / "file" / "out")
    stop = CancelToken()
    stop.cancel()
    with pytest.raises(Cancelled):
        export(ExportSettings(folder=folder, out=tmp_path / "out", what=("reconstructions",)), cancel=stop)
    assert not (tmp_path / "out").exists()


def test_names_in_the_way_are_found_without_drawing(tmp_path: Path) -> None:
    for name in ("sub-01_map-angle.png", "sub-01_scores.md", "sub-010_scores.md", "notes.txt"):
        (tmp_path / name).touch()
    found = in_the_way(tmp_path, stems("sub-01", ("maps", "scores", "stimulation"), ()))
    assert [path.name for path in found] == ["sub-01_map-angle.png", "sub-01_scores.md"]
    assert "sub-01_stimulation-record" in stems("sub-01", ("stimulation",), ())
    settings = ExportSettings(folder=Path("a b"), out=Path("c"), what=("maps",), threshold=-1.5, whole_maps=False)
    words = shlex.split(command_line(settings))
    assert "a b" in words and "--threshold=-1.5" in words and "--cut-maps" in words
