"""What happened since the window opened: messages, jobs and, for reports, tracebacks."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from brain2pix import __version__
from brain2pix.files import atomic_path
from napari_brain2pix._guard import guarded

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.jobs import JobRunner
    from napari_brain2pix.folders.workspace import Workspace

LINES = 5000
LOGGERS = ("brain2pix", "napari_brain2pix")


class _Bridge(QObject):
    """Carries log records to the thread of the window: a signal may be emitted from any other."""

    came = Signal(str)


class _Handler(logging.Handler):
    def __init__(self, bridge: _Bridge) -> None:
        super().__init__(logging.INFO)
        self._bridge = bridge
        self.setFormatter(logging.Formatter("%(asctime)s  %(levelname)s  %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._bridge.came.emit(self.format(record))
        except RuntimeError:  # the window has gone
            pass


class LogPanel(QWidget):
    """The log, to read, copy and save.

    Parameters
    ----------
    state : State
    runner : JobRunner
    """

    def __init__(self, state: "State", runner: "JobRunner") -> None:
        super().__init__()
        self.state, self.runner = state, runner
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        self.text.setMaximumBlockCount(LINES)
        self.text.setAccessibleName("Log")
        self.copy_button, self.save_button, self.clear_button = QPushButton("Copy"), QPushButton("Save…"), QPushButton("Clear")
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 6, 10, 8)
        row.addWidget(self.text, 1)
        column = QVBoxLayout()
        for button in (self.copy_button, self.save_button, self.clear_button):
            column.addWidget(button)
        column.addStretch(1)
        row.addLayout(column)
        self._bridge = _Bridge(self)
        self._bridge.came.connect(self._say)
        self._handler = _Handler(self._bridge)
        self._levels = {name: logging.getLogger(name).level for name in LOGGERS}
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self._handler)
            logging.getLogger(name).setLevel(logging.INFO)
        state.opened.connect(self._opened)
        state.problem.connect(self._problem)
        runner.changed.connect(self._job)
        self.copy_button.clicked.connect(self._copy)
        self.save_button.clicked.connect(self._save)
        self.clear_button.clicked.connect(self._clear)
        self._logger = logging.getLogger(__name__)
        self._logger.info("brain2pix %s", __version__)

    def close_log(self) -> None:
        """Stop listening."""
        for name, level in self._levels.items():
            logging.getLogger(name).removeHandler(self._handler)
            logging.getLogger(name).setLevel(level)

    @guarded(tell=False)
    def _say(self, text: str) -> None:
        self.text.appendPlainText(text)

    @guarded
    def _opened(self, workspace: "Workspace") -> None:
        self._logger.info("opened %s", workspace.folder)
        for note in workspace.notes:
            self._logger.info("%s", note)

    @guarded(tell=False)
    def _problem(self, text: str) -> None:
        if text:
            self._logger.warning("%s", text)

    @guarded
    def _job(self, folder: str, standing: str) -> None:
        error = f": {self.runner.error}" if self.runner.error else ""
        self._logger.info("%s in %s: %s%s", self.runner.job.get("kind", "job"), folder, standing, error)

    @guarded
    def _copy(self) -> None:
        QApplication.clipboard().setText(self.text.toPlainText())

    @guarded
    def _clear(self) -> None:
        self.text.clear()

    @guarded
    def _save(self) -> None:
        file, _ = QFileDialog.getSaveFileName(self, "Save the log", str(Path.cwd() / "brain2pix.log"), "Text (*.log *.txt)")
        if file:
            with atomic_path(Path(file)) as beside:
                beside.write_text(self.text.toPlainText() + "\n", encoding="utf-8")
