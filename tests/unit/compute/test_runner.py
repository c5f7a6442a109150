import csv
import json
import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from brain2pix.compute.record import Recorder, Tail, read_events
from brain2pix.compute.runner import run_job, run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import ComputeError, ConfigError
from brain2pix.events import CancelToken, Failed, Message, Metric, Progress, Stopped
from brain2pix.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("counting")


def job(tmp_path, **params):
    return JobSpec("count", params, tmp_path / "run")


def wait_for(condition, seconds=20):
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.02)


def count(tmp_path):
    file = tmp_path / "run" / "results" / "count.json"
    return int(file.read_text()) if file.is_file() else 0


def cancel_at(token, number):
    def sink(event):
        if isinstance(event, Progress) and event.done == number:
            token.cancel()

    return sink


def test_a_job_leaves_its_folder(tmp_path, events):
    assert run_job(job(tmp_path, n=3), events) == "finished"
    folder = RunFolder(tmp_path / "run")
    assert sorted(place.name for place in folder.path.iterdir()) == [
        "events.jsonl",
        "job.json",
        "metrics.csv",
        "results",
        "settings.json",
        "status.json",
    ]
    assert json.loads(folder.settings.read_text()) == {"n": 3}
    assert folder.read_job()["params"] == {"n": 3} and folder.read_job()["kind"] == "count"
    status = folder.read_status()
    assert (status["state"], status["attempt"], status["pid"], status["error"]) == ("finished", 1, os.getpid(), None)
    assert status["started"] <= status["finished"]
    lines = list(read_events(folder.events))
    assert [line["kind"] for line in lines] == [type(event).__name__.lower() for event in events]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {(line["v"], line["job"], line["attempt"]) for line in lines} == {(1, "run", 1)}
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["step"], row["name"], float(row["value"])) for row in rows] == [
        ("count", str(k), "number", float(k)) for k in range(3)
    ]


def test_a_finished_job_says_so_and_does_nothing(tmp_path, events):
    run_job(job(tmp_path, n=3))
    before = {place: place.stat().st_mtime_ns for place in (tmp_path / "run").rglob("*")}
    assert run_job(job(tmp_path, n=3), events) == "already finished"
    assert [event.text for event in events] == [f"{tmp_path / 'run'} is finished already; nothing was done"]
    assert {place: place.stat().st_mtime_ns for place in (tmp_path / "run").rglob("*")} == before


def test_cancelled_by_token_and_gone_on_with(tmp_path, events):
    token = CancelToken()
    assert run_job(job(tmp_path, n=6), cancel_at(token, 2), token) == "cancelled"
    assert run_state(RunFolder(tmp_path / "run")) == "cancelled"
    assert count(tmp_path) == 2
    assert run_job(job(tmp_path, n=6), events) == "finished"
    assert count(tmp_path) == 6
    assert RunFolder(tmp_path / "run").attempt() == 2
    recorded = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert [line["attempt"] for line in recorded] == sorted(line["attempt"] for line in recorded)
    assert [line["done"] for line in recorded if line["kind"] == "progress"] == [1, 2, 3, 4, 5, 6]
    assert sum(line["kind"] == "stopped" for line in recorded) == 1


def test_cancelled_by_file(tmp_path, events):
    def sink(event):
        events(event)
        if isinstance(event, Progress) and event.done == 2:
            (tmp_path / "run" / "CANCEL").touch()

    assert run_job(job(tmp_path, n=6), sink) == "cancelled"
    assert isinstance(events[-1], Stopped)
    assert run_job(job(tmp_path, n=6)) == "finished"  # the request was honoured, starting again is the wish to go on
    assert not (tmp_path / "run" / "CANCEL").exists()


def test_cancelled_before_it_began(tmp_path):
    spec = job(tmp_path, n=6)
    spec.write()
    (tmp_path / "run" / "CANCEL").touch()
    assert run_job(spec) == "cancelled"
    assert count(tmp_path) == 0
    assert run_job(spec) == "finished"


def test_killed_and_gone_on_with(tmp_path, start_job):
    spec = job(tmp_path, n=60, step_s=0.05)
    spec.write()
    process = start_job(tmp_path / "run")
    wait_for(lambda: count(tmp_path) >= 5)
    folder = RunFolder(tmp_path / "run")
    assert run_state(folder) == "running"
    with pytest.raises(
        ComputeError, match=rf"being worked on by process {process.pid} on .*; wait for it, or stop it by a file named CANCEL"
    ):
        run_job(spec)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert run_state(folder) == "interrupted"
    assert folder.read_status()["state"] == "running"  # it could not say that it died
    reached = count(tmp_path)
    (tmp_path / "run" / "CANCEL").touch()  # a request that the killed process did not see
    assert run_job(spec) == "cancelled"
    assert count(tmp_path) == reached
    assert run_job(spec) == "finished"
    assert (count(tmp_path), folder.attempt()) == (60, 3)


def test_another_process_with_the_same_number_is_not_the_run(tmp_path):
    run_job(job(tmp_path))
    folder = RunFolder(tmp_path / "run")
    status = {**folder.read_status(), "state": "running", "pid": os.getpid(), "process_started": psutil.Process().create_time() - 100}
    folder.status.write_text(json.dumps(status))
    assert run_state(folder) == "interrupted"


def test_a_run_on_another_host_counts_as_alive_for_a_while(tmp_path):
    run_job(job(tmp_path))
    folder = RunFolder(tmp_path / "run")
    folder.status.write_text(json.dumps({**folder.read_status(), "state": "running", "host": "elsewhere"}))
    assert run_state(folder) == "running"
    for file in (folder.status, folder.events):
        os.utime(file, (time.time() - 3600, time.time() - 3600))
    assert run_state(folder) == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_cleanly(tmp_path, start_job, number):
    job(tmp_path, n=200, step_s=0.05).write()
    process = start_job(tmp_path / "run")
    wait_for(lambda: count(tmp_path) >= 2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopping after this step" in output and "goes on" in output
    assert errors == ""
    assert run_state(RunFolder(tmp_path / "run")) == "cancelled"


def test_bad_input_leaves_nothing(tmp_path, events):
    with pytest.raises(ConfigError, match="the input is bad"):
        run_job(job(tmp_path, bad_input=True), events)
    assert list(tmp_path.iterdir()) == []
    assert events.of(Failed)[0].error == "the input is bad; bring a good one"


def test_bad_input_of_a_folder_that_was_there(tmp_path):
    job(tmp_path, bad_input=True).write()
    with pytest.raises(ConfigError):
        run_job(job(tmp_path, bad_input=True))
    status = RunFolder(tmp_path / "run").read_status()
    assert (status["state"], status["error"]) == ("failed", "the input is bad; bring a good one")


def test_a_mistake_of_ours_is_recorded_with_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run_job(job(tmp_path, fail_at=2))
    assert RunFolder(tmp_path / "run").read_status()["error"] == "ZeroDivisionError: a mistake of ours"
    (failed,) = [line for line in read_events(tmp_path / "run" / "events.jsonl") if line["kind"] == "failed"]
    assert "toy_job.py" in failed["detail"] and "Traceback" in failed["detail"]


def test_unknown_parameter(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown option 'step'\. Did you mean 'step_s'\?"):
        run_job(job(tmp_path, step=1))
    assert list(tmp_path.iterdir()) == []


def test_folder_of_another_job(tmp_path):
    run_job(job(tmp_path, n=3))
    with pytest.raises(ConfigError, match=r"holds another job \(n was 3, now 4\); choose another folder, or remove it to start again"):
        run_job(job(tmp_path, n=4))
    with pytest.raises(ConfigError, match="holds a 'count' job, not 'train'"):
        run_job(JobSpec("train", {"subject": "x"}, tmp_path / "run"))
    assert count(tmp_path) == 3


def test_folder_of_something_else(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty and is not a run folder"):
        run_job(job(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file; give a folder for the run"):
        run_job(JobSpec("count", {}, tmp_path / "file"))


def test_jobs_without_a_folder(tmp_path):
    place = str(tmp_path / "count.json")
    assert run_job(JobSpec("count_anywhere", {"place": place, "n": 2})) == "finished"
    assert [file.name for file in tmp_path.iterdir()] == ["count.json"]
    with pytest.raises(ConfigError, match="needs a run folder"):
        run_job(JobSpec("count", {}))
    token = CancelToken()
    token.cancel()
    assert run_job(JobSpec("count_anywhere", {"place": place, "n": 4}), cancel=token) == "cancelled"


def test_a_cut_off_event_line_is_left_out(tmp_path):
    folder = RunFolder(tmp_path)
    with Recorder(folder, 1) as recorder:
        recorder(Message("info", "first"))
    with folder.events.open("a") as file:
        file.write('{"kind": "mess')  # killed while it wrote
    with Recorder(folder, 2) as recorder:
        recorder(Metric("fit", 1, "total", float("nan")))
        recorder(Message("info", "last"))
    assert [line.get("text", line.get("value")) for line in read_events(folder.events)] == ["first", None, "last"]
    assert [line["attempt"] for line in read_events(folder.events)] == [1, 2, 2]
    assert folder.metrics.read_text().splitlines()[0] == "t,attempt,stage,step,name,value"
    assert len(folder.metrics.read_text().splitlines()) == 2


def test_a_full_disk_loses_events_not_the_job(tmp_path):
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a tiny file system here")
    try:
        with Recorder(RunFolder(place), 1) as recorder:
            for number in range(1000):
                recorder(Message("info", f"{number} {'x' * 200}"))
        kept = [int(line["text"].split()[0]) for line in read_events(place / "events.jsonl")]
        assert 0 < len(kept) < 1000
        assert kept == list(range(len(kept)))
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_lines_come_once_and_whole(tmp_path):
    file = tmp_path / "events.jsonl"
    lines = Tail(file)
    assert lines.read() == []
    file.write_text('{"a": 1}\n{"a"')
    assert lines.read() == [{"a": 1}]
    with file.open("a") as record:
        record.write(": 2}\nbroken\n[3]\n")
    assert lines.read() == [{"a": 2}]
    assert lines.read() == []


def test_a_tail_takes_a_chunk_at_a_time(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f'{{"a": {number}}}\n' for number in range(100)))
    tail, found = Tail(file, 64), []
    while not found or tail.more:
        found += tail.read()
    assert found == [{"a": number} for number in range(100)]
