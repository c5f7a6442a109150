"""What can be done by a name in the command palette, or by the keys Ctrl+B and then a letter.

The manifest lists the functions at the end; napari gives them its viewer. They act on the dock, and open it where it is not.
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from qtpy.QtWidgets import QMainWindow

    from napari_brain2pix.widgets.dock import BrainDock

PLUGIN, WIDGET = "napari-brain2pix", "brain2pix"
LEADER = "Ctrl+B"  # napari binds nothing to it; plain letters are its layer tools


@dataclass(frozen=True)
class Command:
    """Something to do with the dock.

    Parameters
    ----------
    title : str, as the palette shows it
    key : str, letter or digit after the leader
    act : callable, takes the dock
    """

    title: str
    key: str
    act: "Callable[[BrainDock], None]"


def _step(name: str, dock: "BrainDock") -> None:
    dock.state.set_step(name)


def _view(name: str, dock: "BrainDock") -> None:
    if dock.state.workspace is not None and (name == "volume" or dock.scene.cortex.has(name)):
        dock.state.set_view(name)


def _next_map(dock: "BrainDock") -> None:
    names = list(dock.state.kinds)
    if dock.state.kind is not None:
        dock.state.set_kind(names[(names.index(dock.state.kind.name) + 1) % len(names)])


def _image(by: int, dock: "BrainDock") -> None:
    ids = dock.state.workspace.pictures.stimulus_ids if dock.state.workspace is not None else []
    if ids:
        at = ids.index(dock.state.base) if dock.state.base in ids else -max(by, 0)
        dock.state.set_base(ids[(at + by) % len(ids)])


def _run_or_stop(dock: "BrainDock") -> None:
    if dock.runner.busy:
        dock.runner.stop()
    elif dock.reproducing.isVisible():
        dock.reproducing.start()
    elif dock.state.workspace is not None:
        dock.state.set_step("train")
        dock.train.start()


COMMANDS = {
    "show_data": Command("Show step 1, Data", "1", partial(_step, "data")),
    "show_train": Command("Show step 2, Train", "2", partial(_step, "train")),
    "show_maps": Command("Show step 3, Maps", "3", partial(_step, "maps")),
    "show_decode": Command("Show step 4, Decode", "4", partial(_step, "decode")),
    "show_stimulate": Command("Show step 5, Stimulate", "5", partial(_step, "stimulate")),
    "open_folder": Command("Open a subject, run or demo folder…", "O", lambda dock: dock.data.choose_folder()),
    "import_dataset": Command("Import a dataset…", "D", lambda dock: dock.data.show_import()),
    "reproduce_paper": Command("Reproduce a paper…", "A", lambda dock: dock.train_step.unfold()),
    "view_volume": Command("Show the volume", "V", partial(_view, "volume")),
    "view_inflated": Command("Show the inflated cortex", "I", partial(_view, "inflated")),
    "view_flat": Command("Show the flat cortex", "F", partial(_view, "flat")),
    "view_sphere": Command("Show the cortex as a sphere", "S", partial(_view, "sphere")),
    "next_map": Command("Show the next map", "M", _next_map),
    "next_image": Command("Next test image", "N", partial(_image, 1)),
    "previous_image": Command("Previous test image", "P", partial(_image, -1)),
    "clear_selection": Command("Clear the selected voxels", "X", lambda dock: dock.state.clear_selection()),
    "run_or_stop": Command("Start the training, or stop the running job", "R", _run_or_stop),
    "show_jobs": Command("Show the jobs", "J", lambda dock: dock.show_jobs()),
    "show_export": Command("Export figures, maps, scores and records…", "E", lambda dock: dock.show_export()),
    "show_keys": Command("List the keys", "H", lambda dock: dock.show_keys()),
}


def bind_keys(dock: "BrainDock", window: "QMainWindow") -> list[QShortcut]:
    """Make the shortcuts of all commands in a window: they work on its canvas, in its docks, and in those that float."""
    shortcuts = []
    for name, command in COMMANDS.items():
        shortcut = QShortcut(QKeySequence(f"{LEADER}, {command.key}"), window)
        shortcut.setObjectName(name)
        shortcut.activated.connect(partial(dock.run_command, name))
        shortcuts.append(shortcut)
    return shortcuts


def keys_table() -> str:
    """All commands and their keys, as HTML."""
    rows = (f"<tr><td><b>{LEADER}, {command.key}</b>&nbsp;&nbsp;&nbsp;</td><td>{command.title}</td></tr>" for command in COMMANDS.values())
    more = "<p>Arrow keys move sliders and pictures; Tab goes on to the next field; Escape clears the selected voxels.</p>"
    return f"<table>{''.join(rows)}</table>{more}"


def _for_palette(name: str) -> "Callable[[napari.viewer.Viewer], None]":
    def command(viewer: "napari.viewer.Viewer") -> None:
        # napari names the dock otherwise when the menu opened it, and would make a second one
        docks = (widget for widget in viewer.window.dock_widgets.values() if hasattr(widget, "run_command"))
        dock = next(docks, None) or viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
        dock.run_command(name)

    command.__name__ = command.__qualname__ = name
    command.__doc__ = COMMANDS[name].title
    return command


show_data = _for_palette("show_data")
show_train = _for_palette("show_train")
show_maps = _for_palette("show_maps")
show_decode = _for_palette("show_decode")
show_stimulate = _for_palette("show_stimulate")
open_folder = _for_palette("open_folder")
import_dataset = _for_palette("import_dataset")
reproduce_paper = _for_palette("reproduce_paper")
view_volume = _for_palette("view_volume")
view_inflated = _for_palette("view_inflated")
view_flat = _for_palette("view_flat")
view_sphere = _for_palette("view_sphere")
next_map = _for_palette("next_map")
next_image = _for_palette("next_image")
previous_image = _for_palette("previous_image")
clear_selection = _for_palette("clear_selection")
run_or_stop = _for_palette("run_or_stop")
show_jobs = _for_palette("show_jobs")
show_export = _for_palette("show_export")
show_keys = _for_palette("show_keys")
