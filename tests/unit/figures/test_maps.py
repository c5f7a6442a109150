import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from brain2pix.anatomy import vertex_field_sign
from brain2pix.anatomy.schira import SimulatedAtlas
from brain2pix.anatomy.surfaces import load_fsaverage5, load_sulc
from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.evaluation import Profile
from brain2pix.figures._surfaces import project
from brain2pix.figures.colormaps import MAP_NAMES, retinotopic_colors
from brain2pix.figures.maps import (
    agreement_figure,
    colors_on_surface,
    coverage_figure,
    field_sign_colors,
    legend_figure,
    map_caption,
    reversal_figure,
    surface_map_figure,
)

Draw = Callable[[Figure], np.ndarray]


@pytest.fixture(scope="module")
def cortex() -> dict[str, Any]:
    """The simulated maps of V1-V3 on fsaverage5."""
    meshes, sulc, maps, areas = {}, {}, {}, {}
    for hemi in "LR":
        surfaces = load_fsaverage5(hemi)
        meshes |= {(hemi, kind): surfaces[kind] for kind in ("inflated", "flat")}
        sulc[hemi] = load_sulc(hemi)
        area, ecc, theta, _ = SimulatedAtlas(hemi).lookup(surfaces["sphere"].vertices)
        x, y = (1 if hemi == "L" else -1) * ecc * np.cos(theta), ecc * np.sin(theta)
        seen = (area > 0) & (np.abs(x) < 6) & (np.abs(y) < 6)
        parts = np.where(seen, [x, y, 0.3 + 0.1 * ecc, np.ones_like(x)], np.nan).astype(np.float32)
        maps[hemi] = RetinotopicMap(*parts, field_of_view_deg=12.0)
        areas[hemi] = {f"V{code}": seen & (area == code) for code in (1, 2, 3)}
    return {"meshes": meshes, "sulc": sulc, "maps": maps, "areas": areas}


def colors(cortex: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
    return {hemi: retinotopic_colors(cortex["maps"][hemi], name, threshold=None) for hemi in "LR"}


def panel(figure: Figure, image: np.ndarray, gid: str) -> np.ndarray:
    """Pixels of one panel."""
    axes = next(axes for axes in figure.axes if axes.get_gid() == gid)
    box = axes.get_window_extent()
    return image[image.shape[0] - int(box.y1) : image.shape[0] - int(box.y0), int(box.x0) : int(box.x1)]


def reddish(image: np.ndarray) -> np.ndarray:
    return image[..., 0] > image[..., 2] + 0.25


def bluish(image: np.ndarray) -> np.ndarray:
    return image[..., 2] > image[..., 0] + 0.25


def test_right_field_is_on_the_hemisphere_labelled_l_at_the_left(cortex: dict[str, Any], drawn: Draw) -> None:
    figure = surface_map_figure(cortex["meshes"], cortex["sulc"], colors(cortex, "angle"), "angle")
    image = drawn(figure)
    for kind in ("inflated", "flat"):
        left, right = panel(figure, image, f"{kind}-L-0"), panel(figure, image, f"{kind}-R-0")
        assert reddish(left).mean() > 0.03  # right field
        assert bluish(left).mean() < 0.001
        assert bluish(right).mean() > 0.03  # left field
        assert reddish(right).mean() < 0.001
    letters = {text.get_text(): text.get_window_extent().x0 for axes in figure.axes for text in axes.texts if text.get_text() in "LR"}
    assert letters["L"] < letters["R"]


def test_upper_field_is_ventral(cortex: dict[str, Any], drawn: Draw) -> None:
    figure = surface_map_figure(cortex["meshes"], cortex["sulc"], colors(cortex, "meridian"), "meridian")
    image = drawn(figure)
    for hemi in "LR":
        view = panel(figure, image, f"inflated-{hemi}-0")
        upper, lower = bluish(view), (view[..., 0] > view[..., 2] + 0.3)  # blue = up, orange = down
        assert np.nonzero(upper)[0].mean() > np.nonzero(lower)[0].mean() + 0.1 * len(view)  # rows count from the top


def test_fovea_lies_at_the_outer_side_of_both_inflated_views(cortex: dict[str, Any], drawn: Draw) -> None:
    figure = surface_map_figure(cortex["meshes"], cortex["sulc"], colors(cortex, "eccentricity"), "eccentricity")
    image = drawn(figure)
    for hemi, sign in (("L", 1), ("R", -1)):
        view = panel(figure, image, f"inflated-{hemi}-0")
        purple = (view[..., 2] > view[..., 1] + 0.15) & (view[..., 1] < 0.3)
        yellow = (view[..., 0] > view[..., 2] + 0.4) & (view[..., 1] > 0.5)
        assert sign * (np.nonzero(yellow)[1].mean() - np.nonzero(purple)[1].mean()) > 0.1 * view.shape[1]


def test_transparent_vertices_show_the_curvature(cortex: dict[str, Any], drawn: Draw) -> None:
    nothing = {hemi: np.zeros((10242, 4), np.float32) for hemi in "LR"}
    figure = surface_map_figure(cortex["meshes"], cortex["sulc"], nothing, "angle")
    flat = panel(figure, drawn(figure), "flat-L-0")
    inked = flat[(flat.max(axis=-1) < 0.95) & (flat.max(axis=-1) > 0.3)]
    assert (np.ptp(inked, axis=-1) < 0.02).all()  # greys only
    assert inked.std() > 0.05  # two of them


def test_truth_is_drawn_beneath_with_everything_named(
    cortex: dict[str, Any], drawn: Draw, written: Callable[[Figure], list[str]], colliding: Callable[[Figure], list[str]]
) -> None:
    caption = map_caption(1423, 1537, threshold=(0.1, 0.4), quality_name="held-out r", simulated=True, source="gradients of gaziv")
    assert caption == "1,423 of 1,537 voxels   ·   held-out r > 0.1, opaque from 0.4   ·   gradients of gaziv   ·   simulated subject"
    estimate = {hemi: np.zeros((10242, 4), np.float32) for hemi in "LR"}
    figure = surface_map_figure(
        cortex["meshes"], cortex["sulc"], estimate, "angle", truth_colors=colors(cortex, "angle"), areas=cortex["areas"], caption=caption
    )
    image = drawn(figure)
    assert reddish(panel(figure, image, "inflated-L-0")).mean() < 0.001
    assert reddish(panel(figure, image, "inflated-L-1")).mean() > 0.03
    text = written(figure)
    assert {"estimated", "true", "L", "R", "V1", "V2", "V3", "up", "left", "Polar angle", "visual field, edge 6 deg"} <= set(text)
    assert "simulated subject" in " ".join(text)
    assert not colliding(figure)


@pytest.mark.parametrize("name", MAP_NAMES)
def test_every_map_has_its_legend_and_no_words_collide(name: str, colliding: Callable[[Figure], list[str]], drawn: Draw) -> None:
    figure = legend_figure(name, 12.0)
    assert not colliding(figure)
    assert np.ptp(drawn(figure).reshape(-1, 3), axis=0).min() > 0.5


def test_dorsal_and_ventral_parts_are_named_within_their_areas(cortex: dict[str, Any], colliding: Callable[[Figure], list[str]]) -> None:
    parts = {
        hemi: {f"{area}{letter}": mask & ((cortex["maps"][hemi].y0_deg > 0) == (letter == "v")) for area, mask in areas.items()
               for letter in "dv"}
        for hemi, areas in cortex["areas"].items()
    }  # fmt: skip
    figure = surface_map_figure(
        cortex["meshes"], cortex["sulc"], colors(cortex, "angle"), "angle", areas=cortex["areas"], labels=parts, truth_colors=None
    )
    for kind in ("inflated", "flat"):
        for hemi in "LR":
            axes = next(axes for axes in figure.axes if axes.get_gid() == f"{kind}-{hemi}-0")
            names = {text.get_text(): np.array(text.get_position()) for text in axes.texts}
            assert {"V1d", "V1v", "V2d", "V2v", "V3d", "V3v"} <= set(names)
            mesh = cortex["meshes"][hemi, kind]
            view = project(mesh, hemi, kind)
            for name in ("V1d", "V2v", "V3d"):
                middle = view.places[parts[hemi][name] & view.visible()]
                assert np.linalg.norm(middle - names[name], axis=1).min() < 4.0  # mm: the name stands on its own part
    assert not colliding(figure)


def test_field_sign_is_blue_where_mirrored(
    cortex: dict[str, Any], drawn: Draw, colliding: Callable[[Figure], list[str]], written: Callable[[Figure], list[str]]
) -> None:
    signs = {}
    for hemi in "LR":
        mesh, prf_map = cortex["meshes"][hemi, "inflated"], cortex["maps"][hemi]
        signs[hemi] = field_sign_colors(vertex_field_sign(mesh.vertices, mesh.faces, prf_map.x0_deg, prf_map.y0_deg))
    figure = surface_map_figure(cortex["meshes"], cortex["sulc"], signs, "field_sign", caption="simulated subject")
    image = drawn(figure)
    for hemi in "LR":
        view = panel(figure, image, f"flat-{hemi}-0")
        blue, orange = bluish(view).mean(), reddish(view).mean()
        assert blue > 1.5 * orange > 0.03  # V1 and V3 against V2
    assert {"mirrored: V1, V3", "not mirrored: V2", "Visual field sign"} <= set(written(figure))
    assert not colliding(figure)
    assert field_sign_colors([np.nan, -1, 1, 0.1])[:, 3].tolist() == pytest.approx([0, 1, 1, 0.15])


def test_reversals_are_drawn_with_their_quartiles(colliding: Callable[[Figure], list[str]], written: Callable[[Figure], list[str]]) -> None:
    grid = np.linspace(0, 3, 31)
    down = -90 * (1 - np.abs(np.abs(grid - 1.5) - 0.5))
    profiles = {
        stream: {
            name: Profile(grid, sign * down + shift, sign * down + shift - 10, sign * down + shift + 10, np.full(31, 20))
            for name, shift in (("estimated", 4.0), ("true", 0.0))
        }
        for stream, sign in (("dorsal", 1), ("ventral", -1))
    }
    notes = {(border, stream): "turns back: L yes R no" for border in ("V1/V2", "V2/V3") for stream in ("dorsal", "ventral")}
    figure = reversal_figure(profiles, notes=notes, caption="simulated subject")
    assert not colliding(figure)
    assert {"V1", "V2", "V3", "estimated", "true", "V1 | V2", "dorsal, lower visual field"} <= set(written(figure))
    assert sum(text == "turns back: L yes R no" for text in written(figure)) == 4
    for axes, sign in zip(figure.axes, (1, -1), strict=True):
        curve = next(line for line in axes.lines if line.get_label() == "estimated")
        np.testing.assert_allclose(curve.get_ydata(), sign * down + 4)
        low, high = axes.get_ylim()
        assert low < curve.get_ydata().min() and curve.get_ydata().max() < high


def test_surface_figure_is_fast_and_small_as_vector(cortex: dict[str, Any], tmp_path: Path) -> None:
    start = time.process_time()
    figure = surface_map_figure(cortex["meshes"], cortex["sulc"], colors(cortex, "angle"), "angle", areas=cortex["areas"])
    figure.savefig(tmp_path / "map.png", dpi=150)
    assert time.process_time() - start < 4  # about 1 s of an idle core for four hemispheres of 20,480 triangles
    figure.savefig(tmp_path / "map.svg", dpi=100)
    assert (tmp_path / "map.svg").stat().st_size < 2_000_000


def test_vertices_take_the_colour_of_their_voxel() -> None:
    voxel_colors = np.array([[1, 0, 0, 1], [0, 1, 0, 0.5]], dtype=np.float32)
    surface = colors_on_surface(voxel_colors, [1, -1, 0, 1])
    assert surface.tolist() == [[0, 1, 0, 0.5], [0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 0, 0.5]]
    with pytest.raises(ShapeError, match="vertices name voxel 2, there are colours for 2"):
        colors_on_surface(voxel_colors, [2])


def test_surface_figure_refuses_what_it_cannot_draw(cortex: dict[str, Any]) -> None:
    only_left = {key: mesh for key, mesh in cortex["meshes"].items() if key[0] == "L"}
    with pytest.raises(ConfigError, match="inflated or flat meshes of both hemispheres, got"):
        surface_map_figure(only_left, cortex["sulc"], colors(cortex, "angle"), "angle")


@pytest.fixture
def fields(rng: np.random.Generator) -> RetinotopicMap:
    x, y = rng.uniform(-6, 6, (2, 400))
    return RetinotopicMap(*(part.astype(np.float32) for part in (x, y, 0.3 + 0.1 * np.hypot(x, y), np.ones(400))), field_of_view_deg=12.0)


def test_coverage_shows_each_area_in_the_field(
    fields: RetinotopicMap, drawn: Draw, colliding: Callable[[Figure], list[str]], written: Callable[[Figure], list[str]]
) -> None:
    areas = {"V1": fields.x0_deg > 0, "V2": fields.x0_deg <= 0}
    figure = coverage_figure(fields, areas, max_circles=50, caption="simulated subject")
    assert not colliding(figure)
    image = drawn(figure)
    width = image.shape[1]
    right = bluish(image[:, : width // 2])
    orange = reddish(image[:, width // 2 :])
    axes = figure.axes[0].get_window_extent()
    assert np.nonzero(right)[1].mean() > (axes.x0 + axes.x1) / 2  # V1 here sees the right field
    other = figure.axes[1].get_window_extent()
    assert np.nonzero(orange)[1].mean() + width // 2 < (other.x0 + other.x1) / 2
    assert "x [deg]" in written(figure) and "y [deg]" in written(figure)
    assert f"V1   {int((fields.x0_deg > 0).sum())} voxels" in written(figure)


def test_coverage_leaves_out_what_is_not_shown(fields: RetinotopicMap, written: Callable[[Figure], list[str]]) -> None:
    figure = coverage_figure(fields, {"V1": np.ones(400, bool)}, shown=np.arange(400) < 7)
    assert "V1   7 voxels" in written(figure)


def test_agreement_puts_perfect_voxels_on_the_line(
    fields: RetinotopicMap, colliding: Callable[[Figure], list[str]], rng: np.random.Generator
) -> None:
    figure = agreement_figure(fields, fields, areas={"V1": np.ones(400, bool)}, notes=("a", "b", "c"), caption="simulated subject")
    for axes in figure.axes:
        offsets = np.asarray(axes.collections[0].get_offsets())
        assert offsets[:, 0] == pytest.approx(offsets[:, 1], abs=1e-3)
    turned = RetinotopicMap(fields.x0_deg, fields.y0_deg - 0.2, fields.sigma_deg, fields.quality, 12.0)
    wrapped = np.asarray(agreement_figure(turned, fields).axes[0].collections[0].get_offsets())
    assert np.abs(wrapped[:, 1] - wrapped[:, 0]).max() <= 180  # an error across 0 degrees is small
    assert not colliding(figure)


def test_maps_of_one_scale_stand_beneath_each_other(cortex: dict[str, Any], drawn: Draw) -> None:
    """Three rows, each of one colour: its panels, and no others, hold it."""
    n = {hemi: len(cortex["maps"][hemi].x0_deg) for hemi in "LR"}
    paints = {"r": (1, 0, 0), "ceiling": (0, 1, 0), "r / ceiling": (0, 0, 1)}
    rows = {name: {hemi: np.tile(np.array([*paint, 1.0]), (n[hemi], 1)) for hemi in "LR"} for name, paint in paints.items()}
    first, *others = rows
    figure = surface_map_figure(
        cortex["meshes"], cortex["sulc"], rows[first], "prediction", further={name: rows[name] for name in others}, first=first
    )
    assert [text.get_text() for axes in figure.axes for text in axes.texts if text.get_rotation() == 90] == list(rows)
    image = drawn(figure)
    for line in range(3):
        for hemi in "LR":
            inside = panel(figure, image, f"flat-{hemi}-{line}").reshape(-1, 3)
            coloured = inside[(inside.max(axis=1) > 0.8) & (inside.min(axis=1) < 0.2)]
            assert len(coloured) > 200 and (coloured.argmax(axis=1) == line).mean() > 0.95
