"""A live picture: in this process, from a child process, and from a server with TLS, side by side. `make bench` runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec

REQUEST = {"stimulus_id": "mean", "region": "V1", "mode": "add", "amplitude": 2.0}
GROUP = "live picture of a small retino, from the request to the answer"


@pytest.fixture(scope="module")
def run(tiny_subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "retino"
    settings = {"encoder.n_steps": 4, "decoder.n_steps": 4}
    params = {"subject": str(tiny_subject), "method": "retino", "preset": "tiny", "device": "cpu", "settings": settings}
    run_job(JobSpec("train", params, folder))
    return folder


@pytest.mark.benchmark(group=GROUP, min_rounds=100)
def test_in_this_process(benchmark, run: Path, tiny_subject: Path):
    from brain2pix.compute.jobs._inputs import open_run
    from brain2pix.compute.live import LiveDecoder

    decoder = LiveDecoder(open_run(run, tiny_subject, "cpu"))
    benchmark(decoder.answer, REQUEST)


@pytest.mark.benchmark(group=GROUP, min_rounds=100)
def test_child_process(benchmark, run: Path, tiny_subject: Path):
    command = [sys.executable, "-m", "brain2pix.compute.live", str(run), str(tiny_subject), "cpu"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        assert json.loads(child.stdout.readline())["ready"]

        def ask() -> dict:
            child.stdin.write(json.dumps({"id": 1, **REQUEST}) + "\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        assert "image" in benchmark(ask)
        child.stdin.close()


@pytest.mark.benchmark(group=GROUP, min_rounds=100)
def test_server(benchmark, run: Path, tiny_subject: Path, monkeypatch, tmp_path):
    from brain2pix.compute.engine.client import Engine

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Engine.local("bench", nice=0, threads=1, live=True) as engine:
        session = engine.live(run, tiny_subject, "cpu")

        def ask() -> dict:
            session.request(REQUEST)
            return session.answer()

        assert "image" in benchmark(ask)
