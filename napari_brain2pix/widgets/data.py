"""Open a subject, and see what is inside: what is there, what is missing, and what to do then."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QAction, QGuiApplication, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QPushButton,
    QStackedWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_brain2pix._guard import guarded
from napari_brain2pix.folders.contents import SIGNS, Row, contents, side_check
from napari_brain2pix.widgets._parts import Note, Notice, Section
from napari_brain2pix.widgets.simulate import SimulateForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_brain2pix._state import State
    from napari_brain2pix.children.simulate import SampleMaker
    from napari_brain2pix.folders.workspace import Workspace

EMPTY = (
    "No subject is open. Three ways to begin:<br><br>"
    "<b>Open folder…</b> a subject in the native format, one of its runs, or a folder made by <code>brain2pix demo</code>.<br>"
    "<b>Open volumes or surfaces…</b> single NIfTI and GIFTI files, to look at.<br>"
    "<b>Simulated subject</b> with no data at hand: a person made by the program, whose truth is known."
)
FILES = "Volumes and surfaces (*.nii *.nii.gz *.gii);;All files (*)"
# data of a row: the area that a click on it chooses; whether it is the advice below a missing part, which spans both columns
AREA, ADVICE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
NAMES_SHARE = 0.42  # of the width, at most
FOLDED = ("Stimuli", "Trials", "Models")  # long lists that few ask for first


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
        self.files_button = _button("Open volumes or surfaces…", "NIfTI (.nii, .nii.gz) and GIFTI (.gii) files, shown as layers of napari")
        self.sample_button = _button("Simulated subject", "The last demo, or the simulated subject that comes with the program")
        self.new_button = _button("Simulate another…", "Choose its size and its seed, and where it goes")
        self.new_button.setCheckable(True)
        self.form = SimulateForm(state, maker)
        self.notice = Notice()
        self.contents = ContentsTree(state)
        self._stale = True
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
        box.addLayout(buttons)
        box.addWidget(self.form)
        self.form.hide()
        box.addWidget(self.notice)
        self.inside = Section("What is inside")
        self.inside.body.addWidget(self.contents)
        box.addWidget(self.inside)
        self.inside.hide()

    def _connect(self) -> None:
        self.open_button.clicked.connect(self.choose_folder)
        self.files_button.clicked.connect(self.choose_files)
        self.sample_button.clicked.connect(self.open_sample)
        self.new_button.toggled.connect(self._unfold_form)
        self.form.closed.connect(self._fold_form)
        self.form.made.connect(self._fold_form)
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

    @guarded
    def _fold_form(self) -> None:
        self.new_button.setChecked(False)

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
            QTimer.singleShot(0, self._make_room)

    @guarded
    def showEvent(self, event: Any) -> None:
        """List what is inside when it is looked at: a job may have made more meanwhile."""
        super().showEvent(event)
        self._list()
        QTimer.singleShot(0, self._make_room)

    def _list(self) -> None:
        if self.state.workspace is not None:
            self.contents.show_rows(contents(self.state.workspace, self.state.threshold), fresh=self._stale)
            self._stale = False

    @guarded
    def _make_room(self) -> None:
        """Tell the layouts of the page, which missed it while they were hidden, how high the list is."""
        widget = self.contents.parentWidget()
        while widget is not None and widget.layout() is not None and not isinstance(widget.parentWidget(), QStackedWidget):
            widget.layout().invalidate()
            widget.updateGeometry()
            widget = widget.parentWidget()


class ContentsTree(QTreeWidget):
    """Rows of what is inside; those of areas choose the region. Ctrl+C copies the rows that are selected.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: "State") -> None:
        super().__init__()
        self.state = state
        self.rows: list[Row] = []
        self._fitting = False
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setAccessibleName("What is inside the open folder")
        self.setIndentation(11)
        self.setWordWrap(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # of paths, both ends tell
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)  # as high as its rows: the page scrolls
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.header().setMinimumSectionSize(20)
        self.header().setStretchLastSection(True)
        self._add_actions()
        self.itemClicked.connect(self._chosen)
        self.itemActivated.connect(self._chosen)
        self.itemExpanded.connect(self._fit)
        self.itemCollapsed.connect(self._fit)

    def _add_actions(self) -> None:
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        for title, slot in (("Copy rows  [Ctrl+C]", self.copy), ("Copy everything", self.copy_all)):
            action = QAction(title, self)
            action.triggered.connect(slot)
            self.addAction(action)

    def show_rows(self, rows: "Sequence[Row]", fresh: bool = True) -> None:
        """Show rows; what the user has unfolded stays so, unless they are those of another folder."""
        if list(rows) == self.rows and not fresh:
            return
        open_before = {item.text(0) for item in self._tops() if item.isExpanded()}
        self.rows = list(rows)
        self.clear()
        for row in rows:
            item = self._item(row)
            self.addTopLevelItem(item)
            name = item.text(0)
            item.setExpanded(row.name not in FOLDED if fresh else name in open_before)
            for number in range(item.childCount()):
                item.child(number).setExpanded(True)
        self._span(self.invisibleRootItem())
        self._fit()

    def _item(self, row: Row) -> QTreeWidgetItem:
        item = QTreeWidgetItem([f"{SIGNS[row.mark]} {row.name}".strip(), row.value])
        item.setToolTip(0, row.more or row.name)
        item.setToolTip(1, row.more or row.value)
        item.setData(0, AREA, row.area)
        for column in (0, 1):
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        if row.parts and not row.area:
            font = item.font(0)
            font.setBold(True)
            item.setFont(0, font)
        if row.todo:
            advice = QTreeWidgetItem([row.todo])
            advice.setData(0, ADVICE, True)
            advice.setToolTip(0, row.todo)
            item.addChild(advice)
        for part in row.parts:
            item.addChild(self._item(part))
        return item

    def _tops(self) -> list[QTreeWidgetItem]:
        return [self.topLevelItem(number) for number in range(self.topLevelItemCount())]

    def _span(self, above: QTreeWidgetItem) -> None:
        """Give what is to be done the whole width; only possible once it is in the tree."""
        for number in range(above.childCount()):
            item = above.child(number)
            if item.data(0, ADVICE):
                item.setFirstColumnSpanned(True)
            self._span(item)

    # -- choosing and copying

    @guarded
    def _chosen(self, item: QTreeWidgetItem) -> None:
        area = item.data(0, AREA)
        if area:
            self.state.set_region(area)

    @guarded
    def keyPressEvent(self, event: Any) -> None:
        """Copy whole rows: Qt would copy one cell."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    @guarded
    def copy(self) -> None:
        """Copy the selected rows, tabs between their columns."""
        lines = ["\t".join(filter(None, (item.text(0), item.text(1)))) for item in self._in_order() if item.isSelected()]
        QGuiApplication.clipboard().setText("\n".join(lines))

    @guarded
    def copy_all(self) -> None:
        """Copy all rows, also those that are folded."""
        QGuiApplication.clipboard().setText("\n".join(line for row in self.rows for line in row.lines()))

    def _in_order(self) -> list[QTreeWidgetItem]:
        def below(item: QTreeWidgetItem) -> list[QTreeWidgetItem]:
            children = [item.child(number) for number in range(item.childCount())]
            return [one for child in children for one in (child, *below(child))]

        return below(self.invisibleRootItem())

    # -- as high as its rows

    @guarded
    def resizeEvent(self, event: Any) -> None:
        """Follow the width."""
        super().resizeEvent(event)
        self._fit()

    @guarded
    def changeEvent(self, event: Any) -> None:
        """Follow the font, which comes with napari's style."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    @guarded
    def _fit(self) -> None:
        if self._fitting:  # a new width of the first column calls again
            return
        self._fitting = True
        try:
            self._share_width()
            self.setFixedHeight(2 * self.frameWidth() + 2 + sum(self._height(item) for item in self._in_order() if self._is_shown(item)))
        finally:
            self._fitting = False

    def _share_width(self) -> None:
        """Give the names what they need, but not more than their share."""
        needed = [self._width(item) for item in self._in_order() if self._is_shown(item) and not item.data(0, ADVICE)]
        share = int(NAMES_SHARE * self.viewport().width())
        self.header().resizeSection(0, min(max(needed, default=0), share))

    def _width(self, item: QTreeWidgetItem) -> int:
        text = int(self.fontMetrics().horizontalAdvance(item.text(0)) * 1.1)  # names of groups are bold
        return self.indentation() * (1 + self._depth(item)) + text + 12

    def _height(self, item: QTreeWidgetItem) -> int:
        """Make a row as high as its text, which wraps."""
        advice = bool(item.data(0, ADVICE))
        left = self.indentation() * (1 + self._depth(item)) if advice else self.columnWidth(0)
        room = max(self.viewport().width() - left - 10, 60)
        metrics = self.fontMetrics()
        box = metrics.boundingRect(0, 0, room, 10_000, Qt.TextFlag.TextWordWrap, item.text(0 if advice else 1))
        height = max(box.height(), metrics.height()) + 4
        for column in (0, 1):
            item.setSizeHint(column, QSize(10, height))
        return int(height)

    def _depth(self, item: QTreeWidgetItem) -> int:
        return 0 if item.parent() is None else 1 + self._depth(item.parent())

    def _is_shown(self, item: QTreeWidgetItem) -> bool:
        above = item.parent()
        return above is None or (above.isExpanded() and self._is_shown(above))


def _button(title: str, tip: str) -> QPushButton:
    button = QPushButton(title)
    button.setToolTip(tip)
    return button
