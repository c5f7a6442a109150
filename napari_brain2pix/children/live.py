"""The live decoder: a child process that keeps the model in memory, or a compute server. Torch is never imported by the window."""

import base64
import json
import sys
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from napari_brain2pix._guard import guarded
from napari_brain2pix.children.live_server import ServerLink

if TYPE_CHECKING:
    from pathlib import Path

    from napari_brain2pix._state import State

GRACE_MS = 1500  # from closing its input to killing it
TAIL = 2000  # characters of its error output that are kept for a message


class LiveDecoder(QObject):
    """Sends one request at a time; of those that wait, the newest of each purpose is kept.

    Signals
    -------
    ready : greeting of the child: what it can be asked for
    answered : purpose, request, answer (JSON values)
    measured : request that was answered with a picture and wanted measures, its measures
    busy_changed : bool
    died : str, why

    Parameters
    ----------
    state : State, for reporting problems

    Attributes
    ----------
    server : str, name or connection file of the server that answers from the next `start` on; empty: a child process
    """

    ready = Signal(object)
    answered = Signal(str, object, object)
    measured = Signal(object, object)
    busy_changed = Signal(bool)
    died = Signal(str)

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.server = ""
        self._process: QProcess | None = None
        self._link: ServerLink | None = None
        self._waiting: dict[str, dict[str, Any]] = {}
        self._in_flight: tuple[str, dict[str, Any]] | None = None
        self._number = 0
        self._to_measure: tuple[int, dict[str, Any]] | None = None
        self.greeting: dict[str, Any] | None = None
        self._errors = ""
        self._line = b""

    @property
    def running(self) -> bool:
        """Whether somebody answers."""
        return self._link is not None or (self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning)

    @property
    def busy(self) -> bool:
        """Whether an answer is being waited for."""
        return self._in_flight is not None or bool(self._waiting)

    @property
    def process_id(self) -> int:
        """Of the child; 0 if there is none."""
        return int(self._process.processId()) if self._process is not None else 0

    def start(self, model: "Path", subject: "Path") -> None:
        """Start for a model and a subject; it takes a few seconds to load them, requests wait meanwhile."""
        self.stop()
        self._errors, self._line = "", b""
        self.greeting, self._to_measure = None, None
        if self.server:
            self._link = ServerLink(self.server, model, subject, self)
            self._link.said.connect(self._take_answer)
            self._link.ended.connect(self._link_ended)
            return
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed_to_start)
        self._process = process
        process.start(sys.executable, ["-m", "brain2pix.compute.live", str(model), str(subject)])

    def request(self, purpose: str, values: dict[str, Any]) -> None:
        """Ask for a picture; it replaces a waiting request of the same purpose.

        Parameters
        ----------
        purpose : str, comes back with the answer
        values : dict, keys of `brain2pix.compute.live`
        """
        self._waiting.pop(purpose, None)
        self._waiting[purpose] = values
        self._send()

    def forget(self, purpose: str) -> None:
        """Drop the waiting request of a purpose."""
        self._waiting.pop(purpose, None)

    def stop(self) -> None:
        """End the child: it leaves when its input closes, and is killed if it does not."""
        process, self._process = self._process, None
        link, self._link = self._link, None
        self._waiting.clear()
        self._in_flight = None
        if link is not None:
            link.close()
            link.deleteLater()
        if process is None:
            return
        process.blockSignals(True)
        if process.state() != QProcess.ProcessState.NotRunning:
            process.closeWriteChannel()
            if not process.waitForFinished(GRACE_MS):
                process.kill()
                process.waitForFinished(GRACE_MS)
        process.deleteLater()

    def _send(self) -> None:
        if self._in_flight is not None or not self._waiting or not self.running:
            return
        purpose = next(iter(self._waiting))
        values = self._waiting.pop(purpose)
        self._number += 1
        self._in_flight = (purpose, values)
        if values.get("measure"):
            self._to_measure = (self._number, values)
        request = {"id": self._number, **values}
        if self._link is not None:
            self._link.send(request)
        else:
            self._process.write(json.dumps(request).encode() + b"\n")
        self.busy_changed.emit(True)

    @guarded
    def _read(self) -> None:
        if self._process is None:
            return
        self._line += bytes(self._process.readAllStandardOutput())
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            if line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:  # something printed by a library
            self._errors = (self._errors + line.decode(errors="replace") + "\n")[-TAIL:]
            return
        if isinstance(answer, dict):
            self._take_answer(answer)

    @guarded
    def _take_answer(self, answer: dict[str, Any]) -> None:
        if answer.get("ready"):
            self.greeting = answer
            self.ready.emit(answer)
        if "measures" in answer:
            if self._to_measure is not None and answer.get("id") == self._to_measure[0]:
                self.measured.emit(self._to_measure[1], answer["measures"])
            return
        if answer.get("id") != self._number or self._in_flight is None:
            return
        purpose, values = self._in_flight
        self._in_flight = None
        self.answered.emit(purpose, values, answer)
        if self._waiting:
            self._send()
        else:
            self.busy_changed.emit(False)

    @guarded
    def _read_errors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + bytes(self._process.readAllStandardError()).decode(errors="replace"))[-TAIL:]

    @guarded
    def _failed_to_start(self, error: Any) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._end(f"The decoder could not be started: {sys.executable} is not executable.")

    @guarded
    def _finished(self, code: int, status: Any) -> None:
        killed = status == QProcess.ExitStatus.CrashExit
        self._read_errors()
        said = self._errors.strip().splitlines()
        reason = f"killed by the system (signal {code}), probably out of memory" if killed else said[-1] if said else f"exit code {code}"
        self._end(f"The decoder stopped: {reason}. The window and your data are not affected.")

    @guarded
    def _link_ended(self, why: str) -> None:
        if self._link is not None:
            self._link.close()
            self._link.deleteLater()
        self._link = None
        self._end(f"The decoder stopped: {why}. The window and your data are not affected.")

    def _end(self, why: str) -> None:
        if self._process is not None:
            self._process.deleteLater()
        self._process = None
        self._in_flight = None
        self._waiting.clear()
        self.busy_changed.emit(False)
        self.died.emit(why)


def picture_bytes(answer: dict[str, Any]) -> bytes | None:
    """PNG of an answer; None if it holds none."""
    encoded = answer.get("image")
    return base64.b64decode(encoded) if isinstance(encoded, str) else None
