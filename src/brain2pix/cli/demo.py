"""``brain2pix demo``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from brain2pix.cli._options import Seed
from brain2pix.config.defaults import DEMO_METHOD


def demo(
    *,
    seed: Seed = 0,
    out: Annotated[Path | None, Parameter(help="Folder for everything; default: brain2pix-demo.")] = None,
    preset: Annotated[str, Parameter(help="tiny, demo, full or hard.")] = "demo",
    method: Annotated[str, Parameter(help="System to train: any with an encoder.")] = DEMO_METHOD,
    scores: Annotated[
        Literal["short", "full"],
        Parameter(help="Rows of the sheet: the first ones, or all with their controls. A short sheet becomes full by asking again."),
    ] = "short",
    window: Annotated[bool, Parameter(help="Open the window at the end.")] = True,
) -> int:
    """Run the whole main job on a simulated subject, then open the window.

    Without a display, a picture of the window is saved instead.
    """
    from brain2pix.cli._job import STOPPED, with_progress
    from brain2pix.cli._tables import score_table
    from brain2pix.compute.demo import run_demo
    from brain2pix.events import Cancelled

    place = (out or _default_folder(seed, preset, method)).absolute()
    try:
        made = with_progress(lambda sink, cancel: run_demo(place, seed, preset, sink, cancel, method=method, full_sheet=scores == "full"))
    except Cancelled:
        print("stopped; the same command goes on")
        return STOPPED
    score_table(made)
    print(f"everything is in {place}")
    return _show(place) if window else 0


def _default_folder(seed: int, preset: str, method: str) -> Path:
    if (seed, preset, method) == (0, "demo", DEMO_METHOD):
        return Path("brain2pix-demo")
    return Path("-".join(["brain2pix-demo", *([] if method == DEMO_METHOD else [method]), preset, str(seed)]))


def _show(place: Path) -> int:
    from brain2pix.cli._window import has_display, open_window, photograph_window

    if has_display():
        return open_window(place)
    picture = photograph_window(place, place / "window.png")
    print(f"there is no display here; a picture of the window is in {picture}")
    return 0
