"""Run one job from the command line, here or on a server: draw its events, stop it on Ctrl-C, give the exit code."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from brain2pix.cli._options import HERE, Where
from brain2pix.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

    from brain2pix.compute.spec import JobSpec
    from brain2pix.events import CancelToken, EventSink

STOPPED = 130
Result = TypeVar("Result")


def run_job(kind: str, params: dict[str, Any], folder: Path | None, *, done: str = "", where: Where = HERE) -> int:
    """Run a job with progress on stdout, or give it to a server.

    Parameters
    ----------
    kind : str
    params : dict, JSON values
    folder : Path or None, the run folder
    done : str, last line when all went well
    where : Where

    Returns
    -------
    int, exit code
    """
    from brain2pix.compute.spec import JobSpec

    return run_spec(JobSpec(kind, params, folder), done=done, where=where)


def run_spec(spec: "JobSpec", *, done: str = "", where: Where = HERE) -> int:
    """Do the same with a `JobSpec`."""
    if where.on is not None:
        from brain2pix.cli._servers import submit

        return submit(spec, where.on, wait=where.wait, done=done)
    if where.wait:
        raise ConfigError("--wait goes with --on SERVER: in this terminal, a job is waited for anyway")
    from brain2pix.compute import runner

    with _noted(spec):
        outcome = with_progress(lambda sink, cancel: runner.run_job(spec, sink, cancel))
    if outcome == "cancelled":
        again = f"; the same command, or `brain2pix run {spec.folder}`, goes on" if spec.folder else ""
        print(f"stopped{again}")
        return STOPPED
    if outcome == "finished":
        print(done or f"done: {spec.folder}")
    return 0


@contextmanager
def _noted(spec: "JobSpec") -> Iterator[None]:
    """Keep a job that runs here among those that `brain2pix jobs` lists, unless nothing comes of it."""
    if spec.folder is None:
        yield
        return
    from brain2pix.compute.engine import registry
    from brain2pix.compute.engine.states import RESUMABLE, standing_of

    begins = standing_of(spec) in RESUMABLE
    if begins:
        registry.note_job(spec.folder, spec.kind)
    try:
        yield
    finally:
        if begins and not spec.folder.exists():  # its inputs were at fault
            registry.forget_job(registry.job_id(spec.folder))


def with_progress(work: "Callable[[EventSink, CancelToken], Result]") -> Result:
    """Call a function with a sink that draws and a token that Ctrl-C sets."""
    from brain2pix.cli._progress import drawn
    from brain2pix.events import CancelToken

    cancel = CancelToken()
    with drawn() as sink, stop_signals(cancel):
        return work(sink, cancel)


@contextmanager
def stop_signals(cancel: "CancelToken") -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a request to stop; the second Ctrl-C stops at once."""

    def ask(number: int, frame: "FrameType | None") -> None:
        if cancel.cancelled() and number == signal.SIGINT:
            raise KeyboardInterrupt
        cancel.cancel()
        print("stopping after this step, what was done is saved (Ctrl-C again: at once)", flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.stdout.flush()
