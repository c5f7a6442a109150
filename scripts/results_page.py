#!/usr/bin/env python3
"""Make docs/results.md from several demos of the full sheet: every row, each seed, controls, differences and bars, method by method.

usage: scripts/results_page.py demo-0 demo-1 ... [--write docs/results.md]
"""

import argparse
import re
from pathlib import Path

from brain2pix.config.defaults import DEMO_METHOD
from brain2pix.errors import Brain2PixError
from brain2pix.evaluation import markdown
from brain2pix.evaluation.markdown import Sheet, group_sheets, read_sheet

START, END = "<!-- results -->", "<!-- /results -->"
HEADING = "# Results\n\n"
SECTIONS = (
    ("Scores of one number", markdown.single_table),
    ("Reconstructions", markdown.rows_table),
    ("Intervals, nulls and references", markdown.intervals_table),
    ("Paired differences", markdown.differences_table),
    ("Receptive fields: what the map is owed to", markdown.prf_table),
    ("Receptive fields by area", markdown.areas_table),
    ("Microstimulation", markdown.stimulation_table),
)


def make_page(groups: dict[str, list[Sheet]]) -> str:
    """Markdown of everything, with the commands that gave it."""
    preset = str(next(iter(groups.values()))[0].values["preset"])
    parts = [introduction(preset, groups)]
    if DEMO_METHOD in groups:
        parts.append("\n".join([f"## Bars, `{DEMO_METHOD}`", "", bars_note(preset), "", *markdown.bars_table(groups[DEMO_METHOD])]))
    parts.append("\n".join(["## Methods side by side", "", *markdown.methods_table(groups)]))
    for method, group in groups.items():
        parts.append(f"## `{method}`")
        parts += ["\n".join([f"### {title}, `{method}`", "", *table(group)]) for title, table in SECTIONS]
    return "\n\n".join(parts)


def introduction(preset: str, groups: dict[str, list[Sheet]]) -> str:
    commands = []
    for method, group in groups.items():
        for rows, whole in (("full", True), ("short", False)):
            seeds = " ".join(str(sheet.seed) for sheet in group if (sheet.values["ssim"].get("shuffled") is not None) is whole)
            command = (
                f"brain2pix demo --scores {rows} --method {method} --preset {preset} --seed $seed --no-window --out {preset}-{method}-$seed"
            )
            commands += [f"for seed in {seeds}; do {command}; done"] if seeds else []
    commands.append(f"scripts/results_page.py {preset}-* --write docs/results.md")
    n_images = next((line.n for group in groups.values() for sheet in group for line in sheet.lines if line.part == "ssim"), None)
    return "\n".join(
        [
            f"All numbers speak of a **simulated** subject, preset `{preset}`. [Scores](scores.md) says what each one means and which rows",
            "have seen test responses. Chance is 50 / 10 / 2 % for 2 / 10 / 50-way identification and .25 for the share in a quadrant.",
            f"Brackets are 95 % intervals over the photos that the {n_images or 'test'} test images are crops of;"
            " nulls are mean ± SD over random assignments.",
            "",
            "```",
            *commands,
            "```",
        ]
    )


def bars_note(preset: str) -> str:
    note = "The bars were set in advance, for the mean over seeds 0-2 of preset `demo`; each later seed stands beside it."
    return note if preset == "demo" else f"{note} This is preset `{preset}`, of which they do not speak."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demos", nargs="+", type=Path, help="folders of demos, or their scores.json")
    parser.add_argument("--write", type=Path, help=f"page to write; if it exists, its part between {START} and {END}")
    arguments = parser.parse_args()
    try:
        page = f"{START}\n{make_page(group_sheets(map(read_sheet, arguments.demos)))}\n{END}"
    except Brain2PixError as error:
        parser.error(str(error))
    if arguments.write is None:
        print(page)
        return
    text = arguments.write.read_text(encoding="utf-8") if arguments.write.is_file() else f"{HEADING}{START}\n{END}\n"
    new, n = re.subn(f"{START}\n.*?{END}", lambda _: page, text, flags=re.DOTALL)
    if n != 1:
        parser.error(f"{arguments.write} must hold the markers {START} and {END} once, found {n}")
    arguments.write.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
