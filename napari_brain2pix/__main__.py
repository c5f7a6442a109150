"""``python -m napari_brain2pix [PATH] [--screenshot FILE]``: the window, opened on a subject or demo folder."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from brain2pix.errors import MissingDependencyError
from napari_brain2pix._qt import require_qt

SIZE = (1600, 1000)
DECODER_WAIT_S = 90.0
PLUGIN, WIDGET = "napari-brain2pix", "brain2pix"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the window.

    Parameters
    ----------
    arguments : sequence of str or None, without the program's name

    Returns
    -------
    int, exit code
    """
    parser = argparse.ArgumentParser(prog="python -m napari_brain2pix", description="Open the brain2pix window.")
    parser.add_argument("path", nargs="?", type=Path, help="a native subject folder, or a folder made by `brain2pix demo`")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="save a picture of the whole window (PNG) and leave")
    parser.add_argument("--view", choices=("volume", "inflated", "flat", "sphere"), help="which view to start with")
    options = parser.parse_args(arguments)
    try:
        require_qt()
    except MissingDependencyError as error:
        print(error, file=sys.stderr)
        return 1
    if options.screenshot is None:
        return _run(options.path, options.view)
    with tempfile.TemporaryDirectory(prefix="brain2pix-window-") as settings:
        # The user's own settings would change size, theme and notifications of the picture.
        os.environ["NAPARI_CONFIG"] = str(Path(settings) / "settings.yaml")
        return _photograph(options.path, options.view, options.screenshot)


def open_window(path: Path | None, view: str | None) -> tuple[Any, Any]:
    """Make a viewer with our dock, and open a folder in it.

    Parameters
    ----------
    path : Path or None
    view : "volume", "inflated", "flat", "sphere" or None for the first look

    Returns
    -------
    napari.Viewer and BrainDock
    """
    import napari

    viewer = napari.Viewer(title="brain2pix", show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    _process_events()  # the canvas must have its size before the camera is fitted to it
    if path is not None:
        dock.open(path)
        if view is not None and dock.state.workspace is not None:
            dock.state.set_view(view)
    return viewer, dock


def _run(path: Path | None, view: str | None) -> int:
    import napari

    open_window(path, view)
    napari.run()
    return 0


def _photograph(path: Path | None, view: str | None, file: Path) -> int:
    from imageio.v3 import imwrite
    from napari.settings import get_settings

    get_settings().application.gui_notification_level = "error"
    viewer, dock = open_window(path, view)
    try:
        problem = dock.head.notice.text() if path is not None and dock.state.workspace is None else ""
        if problem:
            print(problem, file=sys.stderr)
            return 1
        _wait_for(lambda: dock.complete)
        _process_events()
        picture = viewer.screenshot(canvas_only=False, flash=False)
    finally:
        viewer.close()
    file.parent.mkdir(parents=True, exist_ok=True)
    imwrite(file, picture[..., :3], extension=".png")
    return 0


def _wait_for(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + DECODER_WAIT_S
    while not ready() and time.monotonic() < end:
        _process_events()


def _process_events(seconds: float = 0.3) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
