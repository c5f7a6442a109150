"""What a job sees of its surroundings, with or without an engine around it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from brain2pix.errors import ConfigError
from brain2pix.events import CancelToken, EventSink, Finished, Message, Started, ignore
from brain2pix.training.run_folder import RunFolder


@dataclass(frozen=True)
class JobContext:
    """A place, an ear and a way to be stopped.

    Parameters
    ----------
    run_folder : RunFolder or None, None for jobs that were asked without a folder
    sink : callable, takes events
    cancel : CancelToken
    """

    run_folder: RunFolder | None
    sink: EventSink = ignore
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def folder(self) -> RunFolder:
        """The run folder of a job that needs one."""
        if self.run_folder is None:
            raise ConfigError("this kind of job needs a run folder; give it one")
        return self.run_folder

    def message(self, text: str, level: str = "info") -> None:
        """Tell the user something."""
        self.sink(Message(level, text))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stretch of work and how long it took."""
        began_s = time.monotonic()
        self.cancel.check()
        self.sink(Started(name))
        yield
        self.sink(Finished(name, time.monotonic() - began_s))


@dataclass(frozen=True)
class Prepared:
    """A job whose inputs were opened and checked, and nothing written yet.

    Parameters
    ----------
    settings : dict, every setting as it was resolved, JSON values
    run : callable, does the work; raises `Cancelled` when it stopped on request
    """

    settings: dict[str, Any]
    run: Callable[[JobContext], None]
