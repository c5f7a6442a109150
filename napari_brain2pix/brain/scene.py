"""The brain in the viewer: which layers are there, from where one looks, what a click means, and which side is left."""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_brain2pix._guard import guarded
from napari_brain2pix.brain import layers
from napari_brain2pix.brain.cortex import Cortex, build_cortex
from napari_brain2pix.brain.pick import CortexPicker, vertices_of, voxel_at, voxel_on_ray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_brain2pix._state import Selection, State
    from napari_brain2pix.brain.maps import MapView
    from napari_brain2pix.folders.workspace import Workspace

VIEWS = ("volume", "inflated", "flat", "sphere")
PLANES = ("axial", "coronal", "sagittal", "3d")
# World axes are 0 = R, 1 = A, 2 = S: (slider, upwards, to the right). With rightwards and upwards axes, right is right.
PLANE_ORDER = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
SLICING = ("towards", "up", "right")
# The default 3-D camera of napari: with axes in their own order it does not mirror, and meshes are lit from outside.
SPACE_3D = ("towards", "down", "right")
UP = (0.0, 0.0, 1.0)
# From behind the head; V1 lies low on the sphere.
LOOK = {"inflated": (0.0, 1.0, 0.12), "flat": (0.0, 1.0, 0.0), "sphere": (0.0, 1.0, 0.6), "3d": layers.GLASS_LOOK}
PERSPECTIVE = 12.0  # degrees: visual cortex, which is nearest, looks larger than what lies in front of it
BORDER_MM = {"inflated": 0.55, "flat": 0.7, "sphere": 0.7}
STILL_PX = 4  # a press that moves less is a click; more turns the brain
SIDE_NAMES = {"L": "left", "R": "right"}
SIDES = ("brain2pix left", "brain2pix right", "brain2pix caption")


class Scene:
    """Shows one workspace in a napari viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    state : State, told of clicks and of problems
    """

    def __init__(self, viewer: "Viewer", state: "State") -> None:
        self.viewer, self.state = viewer, state
        self.workspace: Workspace | None = None
        self.cortex = Cortex()
        self._picker = CortexPicker(self.cortex)
        self._chosen: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.view = "volume"
        self.plane = "axial"
        self._map: MapView | None = None
        self._region: NDArray[np.bool_] | None = None
        self._labels: dict[str, NDArray[np.int32]] = {}
        self._parts: list[str] = []
        self._caption = ""
        self._finer = 1
        self._fitted: tuple[Any, ...] | None = None
        self._listen(True)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def show(self, workspace: "Workspace", found: "MapView | None") -> None:
        """Replace everything of ours in the viewer by a workspace; a view is to be set then."""
        self.clear()
        self.workspace, self._map = workspace, found
        subject, folder = workspace.subject, workspace.folder
        self.cortex = build_cortex(subject)
        self._picker = CortexPicker(self.cortex)
        self._parts = layers.area_parts(subject)
        self._labels = layers.vertex_labels(subject, self.cortex, self._parts)
        self._region = np.zeros(len(subject.voxels), dtype=bool)
        # Labels with features must be added in 2-D: napari 0.9 fails on them in 3-D under the pointer.
        self.viewer.dims.ndisplay = 2
        self._add(layers.t1_layer(subject, folder))
        self._add(layers.faded_map_layer(subject, found, folder) if found is not None else None)
        self._finer = layers.outline_grid(subject)
        self._add(layers.area_layer(subject, folder, self._finer))
        self._add(layers.region_layer(subject, self._region, folder, self._finer))
        self._add(layers.chosen_layer(subject, self._chosen, folder, self._finer))

    def clear(self) -> None:
        """Remove our layers and labels; other people's stay."""
        for layer in [layer for layer in self.viewer.layers if layers.came_from(layer.metadata) is not None]:
            self.viewer.layers.remove(layer)
        self.workspace, self._map, self._region, self.cortex = None, None, None, Cortex()
        self._picker, self._chosen = CortexPicker(self.cortex), np.empty(0, dtype=np.int64)
        self.set_caption("")
        self._update_sides()

    def set_view(self, view: str, plane: str | None = None) -> None:
        """Look at the volume, or at the inflated, flat or spherical cortex.

        Parameters
        ----------
        view : "volume", "inflated", "flat" or "sphere"
        plane : "axial", "coronal", "sagittal" or "3d", for the volume; None keeps the last one
        """
        self.plane = plane or self.plane
        if self.workspace is None:
            return
        previous, self.view = self.view, view
        if view == "volume":
            self._show_volume()
        else:
            self._show_surface(view, rebuild=previous != view or self._layer(layers.LEFT) is None)
        self._mark()
        self._update_sides()

    def set_map(self, found: "MapView | None") -> None:
        """Show another map, or the same one with another threshold."""
        self._map = found
        if self.workspace is None:
            return
        self._fill_map()
        if self.view != "volume":
            colours = self._colours(self.view)
            for hemi, name in layers.HEMISPHERES.items():
                layer = self._layer(name)
                if layer is not None:
                    layer.vertex_colors = colours[hemi]
            names = self._layer(layers.NAMES)
            if names is not None:
                names.text.color = layers.name_inks(names.features["hemi"], names.features["vertex"], colours)

    def set_region(self, mask: "NDArray[np.bool_]") -> None:
        """Draw a line around the voxels that a region expression chose."""
        self._region = mask
        if self.workspace is None:
            return
        layer = self._layer(layers.REGION)
        if layer is not None:
            layer.data, _, _ = layers.region_layer(self.workspace.subject, mask, self.workspace.folder, self._finer)
        if self.view != "volume" and self._layer(layers.REGION_LINE) is not None:
            self._set_mesh(layers.REGION_LINE, layers.region_mesh(self.cortex, self.view, mask, BORDER_MM[self.view]))

    def set_selection(self, selection: "Selection") -> None:
        """Mark selected voxels in the view that is shown; slices go to where they are."""
        self._chosen = selection.rows
        if self.workspace is None:
            return
        if self.viewer.dims.ndisplay == 2 and self._chosen.size and selection.source != "volume":
            self._go_to_chosen()
        self._mark()

    def set_caption(self, text: str) -> None:
        """State under the brain what is shown."""
        self._caption = text
        self._update_sides()

    def close(self) -> None:
        """Stop listening to the viewer."""
        self._listen(False)

    # -- views --------------------------------------------------------------------------------------------------------

    def _show_volume(self) -> None:
        viewer = self.viewer
        solid = self.plane == "3d"
        self._set_visible((layers.T1, layers.MAP, layers.AREAS, layers.REGION, layers.CHOSEN) if not solid else (layers.MAP,))
        if solid:
            self._outline(False)
            if self.cortex.has("pial"):
                self._draw_glass()
            self._look(LOOK["3d"], self._brain_extent())
            return
        viewer.dims.ndisplay = 2
        self._outline(True)
        viewer.dims.order = PLANE_ORDER[self.plane]
        viewer.scene.camera.orientation = SLICING
        viewer.dims.set_point(range(-3, 0), self._focus())  # a series that is open too has time before them
        low, high = self._voxel_extent()
        axes = PLANE_ORDER[self.plane][1:]
        self._fit((low + high) / 2, (high - low)[list(axes)], axes, margin=1.0)

    def _draw_glass(self) -> None:
        """Show the outer surface around the map, as glass."""
        for hemi, name in layers.HEMISPHERES.items():
            shape = self.cortex.hemispheres[hemi].shapes["pial"]
            self._set_mesh(name, (shape.vertices, shape.faces, layers.glass_colours(shape)))
            self._layer(name).visible = True

    def _outline(self, on: bool) -> None:
        """Draw labels as outlines; napari has none in 3-D and says so each time."""
        for name in (layers.AREAS, layers.REGION, layers.CHOSEN):
            layer = self._layer(name)
            if layer is not None:
                layer.contour = 1 if on else 0

    def _fill_map(self) -> None:
        """Write the map into its volume."""
        layer = self._layer(layers.MAP)
        if layer is None or self._map is None or self.workspace is None:
            return
        data, settings, _ = layers.faded_map_layer(self.workspace.subject, self._map, self.workspace.folder)
        layer.colormap, layer.data = settings["colormap"], data
        layer.contrast_limits_range = layer.contrast_limits = settings["contrast_limits"]

    def _show_surface(self, view: str, rebuild: bool) -> None:
        if not self.cortex.has(view):
            return
        if rebuild:
            self._draw_surface(view)
        self._outline(False)
        self._set_visible((layers.LEFT, layers.RIGHT, layers.BORDERS, layers.REGION_LINE, layers.NAMES))
        self._look(LOOK[view], self._surface_extent(view))

    def _draw_surface(self, view: str) -> None:
        """Put the meshes of a view into the surface layers, made on first use."""
        folder = self.workspace.folder
        colours = self._colours(view)
        for hemi, name in layers.HEMISPHERES.items():
            shape = self.cortex.hemispheres[hemi].shapes[view]
            self._set_mesh(name, (shape.vertices, shape.faces, colours[hemi]))
        self._set_mesh(layers.BORDERS, layers.border_mesh(self.cortex, view, self._labels, BORDER_MM[view]))
        self._set_mesh(layers.REGION_LINE, layers.region_mesh(self.cortex, view, self._region, BORDER_MM[view]))
        old = self._layer(layers.NAMES)
        if old is not None:
            self.viewer.layers.remove(old)
        self._add(layers.name_layer(self.cortex, view, self._labels, self._parts, colours, folder))
        self._update_names()

    def _colours(self, view: str) -> "dict[str, NDArray[np.float32]]":
        return {hemi: layers.vertex_colours(self.cortex, hemi, view, self._map) for hemi in self.cortex.hemispheres}

    def _set_mesh(self, name: str, mesh: tuple[Any, Any, Any]) -> None:
        vertices, faces, colours = mesh
        layer = self._layer(name)
        if layer is None:
            self._add(layers.mesh_layer(mesh, name, self.workspace.folder))
            return
        layer.vertex_colors = None  # colours of another length would be drawn on the new mesh for a moment
        layer.data = (vertices, faces)
        layer.vertex_colors = colours

    # -- selected voxels ----------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Mark the selected voxels: outlined in slices, as dots in 3-D."""
        if self.view == "volume" and self.plane != "3d":
            layer = self._layer(layers.CHOSEN)
            if layer is not None:
                box, settings, _ = layers.chosen_layer(self.workspace.subject, self._chosen, self.workspace.folder, self._finer)
                layer.data, layer.affine = box, settings["affine"]
            return
        places, glass = self.workspace.subject.xyz[self._chosen], self.view == "volume"
        if not glass and self.cortex.has(self.view):
            places = layers.dot_places(self.cortex, self.view, vertices_of(self.cortex, self._chosen))
        self._set_dots(places, "translucent_no_depth" if glass else "translucent")

    def _set_dots(self, places: "NDArray[np.float32]", blending: str) -> None:
        """Put dots in front of what is there; a layer of our own that the user removed comes back with the next selection."""
        layer, active = self._layer(layers.CHOSEN_DOTS), self.viewer.layers.selection.active
        if layer is not None:
            self.viewer.layers.remove(layer)  # napari keeps sizes and colours of points that are replaced by more or fewer
        if len(places):
            self._add(layers.dots_layer(places, self.workspace.folder)).blending = blending
            self.viewer.layers.selection.active = active

    def _go_to_chosen(self) -> None:
        """Move the slice to the selected voxels, unless it passes through one of them."""
        subject, axis = self.workspace.subject, PLANE_ORDER[self.plane][0]
        places = subject.xyz[self._chosen, axis]
        if np.abs(places - self.viewer.dims.point[axis - 3]).min() > subject.space.voxel_mm[axis] / 2:
            slices, counts = np.unique(places, return_counts=True)
            self.viewer.dims.set_point(axis - 3, float(slices[counts.argmax()]))

    @guarded
    def _press(self, viewer: Any, event: Any) -> "Iterator[None] | None":
        """Follow a press of the left button, unless the layer that is active wants it for itself."""
        tool = str(getattr(viewer.layers.selection.active, "mode", "pan_zoom"))
        if self.workspace is None or event.button != 1 or len(event.modifiers) or tool != "pan_zoom":
            return None
        return self._follow(event)

    def _follow(self, event: Any) -> "Iterator[None]":
        """Tell a click from a drag: turning the camera selects nothing."""
        start, far = np.array(event.pos, dtype=float), 0.0
        yield
        while event.type == "mouse_move":
            far = max(far, float(np.abs(np.array(event.pos) - start).max()))
            yield
        if max(far, float(np.abs(np.array(event.pos) - start).max())) <= STILL_PX:
            self._click(np.array(event.position[-3:]), None if event.view_direction is None else np.array(event.view_direction[-3:]))

    @guarded
    def _click(self, place: "NDArray[np.float64]", direction: "NDArray[np.float64] | None") -> None:
        """Select what lies under a click; where nothing does, select nothing."""
        if self.view != "volume":
            self._click_cortex(place, direction)
            return
        subject = self.workspace.subject
        if direction is None:
            row = voxel_at(subject, place)
        else:  # what is not drawn cannot be pointed at
            drawn = np.ones(len(subject.voxels), dtype=bool) if self._map is None else self._map.shown
            row = voxel_on_ray(subject, place, direction, drawn)
        if row >= 0:
            self.state.select([row], "volume")
        else:
            self.state.clear_selection()

    def _click_cortex(self, place: "NDArray[np.float64]", direction: "NDArray[np.float64] | None") -> None:
        hit = self._picker.first(self.view, place, direction) if direction is not None and self.cortex.has(self.view) else None
        if hit is None:
            self.state.clear_selection()
            return
        self.state.select([hit.row] if hit.row >= 0 else [], "surface", f"{SIDE_NAMES[hit.hemi]} hemisphere, vertex {hit.vertex:,}")

    @guarded
    def _escape(self, viewer: Any) -> None:
        self.state.clear_selection()

    # -- camera -------------------------------------------------------------------------------------------------------

    def _look(self, view: tuple[float, ...], extent: "tuple[NDArray[Any], NDArray[Any]]") -> None:
        """Turn the 3-D camera towards a box and fill the canvas with it."""
        viewer, camera = self.viewer, self.viewer.scene.camera
        viewer.dims.order = (0, 1, 2)
        camera.orientation = SPACE_3D
        viewer.dims.ndisplay = 3
        camera.perspective = PERSPECTIVE
        camera.set_view_direction(view, UP)
        low, high = extent
        forward = np.array(view) / np.linalg.norm(view)
        right = np.cross(forward, UP) / np.linalg.norm(np.cross(forward, UP))
        upwards = np.cross(right, forward)
        half = (high - low) / 2
        size = 2 * np.array([np.abs(upwards) @ half, np.abs(right) @ half])
        self._fit((low + high) / 2, size, (0, 1, 2), margin=1.12)

    def _fit(self, centre: "NDArray[Any]", size_mm: "NDArray[Any]", axes: tuple[int, ...], margin: float) -> None:
        camera = self.viewer.scene.camera
        camera.center = tuple(float(centre[axis]) for axis in axes) if len(axes) == 3 else (0.0, *(float(centre[axis]) for axis in axes))
        canvas = np.maximum(np.array(self.viewer.canvas.size, dtype=float), 64)
        camera.zoom = float((canvas / np.maximum(size_mm * margin, 1)).min())
        self._fitted = (centre, size_mm, axes, margin, camera.zoom)

    @guarded
    def _refit(self, event: Any = None) -> None:
        """Follow the size of the canvas, unless the user has zoomed since."""
        if self._fitted is not None and self.workspace is not None:
            *what, zoom = self._fitted
            if np.isclose(self.viewer.scene.camera.zoom, zoom, rtol=1e-3):
                self._fit(*what)

    def _brain_extent(self) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Box around the brain, or around the voxels where there are no surfaces."""
        if not self.cortex.has("pial"):
            return self._voxel_extent()
        points = np.concatenate([side.shapes["pial"].vertices for side in self.cortex.hemispheres.values()])
        return points.min(axis=0), points.max(axis=0)

    def _focus(self) -> tuple[float, ...]:
        """World point that the first slices go through: a selected voxel, the middle of the mapped ones, or of the first area."""
        subject = self.workspace.subject
        if self._chosen.size:
            return tuple(float(value) for value in subject.xyz[self._chosen[len(self._chosen) // 2]])
        mask = np.ones(len(subject.voxels), dtype=bool)
        if self._map is not None and self._map.shown.any():
            mask = self._map.shown
        elif names := layers.area_names(subject):
            mask = subject.areas[names[0]]
        return tuple(float(value) for value in subject.xyz[mask].mean(axis=0))

    def _voxel_extent(self) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Box around the voxels that have responses, with some of the head around it."""
        places = self.workspace.subject.xyz
        return places.min(axis=0) - 12, places.max(axis=0) + 12

    def _surface_extent(self, view: str) -> "tuple[NDArray[Any], NDArray[Any]]":
        """Box around the labelled cortex of both sides, generously, so that visual cortex fills the canvas."""
        sides = self.cortex.hemispheres
        early = [code for code, name in enumerate(self._parts, 1) if name[:2] in layers.EARLY]
        chosen = [side.shapes[view].vertices[np.isin(self._labels[hemi], early)] for hemi, side in sides.items()]
        if any(len(points) == 0 for points in chosen):
            chosen = [side.shapes[view].vertices for side in sides.values()]
        points = np.concatenate(chosen)
        low, high = points.min(axis=0), points.max(axis=0)
        grow = np.array([30.0, 0.0, 20.0] if view == "sphere" else [8.0, 0.0, 14.0])
        return low - grow, high + grow

    # -- left and right -----------------------------------------------------------------------------------------------

    def right_on_screen(self) -> float:
        """Say where the subject's right lies: 1 = right edge of the canvas, -1 = left, near 0 = towards or away from the viewer."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        shown, first = list(dims.displayed), max(dims.ndim - 3, 0)  # a series that is open too has time before the axes of the brain
        if first not in shown:
            return 0.0
        if dims.ndisplay == 2:
            return (1.0 if str(camera.orientation[2]) == "right" else -1.0) if shown[-1] == first else 0.0
        rightwards = np.cross(camera.view_direction, camera.up_direction)
        if str(camera.handedness) == "left":
            rightwards = -rightwards
        return float(rightwards[shown.index(first)])

    @guarded
    def _update_sides(self, event: Any = None) -> None:
        """Write L and R at the edges they lie at now, however the user turned the brain."""
        from napari.components.overlays import TextOverlay

        overlays = self.viewer.canvas.overlays
        if SIDES[0] not in overlays:
            overlays[SIDES[0]] = TextOverlay(position="top_left", font_size=22, visible=False)
            overlays[SIDES[1]] = TextOverlay(position="top_right", font_size=22, visible=False)
            overlays[SIDES[2]] = TextOverlay(position="bottom_left", font_size=9, visible=False)
        right = self.right_on_screen() if self.workspace is not None else 0.0
        for name, side in zip(SIDES, ("LR" if right > 0 else "RL"), strict=False):
            overlays[name].text = side
            overlays[name].visible = abs(right) > 0.3
        overlays[SIDES[2]].text = self._caption
        overlays[SIDES[2]].visible = bool(self._caption)

    @guarded
    def _update_names(self, event: Any = None) -> None:
        """Hide area names on the far side of the brain."""
        layer = self._layer(layers.NAMES)
        if layer is None or self.viewer.dims.ndisplay != 3:
            return
        towards_viewer = -np.array(self.viewer.scene.camera.view_direction)
        facing = layer.features[["nx", "ny", "nz"]].to_numpy(dtype=float) @ towards_viewer > 0.1
        if not np.array_equal(facing, layer.shown):
            layer.shown = facing

    def _listen(self, on: bool) -> None:
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        size = self.viewer.canvas.events.size
        size.connect(self._refit) if on else size.disconnect(self._refit)
        if on:
            self.viewer.mouse_drag_callbacks.append(self._press)
            self.viewer.bind_key("Escape", self._escape, overwrite=True)
        elif self._press in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.remove(self._press)
            self.viewer.bind_key("Escape", None)
        for event in (camera.events.angles, camera.events.orientation, dims.events.order, dims.events.ndisplay):
            for callback in (self._update_sides, self._update_names):
                event.connect(callback) if on else event.disconnect(callback)

    # -- layers -------------------------------------------------------------------------------------------------------

    def _layer(self, name: str) -> Any:
        """Our layer of that name, None if there is none (the user may have removed it)."""
        return next((layer for layer in self.viewer.layers if layer.name == name and layers.came_from(layer.metadata) is not None), None)

    def _add(self, layer: "layers.LayerTuple | None") -> Any:
        if layer is None:
            return None
        data, settings, kind = layer
        return getattr(self.viewer, f"add_{kind}")(data, **settings)

    def _set_visible(self, names: tuple[str, ...]) -> None:
        """Show these of our layers and hide the others."""
        for layer in self.viewer.layers:
            if layers.came_from(layer.metadata) is not None:
                layer.visible = layer.name in names
        front = [layer for name in (layers.MAP, layers.LEFT, layers.T1) if name in names and (layer := self._layer(name)) is not None]
        if front:
            self.viewer.layers.selection.active = front[0]
