#!/usr/bin/env python3
"""Make the README's short table of scores from several demos: means over seeds, methods side by side (docs/scores.md says what they mean).

usage: scripts/readme_scores.py demo-0 demo-1 ... [--write README.md]
"""

import argparse
import re
from pathlib import Path

from brain2pix.errors import Brain2PixError
from brain2pix.evaluation.markdown import Sheet, group_sheets, methods_table, read_sheet, short_rows_table


def make_tables(groups: dict[str, list[Sheet]]) -> str:
    """Markdown of the means."""
    preset = next(iter(groups.values()))[0].values["preset"]
    seeds = "; ".join(f"`{method}`: {', '.join(str(sheet.seed) for sheet in group)}" for method, group in groups.items())
    title = f"Preset `{preset}`, mean over seeds ({seeds})."
    return "\n".join([title, "", *methods_table(groups), "", *short_rows_table(groups)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demos", nargs="+", type=Path, help="folders of demos, or their scores.json")
    parser.add_argument("--write", type=Path, help="file whose part between the markers <!-- scores --> and <!-- /scores --> is replaced")
    arguments = parser.parse_args()
    try:
        tables = make_tables(group_sheets(map(read_sheet, arguments.demos)))
    except Brain2PixError as error:
        parser.error(str(error))
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
