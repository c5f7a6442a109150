"""Write events into the run folder while they happen; read them back."""

import csv
import io
import json
import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from brain2pix.events import Message, Metric, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from brain2pix.events import Event, EventSink
    from brain2pix.training.run_folder import RunFolder

VERSION = 1
_COLUMNS = ("t", "attempt", "stage", "step", "name", "value")


class Recorder:
    """A sink that appends to ``events.jsonl`` and ``metrics.csv``.

    A line that cannot be written (full disk) is lost, the job is not: a sink must never change a result.

    Parameters
    ----------
    folder : RunFolder
    attempt : int
    tell : callable or None, takes each line too, as JSON values
    """

    def __init__(self, folder: "RunFolder", attempt: int, tell: "Callable[[dict[str, Any]], None] | None" = None) -> None:
        self._job = folder.path.name
        self._attempt = attempt
        self._tell = tell
        self._sequence = 0
        self._events = _Lines(folder.events)
        self._metrics = _Lines(folder.metrics)
        if self._metrics.empty:
            self._metrics.write(_csv(_COLUMNS))

    def __call__(self, event: "Event") -> None:
        """Take an event."""
        self._sequence += 1
        now = round(time.time(), 3)
        line = {"v": VERSION, "job": self._job, "attempt": self._attempt, "seq": self._sequence, "t": now, **to_dict(event)}
        self._events.write(json.dumps(line, ensure_ascii=False))
        if self._tell is not None:
            self._tell(line)
        if isinstance(event, Metric):
            self._metrics.write(_csv((now, self._attempt, event.stage, event.step, event.name, repr(event.value))))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._events.close()
        self._metrics.close()


@contextmanager
def warnings_as_events(sink: "EventSink") -> "Iterator[None]":
    """Turn what the core logs as a warning (the result may mislead) into events, so that record and window show it too."""
    handler = _EventHandler(sink)
    logger = logging.getLogger("brain2pix")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def warnings_are_events() -> bool:
    """Whether a job that is running now takes the warnings."""
    return any(isinstance(handler, _EventHandler) for handler in logging.getLogger("brain2pix").handlers)


def read_events(file: "Path") -> "Iterator[dict[str, Any]]":
    """Read events from the first to the last; a line that was cut off is left out."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if isinstance(values, dict):
                yield values


class Tail:
    """Give the lines of a record that grows, once each, from where it left off.

    Parameters
    ----------
    file : Path, ``events.jsonl``; need not exist yet
    most : int, bytes that are read at once; -1: all there are
    """

    def __init__(self, file: "Path", most: int = -1) -> None:
        self._file = file
        self._most = most
        self._at = 0
        self._cut = b""
        self.more = False  # whether a look at once would find more

    def read(self) -> "list[dict[str, Any]]":
        """Give what has come since the last look; a line that was cut off, or is none of ours, is left out."""
        try:
            with self._file.open("rb") as record:
                record.seek(self._at)
                fresh = record.read(self._most)
        except FileNotFoundError:
            fresh = b""
        self._at += len(fresh)
        self.more = len(fresh) == self._most
        *lines, self._cut = (self._cut + fresh).split(b"\n")
        return [values for values in map(_values, lines) if values]


def _values(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


class _EventHandler(logging.Handler):
    def __init__(self, sink: "EventSink") -> None:
        super().__init__(level=logging.WARNING)
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        self._sink(Message(record.levelname.lower(), record.getMessage()))


class _Lines:
    """Append whole lines without a buffer, so that a killed process loses none; a cut-off line is ended before the next."""

    def __init__(self, file: "Path") -> None:
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        size = os.fstat(self._handle).st_size
        self.empty = size == 0
        self._cut = False
        if size:
            os.lseek(self._handle, -1, os.SEEK_END)
            self._cut = os.read(self._handle, 1) != b"\n"

    def write(self, line: str) -> None:
        content = (("\n" if self._cut else "") + line + "\n").encode()
        try:
            written = os.write(self._handle, content)
        except OSError:
            return
        self._cut = 0 < written < len(content) or (self._cut and written == 0)

    def close(self) -> None:
        os.close(self._handle)


def _csv(values: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
