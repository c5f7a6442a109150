"""Tell the end of a long job to somebody who does not look at it."""

import time
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_brain2pix._guard import guarded

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_brain2pix.children.engine import EngineThread
    from napari_brain2pix.children.table import JobRow

LONG_S = 30.0  # shorter jobs are waited for
WORDS = {
    "finished": "has finished",
    "cancelled": "was stopped",
    "failed": "has failed",
    "interrupted": "was interrupted",
}


class JobNews(QObject):
    """Watches all jobs for their end.

    Signals
    -------
    ended : JobRow, a job that went on while this window was open

    Parameters
    ----------
    panel : QWidget that shows the jobs; also the parent
    engine : EngineThread
    """

    ended = Signal(object)

    def __init__(self, panel: "QWidget", engine: "EngineThread") -> None:
        super().__init__(panel)
        self.panel = panel
        self._since_s: dict[str, float | None] = {}  # when jobs were first seen at work; None while they wait
        engine.table.connect(self._take)

    @guarded
    def _take(self, rows: "list[JobRow]") -> None:
        now_s = time.monotonic()
        for row in rows:
            if row.standing == "queued":
                self._since_s.setdefault(row.id, None)
            elif row.going:
                self._since_s[row.id] = self._since_s.get(row.id) or now_s
            elif row.id in self._since_s:
                took_s = now_s - (self._since_s.pop(row.id) or now_s)
                self.ended.emit(row)
                if took_s >= LONG_S and not self._in_view():
                    self._announce(row)

    def _in_view(self) -> bool:
        return not self.panel.visibleRegion().isEmpty() and self.panel.window().isActiveWindow()

    def _announce(self, row: "JobRow") -> None:
        show_info(f"brain2pix: {row.title} {WORDS.get(row.standing, 'has ended')} ({row.folder.name})")
        QApplication.alert(self.panel.window())
