"""Which map to see, how good a voxel must be, and what is selected."""

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget
from superqt.utils import QSignalThrottler

from napari_brain2pix._guard import guarded
from napari_brain2pix.brain.maps import threshold_range, why_no_accuracy
from napari_brain2pix.brain.pick import rows_at
from napari_brain2pix.brain.selection import describe_selection, field_circles
from napari_brain2pix.widgets._parts import Note, Section
from napari_brain2pix.widgets.visual_field import VisualField

if TYPE_CHECKING:
    from brain2pix.arrays import RetinotopicMap
    from napari_brain2pix._state import Region, Selection, State
    from napari_brain2pix.brain.maps import MapView
    from napari_brain2pix.brain.scene import Scene
    from napari_brain2pix.folders.workspace import Workspace

STEPS = 200  # of the threshold slider
PACE_MS = 50  # between two redraws of the brain while the slider is dragged
NO_MAP = "No map yet: the receptive fields of all voxels are read from a trained model."
NO_MODEL = f"{NO_MAP} Train one first, or open a trained run or the folder of a demo."


class MapsPanel(QWidget):
    """Map, threshold and legend.

    Signals
    -------
    maps_wanted : the user wants maps of the model that is open

    Parameters
    ----------
    state : State
    scene : Scene, asked for the cortex
    """

    maps_wanted = Signal()

    def __init__(self, state: "State", scene: "Scene") -> None:
        super().__init__()
        self.state, self.scene = state, scene
        self.kind = QComboBox()
        self.kind.setAccessibleName("Map")
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0, STEPS)
        self.threshold.setAccessibleName("Least quality")
        self.threshold_text = QLabel()
        self.count = QLabel()
        self.measure = Note()
        self.legend = VisualField()
        self.empty = Note(NO_MODEL)
        self.make_button = QPushButton("Make maps")
        self.make_button.setToolTip("Receptive fields of all voxels, read from the trained model")
        self.selected = Note()
        self.selected.setAccessibleName("Selected voxels")
        # Of the signals that come too fast the last is kept; it ends with the panel, as a throttled function would not.
        self._pace = QSignalThrottler(self)
        self._pace.setTimeout(PACE_MS)
        self._lay_out()
        self.kind.currentTextChanged.connect(self._choose_kind)
        self.threshold.valueChanged.connect(self._pace.throttle)
        self._pace.triggered.connect(self._choose_threshold)
        self.legend.picked.connect(self._pick)
        self.legend.cleared.connect(self._clear)
        state.selection_changed.connect(self._show_selection)
        self.make_button.clicked.connect(self.maps_wanted)
        state.opened.connect(self._show)
        state.view_changed.connect(self._show_view)
        state.map_changed.connect(self._show_map)
        state.region_changed.connect(self._show_region)
        self._enable(None)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(10)
        self._maps = Section("Map")
        self._maps.body.addWidget(self.kind)
        line = QHBoxLayout()
        line.addWidget(self.threshold_text, 1)
        line.addWidget(self.count)
        self._maps.body.addLayout(line)
        self._maps.body.addWidget(self.threshold)
        self._maps.body.addWidget(self.measure)
        self._maps.body.addWidget(self.legend)
        self._maps.body.addWidget(self.selected)
        self._maps.body.addWidget(self.empty)
        self._maps.body.addWidget(self.make_button)
        box.addWidget(self._maps)

    def _enable(self, workspace: "Workspace | None") -> None:
        """Show what the workspace has; what is missing says why."""
        mapped = workspace is not None and workspace.map is not None
        for widget in (self.kind, self.threshold, self.threshold_text, self.count, self.measure, self.legend):
            widget.setVisible(mapped)
        trained = workspace is not None and workspace.model is not None
        self.empty.setVisible(not mapped)
        self.empty.say(NO_MAP if trained else NO_MODEL)
        self.make_button.setVisible(trained and not mapped)
        self.selected.setVisible(mapped)

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        with QSignalBlocker(self.kind):
            self.kind.clear()
            self.kind.addItems(list(self.state.kinds))
        self._enable(workspace)
        self._show_map(self.state.found)

    @guarded
    def _show_view(self, view: str, plane: str) -> None:
        self._say_selected()

    @guarded
    def _show_map(self, found: "MapView | None") -> None:
        workspace = self.state.workspace
        if found is None or workspace is None or workspace.map is None:
            return
        low, _, high = threshold_range(workspace.map)
        with QSignalBlocker(self.kind), QSignalBlocker(self.threshold):
            self.kind.setCurrentText(found.kind.name)
            self.threshold.setValue(round(STEPS * (self.state.threshold - low) / (high - low)))
        self.legend.set_map(found, workspace.map)
        self.threshold_text.setText(f"<small>Quality ≥ {self.state.threshold:.2f}</small>")
        self.measure.say("<br>".join(_measures(workspace.map)))
        self.count.setText(f"<small>{int(found.shown.sum()):,} of {found.n_mapped:,} voxels</small>")
        self.count.setToolTip(f"{found.n_mapped:,} of the subject's {found.shown.size:,} voxels have a value in this map")
        self._say_selected()
        self._show_region(self.state.region)

    @guarded
    def _show_region(self, region: "Region") -> None:
        workspace, found = self.state.workspace, self.state.found
        if workspace is None or workspace.map is None or found is None or region.mask.size != found.shown.size:
            return
        chosen = region.mask & found.shown if not _is_everything(region.mask, found.shown) else np.zeros_like(found.shown)
        self.legend.set_region(workspace.map.x0_deg[chosen], workspace.map.y0_deg[chosen])

    @guarded
    def _show_selection(self, selection: "Selection") -> None:
        workspace = self.state.workspace
        if workspace is not None and workspace.map is not None:
            self.legend.set_selection(field_circles(workspace.map, selection.rows))
        if selection.source != "field":
            self.legend.forget_pointer()
        self._say_selected()

    def _say_selected(self) -> None:
        self.selected.say(describe_selection(self.state, self.scene.cortex, self.state.view))

    @guarded
    def _pick(self, x_deg: float, y_deg: float, reach_deg: float) -> None:
        """Select the voxels that see a place, of those that are shown: what the threshold hides is not marked from here."""
        workspace, found = self.state.workspace, self.state.found
        if workspace is None or workspace.map is None or found is None:
            return
        rows = rows_at(workspace.map, x_deg, y_deg, reach_deg, found.shown)
        if not rows.size:
            self.state.clear_selection()
            return
        away = float(np.hypot(workspace.map.x0_deg[rows] - x_deg, workspace.map.y0_deg[rows] - y_deg).max())
        how = f"within {reach_deg:.2g}° of" if away <= reach_deg else "nearest to"
        self.state.select(rows, "field", f"{how} x {x_deg:.1f}°, y {y_deg:.1f}°")

    @guarded
    def _clear(self) -> None:
        self.state.clear_selection()

    @guarded
    def _choose_kind(self, name: str) -> None:
        self.state.set_kind(name)

    @guarded
    def _choose_threshold(self) -> None:
        step = self.threshold.value()
        if self.state.workspace is not None and self.state.workspace.map is not None:
            low, _, high = threshold_range(self.state.workspace.map)
            self.state.set_threshold(low + (high - low) * step / STEPS)


def _measures(found: "RetinotopicMap") -> list[str]:
    """Say what quality and accuracy were measured by, or why there is no accuracy."""
    reason = why_no_accuracy(found)
    accuracy = f"No accuracy over the ceiling: {reason}." if reason else f"Accuracy: {found.accuracy_name}"
    return [f"Quality: {found.quality_name}", accuracy]


def _is_everything(mask: "np.ndarray", shown: "np.ndarray") -> bool:
    """Whether a region covers nearly all that is mapped: dots all over the legend would only hide it."""
    return bool(shown.any()) and float((mask & shown).sum() / shown.sum()) > 0.9
