"""Where the parts of a demo lie, and how one of its stages runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.folds import folds_of
from brain2pix.events import Cancelled, CancelToken, EventSink, Finished, Started
from brain2pix.files import write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

N_FOLDS = 2  # parts of the test photos; each is decoded by a system that never saw its responses


def photo_folds(photos: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Part of the inductive row that each image belongs to, by its photo in turn; all crops of a photo in the same; [m] -> [m]."""
    return folds_of(photos, N_FOLDS)[0]


@dataclass(frozen=True)
class Demo:
    """Folders of a demo and what every stage needs.

    Parameters
    ----------
    path : Path
    seed : int, of subject and training
    preset : str, of the simulated subject
    method : str, name of the system in the row "full"
    sink : callable, takes events
    cancel : CancelToken
    seconds : dict of stage to wall time, kept in ``seconds.json``
    """

    path: Path
    seed: int
    preset: str
    method: str
    sink: EventSink
    cancel: CancelToken
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def subject(self) -> Path:
        """Dataset folder of the simulated subject."""
        return self.path / "subject"

    def run_folder(self, row: str) -> Path:
        """Run folder of one row of the sheet; row "full" is the method's own."""
        return self.path / "runs" / (self.method if row == "full" else row)

    def fold_folders(self) -> tuple[Path, ...]:
        """Run folders of the row "inductive", one for each part of the test photos."""
        return tuple(self.run_folder(f"inductive_{fold}") for fold in range(N_FOLDS))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and keep its wall time; a stage that is skipped later keeps the time of when it ran."""
        self.cancel.check()
        began_s = time.monotonic()
        self.sink(Started(name))
        yield
        spent_s = time.monotonic() - began_s
        self.seconds.setdefault(name, round(spent_s, 1))
        write_json(self.path / "seconds.json", self.seconds)
        self.sink(Finished(name, spent_s))

    def job(self, kind: str, folder: Path | None, **params: Any) -> None:
        """Run a job to its end; Cancelled if it was stopped."""
        if run_job(JobSpec(kind, params, folder), self.sink, self.cancel) == "cancelled":
            raise Cancelled
