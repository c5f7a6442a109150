"""All jobs, newest first, and where the next ones are computed."""

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QShortcut,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_brain2pix._guard import guarded
from napari_brain2pix.children.engine import LOCAL, PLAIN
from napari_brain2pix.widgets._parts import Note

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.engine import EngineThread
    from napari_brain2pix.children.table import JobRow

# a sign for the eye and a word for everybody; the signs are in every font
STANDS = {
    "starting": ("▸", "starting"),
    "queued": ("○", "waits"),
    "running": ("▸", "running"),
    "stopping": ("▪", "stopping"),
    "finished": ("✓", "finished"),
    "cancelled": ("▪", "stopped"),
    "failed": ("✗", "failed"),
    "interrupted": ("⚠", "interrupted"),
    "new": ("–", "not started"),
}
INDENT, EDGES = "   ", 8  # before the second line; pixels at both ends of a line
CONNECT = "connect"
FOLDER, NAME = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
TIPS = {LOCAL: "A server on this computer: jobs wait for each other, and outlive the window", PLAIN: "One process, one job at a time"}
SIGNS = {"connected": "✓", "failed": "⚠", "connecting": "…", "none": ""}


def describe_row(row: "JobRow") -> tuple[str, str, str]:
    """Say a job in three parts: what it is, how it stands, and where."""
    sign, word = STANDS.get(row.standing, ("", row.standing))
    share = f" {row.share:.0%}" if row.share >= 0 and row.going else ""
    # jobs about a run lie in its folder, and are all called the same
    place = row.folder.name if row.words else f"{row.folder.parent.name}/{row.folder.name}"
    return f"{sign} {row.title}", f"{word}{share}", place


class JobList(QWidget):
    """Jobs that this user started, from any window or terminal.

    Signals
    -------
    chosen : str, folder of the job that the user wants to see
    opened : str, folder of a job that was double-clicked
    forgotten : the job that is shown was taken off the list

    Parameters
    ----------
    state : State, for reporting problems
    engine : EngineThread
    """

    chosen = Signal(str)
    opened = Signal(str)
    forgotten = Signal()

    def __init__(self, state: "State", engine: "EngineThread") -> None:
        super().__init__()
        self.state, self.engine = state, engine
        self.rows: list[JobRow] = []
        self.list = QListWidget()
        self.forget_button = QPushButton("Forget")
        self.compute = ComputeChooser(state, engine)
        self._shown: Path | None = None
        self._lay_out()
        engine.table.connect(self.show_rows)
        self.list.currentItemChanged.connect(self._choose)
        self.list.itemDoubleClicked.connect(self._open)
        self.forget_button.clicked.connect(self._forget)
        key = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list, context=Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self._forget)
        self._show_buttons()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(QLabel("<b>Jobs</b>"), 1)
        head.addWidget(self.forget_button)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addLayout(head)
        box.addWidget(self.list, 1)
        box.addWidget(self.compute)
        self.forget_button.setToolTip("Take this job off the list; its folder is not touched  [Delete]")
        self.list.setAccessibleName("Jobs")
        self.list.setUniformItemSizes(True)
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setMinimumHeight(60)
        font = self.list.font()
        font.setPointSizeF(max(7.5, 0.85 * font.pointSizeF()))
        self.list.setFont(font)

    @property
    def current(self) -> "JobRow | None":
        """Job of the line that is chosen."""
        return next((row for row in self.rows if row.folder == self._shown), None)

    @guarded
    def show_rows(self, rows: "list[JobRow]") -> None:
        """Show a table: lines that stay are only written anew, so that neither place nor choice is lost."""
        with QSignalBlocker(self.list):
            if [row.id for row in rows] != [row.id for row in self.rows]:
                self.list.clear()
                for _ in rows:
                    self.list.addItem(QListWidgetItem())
            self.rows = rows
            for number, row in enumerate(rows):
                self._write(self.list.item(number), row)
        self.mark(self._shown)

    def _write(self, item: QListWidgetItem, row: "JobRow") -> None:
        title, stands, place = describe_row(row)
        metrics = self.list.fontMetrics()
        before = f"{INDENT}{stands} · "
        room = self.width() - self.list.verticalScrollBar().sizeHint().width() - EDGES - metrics.horizontalAdvance(before)
        text = f"{title}\n{before}{metrics.elidedText(place, Qt.TextElideMode.ElideMiddle, room)}"
        if item.text() == text and item.data(NAME) == row.id:
            return
        item.setText(text)
        item.setData(FOLDER, str(row.folder))
        item.setData(NAME, row.id)
        item.setSizeHint(QSize(0, 2 * metrics.lineSpacing() + 4))
        server = f"\non {row.server}" if row.server else ""
        item.setToolTip(f"{row.folder}{server}" + (f"\n{row.error}" if row.error else ""))

    def mark(self, folder: Path | None) -> None:
        """Mark the line of the job that is shown, without telling anyone."""
        self._shown = folder
        at = next((number for number, row in enumerate(self.rows) if row.folder == folder), -1)
        with QSignalBlocker(self.list):
            if self.list.currentRow() != at:
                self.list.setCurrentRow(at)
        self._show_buttons()

    def _show_buttons(self) -> None:
        current = self.current
        self.forget_button.setVisible(bool(self.rows))
        self.forget_button.setEnabled(current is not None and not current.going)

    @guarded
    def _choose(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.chosen.emit(item.data(FOLDER))

    @guarded
    def _open(self, item: QListWidgetItem) -> None:
        self.opened.emit(item.data(FOLDER))

    @guarded
    def _forget(self) -> None:
        current = self.current
        if current is not None and not current.going:
            self.engine.forget(current.id)
            self.forgotten.emit()


class ComputeChooser(QWidget):
    """Where jobs are computed, and how the connection stands.

    Parameters
    ----------
    state : State, for reporting problems
    engine : EngineThread
    """

    def __init__(self, state: "State", engine: "EngineThread") -> None:
        super().__init__()
        self.state, self.engine = state, engine
        self.box, self.line = QComboBox(), Note()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.box)
        column.addWidget(self.line)
        self.box.setAccessibleName("Where jobs are computed")
        self.box.setMinimumWidth(60)
        self.box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.line.setAccessibleName("How the connection stands")
        self.box.activated.connect(self._choose)
        engine.servers.connect(self._fill)
        engine.standing_changed.connect(self._show)
        self._fill()
        self._show()

    def places(self) -> list[tuple[str, str]]:
        """Give what there is to choose: key and words."""
        place, others = self.engine.place, [name for name in self.engine.names if name != LOCAL]
        if place not in (LOCAL, PLAIN, *others):
            others.append(place)
        named = [(name, f"On {Path(name).stem if name.endswith('.json') else name}") for name in others]
        return [(LOCAL, "On this computer"), *named, (PLAIN, "Without a server"), (CONNECT, "Connect to a server…")]

    @guarded
    def _fill(self) -> None:
        with QSignalBlocker(self.box):
            self.box.clear()
            for key, words in self.places():
                self.box.addItem(words, key)
            self.box.setCurrentIndex(self.box.findData(self.engine.place))
        tips = {
            LOCAL: "A server on this computer: jobs wait for each other, and outlive the window",
            PLAIN: "One process, one job at a time",
        }
        for key, tip in tips.items():
            self.box.setItemData(self.box.findData(key), tip, Qt.ItemDataRole.ToolTipRole)

    @guarded
    def _show(self) -> None:
        sign = SIGNS.get(self.engine.standing, "")
        words = "a process of its own for one job at a time" if self.engine.place == PLAIN else self.engine.words
        self.line.say(f"{sign} {words}".strip())

    @guarded
    def _choose(self, index: int) -> None:
        place = self.box.itemData(index)
        if place == CONNECT:
            place = self._ask_for_file()
        if place is not None and (place != self.engine.place or not self.engine.usable):
            self.engine.use(place)
        self._fill()

    def _ask_for_file(self) -> str | None:
        """Let the user point at a connection file, which its server wrote."""
        file, _ = QFileDialog.getOpenFileName(self, "Connection file of a compute server", str(Path.home()), "Connection file (*.json)")
        return file or None
