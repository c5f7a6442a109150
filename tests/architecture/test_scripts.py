"""The scripts that fill the README agree with what the program writes."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from brain2pix.evaluation.scores import ROWS, Scores

SCRIPT = str(Path(__file__).parents[2] / "scripts" / "readme_scores.py")


def leaves(values: dict[str, Any], path: str = "") -> set[str]:
    """Dotted paths of everything that is not an object."""
    inner = [leaves(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}"} for key, value in values.items()]
    return set().union(*inner)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Write two runs: one complete system, the other rows null."""
    files = []
    ways = {"2": 90.0, "10": 80.0, "50": 70.0, "within_photo": 60.0}
    for seed in (0, 1):
        scores = Scores.model_validate(
            {
                "preset": "demo",
                "seed": seed,
                "method": "gaziv",
                "encoder": {"median_r": 0.5 + seed / 10},
                "identification": {"full": {"pixel": ways, "independent": {**ways, "50": 60.0 + 10 * seed}}},
                "ssim": {"full": 0.25},
                "seconds": {"train": 10.0, "maps": 2.0},
            }
        )
        file = tmp_path / f"{seed}.json"
        file.write_text(json.dumps(scores.model_dump(mode="json", by_alias=True)))
        files.append(str(file))
    return files


def run_script(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    runpy.run_path(SCRIPT, run_name="__main__")


def test_every_score_of_the_schema_has_a_place_in_the_table(runs: list[str]) -> None:
    script = runpy.run_path(SCRIPT)
    written = leaves(json.loads(Path(runs[0]).read_text()))
    shown = {path for _, path, _ in script["SINGLE"]}
    single = {path for path in written if path.split(".")[0] in ("encoder", "prf", "microstimulation")}
    assert shown == single
    assert script["SYSTEMS"] == ROWS


def test_the_table_shows_means_runs_and_gaps(runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_script(runs[::-1], monkeypatch)
    table = capsys.readouterr().out
    assert "| | mean | seed 0 | seed 1 |" in table
    assert "| encoder: median r | 0.550 | 0.500 | 0.600 |" in table
    assert "| full | mean | 90.0 / 80.0 / 70.0 / 60.0 | 90.0 / 80.0 / 65.0 / 60.0 | 0.250 |" in table
    assert "| shuffled | | n/a | n/a | n/a |" in table
    assert "| seconds, all stages | 12 | 12 | 12 |" in table


def test_the_table_replaces_the_one_before(runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- scores -->\nold\n<!-- /scores -->\nbelow\n")
    for _ in range(2):
        run_script([*runs, "--write", str(readme)], monkeypatch)
    text = readme.read_text()
    assert text.startswith("above\n<!-- scores -->\nPreset `demo`")
    assert text.endswith("<!-- /scores -->\nbelow\n")
    assert "old" not in text
    assert text.count("seed 1") == 2  # once as a column, once as a line


def test_runs_of_different_presets_are_not_averaged(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(Path(runs[0]).read_text().replace('"demo"', '"hard"'))
    with pytest.raises(SystemExit):
        run_script([runs[0], str(other)], monkeypatch)
    assert "different presets" in capsys.readouterr().err
