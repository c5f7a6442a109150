"""Progress is data: long work emits events into a sink and asks a token whether to stop.

The command line draws events, the window turns them into signals, a run folder appends them to ``events.jsonl`` and tests
collect them in a list. A sink must never change a result.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class Cancelled(Exception):
    """The user asked to stop. Raised by `CancelToken.check`, turned into the outcome "cancelled" by whoever runs the job."""


@dataclass(frozen=True)
class Started:
    """A stage begins."""

    stage: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a stage."""

    stage: str
    done: int
    total: int
    label: str = ""


@dataclass(frozen=True)
class Metric:
    """One number of a running stage, e.g. a loss term."""

    stage: str
    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Preview:
    """A picture of the state of training, written to a file."""

    stage: str
    step: int
    path: str


@dataclass(frozen=True)
class Message:
    """A line for the log. Levels are those of `logging`, in lower case."""

    level: str
    text: str


@dataclass(frozen=True)
class Finished:
    """A stage ended as it should, after `seconds`."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A stage ended with an error that the user must read."""

    stage: str
    error: str
    detail: str = ""


@dataclass(frozen=True)
class Stopped:
    """A stage was cancelled; what it had saved is kept."""

    stage: str


Event = Started | Progress | Metric | Preview | Message | Finished | Failed | Stopped
EventSink = Callable[[Event], None]

_KINDS: dict[str, type[Any]] = {
    cls.__name__.lower(): cls for cls in (Started, Progress, Metric, Preview, Message, Finished, Failed, Stopped)
}


def ignore(event: Event) -> None:
    """Drop an event: the sink of callers who do not listen."""


def to_dict(event: Event) -> dict[str, Any]:
    """Turn an event into plain JSON values (numbers that are not finite become None)."""
    values = {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in asdict(event).items()}
    return {"kind": type(event).__name__.lower(), **values}


def from_dict(values: dict[str, Any]) -> Event:
    """Turn what `to_dict` wrote back into an event; keys that an event does not know are dropped."""
    cls = _KINDS[values["kind"]]
    fields = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
    if cls is Metric and fields.get("value") is None:
        fields["value"] = math.nan
    event: Event = cls(**fields)
    return event


class CancelToken:
    """Says whether to stop: set in this process, or by a file named ``CANCEL`` that any process may write.

    Parameters
    ----------
    file : Path or None, looked for at each check (about 8 microseconds)
    """

    def __init__(self, file: Path | None = None) -> None:
        self._event = threading.Event()
        self._file = file

    def cancel(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def cancelled(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set() or (self._file is not None and self._file.exists())

    def check(self) -> None:
        """Raise `Cancelled` if a stop was asked for. Call it at each step and in each chunk of long closed-form work."""
        if self.cancelled():
            raise Cancelled
