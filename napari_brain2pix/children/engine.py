"""The window's way to a compute server: one thread owns the `Engine`; the thread of the window posts wishes and hears answers as signals.

A call to a server may take seconds, and more when the server does not answer: none is ever made by the thread of the window.
"""

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from brain2pix.compute.engine.connection import known_servers
from brain2pix.compute.engine.registry import forget_job, job_id
from brain2pix.errors import Brain2PixError, ComputeError
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.table import JobRow, read_rows

if TYPE_CHECKING:
    from brain2pix.compute.engine.client import Engine
    from brain2pix.compute.spec import JobSpec

LOCAL, PLAIN = "local", ""  # places to compute: a server on this computer, and none
DEFAULT_PLACE = LOCAL
LIVE = "LIVE"  # resource of a worker for live pictures
IDLE_TIMEOUT_S = 600.0  # after which a server ends that no window came back to
QUICK_S, SLOW_S = 0.5, 3.0  # between looks, with jobs going on and without
FACTS_S = 2.0  # between questions about workers
AGAIN_S = 5.0  # between tries to reach a server that was lost
LEAVE_S = 2.0  # that a closing window waits for the thread
SAVE_S = 4.0  # that jobs get to save themselves when they are stopped with the window

logger = logging.getLogger(__name__)


class EngineThread(QObject):
    """Posts wishes to the thread that talks to a compute server, and tells what comes back.

    Signals
    -------
    connected : dict, what the server says of itself
    lost : str, why there is no connection any more
    standing_changed : how the connection stands: see `standing` and `words`
    table : list of JobRow, newest first
    submitted : folder, id: a job was taken
    refused : folder, why: a job was not taken
    unavailable : folder, why: there is no server on this computer to take it
    servers : list of str, names of the servers that are there
    problem : str, why a wish could not be fulfilled

    Attributes
    ----------
    place : str, where jobs go: `LOCAL`, `PLAIN`, the name of a server, or a connection file
    standing : "none", "connecting", "connected" or "failed"
    words : str, the same for the user
    rows : list of JobRow, as the last table had them
    """

    connected = Signal(object)
    lost = Signal(str)
    standing_changed = Signal()
    table = Signal(object)
    submitted = Signal(str, str)
    refused = Signal(str, str)
    unavailable = Signal(str, str)
    servers = Signal(object)
    problem = Signal(str)
    _stands = Signal(str, str)

    def __init__(self, parent: QObject | None = None, place: str | None = None) -> None:
        super().__init__(parent)
        self.place = DEFAULT_PLACE if place is None else place
        self.standing, self.words = "none", ""
        self.rows: list[JobRow] = []
        self.usable = True  # whether a server on this computer can be had
        self.names: list[str] = []
        self._worker = _Worker(self._tell, self.place)
        self._over = False
        # connected first: whoever else listens finds the newest rows here
        self.table.connect(self._take_table)
        self.servers.connect(self._take_servers)
        self._stands.connect(self._take_standing)

    @property
    def queues(self) -> bool:
        """Whether jobs go to a server, which lets them wait for each other."""
        return self.place != PLAIN and self.usable

    # -- wishes, from the thread of the window

    def start(self) -> None:
        """Begin to look: for jobs, and for a server that another window left behind."""
        self._worker.thread.start()

    def use(self, place: str) -> None:
        """Send jobs somewhere else from now on; those that were sent before stay where they are."""
        self.place, self.usable = place, True
        self._take_standing("none" if place == PLAIN else "connecting", "")
        self._wish(partial(self._worker.use, place))

    def submit(self, spec: "JobSpec") -> None:
        """Give a job to the server; one on this computer is started if there is none."""
        self._wish(partial(self._worker.submit, spec))

    def stop(self, folder: Path, server: str = "") -> None:
        """Ask a job of a server to stop, of the one that is connected if none is named; a job that waits never begins."""
        self._wish(partial(self._worker.ask_to_stop, folder, server))

    def kill(self, folder: Path, server: str = "") -> None:
        """End the process of a job at once."""
        self._wish(partial(self._worker.kill, folder, server))

    def forget(self, name: str) -> None:
        """Take a job off the list."""
        self._wish(partial(forget_job, name))

    def refresh(self) -> None:
        """Look now."""
        self._wish(self._worker.nothing)

    def close(self, stop: Iterable[Path] = ()) -> None:
        """End the thread. A server that this window started goes with it unless it has work.

        Parameters
        ----------
        stop : iterable of Path, folders of jobs that are to be stopped first
        """
        if self._over:
            return
        self._over = True
        thread = self._worker.thread
        if not thread.is_alive():
            return
        self._worker.wishes.put(partial(self._worker.leave, list(stop)))
        self._worker.wishes.put(None)
        thread.join(LEAVE_S)
        if thread.is_alive():  # the window need not wait for it, the program does, a little
            atexit.register(thread.join, SAVE_S + LEAVE_S)

    def _wish(self, wish: Callable[[], None]) -> None:
        if not self._over:
            self._worker.wishes.put(wish)

    # -- answers

    def _tell(self, signal: str, *values: Any) -> None:
        """Emit a signal; called by the other thread, so that Qt queues it for this one."""
        if not self._over:
            with suppress(RuntimeError):  # the window has gone
                getattr(self, signal).emit(*values)

    @guarded
    def _take_table(self, rows: list[JobRow]) -> None:
        self.rows = rows

    @guarded
    def _take_servers(self, names: list[str]) -> None:
        self.names = names

    @guarded
    def _take_standing(self, standing: str, words: str) -> None:
        self.standing, self.words = standing, words
        self.standing_changed.emit()

    def give_up(self) -> None:
        """Do without a server on this computer until another place is chosen."""
        self.usable = False


class _Worker:
    """What runs in the thread; nothing here but `wishes` and `thread` is touched by another one."""

    def __init__(self, tell: Callable[..., None], place: str) -> None:
        self.tell = tell
        self.wishes: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._run, name="brain2pix engine", daemon=True)
        self.place = place
        self.engine: Engine | None = None
        self._started_here = False
        self._rows: list[JobRow] | None = None
        self._names: list[str] | None = None
        self._workers: list[Mapping[str, Any]] = []
        self._asked_s = self._tried_s = float("-inf")
        self._was_lost = False

    def _run(self) -> None:
        self._guard(self._look, tell=False)
        while True:
            try:
                wish = self.wishes.get(timeout=QUICK_S if any(row.going for row in self._rows or ()) else SLOW_S)
            except queue.Empty:
                wish = self.nothing
            if wish is None:
                return
            self._guard(wish, tell=True)
            if self.wishes.empty():
                self._guard(self._look, tell=False)  # it comes again and again, and so would what it told

    def _guard(self, act: Callable[[], None], tell: bool) -> None:
        """Whatever goes wrong, the next wish is heard."""
        try:
            act()
        except Brain2PixError as error:
            logger.debug("compute server: %s", error)
            if tell:
                self.tell("problem", str(error))
        except Exception:
            logger.exception("the thread of the compute server failed")

    def nothing(self) -> None:
        """Only look again."""

    # -- connections

    def use(self, place: str) -> None:
        """Turn to another place."""
        if place == self.place and self.engine is not None:
            self._say_connected()
            return
        self._drop()
        self.place, self._was_lost, self._tried_s = place, False, float("-inf")
        if place in (LOCAL, PLAIN):
            self._reach_quietly()
            return
        try:
            self._reach(place)
        except (Brain2PixError, OSError, ImportError) as error:
            self.tell("_stands", "failed", str(error))

    def _engine_for_a_job(self) -> "Engine":
        """Give the server that is to take a job, started if it is this computer's and there is none."""
        if self.engine is not None and not self.engine.alive():
            self._lose()
        if self.engine is not None:
            return self.engine
        if self.place != LOCAL or LOCAL in _names():
            return self._reach(self.place)
        from brain2pix.compute.engine.client import Engine

        self.tell("_stands", "connecting", "starting a compute server on this computer …")
        try:
            engine = Engine.local(LOCAL, detach=True, idle_timeout_s=IDLE_TIMEOUT_S)
        except ComputeError:
            if LOCAL in _names():  # another window was quicker
                return self._reach(LOCAL)
            raise
        self._started_here = True
        return self._take(engine)

    def _reach(self, place: str) -> "Engine":
        from brain2pix.compute.engine.client import Engine

        self.tell("_stands", "connecting", "connecting …")
        return self._take(Engine.connect(place))

    def _take(self, engine: "Engine") -> "Engine":
        self.engine, self._was_lost = engine, False
        self._asked_s = float("-inf")
        self._say_connected()
        return engine

    def _say_connected(self) -> None:
        if self.engine is not None:
            info = self._facts(self.engine)
            self.tell("_stands", "connected", describe_server(info))
            self.tell("connected", info)

    def _reach_quietly(self) -> None:
        """Find a server that is there already, of another window or lost and back again; none is no problem."""
        now_s = time.monotonic()
        if self.engine is not None or self.place == PLAIN or now_s - self._tried_s < AGAIN_S:
            return
        self._tried_s = now_s
        if self.place == LOCAL and LOCAL not in _names():
            if not self._was_lost:
                self.tell("_stands", "none", "starts with the first job")
            return
        try:
            self._reach(self.place)
        except (Brain2PixError, OSError, ImportError) as error:
            self.tell("_stands", "failed", str(error))

    def _lose(self) -> None:
        """Say that the server has gone; what it was doing stands in the folders."""
        if self.engine is None:
            return
        name, here = self.engine.name, self.engine.connection.is_here
        ended = "has ended" if here else "has ended, or cannot be reached any more"
        self._drop()
        self._was_lost = True
        self.tell(
            "_stands", "failed", f"“{name}” {ended}; {'the next job starts a fresh one' if self.place == LOCAL else 'trying again …'}"
        )
        why = f"The compute server “{name}” {ended}."
        self.tell("lost", why)

    def _drop(self) -> None:
        engine, self.engine, self._workers, self._started_here = self.engine, None, [], False
        if engine is not None:
            with suppress(Exception):  # it may be gone
                engine.close()

    # -- jobs

    def submit(self, spec: "JobSpec") -> None:
        """Give a job to the server."""
        folder = str(spec.folder)
        try:
            engine = self._engine_for_a_job()
        except (Brain2PixError, OSError, ImportError) as error:
            self.tell("_stands", "failed", str(error))
            self.tell("unavailable" if self.place == LOCAL else "refused", folder, str(error))
            return
        try:
            name = engine.submit(spec)
        except Brain2PixError as error:
            if not engine.alive():
                self._lose()
            self.tell("refused", folder, str(error))
            return
        self._rows = None  # the next table is told even if it is as before
        self.tell("submitted", folder, name)

    def ask_to_stop(self, folder: Path, server: str) -> None:
        """Ask a job to stop."""
        with self._server(server) as engine:
            engine.ask_to_stop(job_id(folder))

    def kill(self, folder: Path, server: str) -> None:
        """End the process of a job."""
        with self._server(server) as engine:
            engine.kill(job_id(folder))

    @contextmanager
    def _server(self, name: str) -> "Iterator[Engine]":
        """Give the server that has a job: the one that is connected, or, after another was chosen, one for this moment."""
        if self.engine is not None and name in ("", self.engine.name):
            yield self.engine
            return
        from brain2pix.compute.engine.client import Engine

        with Engine.connect(name or self.place or LOCAL) as engine:
            yield engine

    # -- looking

    def _look(self) -> None:
        self._reach_quietly()
        tables = {}
        if self.engine is not None:
            try:
                tables[self.engine.name] = self.engine.jobs()
                if time.monotonic() - self._asked_s > FACTS_S:
                    self._facts(self.engine)
            except Exception as error:
                if self.engine.alive():  # it was busy: the next look may tell more
                    logger.debug("the compute server did not answer: %s", error)
                    return
                self._lose()
                tables = {}
        names = _names()
        if names != self._names:
            self._names = names
            self.tell("servers", names)
        rows = read_rows(tables, self._workers, [name for name in names if name not in tables])
        if rows != self._rows:
            self._rows = rows
            self.tell("table", rows)

    def _facts(self, engine: "Engine") -> dict[str, Any]:
        info: dict[str, Any] = engine.info()
        self._workers, self._asked_s = info.get("workers", []), time.monotonic()
        return info

    # -- the end

    def leave(self, stop: list[Path]) -> None:
        """Stop some jobs, then go; the server that was started here ends if it has nothing to do."""
        engine, self.engine = self.engine, None
        if engine is None:
            return
        try:
            self._stop_all(engine, {job_id(folder) for folder in stop})
            idle = not any(row["state"] in ("queued", "running", "cancelling") for row in engine.jobs())
        except Exception as error:
            logger.debug("leaving the compute server: %s", error)
            idle = False
        with suppress(Exception):
            engine.close(shutdown=idle and self._started_here)

    def _stop_all(self, engine: "Engine", ids: set[str]) -> None:
        """Ask jobs to stop, wait for their step, and end those that do not answer."""
        ids &= {str(row["id"]) for row in engine.jobs()}
        for name in ids:
            engine.ask_to_stop(name)
        until_s = time.monotonic() + SAVE_S
        while ids:
            ids = {str(row["id"]) for row in engine.jobs() if row["id"] in ids and row["state"] in ("queued", "running", "cancelling")}
            if ids and time.monotonic() > until_s:
                for name in ids:
                    engine.kill(name)
                return
            time.sleep(0.1)


def describe_server(info: Mapping[str, Any]) -> str:
    """Say in a line who a server is and what it can do."""
    workers = [worker for worker in info.get("workers", ()) if LIVE not in worker.get("resources", {})]
    n = len(workers)
    return f"connected: “{info.get('name', '')}” on {info.get('host', '')}, {n} worker{'' if n == 1 else 's'}"


def _names() -> list[str]:
    return [connection.name for connection in known_servers()]
