"""``brain2pix window``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def window(path: Annotated[Path | None, Parameter(help="Subject folder or run folder to open.")] = None, /) -> int:
    """Open the window in a process of its own."""
    from brain2pix.cli._window import open_window

    return open_window(path)
