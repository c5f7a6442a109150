"""Let events through a few times a second; nothing that matters is lost."""

import time
from typing import TYPE_CHECKING

from brain2pix.events import Metric, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain2pix.events import Event, EventSink


class Throttle:
    """A sink that passes `Progress` and `Metric` events at most so often and everything else at once.

    The newest event that was held back goes out before any event of another kind, so that the last number is always seen.

    Parameters
    ----------
    sink : callable, where events go
    per_second : float
    clock : callable, seconds that only grow
    """

    def __init__(self, sink: "EventSink", per_second: float = 10.0, clock: "Callable[[], float]" = time.monotonic) -> None:
        self._sink = sink
        self._interval_s = 1 / per_second
        self._clock = clock
        self._held: dict[tuple[type, str, str], Event] = {}
        self._last_s = -float("inf")

    def due(self) -> bool:
        """Whether an event would go out now. Ask before an expensive one, e.g. a number that lies on a GPU."""
        return self._clock() - self._last_s >= self._interval_s

    def __call__(self, event: "Event") -> None:
        """Take an event."""
        if not isinstance(event, Progress | Metric):
            self.flush()
            self._sink(event)
            return
        self._held[(type(event), event.stage, event.name if isinstance(event, Metric) else "")] = event
        # the numbers of one step come before its progress, which closes the bundle
        if isinstance(event, Progress) and (self.due() or event.done >= event.total):
            self.flush()

    def flush(self) -> None:
        """Send what was held back."""
        if self._held:
            self._last_s = self._clock()
        held, self._held = self._held, {}
        for event in held.values():
            self._sink(event)
