"""Read the record of a job while it grows, and make out how far it is. No Qt: the folder on disk is all it knows."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brain2pix.compute.record import Tail
from brain2pix.events import Event, Finished, Message, Progress, Started, from_dict

CHUNK = 64 * 1024  # bytes of the record that are read at once: a few milliseconds of work
RESUMED = re.compile(r"going on from the checkpoint at (.+)")  # what the training says when it does


class EventTail:
    """Give the events of a record once each, from where it left off.

    Parameters
    ----------
    file : Path, ``events.jsonl``; need not exist yet
    """

    def __init__(self, file: Path) -> None:
        self._tail = Tail(file, CHUNK)

    @property
    def more(self) -> bool:
        """Whether a look at once would find more."""
        return self._tail.more

    def read(self) -> list[tuple[float, Event]]:
        """Give what has come since the last look, at most a chunk of it, with the times at which it was written [s]."""
        return [found for found in map(_event, self._tail.read()) if found is not None]


@dataclass
class JobProgress:
    """Where a job is, from its events.

    Totals change within a stage (features of the images, then steps): each (stage, label, total) is counted by itself.

    Parameters
    ----------
    stage, label : str, what is being done; empty before the first event
    done, total : int, units of it; total 0 where nothing is counted
    resumed : str, where it went on the last time it was begun again
    """

    stage: str = ""
    label: str = ""
    done: int = 0
    total: int = 0
    resumed: str = ""
    _stages: list[str] = field(default_factory=list)
    _first: tuple[int, float] = (0, 0.0)
    _last_s: float = 0.0

    def take(self, event: Event, time_s: float) -> None:
        """Take an event of the record and the time at which it was written [s]."""
        if isinstance(event, Started):
            self._stages.append(event.stage)
            self.stage, self.label, self.done, self.total = event.stage, "", 0, 0
        elif isinstance(event, Progress):
            if (event.stage, event.label, event.total) != (self.stage, self.label, self.total) or event.done < self.done:
                self._first = (event.done, time_s)
            self.stage, self.label, self.done, self.total = event.stage, event.label, event.done, event.total
            self._last_s = time_s
        elif isinstance(event, Finished):
            self.label, self.done, self.total = "", 0, 0
        elif isinstance(event, Message) and (found := RESUMED.match(event.text)):
            self.resumed = found[1]

    def left_s(self) -> float | None:
        """Seconds until what is being counted ends, at the pace so far; None while there is no pace."""
        first, since_s = self._first
        took_s = self._last_s - since_s
        if not self.total or self.done <= first or took_s <= 0:
            return None
        return took_s / (self.done - first) * (self.total - self.done)

    def describe(self) -> str:
        """Say in one line what is being done and how long it takes."""
        parts = [" – ".join(part for part in (self.stage, self.label) if part)]
        if self.total:
            parts.append(f"{'step ' if not self.label else ''}{self.done:,} of {self.total:,}")
        left_s = self.left_s()
        if left_s is not None and self.done < self.total:
            parts.append(f"about {duration(left_s)} left")
        return " · ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Say a time as people do, e.g. "8 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def last_words(file: Path, most: int = 2000) -> str:
    """Give the last line that a process wrote before it ended; empty if it wrote none."""
    try:
        with file.open("rb") as output:
            output.seek(max(0, file.stat().st_size - most))
            said = output.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return re.sub(r"\s+", " ", said[-1]) if said else ""


def _event(values: dict[str, Any]) -> tuple[float, Event] | None:
    """One line of the record; None for one that a later version wrote."""
    try:
        return float(values.get("t") or 0), from_dict(values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
