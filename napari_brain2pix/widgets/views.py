"""Where to look: volume and its planes, or one of the surfaces."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_brain2pix._guard import guarded
from napari_brain2pix.widgets._parts import Choice, Note

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.brain.scene import Scene
    from napari_brain2pix.folders.workspace import Workspace


class ViewBar(QWidget):
    """Views of the brain; those that the subject has no meshes for say so.

    Parameters
    ----------
    state : State
    scene : Scene, asked which views the subject has
    """

    def __init__(self, state: "State", scene: "Scene") -> None:
        super().__init__()
        self.state, self.scene = state, scene
        self.view = Choice({"volume": "Volume", "inflated": "Inflated", "flat": "Flat", "sphere": "Sphere"})
        self.plane = Choice({"axial": "Axial", "coronal": "Coronal", "sagittal": "Sagittal", "3d": "3-D"})
        self.note = Note()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        for widget in (self.view, self.plane, self.note):
            box.addWidget(widget)
        self.view.chosen.connect(self._choose_view)
        self.plane.chosen.connect(self._choose_plane)
        state.opened.connect(self._show)
        state.view_changed.connect(self._show_view)
        self.note.hide()
        self.hide()  # until there is something to look at

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        reasons = []
        for view, button in self.view.buttons.items():
            possible = view == "volume" or self.scene.cortex.has(view)
            button.setEnabled(possible)
            reason = self.scene.cortex.missing.get(view, "")
            if not possible and reason:
                reasons.append(f"{button.text()}: {reason}")
        self.note.say("<br>".join(dict.fromkeys(reasons)))
        self.note.setVisible(bool(reasons))
        self.show()

    @guarded
    def _show_view(self, view: str, plane: str) -> None:
        self.view.set_current(view)
        self.plane.set_current(plane)
        self.plane.setVisible(view == "volume")

    @guarded
    def _choose_view(self, view: str) -> None:
        self.state.set_view(view)

    @guarded
    def _choose_plane(self, plane: str) -> None:
        self.state.set_view("volume", plane)
