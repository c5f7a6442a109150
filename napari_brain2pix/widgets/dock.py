"""The right dock: everything of brain2pix that is not the canvas; it opens pictures and jobs as tabs at the bottom."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QMainWindow,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from brain2pix.compute.reproduce.folder import is_reproduction
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix import _sample_data as sample
from napari_brain2pix._commands import COMMANDS, bind_keys, keys_table
from napari_brain2pix._guard import guarded
from napari_brain2pix._state import State
from napari_brain2pix.brain import layers
from napari_brain2pix.brain.paint import Painter
from napari_brain2pix.brain.scene import Scene
from napari_brain2pix.children.comparison import Comparison
from napari_brain2pix.children.devices import DeviceQuestion
from napari_brain2pix.children.engine import LIVE, LOCAL, EngineThread
from napari_brain2pix.children.follow_up import decode_job, maps_job, run_of, trained_run_of
from napari_brain2pix.children.jobs import JobRunner, running_job
from napari_brain2pix.children.live import LiveDecoder
from napari_brain2pix.children.simulate import SampleMaker
from napari_brain2pix.widgets._closing import STAY, STOPS, ask_about_jobs
from napari_brain2pix.widgets._news import JobNews
from napari_brain2pix.widgets._stimulating import Stimulating
from napari_brain2pix.widgets.data import DataPanel
from napari_brain2pix.widgets.decode import DecodePanel
from napari_brain2pix.widgets.export import ExportDialog
from napari_brain2pix.widgets.gallery import Gallery
from napari_brain2pix.widgets.head import SubjectHead
from napari_brain2pix.widgets.jobs import JobsPanel
from napari_brain2pix.widgets.log import LogPanel
from napari_brain2pix.widgets.maps import MapsPanel
from napari_brain2pix.widgets.reproduce import ReproducePage
from napari_brain2pix.widgets.steps import StepBar
from napari_brain2pix.widgets.stimulate import StimulatePanel
from napari_brain2pix.widgets.train import TrainPanel
from napari_brain2pix.widgets.train_step import TrainStep
from napari_brain2pix.widgets.views import ViewBar

if TYPE_CHECKING:
    import napari

    from napari_brain2pix._state import Region, Selection
    from napari_brain2pix.brain.maps import MapView
    from napari_brain2pix.children.table import JobRow
    from napari_brain2pix.folders.workspace import Workspace

MIN_WIDTH = 320  # of a page
GALLERY, JOBS, LOG = "brain2pix pictures", "brain2pix jobs", "brain2pix log"
SETTLE_MS = 300  # until panels that were hidden have their style and size
STOP_WAIT_S = 5.0  # for a training that was told to stop while the window closes


class Page(QScrollArea):
    """One step: its panel, scrolled up and down only, so that the dock must be wide enough for it."""

    def __init__(self, panel: QWidget) -> None:
        super().__init__()
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 4, 6, 0)
        column.addWidget(panel)
        column.addStretch(1)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        """Ask for the width of the panel and of the scroll bar."""
        width = self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
        return QSize(max(width, MIN_WIDTH), super().minimumSizeHint().height())


class BrainDock(QWidget):
    """Dock of brain2pix.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__()
        self.viewer = viewer
        self.state = State(self)
        self.scene = Scene(viewer, self.state)
        self.live = LiveDecoder(self.state, self)
        self.maker = SampleMaker(self.state, self)
        self.engine = EngineThread(self)
        self.runner = JobRunner(self.state, self, self.engine)
        self.devices = DeviceQuestion(self.state, self)
        self.comparison = Comparison(self.state, self)  # listens before the panels that show it
        self.head = SubjectHead(self.state)
        self.steps = StepBar(self.state, self.runner)
        self.views = ViewBar(self.state, self.scene)
        self.data = DataPanel(self.state, self.maker)
        self.train = TrainPanel(self.state, self.runner, self.devices)
        self.reproducing = ReproducePage(self.state, self.runner, self.devices)
        self.train_step = TrainStep(self.state, self.train, self.reproducing)
        self.maps = MapsPanel(self.state, self.scene)
        self.painter = Painter(viewer, self.state, self)
        self.stimulate = StimulatePanel(self.state, self.painter)
        self.decode = DecodePanel(self.state, self.comparison)
        self.gallery = Gallery(self.state, self.comparison)
        self.jobs = JobsPanel(self.state, self.runner, self.engine)
        self.news = JobNews(self.jobs, self.engine)
        self.log = LogPanel(self.state, self.runner)
        self.stimulating = Stimulating(self.state, self.live, self.stimulate, self.gallery, self)
        self.pages: dict[str, Page] = {}
        self._below = ((self.gallery, GALLERY), (self.jobs, JOBS), (self.log, LOG))
        for panel, _ in self._below:
            panel.setParent(self)  # until it has a dock of its own
            panel.hide()
        self._over = False
        self._closing = False
        self._shortcuts: list[Any] = []
        self.export_dialog: ExportDialog | None = None
        self._stop_when_closed = False
        self._settled = False  # no reference to the window is kept: it would outlive its closing
        self._lay_out()
        self._connect()
        viewer.layers.events.inserted.connect(self._layer_came)
        QTimer.singleShot(0, self._settle)

    def _lay_out(self) -> None:
        # notes fix their height when they learn their width, which the scroll areas do not hear of: they are told to measure again
        self._measure = QTimer(self)
        self._measure.setSingleShot(True)
        self._measure.setInterval(SETTLE_MS)
        self._measure.timeout.connect(self._make_room)
        box = QVBoxLayout(self)
        box.setContentsMargins(12, 10, 12, 10)
        box.setSpacing(8)
        self.stack = QStackedWidget()
        for widget in (self.head, self.views, self.steps):
            box.addWidget(widget)
        box.addWidget(self.stack, 1)
        self._add_page("data", self.data)
        self._add_page("train", self.train_step)
        self._add_page("maps", self.maps)
        self._add_page("decode", self.decode)
        self._add_page("stimulate", self.stimulate)
        self.footer = QHBoxLayout()
        self.keys_button = QPushButton("Keys…")
        self.keys_button.setToolTip("What can be done from the keyboard")
        self.keys_button.clicked.connect(self.show_keys)
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("Write figures, maps, scores and records")
        self.export_button.clicked.connect(self.show_export)
        self.footer.addStretch(1)
        self.footer.addWidget(self.export_button)
        self.footer.addWidget(self.keys_button)
        box.addLayout(self.footer)

    def _add_page(self, name: str, panel: QWidget) -> None:
        self.pages[name] = page = Page(panel)
        self.stack.addWidget(page)

    def _connect(self) -> None:
        state = self.state
        state.busy.connect(self._hold_canvas)
        state.opening.connect(self._show)
        state.opened.connect(self._compose)  # after the panels, which connected themselves before
        state.view_changed.connect(self._show_view)
        state.map_changed.connect(self._show_map)
        state.region_changed.connect(self._show_region)
        state.selection_changed.connect(self._show_selection)
        self.runner.changed.connect(self._job_changed)
        self.engine.table.connect(self._follow_first)
        self.engine.problem.connect(state.problem)
        self.engine.connected.connect(self._get_pictures_there)
        self.engine.standing_changed.connect(self._get_pictures_here)
        self.news.ended.connect(self._job_ended)
        self.jobs.show_wanted.connect(self._show_wanted)
        self.reproducing.open_wanted.connect(self.open)
        self.jobs.train_wanted.connect(self._turn_to_training)
        self.maps.maps_wanted.connect(self._make_maps)
        self.decode.decode_wanted.connect(self._reconstruct)
        state.step_changed.connect(self._turn_page)
        for signal in (state.opened, state.step_changed, self.train.form.more.toggled, self.train.method.activated):
            signal.connect(self._measure_soon)
        self.train.another_wanted.connect(self.data.choose_folder)
        self.data.files_chosen.connect(self._open_files)

    # -- opening

    @guarded
    def open(self, folder: Any) -> None:
        """Open a subject or demo folder; problems are shown in the dock."""
        self.state.open(Path(folder))

    @guarded
    def _show_wanted(self, folder: str) -> None:
        """Open the run of a job; an evaluation is shown beside the subject that is open."""
        if self.state.workspace is not None and is_reproduction(Path(folder)):
            self.train_step.show_reproduction(Path(folder))
        else:
            self.open(folder)

    @guarded
    def _open_files(self, files: list[str]) -> None:
        """Open volumes and surfaces beside what is there; what cannot be opened is told."""
        from napari_brain2pix._readers import open_files

        if self.state.workspace is not None:
            self.state.set_view("volume")  # in the others the brain is not where the scanner saw it
        self.state.problem.emit("\n".join(open_files(self.viewer, files)))

    def _show_below(self) -> None:
        """Dock pictures, jobs and log as tabs, the pictures in front; again if the user had closed them."""
        fresh = [(panel, name) for panel, name in self._below if not _dock_of(panel)]
        for panel, name in fresh:
            self.viewer.window.add_dock_widget(panel, name=name, area="bottom", add_vertical_stretch=False)
            panel.show()
        window = self.window()
        docks = [dock for dock in (_dock_of(panel) for panel, _ in self._below) if dock is not None]
        if fresh and isinstance(window, QMainWindow):
            for dock in docks[1:]:
                window.tabifyDockWidget(docks[0], dock)
            docks[0].raise_()

    @guarded
    def _turn_page(self, step: str) -> None:
        self.stack.setCurrentWidget(self.pages[step])

    @guarded
    def run_command(self, name: str) -> None:
        """Do what a command of the palette, or its key, says."""
        COMMANDS[name].act(self)

    @guarded
    def show_export(self) -> None:
        """Open the dialog that writes figures, maps, scores and records; it keeps what was chosen in it."""
        if self.export_dialog is None:
            self.export_dialog = ExportDialog(self.state, self._canvas_picture, self)
        self.export_dialog.show()
        self.export_dialog.raise_()
        self.export_dialog.activateWindow()  # the keys are its own now

    def _canvas_picture(self, scale: int) -> Any:
        return self.viewer.screenshot(canvas_only=True, scale=scale, flash=False)

    @guarded
    def show_keys(self) -> None:
        """List all keys, beside the work."""
        box = QMessageBox(self.window())
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowTitle("brain2pix keys")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(keys_table())
        box.setModal(False)
        box.show()

    @guarded
    def _turn_to_training(self) -> None:
        self.state.set_step("train")

    @guarded
    def _hold_canvas(self, what: str) -> None:
        """Keep the canvas as it is while a subject is opened: a frame of half of it takes time, and has brought down the program."""
        window = self.window()
        if isinstance(window, QMainWindow) and window.centralWidget() is not None:
            window.centralWidget().setUpdatesEnabled(not what)

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        self._show_below()
        self.scene.show(workspace, self.state.found)

    @guarded
    def _compose(self, workspace: "Workspace") -> None:
        """Arrange the first look: inflated cortex with its map, or the volume where there is none."""
        view = "inflated" if workspace.map is not None and self.scene.cortex.has("inflated") else "volume"
        self.state.set_view(view)
        if workspace.model is not None:
            sample.remember(workspace.folder)
            self.stimulating.start()
        if (workspace.folder / "job.json").is_file():
            self.runner.follow(workspace.folder)
        # a subject without a model is there to be trained on
        self.state.set_step("maps" if workspace.model is not None or workspace.map is not None else "train")
        pictures = _dock_of(self.gallery)
        if workspace.pictures.reconstructions is not None and pictures:
            pictures.raise_()

    @guarded
    def _measure_soon(self) -> None:
        self._measure.start()

    @guarded
    def _make_room(self) -> None:
        inner = self.stack.currentWidget().widget()
        inner.layout().invalidate()
        inner.updateGeometry()
        for page in self.pages.values():
            page.updateGeometry()

    @guarded
    def _layer_came(self, event: Any = None) -> None:
        QTimer.singleShot(0, self._adopt)

    @guarded
    def _settle(self) -> None:
        """Once the dock is in a window: let the right dock reach the bottom, end the child with the window, adopt what is there."""
        window = self.window()
        if isinstance(window, QMainWindow) and not self._settled:
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            window.installEventFilter(self)
            self._shortcuts = bind_keys(self, window)
            self._settled = True
            self._follow_running()
            self.engine.start()
        self._adopt()

    @guarded
    def _adopt(self) -> None:
        """Take over layers that our reader put into the viewer."""
        fresh = [layer for layer in self.viewer.layers if layers.is_fresh(layer.metadata)]
        if not fresh and self.state.workspace is None:
            fresh = [layer for layer in self.viewer.layers if layers.came_from(layer.metadata) is not None]  # of a dock that was closed
        if fresh:
            self.state.open(layers.came_from(fresh[-1].metadata))

    # -- jobs

    def _follow_running(self) -> None:
        """Follow a job that another window has left running."""
        folder = running_job()
        if folder is not None:
            self._show_job(folder)

    @guarded
    def _follow_first(self, rows: "list[JobRow]") -> None:
        """Do the same with jobs that a server has, once it is known which."""
        self.engine.table.disconnect(self._follow_first)
        going = [row.folder for row in rows if row.going]
        if going and self.runner.folder is None:
            self._show_job(going[-1])  # the one that has waited longest

    def _show_job(self, folder: Path) -> None:
        self._show_below()
        self.runner.follow(folder)
        jobs = _dock_of(self.jobs)
        if jobs:
            QTimer.singleShot(0, jobs.raise_)  # tabs that have just been made come to the front only then

    @guarded
    def show_jobs(self) -> None:
        """Bring the jobs to the front, ready for the keyboard."""
        self._show_below()
        jobs = _dock_of(self.jobs)
        if jobs:
            jobs.show()
            QTimer.singleShot(0, jobs.raise_)
        self.jobs.list.list.setFocus()

    @guarded
    def _job_changed(self, folder: str, standing: str) -> None:
        jobs = _dock_of(self.jobs)
        if standing == "starting" and jobs:
            jobs.show()
            jobs.raise_()
        if standing == "finished" and self.runner.job.get("kind") in ("maps", "decode"):
            self._show_made(Path(folder))

    @guarded
    def _job_ended(self, row: "JobRow") -> None:
        """Show what a job has made that is not the one on the Jobs tab."""
        if row.standing == "finished" and row.kind in ("maps", "decode") and row.folder != self.runner.folder:
            self._show_made(row.folder)

    def _show_made(self, folder: Path) -> None:
        """Show what a job has made of the run that is open."""
        workspace = self.state.workspace
        if workspace is not None and self.state.step in ("maps", "decode") and run_of(folder) == self._trained():
            step = self.state.step
            self.open(workspace.folder)
            self.state.set_step(step)

    @guarded
    def _make_maps(self) -> None:
        trained = self._trained()
        if trained is not None:
            self.runner.start(maps_job(trained))

    @guarded
    def _reconstruct(self) -> None:
        trained, workspace = self._trained(), self.state.workspace
        if trained is not None and workspace is not None:
            self.runner.start(decode_job(trained, workspace.split))

    def _trained(self) -> Path | None:
        """Run folder of the model that is open."""
        workspace = self.state.workspace
        return trained_run_of(workspace.model.parent) if workspace is not None and workspace.model is not None else None

    @guarded
    def _get_pictures_there(self, info: dict[str, Any]) -> None:
        """Let live pictures come from where jobs go, if that server has a worker for them."""
        able = any(LIVE in worker["resources"] for worker in info["workers"])
        self.stimulating.move_to(self.engine.place if able else "")

    @guarded
    def _get_pictures_here(self) -> None:
        """Let them come from a child process when there is no server any more."""
        if self.engine.standing in ("none", "failed"):
            self.stimulating.move_to("")

    # -- the brain

    @guarded
    def _show_view(self, view: str, plane: str) -> None:
        self.scene.set_view(view, plane)
        self.scene.set_caption(self.state.caption())

    @guarded
    def _show_map(self, found: "MapView | None") -> None:
        self.scene.set_map(found)
        self.scene.set_caption(self.state.caption())

    @guarded
    def _show_region(self, region: "Region") -> None:
        self.scene.set_region(region.mask)

    @guarded
    def _show_selection(self, selection: "Selection") -> None:
        self.scene.set_selection(selection)

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is on the screen, or has failed with a message."""
        return self.state.workspace is None or self.stimulating.complete

    # -- the end

    @guarded(otherwise=False)
    def event(self, event: QEvent) -> bool:
        """Notice that napari took the dock out of its window: the user closed it."""
        handled = super().event(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._settled:
            QTimer.singleShot(0, self._dismiss)
        return bool(handled)

    @guarded
    def _dismiss(self) -> None:
        self.shut_down()
        for panel, _ in self._below:
            if _dock_of(panel):
                self.viewer.window.remove_dock_widget(panel)
            panel.deleteLater()
        self.deleteLater()

    @guarded(otherwise=False)
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the children go when the window closes, but only when it does: napari may ask first, and the user may stay."""
        if event.type() != QEvent.Type.Close or watched is not self.window() or self._closing or self._over:
            return False
        self._closing = True
        try:
            if not self.may_close():
                event.ignore()
                return True
            # napari decides within its own handling; whatever comes after that is too late to ask whether it did
            watched.event(event)
            if event.isAccepted():
                self.shut_down()
        finally:
            self._closing = False
        return True

    def viewer_is_whole(self) -> bool:
        """Whether the canvas is still there: a script's `viewer.close()` has taken it away, and waiting for an answer would be fatal."""
        window = self.window()
        centre = window.centralWidget() if isinstance(window, QMainWindow) else None
        shown = centre.layout().itemAt(0) if centre is not None and centre.layout() is not None else None
        return shown is not None and shown.widget() is not None and not shown.widget().isHidden()

    def may_close(self) -> bool:
        """Ask what becomes of a job that is going on; whether the window may close."""
        jobs = self._jobs_of_this_computer()
        if not jobs or not self.viewer_is_whole():
            return True
        answer = ask_about_jobs(self.window(), jobs)
        self._stop_when_closed = answer == STOPS
        return answer != STAY

    def _jobs_of_this_computer(self) -> list[tuple[str, Path]]:
        """Kind and folder of the jobs that go on here, the one that is shown first; those of other servers go on without a question."""
        shown = [(str(self.runner.job.get("kind", "")), self.runner.folder)] if self.runner.busy and self.runner.folder is not None else []
        rows = [row for row in self.engine.rows if row.going and row.folder != self.runner.folder]
        ours = [row for row in rows if row.server == LOCAL or self.runner.owns(row.folder)]
        return [*shown, *((row.kind, row.folder) for row in ours)]

    def shut_down(self) -> None:
        """Stop the children and stop listening; once."""
        if self._over:
            return
        self._over = True
        self.live.stop()
        self.painter.close()
        self.maker.stop()
        self.data.shut_down()
        self.reproducing.shut_down()
        self.devices.stop()
        if self.export_dialog is not None:
            self.export_dialog.shut_down()
            self.export_dialog.close()
        self.comparison.stop()
        stopped = [folder for _, folder in self._jobs_of_this_computer()] if self._stop_when_closed else []
        for folder in stopped:
            RunFolder(folder).cancel.touch()
        self.engine.close(stopped)
        if self._stop_when_closed:
            self.runner.end(STOP_WAIT_S)
        self.runner.let_go()
        self.log.close_log()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self.scene.close()
        self.viewer.layers.events.inserted.disconnect(self._layer_came)
        for panel, _ in self._below:
            if panel.parent() is None:
                panel.deleteLater()


def _dock_of(panel: QWidget) -> QDockWidget | None:
    """Dock widget that holds a panel; None if it has none (any more)."""
    parent = panel.parent()
    return parent if isinstance(parent, QDockWidget) else None
