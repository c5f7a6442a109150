"""Shared by all tests: nothing leaves this machine, nothing touches the user's home, the simulated subject is made once."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from brain2pix.events import Event

# The same examples in each run, however slow the machine: a failure is never a matter of luck.
settings.register_profile("tests", derandomize=True, deadline=None, database=None)
settings.load_profile("tests")

_OUTER = dict(os.environ)  # before anything here changes it
_HOME = pytest.StashKey[Path]()
_LONGEST_FIRST = {"gui": 0, "integration": 1, "conformance": 2}


def pytest_configure(config: pytest.Config) -> None:
    """Give the whole run, child processes too, an empty home of its own."""
    home = Path(tempfile.mkdtemp(prefix="brain2pix-tests-"))
    config.stash[_HOME] = home
    authority = Path.home() / ".Xauthority"  # a display found through the real home must stay reachable
    if authority.exists():
        os.environ.setdefault("XAUTHORITY", str(authority))
    os.environ["HOME"] = str(home)
    os.environ["NAPARI_CONFIG"] = str(home / "napari" / "settings.yaml")
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take longest: the short ones at the end let the test processes end together."""
    items.sort(key=lambda item: _LONGEST_FIRST.get(item.path.relative_to(Path(__file__).parent).parts[0], len(_LONGEST_FIRST)))


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Let no socket of this process reach beyond the machine."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))
    yield
    patch.undo()


def _local_only(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            raise RuntimeError(f"a test tried to reach {address}; tests use generated data and this machine only")
        return connect(self, address)

    return guarded


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost")


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Start the global random numbers anew for each test, and count the smallest ones in full, whichever process it runs in."""
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].set_flush_denormal(False)  # trainings turn it on for their thread


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers that are the same in each run."""
    return np.random.default_rng(20261120)


class EventList(list[Event]):
    """A sink that remembers: call it with an event, read it as a list."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        """Events of one kind, in order."""
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def events() -> EventList:
    """An event sink that remembers what it heard."""
    return EventList()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Folders that all test processes share: the first that asks makes it, the others wait for it. They are read only."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                made.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_subject(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Folder of the simulated subject `tiny`, seed 0 (its truth lies beside it). Read only: copy it with `tiny_copy` to damage it."""
    from brain2pix.config.base import resolve
    from brain2pix.config.simulation import SimulationSettings
    from brain2pix.simulation import simulate

    return made_once("subjects", lambda place: simulate(place / "tiny", resolve(SimulationSettings, "simulation", "tiny"))) / "tiny"


@pytest.fixture
def tiny_copy(tiny_subject: Path, tmp_path: Path) -> Path:
    """Give a copy of `tiny_subject`, without the truth, that a test may change."""
    return Path(shutil.copytree(tiny_subject, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def outer_environment() -> dict[str, str]:
    """Environment as it was before the tests moved the home: for children that must find the user's package settings."""
    return dict(_OUTER)
