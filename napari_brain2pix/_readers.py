"""napari readers: subject and demo folders, volumes (NIfTI, MGH), surfaces and values of vertices (GIFTI, FreeSurfer, CIFTI-2).

Volumes go to napari as they are, with their affine: R A S in mm, never flipped (see `_layers`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import Brain2PixError, DataFormatError

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

    from brain2pix.data.loose_files import LooseVolume
    from brain2pix.data.loose_surfaces import LooseSurface
    from napari_brain2pix.brain.layers import LayerTuple

PathOrPaths = str | Sequence[str]
VOLUMES = (".nii", ".nii.gz", ".mgz", ".mgh", ".mgh.gz")  # or values of vertices: the content decides
NO_VALUE = (0.45, 0.45, 0.45, 1.0)  # cortex where a map says nothing: napari paints NaN black
ORIGIN = "brain2pix_file"  # key in a layer's metadata
MOST_SAMPLED = 2_000_000  # voxels looked at for the limits of the grey scale


def get_reader(path: PathOrPaths) -> "Callable[[PathOrPaths], list[LayerTuple]] | None":
    """Reader for a folder that holds a subject, a volume or a surface; None for anything else, so that other readers get their turn."""
    from brain2pix.data.loose_surfaces import is_loose_surface
    from napari_brain2pix.folders.workspace import find_subject

    if not isinstance(path, str):
        if len(path) != 1:
            return None
        path = path[0]
    if path.lower().endswith(VOLUMES):
        return read_volume_file if _holds_volume(Path(path)) else read_surface_file
    if is_loose_surface(Path(path)):
        return read_surface_file
    return read_folder if find_subject(Path(path)) is not None else None


def open_files(viewer: "napari.viewer.Viewer", files: Sequence[str]) -> list[str]:
    """Open volumes and surfaces in a viewer, meshes before the values that need one; a bad file does not keep the others away.

    Returns
    -------
    list of str, what could not be opened, and why
    """
    problems = []
    for path in sorted(map(Path, files), key=_turn):
        if path.is_dir() or get_reader(str(path)) is None:
            problems.append(
                f"{path.name}: expected a volume (.nii, .nii.gz, .mgz), a surface or values of one (.gii, lh.white, lh.curv, .annot, "
                ".label, .mgz, .dscalar.nii); other files open by napari's File menu"
            )
            continue
        try:
            viewer.open(str(path), plugin="napari-brain2pix")
        except (Brain2PixError, OSError) as error:
            problems.append(str(error))
    return problems


def _holds_volume(path: Path) -> bool:
    from brain2pix.data.loose_files import is_volume

    try:
        return is_volume(path)
    except (Brain2PixError, OSError):
        return True  # what is wrong with it is said where it is read


def _turn(path: Path) -> int:
    """When to open a file: volumes, then meshes, then what may need one."""
    from brain2pix.data.freesurfer_files import kind_of

    if path.name.lower().endswith(VOLUMES):
        return 0 if _holds_volume(path) else 2
    is_mesh = path.name.endswith((".surf.gii", ".surf.gii.gz")) or (
        path.is_file() and path.name[:3] in ("lh.", "rh.") and kind_of(path) == "geometry"
    )
    return 1 if is_mesh else 2


def read_folder(path: PathOrPaths) -> "list[LayerTuple]":
    """Layers of a folder: anatomy, map, areas, and the inflated hemispheres (hidden).

    Raises
    ------
    Brain2PixError
        If the folder holds no readable subject; napari shows the message.
    """
    from napari_brain2pix.brain.cortex import build_cortex
    from napari_brain2pix.brain.layers import reader_layers
    from napari_brain2pix.brain.maps import map_kinds, map_view, threshold_range
    from napari_brain2pix.folders.workspace import open_workspace

    workspace = open_workspace(_one(path))
    view = None
    if workspace.map is not None:
        view = map_view(workspace.map, next(iter(map_kinds(workspace.map).values())), threshold_range(workspace.map)[1])
    _leave_3d()
    return reader_layers(workspace.subject, build_cortex(workspace.subject), view, workspace.folder)


def read_volume_file(path: PathOrPaths) -> "list[LayerTuple]":
    """Layer of a volume: labels with their names where it holds labels, else an image; a series has time first.

    Raises
    ------
    Brain2PixError
        If the file cannot be read; napari shows the message.
    """
    from brain2pix.data.loose_files import read_loose_volume

    volume = read_loose_volume(_one(path))
    _warn(volume.notes)
    if volume.labels:
        _leave_3d()
    return [_labels_layer(volume) if volume.labels else _image_layer(volume)]


def read_surface_file(path: PathOrPaths) -> "list[LayerTuple]":
    """Layer of a mesh or of values of vertices, one for each hemisphere of CIFTI-2.

    Values without a mesh are shown on the mesh they belong to: one that is open, one beside the file, or the fsaverage5 that comes along.

    Raises
    ------
    Brain2PixError
        If the file cannot be read, or no mesh is known; napari shows the message.
    """
    from brain2pix.data.loose_surfaces import read_loose_surfaces

    place = _one(path)
    surfaces = read_loose_surfaces(place, _vertices_of_label(place))
    layers = []
    for surface in surfaces:
        _warn(surface.notes)
        vertices, faces, affine = _known_mesh(surface) if surface.mesh is None else (surface.mesh.vertices, surface.mesh.faces, np.eye(4))
        data, settings, kind = _surface_layer(surface, (vertices, faces), affine)
        if len(surfaces) > 1:
            settings["name"] = f"{settings['name']} {surface.hemi}"
        layers.append((data, settings, kind))
    return layers


def _one(path: PathOrPaths) -> Path:
    return Path(path if isinstance(path, str) else path[0])


def _warn(notes: Sequence[str]) -> None:
    from napari.utils.notifications import show_warning

    for note in notes:
        show_warning(note)


def _volume_settings(volume: "LooseVolume") -> dict[str, Any]:
    from brain2pix.data.volumes import entities, stem

    affine = volume.affine
    settings: dict[str, Any] = {"units": ("mm",) * 3, "axis_labels": ("R", "A", "S")}
    if volume.data.ndim == 4:
        affine = np.eye(5)
        affine[1:, 1:] = volume.affine
        affine[0, 0] = volume.step_s or 1.0
        settings = {"units": ("s" if volume.step_s else "pixel", *("mm",) * 3), "axis_labels": ("time", "R", "A", "S")}
    origin = {"path": str(volume.path), "space": entities(volume.path).get("space", ""), "labels": volume.why}
    return {"name": stem(volume.path), "affine": affine, **settings, "metadata": {ORIGIN: origin}}


def _image_layer(volume: "LooseVolume") -> "LayerTuple":
    sample = volume.data.reshape(-1)[:: max(1, volume.data.size // MOST_SAMPLED)]
    finite = sample[np.isfinite(sample)]
    low, high = (float(value) for value in np.percentile(finite, (0.5, 99.5))) if finite.size else (0.0, 1.0)
    if not low < high:
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    settings = {**_volume_settings(volume), "colormap": "gray", "contrast_limits": (low, high if high > low else low + 1.0)}
    if volume.data.dtype.kind in "iub":  # whole numbers may be codes: nothing between two of them may be made up
        settings |= {"interpolation2d": "nearest", "interpolation3d": "nearest"}
    return volume.data, settings, "image"


def _labels_layer(volume: "LooseVolume") -> "LayerTuple":
    settings = _volume_settings(volume)
    if volume.names:
        names = {0: "", **volume.names}
        settings["features"] = {"index": list(names), "name": list(names.values())}
    if volume.colours and set(np.unique(volume.data)) - {0} <= set(volume.colours):
        settings["colormap"] = {**volume.colours, 0: "transparent", None: "transparent"}
    data = volume.data.astype(np.uint8) if volume.data.dtype.kind == "b" else volume.data
    return data, settings, "labels"


def _surface_layer(surface: "LooseSurface", mesh: "tuple[NDArray[Any], NDArray[Any]]", affine: "NDArray[np.float64]") -> "LayerTuple":
    from brain2pix.data.volumes import entities, stem

    origin: dict[str, Any] = {"path": str(surface.path), "space": entities(surface.path).get("space", ""), "hemi": surface.hemi}
    settings: dict[str, Any] = {"name": stem(surface.path), "shading": "smooth", "metadata": {ORIGIN: origin}}
    units, labels = ("mm",) * 3, ("R", "A", "S")
    values = surface.values
    if values is None:
        return mesh, {**settings, "affine": affine, "units": units, "axis_labels": labels}, "surface"
    if len(values) > 1:  # one map after the other, along a first axis
        longer = np.eye(5)
        longer[1:, 1:], affine = affine, longer
        affine, units, labels = longer, ("pixel", *units), ("map", *labels)
    settings |= {"affine": affine, "units": units, "axis_labels": labels, "colormap": "viridis"}
    origin["names"] = _distinct(surface.names)
    settings["features"] = dict(zip(origin["names"], values, strict=True))
    shown = values if len(values) > 1 else values[0]
    if surface.label_names:
        origin["labels"] = {key: (name, surface.label_colours[key]) for key, name in surface.label_names.items()}
        settings["features"]["name"] = [surface.label_names.get(int(value), "") for value in np.nan_to_num(values[0])]
        return mesh, {**settings, "vertex_colors": _label_colours(surface, shown)}, "surface"
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if np.isfinite(values).all():
        return (*mesh, shown), {**settings, "contrast_limits": (low, high if high > low else low + 1.0)}, "surface"
    return mesh, {**settings, "vertex_colors": _value_colours(shown, low, high)}, "surface"


def _value_colours(values: "NDArray[np.float32]", low: float, high: float) -> "NDArray[np.float32]":
    """Colour values, grey where there is none: napari would paint every triangle at a NaN black."""
    from napari.utils.colormaps import ensure_colormap

    good = np.isfinite(values)
    span = np.clip((np.where(good, values, low) - low) / max(high - low, 1e-12), 0, 1)
    colours = np.asarray(ensure_colormap("viridis").map(span.reshape(-1)), dtype=np.float32).reshape(*values.shape, 4)
    colours[~good] = NO_VALUE
    return colours


def _label_colours(surface: "LooseSurface", values: "NDArray[np.float32]") -> "NDArray[np.float32]":
    colours = np.full((*values.shape, 4), NO_VALUE, dtype=np.float32)
    for key, rgba in surface.label_colours.items():
        colours[values == key] = rgba if rgba[3] > 0 else NO_VALUE  # an invisible label is no hole in the cortex
    return colours


def _distinct(names: Sequence[str]) -> list[str]:
    return [name if name not in names[:number] else f"{name} ({number + 1})" for number, name in enumerate(names)]


def _known_mesh(surface: "LooseSurface") -> "tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]":
    """Mesh that values belong to: an open one, the latest first, else one in a folder where it may lie, else fsaverage5."""
    from brain2pix.anatomy.surfaces import HEMISPHERES, load_fsaverage5
    from brain2pix.data.loose_surfaces import mesh_for, read_loose_surfaces
    from brain2pix.data.surface_files import FSAVERAGE_SIZES

    assert surface.values is not None
    n_vertices = surface.values.shape[1]
    for vertices, faces, affine, hemi in _open_meshes():
        if len(vertices) == n_vertices and (not hemi or not surface.hemi or hemi == surface.hemi):
            return vertices, faces, affine
    place = mesh_for(surface, _mesh_folders(surface.path))
    mesh = read_loose_surfaces(place)[0].mesh if place is not None else None
    looks = FSAVERAGE_SIZES.get(n_vertices)
    if mesh is None and looks == "fsaverage5" and surface.hemi in HEMISPHERES:
        _warn([f"{surface.path.name}: no mesh of it is open or lies beside it; it is shown on fsaverage5, which has as many vertices"])
        mesh = load_fsaverage5(surface.hemi)["pial"]
    if mesh is None:
        side = f"hemi-{surface.hemi}" if surface.hemi else "the same hemisphere"
        whose = f" (as {looks})" if looks else ""
        raise DataFormatError(
            f"{surface.path.name} holds values of {n_vertices:,} vertices{whose} but no mesh, and no mesh of {side} with as many vertices "
            "is open or lies beside it; open its mesh first (*.surf.gii, lh.white), or both together, or copy the mesh "
            f"to {surface.path.parent}"
        )
    return mesh.vertices, mesh.faces, np.eye(4)


def _vertices_of_label(path: Path) -> int | None:
    """How many vertices the mesh of a .label has, which lists some of them: that of an open mesh, or of one where it may lie."""
    from brain2pix.data.loose_surfaces import find_mesh, read_loose_surfaces
    from brain2pix.data.surface_files import hemisphere_of

    if not path.name.lower().endswith(".label"):
        return None
    own = hemisphere_of(path)
    for vertices, _, _, hemi in _open_meshes():
        if own and hemi == own:
            return len(vertices)
    place = find_mesh(own, _mesh_folders(path))
    mesh = read_loose_surfaces(place)[0].mesh if place is not None else None
    return mesh.n_vertices if mesh is not None else None


def _open_meshes() -> "Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[np.float64], str]]":
    """Vertices, faces, affine and hemisphere of the surfaces in the viewer, the latest first."""
    import napari

    from napari_brain2pix.brain.layers import HEMISPHERES

    viewer = napari.current_viewer()
    sides = {name: hemi for hemi, name in HEMISPHERES.items()}
    for layer in reversed(viewer.layers if viewer is not None else []):
        if type(layer).__name__ == "Surface" and layer.vertices.shape[1] == 3:
            hemi = layer.metadata.get(ORIGIN, {}).get("hemi") or sides.get(layer.name, "")
            yield layer.vertices, layer.faces, np.asarray(layer.affine.affine_matrix)[-4:, -4:], hemi


def _mesh_folders(path: Path) -> list[Path]:
    """Where the meshes of a file may lie: beside it, in ``anat`` or ``surf`` of its subject, or of the demo that it was made in."""
    from napari_brain2pix.folders.workspace import find_subject

    parents = list(path.absolute().parents)[:3]
    root = next((root for root in map(find_subject, parents) if root is not None), None)
    anat = sorted(root.glob("sub-*/anat")) if root is not None else []
    return [parents[0], *(parent / name for parent in parents[:2] for name in ("anat", "surf")), *anat]


def _leave_3d() -> None:
    """Turn an open viewer to slices: napari 0.9 fails to add labels with names in 3-D while the pointer is over the canvas."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.dims.ndisplay = 2
