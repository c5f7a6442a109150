"""Run a reproduction, or go on with one, and write its report."""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.reproduce.folder import NOTE, REPORT, check_folder
from brain2pix.compute.reproduce.gather import find
from brain2pix.compute.reproduce.note import note_of
from brain2pix.compute.reproduce.prepare import Reproduction, missing_weights
from brain2pix.compute.reproduce.report import make_report
from brain2pix.compute.sweep import write_plan
from brain2pix.compute.sweep_cells import standings
from brain2pix.compute.sweep_table import write_tables
from brain2pix.errors import MissingDataError
from brain2pix.evaluation.report import write_lines
from brain2pix.evaluation.statistics import Interval
from brain2pix.events import CancelToken, EventSink, Finished, Started, ignore
from brain2pix.files import atomic_path, write_json

if TYPE_CHECKING:
    from brain2pix.compute.reproduce.gather import Findings

_STAGE = "report"


@dataclass(frozen=True)
class Written:
    """What was written.

    Parameters
    ----------
    report, scores, statistics, orderings : Path
    """

    report: Path
    scores: Path
    statistics: Path
    orderings: Path


def claim(reproduction: Reproduction) -> None:
    """Make the folder of a reproduction, or go on in one.

    Raises
    ------
    ConfigError
        If the folder is something else's, or holds another reproduction.
    """
    out = reproduction.out
    check_folder(out, reproduction.params, reproduction.subject.path)
    write_json(out / NOTE, note_of(reproduction))
    write_plan(out, out / NOTE, reproduction.cells)


def check_weights(reproduction: Reproduction) -> None:
    """Refuse to train without the published weights that a preset needs.

    Raises
    ------
    MissingDataError
        Names each file that is missing and how to get it.
    """
    if lacking := missing_weights(reproduction.cells):
        raise MissingDataError(
            f"preset {reproduction.plan.preset!r} of {reproduction.plan.method}: {'; '.join(lacking)}; or take --plan short"
        )


def write_report(reproduction: Reproduction, sink: EventSink = ignore, cancel: CancelToken | None = None) -> Written:
    """Write report and tables from what is there; what is not is marked missing.

    Parameters
    ----------
    reproduction : Reproduction
    sink : callable, takes events
    cancel : CancelToken or None

    Raises
    ------
    Cancelled
        If it was stopped; what was written before stays.
    """
    cancel, out, began_s = cancel or CancelToken(), reproduction.out, time.monotonic()
    sink(Started(_STAGE))
    write_tables(reproduction.cells, standings(reproduction.cells), out)
    found = find(reproduction, sink, cancel)
    written = Written(out / REPORT, out / "scores.tsv", out / "statistics.tsv", out / "orderings.tsv")
    write_lines(written.scores, found.lines)
    _write_statistics(written.statistics, found)
    _write_orderings(written.orderings, found)
    page = make_report(reproduction, found, cancel)
    with atomic_path(written.report) as beside:
        beside.write_text(page, encoding="utf-8")
    sink(Finished(_STAGE, time.monotonic() - began_s))
    return written


def _write_statistics(path: Path, found: "Findings") -> None:
    columns = ("judge", "better", "worse", "difference", "low", "high", "n", "n_photographs", "p", "p_holm")
    rows = [
        (each.family, each.better, each.worse, each.difference.mean, each.difference.low, each.difference.high, each.difference.n,
         each.difference.n_clusters, each.p, each.corrected)
        for each in found.comparisons
    ]  # fmt: skip
    _write_table(path, columns, rows)


def _write_orderings(path: Path, found: "Findings") -> None:
    columns = ("ordering", "verdict", "better", "worse", "judge", "bound", "difference", "low", "high", "n", "n_photographs", "source")
    rows = []
    for each, verdict, by in found.orderings:
        difference = by.difference if by else Interval(nan, nan, nan, 0, 0)
        asked = (each.statement, verdict, each.better, each.worse, each.family or found.judge, each.within or 0.0)
        rows.append((*asked, *astuple(difference), each.source))
    _write_table(path, columns, rows)


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with atomic_path(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([each if isinstance(each, str) else json.dumps(each) for each in row] for row in rows)
