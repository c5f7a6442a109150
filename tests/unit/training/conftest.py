import json
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent / "helpers"


@pytest.fixture
def toy(monkeypatch):
    """The toy system, registered like any other."""
    monkeypatch.syspath_prepend(str(HELPERS))
    import toy_method

    from brain2pix.methods.registry import METHODS

    monkeypatch.setitem(METHODS, "toy", None)
    toy_method.register()
    return toy_method


@pytest.fixture
def start_toy():
    """Start training the toy in a process of its own; what is left over is ended after the test."""
    started = []

    def start(folder, training=None, limit=None, **toy_settings):
        command = [sys.executable, str(HELPERS / "toy_train.py"), str(folder), json.dumps(toy_settings), json.dumps(training or {})]
        command += [str(limit)] if limit else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
