"""What a reproduction would run and what is missing, for programs that must not load torch themselves.

``python -m brain2pix.compute.reproduce.describe`` reads from standard input a JSON object with `out` and the fields of `ReproduceParams`.
It writes another one: what ``reproduce.json`` would hold, `weights` (what is said of each file that a training needs and that is not there)
and `folder` (what stands against the folder); or `error`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brain2pix.compute.reproduce.folder import check_folder
from brain2pix.compute.reproduce.note import note_of
from brain2pix.compute.reproduce.prepare import missing_weights, prepare
from brain2pix.config.base import build
from brain2pix.config.reproduce import ReproduceParams
from brain2pix.errors import Brain2PixError


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Describe what was asked for; an error for the user becomes part of the answer.

    Parameters
    ----------
    asked : dict, `out` and the fields of `ReproduceParams`
    """
    values = dict(asked)
    out = Path(values.pop("out"))
    try:
        params = build(ReproduceParams, values)
        made = prepare(params, out)
    except Brain2PixError as error:
        return {"error": _one_line(error)}
    try:
        check_folder(out, params, made.subject.path)
        folder = ""
    except Brain2PixError as error:
        folder = _one_line(error)
    return {**note_of(made), "weights": missing_weights(made.cells), "folder": folder}


def _one_line(error: Brain2PixError) -> str:
    return " ".join(str(error).split())


def main(arguments: Sequence[str]) -> int:
    """Read the question from standard input, write the answer to standard output."""
    if arguments:
        print("usage: python -m brain2pix.compute.reproduce.describe < ASKED.json", file=sys.stderr)
        return 2
    print(json.dumps(answer(json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
