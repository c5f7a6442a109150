"""A list of what is in a folder or a file, as high as its rows."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QAction, QGuiApplication, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_brain2pix._guard import guarded
from napari_brain2pix.folders.contents import SIGNS, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_brain2pix._state import State

# data of a row: the area that a click on it chooses; whether it is the advice below a missing part, which spans both columns
AREA, ADVICE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
NAMES_SHARE = 0.42  # of the width, at most
FOLDED = ("Stimuli", "Trials", "Models")  # long lists that few ask for first


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
