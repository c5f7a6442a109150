"""``brain2pix demo``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brain2pix.cli._options import Seed


def demo(
    *,
    seed: Seed = 0,
    out: Annotated[Path | None, Parameter(help="Folder for everything; default: brain2pix-demo.")] = None,
    preset: Annotated[str, Parameter(help="tiny, demo, full or hard.")] = "demo",
    window: Annotated[bool, Parameter(help="Open the window at the end.")] = True,
) -> int:
    """Run the whole main job on a simulated subject, then open the window.

    Without a display, a picture of the window is saved instead.
    """
    from brain2pix.cli._job import STOPPED, with_progress
    from brain2pix.cli._tables import score_table
    from brain2pix.compute.demo import run_demo
    from brain2pix.events import Cancelled

    place = (out or _default_folder(seed, preset)).absolute()
    try:
        made = with_progress(lambda sink, cancel: run_demo(place, seed, preset, sink, cancel))
    except Cancelled:
        print("stopped; the same command goes on")
        return STOPPED
    score_table(made)
    print(f"everything is in {place}")
    return _show(place) if window else 0


def _default_folder(seed: int, preset: str) -> Path:
    return Path("brain2pix-demo") if (seed, preset) == (0, "demo") else Path(f"brain2pix-demo-{preset}-{seed}")


def _show(place: Path) -> int:
    from brain2pix.cli._window import has_display, open_window, photograph_window

    if has_display():
        return open_window(place)
    picture = photograph_window(place, place / "window.png")
    print(f"there is no display here; a picture of the window is in {picture}")
    return 0
