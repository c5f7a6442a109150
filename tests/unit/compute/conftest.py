import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"


@pytest.fixture
def counting(monkeypatch):
    """The toy kind of job, registered like any other."""
    monkeypatch.syspath_prepend(str(HELPERS))
    import toy_job

    from brain2pix.compute.kinds import KINDS

    for name in ("count", "count_anywhere"):
        monkeypatch.setitem(KINDS, name, None)
    toy_job.register()
    return toy_job


@pytest.fixture
def start_job():
    """Start a toy job in a process of its own, as `brain2pix run` does."""
    started = []

    def start(place):
        process = subprocess.Popen(
            [sys.executable, str(HELPERS / "toy_job.py"), str(place)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def trained(tiny_subject, made_once):
    """Run folders of two small systems, made by their jobs. Read only: copy them with `run_folder` to change them."""
    from brain2pix.compute.runner import run_job
    from brain2pix.compute.spec import JobSpec

    short = {"region": "V1 - outside", "settings": {"encoder.n_steps": 3, "decoder.n_steps": 3, "encoder.check_every": 3}}

    def fill(place):
        for method, more in (("gaziv", short), ("ridge", {})):
            params = {"subject": str(tiny_subject), "method": method, "preset": "tiny", "device": "cpu", **more}
            assert run_job(JobSpec("train", params, place / method)) == "finished"

    return made_once("runs", fill)


@pytest.fixture
def run_folder(trained, tmp_path):
    """Give a copy of the trained runs that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))
