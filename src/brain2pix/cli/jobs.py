"""``brain2pix jobs``, ``cancel``, ``resume`` and ``attach``: jobs of this user, wherever they run."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from brain2pix.cli._options import HERE, Where

if TYPE_CHECKING:
    from brain2pix.compute.engine.states import JobState

Job = Annotated[str, Parameter(help="Id of a job, the beginning of it, or its run folder.", name="ID")]
Also = Annotated[str | None, Parameter(name="--on", help="Ask this server too, by its connection file.")]

_COLUMNS = ("id", "kind", "method", "state", "progress", "device", "server", "since", "folder")
_DAY_S = 86400.0
_GRACE_S = 60.0  # a step of a large network may take long
_LOOK_S = 0.1


def jobs(
    *,
    all_: Annotated[
        bool, Parameter(name="--all", help="All that are known. Default: those that go on, and those of the last day.", negative="")
    ] = False,
    json: Annotated[bool, Parameter(help="As a JSON list, for programs.", negative="")] = False,
    also: Also = None,
) -> int:
    """List jobs of this user and how they stand, here and on servers."""
    from json import dumps

    from brain2pix.cli._servers import ask_servers
    from brain2pix.compute.engine.states import GOING, job_states

    answers = ask_servers(also)
    known = job_states(answers.tables)
    shown = [state for state in known if all_ or state.state in GOING or time.time() - state.submitted_s < _DAY_S]
    for name, reason in answers.silent.items():
        print(f"warning: the server {name} was left out: {reason}", file=sys.stderr)
    if json:
        print(dumps([_as_dict(state) for state in shown], indent=2, ensure_ascii=False))
        return 0
    if shown:
        print("\n".join(_table(shown)))
    rest = len(known) - len(shown)
    if rest:
        print(f"{rest} older job{'s' if rest > 1 else ''} not shown: brain2pix jobs --all")
    elif not shown:
        print("no jobs yet")
    return 0


def cancel(
    job: Job,
    /,
    *,
    now: Annotated[bool, Parameter(help="End its process at once; the steps since its last checkpoint are lost.", negative="")] = False,
    grace: Annotated[float, Parameter(help="How long it may take for its step before its process is ended [s].")] = _GRACE_S,
    also: Also = None,
) -> int:
    """Stop a job after its step; what it did is saved and `brain2pix resume ID` goes on. One that waits never begins."""
    from brain2pix.cli._servers import connected, locate
    from brain2pix.compute.engine.states import GOING

    found = locate(job, also)
    state = found.state
    if state.state not in GOING:
        print(f"job {state.id} is {state.state}; there is nothing to stop")
        return 0
    if not now and state.state != "queued":
        print(f"job {state.id} was asked to stop after its step (at most {grace:g} s, then its process is ended)", flush=True)
    if found.server:
        with connected(found.server) as engine:
            how = _stop_on_server(engine, state, grace, now=now)
    else:
        how = _stop_here(state, grace, now=now)
    told = {
        "cancelled": "stopped, and what it did is saved" if state.state != "queued" else "will not begin",
        "forced": "its process was ended; it goes on from its last checkpoint",
        "not running": "it had ended by itself",
    }
    print(f"job {state.id}: {told[how]}" + ("" if how == "not running" else f" (brain2pix resume {state.id})"))
    return 0


def resume(job: Job, /, *, where: Where = HERE) -> int:
    """Go on with a job from its last checkpoint: on the server that had it if that is there, or else in this terminal."""
    from brain2pix.cli._job import run_spec
    from brain2pix.cli._servers import locate, submit
    from brain2pix.compute.engine.states import GOING
    from brain2pix.compute.spec import JobSpec
    from brain2pix.errors import ComputeError, MissingDataError
    from brain2pix.training.run_folder import RunFolder

    found = locate(job)
    state = found.state
    if state.state in GOING:
        raise ComputeError(f"job {state.id} is {state.state}; see it: brain2pix attach {state.id}")
    if state.state == "finished":
        print(f"job {state.id} is finished already; nothing was done")
        return 0
    if not RunFolder(state.folder).job.is_file():
        raise MissingDataError(f"{state.folder} is not on this machine; resume the job where that folder is")
    spec = JobSpec.from_file(state.folder)
    server = where.on or found.answers.places.get(state.server)
    if server is not None:
        return submit(spec, server, wait=where.wait)
    if state.server:
        print(f"the server {state.server} is not there any more: job {state.id} goes on in this terminal", flush=True)
    RunFolder(state.folder).cancel.unlink(missing_ok=True)  # of a process that was ended before it could answer
    return run_spec(spec)  # a job in this terminal is waited for anyway


def attach(job: Job, /, *, also: Also = None) -> int:
    """Draw the progress of a job that runs elsewhere, from its beginning; Ctrl-C leaves it running."""
    from brain2pix.cli._servers import connected, draw_from_folder, draw_from_server, locate
    from brain2pix.compute.engine.states import GOING
    from brain2pix.errors import MissingDataError

    found = locate(job, also)
    state = found.state
    if state.state == "new":
        print(f"job {state.id} has not begun; start it: brain2pix resume {state.id}")
        return 0
    if state.state in GOING:
        place = f" on the server {state.server}" if found.server else ""
        waits = "waits for a free worker" if state.state == "queued" else "runs"
        print(f"job {state.id} {waits}{place} (Ctrl-C leaves it running)", flush=True)
    done = f"done: {state.folder}"
    if found.server:
        with connected(found.server) as engine:
            return draw_from_server(engine, state.id, done)
    if not state.folder.is_dir():
        raise MissingDataError(f"{state.folder} is not on this machine; attach to the job where that folder is")
    return draw_from_folder(state, done)


# ------------------------------------------------------------------ stop


def _stop_on_server(engine: Any, state: "JobState", grace_s: float, *, now: bool) -> str:
    if not now or state.state == "queued":
        how: str = engine.cancel(state.id, grace_s)
        return how
    engine.kill(state.id)
    return "forced"


def _stop_here(state: "JobState", grace_s: float, *, now: bool) -> str:
    """Stop a job that runs by itself: by the file that it looks for, then by ending its process."""
    from brain2pix.compute.runner import end_from_outside, run_state
    from brain2pix.training.run_folder import RunFolder

    folder = RunFolder(state.folder)
    if not now:
        folder.cancel.touch()
        until_s = time.monotonic() + grace_s
        while run_state(folder) == "running" and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
    if run_state(folder) != "running":
        return "cancelled" if run_state(folder) == "cancelled" else "not running"
    _end_process(state.id, folder.read_status())
    end_from_outside(folder, "cancelled", "its process was ended at once")
    return "forced"


def _end_process(name: str, status: dict[str, Any]) -> None:
    """End the process that a status names, and those it started."""
    import socket

    import psutil

    from brain2pix.errors import ComputeError

    host = status.get("host")
    if host != socket.gethostname():
        raise ComputeError(f"job {name} has not stopped, and its process is on {host}; run there: brain2pix cancel {name} --now")
    try:
        process = psutil.Process(int(status["pid"]))
        family = [*process.children(recursive=True), process]
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=10)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        raise ComputeError(f"job {name} has not stopped, and its process {status['pid']} belongs to another user") from None


# ------------------------------------------------------------------ list


def _table(states: list["JobState"]) -> list[str]:
    rows = [_COLUMNS, *(_row(state) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    errors = [f"{state.id}: {' '.join(state.error.split())}" for state in states if state.error]
    return [*lines, *([""] if errors else []), *errors]


def _row(state: "JobState") -> tuple[str, ...]:
    since = time.strftime("%d %b %H:%M", time.localtime(state.submitted_s)) if state.submitted_s else ""
    tried = f" (attempt {state.attempt})" if state.attempt > 1 else ""
    return (
        state.id,
        state.kind,
        _method(state.folder),
        state.state + tried,
        _progress(state, label=False),
        state.device,
        state.server or "-",
        since,
        _near(state.folder),
    )


def _as_dict(state: "JobState") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(state), "folder": str(state.folder), "method": _method(state.folder), "progress": _progress(state)}


def _progress(state: "JobState", *, label: bool = True) -> str:
    from brain2pix.compute.engine.states import progress_of
    from brain2pix.events import Progress

    if state.state in ("new", "queued", "finished"):
        return ""
    event = progress_of(state.folder)
    if isinstance(event, Progress):
        return f"{event.stage} {event.label if label else ''} {event.done}/{event.total}".replace("  ", " ")
    return event.stage if event is not None else ""


def _method(folder: Path) -> str:
    """Name of the method that a job trains, or whose run it works on."""
    from brain2pix.errors import Brain2PixError
    from brain2pix.training.run_folder import RunFolder

    try:
        params = RunFolder(folder).read_job().get("params", {})
        if not params.get("method") and isinstance(params.get("run"), str):
            params = RunFolder(folder / params["run"]).read_job().get("params", {})
    except (Brain2PixError, OSError):
        return ""
    return str(params.get("method") or "")


def _near(folder: Path) -> str:
    """Write a folder as it is seen from here."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
