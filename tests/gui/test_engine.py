"""Jobs of the window on a compute server: real clicks, a real server process, real jobs; they wait, stop, are lost and found again."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton

from brain2pix.compute.engine import client
from brain2pix.compute.engine.client import Engine
from brain2pix.compute.engine.connection import known_servers
from brain2pix.compute.engine.registry import note_job
from brain2pix.compute.runner import run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.training.run_folder import RunFolder
from napari_brain2pix.children import engine as window_engine
from napari_brain2pix.children.engine import LOCAL, PLAIN, EngineThread
from napari_brain2pix.children.table import PRIVATE, read_rows

WAIT_MS = 120_000  # server and worker import torch; shared machines are slow
LONG = {"encoder.n_steps": 4, "decoder.n_steps": 100_000}  # goes on until it is stopped


@pytest.fixture(autouse=True)
def on_server(own_jobs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let jobs go to a server of this test, as they do for users; gives the threads from which the server was asked anything."""
    monkeypatch.setattr(window_engine, "DEFAULT_PLACE", LOCAL)
    threads: list[int] = []
    for name in ("local", "connect", "submit", "ask_to_stop", "kill", "jobs", "info", "alive", "close"):
        monkeypatch.setattr(Engine, name, noted(Engine.__dict__[name], threads))
    yield threads
    end_servers()


def noted(method: Any, threads: list[int]) -> Any:
    """Note the thread of each call."""
    function = getattr(method, "__func__", method)

    def call(*values: Any, **named: Any) -> Any:
        threads.append(threading.get_ident())
        return function(*values, **named)

    return classmethod(call) if isinstance(method, classmethod) else call


def end_servers() -> None:
    """Leave no process behind a test: servers outlive windows on purpose."""
    for server in known_servers():
        processes = [psutil.Process(server.pid)]
        processes += processes[0].children(recursive=True)
        for process in processes:
            if process.is_running():
                process.kill()
        psutil.wait_procs(processes, timeout=10)
    for process in client._LEFT_ALONE:
        process.wait(10)
    client._LEFT_ALONE.clear()


@pytest.fixture
def train(dock, tiny_copy, monkeypatch):
    """The panel Train on a subject of its own."""
    dock.devices._asked = True
    monkeypatch.setattr(dock.live, "start", lambda model, subject: None)
    dock.open(tiny_copy)
    return dock.train


def choose(qtbot: Any, train: Any, method: str, settings: dict[str, int] | None = None) -> Path:
    """Choose a method, its smallest preset and some settings, as the keyboard does; gives the folder that the run will have."""
    for box, index in ((train.method, train.method.findData(method)), (train.preset, None)):
        wanted = train.preset.findText("tiny") if index is None else index
        while box.currentIndex() != wanted:
            qtbot.keyClick(box, Qt.Key.Key_Down if box.currentIndex() < wanted else Qt.Key.Key_Up)
    for name, value in (settings or {}).items():
        train.form.editors[name].setValue(value)
    qtbot.waitUntil(lambda: not train._timer.isActive(), timeout=5000)
    return Path(train.folder.text())


def click(qtbot: Any, button: Any) -> None:
    assert button.isVisible() and button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def click_line(qtbot: Any, dock: Any, folder: Path) -> None:
    """Click the line of a job in the list."""
    lines = dock.jobs.list.list
    qtbot.waitUntil(lambda: folder in [row.folder for row in dock.jobs.list.rows], timeout=10_000)
    item = lines.item([row.folder for row in dock.jobs.list.rows].index(folder))
    lines.scrollToItem(item)
    qtbot.mouseClick(lines.viewport(), Qt.MouseButton.LeftButton, pos=lines.visualItemRect(item).center())
    assert dock.runner.folder == folder


def start_long(qtbot: Any, train: Any) -> Path:
    """Start a training that goes on until it is stopped, and wait for its first numbers."""
    folder = choose(qtbot, train, "retino", LONG)
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: train.runner.progress.stage == "decoder" and train.runner.progress.done > 0, timeout=WAIT_MS)
    return folder


def row_of(dock: Any, folder: Path) -> Any:
    return next((row for row in dock.engine.rows if row.folder == folder), None)


def answer(words: str, seen: list[str]) -> None:
    """Click a button of the question that is about to appear."""

    def press() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(50, press)
            return
        seen.append(box.text())
        next(button for button in box.buttons() if button.text().replace("&", "") == words).click()

    QTimer.singleShot(0, press)


def test_jobs_wait_for_each_other_and_one_that_is_stopped_while_it_waits_never_runs(train, dock, qtbot, on_server) -> None:
    chooser = dock.jobs.list.compute
    assert chooser.box.currentText() == "On this computer"
    qtbot.waitUntil(lambda: "starts with the first job" in chooser.line.text(), timeout=10_000)
    first = start_long(qtbot, train)
    assert dock.runner.process_id and "connected" in chooser.line.text()
    assert dock.runner._child is None and psutil.Process(dock.runner.process_id).nice() >= 10

    second = choose(qtbot, train, "ridge")
    assert second != first
    qtbot.waitUntil(lambda: "1 job is going on; this one waits for it" in train.findings.text(), timeout=10_000)
    click(qtbot, train.start_button)
    assert dock.runner.folder == second
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=WAIT_MS)
    assert "waits" in dock.jobs.standing.text() and dock.jobs.stop_button.isVisible()
    third = choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=WAIT_MS)
    assert [row.folder for row in dock.jobs.list.rows] == [third, second, first], "the newest comes first"

    click_line(qtbot, dock, second)
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=5000)
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)

    click_line(qtbot, dock, first)
    qtbot.waitUntil(lambda: dock.runner.standing == "running" and "decoder" in dock.jobs.plot.curves, timeout=WAIT_MS)
    assert "cpu" in dock.jobs.facts.text() and "GB" in dock.jobs.facts.text()
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)
    click_line(qtbot, dock, third)
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)
    assert (third / "model" / "model.json").is_file()
    assert RunFolder(second).attempt() == 0 and not (second / "events.jsonl").exists(), "what was stopped while it waited never ran"
    assert on_server and threading.get_ident() not in on_server, "the thread of the window never talks to a server"


def test_a_server_that_is_killed_is_told_and_resume_goes_on(train, dock, qtbot) -> None:
    folder = choose(qtbot, train, "retino", {"encoder.n_steps": 4, "decoder.n_steps": 2000})
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: train.runner.progress.stage == "decoder" and train.runner.progress.done > 0, timeout=WAIT_MS)
    waits = choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=WAIT_MS)
    (server,) = known_servers()
    psutil.Process(server.pid).kill()
    qtbot.waitUntil(lambda: dock.runner.standing == "interrupted", timeout=WAIT_MS)
    assert "has ended" in dock.jobs.notice.text() and "Resume starts it" in dock.jobs.notice.text()
    assert "has ended" in dock.jobs.list.compute.line.text()
    click_line(qtbot, dock, folder)
    qtbot.waitUntil(lambda: dock.runner.standing == "interrupted", timeout=WAIT_MS)
    click(qtbot, dock.jobs.resume_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "running", timeout=WAIT_MS)
    assert [found.server_id for found in known_servers()] != [server.server_id], "a fresh server"
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)
    click_line(qtbot, dock, waits)
    click(qtbot, dock.jobs.resume_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)


def test_a_window_that_is_opened_again_finds_its_jobs(viewer, train, dock, qtbot) -> None:
    first = start_long(qtbot, train)
    second = choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=WAIT_MS)
    title_bar = viewer.window.dock_widgets["brain2pix (napari-brain2pix)"].parent()
    qtbot.mouseClick(title_bar.findChild(QPushButton, "QTitleBarCloseButton"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock._over, timeout=5000)
    assert run_state(RunFolder(first)) == "running"
    _, again = viewer.window.add_plugin_dock_widget("napari-brain2pix", "brain2pix")
    qtbot.waitUntil(
        lambda: {row.folder: row.standing for row in again.engine.rows} == {first: "running", second: "queued"}, timeout=WAIT_MS
    )
    qtbot.waitUntil(lambda: again.runner.standing == "queued" or "decoder" in again.jobs.plot.curves, timeout=20_000)
    click_line(qtbot, again, first)
    qtbot.waitUntil(lambda: again.runner.standing == "running" and again.jobs.stop_button.isVisible(), timeout=10_000)
    click(qtbot, again.jobs.stop_button)
    qtbot.waitUntil(lambda: again.runner.standing == "cancelled", timeout=WAIT_MS)
    click_line(qtbot, again, second)
    qtbot.waitUntil(lambda: again.runner.standing == "finished", timeout=WAIT_MS)
    again.shut_down()


WINDOW = """
import sys
from pathlib import Path
from qtpy.QtCore import QCoreApplication
from brain2pix.compute.spec import JobSpec
from napari_brain2pix.children.engine import LOCAL, EngineThread

app = QCoreApplication([])
engine = EngineThread(place=LOCAL)
engine.table.connect(lambda rows: print(*(row.standing for row in rows), flush=True))
engine.start()
engine.submit(JobSpec.from_file(Path(sys.argv[1])))
app.exec()
"""


@pytest.mark.faults
def test_a_window_that_is_killed_leaves_its_job_to_the_next_one(viewer, tiny_copy, tmp_path, qtbot) -> None:
    folder = tmp_path / "run"
    params = {"subject": str(tiny_copy), "method": "retino", "preset": "tiny", "device": "cpu", "settings": LONG}
    JobSpec("train", params, folder).write()
    killed = subprocess.Popen([sys.executable, "-c", WINDOW, str(folder)], stdout=subprocess.PIPE, text=True)
    with killed:
        for line in killed.stdout:
            if line.strip() == "running":
                break
        killed.kill()
    _, dock = viewer.window.add_plugin_dock_widget("napari-brain2pix", "brain2pix")
    qtbot.waitUntil(lambda: "decoder" in dock.jobs.plot.curves, timeout=WAIT_MS)
    assert dock.runner.folder == folder and dock.runner.standing == "running" and dock.engine.standing == "connected"
    sequence = [json.loads(line)["seq"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert sequence == list(range(1, len(sequence) + 1)), "the record has no gap"
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)
    dock.shut_down()


@pytest.mark.faults
def test_a_worker_that_dies_is_begun_again_from_its_checkpoint(train, dock, qtbot) -> None:
    start_long(qtbot, train)
    os.kill(dock.runner.process_id, 9)
    qtbot.waitUntil(lambda: dock.runner.row is not None and dock.runner.row.attempt == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "restarted from phase" in dock.jobs.facts.text(), timeout=WAIT_MS)
    assert "worker process died (1×)" in dock.jobs.facts.text() and dock.runner.standing == "running"
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)


@pytest.mark.faults
def test_a_second_press_ends_the_process_at_once(train, dock, qtbot) -> None:
    start_long(qtbot, train)
    number = dock.runner.process_id
    psutil.Process(number).suspend()  # it will never answer
    click(qtbot, dock.jobs.stop_button)
    assert dock.runner.standing == "stopping" and dock.jobs.stop_button.text() == "Stop now"
    click(qtbot, dock.jobs.stop_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)
    assert dock.jobs.resume_button.isVisible()
    qtbot.waitUntil(lambda: not psutil.pid_exists(number), timeout=10_000)  # the word comes first, the process is ended right after


@pytest.mark.faults
def test_closing_asks_what_becomes_of_the_jobs(viewer, train, dock, qtbot) -> None:
    first = start_long(qtbot, train)
    choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=WAIT_MS)
    seen: list[str] = []
    answer("Stay", seen)
    assert not dock.window().close()
    assert "2 jobs are going on or waiting" in seen[0] and str(first) in seen[0]
    answer("Stop them", seen)
    assert dock.window().close()
    thread = dock.engine._worker.thread
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=WAIT_MS)
    assert run_state(RunFolder(first)) in ("cancelled", "interrupted")
    assert known_servers() == [], "a server without work goes with the window that started it"


@pytest.mark.faults
def test_closing_can_leave_the_jobs_to_the_server(viewer, train, dock, qtbot) -> None:
    first = start_long(qtbot, train)
    answer("Training goes on", [])
    assert dock.window().close()
    thread = dock.engine._worker.thread
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=WAIT_MS)
    assert [server.name for server in known_servers()] == [LOCAL] and run_state(RunFolder(first)) == "running"


@pytest.mark.faults
def test_another_server_is_chosen_by_its_connection_file(train, dock, qtbot, monkeypatch, tmp_path) -> None:
    from qtpy.QtWidgets import QFileDialog

    from brain2pix.compute.engine.connection import server_file

    chooser = dock.jobs.list.compute
    engine = Engine.local("far", detach=True, idle_timeout_s=60)
    qtbot.waitUntil(lambda: chooser.box.findData("far") >= 0, timeout=20_000)
    file = tmp_path / "far.json"
    file.write_bytes(server_file("far").read_bytes())
    file.chmod(0o600)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    choose_place(qtbot, chooser, "Connect to a server…")
    qtbot.waitUntil(lambda: dock.engine.standing == "connected" and "“far”" in chooser.line.text(), timeout=20_000)
    assert train.device.currentText() == "auto", "that machine knows which devices it has"
    folder = choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)
    assert row_of(dock, folder).server == "far"
    long = start_long(qtbot, train)
    waits = choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner.standing == "queued", timeout=WAIT_MS)
    # jobs of a server that is not the chosen one any more are stopped all the same
    choose_place(qtbot, chooser, "On this computer")
    assert train.device.currentText() == "cpu"
    qtbot.waitUntil(lambda: "starts with the first job" in chooser.line.text(), timeout=20_000)
    for job in (waits, long):
        click_line(qtbot, dock, job)
        qtbot.waitUntil(dock.jobs.stop_button.isVisible, timeout=10_000)
        click(qtbot, dock.jobs.stop_button)
        qtbot.waitUntil(lambda: dock.runner.standing == "cancelled", timeout=WAIT_MS)
    assert RunFolder(waits).attempt() == 0
    file.chmod(0o644)  # anybody could read the key
    choose_place(qtbot, chooser, "Connect to a server…")
    qtbot.waitUntil(lambda: "chmod 600" in chooser.line.text(), timeout=20_000)
    engine.close(shutdown=True)


def choose_place(qtbot: Any, chooser: Any, words: str) -> None:
    """Choose where to compute, as the keyboard does."""
    box = chooser.box
    wanted = box.findText(words)
    for _ in range(abs(wanted - box.currentIndex())):
        box.setCurrentIndex(box.currentIndex() + (1 if wanted > box.currentIndex() else -1))
    box.activated.emit(wanted)  # each key would activate what lies between


@pytest.mark.faults
def test_live_pictures_come_from_a_server_that_has_a_worker_for_them(dock, demo, qtbot) -> None:
    def pixels(name: str) -> Any:
        return dock.gallery.pictures[name].pixels

    def settled() -> bool:
        return pixels("difference") is not None and not dock.live.busy and dock.live.greeting is not None

    dock.open(demo)
    dock.state.set_step("stimulate")
    qtbot.waitUntil(settled, timeout=WAIT_MS)
    assert dock.live.process_id and dock.live.server == ""
    of_child = pixels("stimulated").copy()

    server = Engine.local("pictures", threads=1, live=True, detach=True, idle_timeout_s=300)
    server.close()
    qtbot.waitUntil(lambda: "pictures" in dock.engine.names, timeout=30_000)
    box = dock.jobs.list.compute.box
    box.setCurrentIndex(box.findData("pictures"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: dock.live.server == "pictures" and settled(), timeout=WAIT_MS)
    assert dock.live.process_id == 0 and np.abs(pixels("stimulated").astype(int) - of_child).max() <= 1
    shown = pixels("stimulated").copy()
    slider = dock.stimulate.amplitude.slider
    for _ in range(8):  # of what comes while one is in flight, only the newest is asked for
        qtbot.keyClick(slider, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: settled() and not np.array_equal(pixels("stimulated"), shown), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: dock.state.stimulation is not None and bool(dock.state.stimulation.measures), timeout=WAIT_MS)

    end_servers()
    qtbot.waitUntil(lambda: dock.live.server == "" and dock.live.process_id != 0, timeout=WAIT_MS)
    qtbot.waitUntil(settled, timeout=WAIT_MS)


def test_without_a_server_a_job_is_a_process_of_its_own(train, dock, qtbot, monkeypatch) -> None:
    """Whatever stands against a server on this computer, the training is started all the same, and it is said how."""
    from brain2pix.errors import ComputeError

    def fail(*_: Any, **__: Any) -> None:
        raise ComputeError("no room for a server")

    monkeypatch.setattr(Engine, "local", fail)
    folder = choose(qtbot, train, "ridge")
    click(qtbot, train.start_button)
    qtbot.waitUntil(lambda: dock.runner._child is not None, timeout=20_000)
    assert "a process of its own" in dock.jobs.log.toPlainText() and "no room for a server" in dock.log.text.toPlainText()
    qtbot.waitUntil(lambda: dock.runner.standing == "finished", timeout=WAIT_MS)
    assert not dock.engine.queues and row_of(dock, folder).server == ""
    # the list knows it too, and forgets it when told to
    qtbot.waitUntil(lambda: row_of(dock, folder).standing == "finished", timeout=10_000)
    click(qtbot, dock.jobs.list.forget_button)
    qtbot.waitUntil(lambda: row_of(dock, folder) is None, timeout=10_000)
    assert dock.runner.folder is None and (folder / "model").is_dir() and "No job yet" in dock.jobs.standing.text()


def test_the_end_of_a_long_job_is_told_to_whom_does_not_look(dock, qtbot, monkeypatch, tmp_path) -> None:
    from napari_brain2pix.children.table import JobRow
    from napari_brain2pix.widgets import _news

    told: list[str] = []
    monkeypatch.setattr(_news, "show_info", told.append)
    row = {"id": "a-1", "folder": tmp_path / "a", "kind": "train", "words": "retino demo"}
    dock.engine.table.emit([JobRow(**row, standing="running")])
    dock.engine.table.emit([JobRow(**row, standing="finished")])
    assert not told, "a job of seconds needs no bell"
    monkeypatch.setattr(_news, "LONG_S", 0.0)
    dock.engine.table.emit([JobRow(**row, standing="queued")])
    dock.engine.table.emit([JobRow(**row, standing="running")])
    dock.engine.table.emit([JobRow(**row, standing="failed")])
    assert told == ["brain2pix: train retino demo has failed (a)"]


def test_a_record_that_is_thrown_away_is_no_job_of_the_list(tmp_path) -> None:
    for folder in (tmp_path / f"{PRIVATE}abc" / "run", tmp_path / "kept"):
        JobSpec("simulate", {}, folder).write()
        note_job(folder, "simulate")
    assert [row.folder for row in read_rows({})] == [tmp_path / "kept"]


def test_a_job_that_was_given_to_a_server_and_never_began_waits_only_while_the_server_lives(tmp_path) -> None:
    folder = tmp_path / "run"
    JobSpec("train", {"method": "retino", "preset": "demo"}, folder).write()
    note_job(folder, "train", "abc", "far")
    assert read_rows({}, names=["far"])[0].standing == "queued"
    (row,) = read_rows({}, names=["near"])
    assert row.standing == "interrupted" and row.title == "train retino demo" and not row.going


def test_a_thread_that_does_not_answer_keeps_no_window_open(qtbot, monkeypatch, tmp_path) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(window_engine, "LEAVE_S", 0.2)
    thread = EngineThread(place=PLAIN)
    thread.start()
    monkeypatch.setattr(thread._worker, "ask_to_stop", lambda folder, server: hangs.wait())
    thread.stop(tmp_path)
    thread.close()  # comes back
    assert thread._worker.thread.is_alive()
    n_wishes = thread._worker.wishes.qsize()
    thread.submit(JobSpec("train", {}, tmp_path))
    assert thread._worker.wishes.qsize() == n_wishes, "nothing is asked of it any more"
    hangs.set()
    thread._worker.thread.join(20)
    assert not thread._worker.thread.is_alive()
