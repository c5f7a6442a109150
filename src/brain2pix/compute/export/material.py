"""What an export draws from: opened once, when first asked for."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from brain2pix.compute.parts import Parts, read_pictures
from brain2pix.data.maps import StoredMaps, read_imported
from brain2pix.data.subject import Subject, open_subject
from brain2pix.data.voxel_accuracy import read_voxel_accuracy, with_voxel_accuracy
from brain2pix.figures.views import MapKind, map_kinds, threshold_range
from brain2pix.stimulation.record import StimulationRecord, read_record

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.config.export import ExportSettings


@dataclass(frozen=True)
class Drawn:
    """One figure, not yet written.

    Parameters
    ----------
    name : str, of its files, without an ending
    figure : Figure
    caption : str
    facts : dict, JSON values for the sidecar: what is shown, and of how many
    settings : ExportSettings that make this figure alone
    """

    name: str
    figure: "Figure"
    caption: str
    facts: dict[str, Any]
    settings: "ExportSettings"


@dataclass
class Material:
    """Subject, maps, pictures and record of an export.

    Parameters
    ----------
    settings : ExportSettings
    parts : Parts
    """

    settings: "ExportSettings"
    parts: Parts

    @cached_property
    def subject(self) -> Subject:
        """The subject."""
        return open_subject(self.parts.subject, self.parts.subject_name)

    @cached_property
    def stored(self) -> StoredMaps:
        """Maps as their folder holds them."""
        assert self.parts.maps is not None
        return read_imported(self.parts.maps)

    @cached_property
    def map(self) -> "RetinotopicMap":
        """What is known of all voxels of the subject, [v]: receptive fields, and how well they are predicted."""
        stored = None if self.parts.maps is None else self.stored.on(self.subject)
        found = with_voxel_accuracy(stored, self.parts.accuracy, self.subject)
        assert found is not None
        return found

    @cached_property
    def predicted(self) -> "RetinotopicMap":
        """How well voxels are predicted: by the evaluation in the folder, else as the maps have it."""
        if self.parts.accuracy is None:
            return self.map
        return read_voxel_accuracy(self.parts.accuracy, self.subject).beside(None, self.subject.field_of_view_deg)

    @cached_property
    def kinds(self) -> dict[str, MapKind]:
        """Kinds of map that there are, by their short names, in the order in which the window offers them."""
        return {kind.kind: kind for kind in map_kinds(self.map).values()}

    @property
    def threshold(self) -> float:
        """Least quality of what is shown."""
        return threshold_range(self.map)[1] if self.settings.threshold is None else self.settings.threshold

    @cached_property
    def pictures(self) -> "tuple[list[str], NDArray[np.uint8], NDArray[np.uint8]]":
        """Stimulus ids, stimuli and reconstructions."""
        return read_pictures(self.parts, self.subject)

    @cached_property
    def record(self) -> StimulationRecord:
        """Record of the stimulation."""
        assert self.settings.record is not None
        return read_record(self.settings.record)

    @property
    def width(self) -> float:
        """Width of the figures, inches."""
        return self.settings.width_mm / 25.4

    def name(self, stem: str) -> str:
        """Name of a file, without its ending."""
        return f"{self.subject.name}_{stem}"

    def only(self, **changes: Any) -> "ExportSettings":
        """Narrow the settings to one figure: everything that decides how it looks is said, nothing is left to a default."""
        values = {"maps": (), "images": (), "record": None, "overwrite": False, "whole_maps": True, **changes}
        return self.settings.model_copy(update=values)
