"""A real viewer on a real (virtual) display, a real demo folder, a real child process."""

import gc
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ["NAPARI_STRICT_QT"] = "raise"  # a top-level widget that outlives its viewer fails the test
os.environ.setdefault("LP_NUM_THREADS", "1")  # software OpenGL must not take all cores

HERE = Path(__file__).parent
SIZE = (1500, 950)
# Not ours to mend: napari's own use of Qt, pydantic and numpy. Anything raised from our modules stays an error.
NOISE = (
    "ignore:System theme detection requires a Qt6 backend:UserWarning",
    "ignore::DeprecationWarning:napari.*",
    "ignore::FutureWarning:napari.*",
    "ignore::DeprecationWarning:npe2.*",
    "ignore::DeprecationWarning:vispy.*",
    "ignore::DeprecationWarning:app_model.*",
    "ignore::DeprecationWarning:superqt.*",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for rule in NOISE:
                item.add_marker(pytest.mark.filterwarnings(rule))


class ErrorList(logging.Handler):
    """What our guards logged as an error. A test that wants one takes it with `clear`."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))

    def clear(self) -> list[str]:
        """Give the errors so far, and forget them."""
        found, self.messages = self.messages, []
        return found


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[ErrorList]:
    """Fail a test in which a guarded slot failed: the guard keeps the window alive, and would keep the test green too."""
    errors = ErrorList()
    ours = logging.getLogger("napari_brain2pix")
    ours.addHandler(errors)
    yield errors
    ours.removeHandler(errors)
    assert not errors.messages, "a guarded slot failed:\n" + "\n".join(errors.messages)


@pytest.fixture(scope="session")
def demo(tiny_subject: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Demo folder with subject, model, maps of the true receptive fields, and reconstructions. Read only."""

    def fill(place: Path) -> None:
        folder = place / "demo"
        shutil.copytree(tiny_subject, folder / "subject")
        truth = tiny_subject.with_name(tiny_subject.name + "-truth")
        shutil.copytree(truth, folder / "subject-truth")
        subprocess.run([sys.executable, str(HERE / "build_demo.py"), str(folder)], check=True, timeout=240)

    return made_once("window", fill) / "demo"


@pytest.fixture(scope="session")
def mapped(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same demo folder without its model: no decoder is started. Read only."""
    folder = tmp_path_factory.mktemp("mapped") / "demo"
    folder.mkdir()
    for name in ("subject", "maps", "results"):
        (folder / name).symlink_to(demo / name)
    return folder


@pytest.fixture(scope="session")
def imported() -> None:
    """Import what a window needs, and let no later collection of garbage look through it: each window ends with several."""
    for module in ("napari.viewer", "napari._qt.qt_main_window", "napari_brain2pix.widgets.dock"):
        import_module(module)
    gc.collect()
    gc.freeze()


@pytest.fixture
def viewer(imported: None, make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Any]:
    """Viewer that is shown, of a fixed size, without notifications on its canvas."""
    from napari.settings import get_settings

    get_settings().application.gui_notification_level = "none"
    made = make_napari_viewer(show=True)
    made.window.resize(*SIZE)
    qtbot.wait(50)
    yield made
    _forget_closed(made.window)
    gc.collect()


def _forget_closed(window: Any) -> None:
    """Keep napari's fixture from closing once more what a test has closed: on Qt 6 the inner widgets are gone by then."""
    try:
        window._qt_viewer.objectName()
    except RuntimeError:
        window._teardown()
        del window._qt_window
    except AttributeError:  # closed by a script, and known to be
        pass


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache of a new user: no demo of the developer's, no job of the other test process. Children need not be polite to a waiting test.

    Jobs are plain processes: a compute server takes seconds to start, and test_engine.py is about it.
    """
    from napari_brain2pix import _sample_data
    from napari_brain2pix.children import engine, jobs

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "NICE", 0)
        patch.setattr(engine, "DEFAULT_PLACE", engine.PLAIN)
        patch.setattr(_sample_data, "cache_folder", lambda: folder)
        yield


@pytest.fixture(autouse=True)
def own_jobs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of this test's servers and list of jobs: those of others are none of its business."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def dock(viewer: Any, qtbot: Any) -> Iterator[Any]:
    """Our dock as the Plugins menu opens it; which devices there are is asked, by a child that imports torch, only in a test about it."""
    from napari_brain2pix.children.jobs import _LEFT_ALONE

    _, widget = viewer.window.add_plugin_dock_widget("napari-brain2pix", "brain2pix")
    widget.devices._asked = True
    qtbot.waitUntil(lambda: widget._settled, timeout=5000)
    qtbot.wait(50)  # the canvas must have its size before a camera is fitted to it
    yield widget
    widget.shut_down()
    for child in _LEFT_ALONE:  # a training outlives its window, but not the tests
        child.kill()
        child.wait(10)
    _LEFT_ALONE.clear()


@pytest.fixture
def canvas(viewer: Any, qtbot: Any) -> Callable[[], np.ndarray]:
    """Pixels of the canvas, float [h w 3] in 0..1."""

    def grab() -> np.ndarray:
        qtbot.wait(120)
        return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float) / 255

    return grab
