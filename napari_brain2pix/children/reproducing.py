"""The evaluation of a paper beside the window: a child process says what would be run, and the folder says how it goes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, QUrl, Signal
from qtpy.QtGui import QDesktopServices

from brain2pix.compute.engine.states import progress_of
from brain2pix.compute.reproduce.folder import Overview, check_folder, command_of, is_reproduction, read_overview
from brain2pix.compute.runner import run_state
from brain2pix.config.base import build
from brain2pix.config.reproduce import ReproduceParams
from brain2pix.errors import Brain2PixError, ComputeError
from brain2pix.events import Progress
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import Check, disk_check, free_folder
from napari_brain2pix.children.child import Errand
from napari_brain2pix.children.importing import Look, in_window
from napari_brain2pix.children.record import duration
from napari_brain2pix.children.table import GOING

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.jobs import JobRunner

LOOK_MS = 700  # between looks at the folder
DESCRIBE = ["-m", "brain2pix.compute.reproduce.describe"]
LOOK_ENDED = "the look at the subject ended without a word: perhaps the memory ran out"
NOT_YET = "the time that is left can be told when a cell of each kind is done"


class PlanLook(Look):
    """Asks a child process what a reproduction would run and what is missing."""

    command, not_begun, ended = DESCRIBE, "what would be run could not be found out", LOOK_ENDED


class Follower(QObject):
    """Watches the folder of a reproduction, whoever works on it.

    Signals
    -------
    changed : something is new, see the attributes

    Parameters
    ----------
    state : State, for reporting problems
    runner : JobRunner, its job may be the one that is followed

    Attributes
    ----------
    out : Path or None, folder that is followed
    overview : Overview or None, before its cells are known
    standing : str, as of `JobRunner`
    error : str, for the user
    """

    changed = Signal()

    def __init__(self, state: "State", runner: "JobRunner", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state, self.runner = state, runner
        self.out: Path | None = None
        self.overview: Overview | None = None
        self.standing, self.error = "", ""
        self._words = ""
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self.look)
        runner.changed.connect(self._job_changed)

    @property
    def going(self) -> bool:
        """Whether it waits or runs."""
        return self.standing in GOING

    def follow(self, out: Path) -> None:
        """Watch a folder from now on."""
        if out != self.out:
            self.out, self.overview, self.standing, self.error = out, None, "", ""
        self.look()

    def stop(self) -> None:
        """Watch nothing."""
        self._timer.stop()
        self.out = None

    @guarded
    def look(self) -> None:
        """Read how it stands; whoever listens hears it if something is new."""
        if self.out is None:
            return
        before = (self.standing, self.error, self.overview, self._words)
        try:
            standing = self._stands(self.out)
            # once nobody works on it, cells may have been removed by hand
            kept = self.overview if standing in GOING and self.going else None
            self.overview = read_overview(self.out, before=kept) if (self.out / "reproduce.json").is_file() else None
            self.standing, self.error = standing, self._why(self.out, standing)
        except Brain2PixError as error:
            self.standing, self.error, self.overview = "failed", str(error), None
        self._words = self._doing()
        if self.going != self._timer.isActive():
            self._timer.start() if self.going else self._timer.stop()
        if before != (self.standing, self.error, self.overview, self._words):
            self.changed.emit()

    def describe(self) -> str:
        """Say what is being done and how long the cells will take."""
        return self._words

    @guarded
    def _job_changed(self, folder: str, standing: str) -> None:
        if folder == str(self.out):
            self.look()

    def _stands(self, out: Path) -> str:
        if self.runner.folder == out and self.runner.standing:
            return self.runner.standing
        rows = self.runner.engine.rows if self.runner.engine is not None else []
        row = next((row for row in rows if row.folder == out), None)
        return row.standing if row is not None else run_state(RunFolder(out))

    def _why(self, out: Path, standing: str) -> str:
        if standing not in ("failed", "interrupted"):
            return ""
        return (self.runner.error if self.runner.folder == out else "") or str(RunFolder(out).read_status().get("error") or "")

    def _doing(self) -> str:
        if self.out is None or self.standing not in ("running", "stopping"):
            return ""
        match progress_of(self.out):
            case Progress("report", done, total):
                return f"writing the report: {done:,} of {total:,} rows"
        if self.overview is None:
            return "opening the subject …"
        return describe_running(self.overview)


class ReportWriter(Errand):
    """Writes the report of what is there, in a child process; when it is stopped the report that was there before stays."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__("the report", parent)

    def write(self, params: dict[str, Any], out: Path) -> None:
        """Begin.

        Parameters
        ----------
        params : dict of `ReproduceParams`, JSON values
        out : Path
        """
        self.start("brain2pix.cli", [*command_of(build(ReproduceParams, params), out), "--report-only"])


def open_report(report: Path) -> None:
    """Open a report in the browser.

    Raises
    ------
    ComputeError
        If nothing on this computer opens it.
    """
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(report))):
        raise ComputeError(f"no program of this computer opens {report}; open it in a browser")


def describe_running(found: Overview) -> str:
    """Say which jobs run, how far they are, and how long the cells will take."""
    words = []
    for cell in (cell for cell in found.cells if cell.doing):
        match progress_of(cell.run.parent / cell.doing):
            case Progress(stage, done, total, label):
                words.append(f"{cell.title}: {cell.doing}, {stage}{f' {label}' if label else ''} {done:,} of {total:,}")
            case _:
                words.append(f"{cell.title}: {cell.doing}")
    left_s = found.left_s()
    left = NOT_YET if left_s is None else f"about {duration(left_s)} left for the cells, then the report" if left_s else ""
    return "<br>".join(word for word in (*words, left) if word)


def free_or_same(wanted: Path, params: ReproduceParams, data: Path) -> Path:
    """Folder of this very reproduction, to go on in, else a free one of that name."""
    try:
        if is_reproduction(wanted):
            check_folder(wanted, params, data)
            return wanted
    except Brain2PixError:
        pass
    return free_folder(wanted)


def plan_checks(found: dict[str, Any], out: Path) -> list[Check]:
    """Say what a reproduction would run, what stands against it, and what its report will lack.

    Parameters
    ----------
    found : dict, answer of a `PlanLook`
    out : Path
    """
    if "error" in found:
        return [Check("stop", in_window(found["error"]))]
    seen = read_overview(out, found)
    there = f"; {seen.n_finished} are done and stay" if seen.n_finished else ""
    checks = [Check("good", f"{len(seen.cells)} cells with {seen.n_jobs} jobs, preset {seen.preset}{there}")]
    checks += [Check("stop", in_window(why)) for why in found["weights"]]
    if found["folder"]:
        checks.append(Check("stop", found["folder"]))
    disk = disk_check(out)
    checks += [disk] if disk.level != "good" else []
    if seen.simulated:
        checks.append(Check("mind", "simulated subject: no number of the report can be compared with a published one"))
    return checks
