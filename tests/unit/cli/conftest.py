"""Commands in processes of their own, with the toy kinds of jobs known to them and to the workers of servers."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from brain2pix.cli._main import run_arguments

TESTS = Path(__file__).parents[2]
HELPERS = [TESTS / "faults" / "helpers", TESTS / "unit" / "compute" / "helpers", TESTS / "unit" / "training" / "helpers"]
COMMAND = """
import signal, toy_kinds
from brain2pix.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that a shell runs in the background ignore it, and so would this
toy_kinds.register()
main()
"""


@pytest.fixture
def say(capsys):
    """Run a command here; gives exit code, stdout and stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = run_arguments([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def own_state(monkeypatch, tmp_path):
    """Keep servers and lists of jobs of one test from another's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "napari-brain2pix"


@pytest.fixture
def toy_kinds(monkeypatch):
    """Know the toy kinds here and in every process that is started."""
    for place in HELPERS:
        monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, HELPERS)))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", '["toy_kinds"]')
    import toy_kinds

    from brain2pix.compute.kinds import KINDS

    for name in ("count", "count_anywhere", "hang", "toy_train", "hungry"):
        monkeypatch.setitem(KINDS, name, None)
    toy_kinds.register()


@pytest.fixture
def start(own_state, toy_kinds, tmp_path):
    """Start a command in a process of its own; what is left of it, and of servers, is ended after the test."""
    started = []

    def run(*arguments):
        command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        started.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
        )
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(process.info["cmdline"] or ()):
            for member in (*process.children(recursive=True), process):
                member.kill()


@pytest.fixture
def brain2pix(start):
    """Run a command to its end."""

    def run(*arguments):
        process = start(*arguments)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run
