"""Rows of a report and the cells behind them, with how each stands."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_brain2pix._guard import guarded

if TYPE_CHECKING:
    from brain2pix.compute.reproduce.folder import CellView, Overview, RowView

CELL = Qt.ItemDataRole.UserRole
STATES = {
    "finished": "✓ done",
    "running": "▸ running",
    "failed": "✗ failed",
    "queued": "○ waits",
    "stopped": "▪ stopped",
    "missing": "– to do",
}
NOT_HERE = "✗ not possible"
MOST_LINES, FEWEST_LINES = 14, 3


class ReproduceTree(QTreeWidget):
    """A line for each row of the report; rows of several cells can be unfolded.

    Signals
    -------
    run_wanted : str, id of a cell that was double-clicked
    chosen : another line was chosen
    """

    run_wanted = Signal(str)
    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setColumnCount(2)
        self.setHeaderLabels(["Row of the report", "Cells"])
        self.setAccessibleName("Rows of the report and their cells")
        self.setIndentation(12)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # of long titles, both ends tell
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.header().setStretchLastSection(False)
        self.header().setMinimumSectionSize(40)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self._shown: list[tuple[str, ...]] = []
        self.itemDoubleClicked.connect(self._wanted)
        self.itemSelectionChanged.connect(self.chosen)
        self.itemExpanded.connect(self._fit)
        self.itemCollapsed.connect(self._fit)

    @property
    def cell(self) -> str:
        """Id of the cell that is chosen; empty for none, or for a row of several."""
        items = self.selectedItems()
        return str(items[0].data(0, CELL) or "") if items else ""

    def show_overview(self, found: "Overview") -> None:
        """Show how everything stands; lines that stay are only written anew, so that the choice is not lost."""
        lines = [(row.name, *row.cells) for row in found.rows]
        if lines != self._shown:
            self._shown = lines
            self.clear()
            for row in found.rows:
                top = QTreeWidgetItem()
                self.addTopLevelItem(top)
                top.addChildren([QTreeWidgetItem() for _ in row.cells[1:] and row.cells])
        cells = {cell.id: cell for cell in found.cells}
        for number, row in enumerate(found.rows):
            self._write(self.topLevelItem(number), row, cells)
        self._fit()

    def _write(self, item: QTreeWidgetItem, row: "RowView", cells: "dict[str, CellView]") -> None:
        item.setText(0, row.title)
        if row.why:
            item.setText(1, NOT_HERE)
            _tip(item, f"{row.title}\n{row.why}")
            return
        own = [cells[name] for name in row.cells]
        done = sum(cell.state == "finished" for cell in own)
        if len(own) == 1:
            self._write_cell(item, own[0], row.title)
            return
        running = any(cell.state == "running" for cell in own)
        sign = "✓" if done == len(own) else "▸" if running else "✗" if any(cell.state == "failed" for cell in own) else "–"
        item.setText(1, f"{sign} {done} of {len(own)}")
        _tip(item, f"{row.title}\n{done} of {len(own)} cells are done")
        for number, cell in enumerate(own):
            self._write_cell(item.child(number), cell, cell.title)

    def _write_cell(self, item: QTreeWidgetItem, cell: "CellView", title: str) -> None:
        item.setText(0, title)
        item.setText(1, STATES.get(cell.state, cell.state))
        item.setData(0, CELL, cell.id)
        _tip(item, "\n".join(part for part in (title, f"{cell.id}", cell.error) if part))

    @guarded
    def _wanted(self, item: QTreeWidgetItem) -> None:
        if item.data(0, CELL):
            self.run_wanted.emit(item.data(0, CELL))

    @guarded
    def keyPressEvent(self, event: Any) -> None:
        """Open the run of the chosen cell with Enter too."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.cell:
            self.run_wanted.emit(self.cell)
        else:
            super().keyPressEvent(event)

    @guarded
    def _fit(self) -> None:
        """Be as high as the lines, up to a page."""
        tops = [self.topLevelItem(number) for number in range(self.topLevelItemCount())]
        n_lines = len(tops) + sum(top.childCount() for top in tops if top.isExpanded())
        height = max(self.sizeHintForRow(0), self.fontMetrics().height())
        shown = min(max(n_lines, FEWEST_LINES), MOST_LINES)
        self.setFixedHeight(self.header().sizeHint().height() + shown * height + 2 * self.frameWidth() + 2)


def _tip(item: QTreeWidgetItem, text: str) -> None:
    for column in (0, 1):
        item.setToolTip(column, text)
