"""Start the window as a separate process, with a display or, for a picture, without."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brain2pix.errors import ComputeError, MissingDataError, MissingDependencyError

_START_S = 3.0  # a window that cannot open says so within this time
_PICTURE_S = 600.0


def has_display() -> bool:
    """Whether a window can be shown here."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(path: Path | None) -> int:
    """Open the window and leave it running.

    Returns
    -------
    int, exit code: that of the window if it ended at once, else 0

    Raises
    ------
    MissingDataError, ComputeError
        If the folder or a display is missing.
    """
    if path is not None and not path.exists():
        raise MissingDataError(f"{path} does not exist; give a subject folder or a run folder")
    if not has_display():
        raise ComputeError("there is no display here (DISPLAY is not set); log in with a desktop, or use `ssh -X`")
    arguments = [] if path is None else [str(path.absolute())]
    process = subprocess.Popen([sys.executable, "-m", "napari_brain2pix", *arguments], start_new_session=True)
    try:
        return process.wait(timeout=_START_S)
    except subprocess.TimeoutExpired:
        print(f"the window opens in process {process.pid}")
        return 0


def photograph_window(path: Path, picture: Path) -> Path:
    """Save a picture of the window without a display, on an X server of our own.

    Raises
    ------
    MissingDependencyError
        If there is no Xvfb.
    ComputeError
        If the window could not be drawn.
    """
    with _own_display() as environment:
        command = [sys.executable, "-m", "napari_brain2pix", str(path.absolute()), "--screenshot", str(picture.absolute())]
        try:
            result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PICTURE_S, check=False)
        except subprocess.TimeoutExpired:
            raise ComputeError(f"the picture of the window was not ready after {_PICTURE_S:.0f} s") from None
    if result.returncode != 0 or not picture.is_file():
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise ComputeError(f"the picture of the window could not be made: {last}")
    return picture


@contextmanager
def _own_display() -> Iterator[dict[str, str]]:
    """Start Xvfb on a display that it finds free; end it afterwards."""
    program = shutil.which("Xvfb")
    if program is None:
        raise MissingDependencyError("a picture of the window without a display needs Xvfb; on Debian: apt install xvfb")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", "1920x1200x24", "-nolisten", "tcp"],
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            number = answer.readline().strip()
        if not number:
            raise ComputeError("Xvfb did not start; run it by hand to see why: Xvfb :99")
        yield {**os.environ, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"}
    finally:
        server.terminate()
        server.wait(timeout=10)
