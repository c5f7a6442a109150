"""Servers and jobs on them, as a user starts, asks, follows and stops them from terminals."""

import json
import os
import signal
import socket
import time
import types

import psutil
import pytest

from brain2pix.cli._servers import submit
from brain2pix.cli.server import _welcome
from brain2pix.compute.engine.connection import Connection, server_file
from brain2pix.compute.engine.registry import job_id
from brain2pix.compute.engine.states import GOING
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import ConfigError
from brain2pix.training.run_folder import RunFolder

pytestmark = [
    pytest.mark.usefixtures("own_state", "toy_kinds"),
    # dask closes its connections when it is told that a server has gone, not when we stop listening
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def write_job(place, name="run", kind="count", **params):
    """Write a job file; its run folder is the one beside it, of the same name."""
    file = place / f"{name}.json"
    file.write_text(json.dumps({"kind": kind, "params": params}))
    return file


def wait_for(condition, seconds=60):
    until_s = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.05)
    return found


def steps(folder):
    file = folder / "results" / "count.json"
    return int(file.read_text()) if file.is_file() else 0


@pytest.fixture
def server(brain2pix):
    """Name of a server that runs in the background."""
    started = brain2pix("server", "start", "--name", "test", "--threads", "1", "--nice", "0")
    assert started.returncode == 0, started.stderr
    return "test"


def test_a_job_on_a_server_from_its_start_to_its_end(say, server, tmp_path):
    """The short way through: start, submit, see, stop, go on, follow to the end."""
    name, folder = job_id(tmp_path / "run"), tmp_path / "run"
    code, out, err = say("run", write_job(tmp_path, n=120, step_s=0.02), "--on", "test")
    follow = f"follow it: brain2pix attach {name}\nstop it:   brain2pix cancel {name}\n"
    assert (code, out, err) == (0, f"job {name} is with the server test\n{follow}", "")
    wait_for(lambda: steps(folder) > 2)
    (listed,) = json.loads(say("jobs", "--json")[1])
    assert (listed["id"], listed["state"], listed["server"]) == (name, "running", "test")
    code, out, _ = say("server", "status")
    assert code == 0 and "  jobs: 1 running\n" in out and f"  worker worker-0: {name}, on 127.0.0.1" in out
    code, out, err = say("server", "stop", "test")
    assert code == 1 and err.startswith(
        f"brain2pix: jobs go on on the server test: {name}. Wait, cancel them, or stop the server with --now"
    )
    code, out, _ = say("cancel", name)
    assert code == 0 and out.endswith(f"job {name}: stopped, and what it did is saved (brain2pix resume {name})\n")
    done = steps(folder)
    assert 0 < done < 120
    code, out, _ = say("resume", name, "--wait")
    assert code == 0 and out.startswith(f"job {name} is with the server test\n") and "attempt 2" in out
    assert out.endswith(f"count: done in {out.rpartition('done in ')[2].partition(' s')[0]} s (number 119)\ndone: {folder}\n")
    assert steps(folder) == 120
    assert say("run", tmp_path / "run.json", "--on", "test") == (0, f"{folder} is finished already; nothing was done\n", "")
    assert say("server", "stop", "test") == (0, "server test has stopped\n", "")
    assert say("server", "status") == (0, "no server runs; start one: brain2pix server start\n", "")


# ------------------------------------------------------------------ mistakes; no server is needed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["server", "stop", "gpu"], "there is no compute server 'gpu' (running: none); start one with: brain2pix server start"),
        (["server", "status", "gpu"], "there is no compute server 'gpu'"),
        (["server", "start", "--name", "a/b"], "a server's name may have letters, digits, '-', '_' and '.', got 'a/b'"),
        (
            ["server", "start", "--cluster", "slurm"],
            "--cluster needs --cluster-options FILE.toml with at least shared_folder and interface",
        ),
        (["server", "start", "--cluster-options", "x.toml"], "--cluster-options goes with --cluster slurm or --cluster pbs"),
        (["server", "start", "--cluster", "pbs", "--cluster-options", "none.toml"], "none.toml does not exist"),
        (["server", "script", "--cluster", "slurm"], "--cluster needs --cluster-options FILE.toml"),
        (["simulate", "x", "--on", "gpu"], "there is no compute server 'gpu'"),
        (["decode", "x", "--on", "gpu"], "there is no compute server 'gpu'"),
        (["decode", "x", "--wait"], "--wait goes with --on SERVER"),
        (["jobs", "--on", "gpu.json"], "there is no compute server 'gpu.json'"),
    ],
)
def test_mistakes_are_one_line(say, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    code, _, err = say(*arguments)
    assert code == 1 and text in err and err.startswith("brain2pix: ") and len(err.splitlines()) == 1
    assert [place.name for place in tmp_path.iterdir() if place.name != "state"] == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["server", "sttart"], 'Did you mean "start"?'),
        (["server", "start", "--cluster", "slurn"], "slurm"),
        (["server", "script"], "--cluster"),
        (["server", "start", "--worker", "2"], "Did you mean --workers?"),
        (["train", "x", "--no", "gpu"], "--no"),
    ],
)
def test_wrong_usage(say, arguments, text):
    code, _, err = say(*arguments)
    assert code == 2 and text in err


def test_the_script_of_a_batch_job_is_printed(say, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('shared_folder = "/scratch"\ninterface = "ib0"\n')
    code, out, err = say("server", "script", "--cluster", "slurm", "--cluster-options", file)
    assert (code, err) == (0, "") and out.startswith("#!/usr/bin/env bash") and "#SBATCH --gres=gpu:1\n" in out
    file.write_text('shared_folder = "/scratch"\ninterface = "ib0"\nquueue = "gpu"\n')
    code, _, err = say("server", "script", "--cluster", "slurm", "--cluster-options", file)
    assert code == 1 and "unknown option 'quueue'. Did you mean 'queue'?" in err


def write_connection(name, **changes):
    """Write the connection file of a server that has this process and listens nowhere."""
    values = {"address": "tls://127.0.0.1:9", "server_id": "0", "pid": os.getpid(), "process_started": psutil.Process().create_time()}
    values |= {"host": socket.gethostname(), "versions": {}, "detached": True, "ca": "", "cert": "", "key": "", **changes}
    Connection(name=name, **values).write(server_file(name))


def test_a_server_that_does_not_answer(say):
    write_connection("mute")
    code, out, err = say("server", "status")
    assert (code, err) == (1, "") and f"mute: tls://127.0.0.1:9, process {os.getpid()} on " in out
    assert "  does not answer: cannot reach the compute server 'mute' at tls://127.0.0.1:9" in out
    code, out, err = say("jobs")
    assert (code, out) == (0, "no jobs yet\n") and err.startswith(
        "warning: the server mute was left out: cannot reach the compute server 'mute'"
    )


def test_a_server_that_does_not_stop(say, monkeypatch):
    """Not a real one: those stop."""

    class Engine:
        name = "deaf"
        connection = types.SimpleNamespace(name="deaf", pid=4, is_here=True, process_lives=lambda: True)

        def jobs(self):
            return []

        def close(self, shutdown=False):
            pass

    monkeypatch.setattr("brain2pix.compute.engine.client.Engine.connect", lambda name, timeout_s: Engine())
    monkeypatch.setattr("brain2pix.cli.server._END_S", 0.1)
    code, _, err = say("server", "stop", "deaf")
    assert (code, err) == (1, "brain2pix: the server deaf has not stopped after 0.1 s; end its process 4 by hand\n")


def test_a_job_on_a_server_needs_a_folder():
    with pytest.raises(ConfigError, match="a count_anywhere job on a server needs a run folder; give it one"):
        submit(JobSpec("count_anywhere", {}), "gpu", wait=False)


def test_the_way_from_elsewhere_names_the_address():
    connection = types.SimpleNamespace(name="c", pid=4, host="login1", address="tls://10.0.0.7:40123")
    text = "\n".join(_welcome(connection, server_file("c"), by_file=False))
    assert "ssh -N -L 40123:10.0.0.7:40123 login1, and a copy of that file, its address set to tls://127.0.0.1:40123" in text
    connection.address = "tls://127.0.0.1:40123"
    text = "\n".join(_welcome(connection, server_file("c"), by_file=False))
    assert "ssh -N -L 40123:127.0.0.1:40123 login1, and a copy of that file (docs/compute.md)" in text


# ------------------------------------------------------------------ longer ways


@pytest.mark.faults
def test_one_name_one_server(brain2pix, server):
    again = brain2pix("server", "start", "--name", "test")
    assert again.returncode == 1
    assert "a compute server 'test' runs already" in again.stderr and "--name" in again.stderr


@pytest.mark.faults
def test_what_a_start_prints_can_be_used(brain2pix, tmp_path):
    file = tmp_path / "mine.json"
    started = brain2pix("server", "start", "--name", "mine", "--threads", "1", "--file", file, "--workers", "2")
    assert started.returncode == 0, started.stderr
    connection = Connection.read(file)
    port = connection.address.rpartition(":")[2]
    assert connection.address.startswith("tls://127.0.0.1:") and file.stat().st_mode & 0o777 == 0o600
    lines = started.stdout.splitlines()
    assert lines[0] == f"server mine runs in process {connection.pid} at {connection.address}"
    assert lines[1] == f"connection file (keep it secret): {file}"
    assert f"brain2pix train SUBJECT --on {file}" in lines[2] and f"brain2pix jobs --on {file}" in lines[3]
    assert f"ssh -N -L {port}:127.0.0.1:{port} {connection.host}" in lines[4] and f"brain2pix server stop {file}" in lines[5]
    assert connection.key not in started.stdout
    assert brain2pix("run", write_job(tmp_path, n=3), "--on", file, "--wait").returncode == 0
    status = brain2pix("server", "status", file, "--json")
    (facts,) = json.loads(status.stdout)
    assert [worker["name"] for worker in facts["workers"]] == ["worker-0", "worker-1"] and facts["jobs"][0]["state"] == "finished"
    assert "PRIVATE KEY" not in status.stdout
    assert brain2pix("server", "stop", file).returncode == 0
    assert not file.exists()


@pytest.mark.faults
def test_a_queued_job_never_begins_when_it_is_cancelled(brain2pix, server, tmp_path):
    assert brain2pix("run", write_job(tmp_path, "first", n=10_000, step_s=0.02), "--on", "test").returncode == 0
    wait_for(lambda: steps(tmp_path / "first"))
    assert brain2pix("run", write_job(tmp_path, "second"), "--on", "test").returncode == 0
    cancelled = brain2pix("cancel", "second")
    name = job_id(tmp_path / "second")
    assert cancelled.stdout == f"job {name}: will not begin (brain2pix resume {name})\n"
    assert "was asked to stop" in brain2pix("cancel", "first").stdout
    states = {row["id"].partition("-")[0]: row["state"] for row in json.loads(brain2pix("jobs", "--json").stdout)}
    assert states == {"first": "cancelled", "second": "cancelled"}
    assert not RunFolder(tmp_path / "second").events.exists()


@pytest.mark.faults
def test_a_job_that_does_not_answer_is_ended_and_the_next_one_runs(brain2pix, server, tmp_path):
    brain2pix("run", write_job(tmp_path, "hangs", "hang"), "--on", "test")
    wait_for(lambda: RunFolder(tmp_path / "hangs").read_status().get("state") == "running")
    began_s = time.monotonic()
    result = brain2pix("cancel", "hangs", "--grace", "1")
    assert "its process was ended; it goes on from its last checkpoint" in result.stdout, result.stderr
    assert time.monotonic() - began_s < 30
    assert brain2pix("run", write_job(tmp_path, "next", n=2), "--on", "test", "--wait").returncode == 0
    brain2pix("resume", "hangs")
    wait_for(lambda: RunFolder(tmp_path / "hangs").attempt() == 2)
    assert "its process was ended" in brain2pix("cancel", "hangs", "--now").stdout


@pytest.mark.faults
def test_attached_until_ctrl_c(start, brain2pix, server, tmp_path):
    brain2pix("run", write_job(tmp_path, n=10_000, step_s=0.02), "--on", "test")
    wait_for(lambda: steps(tmp_path / "run"))
    name = job_id(tmp_path / "run")
    attached = start("attach", name)
    assert attached.stdout.readline() == f"job {name} runs on the server test (Ctrl-C leaves it running)\n"
    assert attached.stdout.readline() == "count ...\n"
    attached.send_signal(signal.SIGINT)
    out, err = attached.communicate(timeout=60)
    assert (attached.returncode, err) == (130, "")
    assert out == f"\njob {name} goes on; see it again: brain2pix attach {name}, stop it: brain2pix cancel {name}\n"
    before = steps(tmp_path / "run")
    wait_for(lambda: steps(tmp_path / "run") > before)


@pytest.mark.faults
def test_a_server_that_is_stopped_or_killed_loses_no_job(brain2pix, server, tmp_path):
    name = job_id(tmp_path / "run")
    brain2pix("run", write_job(tmp_path, n=400, step_s=0.02), "--on", "test")
    wait_for(lambda: steps(tmp_path / "run"))
    stopped = brain2pix("server", "stop", "test", "--now")
    assert stopped.stdout == f"server test has stopped; resume: {name}\n", stopped.stderr
    assert RunFolder(tmp_path / "run").read_status()["state"] == "cancelled"
    assert brain2pix("server", "start", "--name", "test", "--threads", "1").returncode == 0
    assert f"job {name} is with the server test" in brain2pix("resume", name).stdout
    wait_for(lambda: RunFolder(tmp_path / "run").attempt() == 2)
    os.kill(Connection.read(server_file("test")).pid, signal.SIGKILL)
    wait_for(lambda: all(row["state"] not in GOING for row in json.loads(brain2pix("jobs", "--json").stdout)))
    resumed = brain2pix("resume", name, "--wait")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.startswith(f"the server test is not there any more: job {name} goes on in this terminal\n")
    assert steps(tmp_path / "run") == 400


@pytest.mark.faults
def test_a_server_in_this_terminal_ends_with_ctrl_c(start, brain2pix, tmp_path):
    process = start("server", "start", "--name", "here", "--threads", "1", "--foreground")
    assert process.stdout.readline().startswith("server here runs in process ")
    connection = Connection.read(server_file("here"))
    assert "ends with the program that started it" in brain2pix("server", "status", "here").stdout
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out.endswith("stopping; jobs that run are asked to save\n") and err == ""
    assert not connection.process_lives() and not server_file("here").exists()


@pytest.mark.faults
def test_a_server_in_this_terminal_that_dies_is_told(start):
    process = start("server", "start", "--name", "here", "--threads", "1", "--foreground")
    assert process.stdout.readline().startswith("server here runs in process ")
    os.kill(Connection.read(server_file("here")).pid, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "brain2pix: the server ended with code -9; its jobs go on when they are resumed\n")


@pytest.mark.faults
def test_mistakes_in_a_job_are_told_before_it_is_queued(brain2pix, server, tmp_path):
    bad = brain2pix("run", write_job(tmp_path, bad_input=True), "--on", "test")
    assert (bad.returncode, bad.stderr) == (1, "brain2pix: the input is bad; bring a good one\n")
    unknown = brain2pix("run", write_job(tmp_path, m=3), "--on", "test")
    assert "unknown option 'm'" in unknown.stderr
    assert not (tmp_path / "run").exists() and json.loads(brain2pix("jobs", "--json").stdout) == []


@pytest.mark.faults
def test_a_subject_is_simulated_on_a_server(brain2pix, server, tmp_path):
    result = brain2pix("simulate", tmp_path / "tiny", "--preset", "tiny", "--on", "test", "--wait")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(f"simulated subject: {tmp_path / 'tiny'} (truth: {tmp_path / 'tiny-truth'})\n")
    assert (tmp_path / "tiny-job" / "job.json").is_file()
