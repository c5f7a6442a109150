"""Open a subject, and see what is inside: what is there, what is missing, and what to do then."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded
from napari_brain2pix.folders.contents import contents, side_check
from napari_brain2pix.widgets._contents_tree import ContentsTree
from napari_brain2pix.widgets._parts import Note, Notice, Section
from napari_brain2pix.widgets._room import RoomMaker
from napari_brain2pix.widgets.importing import ImportPage
from napari_brain2pix.widgets.simulate import SimulateForm

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.simulate import SampleMaker
    from napari_brain2pix.folders.workspace import Workspace

EMPTY = (
    "No subject is open. Four ways to begin:<br><br>"
    "<b>Open folder…</b> a subject in the native format, one of its runs, or a folder made by <code>brain2pix demo</code>.<br>"
    "<b>Open volumes or surfaces…</b> single NIfTI, GIFTI, CIFTI-2 and FreeSurfer files, to look at.<br>"
    "<b>Import…</b> files of a published dataset, or of your own laboratory.<br>"
    "<b>Simulated subject</b> with no data at hand: a person made by the program, whose truth is known."
)
FILES = "Volumes and surfaces (*.nii *.nii.gz *.mgz *.mgh *.gii *.gii.gz *.annot *.label lh.* rh.*);;All files (*)"


class DataPanel(QWidget):
    """The first step: open something, and see what is inside.

    Signals
    -------
    files_chosen : list of str, volumes and surfaces that the user wants in the viewer

    Parameters
    ----------
    state : State
    maker : SampleMaker, gives the sample and simulates subjects in a child process
    """

    files_chosen = Signal(list)

    def __init__(self, state: "State", maker: "SampleMaker") -> None:
        super().__init__()
        self.state, self.maker = state, maker
        self.summary = Note(EMPTY)
        self.open_button = _button("Open folder…", "A native subject folder, a run, or a folder made by brain2pix demo")
        self.files_button = _button("Open volumes or surfaces…", "NIfTI, GIFTI, CIFTI-2 and FreeSurfer files, shown as layers of napari")
        self.import_button = _button("Import…", "Bring a published dataset, or files of your own, into a native subject folder")
        self.import_button.setCheckable(True)
        self.importing = ImportPage(state)
        self.sample_button = _button("Simulated subject", "The last demo, or the simulated subject that comes with the program")
        self.new_button = _button("Simulate another…", "Choose its size and its seed, and where it goes")
        self.new_button.setCheckable(True)
        self.form = SimulateForm(state, maker)
        self.notice = Notice()
        self.contents = ContentsTree(state)
        self._stale = True
        self._room = RoomMaker(self, self.contents, self.importing)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(8)
        box.addWidget(self.summary)
        buttons = QGridLayout()
        buttons.setSpacing(6)
        for number, button in enumerate((self.open_button, self.files_button, self.sample_button, self.new_button)):
            buttons.addWidget(button, number // 2, number % 2)
        buttons.addWidget(self.import_button, 2, 0, 1, 2)
        box.addLayout(buttons)
        for form in (self.form, self.importing):
            box.addWidget(form)
            form.hide()
        self.below = QWidget()  # what an open subject holds; the page of an import takes its place
        below = QVBoxLayout(self.below)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(8)
        below.addWidget(self.notice)
        self.inside = Section("What is inside")
        self.inside.body.addWidget(self.contents)
        below.addWidget(self.inside)
        self.inside.hide()
        box.addWidget(self.below)

    def _connect(self) -> None:
        self.open_button.clicked.connect(self.choose_folder)
        self.files_button.clicked.connect(self.choose_files)
        self.sample_button.clicked.connect(self.open_sample)
        self.new_button.toggled.connect(self._unfold_form)
        self.form.closed.connect(self._fold_form)
        self.form.made.connect(self._fold_form)
        self.import_button.toggled.connect(self._unfold_import)
        self.importing.closed.connect(self._fold_import)
        self.importing.grown.connect(self._room.soon)
        self.state.opened.connect(self._show)
        self.maker.made.connect(self.open)
        self.maker.said.connect(self.summary.say)
        self.maker.failed.connect(self._sample_failed)

    # -- opening

    @guarded
    def choose_folder(self) -> None:
        """Ask for a folder and open it."""
        folder = QFileDialog.getExistingDirectory(self, "Open a subject or demo folder", str(self._near()))
        if folder:
            self.open(folder)

    @guarded
    def choose_files(self) -> None:
        """Ask for volumes and surfaces, and pass them on."""
        files, _ = QFileDialog.getOpenFileNames(self, "Open volumes or surfaces", str(self._near()), FILES)
        if files:
            self.files_chosen.emit(list(files))

    def _near(self) -> Path:
        """Where a dialog begins: beside what is open."""
        return self.state.workspace.folder.parent if self.state.workspace is not None else Path.cwd()

    @guarded
    def open(self, folder: Any) -> None:
        """Open a folder; a problem is shown in the dock."""
        self.state.open(Path(folder))

    @guarded
    def open_sample(self) -> None:
        """Open the last demo, or the sample of the program."""
        self.sample_button.setEnabled(False)
        self.maker.start()

    @guarded
    def _sample_failed(self, why: str) -> None:
        self.sample_button.setEnabled(True)
        self.summary.say(EMPTY if self.state.workspace is None else "")
        self.state.problem.emit(why)

    @guarded
    def _unfold_form(self, wanted: bool) -> None:
        self.form.setVisible(wanted)
        if wanted:  # one at a time; what is going on in the other goes on
            self._fold_import()

    @guarded
    def _fold_form(self) -> None:
        self.new_button.setChecked(False)

    # -- importing

    @guarded
    def show_import(self) -> None:
        """Turn to the page that imports a dataset."""
        self.state.set_step("data")
        self.import_button.setChecked(True)
        self.importing.form.source.setFocus()

    @guarded
    def _unfold_import(self, wanted: bool) -> None:
        self.importing.setVisible(wanted)
        for other in (self.summary, self.below):
            other.setVisible(not wanted)
        if wanted:
            self._fold_form()
        self._room.soon()

    @guarded
    def _fold_import(self) -> None:
        self.import_button.setChecked(False)

    def shut_down(self) -> None:
        """End what looks into a file; an import goes on."""
        self.importing.form.look.drop()

    # -- what is inside

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        self.summary.say("")
        self.sample_button.setEnabled(True)
        check = side_check(workspace, self.state.threshold)
        warning = check.warning() if check is not None else ""
        self.notice.say("\n".join([*([warning] if warning else []), *workspace.notes]))
        if warning:  # in sight in every step: whoever trusts this map must know
            self.state.problem.emit(warning)
        self.inside.show()
        self._stale = True
        if self.isVisible():
            self._list()
            self._room.soon()

    @guarded
    def showEvent(self, event: Any) -> None:
        """List what is inside when it is looked at: a job may have made more meanwhile."""
        super().showEvent(event)
        self._list()
        self._room.soon()

    def _list(self) -> None:
        if self.state.workspace is not None:
            self.contents.show_rows(contents(self.state.workspace, self.state.threshold), fresh=self._stale)
            self._stale = False


def _button(title: str, tip: str) -> QPushButton:
    button = QPushButton(title)
    button.setToolTip(tip)
    return button
