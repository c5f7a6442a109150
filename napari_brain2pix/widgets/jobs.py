"""All jobs, and one of them: how far it is, its numbers, its newest picture, its words, and what to do when it ends."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from brain2pix.compute.device import batch_settings
from brain2pix.compute.reproduce.folder import REPORT
from brain2pix.compute.spec import JobSpec
from brain2pix.events import Failed, Finished, Message, Metric, Preview, Started
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import free_folder
from napari_brain2pix.children.follow_up import decode_job, has_maps, has_pictures, maps_job, run_of, trained_run_of
from napari_brain2pix.children.jobs import RESUMABLE
from napari_brain2pix.children.record import duration
from napari_brain2pix.children.reproducing import open_report
from napari_brain2pix.children.table import title_of
from napari_brain2pix.widgets._parts import Note, Notice
from napari_brain2pix.widgets.job_list import JobList
from napari_brain2pix.widgets.loss_plot import LossPlot

if TYPE_CHECKING:
    from brain2pix.events import Event
    from napari_brain2pix._state import State
    from napari_brain2pix.children.engine import EngineThread
    from napari_brain2pix.children.jobs import JobRunner
    from napari_brain2pix.children.table import JobRow

LOG_LINES = 500
WIDTHS = (215, 235)  # of the list, and of the words beside it
WORDS = {
    "starting": "starting …",
    "queued": "waits for the jobs before it",
    "running": "running",
    "stopping": "finishing its step, then it stops …",
    "finished": "finished",
    "cancelled": "stopped; what was done is saved",
    "failed": "failed",
    "interrupted": "interrupted",
    "new": "prepared, not started",
}
EMPTY = "No job yet. A training, its losses and its pictures are shown here while it runs."
CHOOSE = "Choose a job in the list to see its losses, its pictures and its log."
AGAIN = {"failed": "Try again", "new": "Start"}  # instead of "Resume"
SMALLER = "Retry with smaller batch"


class JobsPanel(QWidget):
    """What `brain2pix run` would print, for the eyes.

    Signals
    -------
    train_wanted : the user wants to start a training
    show_wanted : str, folder of a finished run or of an evaluation, to be opened in the window

    Parameters
    ----------
    state : State
    runner : JobRunner
    engine : EngineThread
    """

    train_wanted = Signal()
    show_wanted = Signal(str)

    def __init__(self, state: "State", runner: "JobRunner", engine: "EngineThread") -> None:
        super().__init__()
        self.state, self.runner = state, runner
        self.list = JobList(state, engine)
        self.title, self.standing, self.step, self.facts = QLabel(), Note(), Note(), Note()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.stop_button, self.resume_button = QPushButton("Stop"), QPushButton("Resume")
        self.show_button, self.train_button = QPushButton("Show it"), QPushButton("Train…")
        self.maps_button, self.decode_button = QPushButton("Make maps"), QPushButton("Reconstruct")
        self.report_button = QPushButton("Open report")
        self.notice = Notice()
        self.plot = LossPlot(state)
        self.picture = _Preview()
        self.log = QPlainTextEdit()
        self._lay_out()
        self._connect()
        self._clear()

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 6, 10, 8)
        row.setSpacing(12)
        self.list.setFixedWidth(WIDTHS[0])
        row.addWidget(self.list)
        left = QWidget()
        left.setFixedWidth(WIDTHS[1])
        box = QVBoxLayout(left)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(5)
        box.addWidget(_Scrolled(self.title, self.standing, self.bar, self.step, self.facts, self.notice), 1)
        for line in self._buttons():
            buttons = QHBoxLayout()
            buttons.setSpacing(6)
            for button in line:
                buttons.addWidget(button)
            box.addLayout(buttons)
        row.addWidget(left)
        row.addWidget(self.plot, 3)
        row.addWidget(self.picture, 2)
        row.addWidget(self.log, 2)
        row.addStretch(0)  # takes the room of what is hidden
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.show_button.setToolTip("Open this run in the window: its model, and its maps and pictures where they were made")
        self.maps_button.setToolTip("Receptive fields of all voxels, read from the trained system")
        self.decode_button.setToolTip("Reconstruct the test images from their responses")
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(LOG_LINES)
        self.log.setAccessibleName("Log of the job")
        self.log.setMinimumWidth(100)
        font = self.log.font()
        font.setPointSizeF(max(7.5, 0.85 * font.pointSizeF()))
        self.log.setFont(font)

    def _buttons(self) -> tuple[tuple[QPushButton, ...], ...]:
        # the button of the notice too: beside its words there is no room
        return (
            (self.notice.button, self.maps_button, self.decode_button, self.report_button),
            (self.stop_button, self.resume_button, self.show_button, self.train_button),
        )

    def _connect(self) -> None:
        self.runner.cleared.connect(self._clear)
        self.runner.happened.connect(self._take)
        self.runner.changed.connect(self._show_standing)
        self.list.engine.table.connect(self._show_facts)
        self.list.chosen.connect(self._choose)
        self.list.forgotten.connect(self.runner.clear)
        self.list.opened.connect(self._open_chosen)
        self.stop_button.clicked.connect(self._stop)
        self.resume_button.clicked.connect(self._resume)
        self.show_button.clicked.connect(self._open)
        self.train_button.clicked.connect(self.train_wanted)
        self.maps_button.clicked.connect(self._make_maps)
        self.decode_button.clicked.connect(self._reconstruct)
        self.report_button.clicked.connect(self._open_report)
        self.notice.button.clicked.connect(self._retry)

    # -- what is shown

    @guarded
    def _clear(self) -> None:
        self.title.setText(title_of(self.runner.job) or "No job is shown")
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.title.setToolTip(str(self.runner.folder or ""))
        self.log.clear()
        self.plot.clear()
        self.picture.show_file(None, "")
        self.notice.say("")
        self.list.mark(self.runner.folder)
        self._show_standing("", "")

    @guarded
    def _show_standing(self, folder: str, standing: str) -> None:
        there = self.runner.folder is not None
        place = f" · {self.runner.folder.name}" if self.runner.folder is not None else ""
        self.standing.say(f"{WORDS.get(standing, standing)}{place}" if there else self._advice())
        evaluation = self.runner.job.get("kind") == "reproduce"  # has cells to show before its end, and no losses
        self.plot.setVisible(there and not evaluation)
        self.log.setVisible(there)
        self.picture.setVisible(self.picture.file is not None)
        self.bar.setVisible(self.runner.busy)
        self.stop_button.setVisible(self.runner.busy)
        self.stop_button.setText("Stop now" if standing == "stopping" else "Stop")
        self.resume_button.setVisible(standing in (*RESUMABLE, "new"))
        self.resume_button.setText(AGAIN.get(standing, "Resume"))
        self.show_button.setVisible(standing == "finished" or (there and evaluation))
        self.report_button.setVisible(evaluation and self._report is not None)
        trained = trained_run_of(self.runner.folder) if not self.runner.busy else None
        self.maps_button.setVisible(trained is not None and not has_maps(trained))
        self.decode_button.setVisible(trained is not None and not has_pictures(trained))
        self.train_button.setVisible(not there)
        if standing in ("failed", "interrupted"):
            self.notice.say(self.runner.error, SMALLER if self._smaller() else "")
        elif standing:
            self.notice.say("")
        self._show_progress()
        self._show_facts()

    @guarded
    def _show_facts(self) -> None:
        """Say where the job is computed, and whether it had to be begun again."""
        row = self.runner.row
        if self.runner.folder is None:
            self.standing.say(self._advice())
        if self.runner.folder is None or row is None:
            self.facts.say("")
            return
        memory = f"{row.memory_bytes / 1e9:.2f} GB" if row.memory_bytes and self.runner.busy else ""
        place = f"on {row.server}" + (f", {row.worker}" if row.worker else "") if row.server else "a process of its own"
        parts = [row.device, memory, place if self.runner.busy else ""]
        lines = [" · ".join(part for part in parts if part), self._begun_again(row)]
        self.facts.say("<br>".join(line for line in lines if line))

    def _advice(self) -> str:
        return CHOOSE if self.list.rows else EMPTY

    def _begun_again(self, row: "JobRow") -> str:
        """Say from where a job went on, and why."""
        if row.attempt < 2 or not self.runner.busy:
            return ""
        since = self.runner.progress.resumed
        why = f"its worker process died ({row.deaths}×); " if row.deaths else ""
        return f"{why}restarted{f' from {since}' if since else ''} (attempt {row.attempt})"

    def _show_progress(self) -> None:
        progress = self.runner.progress
        self.step.say(progress.describe() if self.runner.busy else "")
        # Qt's bar moves to and fro where both ends are 0: nothing is counted
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)

    @guarded
    def _take(self, folder: str, event: "Event") -> None:
        match event:
            case Metric():
                self.plot.add(event)
            case Preview(stage, step, path):
                self.picture.show_file(Path(folder) / path, f"{stage}, step {step:,}")
                self.picture.show()
            case Started(stage):
                self._say(f"{stage} …")
            case Finished(stage, seconds):
                self._say(f"{stage}: done in {duration(seconds)}")
            case Message(level, text) if level != "debug":
                self._say(text if level == "info" else f"{level}: {text}")
            case Failed(_, error, detail):
                self._say(f"{detail.strip()}\n{error}" if detail else error)
            case _:
                pass
        self._show_progress()

    def _say(self, text: str) -> None:
        self.log.appendPlainText(text)

    # -- what the user does

    @guarded
    def _choose(self, folder: str) -> None:
        self.runner.show(Path(folder))

    @guarded
    def _stop(self) -> None:
        self.runner.stop()

    @guarded
    def _resume(self) -> None:
        self.runner.resume()

    @guarded
    def _open(self) -> None:
        if self.runner.folder is not None:
            self.show_wanted.emit(str(run_of(self.runner.folder)))

    @guarded
    def _open_chosen(self, folder: str) -> None:
        self.runner.show(Path(folder))
        if not self.show_button.isHidden():
            self._open()

    @property
    def _report(self) -> Path | None:
        report = self.runner.folder / REPORT if self.runner.folder is not None else None
        return report if report is not None and report.is_file() else None

    @guarded
    def _open_report(self) -> None:
        if self._report is not None:
            open_report(self._report)

    @guarded
    def _make_maps(self) -> None:
        trained = trained_run_of(self.runner.folder)
        if trained is not None:
            self.runner.start(maps_job(trained))

    @guarded
    def _reconstruct(self) -> None:
        trained = trained_run_of(self.runner.folder)
        if trained is not None:
            self.runner.start(decode_job(trained))

    @guarded
    def _retry(self) -> None:
        smaller, folder = self._smaller(), self.runner.folder
        if not smaller or folder is None:
            return
        params = self.runner.job["params"]
        # other settings are another job: it gets a folder of its own
        again = {**params, "settings": {**params.get("settings", {}), **smaller}}
        self.runner.start(JobSpec("train", again, free_folder(folder)))

    def _smaller(self) -> dict[str, int]:
        """Halved batches of a training that ran out of memory; empty for other faults."""
        if self.runner.folder is None or self.runner.job.get("kind") != "train" or "out of memory" not in self.runner.error:
            return {}
        settings: Any = RunFolder(self.runner.folder).read_settings().get("settings", {})
        return {name: value // 2 for name, value in batch_settings(settings).items() if value > 1}


class _Scrolled(QScrollArea):
    """Widgets below each other, as wide as there is room and as high as they like: an error may take many lines."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        inner = QWidget()
        box = QVBoxLayout(inner)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(5)
        for widget in widgets:
            box.addWidget(widget)
        box.addStretch(1)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)


class _Preview(QWidget):
    """The newest picture of a training, as large as there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.caption = QLabel()
        self.view = QLabel()
        self.view.setAccessibleName("Newest picture of the training")
        self.view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.view.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.file: Path | None = None
        self._picture = QPixmap()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addWidget(self.caption)
        box.addWidget(self.view, 1)
        self.setMinimumWidth(100)

    def show_file(self, file: Path | None, words: str) -> None:
        """Show a picture; None: forget the last one."""
        self.file = file
        self._picture = _folded(QPixmap(str(file))) if file is not None else QPixmap()
        self.caption.setText(f"<b>Preview</b> <small>{words}</small>")
        self._fit()

    @guarded
    def resizeEvent(self, event: Any) -> None:
        """Follow the room there is."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._picture.isNull():
            self.view.clear()
            return
        room = QSize(max(self.view.width(), 1), max(self.view.height(), 1))
        smooth = Qt.TransformationMode.SmoothTransformation
        self.view.setPixmap(self._picture.scaled(room, Qt.AspectRatioMode.KeepAspectRatio, smooth))


def _folded(strip: QPixmap) -> QPixmap:
    """Lay the right half of a long strip below the left one: pictures that are made below the pictures that were shown."""
    if strip.isNull() or strip.width() < 3 * strip.height():
        return strip
    half, height = (strip.width() + 1) // 2, strip.height()
    folded = QPixmap(half, 2 * height)
    folded.fill(Qt.GlobalColor.transparent)
    painter = QPainter(folded)
    painter.drawPixmap(0, 0, strip, 0, 0, half, height)
    painter.drawPixmap(0, height, strip, strip.width() - half, 0, half, height)
    painter.end()
    return folded
