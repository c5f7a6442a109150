"""Figures of a report."""

from typing import TYPE_CHECKING

from brain2pix.compute.export.figures import draw_maps
from brain2pix.compute.export.material import Material
from brain2pix.compute.parts import find_parts
from brain2pix.config.export import ExportSettings
from brain2pix.errors import Brain2PixError
from brain2pix.figures.pictures import reconstruction_figure
from brain2pix.figures.scores import score_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from brain2pix.compute.reproduce.gather import Findings
    from brain2pix.compute.reproduce.prepare import Reproduction
    from brain2pix.events import CancelToken

_SHOWN = 10  # pictures of a row
_ROWS = ("full", "images", "supervised", "excluded")


def reconstructions(reproduction: "Reproduction", found: "Findings") -> "Figure | None":
    """Draw stimuli above what the main rows made of their responses; None without any."""
    chosen = slice(0, _SHOWN)
    rows = {"stimulus": reproduction.test.images[chosen]}
    for each in found.pictures:
        if each.images is not None and each.row.name.partition(",")[0] in _ROWS:
            rows[each.row.name] = each.images[chosen]
    if len(rows) == 1:
        return None
    simulated = "simulated subject" if reproduction.subject.simulated else ""
    n = len(reproduction.test.images)
    return reconstruction_figure(rows, caption=f"the first {min(_SHOWN, n)} of {n} test images   ·   {simulated}".rstrip(" ·"))


def bars(reproduction: "Reproduction", found: "Findings", *, repeats: bool) -> "Figure | None":
    """Draw 2-way identification of each row, or of ever more repeats, by pixels and by the judge that decides; None without any."""
    names = [each.row.name for each in found.pictures if each.images is not None and _of_repeats(each.row.name) == repeats]
    scores = tuple(dict.fromkeys(("pixel 2-way", f"{found.judge} 2-way", "random 2-way")))
    lines = [line for line in found.lines if line.part == "identification" and line.row in names and line.score in scores]
    if not lines:
        return None
    title = "Averaging repeats of the test responses" if repeats else "2-way identification of each row"
    n = len(reproduction.test.images)
    simulated = "   ·   simulated subject" if reproduction.subject.simulated else ""
    return score_figure(lines, scores=scores, title=title, caption=f"N {n} images{simulated}")


def accuracy_map(maps: "Path", cancel: "CancelToken") -> "Figure | str":
    """Draw the noise-corrected accuracy on inflated and flat cortex; why not, in words, where it cannot be drawn."""
    folder = maps.parent
    try:
        settings = ExportSettings(folder=folder, out=folder, what=("maps",), maps=("accuracy",))
        material = Material(settings, find_parts(folder))
        if not {kind for _, kind in material.subject.meshes()} & set(settings.surfaces):
            return "the subject has no inflated or flat surfaces"
        return next(draw_maps(material, cancel)).figure
    except Brain2PixError as error:
        return str(error)


def _of_repeats(name: str) -> bool:
    return name.endswith((" repeat", " repeats"))
