"""Run the cells of a sweep and gather their scores: what is finished stays, what is missing runs, one table says how all of them stand.

::

    OUT/sweep.json                 the plan, and which cells it gave
    OUT/cells/<cell>/train         run folder of the training
    OUT/cells/<cell>/evaluate-<split>, maps
    OUT/results.tsv                a line for each cell and score
    OUT/settings.tsv               a line for each cell: everything that was asked and resolved

A cell's folder is named after its coordinates and a fingerprint of its resolved settings, so that other settings are another folder.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from brain2pix.compute.kinds import job_kind
from brain2pix.compute.runner import run_job, run_state
from brain2pix.compute.spec import job_hash
from brain2pix.compute.sweep_cells import (
    GOING,
    Known,
    Standing,
    SweepCell,
    SweepJob,
    cell_standing,
    count,
    describe_counts,
    identity,
    job_standing,
    missing_jobs,
    seconds_of,
    standings,
)
from brain2pix.compute.sweep_table import write_tables
from brain2pix.config.base import build
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError
from brain2pix.events import CancelToken, EventSink, Failed, Finished, Message, Progress, Started, Stopped, ignore
from brain2pix.files import write_json
from brain2pix.training.run_folder import RunFolder, versions

if TYPE_CHECKING:
    from brain2pix.compute.engine.client import Engine

SCHEMA = "b2p-sweep-1"
_STAGE = "sweep"
_TABLE_EVERY_S = 30.0  # while cells end
_GOING_THERE = (*GOING, "cancelling")  # in a server's table
_LOOK_S = 0.5  # between looks at a server's table
_SAVE_S = 60.0  # for running jobs to save after they were asked to stop


def claim_folder(out: Path, plan_file: Path, cells: Sequence[SweepCell]) -> list[str]:
    """Make the folder of a sweep, or go on in one; note the plan.

    Returns
    -------
    list of str, cells that lie there from other plans

    Raises
    ------
    ConfigError
        If the folder is something else's.
    """
    note = out / "sweep.json"
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give a folder for the sweep")
    if out.is_dir() and not note.is_file() and any(place.absolute() != plan_file.absolute() for place in out.iterdir()):
        raise ConfigError(f"{out} is not empty and is not the folder of a sweep (no sweep.json); choose another one")
    write_plan(out, plan_file, cells)
    names = {cell.id for cell in cells}
    there = out / "cells"
    return sorted(place.name for place in there.iterdir() if place.name not in names) if there.is_dir() else []


def write_plan(out: Path, plan_file: Path, cells: Sequence[SweepCell]) -> None:
    """Note the plan of a sweep in its folder, and which cells it gave."""
    write_json(
        out / "sweep.json",
        {
            "schema": SCHEMA,
            "plan": str(plan_file.absolute()),
            "plan_text": plan_file.read_text(encoding="utf-8"),
            "cells": [cell.id for cell in cells],
            "versions": versions(),
        },
    )


# ---------------------------------------------------------------------- who runs jobs


class Executor(Protocol):
    """Whoever runs the jobs of a sweep."""

    def look(self) -> Known:
        """Go on for a moment, then say how the jobs stand that it has or had."""
        ...

    def submit(self, job: SweepJob, after: Sequence[Path]) -> None:
        """Take a job that runs when those in the folders `after` have finished; `Brain2PixError` where it cannot be run."""
        ...

    def stop(self) -> None:
        """Cancel what waits, and stop what runs when it has saved."""
        ...


class InThisProcess:
    """Runs one job after another, one with each look.

    Parameters
    ----------
    sink : callable, takes the events of the jobs
    cancel : CancelToken
    begun : callable, hears of each job that begins
    """

    def __init__(
        self, sink: EventSink = ignore, cancel: CancelToken | None = None, begun: Callable[[SweepJob], None] = lambda job: None
    ) -> None:
        self._sink = sink
        self._cancel = cancel or CancelToken()
        self._begun = begun
        self._waiting: list[tuple[SweepJob, Sequence[Path]]] = []
        self._known: dict[Path, Standing] = {}

    def look(self) -> Known:
        """Run the next job."""
        if self._waiting:
            job, after = self._waiting.pop(0)
            self._known[job.folder] = self._run(job, after)
        return dict(self._known)

    def submit(self, job: SweepJob, after: Sequence[Path]) -> None:
        """Take a job."""
        self._waiting.append((job, after))
        self._known[job.folder] = Standing("queued")

    def stop(self) -> None:
        """Forget what waits; what ran has ended."""
        for job, _ in self._waiting:
            del self._known[job.folder]
        self._waiting.clear()

    def _run(self, job: SweepJob, after: Sequence[Path]) -> Standing:
        lacking = [folder for folder in after if self._known[folder].state != "finished"]
        if lacking:
            return Standing(
                "failed",
                "it needs the results of other jobs: " + ", ".join(f"{folder} is {self._known[folder].state}" for folder in lacking),
            )
        folder = RunFolder(job.folder)
        if not folder.job.is_file():
            job.spec.write()
        folder.cancel.unlink(missing_ok=True)  # starting again is the wish to go on
        self._begun(job)
        try:
            outcome = run_job(job.spec, self._sink, self._cancel)
        except Brain2PixError as error:
            return Standing("failed", str(error))
        except Exception as error:  # its traceback stands in the run folder
            return Standing("failed", f"{type(error).__name__}: {error}")
        return Standing("stopped") if outcome == "cancelled" else Standing("finished")


class OnServer:
    """Runs jobs on a compute server.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._mine: dict[Path, str] = {}
        self._looked_s = 0.0

    def look(self) -> Known:
        """Wait a little and read the server's table."""
        time.sleep(max(0.0, self._looked_s + _LOOK_S - time.monotonic()))
        self._looked_s = time.monotonic()
        rows = {Path(row["folder"]): row for row in self._engine.jobs()}
        self._mine |= {folder: str(row["id"]) for folder, row in rows.items() if row["state"] in _GOING_THERE}
        words = {"cancelled": "stopped", "cancelling": "running"}
        return {
            folder: Standing(words.get(state := str(row["state"]), state), "" if state in _GOING_THERE else str(row.get("error") or ""))
            for folder, row in rows.items()
        }

    def submit(self, job: SweepJob, after: Sequence[Path]) -> None:
        """Queue a job."""
        self._mine[job.folder] = self._engine.submit(job.spec, [self._mine[folder] for folder in after])

    def stop(self) -> None:
        """Cancel what waits, the last first, so that nothing begins meanwhile; then let what runs save."""
        own = set(self._mine.values())
        rows = [row for row in self._engine.jobs() if row["id"] in own and row["state"] in _GOING_THERE]
        for row in sorted(rows, key=lambda row: (row["state"] != "queued", -float(row["submitted_s"]))):
            self._engine.ask_to_stop(row["id"])
        until_s = time.monotonic() + _SAVE_S
        while going := [row["id"] for row in self._engine.jobs() if row["id"] in own and row["state"] in _GOING_THERE]:
            if time.monotonic() > until_s:
                for name in going:
                    self._engine.kill(name)
                return
            time.sleep(_LOOK_S)


# ---------------------------------------------------------------------- the loop


def run_sweep(
    cells: Sequence[SweepCell], executor: Executor, out: Path, sink: EventSink = ignore, cancel: CancelToken | None = None
) -> dict[str, Standing]:
    """Run what is missing, and keep the tables.

    Parameters
    ----------
    cells : sequence of SweepCell, from `expand`
    executor : Executor
    out : Path, folder of the sweep
    sink : callable, takes events
    cancel : CancelToken or None; when it is set, what waits is cancelled and what runs is stopped

    Returns
    -------
    dict of cell id to Standing

    Raises
    ------
    ComputeError
        If the server is lost; the tables say how far everything came.
    """
    cancel = cancel or CancelToken()
    watch = _Watch(cells, sink)
    began_s = time.monotonic()
    sink(Started(_STAGE))
    known = executor.look()
    watch.update(known)
    try:
        submitted = _submit(cells, executor, watch, known, cancel)
        watch.update(known)
        if submitted:
            watch.tell_progress()
        written_s = time.monotonic()
        while submitted and not cancel.cancelled():
            known = executor.look()
            watch.update(known)
            if not any(known.get(folder, Standing("missing")).state in GOING for folder in submitted):
                break
            if watch.ended and time.monotonic() - written_s > _TABLE_EVERY_S:
                write_tables(cells, watch.jobs, out)
                watch.ended, written_s = False, time.monotonic()
        if submitted and cancel.cancelled():
            executor.stop()
            watch.update(executor.look())
    except ComputeError:  # what a server that has gone last said of its jobs is not true any more
        watch.known = dict(watch.refused)
        raise
    finally:
        write_tables(cells, standings(cells, watch.known), out)
    counts = count(watch.cells.values())
    if counts.get("finished", 0) == len(cells):
        sink(Finished(_STAGE, time.monotonic() - began_s))
    else:
        sink(Failed(_STAGE, describe_counts(counts)) if counts.get("failed") else Stopped(_STAGE))
    return dict(watch.cells)


def run_on_own_server(
    cells: Sequence[SweepCell], out: Path, sink: EventSink, cancel: CancelToken, workers: int, gpus: Sequence[str]
) -> dict[str, Standing]:
    """Do the same on a server that ends with this process: one worker for each card, else so many."""
    from brain2pix.compute.engine.client import Engine

    engine = Engine.local(f"sweep-{os.getpid()}", workers=workers or 1, gpus=gpus)
    try:
        return run_sweep(cells, OnServer(engine), out, sink, cancel)
    finally:
        engine.close(shutdown=True)


def _submit(cells: Sequence[SweepCell], executor: Executor, watch: "_Watch", known: Known, cancel: CancelToken) -> set[Path]:
    """Hand over the jobs that are missing; gives the folders of all that are to end, those that a server has already included."""
    taken: set[Path] = set()
    refused: dict[Path, Standing] = {}
    for job in missing_jobs(cells, watch.jobs):
        if cancel.cancelled():
            break
        told = known.get(job.folder)
        if told is not None and told.state in GOING:
            taken.add(job.folder)
        elif watch.jobs[job.folder].state == "running":
            refused[job.folder] = Standing("running", "another process works on it")
        elif lacking := [folder for folder in job.needs if folder in refused]:
            refused[job.folder] = refused[lacking[0]]
        else:
            try:
                executor.submit(_as_begun(job), [folder for folder in job.needs if folder in taken])
                taken.add(job.folder)
            except ComputeError:  # the server has gone
                raise
            except Brain2PixError as error:
                refused[job.folder] = Standing("failed", str(error))
    watch.refused = refused
    return taken


def _as_begun(job: SweepJob) -> SweepJob:
    """Let a job that was begun with another device, batch or rhythm of saving go on as it was; one that failed begins again with the new.

    A checkpoint belongs to one job, and these are part of it.
    """
    folder = RunFolder(job.folder)
    begun = folder.read_job() if folder.path.is_dir() else {}
    model = job_kind(job.spec.kind).params
    try:
        before, now = build(model, begun.get("params", {})), build(model, job.spec.params)
    except ConfigError:
        return job
    same = job_hash(job.spec.kind, before) == job_hash(job.spec.kind, now)
    if same or identity(job.spec.kind, before) != identity(job.spec.kind, now):
        return job  # the runner says what is wrong with another job's folder
    if run_state(folder) == "failed":
        shutil.rmtree(folder.path)
        return job
    return replace(job, spec=replace(job.spec, params=begun["params"]))


class _Watch:
    """Follows jobs, and tells when a cell stands differently."""

    def __init__(self, cells: Sequence[SweepCell], sink: EventSink) -> None:
        self.known: dict[Path, Standing] = {}
        self.jobs: dict[Path, Standing] = {}
        self.cells: dict[str, Standing] = {}
        self.refused: dict[Path, Standing] = {}
        self.ended = False  # a cell has, since this was last set back
        self._begun: set[str] = set()
        self._all = cells
        self._sink = sink

    def update(self, known: Known) -> None:
        """Take what an executor says."""
        told = {**known, **self.refused}
        for cell in self._all:
            changed = [job for job in cell.jobs if job.folder not in self.jobs or told.get(job.folder) != self.known.get(job.folder)]
            for job in changed:
                self.jobs[job.folder] = job_standing(job, told)
            if changed:
                self._tell(cell, cell_standing(cell, self.jobs))
        self.known = dict(told)

    def _tell(self, cell: SweepCell, now: Standing) -> None:
        before = self.cells.get(cell.id)
        self.cells[cell.id] = now
        if before is None or before == now or now.state in ("queued", "missing") or (now.state == "running" and cell.id in self._begun):
            return
        self._begun.add(cell.id)
        self.ended |= now.state != "running"
        counts = count(self.cells.values())
        more = f" ({sum(seconds_of(job.folder) or 0 for job in cell.jobs)} s)" if now.state == "finished" else ""
        more = f": {now.error}" if now.state == "failed" else more
        text = f"[{counts.get('finished', 0)}/{len(self._all)}] {now.state}: {cell.id}{more}"
        self._sink(Message("warning" if now.state == "failed" else "info", text))
        self.tell_progress()

    def tell_progress(self) -> None:
        """Say how many cells are done and what becomes of the others."""
        counts = count(self.cells.values())
        self._sink(Progress(_STAGE, counts.get("finished", 0), len(self._all), describe_counts(counts, ("running", "queued", "failed"))))
