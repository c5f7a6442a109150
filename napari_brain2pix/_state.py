"""What the user has chosen. Panels change it and listen to it; no panel knows another."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from brain2pix.data.regions import default_region, region_mask
from brain2pix.errors import Brain2PixError
from napari_brain2pix._steps import STEPS
from napari_brain2pix.brain.maps import MapKind, MapView, map_kinds, map_view, threshold_range
from napari_brain2pix.folders.workspace import Workspace, open_workspace, with_split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_brain2pix.children.stimulation import Stimulation

MEAN = "mean"  # the base "average response" in the protocol of the live decoder
CAPTION_WIDTH = 60  # letters of a line under the brain
PAINTED, SELECTED, RECORDED = "painted", "selected", "recorded"  # areas that the user makes


@dataclass(frozen=True)
class Region:
    """A region expression and what it selects; `problem` says why it selects nothing."""

    text: str
    mask: "NDArray[np.bool_]"
    problem: str = ""


@dataclass(frozen=True)
class Selection:
    """Voxels that the user pointed at, wherever that was: every view marks the same rows.

    Parameters
    ----------
    rows : int array, [n], rows of the subject's voxel table, rising; empty for none
    source : "volume", "surface", "field", or empty after clearing
    place : str, where the user pointed, for people
    """

    rows: "NDArray[np.int64]" = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    source: str = ""
    place: str = ""


class State(QObject):
    """The opened workspace and everything chosen in it.

    Signals
    -------
    opening : Workspace, for the scene: the panels ask it what can be shown
    opened : Workspace, for the panels
    split_changed : Workspace, the same with the images of another split
    view_changed : view, plane
    map_changed : MapView or None
    region_changed : Region
    base_changed : stimulus id, or "mean"; which of its trials is in `repeat`
    stimulation_changed : Stimulation that is shown, or None
    selection_changed : Selection
    step_changed : str, one of `STEPS`
    busy : str, what the window will be blocked by for a moment; empty when it is over
    problem : str, for the user; empty when it is over
    """

    opening = Signal(object)
    opened = Signal(object)
    split_changed = Signal(object)
    view_changed = Signal(str, str)
    map_changed = Signal(object)
    region_changed = Signal(object)
    base_changed = Signal(str)
    stimulation_changed = Signal(object)
    selection_changed = Signal(object)
    step_changed = Signal(str)
    busy = Signal(str)
    problem = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.workspace: Workspace | None = None
        self.kinds: dict[str, MapKind] = {}
        self.kind: MapKind | None = None
        self.threshold = 0.0
        self.found: MapView | None = None
        self.region = Region("", np.zeros(0, dtype=bool))
        self.view, self.plane = "volume", "axial"
        self.base = ""
        self.repeat: int | None = None
        self.extra: dict[str, NDArray[np.bool_]] = {}
        self.stimulation: Stimulation | None = None
        self.selection = Selection()
        self.step = next(iter(STEPS))

    def open(self, path: Path) -> None:
        """Open a folder; on an error what was open stays.

        Raises
        ------
        Brain2PixError
        """
        self.busy.emit(f"Opening {Path(path).name} …")
        try:
            self._open(Path(path))
        finally:
            self.busy.emit("")

    def _open(self, path: Path) -> None:
        before = self.workspace
        workspace = open_workspace(path, before.split if before is not None and path.expanduser().absolute() == before.folder else None)
        self.workspace = workspace
        self.kinds = map_kinds(workspace.map) if workspace.map is not None else {}
        self.kind = next(iter(self.kinds.values()), None)
        self.threshold = threshold_range(workspace.map)[1] if workspace.map is not None else 0.0
        self.found = self._found()
        ids = workspace.pictures.stimulus_ids
        self.base, self.repeat, self.extra = ids[0] if ids else MEAN, None, {}
        self.stimulation = None
        self.problem.emit("")
        self.opening.emit(workspace)
        self.opened.emit(workspace)
        self.set_region(first_region(workspace.subject.areas))
        self.base_changed.emit(self.base)
        self.clear_selection()

    def set_step(self, name: str) -> None:
        """Turn to a step of the work."""
        if name in STEPS:
            self.step = name
            self.step_changed.emit(name)

    def set_view(self, view: str, plane: str | None = None) -> None:
        """Choose "volume", "inflated", "flat" or "sphere", and for the volume "axial", "coronal", "sagittal" or "3d"."""
        self.view, self.plane = view, plane or self.plane
        self.view_changed.emit(self.view, self.plane)

    def set_kind(self, name: str) -> None:
        """Choose a map by its name."""
        if name in self.kinds:
            self.kind = self.kinds[name]
            self._remap()

    def set_threshold(self, value: float) -> None:
        """Choose the least quality."""
        self.threshold = value
        self._remap()

    def set_region(self, text: str) -> None:
        """Choose voxels by an expression; a bad one is kept with its problem and selects nothing."""
        if self.workspace is None:
            return
        subject = self.workspace.subject
        try:
            self.region = Region(text, np.asarray(region_mask(text, {**subject.areas, **self.extra}), dtype=bool))
        except Brain2PixError as error:
            self.region = Region(text, np.zeros(len(subject.voxels), dtype=bool), str(error))
        self.region_changed.emit(self.region)

    def set_area(self, kind: str, rows: "Sequence[int] | NDArray[np.integer]") -> str:
        """Give an area of the user's own its voxels, by their rows; the region follows if it names the area.

        Returns
        -------
        str, its name in expressions: `kind`, unless the subject has an area of that name
        """
        if self.workspace is None:
            return kind
        name, mask = self.name_of(kind), np.zeros(len(self.workspace.subject.voxels), dtype=bool)
        mask[np.asarray(rows, dtype=np.int64)] = True
        self.extra = {**self.extra, name: mask}
        if self.mentions(kind):
            self.set_region(self.region.text)
        return name

    def name_of(self, kind: str) -> str:
        """Name in expressions of an area of the user's own."""
        return f"{kind}_here" if self.workspace is not None and kind in self.workspace.subject.areas else kind

    def mentions(self, kind: str) -> bool:
        """Whether the region expression names an area of the user's own."""
        return re.search(rf"(?<![\w.]){re.escape(self.name_of(kind))}(?![\w.])", self.region.text) is not None

    def set_split(self, split: str) -> None:
        """Show the images of another split, and what was made of their responses."""
        if self.workspace is None or split == self.workspace.split:
            return
        self.workspace = with_split(self.workspace, split)
        self.split_changed.emit(self.workspace)
        ids = self.workspace.pictures.stimulus_ids
        self.set_base(ids[0] if ids else MEAN)

    def set_base(self, name: str, repeat: int | None = None) -> None:
        """Choose a test image (the mean of its repeats, or one of them, from 1), or the mean response."""
        self.base, self.repeat = name, repeat
        self.base_changed.emit(name)

    def set_stimulation(self, stimulation: "Stimulation | None") -> None:
        """Note what the stimulated picture shows."""
        self.stimulation = stimulation
        self.stimulation_changed.emit(stimulation)

    def select(self, rows: "Sequence[int] | NDArray[np.integer]", source: str, place: str = "") -> None:
        """Choose voxels by their rows in the subject's voxel table, also hidden ones and those without a receptive field."""
        self.selection = Selection(np.unique(np.asarray(rows, dtype=np.int64)), source, place)
        self.selection_changed.emit(self.selection)

    def clear_selection(self) -> None:
        """Choose no voxel."""
        self.selection = Selection()
        self.selection_changed.emit(self.selection)

    def _remap(self) -> None:
        self.found = self._found()
        self.map_changed.emit(self.found)

    def _found(self) -> MapView | None:
        if self.workspace is None or self.workspace.map is None or self.kind is None:
            return None
        return map_view(self.workspace.map, self.kind, self.threshold)

    def caption(self) -> str:
        """Say what is on the canvas, with the threshold and where the data come from."""
        if self.workspace is None:
            return ""
        simulated = "simulated data" if self.workspace.subject.simulated else ""
        if self.found is None or self.workspace.map is None:
            return simulated
        parts = (self.found.kind.name, simulated, f"quality ≥ {self.threshold:.2f}")
        return " · ".join(part for part in parts if part) + f"\n{fill(self.workspace.map.source, CAPTION_WIDTH)}"


def first_region(areas: "dict[str, NDArray[np.bool_]]") -> str:
    """V1 of one hemisphere: its stimulation changes one half of the picture."""
    if all(name in areas for name in ("V1", "L")) and (areas["V1"] & areas["L"]).any():
        return "V1 & L"
    return default_region(areas)
