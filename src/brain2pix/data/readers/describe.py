"""Say what a file holds before anything is imported, in plain JSON values; as a program, for those who must not wait.

usage: python -m brain2pix.data.readers.describe < ASKED.json, with `source`, `kind` and other fields of `ImportParams`.
One line of JSON comes back: what was found, or `error`; in both cases `kind` says what the file is, as far as that is known.
"""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.config.base import build
from brain2pix.config.importing import Choices
from brain2pix.data.checks import IMAGELESS_SPLITS
from brain2pix.data.readers import READERS, choose_reader
from brain2pix.errors import Brain2PixError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain2pix.data.readers.base import Dataset, Reader

_MOST_NAMED = 5
_FLOAT_BYTES = 4


def describe(source: Path, kind: str, choices: Choices) -> dict[str, Any]:
    """Open a dataset and say what is in it; missing pictures are counted, and are no error.

    Parameters
    ----------
    source : Path, file or folder as it was published
    kind : str, name of a reader or "auto"
    choices : Choices

    Returns
    -------
    dict of JSON values: kind, format, title, subject, voxels, left, right, space, has_world, areas (name to voxels),
    splits (each with split, trials, stimuli, repeats, runs), stimuli, missing, missing_names, pictures_wanted,
    field_of_view_deg (None: not told),
    anatomy, surfaces ("L white", ...), unit, unknown, notes, bytes (of the responses as they will be written)

    Raises
    ------
    ConfigError, MissingDataError, DataFormatError
        As the reader does.
    """
    reader = choose_reader(kind, source)
    with reader.open(source, choices) as dataset:
        return {"kind": kind_of(reader), "format": reader.title, **_facts(dataset)}


def kind_of(reader: "Reader") -> str:
    """Name of a row of `READERS`."""
    return next(name for name, row in READERS.items() if row is reader)


def _facts(dataset: "Dataset") -> dict[str, Any]:
    hemi, space = dataset.placement.hemi, dataset.placement.space
    shown = dataset.trials.loc[~dataset.trials["split"].isin(IMAGELESS_SPLITS), "stimulus_id"].drop_duplicates().tolist()
    missing = shown if dataset.pictures is None else dataset.pictures.missing(shown)
    n_trials, n_voxels = dataset.responses.shape
    return {
        "title": dataset.title,
        "subject": dataset.subject,
        "voxels": n_voxels,
        "left": int((hemi == "L").sum()),
        "right": int((hemi == "R").sum()),
        "space": f"{space.name}, {space}",
        "has_world": dataset.placement.has_world,
        "areas": {name: int(mask.sum()) for name, mask in dataset.areas.items()},
        "splits": [_split(str(split), rows) for split, rows in dataset.trials.groupby("split", sort=False)],
        "stimuli": len(shown),
        "missing": len(missing),
        "missing_names": missing[:_MOST_NAMED],
        "pictures_wanted": dataset.pictures_wanted if dataset.pictures is None else "",
        "field_of_view_deg": None if math.isnan(dataset.field_of_view_deg) else float(dataset.field_of_view_deg),
        "anatomy": dataset.t1w is not None,
        "surfaces": [f"{hemi} {kind}" for hemi, kind in dataset.meshes],
        "unit": dataset.unit,
        "unknown": list(dataset.unknown),
        "notes": list(dataset.notes),
        "bytes": _FLOAT_BYTES * n_trials * n_voxels,
    }


def _split(name: str, rows: Any) -> dict[str, Any]:
    repeats = rows.groupby("stimulus_id").size()
    return {
        "split": name,
        "trials": len(rows),
        "stimuli": len(repeats),
        "repeats": [int(repeats.min()), int(repeats.max())],
        "runs": int(rows["run"].nunique()),
    }


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Describe what was asked for; an error for the user becomes part of the answer.

    Parameters
    ----------
    asked : dict, `source`, `kind` and other fields of `ImportParams`
    """
    values = dict(asked)
    source, kind = Path(values.pop("source")), str(values.pop("kind"))
    known = ""
    try:
        known = kind_of(choose_reader(kind, source))
        return describe(source, known, build(Choices, values))
    except Brain2PixError as error:
        return {"kind": known, "error": " ".join(str(error).split())}


def main(arguments: "Sequence[str]") -> int:
    """Read the question from standard input, write the answer to standard output."""
    if arguments:
        print("usage: python -m brain2pix.data.readers.describe < ASKED.json", file=sys.stderr)
        return 2
    print(json.dumps(answer(json.load(sys.stdin))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
