"""Which reconstructions are compared, and in which order their images are shown. The gallery and the Decode page both listen to it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from brain2pix.data.image_scores import SCORES, Mean
from brain2pix.errors import Brain2PixError
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.child import Errand
from napari_brain2pix.folders.pictures import Pictures, runs_to_add, score_again

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_brain2pix._state import State
    from napari_brain2pix.folders.pictures import Run
    from napari_brain2pix.folders.workspace import Workspace

MOST = 4  # runs whose pictures are shown at once
SORTS = {"name": "Name", "best": "Best first", "worst": "Worst first"}


class Comparison(QObject):
    """Runs that are compared, and the order of the images.

    Signals
    -------
    changed : which runs there are, which are shown, or their scores
    ordered : which images are shown in which order
    scoring : bool, whether scores are being computed
    said : str, what could not be done and why; empty when it is over
    """

    changed = Signal()
    ordered = Signal()
    scoring = Signal(bool)
    said = Signal(str)

    def __init__(self, state: "State", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.pictures = Pictures([], np.empty((0, 1, 1, 3), dtype=np.uint8))
        self.runs: dict[str, Run] = {}
        self.shown: list[str] = []  # keys of the runs whose pictures are shown, in the order of `runs`
        self.lead = ""  # key of the run that the thumbnails show and that decides the order
        self.score, self.sort, self.text = next(iter(SCORES)), "name", ""
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._folder: Path | None = None
        self._added: list[Path] = []
        self.scorer = Errand("scoring", self)  # thousands of pictures must not hold up the window
        self.scorer.ended.connect(self._scored)
        state.opened.connect(self._open)
        state.split_changed.connect(self._open)

    # -- what is there

    @property
    def leading(self) -> "Run | None":
        """Run that the thumbnails show."""
        return self.runs.get(self.lead)

    @property
    def shown_runs(self) -> "list[Run]":
        """Runs whose pictures are shown."""
        return [self.runs[key] for key in self.shown]

    @property
    def unscored(self) -> "list[Run]":
        """Runs without scores."""
        return [run for run in self.runs.values() if run.scores is None]

    def value(self, run: "Run | None", row: int, score: str = "") -> float:
        """Score of one reconstruction; NaN if it was not scored."""
        return float(run.scores.values[score or self.score][row]) if run is not None and run.scores is not None else np.nan

    def mean(self, run: "Run", score: str) -> Mean | None:
        """Mean score of a run; None if it was not scored."""
        return run.scores.means.get(score) if run.scores is not None else None

    def chance(self, score: str) -> float:
        """Chance level of a score on these images; NaN if nothing was scored."""
        scored = [run for run in self.runs.values() if run.scores is not None]
        return scored[0].scores.chance(score) if scored and scored[0].scores is not None else SCORES[score].chance or np.nan

    # -- what the user chooses

    def show_run(self, key: str, on: bool) -> None:
        """Show the pictures of a run, or no longer; more than `MOST` are refused with a word."""
        wanted = [name for name in self.runs if (name in self.shown or name == key) and (on or name != key)]
        self.said.emit(f"At most {MOST} runs are shown at once; take the mark off another one first." if len(wanted) > MOST else "")
        if len(wanted) <= MOST:
            self.shown = wanted
            self.lead = self.lead if self.lead in wanted else next(iter(wanted), "")
        self.changed.emit()
        self._order()

    def lead_with(self, key: str) -> None:
        """Let the thumbnails show a run, if it is among those that are shown; choosing a line must not set its mark."""
        if key not in self.runs or key == self.lead:
            return
        if key not in self.shown:
            self.said.emit(f"Mark “{self.runs[key].title}” to see its pictures.")
            return
        self.said.emit("")
        self.lead = key
        self.changed.emit()
        self._order()

    def set_score(self, name: str) -> None:
        """Choose the score that is written below the thumbnails and that images are sorted by."""
        self.score = name
        self.changed.emit()
        self._order()

    def set_sort(self, name: str) -> None:
        """Sort images by "name", or "best" or "worst" first."""
        self.sort = name
        self._order()

    def set_text(self, text: str) -> None:
        """Show only images whose id has this text in it."""
        self.text = text
        self._order()

    def add(self, folder: Path) -> None:
        """Compare with the runs of another folder.

        Raises
        ------
        Brain2PixError
            If they are about something else.
        """
        workspace = self.state.workspace
        if workspace is None:
            return
        found = runs_to_add(folder, workspace.subject, self.pictures.stimulus_ids, self.pictures.split)
        fresh = [run for run in found if run.key not in self.runs]
        self.said.emit("" if fresh else f"{folder} is in the list already.")
        self.runs |= {run.key: run for run in fresh}
        self._added += [folder] if fresh else []
        self.shown += [run.key for run in fresh][: max(MOST - len(self.shown), 0)]
        self.lead = self.lead or next(iter(self.shown), "")
        self.changed.emit()
        self._order()

    def start_scoring(self) -> None:
        """Score what was not scored, in a child process."""
        workspace = self.state.workspace
        sources = list(dict.fromkeys(run.source for run in self.unscored))
        if workspace is not None and sources:
            self.said.emit("")
            self.scorer.start("brain2pix.compute.image_scores", [str(workspace.subject.path), *map(str, sources)])
            self.scoring.emit(True)

    def stop(self) -> None:
        """End the child."""
        self.scorer.stop()

    # -- what happens

    @guarded
    def _open(self, workspace: "Workspace") -> None:
        self.scorer.stop()
        self.scoring.emit(False)
        self.pictures = workspace.pictures
        again = self._added if workspace.folder == self._folder else []
        self._folder, self._added = workspace.folder, []
        self.runs = {run.key: run for run in workspace.pictures.runs}
        self.shown = list(self.runs)[:2]
        self.lead = next(iter(self.shown), "")
        self.text = ""
        self.said.emit("")
        self.changed.emit()
        self._order()
        for folder in again:
            try:
                self.add(folder)
            except (Brain2PixError, OSError, ValueError, KeyError) as error:  # not decoded on this split: it may be on the next
                self._added.append(folder)
                self.said.emit(str(error))

    @guarded
    def _scored(self, error: str) -> None:
        if error:
            self.scoring.emit(False)
            self.said.emit(f"The scores could not be computed: {error}")
            return
        ids = self.pictures.stimulus_ids
        self.runs = {key: score_again(run, ids) for key, run in self.runs.items()}
        self.scoring.emit(False)
        self.changed.emit()
        self._order()

    def _order(self) -> None:
        ids = self.pictures.stimulus_ids
        wanted = self.text.strip().lower()
        rows = np.array([row for row, name in enumerate(ids) if wanted in name.lower()], dtype=np.int64)
        lead = self.leading
        if self.sort != "name" and lead is not None and lead.scores is not None and len(rows):
            values = lead.scores.values[self.score][rows]
            sign = -1.0 if self.sort == "best" else 1.0
            rows = rows[np.argsort(sign * values, kind="stable")]  # NaN goes last
        self.rows = rows
        self.ordered.emit()

    def words(self, row: int) -> str:
        """Name of an image and its scores in all runs that are shown, one line each."""
        lines = [self.pictures.stimulus_ids[row]]
        for run in self.shown_runs:
            values = {score: self.value(run, row, score) for score in SCORES}
            told = ", ".join(f"{SCORES[score].short} {written(score, value)}" for score, value in values.items())
            lines.append(f"{run.title}: {told if run.scores is not None else 'not scored'}")
        return "\n".join(lines)


def written(score: str, value: Any) -> str:
    """Write a score as people read it."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{100 * value:.0f} %" if score == "beaten" else f"{value:.2f}"
