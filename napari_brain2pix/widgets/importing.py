"""Import a dataset: ask what is needed, wait for it or stop it, and show what came of it."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from brain2pix.data.provenance import read_provenance
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import SIGNS, Check, free_folder
from napari_brain2pix.children.importing import Importer, describe_progress, in_window, share_done
from napari_brain2pix.widgets._import_form import ImportForm
from napari_brain2pix.widgets._import_result import ImportResult
from napari_brain2pix.widgets._parts import Note, row

if TYPE_CHECKING:
    from napari_brain2pix._state import State

BAR_STEPS = 1000
STOPPING = "Stop now"
CONTRADICTION = "The responses of this subject contradict the brain's own sides"


class ImportPage(QWidget):
    """Page that imports files in a child process, and opens the subject.

    It can be shown or hidden at any time: an import that is going on is not disturbed, and shows its progress when the page is back.

    Signals
    -------
    closed : the user wants the page away (only while nothing is being imported)
    grown : its height has changed

    Parameters
    ----------
    state : State; the subject is opened with it
    """

    closed = Signal()
    grown = Signal()

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.importer = Importer(state, self)
        self.form, self.result = ImportForm(state), ImportResult()
        self.said, self.step = Note(), Note()
        self.bar = QProgressBar()
        self.import_button, self.close_button = QPushButton("Import"), QPushButton("Close")
        self._last: dict[str, Any] = {}  # what is being imported, or was
        self._lay_out()
        self._connect()
        self._show_ready()

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        for widget in (self.form, self.said, self.bar, self.step, self.result):
            box.addWidget(widget)
        box.addLayout(row(self.import_button, self.close_button))
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.setAccessibleName("Progress of the import")
        self.bar.hide()
        self.result.hide()

    def _connect(self) -> None:
        self.form.checked.connect(self._show_ready)
        self.form.grown.connect(self.grown)
        self.import_button.clicked.connect(self._start)
        self.close_button.clicked.connect(self._close_or_stop)
        self.importer.progressed.connect(self._show_progress)
        self.importer.ended.connect(self._ended)
        self.result.again_wanted.connect(self._import_again)
        self.result.open_wanted.connect(self._open)
        self.result.train_wanted.connect(self._go_on)
        self.result.another_wanted.connect(self._ask_again)

    # -- what happens

    @guarded
    def _show_ready(self) -> None:
        self.import_button.setEnabled(self.form.ready)
        if not self.importer.busy:
            self.said.say("")

    @guarded
    def _start(self) -> None:
        self.form.check()
        if self.form.ready:
            self._begin(self.form.params())

    def _begin(self, params: dict[str, Any]) -> None:
        self.importer.start_import(params)
        self._last = params
        self._show_busy(True)

    @guarded
    def _close_or_stop(self) -> None:
        if not self.importer.busy:
            self.closed.emit()
            return
        self.importer.cancel()
        self.step.say("stopping …")
        self.close_button.setText(STOPPING)

    @guarded
    def _show_progress(self) -> None:
        progress = self.importer.progress
        if self.close_button.text() == STOPPING:
            return
        self.bar.setRange(0, BAR_STEPS if progress.total else 0)
        self.bar.setValue(round(BAR_STEPS * share_done(progress)))
        self.step.say(describe_progress(progress))

    @guarded
    def _ended(self, how: str, folder: str, error: str) -> None:
        self._show_busy(False)
        if how == "finished":
            self._show_result(Path(folder))
            return
        self.form.check()
        said = Check("mind", "Stopped; nothing was left behind.") if how == "cancelled" else Check("stop", in_window(error))
        self.said.say(f"{SIGNS[said.level]} {escape(said.text)}")
        self.grown.emit()

    def _show_busy(self, busy: bool) -> None:
        self.form.setVisible(not busy)
        self.result.hide()
        self.said.say(escape(f"Importing {Path(self._last['source']).name} into {self._last['out']} …") if busy else "")
        self.step.say(describe_progress(self.importer.progress) if busy else "")
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)  # moves to and fro until something is counted
        self.import_button.setVisible(not busy)
        self.close_button.setText("Stop" if busy else "Close")
        self.grown.emit()

    # -- the end

    def _show_result(self, folder: Path) -> None:
        """Open the subject, unless the user is at work on another one meanwhile."""
        looks = self.isVisible() or self.state.workspace is None
        if looks:
            self._open_subject(folder)
        else:
            show_info(f"brain2pix: {Path(self._last['source']).name} is imported; see the step Data")
        self.result.show_import(folder, read_provenance(folder), looks)
        for widget in (self.form, self.import_button):
            widget.hide()
        self.result.show()
        self.grown.emit()

    def _open_subject(self, folder: Path) -> None:
        self.state.open(folder)
        self.state.set_step("data")  # where the result stands; the window turns to training by itself
        wrong = [side["group"] for side in read_provenance(folder).get("sides", {}).get("sides", []) if not side["ok"]]
        if wrong:  # in sight in every step
            self.state.problem.emit(f"{CONTRADICTION} ({', '.join(wrong)}); the step Data says what may be the reason.")

    @guarded
    def _open(self) -> None:
        folder = Path(self._last["out"])
        self._open_subject(folder)
        self.result.show_import(folder, read_provenance(folder), True)

    @guarded
    def _go_on(self) -> None:
        self.state.set_step("train")

    @guarded
    def _import_again(self, offer: dict[str, Any]) -> None:
        """Import the same files with a choice turned over, into a folder of its own: the first import stays."""
        before = [str(axis) for axis in self._last.get(offer["choice"], [])]
        axes = [axis for axis in before if axis != offer["axis"]] if offer["used"] else [*before, offer["axis"]]
        self.form.choose(offer["choice"], axes)
        self._begin({**self._last, offer["choice"]: axes, "out": str(free_folder(Path(self._last["out"])))})

    @guarded
    def _ask_again(self) -> None:
        self.result.hide()
        for widget in (self.form, self.import_button):
            widget.show()
        self.form.clear()
