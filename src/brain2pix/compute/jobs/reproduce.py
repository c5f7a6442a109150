"""A paper's evaluation: its cells, what is missing of them, then the report."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.reproduce.folder import REPORT
from brain2pix.compute.reproduce.prepare import Reproduction
from brain2pix.compute.reproduce.prepare import prepare as prepare_reproduction
from brain2pix.compute.reproduce.run import check_weights, claim, write_report
from brain2pix.compute.sweep import InThisProcess, run_on_own_server, run_sweep
from brain2pix.compute.sweep_cells import count, describe_counts
from brain2pix.errors import ComputeError
from brain2pix.events import Message, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain2pix.compute.sweep_cells import Standing, SweepJob
    from brain2pix.config.reproduce import ReproduceParams
    from brain2pix.events import Event, EventSink

_STAGE = "cells"
_TELL_S = 5.0  # between words on the job that runs: its own folder has every step
_SHOWN = 3  # failed cells that a message names


def prepare(params: "ReproduceParams") -> Prepared:
    """Check everything that can be checked without training: plan, subject, gallery and weights."""
    checked = prepare_reproduction(params, Path())
    check_weights(checked)

    def run(context: JobContext) -> None:
        made = prepare_reproduction(params, context.folder.path)
        claim(made)
        found = run_cells(made, context)
        context.cancel.check()
        written = write_report(made, context.sink, context.cancel)
        context.message(f"report: {written.report}")
        _complain(found)

    about = {
        **params.model_dump(mode="json"),
        "preset": checked.plan.preset,
        "simulated": checked.subject.simulated,
        "cells": len(checked.cells),
        "report": REPORT,
    }
    return Prepared(about, run)


def run_cells(made: Reproduction, context: JobContext) -> "Mapping[str, Standing]":
    """Run what is missing: one job after another in this process, or on workers of its own."""
    params = made.params
    teller = _Teller(made, context.sink)
    if params.workers or params.gpus:
        return run_on_own_server(made.cells, made.out, teller.of_cells, context.cancel, params.workers, params.gpus)
    here = InThisProcess(teller.of_job, context.cancel, teller.begin)
    return run_sweep(made.cells, here, made.out, teller.of_cells, context.cancel)


class _Teller:
    """Tells how many cells are done, and which job runs and how far it is."""

    def __init__(self, made: Reproduction, sink: "EventSink") -> None:
        self._sink = sink
        self._names: dict[Path, str] = {cell.folder: cell.id for cell in made.cells}
        self._counts = (0, len(made.cells))
        self._job = ""
        self._told_s = 0.0

    def begin(self, job: "SweepJob") -> None:
        """Hear of a job that begins."""
        self._job = f"{self._names[job.folder.parent]}: {job.name}"
        self._tell(self._job)

    def of_job(self, event: "Event") -> None:
        """Hear an event of the job that runs."""
        if isinstance(event, Progress) and time.monotonic() - self._told_s > _TELL_S:
            label = f" {event.label}" if event.label else ""
            self._tell(f"{self._job}, {event.stage}{label} {event.done:,} of {event.total:,}")

    def of_cells(self, event: "Event") -> None:
        """Hear an event of all cells."""
        if isinstance(event, Progress):
            self._counts = (event.done, event.total)
            self._tell(self._job or event.label)
        elif isinstance(event, Message):
            self._sink(event)

    def _tell(self, words: str) -> None:
        self._told_s = time.monotonic()
        self._sink(Progress(_STAGE, *self._counts, words))


def _complain(found: "Mapping[str, Standing]") -> None:
    """Say which cells lack in the report.

    Raises
    ------
    ComputeError
        If a cell has not finished.
    """
    counts = count(found.values())
    if counts.get("finished", 0) == len(found):
        return
    failed = [f"{name}: {standing.error}" for name, standing in found.items() if standing.state == "failed"]
    named = "; ".join(failed[:_SHOWN]) + (f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else "")
    raise ComputeError(
        f"{describe_counts(counts)} of {len(found)} cells{': ' * bool(named)}{named}. The report has the others; "
        "the same again runs what is missing or failed"
    )
