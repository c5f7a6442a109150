"""Draw events: bars in a terminal, plain lines elsewhere."""

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from brain2pix.events import Failed, Finished, Message, Metric, Preview, Progress, Started, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brain2pix.events import Event, EventSink

_PLAIN_EVERY_S = 10.0
_WIDTH = 72  # of the numbers on a line
_SHOWN_LEVELS = ("info", "warning", "error")


@contextmanager
def drawn() -> "Iterator[EventSink]":
    """Give a sink that draws on stdout; warnings of the libraries' loggers appear there too."""
    handler = _PrintHandler(level=logging.WARNING)
    logging.getLogger("brain2pix").addHandler(handler)
    try:
        if sys.stdout.isatty():
            with Bars() as bars:
                yield bars
        else:
            yield PlainLines()
    finally:
        logging.getLogger("brain2pix").removeHandler(handler)


class _Pace:
    """How fast a stage goes from the moment it was first heard of: what came before, such as features, does not count."""

    def __init__(self, total: int, now: float, done: int) -> None:
        self.total = total
        self._first = self._newest = (now, done)

    def at(self, now: float, done: int) -> None:
        if done > self._newest[1]:
            self._newest = (now, done)

    def left(self, now: float) -> float | None:
        """Seconds; None before anything was done. While one unit runs they go by, as its neighbours' do."""
        (first_s, before), (newest_s, done) = self._first, self._newest
        if done == before:
            return None
        return max(0.0, (newest_s - first_s) / (done - before) * (self.total - done) - (now - newest_s))


class PlainLines:
    """A line when a stage begins and ends, and one every few seconds in between."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}  # by stage
        self._last_s = time.monotonic()
        self._metrics: dict[str, float] = {}

    def __call__(self, event: "Event") -> None:
        """Take an event."""
        match event:
            case Started(stage):
                self._last_s = time.monotonic()
                self._paces.pop(stage, None)
                self._metrics = {}
                self._print(f"{stage} ...")
            case Metric(name=name, value=value):
                self._metrics[name] = value
            case Progress(stage, done, total, label):
                self._progress(stage, done, total, label)
            case Finished(stage, seconds):
                self._print(f"{stage}: done in {duration(seconds)}{self._numbers()}")
            case Stopped(stage):
                self._print(f"{stage}: stopped")
            case Message(level, text) if level in _SHOWN_LEVELS:
                self._print(text if level == "info" else f"{level}: {text}")
            case _:
                pass

    def _progress(self, stage: str, done: int, total: int, label: str) -> None:
        now = time.monotonic()
        pace = self._paces.get(stage)
        if pace is None or pace.total != total:
            pace = self._paces[stage] = _Pace(total, now, done)
        pace.at(now, done)
        if now - self._last_s < _PLAIN_EVERY_S:
            return
        self._last_s = now
        left = "" if (seconds := pace.left(now)) is None else f", {duration(seconds)} left"
        self._print(f"{stage} {label} {done}/{total}{left}{self._numbers()}".replace("  ", " "))

    def _numbers(self) -> str:
        return f" ({numbers(self._metrics)})" if self._metrics else ""

    def _print(self, text: str) -> None:
        print(text, flush=True)


class Bars:
    """Bars of rich: stage, share, time left, newest numbers."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console()
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}", style="dim"),
            console=self._console,
            refresh_per_second=8,
        )
        self._tasks: dict[str, Any] = {}
        self._metrics: dict[str, dict[str, float]] = {}

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._bars.stop()

    def __call__(self, event: "Event") -> None:
        """Take an event."""
        match event:
            case Started(stage):
                self._tasks[stage] = self._bars.add_task(stage, total=None, numbers="")
                self._metrics[stage] = {}
            case Metric(stage=stage, name=name, value=value):
                self._metrics.setdefault(stage, {})[name] = value
                self._update(stage, numbers=numbers(self._metrics[stage]))
            case Progress(stage, done, total, label):
                self._update(stage, completed=done, total=total, description=f"{stage} {label}".strip())
            case Finished(stage, _):
                self._end(stage, "[green]")
            case Stopped(stage) | Failed(stage):
                self._end(stage, "[yellow]")
            case Message(level, text) if level in _SHOWN_LEVELS:
                self._console.print(text if level == "info" else f"{level}: {text}", markup=False, highlight=False)
            case Preview() | _:
                pass

    def _update(self, stage: str, **values: Any) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None, numbers="")
        self._bars.update(self._tasks[stage], **values)

    def _end(self, stage: str, style: str) -> None:
        if stage not in self._tasks:
            return
        task = self._tasks.pop(stage)
        total = next((item.total for item in self._bars.tasks if item.id == task), None)
        self._bars.update(task, description=f"{style}{stage}[/]", total=total or 1)
        if style == "[green]":
            self._bars.update(task, completed=total or 1)
        self._bars.stop_task(task)


def duration(seconds: float) -> str:
    """Say a time as people do.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str, e.g. "0.4 s", "3 min 20 s"
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def numbers(metrics: dict[str, float], most: int = 4) -> str:
    """Write the newest numbers, `total` first, as many as fit on a line."""
    ordered = sorted(metrics.items(), key=lambda item: item[0] != "total")
    text = ""
    for name, value in ordered[:most]:
        more = f"{text}{'  ' * bool(text)}{name} {value:.4g}"
        if len(more) > _WIDTH and text:
            break
        text = more
    return text


class _PrintHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from brain2pix.compute.record import warnings_are_events

        if not warnings_are_events():  # a job's warnings come as events
            print(f"{record.levelname.lower()}: {record.getMessage()}", flush=True)
