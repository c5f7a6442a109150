"""Compute servers and their jobs, for the commands that ask about them. Dask is loaded only if there is a server to ask."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.errors import Brain2PixError, ComputeError, ConfigError

if TYPE_CHECKING:
    from brain2pix.compute.engine.client import Engine
    from brain2pix.compute.engine.states import JobState
    from brain2pix.compute.spec import JobSpec
    from brain2pix.events import EventSink

ASK_S = 4.0  # for a server to answer before it is left out
LOOK_S = 0.2  # between looks into the folder of a job that runs without a server
STOPPED = 130

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Answers:
    """What the servers say.

    Parameters
    ----------
    tables : dict of name to rows, of servers that answered
    places : dict of name to what to connect to
    silent : dict of name to reason, of servers that did not
    """

    tables: dict[str, Rows] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


@contextmanager
def connected(server: str, timeout_s: float = 10.0) -> "Iterator[Engine]":
    """Give a connection to a server, by name or connection file."""
    from brain2pix.compute.engine.client import Engine

    engine = Engine.connect(server, timeout_s=timeout_s)
    try:
        yield engine
    finally:
        engine.close()


def ask_servers(also: str | None = None) -> Answers:
    """Get the tables of all servers of this user.

    Parameters
    ----------
    also : str or None, a further one by its connection file, or one of them by name; it must answer
    """
    from brain2pix.compute.engine.connection import known_servers

    answers = Answers()
    for connection in known_servers():
        with _noted(answers, connection.name), connected(connection.name, ASK_S) as engine:
            answers.tables[connection.name] = engine.jobs()
            answers.places[connection.name] = connection.name
    if also is not None and also not in answers.tables:
        with connected(also) as engine:
            answers.tables[engine.name] = engine.jobs()
            answers.places[engine.name] = also
    return answers


@contextmanager
def _noted(answers: Answers, name: str) -> Iterator[None]:
    try:
        yield
    except Brain2PixError as error:
        answers.silent[name] = str(error)


@dataclass(frozen=True)
class Found:
    """A job and where it is.

    Parameters
    ----------
    state : JobState
    server : str, to connect to, of the server that has it now; empty if none has
    answers : Answers
    """

    state: "JobState"
    server: str
    answers: Answers


def locate(text: str, also: str | None = None) -> Found:
    """Find a job by its folder, its id or the beginning of one.

    Raises
    ------
    MissingDataError, ConfigError
        If none or several are meant.
    """
    from brain2pix.compute.engine.registry import find_job, job_id, pick_id
    from brain2pix.compute.engine.states import GOING, job_states, state_of

    answers = ask_servers(also)
    place = Path(text).expanduser()
    if (place / "job.json").is_file():
        folder = find_job(place)
        state = state_of(folder, job_id(folder), answers.tables)
    else:
        states = {state.id: state for state in job_states(answers.tables)}
        state = states[pick_id(text, {name: found.folder for name, found in states.items()})]
    has = [server for server, rows in answers.tables.items() if any(row["id"] == state.id and row["state"] in GOING for row in rows)]
    return Found(state, answers.places[has[0]] if has else "", answers)


# ------------------------------------------------------------------ give a job to a server


def submit(spec: "JobSpec", server: str, *, wait: bool, done: str = "") -> int:
    """Give a job to a server and say how to follow it.

    Parameters
    ----------
    spec : JobSpec, with a folder
    server : str, name or connection file
    wait : bool, draw its progress at once
    done : str, last line when all went well

    Returns
    -------
    int, exit code
    """
    from brain2pix.compute.engine.states import standing_of

    if spec.folder is None:
        raise ConfigError(f"a {spec.kind} job on a server needs a run folder; give it one")
    if standing_of(spec) == "finished":
        print(f"{spec.folder} is finished already; nothing was done")
        return 0
    with connected(server) as engine:
        if standing_of(spec) == "new":
            _check_inputs(spec, here=engine.connection.is_here)
        name = engine.submit(spec)
        print(f"job {name} is with the server {engine.name}", flush=True)
        if not wait:
            print(f"follow it: brain2pix attach {name}\nstop it:   brain2pix cancel {name}")
            return 0
        return draw_from_server(engine, name, done or f"done: {spec.folder}")


def _check_inputs(spec: "JobSpec", *, here: bool) -> None:
    """Find mistakes before the job is queued and its folder made; files on another machine cannot be looked at."""
    from brain2pix.compute.kinds import job_kind
    from brain2pix.config.base import build

    kind = job_kind(spec.kind)
    params = build(kind.params, spec.params)
    if here:
        kind.load()(params)


# ------------------------------------------------------------------ draw a job


def draw_from_server(engine: "Engine", name: str, done: str) -> int:
    """Draw a job of a server, what is behind it first; Ctrl-C leaves it running. Gives the exit code."""

    def follow(tell: Callable[[dict[str, Any]], None]) -> tuple[str, str]:
        row = engine.attach(name, tell)
        return str(row["state"]), str(row.get("error") or "")

    return _draw(name, follow, done)


def draw_from_folder(state: "JobState", done: str) -> int:
    """Draw a job from its folder, what is behind it first; Ctrl-C leaves it running. Gives the exit code."""
    from brain2pix.compute.engine.states import GOING, state_of
    from brain2pix.compute.record import Tail
    from brain2pix.training.run_folder import RunFolder

    def follow(tell: Callable[[dict[str, Any]], None]) -> tuple[str, str]:
        lines = Tail(RunFolder(state.folder).events)
        while True:
            now = state_of(state.folder, state.id)  # before its lines: whoever hears of the end has heard everything
            for line in lines.read():
                tell(line)
            if now.state not in GOING:
                return now.state, now.error
            time.sleep(LOOK_S)

    return _draw(state.id, follow, done)


def _draw(name: str, follow: "Callable[[Callable[[dict[str, Any]], None]], tuple[str, str]]", done: str) -> int:
    from brain2pix.cli._progress import drawn

    try:
        with drawn() as sink:
            state, error = follow(_Attempts(sink))
    except KeyboardInterrupt:
        print(f"\njob {name} goes on; see it again: brain2pix attach {name}, stop it: brain2pix cancel {name}")
        return STOPPED
    if state == "finished":
        print(done)
        return 0
    again = f"brain2pix resume {name} goes on from the last checkpoint"
    if state == "cancelled":
        print(f"stopped{f': {error}' if error else ''}; {again}")
        return STOPPED
    if state == "interrupted":
        raise ComputeError(f"the process of job {name} ended without a word, perhaps for lack of memory; {again}")
    raise ComputeError(f"job {name}: {error or 'failed without a reason on record'}")


class _Attempts:
    """Turns lines of a record into events for a sink; stages that a killed attempt left open are ended before the next one draws.

    Parameters
    ----------
    sink : callable, takes events
    """

    def __init__(self, sink: "EventSink") -> None:
        self._sink = sink
        self._attempt = 0
        self._open: list[str] = []

    def __call__(self, line: dict[str, Any]) -> None:
        """Take a line."""
        from brain2pix.events import Failed, Finished, Message, Started, Stopped, from_dict

        try:
            event = from_dict(line)
            attempt = int(line.get("attempt") or 1)
        except (KeyError, TypeError, ValueError):
            return  # a later version wrote it
        if attempt > self._attempt:
            for stage in self._open:
                self._sink(Stopped(stage))
            self._open = []
            if attempt > 1:
                self._sink(Message("info", f"attempt {attempt}"))
            self._attempt = attempt
        match event:
            case Started(stage):
                self._open.append(stage)
            case Finished(stage) | Stopped(stage) | Failed(stage):
                with suppress(ValueError):
                    self._open.remove(stage)
        self._sink(event)
