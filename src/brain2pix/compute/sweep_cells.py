"""Cells of a sweep: from the plan to jobs, and how each of them stands."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.device import check_device_name
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.config.base import Settings, build, resolve
from brain2pix.config.preparation import PreparationSettings
from brain2pix.config.prf import PRFSettings
from brain2pix.config.run import MapsParams
from brain2pix.data.regions import default_region
from brain2pix.data.subject import open_subject
from brain2pix.errors import Brain2PixError
from brain2pix.files import read_json_if_there
from brain2pix.methods.registry import resolve_settings
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from brain2pix.config.sweep import Cell, Coordinates, SweepPlan
    from brain2pix.data.subject import Subject

GOING = ("queued", "running")
_STOPPED = "stopped before its end; the same command goes on"
_NAME_LENGTH = 40  # of each word in the name of a folder
# What changes where and how fast a job runs, and not what comes out.
_NEUTRAL = ("device", "batch")
_NEUTRAL_TRAINING = (
    *("checkpoint_every_steps", "checkpoint_every_s", "checkpoints_kept", "keep_when_finished"),
    *("events_per_second", "previews"),
)


@dataclass(frozen=True)
class SweepJob:
    """One job of a cell.

    Parameters
    ----------
    name : str, of its folder in that of the cell: "train", "evaluate-test", "maps"
    spec : JobSpec
    needs : tuple of Path, folders of the jobs that must be finished before
    split : str, of an evaluation
    """

    name: str
    spec: JobSpec
    needs: tuple[Path, ...] = ()
    split: str = ""

    @property
    def folder(self) -> Path:
        """Its run folder."""
        assert self.spec.folder is not None
        return self.spec.folder


@dataclass(frozen=True)
class SweepCell:
    """A cell with its jobs.

    Parameters
    ----------
    id : str, name of its folder
    at : Coordinates
    folder : Path
    train : SweepJob
    results : tuple of SweepJob, what is gathered
    lenders : dict of "encoder_from" or "pairs_from" to the id of the cell whose run is taken
    region : str, expression over areas; empty where a lender decides
    settings : dict, of the method, resolved, JSON values
    """

    id: str
    at: "Coordinates"
    folder: Path
    train: SweepJob
    results: tuple[SweepJob, ...]
    lenders: dict[str, str]
    region: str
    settings: dict[str, Any]

    @property
    def jobs(self) -> tuple[SweepJob, ...]:
        """All its jobs, the training first."""
        return (self.train, *self.results)


@dataclass(frozen=True)
class Standing:
    """How a job or a cell stands.

    Parameters
    ----------
    state : str, "finished", "failed", "running", "queued", "stopped" (begun and saved) or "missing"
    error : str
    """

    state: str
    error: str = ""


Known = Mapping[Path, Standing]


def expand(plan: "SweepPlan", out: Path) -> list[SweepCell]:
    """Turn a plan into cells with their jobs, after everything that can be checked without training has been checked.

    Parameters
    ----------
    plan : SweepPlan
    out : Path, folder of the sweep

    Raises
    ------
    ConfigError, MissingDataError, DataFormatError
        If a method, preset, setting, region, split or subject is unknown or wrong; the message names the place in the plan.
    """
    plan.check()
    with _placed("device"):
        check_device_name(plan.device)
    for number, entry in enumerate(plan.methods, 1):
        with _placed(f"methods {number} ({entry.name})"):
            resolve_settings(entry.method, entry.preset, entry.settings_file, entry.settings)
    if plan.maps is not None:
        with _placed("maps"):
            maps = build(MapsParams, {"run": out, **plan.maps})
            resolve(PRFSettings, "prf", maps.preset, changes=maps.settings)
    expansion = _Expansion(plan, out.absolute())
    cells: dict[Coordinates, SweepCell] = {}
    with _placed("cells"):
        combinations = plan.cells()
    for cell in combinations:
        cells[cell.at] = expansion.cell(cell, cells)
    return list(cells.values())


class _Expansion:
    """Makes cells; opens each subject once."""

    def __init__(self, plan: "SweepPlan", out: Path) -> None:
        self.plan = plan
        self.out = out
        self._subjects: dict[tuple[Any, ...], Subject] = {}
        self._settings: dict[tuple[str, str], Settings] = {}

    def cell(self, cell: "Cell", others: "Mapping[Coordinates, SweepCell]") -> SweepCell:
        """Make one cell; those that it takes from were made before."""
        at, params = cell.at, cell.train
        settings = self._resolved(cell)
        lenders = {key: others[place] for key, place in cell.lenders.items()}
        region = self._check_data(cell, next(iter(lenders.values()), None))
        asked = identity("train", params)
        for key in ("preset", "settings_file"):  # what they gave stands in the settings
            del asked[key]
        asked["settings"] = settings.model_dump(mode="json")
        asked |= {key: lender.id for key, lender in lenders.items()}
        name = f"{_readable(at)}-{_fingerprint({'at': at, 'train': asked})}"
        folder = self.out / "cells" / name
        borrowed = {key: str(lender.train.folder) for key, lender in lenders.items()}
        train = SweepJob(
            "train",
            JobSpec("train", {**params.model_dump(mode="json"), **borrowed}, folder / "train"),
            tuple(dict.fromkeys(lender.train.folder for lender in lenders.values())),
        )
        return SweepCell(
            id=name,
            at=at,
            folder=folder,
            train=train,
            results=(*self._evaluations(folder), *self._maps(folder, settings)),
            lenders={key: lender.id for key, lender in lenders.items()},
            region=region,
            settings=settings.model_dump(mode="json"),
        )

    def _resolved(self, cell: "Cell") -> Settings:
        key = (cell.at.method, cell.at.ablation)
        if key not in self._settings:
            params = cell.train
            with _placed(
                f"ablation {cell.at.ablation!r} of method {cell.at.method!r}", "'methods' of an ablation says which ones it is for"
            ):
                self._settings[key] = resolve_settings(params.method, params.preset, params.settings_file, params.settings)
        return self._settings[key]

    def _check_data(self, cell: "Cell", lender: SweepCell | None) -> str:
        """Open the subject and look for region and splits; gives the expression of the region."""
        params = cell.train
        key = (params.subject, params.subject_name, params.nan)
        if key not in self._subjects:
            with _placed(f"subject {cell.at.subject!r}"):
                self._subjects[key] = open_subject(*key[:2], nan=params.nan)
        subject = self._subjects[key]
        region = params.region or (lender.region if lender is not None else default_region(subject.areas))
        with _placed(f"region {cell.at.region!r} of subject {cell.at.subject!r}"):
            subject.select(region)
        with _placed(f"train_split of subject {cell.at.subject!r}"):
            subject.rows(params.train_split)
        if params.repeats_split not in (None, "test"):  # a subject without the split "test" is trained without
            with _placed(f"repeats_split of subject {cell.at.subject!r}"):
                subject.rows(str(params.repeats_split))
        for split in self.plan.evaluate.splits:
            with _placed(f"evaluate.splits of subject {cell.at.subject!r}"):
                subject.rows(split)
        return region

    def _evaluations(self, folder: Path) -> Iterator[SweepJob]:
        train = folder / "train"
        for split in self.plan.evaluate.splits:
            params = {"run": str(train), "split": split, "device": self.plan.device, "batch": self.plan.evaluate.batch}
            name = f"evaluate-{_word(split)}"
            yield SweepJob(name, JobSpec("evaluate", params, folder / name), (train,), split)

    def _maps(self, folder: Path, settings: Settings) -> Iterator[SweepJob]:
        """Receptive fields, where the system has an encoder to read them from, or the decoder's are asked for."""
        if self.plan.maps is None:
            return
        has_encoder = "encoder" in type(settings).model_fields and getattr(settings, "needs_encoder", True)
        if has_encoder or self.plan.maps.get("side") == "decoder":
            params = build(MapsParams, {"run": folder / "train", "device": self.plan.device, **self.plan.maps})
            changed = {key: value for key, value in identity("maps", params).items() if key != "run"}
            plain = {key: value for key, value in identity("maps", build(MapsParams, {"run": "."})).items() if key != "run"}
            name = "maps" if changed == plain else f"maps-{_fingerprint(changed)}"
            yield SweepJob(name, JobSpec("maps", params.model_dump(mode="json"), folder / name), (folder / "train",))


@contextmanager
def _placed(where: str, advice: str = "") -> Iterator[None]:
    """Say in which place of the plan something is wrong."""
    try:
        yield
    except Brain2PixError as error:
        text = str(error).rstrip(".") + (f". {advice}" if advice else "")
        raise type(error)(f"plan, {where}: {text}") from None


def identity(kind: str, params: Settings) -> dict[str, Any]:
    """Give what decides the result of a job, without what only decides where and how fast it runs."""
    values = {key: value for key, value in params.model_dump(mode="json").items() if key not in _NEUTRAL}
    if kind == "train":
        if values["prepare"] == PreparationSettings().model_dump(mode="json"):  # cells of before there was a choice keep their names
            del values["prepare"]
        values["training"] = {key: value for key, value in values["training"].items() if key not in _NEUTRAL_TRAINING}
    return values


def _fingerprint(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _readable(at: "Coordinates") -> str:
    return "_".join([_word(at.subject), _word(at.method), _word(at.ablation), _word(at.region), f"seed{at.seed}"])


def _word(text: str) -> str:
    """Write a name so that it can be part of a folder's on any system."""
    return re.sub(r"[^\w.+-]+", "-", re.sub(r"\s*([+-])\s*", r"\1", text)).strip("-.")[:_NAME_LENGTH] or "x"


# ---------------------------------------------------------------------- how they stand


def job_standing(job: SweepJob, known: Known) -> Standing:
    """Put together what the folder of a job says and what an executor knows of it."""
    told = known.get(job.folder, Standing("missing"))
    if told.state in GOING:
        return told
    here = folder_standing(job.folder)
    if told.state in ("failed", "stopped") and here.state in ("missing", "stopped"):
        return told if told.state == "failed" or told.error else Standing("stopped", _STOPPED)
    return here


def folder_standing(path: Path) -> Standing:
    """Say how the job of a run folder stands."""
    folder = RunFolder(path)
    try:
        state = run_state(folder)
        error = str(folder.read_status().get("error") or "")
    except Brain2PixError as damaged:
        return Standing("failed", str(damaged))
    if state in ("cancelled", "interrupted"):
        return Standing("stopped", _STOPPED)
    return Standing("missing") if state == "new" else Standing(state, error)


def cell_standing(cell: SweepCell, jobs: Known) -> Standing:
    """Say how a cell stands: finished when all its results are there, whatever became of its training's folder."""
    return standing_together({job.name: jobs[job.folder] for job in cell.jobs})


def standing_together(jobs: Mapping[str, Standing]) -> Standing:
    """Say how a cell stands by its jobs, of which the first is the training."""
    _, *results = jobs.values()
    if all(found.state == "finished" for found in results):
        return Standing("finished")
    for state in ("running", "failed", "queued", "stopped"):
        for name, found in jobs.items():
            if found.state == state:
                return Standing(state, f"{name}: {found.error}" if found.error else "")
    return Standing("missing")


def standings(cells: Iterable[SweepCell], known: Known | None = None) -> dict[Path, Standing]:
    """Say how all jobs stand, by folder."""
    return {job.folder: job_standing(job, known or {}) for cell in cells for job in cell.jobs}


def missing_jobs(cells: Sequence[SweepCell], jobs: Known) -> list[SweepJob]:
    """List the jobs that must run so that all results are there, each after those that it needs.

    A training whose results are there does not run again, also if its folder was deleted to save room.
    """
    by_folder = {job.folder: job for cell in cells for job in cell.jobs}
    wanted: dict[Path, SweepJob] = {}

    def want(job: SweepJob) -> None:
        if job.folder not in wanted and jobs[job.folder].state != "finished":
            for folder in job.needs:
                want(by_folder[folder])
            wanted[job.folder] = job

    for cell in cells:
        for job in cell.results:
            want(job)
    return list(wanted.values())


def seconds_of(folder: Path) -> int | None:
    """Wall time of the last attempt."""
    status = read_json_if_there(RunFolder(folder).status)
    try:
        return round((datetime.fromisoformat(status["finished"]) - datetime.fromisoformat(status["started"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def count(found: Iterable[Standing]) -> dict[str, int]:
    """Count standings by state."""
    counts: dict[str, int] = {}
    for standing in found:
        counts[standing.state] = counts.get(standing.state, 0) + 1
    return counts


def describe_counts(
    counts: Mapping[str, int], states: Sequence[str] = ("finished", "running", "queued", "failed", "stopped", "missing")
) -> str:
    """Say counts in words, those of nothing left out."""
    return ", ".join(f"{counts[state]} {state}" for state in states if counts.get(state))
