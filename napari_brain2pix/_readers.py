"""napari reader of native subject folders and demo folders."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_brain2pix._layers import LayerTuple

PathOrPaths = str | Sequence[str]


def get_reader(path: PathOrPaths) -> "Callable[[PathOrPaths], list[LayerTuple]] | None":
    """Reader for a folder that holds a subject; None for anything else, so that other readers get their turn."""
    from napari_brain2pix._workspace import find_subject

    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    return read_folder if find_subject(Path(path)) is not None else None


def read_folder(path: PathOrPaths) -> "list[LayerTuple]":
    """Layers of a folder: anatomy, map, areas, and the inflated hemispheres (hidden).

    Raises
    ------
    Brain2PixError
        If the folder holds no readable subject; napari shows the message.
    """
    from napari_brain2pix._cortex import build_cortex
    from napari_brain2pix._layers import reader_layers
    from napari_brain2pix._maps import map_kinds, map_view, threshold_range
    from napari_brain2pix._workspace import open_workspace

    workspace = open_workspace(Path(path if isinstance(path, str) else path[0]))
    view = None
    if workspace.map is not None:
        view = map_view(workspace.map, next(iter(map_kinds(workspace.map).values())), threshold_range(workspace.map)[1])
    _leave_3d()
    return reader_layers(workspace.subject, build_cortex(workspace.subject), view, workspace.folder)


def _leave_3d() -> None:
    """Turn an open viewer to slices: napari 0.9 fails to add labels with names in 3-D while the pointer is over the canvas."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.dims.ndisplay = 2
