"""The folder of a reproduction: whose it is, made ready to begin or to go on, and how its cells stand. No torch.

::

    OUT/job.json, status.json, events.jsonl   as of any job
    OUT/reproduce.json                        what was asked, the rows of the report and their cells
    OUT/cells/<cell>/<job>                    run folders
    OUT/report.html, scores.tsv, statistics.tsv, orderings.tsv
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.compute.sweep_cells import Standing, count, folder_standing, seconds_of, standing_together
from brain2pix.errors import ComputeError, ConfigError, DataFormatError
from brain2pix.files import read_json_if_there, write_json
from brain2pix.training.run_folder import RunFolder

if TYPE_CHECKING:
    from brain2pix.config.reproduce import ReproduceParams

KIND, NOTE, REPORT = "reproduce", "reproduce.json", "report.html"
_TRAIN = "train"


def is_reproduction(folder: Path) -> bool:
    """Whether a folder is that of a reproduction, begun or about to begin."""
    return (folder / NOTE).is_file() or read_json_if_there(RunFolder(folder).job).get("kind") == KIND


def check_folder(out: Path, params: "ReproduceParams", data: Path) -> None:
    """Refuse a folder that is something else's, or holds another reproduction.

    Parameters
    ----------
    out : Path
    params : ReproduceParams
    data : Path, the subject's folder

    Raises
    ------
    ConfigError
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give a folder for the reproduction")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not is_reproduction(out):
        raise ConfigError(f"{out} is not empty and is not the folder of a reproduction (no {NOTE}); choose another one")
    asked = {"method": params.method, "plan": params.plan, "data": str(data.absolute())}
    found = read_json_if_there(out / NOTE)
    differing = [f"{key} {found.get(key)!r}, not {value!r}" for key, value in asked.items() if found and found.get(key) != value]
    if differing:
        raise ConfigError(f"{out} holds another reproduction ({'; '.join(differing)}); choose another folder")


def make_ready(params: "ReproduceParams", out: Path, data: Path) -> JobSpec:
    """Give the job of a reproduction; a folder that holds it already is made ready to go on, also with other runs, gallery or device.

    Also one that has finished goes on: cells whose folders were removed run again.

    Parameters
    ----------
    params : ReproduceParams
    out : Path
    data : Path, the subject's folder

    Raises
    ------
    ConfigError
        If the folder holds something else.
    ComputeError
        If it is being worked on.
    """
    check_folder(out, params, data)
    spec, run = JobSpec(KIND, params.model_dump(mode="json"), out), RunFolder(out)
    if out.is_dir() and any(out.iterdir()):
        if run_state(run) == "running":
            raise ComputeError(
                f"{out} is being worked on by another process; wait for it, or stop it by a file named CANCEL in that folder"
            )
        spec.write()
        status = run.read_status()
        if status.get("state") == "finished":
            write_json(run.status, {**status, "state": "cancelled"})
    return spec


def command_of(params: "ReproduceParams", out: Path) -> list[str]:
    """Arguments of `brain2pix` that ask for the same."""
    changed = {name: value for name, value in params if value != type(params).model_fields[name].default}
    given = [changed.pop("method", params.method), str(changed.pop("subject")), str(out)]
    for name, value in changed.items():
        given += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    return ["reproduce", *given]


# ---------------------------------------------------------------------- how it stands


@dataclass(frozen=True)
class CellView:
    """One cell.

    Parameters
    ----------
    id : str, name of its folder
    title : str, what it trains, for people
    state : str, as of `Standing`
    error : str
    doing : str, name of the job that runs; empty for none
    run : Path, run folder of its training
    alone : bool, whether it trains an encoder of its own: most of the time
    seconds : dict of job to seconds that it took
    n_jobs : int
    """

    id: str
    title: str
    state: str
    error: str
    doing: str
    run: Path
    alone: bool
    seconds: dict[str, int]
    n_jobs: int


@dataclass(frozen=True)
class RowView:
    """One row of the report.

    Parameters
    ----------
    name, title : str
    cells : tuple of str, ids
    why : str, why there is none; empty if there can be
    """

    name: str
    title: str
    cells: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Overview:
    """How a reproduction stands.

    Parameters
    ----------
    out : Path
    method, plan, preset : str
    data : Path, the subject's folder
    simulated : bool
    params : dict, `ReproduceParams`, JSON values
    rows : tuple of RowView
    cells : tuple of CellView
    missing : dict of what cannot be run to why, and how to get it
    """

    out: Path
    method: str
    plan: str
    preset: str
    data: Path
    simulated: bool
    params: dict[str, Any]
    rows: tuple[RowView, ...]
    cells: tuple[CellView, ...]
    missing: dict[str, str]

    @property
    def report(self) -> Path | None:
        """Its report; None before there is one."""
        return self.out / REPORT if (self.out / REPORT).is_file() else None

    @property
    def n_finished(self) -> int:
        """Cells of which all results are there."""
        return sum(cell.state == "finished" for cell in self.cells)

    @property
    def n_jobs(self) -> int:
        """Trainings, reconstructions, scores and maps of all cells."""
        return sum(cell.n_jobs for cell in self.cells)

    def counts(self) -> dict[str, int]:
        """Count cells by state."""
        return count(Standing(cell.state) for cell in self.cells)

    def left_s(self) -> float | None:
        """Seconds that the cells which are not done will take, the report not counted; None where nothing tells.

        A cell is taken to need as long as the median of those that are done and, like it, train an encoder of their own or take one.
        """
        known = {
            alone: [sum(cell.seconds.values()) for cell in self.cells if _measured(cell) and cell.alone == alone] for alone in (True, False)
        }
        todo = [cell for cell in self.cells if cell.state not in ("finished", "failed")]
        if any(not known[cell.alone] for cell in todo):
            return None
        at_once = max(sum(cell.state == "running" for cell in self.cells), 1)
        return sum(max(median(known[cell.alone]) - sum(cell.seconds.values()), 0.0) for cell in todo) / at_once


def read_overview(out: Path, note: Mapping[str, Any] | None = None, before: Overview | None = None) -> Overview:
    """Read how a reproduction stands.

    Parameters
    ----------
    out : Path
    note : mapping or None, what would stand in its ``reproduce.json``; None: what does
    before : Overview or None, of a moment ago: cells that had finished are not looked at again

    Raises
    ------
    DataFormatError
        If there is no such note, or it is damaged or of an earlier version.
    """
    known = {cell.id: cell for cell in before.cells if cell.state == "finished"} if before is not None and before.out == out else {}
    try:
        found = read_json_if_there(out / NOTE) if note is None else note
        return Overview(
            out=out,
            method=str(found["method"]),
            plan=str(found["plan"]),
            preset=str(found["preset"]),
            data=Path(found["data"]),
            simulated=bool(found["simulated"]),
            params=dict(found["params"]),
            rows=tuple(RowView(row["name"], row["title"], tuple(row["cells"]), row["missing"]) for row in found["rows"]),
            cells=tuple(known.get(cell["id"]) or _cell(out, cell) for cell in found["cells"]),
            missing=dict(found["missing"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise DataFormatError(f"{out / NOTE} does not say what is reproduced ({why}); `brain2pix reproduce` writes it anew") from None


def _cell(out: Path, about: Mapping[str, Any]) -> CellView:
    place = out / "cells" / about["id"]
    names: Sequence[str] = about["jobs"]
    # of most cells nothing is there yet: one look is enough
    jobs = {name: folder_standing(place / name) for name in names} if place.is_dir() else {}
    found = standing_together(jobs) if jobs else None
    return CellView(
        id=about["id"],
        title=about["title"],
        state=found.state if found else "missing",
        error=found.error if found else "",
        doing=next((name for name, job in jobs.items() if job.state == "running"), ""),
        run=place / _TRAIN,
        alone=bool(about["alone"]),
        seconds={name: took for name, job in jobs.items() if job.state == "finished" and (took := seconds_of(place / name)) is not None},
        n_jobs=len(names),
    )


def _measured(cell: CellView) -> bool:
    """Whether it is known how long a cell took: one that was interrupted has only the time of its last attempt."""
    return cell.state == "finished" and len(cell.seconds) == cell.n_jobs and RunFolder(cell.run).attempt() == 1
