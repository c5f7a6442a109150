#!/usr/bin/env python3
"""Make the table of scores of the README from several scores.json files (docs/scores.md says what they mean).

usage: scripts/readme_scores.py demo-0/scores.json demo-1/scores.json ... [--write README.md]
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

# label, key path, how one number is written
SINGLE: list[tuple[str, str, str]] = [
    ("encoder: median r", "encoder.median_r", "{:.3f}"),
    ("encoder: median r over ceiling", "encoder.median_r_over_ceiling", "{:.3f}"),
    ("receptive fields: share kept", "prf.kept", "{:.2f}"),
    ("receptive fields: median centre error [deg]", "prf.median_error_deg", "{:.2f}"),
    ("receptive fields: median angle error [deg of angle]", "prf.median_angle_error_deg", "{:.1f}"),
    ("receptive fields: Fisher-Lee correlation of angle", "prf.fisher_lee", "{:.3f}"),
    ("receptive fields: r of log eccentricity", "prf.log_ecc_r", "{:.3f}"),
    ("receptive fields: share in the correct hemifield", "prf.hemifield", "{:.3f}"),
    ("permuted pairs: median angle error [deg of angle]", "prf.null_angle_error_deg", "{:.0f}"),
    ("microstimulation: share in the quadrant (chance .25)", "microstimulation.quadrant_share", "{:.3f}"),
]
SYSTEMS = ("full", "supervised", "images", "ridge_pairs", "ridge_unpaired", "shuffled")
WAYS = ("2", "10", "50", "within_photo")


def look_up(scores: dict[str, Any], path: str) -> Any:
    """Value at a dotted key path; None where a part of it is null or absent."""
    value: Any = scores
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def write_number(value: float | None, form: str) -> str:
    return "n/a" if value is None else form.format(value)


def mean(values: list[float | None]) -> float | None:
    """Mean over seeds; n/a unless each seed has a value."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if len(numbers) == len(values) else None


def columns(values: list[float | None], form: str) -> list[str]:
    """Write the mean over the runs, then each run."""
    return [write_number(value, form) for value in [mean(values), *values]]


def single_scores(runs: list[dict[str, Any]]) -> list[str]:
    """Table of the scores that are one number: one line each, a column for the mean and for each run."""
    heads = ["mean", *(f"seed {run['seed']}" for run in runs)]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for label, path, form in SINGLE:
        lines.append(f"| {label} | {' | '.join(columns([look_up(run, path) for run in runs], form))} |")
    seconds: list[float | None] = [sum(value or 0 for value in run["seconds"].values()) for run in runs]
    return [*lines, f"| seconds, all stages | {' | '.join(columns(seconds, '{:.0f}'))} |"]


def system_scores(runs: list[dict[str, Any]]) -> list[str]:
    """Table of identification and SSIM: for each system the mean and each run, or one line if no run computed it."""
    heads = ["mean", *(f"seed {run['seed']}" for run in runs)]
    lines = ["| system | | pixel: 2 / 10 / 50-way / within photo [%] | independent: the same [%] | SSIM |", "|---|---|---|---|---|"]
    for system in SYSTEMS:
        cells = []
        for measure in ("pixel", "independent"):
            ways = [columns([look_up(run, f"identification.{system}.{measure}.{way}") for run in runs], "{:.1f}") for way in WAYS]
            cells.append([" / ".join(run) if set(run) != {"n/a"} else "n/a" for run in zip(*ways, strict=True)])
        cells.append(columns([look_up(run, f"ssim.{system}") for run in runs], "{:.3f}"))
        if all(cell == "n/a" for column in cells for cell in column):
            lines.append(f"| {system} | | n/a | n/a | n/a |")
        else:
            lines += [f"| {system} | {head} | {' | '.join(run)} |" for head, run in zip(heads, zip(*cells, strict=True), strict=True)]
    return lines


def make_tables(runs: list[dict[str, Any]]) -> str:
    """Markdown of all scores."""
    title = f"Preset `{runs[0]['preset']}`, method `{runs[0]['method']}`."
    return "\n".join([title, "", *single_scores(runs), "", *system_scores(runs)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", nargs="+", type=Path)
    parser.add_argument("--write", type=Path, help="file whose part between the markers <!-- scores --> and <!-- /scores --> is replaced")
    arguments = parser.parse_args()
    runs = sorted((json.loads(file.read_text(encoding="utf-8")) for file in arguments.scores), key=lambda run: int(run["seed"]))
    if len({(run["preset"], run["method"]) for run in runs}) > 1:
        parser.error("the files are of different presets or methods; a mean over them means nothing")
    tables = make_tables(runs)
    if arguments.write is None:
        print(tables)
        return
    text = arguments.write.read_text(encoding="utf-8")
    new, n = re.subn(r"(<!-- scores -->\n).*?(<!-- /scores -->)", lambda match: f"{match[1]}{tables}\n{match[2]}", text, flags=re.DOTALL)
    if n != 1:
        parser.error(f"{arguments.write} must hold the markers <!-- scores --> and <!-- /scores --> once, found {n}")
    arguments.write.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
