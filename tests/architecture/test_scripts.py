"""The scripts that fill README and results page agree with what the program writes."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from brain2pix.config.defaults import DEMO_METHOD
from brain2pix.evaluation import ScoreLine, markdown, write_lines
from brain2pix.evaluation.scores import PRFRow, Scores

SCRIPTS = Path(__file__).parents[2] / "scripts"


def leaves(values: dict[str, Any], path: str = "") -> set[str]:
    """Dotted paths of everything that is not an object."""
    inner = [leaves(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}"} for key, value in values.items()]
    return set().union(*inner)


def write_demo(folder: Path, seed: int, method: str = "gaziv", preset: str = "demo") -> str:
    """Write the sheet of a demo: one complete row, the other rows null."""
    ways = {"2": 90.0, "10": 80.0, "50": 70.0, "within_photo": 60.0}
    maps = {"kept": 0.85, "median_error_deg": 0.4 + seed / 10, "size_spearman": 0.5}
    scores = Scores.model_validate(
        {
            "preset": preset,
            "seed": seed,
            "method": method,
            "encoder": {"median_r": 0.5 + seed / 10, "median_r_over_ceiling": 0.80 + 0.04 * seed},
            "prf": {"median_error_deg": 0.4 + seed / 10},
            "prf_rows": {"full": maps},
            "identification": {"full": {"pixel": ways, "independent": {**ways, "50": 60.0 + 10 * seed}}},
            "ssim": {"full": 0.25},
            "microstimulation": {"quadrant_share": 0.71, "rows": {"full": 0.71}, "control": {"full": 0.24}},
            "seconds": {"train": 10.0, "maps": 2.0},
        }
    )
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(scores.model_dump(mode="json", by_alias=True)))
    lines = [
        ScoreLine("difference", "full - supervised", "pixel 10-way", 11.0 + 2 * seed, "%", 4.0, 19.0, 0.0, 50),
        ScoreLine("identification", "full", "pixel 10-way", 80.0, "%", 70.0, 88.0, 10.0, 50, "like the true image at 4 x 4 px"),
        ScoreLine("identification", "true image at 4 x 4 px", "pixel 10-way", 80.0, "%", 71.0, 89.0, 10.0, 50),
        ScoreLine("null", "full", "pixel 10-way", 10.02, "%", 4.0, 17.0, 10.0, 1000),
        ScoreLine("null", "full", "pixel 10-way SD", 3.11, "%", n=1000),
        ScoreLine("encoder", "full", "median_r_over_ceiling", 0.80 + 0.04 * seed, n=500),
        ScoreLine("prf", "V1", "median_error_deg", 0.3 + 0.1 * seed, "deg", n=200),
    ]
    write_lines(folder / "scores.tsv", lines)
    return str(folder)


@pytest.fixture
def demos(tmp_path: Path) -> list[str]:
    """Write two demos of one method."""
    return [write_demo(tmp_path / str(seed), seed) for seed in (0, 1)]


def run_script(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(SCRIPTS / name), run_name="__main__")


def printed(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    run_script(name, arguments, monkeypatch)
    return capsys.readouterr().out.splitlines()


def test_every_score_of_the_schema_has_a_place_on_the_page(demos: list[str]) -> None:
    written = leaves(json.loads((Path(demos[0]) / "scores.json").read_text()))
    shown = {path for _, path, _ in markdown.SINGLE}
    assert shown == {path for path in written if path.split(".")[0] in ("encoder", "prf") or path == "microstimulation.quadrant_share"}
    assert {key for _, key, _ in markdown.PRF_COLUMNS} == set(PRFRow.model_fields)


def test_the_readme_shows_means_of_all_methods(
    demos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_demo(tmp_path / "other", 1, "retino")
    table = printed("readme_scores.py", [*demos[::-1], other + "/scores.json"], monkeypatch, capsys)
    assert table[0] == "Preset `demo`, mean over seeds (`gaziv`: 0, 1; `retino`: 1)."
    assert "| | gaziv | retino |" in table
    assert "| encoder: median r | 0.550 | 0.600 |" in table
    assert "| seconds, all stages | 12 | 12 |" in table
    rows = [line for line in table if line.startswith(("| gaziv", "| retino"))]
    assert rows == [
        "| gaziv | full | 90.0 / 80.0 / 70.0 / 60.0 | 90.0 / 80.0 / 65.0 / 60.0 | 0.250 | n/a |",
        "| retino | full | 90.0 / 80.0 / 70.0 / 60.0 | 90.0 / 80.0 / 70.0 / 60.0 | 0.250 | n/a |",
    ]


def test_the_page_shows_each_seed_intervals_and_gaps(
    demos: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = printed("results_page.py", demos, monkeypatch, capsys)
    assert "| | mean | seed 0 | seed 1 |" in page
    assert "| encoder: median r | 0.550 | 0.500 | 0.600 |" in page
    assert "| full | mean | 90.0 / 80.0 / 70.0 / 60.0 | 90.0 / 80.0 / 65.0 / 60.0 | 0.250 | n/a |" in page
    assert "| shuffled | | n/a | n/a | n/a | n/a |" in page
    assert "| full - supervised | pixel 10-way [points] | +12.0 | +11.0 (+4.0 .. +19.0) | +13.0 (+4.0 .. +19.0) |" in page
    assert "| full | seed 0 | 80.0 (70.0 .. 88.0) | 10.0 ± 3.1 | like the true image at 4 x 4 px | n/a | | n/a |" in page
    assert "| true image at 4 x 4 px | seed 1 | 80.0 (71.0 .. 89.0) | | | n/a | | n/a |" in page
    assert "| trained encoder | mean | 0.85 | 0.45 | n/a | n/a | n/a | n/a | 0.500 | 0.820 |" in page
    assert "| V1 | n/a | 0.35 | n/a | n/a | n/a | n/a | n/a | n/a |" in page
    assert "| full | random | 0.240 | 0.240 | 0.240 |" in page
    assert "seed in 0 1; do brain2pix demo --scores short --method gaziv --preset demo --seed $seed" in "\n".join(page)  # no shuffled row


def test_bars_are_judged_on_the_first_seeds_and_on_each_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = [write_demo(tmp_path / str(seed), seed, DEMO_METHOD) for seed in (0, 1, 3)]
    page = printed("results_page.py", demos, monkeypatch, capsys)
    assert "| score | bar | mean of seeds 0, 1 | | seed 3 |" in page
    assert "| encoder: median r over ceiling | >= 0.820 | 0.820 | met | 0.920 |" in page
    assert "| receptive fields: centre error [deg] | < 0.500 | 0.450 | met | 0.700 (**not met**) |" in page
    assert "| full: independent 50-way [%] | >= 72.0 | 65.0 | **not met** | 90.0 |" in page
    assert "| full - supervised: pixel 10-way [points] | >= +12.0 | +12.0 | met | +17.0 |" in page
    assert "| shuffled: pixel 10-way [%] | <= 22.0 | n/a | n/a | n/a |" in page


@pytest.mark.parametrize(("name", "marker"), [("readme_scores.py", "scores"), ("results_page.py", "results")])
def test_what_was_written_before_is_replaced(
    demos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, marker: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n<!-- {marker} -->\nold\n<!-- /{marker} -->\nbelow\n")
    for _ in range(2):
        run_script(name, [*demos, "--write", str(page)], monkeypatch)
    text = page.read_text()
    assert text.startswith(f"above\n<!-- {marker} -->\n")
    assert text.endswith(f"<!-- /{marker} -->\nbelow\n")
    assert "old" not in text
    assert text.count("| seconds, all stages | 12 |") == (1 if marker == "scores" else 2)


def test_a_page_that_is_not_there_is_begun(demos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_script("results_page.py", [*demos, "--write", str(tmp_path / "results.md")], monkeypatch)
    assert (tmp_path / "results.md").read_text().startswith("# Results\n\n<!-- results -->\n")


@pytest.mark.parametrize("name", ["readme_scores.py", "results_page.py"])
@pytest.mark.parametrize(
    ("other", "text"), [({"preset": "hard"}, "different presets (demo, hard)"), ({}, "of the same seed (seeds [0, 0])")]
)
def test_what_cannot_be_averaged_is_refused(
    demos: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    other: dict[str, str],
    text: str,
) -> None:
    with pytest.raises(SystemExit):
        run_script(name, [demos[0], write_demo(tmp_path / "other", 0, **other)], monkeypatch)
    assert text in capsys.readouterr().err
