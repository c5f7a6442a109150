"""From wishes of the page to pictures and numbers: asks the live decoder, and gives its answers to the page and to the pictures."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from brain2pix.arrays import SubjectInfo
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.live import picture_bytes
from napari_brain2pix.children.stimulation import Stimulation, describe_request
from napari_brain2pix.widgets._parts import picture_of

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.live import LiveDecoder
    from napari_brain2pix.folders.workspace import Workspace
    from napari_brain2pix.widgets.gallery import Gallery
    from napari_brain2pix.widgets.stimulate import StimulatePanel

NOTHING = {"region": None, "mode": "add", "amplitude": 0.0}  # responses as they are
BASE = ("stimulus_id", "repeat", "split")
PLACE = (*BASE, "region", "areas")  # an answer about another place is out of date; one about another amplitude is on the way


class Stimulating(QObject):
    """Keeps page, decoder and pictures together.

    Parameters
    ----------
    state : State
    live : LiveDecoder
    panel : StimulatePanel
    gallery : Gallery
    """

    def __init__(
        self, state: "State", live: "LiveDecoder", panel: "StimulatePanel", gallery: "Gallery", parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.state, self.live, self.panel, self.gallery = state, live, panel, gallery
        self._asked_base: tuple[Any, ...] = ()
        self._result = ""
        self._info: SubjectInfo | None = None
        state.opening.connect(self._leave)
        panel.wanted.connect(self._want)
        panel.unwanted.connect(self._do_not_want)
        panel.restart.connect(self.start)
        live.ready.connect(self._ready)
        live.answered.connect(self._answered)
        live.measured.connect(self._measured)
        live.busy_changed.connect(self._busy)
        live.died.connect(self._died)

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is on the screen, or has failed with a message."""
        if not self.live.running or self.panel.notice.text():
            return True
        shown = self.state.stimulation
        return self.gallery.pictures["difference"].pixels is not None and shown is not None and bool(shown.measures)

    @guarded
    def start(self) -> None:
        """Start the decoder of the model that is open."""
        workspace = self.state.workspace
        if workspace is None or workspace.model is None:
            return
        self._asked_base = ()
        self.panel.set_model(None)
        self.live.start(workspace.model, workspace.subject_folder)
        self.panel.show_state("Loading the model …")
        self._want(self.panel.request())

    def move_to(self, server: str) -> None:
        """Get pictures from another place.

        Parameters
        ----------
        server : str, name or connection file of a compute server; empty: a child process
        """
        if server == self.live.server:
            return
        self.live.server = server
        if self.live.running:
            self.start()

    @guarded
    def _leave(self, workspace: "Workspace") -> None:
        self.live.stop()
        self._asked_base, self._result = (), ""
        self.panel.set_model(None)
        self.panel.show_stimulation(None)

    @guarded
    def _ready(self, greeting: dict[str, Any]) -> None:
        self._info = SubjectInfo.from_dict(greeting["info"])
        self.panel.set_model(self._info)

    @guarded
    def _want(self, request: dict[str, Any]) -> None:
        if not self.live.running or not request["region"]:
            return
        base = tuple(request[key] for key in BASE)
        if self._asked_base != base:
            self._asked_base = base
            self.live.request("base", {**{key: request[key] for key in BASE}, **NOTHING})
        self.live.request("stimulated", request)

    @guarded
    def _do_not_want(self, why: str) -> None:
        self.live.forget("stimulated")
        self._result = ""
        self.panel.show_state("")
        self._show_nothing(why)

    def _show_nothing(self, why: str) -> None:
        self.gallery.clear_stimulated(why)
        self._note(None)

    def _note(self, stimulation: Stimulation | None) -> None:
        self.panel.show_stimulation(stimulation)
        self.state.set_stimulation(stimulation)

    @guarded
    def _answered(self, purpose: str, request: dict[str, Any], answer: dict[str, Any]) -> None:
        wanted = self.panel.request()
        place = BASE if purpose == "base" else PLACE
        if any(request[key] != wanted[key] for key in place):
            return  # something else was chosen meanwhile
        if answer.get("error"):
            self._result = ""
            self.panel.show_state("")
            self.panel.show_problem(str(answer["error"]))
            self._show_nothing("nothing to show: see the message on the right")
            return
        png = picture_bytes(answer)
        if png is None:
            return
        self.panel.show_problem("")
        if purpose == "base":
            self._show_base(png, request)
        else:
            self._show_stimulated(png, request, answer)

    def _show_base(self, png: bytes, request: dict[str, Any]) -> None:
        self.gallery.show_reconstruction(picture_of(png))
        if request["repeat"] is not None:
            picture = self.gallery.pictures["reconstruction"]
            picture.show_picture(picture.pixels, f"from its repeat {request['repeat']} alone")

    def _show_stimulated(self, png: bytes, request: dict[str, Any], answer: dict[str, Any]) -> None:
        workspace, greeting = self.state.workspace, self.live.greeting
        self.gallery.show_stimulated(picture_of(png), describe_request(request))
        self._result = f"{answer.get('n_voxels', 0):,} voxels of the model stimulated, {1000 * answer.get('seconds', 0):.0f} ms."
        if workspace is not None and greeting is not None and self._info is not None:
            self._note(Stimulation(request, self._info, greeting["method"], str(workspace.model)))

    @guarded
    def _measured(self, request: dict[str, Any], measures: dict[str, Any]) -> None:
        shown = self.state.stimulation
        if shown is not None and shown.request is request:
            self._note(Stimulation(request, shown.info, shown.method, shown.model, measures))

    @guarded
    def _busy(self, busy: bool) -> None:
        self.panel.show_state("Decoding …" if busy else self._result)

    @guarded
    def _died(self, why: str) -> None:
        self.panel.show_state("")
        self.panel.show_problem(why, "Restart")
        self.panel.set_model(None)
