"""Servers and clients that die, connections that break, keys that do not fit."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from brain2pix.compute.engine.client import Engine
from brain2pix.compute.engine.connection import Connection, known_servers, server_file
from brain2pix.compute.record import read_events
from brain2pix.compute.runner import run_job, run_state
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import ComputeError, ConfigError, MissingDataError
from brain2pix.training.run_folder import RunFolder

from .conftest import family, wait_for
from .test_workers import assert_same_weights, steps_done

CLIENT = """
import json, sys, time
from pathlib import Path
import toy_kinds
toy_kinds.register()
from brain2pix.compute.engine.client import Engine
from brain2pix.compute.spec import JobSpec
if __name__ == "__main__":
    kind, params, folder, detach = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "detach"
    engine = Engine.local("of-a-script", nice=0, threads=1, detach=detach, idle_timeout_s=30 if detach else None)
    print(engine.submit(JobSpec(kind, params, folder)), flush=True)
    print(engine.connection.pid, flush=True)
    engine.attach(engine.jobs()[0]["id"], lambda line: print(json.dumps(line), flush=True))
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def places(lines):
    return [(line["attempt"], line["seq"]) for line in lines]


def test_a_killed_client_takes_an_attached_server_with_it_and_nothing_is_lost(script, tmp_path, start_engine):
    folder = tmp_path / "run"
    client = script(CLIENT, "count", json.dumps({"n": 400, "step_s": 0.05}), folder, "attached")
    job, server = client.stdout.readline().strip(), int(client.stdout.readline())
    wait_for(lambda: (folder / "results" / "count.json").exists(), what="the first step")
    processes = family(server)
    assert len(processes) >= 2
    began_s = time.monotonic()
    os.kill(client.pid, signal.SIGKILL)
    wait_for(lambda: all(gone(process.pid) for process in processes), 20, "server and workers to leave")
    print(f"MEASURED server and workers gone {time.monotonic() - began_s:.2f} s after kill -9 of their client")
    assert run_state(RunFolder(folder)) == "cancelled", "the job was asked to save first"
    assert not server_file("of-a-script").exists()
    reached = json.loads((folder / "results" / "count.json").read_text())
    engine = start_engine("next")
    assert engine.submit(JobSpec("count", {"n": 400, "step_s": 0.05}, folder)) == job
    wait_for(lambda: json.loads((folder / "results" / "count.json").read_text()) > reached, what="the job to go on")
    assert engine.cancel(job) == "cancelled"


def test_a_killed_client_of_a_detached_server_is_not_missed_and_the_next_one_hears_everything_once(script, tmp_path):
    folder = tmp_path / "run"
    client = script(CLIENT, "count", json.dumps({"n": 60, "step_s": 0.05}), folder, "detach")
    job = client.stdout.readline().strip()
    wait_for(lambda: (folder / "results" / "count.json").exists(), what="the first step")
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    time.sleep(0.5)
    with Engine.connect("of-a-script") as engine:
        assert engine.jobs()[0]["state"] == "running"
        heard = []
        row = engine.attach(job, heard.append, 60)
        assert row["state"] == "finished"
        replayed = [line for line in heard if "t" in line]
        assert places(heard) == [(1, number) for number in range(1, len(heard) + 1)], "no gap, nothing twice"
        assert [line["done"] for line in replayed if line["kind"] == "progress"] == list(range(1, 61))
        assert places(heard) == places(read_events(folder / "events.jsonl"))
        engine.close(shutdown=True)
    wait_for(lambda: not known_servers(), 20, "the server to leave")


def test_a_killed_server_is_told_and_the_job_goes_on_with_another_to_the_same_result(tmp_path, start_engine):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run_job(JobSpec("toy_train", {"step_s": 0.03}, tmp_path / "whole"))
    torch.set_num_threads(before)
    folder = tmp_path / "run"
    first = start_engine("first")
    job = first.submit(JobSpec("toy_train", {"step_s": 0.03}, folder))
    queued = first.submit(JobSpec("count", {"n": 2}, tmp_path / "queued"))
    wait_for(lambda: steps_done(folder) >= 15, what="the second phase")
    processes = family(first.connection.pid)
    began_s = time.monotonic()
    os.kill(first.connection.pid, signal.SIGKILL)
    wait_for(lambda: all(gone(process.pid) for process in processes), 10, "the workers to leave")
    print(f"MEASURED workers gone {time.monotonic() - began_s:.2f} s after kill -9 of the server")
    with pytest.raises(ComputeError, match=r"has gone .* resume them and they go on from their last checkpoints"):
        first.wait(job)
    print(f"MEASURED told {time.monotonic() - began_s:.2f} s after kill -9 of the server")
    assert run_state(RunFolder(folder)) == "interrupted"
    second = start_engine("second")
    assert second.submit(JobSpec("toy_train", {"step_s": 0.03}, folder)) == job
    assert second.submit(JobSpec("count", {"n": 2}, tmp_path / "queued")) == queued
    assert second.wait(job, 120)["state"] == second.wait(queued, 60)["state"] == "finished"
    assert_same_weights(tmp_path / "whole", folder)


class Cable:
    """A connection to a server that can be pulled out, as a network does."""

    def __init__(self, target: int) -> None:
        self.target, self.sockets = target, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pull(self) -> None:
        self.listener.close()
        for end in self.sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


def test_a_broken_connection_is_told_and_the_job_goes_on(engine, tmp_path):
    """Also: a connection file works through a forwarded port, as from another machine."""
    cable = Cable(int(engine.connection.address.rpartition(":")[2]))
    far = tmp_path / "far.json"
    replace(engine.connection, name="far", address=f"tls://127.0.0.1:{cable.port}").write(far)
    client = Engine.connect(far)
    job = client.submit(JobSpec("count", {"n": 80, "step_s": 0.05}, tmp_path / "run"))
    wait_for(lambda: (tmp_path / "run" / "results" / "count.json").exists(), what="the first step")
    began_s = time.monotonic()
    cable.pull()
    with pytest.raises(ComputeError, match="has gone"):
        client.wait(job, 30)
    print(f"MEASURED told {time.monotonic() - began_s:.2f} s after the connection broke")
    client.close()
    heard = []
    assert engine.attach(job, heard.append, 60)["state"] == "finished"
    assert places(heard) == places(read_events(tmp_path / "run" / "events.jsonl"))
    assert RunFolder(tmp_path / "run").attempt() == 1


def test_two_servers_with_a_shared_folder_hand_a_job_over(tmp_path, start_engine):
    """Stands for another machine: other processes, another key, no memory in common."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run_job(JobSpec("toy_train", {"step_s": 0.03}, tmp_path / "whole"))
    torch.set_num_threads(before)
    here, there = start_engine("here"), start_engine("there")
    assert here.connection.cert != there.connection.cert and here.connection.key != there.connection.key
    folder = tmp_path / "run"
    spec = JobSpec("toy_train", {"step_s": 0.03}, folder)
    job = here.submit(spec)
    wait_for(lambda: steps_done(folder) >= 10, what="the second phase")
    with pytest.raises(ConfigError, match="is being worked on by another process"):
        there.submit(spec)
    assert here.cancel(job) == "cancelled"
    assert there.submit(spec) == job
    assert there.wait(job, 120)["state"] == "finished"
    assert RunFolder(folder).read_status()["server"] == there.connection.server_id
    assert_same_weights(tmp_path / "whole", folder)


def test_nothing_listens_beyond_this_machine_and_the_key_is_the_owners(engine):
    listening = [
        connection.laddr
        for process in family(engine.connection.pid)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3, "scheduler, nanny and worker listen"
    assert {address.ip for address in listening} == {"127.0.0.1"}
    file = server_file("test")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others, and it holds the key; first run: chmod 600"):
        Engine.connect("test")
    file.chmod(0o600)


def test_plain_connections_and_other_certificates_are_refused(engine, start_engine, tmp_path):
    from distributed import Client

    plain = engine.connection.address.replace("tls://", "tcp://")

    async def knock() -> None:
        async with Client(plain, asynchronous=True, timeout=3, set_as_default=False):
            pass

    with pytest.raises(OSError):
        asyncio.run(knock())
    with pytest.raises(ConfigError, match="only encrypted connections"):
        file = tmp_path / "plain.json"
        replace(engine.connection, address=plain).write(file)
        Engine.connect(file)
    other = start_engine("other").connection
    file = tmp_path / "mixed.json"
    replace(engine.connection, ca=other.ca, cert=other.cert, key=other.key).write(file)
    with pytest.raises(ComputeError, match="cannot reach the compute server"):
        Engine.connect(file, timeout_s=3)
    assert engine.alive() and engine.info()["workers"]


def test_other_versions_are_refused_at_attach(engine, monkeypatch):
    monkeypatch.setattr("brain2pix.compute.engine.client.engine_versions", lambda: {**engine.connection.versions, "distributed": "1.0"})
    with pytest.raises(ComputeError, match=r"other versions: distributed .* there, 1\.0 here"):
        Engine.connect("test")


def test_a_detached_server_leaves_when_nobody_needs_it(start_engine, tmp_path):
    engine = start_engine("short", detach=True, idle_timeout_s=2)
    job = engine.submit(JobSpec("count", {"n": 60, "step_s": 0.1}, tmp_path / "run"))
    engine.close()
    time.sleep(3)
    assert [server.name for server in known_servers()] == ["short"], "a job is going on"
    wait_for(lambda: run_state(RunFolder(tmp_path / "run")) == "finished", 30, f"{job} to finish without a client")
    wait_for(lambda: not known_servers(), 30, "the server to leave")
    wait_for(lambda: gone(engine.connection.pid), 20, "its process to end")


def test_an_unguarded_script_starts_a_server_without_being_run_again(script):
    """Processes are spawned, which reads the main script again: a script without a guard must not start a second server."""
    process = script(
        "print('once', flush=True)\nfrom brain2pix.compute.engine.client import Engine\n"
        "engine = Engine.local('unguarded', nice=0, threads=1)\nprint(engine.info()['name'])\nengine.close()\n"
    )
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert output.split() == ["once", "unguarded"]


def test_a_full_disk_costs_checkpoints_and_not_the_training(engine, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a tiny file system here")
    try:
        folder, ballast = place / "run", place / "ballast"
        job = engine.submit(JobSpec("toy_train", {"step_s": 0.03, "n_steps": 60, "checkpoint_every_steps": 3}, folder))
        wait_for(lambda: steps_done(folder, "encoder") >= 10, what="some steps")
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        kept = {file.name for file in (folder / "checkpoints").glob("checkpoint-*.pt")}
        time.sleep(0.5)  # some checkpoints that find no room
        assert kept & {file.name for file in (folder / "checkpoints").glob("checkpoint-*.pt")}, "those before are intact"
        ballast.unlink()
        row = engine.wait(job, 120)
        assert row["state"] == "finished", row["error"]
        assert (folder / "model" / "model.json").is_file()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_live_worker_that_dies_answers_again(start_engine, tmp_path, tiny_subject):
    run_job(JobSpec("train", {"subject": str(tiny_subject), "method": "ridge", "preset": "tiny", "device": "cpu"}, tmp_path / "ridge"))
    engine = start_engine("live", live=True)
    session = engine.live(tmp_path / "ridge", tiny_subject, "cpu")
    request = {"stimulus_id": "mean", "region": "V1", "mode": "add", "amplitude": 2.0}
    session.request(request)
    before = session.answer(60)
    (live,) = [worker for worker in engine.info()["workers"] if worker["name"] == "live"]
    processes = [process for process in family(engine.connection.pid) if "spawn_main" in " ".join(process.cmdline())]
    port = int(live["address"].rpartition(":")[2])
    (victim,) = [
        process for process in processes if any(c.laddr.port == port for c in process.net_connections() if c.status == psutil.CONN_LISTEN)
    ]
    victim.kill()
    began_s = time.monotonic()
    session.request(request)
    after = session.answer(60)
    print(f"MEASURED a picture {time.monotonic() - began_s:.2f} s after kill -9 of the live worker")
    assert after["image"] == before["image"]


def test_messages_of_servers_that_are_not_there(tmp_path):
    with pytest.raises(
        MissingDataError,
        match=r"no compute server 'nowhere' \(running: none\); start one with: brain2pix server start",
    ):
        Engine.connect("nowhere")
    with pytest.raises(ConfigError, match="a server's name may have letters"):
        Engine.connect("no way")
    dead = Connection("dead", "tls://127.0.0.1:1", "x", 2**22 - 1, 1.0, socket.gethostname(), {}, True, "", "", "")
    dead.write(server_file("dead"))
    with pytest.raises(ComputeError, match="is not running any more"):
        Engine.connect("dead")
    assert known_servers() == [] and not server_file("dead").exists()
    replace(dead, host="elsewhere").write(tmp_path / "far.json")
    with pytest.raises(ComputeError, match=r"cannot reach the compute server 'dead' at tls://127\.0\.0\.1:1 .* is its port forwarded"):
        Engine.connect(tmp_path / "far.json", timeout_s=2)


def test_a_server_that_cannot_start_says_why(monkeypatch, start_engine):
    start_engine("taken")
    with pytest.raises(ComputeError, match=r"a compute server 'taken' runs already \(process \d+\)"):
        Engine.local("taken")
    done = subprocess.run(
        [sys.executable, "-m", "brain2pix.compute.engine.server", "--host", "203.0.113.9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr.splitlines()[-1]
    assert not Path(server_file("local")).exists()
