"""Real servers in processes of their own; the toy kinds of jobs are known to their workers too."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

TESTS = Path(__file__).parents[1]
HELPERS = [TESTS / "faults" / "helpers", TESTS / "unit" / "compute" / "helpers", TESTS / "unit" / "training" / "helpers"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if item.path.name != "test_everyday.py":
                item.add_marker(pytest.mark.faults)
            # dask closes its connections when it is told that a server has gone, not when we stop listening
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(autouse=True)
def toy_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Know the toy kinds here and in every process that is started; keep servers and jobs of one test from another's."""
    for place in HELPERS:
        monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, HELPERS)))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", '["toy_kinds"]')
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    import toy_kinds

    from brain2pix.compute.kinds import KINDS
    from brain2pix.methods.registry import METHODS

    for name in ("count", "count_anywhere", "hang", "toy_train", "hungry"):
        monkeypatch.setitem(KINDS, name, None)
    monkeypatch.setitem(METHODS, "toy", None)
    toy_kinds.register()


@pytest.fixture
def start_engine() -> Iterator[Callable[..., Any]]:
    """Start servers; what is left of them is ended after the test."""
    from brain2pix.compute.engine.client import Engine

    engines: list[Any] = []

    def start(name: str = "test", **options: Any) -> Any:
        engines.append(Engine.local(name, **{"nice": 0, "threads": 1, **options}))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close(shutdown=True)
        for process in family(engine.connection.pid):
            process.kill()


@pytest.fixture
def engine(start_engine: Callable[..., Any]) -> Any:
    """Server of one worker."""
    return start_engine()


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """Wait until something is so; the time is no promise, only an end to waiting."""
    until_s = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until_s, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a piece of Python in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        file = tmp_path / f"script-{len(started)}.py"
        file.write_text(code)
        command = [sys.executable, str(file), *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
