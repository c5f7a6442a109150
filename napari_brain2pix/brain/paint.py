"""A region painted by hand: a label layer in the space of the subject, whose voxels become an area of region expressions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_brain2pix._guard import guarded
from napari_brain2pix._state import PAINTED
from napari_brain2pix.brain import layers

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_brain2pix._state import State
    from napari_brain2pix.folders.workspace import Workspace

NAME = "painted"
KEY = "brain2pix painted"  # in the layer's metadata: it is the user's own, and not removed with ours
COLOUR = (1.0, 0.45, 0.85)  # in none of the maps, nor in the outlines
BRUSH_MM = 9.0  # across: about a gyrus
TOOLS = ("paint", "erase", "fill", "polygon")
SETTLE_MS = 60  # a stroke comes in many small changes


class Painter(QObject):
    """Keeps one label layer, and tells the state which voxels it covers.

    Signals
    -------
    painting_changed : bool, whether the brush is in the hand
    painted : cells of the grid that are painted, voxels with responses among them

    Parameters
    ----------
    viewer : napari.Viewer
    state : State
    """

    painting_changed = Signal(bool)
    painted = Signal(int, int)

    def __init__(self, viewer: "Viewer", state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer, self.state = viewer, state
        self.layer: Any = None
        self._choose_it = False  # the region becomes what is painted with the first stroke
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self.read)
        state.opening.connect(self._change_subject)
        state.opened.connect(self._to_top)
        state.view_changed.connect(self._follow_view)
        viewer.layers.events.removed.connect(self._removed)
        viewer.layers.selection.events.active.connect(self._tell_mode)

    @property
    def painting(self) -> bool:
        """Whether the brush is in the hand."""
        # napari gives plugins its layers in wrappers, each time another one: they are equal, but not the same object
        return self.layer is not None and str(self.layer.mode) in TOOLS and self.viewer.layers.selection.active == self.layer

    def start(self) -> None:
        """Take the brush: slices of the volume, and the layer on top of them."""
        workspace = self.state.workspace
        if workspace is None:
            return
        # labels can only be painted in slices; and napari 0.9 fails on new ones in 3-D under the pointer
        self.state.set_view("volume", "axial" if self.state.plane == "3d" else self.state.plane)
        self.viewer.dims.ndisplay = 2
        if self.layer is None:
            self._make(workspace)
        self.layer.visible = True
        self.viewer.layers.selection.active = self.layer
        self.layer.selected_label = 1
        self.layer.mode = "paint"
        self._choose_it = True
        self._tell_mode()

    def stop(self) -> None:
        """Put the brush down; what is painted stays."""
        if self.layer is not None:
            self.layer.mode = "pan_zoom"
        self._tell_mode()

    def close(self) -> None:
        """Stop listening to the viewer; the layer stays where it is."""
        self._timer.stop()
        self._let_go()
        self.viewer.layers.events.removed.disconnect(self._removed)
        self.viewer.layers.selection.events.active.disconnect(self._tell_mode)

    def _make(self, workspace: "Workspace") -> None:
        subject = workspace.subject
        self.layer = self.viewer.add_labels(
            np.zeros(subject.space.shape, dtype=np.uint8),
            name=NAME,
            affine=subject.space.affine,
            colormap={1: COLOUR, None: "transparent"},
            opacity=0.6,
            metadata={KEY: str(workspace.folder)},
            **layers.SPACE,
        )
        self.layer.brush_size = max(1, round(BRUSH_MM / float(np.mean(subject.space.voxel_mm))))
        self.layer.n_edit_dimensions = 3  # a ball: cortex is not flat
        events = self.layer.events
        for event in (events.paint, events.data, events.set_data):
            event.connect(self._touched)
        events.mode.connect(self._tell_mode)

    @guarded
    def _touched(self, event: Any = None) -> None:
        self._timer.start()

    @guarded
    def read(self) -> None:
        """Tell the state which voxels are painted, if they changed."""
        workspace = self.state.workspace
        if workspace is None or self.layer is None:
            return
        data, name = np.asarray(self.layer.data), self.state.name_of(PAINTED)
        rows = np.flatnonzero(data[tuple(workspace.subject.ijk.T)] > 0)
        before = self.state.extra.get(name)
        if before is not None and np.array_equal(np.flatnonzero(before), rows):
            return
        if before is None and not rows.size:
            return
        self.painted.emit(int((data > 0).sum()), len(rows))
        self.state.set_area(PAINTED, rows)
        if self._choose_it and rows.size:
            self._choose_it = False
            if not self.state.mentions(PAINTED):
                self.state.set_region(name)

    @guarded
    def _tell_mode(self, event: Any = None) -> None:
        self.painting_changed.emit(self.painting)

    @guarded
    def _follow_view(self, view: str, plane: str) -> None:
        """Show the layer where it belongs: not beside an inflated cortex, and not as a block in 3-D."""
        if self.layer is None:
            return
        self.layer.visible = view == "volume" and plane != "3d"
        if not self.layer.visible and str(self.layer.mode) in TOOLS:
            self.layer.mode = "pan_zoom"
        self._tell_mode()

    @guarded
    def _change_subject(self, workspace: "Workspace") -> None:
        """Leave the layer to the user when another folder is opened; take it up again when it is the same one."""
        if self.layer is not None and self.layer.metadata.get(KEY) == str(Path(workspace.folder)):
            self._timer.start()
            return
        if self.layer is not None:
            self.layer.visible = False
            self.layer.mode = "pan_zoom"
        self._let_go()

    @guarded
    def _to_top(self, workspace: "Workspace | None" = None) -> None:
        """Lay the paint over the anatomy, also when the same folder has been opened again."""
        names = [layer == self.layer for layer in self.viewer.layers]
        if self.layer is not None and True in names:
            self.viewer.layers.move(names.index(True), len(names))

    @guarded
    def _removed(self, event: Any) -> None:
        if self.layer is not None and event.value == self.layer:
            self._let_go()
            self.state.set_area(PAINTED, [])
            self.painted.emit(0, 0)

    def _let_go(self) -> None:
        layer, self.layer = self.layer, None
        if layer is not None:
            for event in (layer.events.paint, layer.events.data, layer.events.set_data):
                event.disconnect(self._touched)
            layer.events.mode.disconnect(self._tell_mode)
        self._tell_mode()
