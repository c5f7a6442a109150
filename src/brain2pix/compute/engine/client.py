"""The client's side of a compute server: submit jobs, follow them, stop them. Blocking; use an `Engine` from one thread only.

A job is a folder on disk, and what stands there is the truth. The server queues jobs, runs each in a worker process and starts it again
when that process dies; it may be lost at any moment, and costs no more than the steps since the last checkpoint.
"""

import atexit
import logging
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import dask

from brain2pix.compute.engine import control, task
from brain2pix.compute.engine.connection import Connection, describe_versions, engine_versions, find_server, server_file
from brain2pix.compute.engine.live import LiveSession
from brain2pix.compute.engine.registry import job_id, note_job
from brain2pix.compute.engine.states import WHY_NOT, standing_of
from brain2pix.compute.record import read_events
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError, MissingDataError
from brain2pix.training.run_folder import RunFolder

Line = dict[str, Any]
Row = dict[str, Any]
LOOK_S = 0.1  # between questions how a job stands
START_S = 60.0  # for a server to come up; two seconds on an idle machine
GRACE_S = 5.0  # from asking a job to stop to ending its process
_LEFT_ALONE: list["subprocess.Popen[bytes]"] = []  # a process object that is dropped complains that its process still runs
END_S = 10.0  # for what must follow from an order


class Engine:
    """Connection with one compute server.

    Make one by `local` or `connect`.
    """

    def __init__(self, connection: Connection, process: "subprocess.Popen[bytes] | None" = None, timeout_s: float = 10.0) -> None:
        from distributed import Client

        self.connection = connection
        self._process = process
        # long enough for a busy machine, short enough for somebody who waits
        dask.config.set({"distributed.comm.timeouts.connect": f"{timeout_s}s"})
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it says of a lost server, our errors say
        try:
            self._client = Client(connection.address, security=connection.security(), set_as_default=False, timeout=timeout_s)
        except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:  # TypeError: no certificate in the file
            raise ComputeError(
                f"cannot reach the compute server {connection.name!r} at {connection.address} ({_short(error)}). "
                "If it runs elsewhere, is its port forwarded, and is the connection file its newest?"
            ) from error
        try:
            self._check_versions()
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ to begin and to end

    @classmethod
    def local(
        cls,
        name: str = "local",
        *,
        detach: bool = False,
        idle_timeout_s: float | None = None,
        workers: int = 1,
        threads: int | None = None,
        gpus: Sequence[str] = (),
        live: bool = False,
        nice: int = 10,
    ) -> Self:
        """Start a server on this machine and connect to it.

        Parameters
        ----------
        name : str, under which other programs of the user find it
        detach : bool; False: it ends with this process, however that ends
        idle_timeout_s : float or None, a detached server ends after so long without jobs and clients
        workers : int, jobs at once
        threads : int or None, of each worker's numerical libraries; None: all cores but one
        gpus : sequence of str, one worker for each of these cards
        live : bool, whether it also answers `live`
        nice : int

        Raises
        ------
        ComputeError
            If it does not come up; the message has its last words.
        """
        arguments = ["--name", name, "--workers", str(workers), "--nice", str(nice)]
        arguments += ["--detach"] * detach + ["--live"] * live
        arguments += ["--idle-timeout", str(idle_timeout_s)] if idle_timeout_s is not None else []
        arguments += ["--threads", str(threads)] if threads is not None else []
        arguments += ["--gpus", ",".join(gpus)] if gpus else []
        file, process = start_server(server_file(name), arguments, detach=detach)
        return cls(Connection.read(file), process)

    @classmethod
    def connect(cls, name_or_file: str | Path, timeout_s: float = 10.0) -> Self:
        """Connect to a server by its name or its connection file.

        Raises
        ------
        MissingDataError, DataFormatError, ConfigError
            If there is no such server or file, or the file cannot be used.
        ComputeError
            If it cannot be reached, or has other versions.
        """
        return cls(find_server(name_or_file), timeout_s=timeout_s)

    def close(self, shutdown: bool = False) -> None:
        """Let go of the server; with `shutdown`, end it. One that is not detached ends either way."""
        if shutdown and self.alive():
            with suppress(Exception):
                self._client.run_on_scheduler(control.stop_server)
        with _quiet(), suppress(Exception):
            self._client.close(timeout=2)
        process, self._process = self._process, None
        if process is not None and (shutdown or not self.connection.detached):
            _end(process)
        elif process is not None:
            _LEFT_ALONE.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Name of the server."""
        return self.connection.name

    def alive(self) -> bool:
        """Whether the server is still there, as far as can be seen without asking it."""
        return self._client.status == "running" and self.connection.process_lives()

    def info(self) -> dict[str, Any]:
        """Say what the server is: name, host, versions, and its workers with their memory and job."""
        facts: dict[str, Any] = self._ask(control.server_facts)
        return {**facts, "name": self.name, "host": self.connection.host, "detached": self.connection.detached}

    def _check_versions(self) -> None:
        theirs = self._ask(control.server_facts)["versions"]
        differ = describe_versions(theirs, engine_versions())
        if differ:
            raise ComputeError(
                f"the compute server {self.name!r} has other versions: {differ}. Install the same on both sides, then start it again"
            )

    # ------------------------------------------------------------------ jobs

    def submit(self, spec: JobSpec, depends: Sequence[str] = ()) -> str:
        """Queue a job, or one that was interrupted to go on where it stopped.

        Parameters
        ----------
        spec : JobSpec, with a folder that both sides see under the same path
        depends : sequence of str, jobs that must have finished before

        Returns
        -------
        str, id of the job

        Raises
        ------
        ConfigError
            If the folder is in use, finished or something else's, or a job it depends on is unknown.
        ComputeError
            If the server has gone.
        """
        folder = self._prepare(spec)
        identity = job_id(folder)
        futures = [future for name in depends if (future := self._future_needed(name)) is not None]
        key = self._ask(control.add_job, identity, spec.kind, str(folder), list(depends))
        with self._lost_is_told():
            future = self._client.submit(
                task.run_folder, identity, key, str(folder), futures, key=key, pure=False, resources={control.SLOT: 1}, retries=0
            )
            self._client.publish_dataset(future, name=identity, override=True)  # it must not end when this client does
        note_job(folder, spec.kind, self.connection.server_id, self.name)
        return identity

    def ask_to_stop(self, identity: str) -> None:
        """Ask a job to stop after its step; what it did is saved. One that waits never begins."""
        row = self._row(identity)
        if row["state"] not in control.GOING:
            return
        RunFolder(Path(row["folder"])).cancel.touch()  # one that is just beginning sees it too
        self._ask(control.stop_job, identity)
        if row["state"] != "queued":
            self._ask(control.ask_worker, identity)

    def kill(self, identity: str) -> None:
        """End the process of a job at once; its last checkpoint stays. The server starts another worker."""
        self._ask(control.end_job, identity)

    def cancel(self, identity: str, grace_s: float = GRACE_S) -> str:
        """Stop a job: ask it, and end its process if it does not answer within the grace.

        Returns
        -------
        "cancelled", "forced" (the process was ended) or "not running"
        """
        if self._row(identity)["state"] not in control.GOING:
            return "not running"
        self.ask_to_stop(identity)
        if self._ended_within(identity, grace_s):
            return "cancelled"
        self.kill(identity)
        self._ended_within(identity, END_S)
        return "forced"

    def jobs(self) -> list[Row]:
        """Give the server's table, the first submitted first."""
        found: list[Row] = self._ask(control.rows)
        return found

    def wait(self, identity: str, timeout_s: float | None = None) -> Row:
        """Wait for the end of a job; gives its row.

        Raises
        ------
        ComputeError
            If the server goes meanwhile, or the time is over.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            row = self._row(identity)
            if row["state"] not in control.GOING:
                return row
            if until_s is not None and time.monotonic() > until_s:
                raise ComputeError(f"job {identity} is still {row['state']} after {timeout_s:g} s")
            time.sleep(LOOK_S)

    def attach(self, identity: str, tell: Callable[[Line], None], timeout_s: float | None = None) -> Row:
        """Hear everything that a job has said and says, in order and each line once, until it ends.

        Parameters
        ----------
        identity : str
        tell : callable, takes lines of ``events.jsonl``
        timeout_s : float or None

        Returns
        -------
        dict, the row of the ended job
        """
        row = self._row(identity)
        lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        name = control.TOPIC + identity
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        heard = _Heard(tell, RunFolder(Path(row["folder"])).events)
        with self._lost_is_told():
            self._client.subscribe_topic(name, lambda event: lines.put(event[1]))
        try:
            heard.catch_up([event[1] for event in self._events_of(name)])
            while True:
                with suppress(queue.Empty):
                    while True:
                        heard.take(lines.get(timeout=LOOK_S))
                row = self._row(identity)
                if row["state"] not in control.GOING:
                    heard.catch_up([])
                    return row
                if until_s is not None and time.monotonic() > until_s:
                    raise ComputeError(f"job {identity} is still {row['state']} after {timeout_s:g} s")
        finally:
            with suppress(Exception):
                self._client.unsubscribe_topic(name)

    def live(self, model: Path, subject: Path, device: str = "auto") -> LiveSession:
        """Load a trained system for live pictures into the server's live worker.

        Raises
        ------
        ConfigError
            If the server was started without one.
        Brain2PixError
            If model or subject are missing or do not fit each other.
        """
        if not any(control.LIVE in worker["resources"] for worker in self.info()["workers"]):
            raise ConfigError(
                f"the compute server {self.name!r} has no worker for live pictures; start it with: brain2pix server start --live"
            )
        return LiveSession(self._client, model, subject, device)

    # ------------------------------------------------------------------ inside

    def _prepare(self, spec: JobSpec) -> Path:
        """Bring the folder of a job into the state in which a worker takes it over."""
        if spec.folder is None:
            raise ConfigError(f"a {spec.kind} job needs a folder to run on a server; give it one")
        folder = spec.folder.absolute()
        stands = standing_of(spec)
        if stands in WHY_NOT:
            raise ConfigError(f"{folder} {WHY_NOT[stands]}; choose another folder")
        if stands == "new":
            spec.write()
        RunFolder(folder).cancel.unlink(missing_ok=True)  # starting again is the wish to go on
        return folder

    def _future_needed(self, identity: str) -> Any:
        """Task of a job that another one waits for; None if it has finished."""
        row = self._ask(control.row_of, identity)
        if row is None:
            from brain2pix.compute.engine.registry import find_job

            folder = find_job(identity)
            if RunFolder(folder).read_status().get("state") == "finished":
                return None
            raise ConfigError(f"job {identity} is not on this server and has not finished; submit it first")
        if row["state"] == "finished":
            return None
        if row["state"] not in control.GOING:
            raise ConfigError(f"job {identity} is {row['state']}; resume it before what depends on it")
        with self._lost_is_told():
            return self._client.get_dataset(identity)

    def _row(self, identity: str) -> Row:
        row: Row | None = self._ask(control.row_of, identity)
        if row is None:
            raise MissingDataError(f"the compute server {self.name!r} has no job {identity!r}; see: brain2pix jobs")
        return row

    def _ended_within(self, identity: str, seconds: float) -> bool:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            if self._row(identity)["state"] not in control.GOING:
                return True
            time.sleep(LOOK_S / 2)
        return False

    def _events_of(self, name: str) -> Sequence[tuple[float, Line]]:
        with self._lost_is_told():
            return self._client.get_events(name) or ()

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lost_is_told():
            return self._client.run_on_scheduler(function, *arguments)

    @contextmanager
    def _lost_is_told(self) -> Iterator[None]:
        """Turn everything by which dask says that the server has gone into one error; check first: dask would try for half a minute."""
        if not self.alive():
            raise ComputeError(self._lost())
        try:
            yield
        except Brain2PixError:
            raise
        except Exception as error:
            if isinstance(error, OSError | TimeoutError) or not self.alive() or "closed" in str(error).lower():
                raise ComputeError(self._lost()) from error
            raise

    def _lost(self) -> str:
        return (
            f"the compute server {self.name!r} has gone (process {self.connection.pid} on {self.connection.host}). "
            "Jobs that ran there are interrupted; resume them and they go on from their last checkpoints"
        )


class _Heard:
    """Lines of a record once each and in order, from two sources: what is sent, and the file, which knows what got lost on the way."""

    def __init__(self, tell: Callable[[Line], None], file: Path) -> None:
        self._tell, self._file = tell, file
        self._last = (0, 0)

    def take(self, line: Line) -> None:
        """Take a line that was sent."""
        place = _place(line)
        if place is None or place <= self._last:
            return
        attempt, sequence = place
        if sequence != (self._last[1] + 1 if attempt == self._last[0] else 1) or attempt > self._last[0] + 1:
            self.catch_up([line])
            return
        self._say(place, line)

    def catch_up(self, sent: Sequence[Line]) -> None:
        """Read what the file has and the sent lines do not, or the other way round where the file is out of reach."""
        found = {place: line for line in (*sent, *read_events(self._file)) if (place := _place(line)) is not None}
        for place in sorted(place for place in found if place > self._last):
            self._say(place, found[place])

    def _say(self, place: tuple[int, int], line: Line) -> None:
        self._last = place
        self._tell(line)


def _place(line: Line) -> tuple[int, int] | None:
    """Attempt and number within it; None for what is no line of a record."""
    if not isinstance(line, dict) or "seq" not in line:
        return None
    return int(line["attempt"]), int(line["seq"])


def start_server(file: Path, arguments: Sequence[str], *, detach: bool) -> tuple[Path, "subprocess.Popen[bytes]"]:
    """Start a server process and wait until its connection file is there.

    Parameters
    ----------
    file : Path, connection file to be written
    arguments : sequence of str, of `brain2pix.compute.engine.server`
    detach : bool, whether it outlives this process

    Returns
    -------
    Path, Popen

    Raises
    ------
    ComputeError
        If one of that name runs already, or it ends before it is there.
    """
    if file.is_file():
        before = Connection.read(file)
        if before.process_lives():
            raise ComputeError(
                f"a compute server {before.name!r} runs already (process {before.pid}); connect to it, or start one with another --name"
            )
        file.unlink()
    output = tempfile.TemporaryFile()
    command = [sys.executable, "-m", "brain2pix.compute.engine.server", "--file", str(file), *arguments]
    stdin = subprocess.DEVNULL if detach else subprocess.PIPE
    process = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    if not detach:
        atexit.register(_end, process)
    until_s = time.monotonic() + START_S
    while not file.is_file():
        if process.poll() is not None or time.monotonic() > until_s:
            _end(process)
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()
            raise ComputeError(f"the compute server did not start: {said[-1] if said else f'exit code {process.returncode}'}")
        time.sleep(0.05)
    output.close()
    return file, process


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let a server that was started here end: its input closes, and it saves what runs; then it is killed."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_S)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let dask's farewell to a server that has gone be silent."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
