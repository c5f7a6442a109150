"""Jobs without a server: listed, followed, stopped, gone on with. Those on servers are in test_server.py."""

import json
import os
import signal
import time

import psutil
import pytest

from brain2pix.cli import _servers
from brain2pix.compute.engine.registry import job_id, known_jobs, note_job
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.events import CancelToken, Failed, Message, Started, Stopped, to_dict
from brain2pix.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("own_state", "toy_kinds")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def write_job(place, kind="count", **params):
    """Write a job file; its run folder is the one beside it, of the same name."""
    file = place / "run.json"
    file.write_text(json.dumps({"kind": kind, "params": params}))
    return file


def wait_for(condition, seconds=30):
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.02)


def running(folder):
    return RunFolder(folder).read_status().get("state") == "running"


# ------------------------------------------------------------------ list


def test_no_jobs(say):
    assert say("jobs") == (0, "no jobs yet\n", "")
    assert say("jobs", "--json") == (0, "[]\n", "")


def test_what_ran_in_a_terminal_is_listed(say, tmp_path):
    assert say("run", write_job(tmp_path, n=2))[0] == 0
    code, out, err = say("jobs")
    head, line = out.splitlines()
    assert head.split() == ["id", "kind", "method", "state", "progress", "device", "server", "since", "folder"]
    assert line.split()[:3] == [job_id(tmp_path / "run"), "count", "finished"] and line.endswith("  run")
    assert (code, err) == (0, "")
    (values,) = json.loads(say("jobs", "--json")[1])
    assert (values["state"], values["folder"], values["attempt"]) == ("finished", str(tmp_path / "run"), 1)


def test_errors_stand_below_the_table(say, tmp_path):
    say("run", write_job(tmp_path, fail_at=1))
    name = job_id(tmp_path / "run")
    _, out, _ = say("jobs")
    assert "failed" in out.splitlines()[1] and "count 1/5" in out.splitlines()[1]
    assert out.splitlines()[2:] == ["", f"{name}: ZeroDivisionError: a mistake of ours"]


def test_old_jobs_are_counted_only(say, tmp_path, monkeypatch):
    say("run", write_job(tmp_path, n=1))
    now = time.time
    monkeypatch.setattr("brain2pix.cli.jobs.time.time", lambda: now() + 90_000)
    assert say("jobs")[1] == "1 older job not shown: brain2pix jobs --all\n"
    assert "finished" in say("jobs", "--all")[1]


def test_a_job_of_which_nothing_came_is_not_listed(say, tmp_path):
    assert say("run", write_job(tmp_path, bad_input=True))[0] == 1
    assert known_jobs() == [] and not (tmp_path / "run").exists()


def test_a_refused_start_leaves_the_note_of_the_job_that_is_there(say, tmp_path):
    say("run", write_job(tmp_path, n=1))
    before = known_jobs()
    assert say("run", write_job(tmp_path, n=2))[0] == 1
    assert say("run", write_job(tmp_path, n=1))[0] == 0, "finished already"
    assert known_jobs() == before


def test_the_method_of_the_run_that_a_job_works_on(say, tmp_path):
    JobSpec("train", {"method": "retino"}, tmp_path / "trained").write()
    JobSpec("decode", {"run": str(tmp_path / "trained"), "device": "cpu"}, tmp_path / "decoded").write()
    note_job(tmp_path / "decoded", "decode")
    assert say("jobs")[1].splitlines()[1].split()[1:5] == ["decode", "retino", "new", "cpu"]


def test_a_server_that_does_not_answer_is_named(say, monkeypatch):
    answers = _servers.Answers(silent={"gpu": "cannot reach it"})
    monkeypatch.setattr(_servers, "ask_servers", lambda also=None: answers)
    code, out, err = say("jobs")
    assert (code, out, err) == (0, "no jobs yet\n", "warning: the server gpu was left out: cannot reach it\n")


# ------------------------------------------------------------------ stop and go on


@pytest.mark.parametrize("command", ["attach", "cancel", "resume"])
def test_unknown_ids(say, tmp_path, command):
    assert say(command, "rux") == (1, "", "brain2pix: there is no job 'rux'. Known: none. See: brain2pix jobs --all\n")
    say("run", write_job(tmp_path, n=1))
    code, _, err = say(command, "rnu")
    assert code == 1 and f"Did you mean '{job_id(tmp_path / 'run')}'?" in err
    JobSpec("count", {}, tmp_path / "other" / "run").write()
    note_job(tmp_path / "other" / "run", "count")
    code, _, err = say(command, "ru")
    assert code == 1 and "'ru' means several jobs: " in err


def test_a_finished_job_needs_nothing(say, tmp_path):
    say("run", write_job(tmp_path, n=1))
    name = job_id(tmp_path / "run")
    assert say("cancel", "run/") == (0, f"job {name} is finished; there is nothing to stop\n", "")
    assert say("resume", name) == (0, f"job {name} is finished already; nothing was done\n", "")
    code, out, _ = say("attach", name)
    assert code == 0 and out.splitlines()[0] == "count ..." and out.splitlines()[-1] == f"done: {tmp_path / 'run'}"


def test_a_job_that_has_not_begun(say, tmp_path):
    JobSpec("count", {"n": 1}, tmp_path / "run").write()
    note_job(tmp_path / "run", "count", "id", "gone")
    name = job_id(tmp_path / "run")
    assert say("attach", "run") == (0, f"job {name} has not begun; start it: brain2pix resume {name}\n", "")
    assert "there is nothing to stop" in say("cancel", "run")[1]
    code, out, _ = say("resume", "run")
    assert code == 0 and out.startswith(f"the server gone is not there any more: job {name} goes on in this terminal\n")
    assert out.endswith(f"done: {tmp_path / 'run'}\n")


def test_attach_says_why_a_job_failed(say, tmp_path):
    say("run", write_job(tmp_path, fail_at=1))
    code, _, err = say("attach", "run")
    assert (code, err) == (1, f"brain2pix: job {job_id(tmp_path / 'run')}: ZeroDivisionError: a mistake of ours\n")


def test_attach_to_a_stopped_job(say, tmp_path):
    token = CancelToken()
    token.cancel()
    run_job(JobSpec("count", {}, tmp_path / "run"), cancel=token)
    code, out, _ = say("attach", "run/")
    assert code == 130 and out.endswith(f"stopped; brain2pix resume {job_id(tmp_path / 'run')} goes on from the last checkpoint\n")


def test_a_folder_that_is_not_here(say, tmp_path, monkeypatch):
    row = {"id": "far-123456", "kind": "train", "folder": "/far/away", "state": "failed", "error": "bad", "submitted_s": 1.0}
    monkeypatch.setattr(_servers, "ask_servers", lambda also=None: _servers.Answers({"gpu": [row]}, {"gpu": "gpu"}))
    assert say("resume", "far") == (1, "", "brain2pix: /far/away is not on this machine; resume the job where that folder is\n")
    assert say("attach", "far") == (1, "", "brain2pix: /far/away is not on this machine; attach to the job where that folder is\n")


def test_follow_stop_and_go_on(start, say, tmp_path):
    """A job in one terminal, seen and stopped from another."""
    job = start("run", write_job(tmp_path, n=10_000, step_s=0.02))
    wait_for(lambda: running(tmp_path / "run"))
    name = job_id(tmp_path / "run")
    attached = start("attach", name)
    assert attached.stdout.readline() == f"job {name} runs (Ctrl-C leaves it running)\n"
    assert attached.stdout.readline() == "count ...\n"
    attached.send_signal(signal.SIGINT)
    out, _ = attached.communicate(timeout=60)
    assert f"job {name} goes on; see it again: brain2pix attach {name}, stop it: brain2pix cancel {name}" in out
    assert attached.returncode == 130 and running(tmp_path / "run")
    assert say("resume", name) == (1, "", f"brain2pix: job {name} is running; see it: brain2pix attach {name}\n")
    code, out, _ = say("cancel", name)
    assert (code, out.splitlines()[-1]) == (0, f"job {name}: stopped, and what it did is saved (brain2pix resume {name})")
    assert job.wait(60) == 130
    assert RunFolder(tmp_path / "run").read_status()["state"] == "cancelled"


def test_end_at_once(start, say, tmp_path):
    job = start("run", write_job(tmp_path, "hang"))
    wait_for(lambda: running(tmp_path / "run"))
    name = job_id(tmp_path / "run")
    code, out, _ = say("cancel", name, "--now")
    assert (code, out) == (0, f"job {name}: its process was ended; it goes on from its last checkpoint (brain2pix resume {name})\n")
    assert not psutil.pid_exists(job.pid)
    assert "its process was ended at once" in say("jobs")[1]


def test_end_what_does_not_answer(start, say, tmp_path):
    job = start("run", write_job(tmp_path, "hang"))
    wait_for(lambda: running(tmp_path / "run"))
    code, out, _ = say("cancel", "run/", "--grace", "0.3")
    first, last = out.splitlines()
    assert code == 0 and first.endswith("was asked to stop after its step (at most 0.3 s, then its process is ended)")
    assert "its process was ended" in last
    assert not psutil.pid_exists(job.pid)


def test_a_wish_that_a_killed_process_left_is_forgotten(say, tmp_path):
    run_job(JobSpec("count", {"n": 1}, tmp_path / "run"))
    run = RunFolder(tmp_path / "run")
    run.status.write_text(json.dumps({**run.read_status(), "state": "running", "process_started": 1.0}))
    run.cancel.touch()
    code, _, err = say("attach", "run/")
    assert code == 1 and "ended without a word, perhaps for lack of memory; brain2pix resume" in err
    assert say("resume", "run/")[0] == 0
    assert not run.cancel.exists() and run.read_status()["state"] == "finished"


def test_a_process_on_another_machine_is_not_ended(say, tmp_path):
    run_job(JobSpec("count", {"n": 1}, tmp_path / "run"))
    run = RunFolder(tmp_path / "run")
    run.status.write_text(json.dumps({**run.read_status(), "state": "running", "host": "far", "pid": os.getpid()}))
    code, _, err = say("cancel", "run/", "--now")
    name = job_id(tmp_path / "run")
    assert (code, err) == (
        1,
        f"brain2pix: job {name} has not stopped, and its process is on far; run there: brain2pix cancel {name} --now\n",
    )


def test_a_process_of_another_user_is_not_ended(say, tmp_path, monkeypatch):
    class Foreign(psutil.Process):
        def kill(self):
            raise psutil.AccessDenied

    run_job(JobSpec("count", {"n": 1}, tmp_path / "run"))
    run = RunFolder(tmp_path / "run")
    run.status.write_text(json.dumps({**run.read_status(), "state": "running"}))
    monkeypatch.setattr(psutil, "Process", Foreign)
    monkeypatch.setattr(Foreign, "children", lambda self, recursive: [])
    code, _, err = say("cancel", "run/", "--now")
    name = job_id(tmp_path / "run")
    assert (code, err) == (1, f"brain2pix: job {name} has not stopped, and its process {os.getpid()} belongs to another user\n")


# ------------------------------------------------------------------ what is drawn


def test_an_attempt_ends_what_the_one_before_left_open(events):
    tell = _servers._Attempts(events)
    lines = [Started("encoder"), Started("encoder"), Failed("train", "bad"), Stopped("encoder")]
    for attempt, event in zip((1, 2, 2, 2), lines, strict=True):
        tell({"attempt": attempt, **to_dict(event)})
    tell({"kind": "of a later version"})
    tell({"attempt": None, "kind": "message", "level": "info", "text": "old"})
    assert events == [lines[0], Stopped("encoder"), Message("info", "attempt 2"), *lines[1:], Message("info", "old")]
