"""Exports of the window: a child process draws, the window only says what. Matplotlib is never loaded here."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from brain2pix.config.export import command_line
from brain2pix.files import atomic_path, write_json
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.child import end_child

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brain2pix.config.export import ExportSettings
    from napari_brain2pix._state import State
    from napari_brain2pix.folders.workspace import Workspace

GRACE_MS = 15_000  # from asking the child to stop to ending it: it may be in the middle of a figure
STAGING = ".writing-export-*"
_STEP = re.compile(r"^(\d+) of (\d+): (.*)$")
_STOPPED = 130
_TAIL = 2000  # characters of its error output that are kept for a message


class Exporter(QObject):
    """Runs ``brain2pix export`` in a child process, one at a time.

    Signals
    -------
    said : int, int, str: pieces that are done, all pieces, the last one
    finished : list of Path, what was written
    failed : str, why
    stopped : on request; nothing was written

    Parameters
    ----------
    state : State, for reporting problems
    """

    said = Signal(int, int, str)
    finished = Signal(object)
    failed = Signal(str)
    stopped = Signal()

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self._process: QProcess | None = None
        self._out = Path()
        self._before: set[Path] = set()
        self._written: list[Path] = []
        self._line, self._errors = b"", ""
        self._asked = False
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(GRACE_MS)
        self._patience.timeout.connect(self._kill)

    @property
    def running(self) -> bool:
        """Whether an export is going on."""
        return self._process is not None

    @property
    def process_id(self) -> int:
        """Of the child; 0 if there is none."""
        return int(self._process.processId()) if self._process is not None else 0

    def start(self, settings: "ExportSettings") -> None:
        """Start an export; the same command can be typed."""
        if self._process is not None:
            return
        self._out, self._asked = settings.out, False
        self._before = set(self._out.glob(STAGING))
        self._written, self._line, self._errors = [], b"", ""
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONIOENCODING", "utf-8")
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed_to_start)
        self._process = process
        process.start(sys.executable, ["-m", "brain2pix.cli", *shlex.split(command_line(settings))[1:]])

    def stop(self) -> None:
        """Ask the child to stop after its figure; it is ended if it takes too long."""
        if self._process is not None and not self._asked:
            self._asked = True
            self._process.terminate()
            self._patience.start()

    def end(self) -> None:
        """End the child at once: the window closes."""
        process, self._process = self._process, None
        self._patience.stop()
        if process is not None:
            end_child(process)
            self._tidy()

    @guarded
    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _tidy(self) -> None:
        """Remove what a child that was killed left half-made."""
        for place in set(self._out.glob(STAGING)) - self._before:
            shutil.rmtree(place, ignore_errors=True)

    @guarded
    def _read(self) -> None:
        if self._process is None:
            return
        self._line += bytes(self._process.readAllStandardOutput())
        *lines, self._line = self._line.split(b"\n")
        for line in (line.decode(errors="replace").strip() for line in lines):
            step = _STEP.match(line)
            if step:
                self.said.emit(int(step[1]), int(step[2]), step[3])
            elif line.startswith("wrote "):
                self._written.append(Path(line.removeprefix("wrote ")))

    @guarded
    def _read_errors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + bytes(self._process.readAllStandardError()).decode(errors="replace"))[-_TAIL:]

    @guarded
    def _failed_to_start(self, error: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self._process.deleteLater()
            self._process = None
            self.failed.emit(f"The export could not be started: {sys.executable} is not executable.")

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        self._patience.stop()
        self._read()
        self._read_errors()
        process, self._process = self._process, None
        if process is None:
            return
        process.deleteLater()
        crashed = status == QProcess.ExitStatus.CrashExit
        if crashed:
            self._tidy()
        if code == 0 and not crashed:
            self.finished.emit(self._written)
        elif self._asked or (code == _STOPPED and not crashed):
            self.stopped.emit()
        else:
            said = [line for line in self._errors.strip().splitlines() if line.strip()]
            reason = said[-1].removeprefix("brain2pix: ") if said else f"exit code {code}"
            self.failed.emit(f"killed by the system (signal {code}), probably out of memory" if crashed else reason)


def write_canvas(pixels: "NDArray[np.uint8]", out: Path, state: "State") -> list[Path]:
    """Write a picture of the canvas with its caption and sidecar.

    Parameters
    ----------
    pixels : uint8 array, [h w 3]
    out : Path, folder
    state : State, with an open workspace
    """
    from imageio.v3 import imwrite

    workspace = state.workspace
    assert workspace is not None
    stem = f"{workspace.subject.name}_canvas"
    picture = out / f"{stem}.png"
    with atomic_path(picture) as beside:
        imwrite(beside, pixels, extension=".png")
    text = out / f"{stem}.txt"
    with atomic_path(text) as beside:
        beside.write_text(f"{state.caption()}\n", encoding="utf-8")
    write_json(out / f"{stem}.json", _canvas_sidecar(pixels, state, workspace, picture.name))
    return [out / f"{stem}.json", picture, text]


def _canvas_sidecar(pixels: "NDArray[np.uint8]", state: "State", workspace: "Workspace", file: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    from brain2pix.compute.export.sidecar import SCHEMA, conventions, run_facts, subject_facts, versions

    shown: dict[str, Any] = {"view": state.view, "plane": state.plane if state.view == "volume" else None}
    if state.found is not None and workspace.map is not None:
        kind = state.found.kind
        shown |= {
            "kind": kind.kind,
            "limits": None if kind.limits is None else list(kind.limits),
            "threshold": {"quality_at_least": float(state.threshold), "measure": workspace.map.quality_name},
            "n_shown": int(state.found.shown.sum()),
            "n_mapped": state.found.n_mapped,
            "source": workspace.map.source,
        }
    return {
        "schema": SCHEMA,
        "figure": file.removesuffix(".png"),
        "files": [file],
        "caption": state.caption(),
        **subject_facts(workspace.subject),
        "canvas": shown,
        "size": {"width_px": int(pixels.shape[1]), "height_px": int(pixels.shape[0])},
        "conventions": conventions(workspace.subject.field_of_view_deg),
        "run": run_facts(workspace.model.parent if workspace.model is not None else None),
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": None,
        "how": "screenshot of the window's canvas; the figures of `brain2pix export --what maps` can be made again by a command",
    }
