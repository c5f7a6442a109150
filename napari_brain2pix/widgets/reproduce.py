"""Reproduce a paper: ask what is needed, say what will be run and what is missing, run it, and open its report and its runs."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from brain2pix.compute.reproduce.folder import make_ready, read_overview
from brain2pix.config.base import build
from brain2pix.config.reproduce import PAPERS, ReproduceParams
from brain2pix.errors import Brain2PixError, ComputeError, ConfigError, MissingDataError
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.checks import SIGNS, Check
from napari_brain2pix.children.engine import LOCAL, PLAIN
from napari_brain2pix.children.importing import in_window
from napari_brain2pix.children.reproducing import Follower, PlanLook, ReportWriter, open_report, plan_checks
from napari_brain2pix.widgets._parts import Note, Notice, row
from napari_brain2pix.widgets._reproduce_form import ReproduceForm
from napari_brain2pix.widgets._reproduce_tree import ReproduceTree
from napari_brain2pix.widgets.jobs import WORDS

if TYPE_CHECKING:
    from brain2pix.compute.reproduce.folder import CellView
    from napari_brain2pix._state import State
    from napari_brain2pix.children.devices import DeviceQuestion
    from napari_brain2pix.children.jobs import JobRunner

INTRO = (
    "Runs the evaluation of a published paper on the open subject: its trainings, their scores, and one report beside the published "
    "numbers. It can be stopped and gone on with at any time, also after the window was closed."
)
LOOKING = "… looking at the subject"
BUSY = "A job is going on, see the Jobs tab; one runs at a time."


class ReproducePage(QWidget):
    """Page that runs a paper's evaluation as a job, and follows it.

    It can be shown or hidden at any time: an evaluation that is going on is not disturbed.

    Signals
    -------
    closed : the user wants the page away
    grown : its height has changed
    open_wanted : str, run folder of a cell, to be opened in the window

    Parameters
    ----------
    state : State
    runner : JobRunner
    devices : DeviceQuestion
    """

    closed = Signal()
    grown = Signal()
    open_wanted = Signal(str)

    def __init__(self, state: "State", runner: "JobRunner", devices: "DeviceQuestion") -> None:
        super().__init__()
        self.state, self.runner, self.devices = state, runner, devices
        self.look, self.writer = PlanLook(state, self), ReportWriter(self)
        self.follower = Follower(state, runner, self)
        self.form, self.tree = ReproduceForm(state), ReproduceTree()
        self.intro, self.findings, self.missing = Note(INTRO), Note(), Note()
        self.head, self.standing, self.step, self.notice = Note(), Note(), Note(), Notice()
        self.bar = QProgressBar()
        self.start_button, self.stop_button, self.resume_button = QPushButton("Start"), QPushButton("Stop"), QPushButton("Go on")
        self.report_button, self.run_button = QPushButton("Open report"), QPushButton("Open run")
        self.write_button, self.another_button, self.close_button = (
            QPushButton("Write report"),
            QPushButton("Another…"),
            QPushButton("Close"),
        )
        self.checks: list[Check] = []
        self._found: dict[str, Any] = {}  # the last answer
        self._asked: tuple[ReproduceParams, Path] | None = None  # what it answers
        self._asks_anew = False  # the user wants another one, although one goes on
        self._devices = ["cpu"]
        self._lay_out()
        self._connect()
        self._show()

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(6)
        for widget in (self.intro, self.form, self.head, self.standing, self.bar, self.step, self.notice, self.findings):
            box.addWidget(widget)
        # above the list, which may be long
        box.addLayout(row(self.start_button, self.stop_button, self.resume_button, self.report_button, self.run_button))
        box.addLayout(row(self.write_button, self.another_button, self.close_button))
        for widget in (self.tree, self.missing):
            box.addWidget(widget)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.setAccessibleName("Progress of the evaluation")
        self.report_button.setToolTip("Opens report.html in the browser")
        self.run_button.setToolTip("Opens the chosen cell's run: its model, maps and pictures (or double-click the cell)")
        self.write_button.setToolTip("Writes the report from the cells that are done; what lacks is marked missing")
        self.another_button.setToolTip("Ask for another evaluation; this one stays as it is")

    def _connect(self) -> None:
        self.form.changed.connect(self._ask)
        self.form.grown.connect(self.grown)
        self.look.began.connect(self._show)
        self.look.answered.connect(self._take_answer)
        self.follower.changed.connect(self._show)
        self.writer.ended.connect(self._report_written)
        self.tree.run_wanted.connect(self._open_run)
        self.tree.chosen.connect(self._show_run_button)
        self.devices.answered.connect(self._take_devices)
        self.runner.changed.connect(self._job_changed)
        self.runner.cleared.connect(self._job_shown)
        for button, slot in (
            (self.start_button, self.start),
            (self.stop_button, self._stop),
            (self.resume_button, self._go_on),
            (self.report_button, self._open_report),
            (self.run_button, self._open_chosen),
            (self.write_button, self._write_report),
            (self.another_button, self._ask_anew),
            (self.close_button, self.closed),
        ):
            button.clicked.connect(slot)

    @property
    def following(self) -> bool:
        """Whether it shows an evaluation that was begun, and does not ask for one."""
        return self.follower.out is not None

    # -- what is asked for

    @guarded
    def showEvent(self, event: Any) -> None:
        """Look around when the page comes into sight: something may have changed meanwhile."""
        super().showEvent(event)
        self.devices.ask()
        if not self.following and not self._asks_anew:
            self._find_going()
        if self.following:
            self.follower.look()
        else:
            self._ask()

    @guarded
    def _ask(self) -> None:
        """Ask what would be run, once the settings are good."""
        if self.following or not self.isVisible():
            return
        self._found, self.checks = {}, []
        self.form.offer_devices(self._devices, self._elsewhere)
        try:
            params = self.form.params()
            out = self.form.place(params)
        except Brain2PixError as error:
            self.look.drop()
            self._asked = None
            self.checks = [Check("stop", str(error))]
        else:
            self._asked = (params, out)
            self.form.show_place(out, params)
            self.look.ask({**params.model_dump(mode="json"), "out": str(out)})
        self._show()

    @guarded
    def _take_answer(self, found: dict[str, Any]) -> None:
        if self._asked is not None and not self.following:
            self._found = found
            self.checks = plan_checks(found, self._asked[1])
            self._show()

    @property
    def ready(self) -> bool:
        """Whether it could begin."""
        answered = bool(self._found) and not self.look.busy
        return answered and self._may_start and all(check.level != "stop" for check in self.checks)

    @property
    def _may_start(self) -> bool:
        return self.runner.queues or not self.runner.busy

    @property
    def _elsewhere(self) -> bool:
        return self.runner.engine is not None and self.runner.engine.place not in (LOCAL, PLAIN)

    @guarded
    def _take_devices(self, names: list[str]) -> None:
        self._devices = names
        self.form.offer_devices(names, self._elsewhere)

    # -- what the user does

    @guarded
    def start(self) -> None:
        """Begin as it is asked for, if nothing stands against it."""
        stops = [check.text for check in self.checks if check.level == "stop"]
        if self.following or self._asked is None or not self.ready:
            raise ConfigError(stops[0] if stops else BUSY if not self._may_start else "wait until the subject was looked at")
        params, out = self._asked
        self._begin(params, out, Path(self._found["data"]))

    def _begin(self, params: ReproduceParams, out: Path, data: Path) -> None:
        if not self._may_start:
            raise ComputeError(BUSY)
        self.runner.start(make_ready(params, out, data))
        self._asks_anew = False
        self.follow(out)

    @guarded
    def _go_on(self) -> None:
        out, found = self.follower.out, self.follower.overview
        if out is not None and found is not None:
            self._begin(build(ReproduceParams, found.params), out, found.data)
        elif out is not None:  # stopped before its cells were known
            self.runner.show(out)
            self.runner.resume()

    @guarded
    def _stop(self) -> None:
        if self.follower.out is not None:
            self.runner.show(self.follower.out)
            self.runner.stop()

    @guarded
    def _write_report(self) -> None:
        if self.follower.out is not None and self.follower.overview is not None:
            self.writer.write(self.follower.overview.params, self.follower.out)
            self._show()

    @guarded
    def _report_written(self, error: str) -> None:
        self.state.problem.emit(in_window(error))
        self.follower.look()
        self._show()

    @guarded
    def _ask_anew(self) -> None:
        self._asks_anew = True
        self.follower.stop()
        self._ask()

    @guarded
    def _open_report(self) -> None:
        found = self.follower.overview
        if found is not None and found.report is not None:
            open_report(found.report)

    @guarded
    def _open_chosen(self) -> None:
        self._open_run(self.tree.cell)

    @guarded
    def _open_run(self, name: str) -> None:
        cell = self._cell(name)
        if cell is None:
            return
        if not (cell.run / "job.json").is_file():
            raise MissingDataError(f"{cell.title} was not trained yet: there is no run to open")
        self.open_wanted.emit(str(cell.run))

    def _cell(self, name: str) -> "CellView | None":
        found = self.follower.overview
        return next((cell for cell in found.cells if cell.id == name), None) if found is not None else None

    # -- one that was begun before

    def follow(self, out: Path) -> None:
        """Show the evaluation in a folder, whoever works on it."""
        self.look.drop()
        self.follower.follow(out)
        self._show()

    def _find_going(self) -> None:
        """Come back to an evaluation that goes on, of this window or another."""
        rows = self.runner.engine.rows if self.runner.engine is not None else []
        going = next((row.folder for row in rows if row.kind == "reproduce" and row.going), None)
        if going is not None:
            self.follow(going)

    @guarded
    def _job_shown(self) -> None:
        """Follow the evaluation that the Jobs tab has turned to, unless another one is in sight."""
        if self.runner.folder is not None and self.runner.job.get("kind") == "reproduce" and not self.isVisible():
            self.follow(self.runner.folder)

    @guarded
    def _job_changed(self) -> None:
        if not self.following:
            self._show()

    def shut_down(self) -> None:
        """End what looks at a subject or writes a report; an evaluation goes on."""
        self.look.drop()
        self.follower.stop()
        self.writer.stop()

    # -- what is shown

    @guarded
    def _show(self) -> None:
        if self.following:
            self._show_standing()
        else:
            self._show_asked()
        for widget in (self.intro, self.form, self.start_button):
            widget.setVisible(not self.following)
        for widget in (self.head, self.standing, self.another_button):
            widget.setVisible(self.following)
        for note in (self.step, self.findings, self.missing):
            note.setVisible(bool(note.text()))
        self._show_run_button()
        self.grown.emit()

    def _show_asked(self) -> None:
        there = bool(self._found) and "error" not in self._found and self._asked is not None
        self.tree.setVisible(there)
        self._say_missing({})
        if there and self._asked is not None:
            seen = read_overview(self._asked[1], self._found)
            self.tree.show_overview(seen)
            self._say_missing(seen.missing)
        lines = [f"{SIGNS[check.level]} {escape(check.text)}" for check in self.checks]
        if self.look.busy:
            lines = [LOOKING]
        elif not self._may_start:
            lines.append(BUSY)
        self.findings.say("<br>".join(lines))
        self.bar.setVisible(self.look.busy)
        self.bar.setRange(0, 0)  # moves to and fro
        self.start_button.setEnabled(self.ready)
        self.notice.say("")
        self.step.say("")
        for button in (self.stop_button, self.resume_button, self.report_button, self.write_button):
            button.hide()

    def _show_standing(self) -> None:
        follower, found = self.follower, self.follower.overview
        self.findings.say("")
        self.tree.setVisible(found is not None)
        name = "" if found is None else f"{PAPERS.get(found.method, found.method)}, plan {found.plan} · {found.data.name}"
        self.head.say(f"<b>{escape(name)}</b><br>{escape(str(follower.out))}")
        self.standing.say(escape(self._words()))
        self.step.say("writing the report …" if self.writer.busy else follower.describe())
        self.notice.say(follower.error)
        self.bar.setVisible(follower.going or self.writer.busy)
        self.bar.setRange(0, len(found.cells) if found is not None and not self.writer.busy else 0)
        if found is not None:
            self.bar.setValue(found.n_finished)
            self.tree.show_overview(found)
            self._say_missing(found.missing)
        whole = found is not None and found.n_finished == len(found.cells)
        self.stop_button.setVisible(follower.going)
        self.stop_button.setText("Stop now" if follower.standing == "stopping" else "Stop")
        self.resume_button.setVisible(not follower.going and not (whole and follower.standing == "finished"))
        self.resume_button.setEnabled(self._may_start and not self.writer.busy)
        self.report_button.setVisible(found is not None and found.report is not None)
        done = found is not None and found.n_finished > 0
        self.write_button.setVisible(done and not follower.going and follower.standing != "finished")
        self.write_button.setEnabled(not self.writer.busy)

    def _words(self) -> str:
        found, standing = self.follower.overview, self.follower.standing
        words = WORDS.get(standing, standing)
        if found is None:
            return words
        n_failed = found.counts().get("failed", 0)
        failed = f", {n_failed} failed" if n_failed else ""
        return f"{words} · {found.n_finished} of {len(found.cells)} cells are done{failed}"

    def _say_missing(self, missing: dict[str, str]) -> None:
        lines = [f"{SIGNS['mind']} {escape(what)}: {escape(in_window(why))}" for what, why in missing.items()]
        self.missing.say("<br>".join(["<b>Missing in the report</b>", *lines]) if lines else "")

    @guarded
    def _show_run_button(self) -> None:
        self.run_button.setVisible(self.following)
        cell = self._cell(self.tree.cell)
        self.run_button.setEnabled(cell is not None and (cell.run / "job.json").is_file())
