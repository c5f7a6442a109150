"""Figures of retinotopic maps: on the cortex, in the visual field, and against the truth."""

from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, Rectangle

from brain2pix.errors import ConfigError, ShapeError
from brain2pix.figures._style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    NARROW,
    ORANGE,
    VERMILION,
    add_caption,
    area_color,
    bare,
    join_parts,
    new_figure,
    place,
    styled,
)
from brain2pix.figures._surfaces import draw_mesh, draw_outlines, find_outlines, project, windows_around
from brain2pix.figures.colormaps import LINEAR, TITLES, curvature_colors, eccentricity_limits, over, scale_ticks, wheel_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from brain2pix.arrays import RetinotopicMap
    from brain2pix.figures._surfaces import MeshLike, Projection

_VIEWS = {"inflated": "inflated, from behind and the midline", "flat": "flattened", "pial": "pial, from behind and the midline"}
_PANEL = 2.6  # inches
_LEGEND = 1.75  # inches, of the wheel with its words
_MARGIN_MM = 6.0  # around what is coloured
OUTLINED = ("V1", "V2", "V3")
LABELLED = ("V1", "V2d", "V2v", "V3d", "V3v")
FIELD_SIGN = "field_sign"  # a map of the surface, not of voxels: it has no place among `colormaps.MAP_NAMES`
_SIGNS = {-1: (BLUE, "mirrored: V1, V3"), 1: (ORANGE, "not mirrored: V2")}


def map_caption(
    n_shown: int,
    n_voxels: int,
    *,
    threshold: tuple[float, float] | None = None,
    quality_name: str = "quality",
    simulated: bool = False,
    source: str = "",
) -> str:
    """Say what a map shows: how many voxels, which threshold, whose data.

    Parameters
    ----------
    n_shown, n_voxels : int, voxels with a visible colour, and all
    threshold : (float, float) or None, quality where colours begin and where they are opaque
    quality_name : str
    simulated : bool
    source : str, e.g. "encoder gradients of gaziv"
    """
    parts = [f"{n_shown:,} of {n_voxels:,} voxels"]
    if threshold is not None:
        low, high = threshold
        parts.append(f"{quality_name} > {low:g}" + (f", opaque from {high:g}" if high > low else ""))
    parts += [source] if source else []
    parts += ["simulated subject"] if simulated else []
    return join_parts(*parts)


def colors_on_surface(voxel_colors: "ArrayLike", voxel_of_vertex: "ArrayLike") -> "NDArray[np.float32]":
    """Give each vertex the colour of its voxel.

    Parameters
    ----------
    voxel_colors : float array, [v 4], RGBA
    voxel_of_vertex : int array, [p], row of the voxel; -1 = none, which is transparent

    Returns
    -------
    float32 array, [p 4]
    """
    colors, index = np.asarray(voxel_colors, dtype=np.float32), np.asarray(voxel_of_vertex)
    if index.size and index.max() >= len(colors):
        raise ShapeError(f"vertices name voxel {index.max()}, there are colours for {len(colors)}; give the colours of all voxels")
    surface = np.zeros((len(index), 4), dtype=np.float32)
    surface[index >= 0] = colors[index[index >= 0]]
    return surface


def areas_on_surface(
    areas: "Mapping[str, NDArray[np.bool_]]", voxel_of_vertex: "ArrayLike", names: "Sequence[str]"
) -> "dict[str, NDArray[np.bool_]]":
    """Vertices of some areas, each bool [p]; empty unless all of them are known, for a lone border means nothing.

    Parameters
    ----------
    areas : mapping of name to bool array, [v]
    voxel_of_vertex : int array, [p], row of the voxel; -1 = none
    names : sequence of str, e.g. `OUTLINED` or `LABELLED`
    """
    if not all(name in areas for name in names):
        return {}
    place = np.asarray(voxel_of_vertex)
    return {name: (place >= 0) & np.asarray(areas[name])[place] for name in names}


def field_sign_colors(sign: "ArrayLike") -> "NDArray[np.float32]":
    """Colour the field sign of vertices, [p] -> RGBA [p 4]: blue mirrored, orange not, paler where triangles disagree."""
    values = np.asarray(sign, dtype=np.float64)
    rgba = np.zeros((len(values), 4), dtype=np.float32)
    for direction, (color, _) in _SIGNS.items():
        rgba[np.sign(values) == direction, :3] = to_rgb(color)
    rgba[:, 3] = np.clip(1.5 * np.abs(np.nan_to_num(values)), 0, 1)
    return rgba


@styled
def surface_map_figure(
    meshes: "Mapping[tuple[str, str], MeshLike]",
    sulc: "Mapping[str, ArrayLike]",
    colors: "Mapping[str, ArrayLike]",
    map_name: str,
    *,
    truth_colors: "Mapping[str, ArrayLike] | None" = None,
    further: "Mapping[str, Mapping[str, ArrayLike]] | None" = None,
    first: str = "estimated",
    areas: "Mapping[str, Mapping[str, NDArray[np.bool_]]] | None" = None,
    labels: "Mapping[str, Mapping[str, NDArray[np.bool_]]] | None" = None,
    field_of_view_deg: float = 12.0,
    limits: tuple[float, float] | None = None,
    width: float | None = None,
    title: str = "",
    caption: str = "",
) -> "Figure":
    """Map on inflated and flat cortex, left hemisphere at the left, with the legend in the visual field.

    Parameters
    ----------
    meshes : mapping of (hemi, kind) to mesh, e.g. ("L", "inflated"); kinds "inflated" and "flat" are drawn where given
    sulc : mapping of hemi to float array, [p], positive in a sulcus
    colors : mapping of hemi to float array, [p 4], RGBA of the vertices, see `colors_on_surface`
    map_name : str, for title and legend, see `colormaps.MAP_NAMES`; or "field_sign"
    truth_colors : like `colors`, or None; drawn as a second row beneath
    further : mapping of name to such colours, or None; more rows beneath, of maps that share one scale
    first : str, name of the first row, written where there are several
    areas : mapping of hemi to mapping of name to bool array, [p], or None; outlined
    labels : the same, or None; parts that are named instead of the areas, e.g. V2d and V2v
    field_of_view_deg : float, full width of the stimulus
    limits : (float, float) or None, of the colour scale
    width : float or None, of the page, inches: panels take what it leaves, and stand below each other in a narrow one
    title, caption : str, see `map_caption`

    Raises
    ------
    ConfigError
        If no inflated or flat mesh of both hemispheres is given.
    ShapeError
        If colours do not fit their mesh.
    """
    kinds = [kind for kind in ("inflated", "flat") if all((hemi, kind) in meshes for hemi in ("L", "R"))]
    if not kinds:
        raise ConfigError(f"a surface figure needs inflated or flat meshes of both hemispheres, got {sorted(meshes)}")
    rows = {first: colors} | ({} if truth_colors is None else {"true": truth_colors}) | dict(further or {})
    focus = {hemi: np.any([np.asarray(row[hemi])[:, 3] > 0.05 for row in rows.values()], axis=0) for hemi in ("L", "R")}
    views = {(kind, hemi): project(meshes[hemi, kind], hemi, kind) for kind in kinds for hemi in ("L", "R")}
    outlined, named = areas or {}, labels or {}
    outlines = {(kind, hemi): find_outlines(view, outlined.get(hemi, {}), named.get(hemi)) for (kind, hemi), view in views.items()}
    figure, panels, legend = _surface_layout(views, kinds, focus, len(rows), width)
    for (kind, hemi, line), axes in panels.items():
        top = np.asarray(list(rows.values())[line][hemi])
        draw_mesh(axes, views[kind, hemi], over(top, curvature_colors(sulc[hemi])))
        inches = axes.get_position().height * figure.get_figheight()
        draw_outlines(axes, outlines[kind, hemi], float(np.ptp(axes.get_ylim())) / inches)
        if kind == kinds[0] and hemi == "L" and len(rows) > 1:
            axes.text(-0.06, 0.5, list(rows)[line], transform=axes.transAxes, rotation=90, va="center", ha="right", fontsize=9)
    draw_legend(legend, map_name, field_of_view_deg, limits)
    if further:
        legend.set_title("all rows", fontsize=7, loc="left", pad=8)
    add_caption(figure, caption, title or (TITLES | {FIELD_SIGN: "visual field sign"})[map_name].capitalize())
    return figure


@styled
def legend_figure(map_name: str, field_of_view_deg: float = 12.0, limits: tuple[float, float] | None = None) -> "Figure":
    """Legend of a map on its own."""
    figure = new_figure(2.0, 2.0)
    draw_legend(place(figure, 0.4, 0.4, 1.2, 1.2), map_name, field_of_view_deg, limits)
    return figure


def draw_legend(axes: "Axes", map_name: str, field_of_view_deg: float, limits: tuple[float, float] | None = None) -> None:
    """Draw the wheel of a map with its directions and degrees, or the bar of a map that is not about place."""
    bare(axes)
    if map_name == FIELD_SIGN:
        _sign_legend(axes)
        return
    picture = wheel_image(map_name, 400, field_of_view_deg, limits=limits)
    if map_name in ("size", *LINEAR):
        axes.imshow(picture[:, 133:267], extent=(0, 0.14, 0, 1), interpolation="bilinear")
        for where, label in scale_ticks(map_name, limits):
            axes.plot([0.14, 0.18], [where, where], color=GREY, linewidth=0.8, clip_on=False)
            axes.text(0.22, where, label, va="center", fontsize=7)
        unit = " [deg]" if map_name == "size" else ""
        axes.set_title(TITLES[map_name] + unit, fontsize=7, loc="left", pad=8)
        axes.set(xlim=(-0.2, 1), ylim=(0, 1))
        return
    radius = field_of_view_deg / 2
    axes.imshow(picture, extent=(-radius, radius, -radius, radius), interpolation="bilinear")
    axes.set(xlim=(-radius, radius), ylim=(-radius, radius))
    for x, y, word in ((0, 1, "up"), (0, -1, "down"), (-1, 0, "left"), (1, 0, "right")):
        across, along = ("right", "center", "left")[x + 1], ("top", "center", "bottom")[y + 1]
        axes.text(1.07 * x * radius, 1.07 * y * radius, word, ha=across, va=along, fontsize=7, rotation=90 * abs(x))
    axes.text(0, -1.36 * radius, f"visual field, edge {radius:g} deg", ha="center", va="top", fontsize=7, color=GREY)
    if map_name == "eccentricity":
        _rings(axes, radius, limits or eccentricity_limits(field_of_view_deg))


@styled
def coverage_figure(
    prf_map: "RetinotopicMap",
    areas: "Mapping[str, NDArray[np.bool_]]",
    *,
    shown: "ArrayLike | None" = None,
    max_circles: int = 250,
    seed: int = 0,
    width: float | None = None,
    title: str = "Coverage of the visual field",
    caption: str = "",
) -> "Figure":
    """Receptive fields as circles (centre, one sigma) in the visual field, one panel per area.

    Parameters
    ----------
    prf_map : RetinotopicMap, [v]
    areas : mapping of name to bool array, [v], one panel each
    shown : bool array, [v], or None = all with a field
    max_circles : int, per panel; a random choice of more, so that they stay visible (all centres are dots)
    seed : int, of that choice
    width : float or None, of the page, inches
    title, caption : str
    """
    half = prf_map.field_of_view_deg / 2
    keep = np.isfinite(prf_map.eccentricity_deg + prf_map.sigma_deg)
    keep &= np.ones(len(keep), dtype=bool) if shown is None else np.asarray(shown, dtype=bool)
    rng = np.random.default_rng(seed)
    columns = len(areas) if width is None else max(1, min(len(areas), int((width - 0.6) / 1.4)))
    panel = 2.0 if width is None else min((width - 0.6) / columns - 0.2, 2.0)
    lines = -(-len(areas) // columns)
    figure = new_figure(width or 0.6 + columns * (panel + 0.2), lines * (panel + 0.65) + 0.5)
    for number, (name, mask) in enumerate(areas.items()):
        line, column = divmod(number, columns)
        axes = place(figure, 0.5 + column * (panel + 0.2), 0.62 + (lines - 1 - line) * (panel + 0.65), panel, panel)
        index = np.flatnonzero(keep & mask)
        circled = rng.choice(index, max_circles, replace=False) if len(index) > max_circles else index
        sizes = 2 * prf_map.sigma_deg[circled]
        centres = np.column_stack([prf_map.x0_deg, prf_map.y0_deg])
        color = area_color(name, number)
        axes.add_collection(
            EllipseCollection(
                sizes, sizes, np.zeros(len(circled)), units="xy", offsets=centres[circled], offset_transform=axes.transData,
                facecolors="none", edgecolors=color, linewidths=0.5, alpha=0.35,
            )
        )  # fmt: skip
        axes.scatter(centres[index, 0], centres[index, 1], s=2.5, color=color, linewidths=0, zorder=3)
        _field(axes, half)
        axes.set_title(f"{name}   {len(index):,} voxels", color=INK)
        axes.set_xlabel("x [deg]")
        if column == 0:
            axes.set_ylabel("y [deg]")
        else:
            axes.set_yticklabels([])
    few = f"circles: 1 sigma, at most {max_circles} an area"
    add_caption(figure, join_parts(caption, few), title)
    return figure


class ProfileLike(Protocol):
    """Polar angle across areas, such as `brain2pix.evaluation.Profile`; [k] each."""

    @property
    def position(self) -> "NDArray[np.float64]":
        """0 = middle of V1, 1 = V1/V2, 2 = V2/V3, 3 = outer border of V3."""
        ...

    @property
    def median_deg(self) -> "NDArray[np.float64]":
        """Median angle from the horizontal meridian, 90 = up."""
        ...

    @property
    def low_deg(self) -> "NDArray[np.float64]":
        """Lower quartile."""
        ...

    @property
    def high_deg(self) -> "NDArray[np.float64]":
        """Upper quartile."""
        ...


@styled
def reversal_figure(
    profiles: "Mapping[str, Mapping[str, ProfileLike]]",
    *,
    notes: "Mapping[tuple[str, str], str] | None" = None,
    title: str = "Polar angle turns back at the borders of areas",
    caption: str = "",
) -> "Figure":
    """Polar angle on the way from the middle of V1 over V2 to the outer border of V3, one panel per stream.

    Parameters
    ----------
    profiles : mapping of stream ("dorsal", "ventral") to mapping of name ("estimated", "true") to profile: median and quartiles
    notes : mapping of (border, stream) to str, e.g. ("V1/V2", "dorsal") to "found: L R", written at the border
    title, caption : str
    """
    width, height = 3.2, 2.2
    figure = new_figure(0.85 + len(profiles) * (width + 0.3), height + 1.3)
    for column, (stream, rows) in enumerate(profiles.items()):
        axes = place(figure, 0.85 + column * (width + 0.3), 0.62, width, height)
        _borders(axes, stream, notes or {})
        for name, profile in rows.items():
            color, line = (INK, "--") if name == "true" else (VERMILION, "-")
            axes.fill_between(profile.position, profile.low_deg, profile.high_deg, color=color, alpha=0.16, linewidth=0)
            axes.plot(profile.position, profile.median_deg, line, color=color, linewidth=1.3, label=name)
        low, high = (-115, 30) if stream == "dorsal" else (-30, 115)
        axes.set(xlim=(0, 3), ylim=(low, high), xticks=[0, 1, 2, 3], yticks=[tick for tick in (-90, -45, 0, 45, 90) if low < tick < high])
        first, *_, last = axes.set_xticklabels(["middle of V1", "V1 | V2", "V2 | V3", "end of V3"])
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        axes.set_ylabel("polar angle from horizontal [deg]" if column == 0 else "")
        axes.set_title(f"{stream}, {'lower' if stream == 'dorsal' else 'upper'} visual field", color=INK, pad=6)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="upper right", ncols=2, handlelength=1.8, borderaxespad=0.4)
    add_caption(figure, join_parts(caption, "lines: running medians, bands: quartiles"), title)
    return figure


@styled
def agreement_figure(
    estimate: "RetinotopicMap",
    truth: "RetinotopicMap",
    *,
    kept: "ArrayLike | None" = None,
    areas: "Mapping[str, NDArray[np.bool_]] | None" = None,
    names: tuple[str, str] = ("estimated", "true"),
    notes: "Sequence[str]" = ("", "", ""),
    title: str = "Estimated against true receptive fields",
    caption: str = "",
) -> "Figure":
    """Scatter polar angle, eccentricity and size of one map against another, usually estimated against true.

    Parameters
    ----------
    estimate, truth : RetinotopicMap, [v]
    kept : bool array, [v], or None = all with a field
    areas : mapping of name to bool array, [v], or None; coloured
    names : (str, str), what to call the two maps
    notes : three str, a score as the title of each panel, see `agreement_notes`
    title, caption : str
    """
    keep = np.isfinite(estimate.eccentricity_deg + truth.eccentricity_deg)
    keep &= np.ones(len(keep), dtype=bool) if kept is None else np.asarray(kept, dtype=bool)
    groups = {name: keep & mask for name, mask in areas.items()} if areas else {"": keep}
    figure = new_figure(7.4, 3.15)
    panels: tuple[tuple[str, str, NDArray[np.floating], NDArray[np.floating]], ...] = (
        ("polar angle", "deg", truth.angle_deg, _nearest_turn(estimate.angle_deg, truth.angle_deg)),
        ("eccentricity", "deg", truth.eccentricity_deg, estimate.eccentricity_deg),
        ("size", "deg", truth.sigma_deg, estimate.sigma_deg),
    )
    for column, ((name, unit, true, estimated), note) in enumerate(zip(panels, notes, strict=True)):
        axes = place(figure, 0.55 + column * 2.4, 0.7, 1.9, 1.9)
        for index, (area, mask) in enumerate(groups.items()):
            color = area_color(area, index) if area else INK
            axes.scatter(true[mask], estimated[mask], s=4, color=color, alpha=0.45, linewidths=0, label=area, rasterized=True)
        _square(axes, true[keep], estimated[keep], angle=name == "polar angle")
        axes.set(xlabel=f"{names[1]} {name} [{unit}]", ylabel=f"{names[0]} [{unit}]")
        axes.set_title(note or name, fontsize=8)
        if areas and column == 0:
            axes.legend(loc="upper left", handletextpad=0.1, markerscale=2, borderpad=0)
    add_caption(figure, caption, title)
    return figure


def agreement_notes(distance_deg: float, fisher_lee: float, log_ecc_r: float, size_spearman: float) -> tuple[str, str, str]:
    """Scores of two maps, one for each panel of `agreement_figure`."""
    return (
        f"angle: circular r {fisher_lee:.2f}; centres {distance_deg:.2f} deg apart",
        f"eccentricity: log r {log_ecc_r:.2f}",
        f"size: Spearman {size_spearman:.2f}",
    )


def _surface_layout(
    views: "Mapping[tuple[str, str], Projection]",
    kinds: list[str],
    focus: "Mapping[str, NDArray[np.bool_]]",
    n_rows: int,
    page: float | None = None,
) -> "tuple[Figure, dict[tuple[str, str, int], Axes], Axes]":
    """Place the panels, (kind, hemi, row) to Axes, and the legend at the right or, on a narrow page, at the bottom; all in inches."""
    windows = {kind: windows_around({hemi: views[kind, hemi] for hemi in ("L", "R")}, focus, _MARGIN_MM) for kind in kinds}
    ratios = {kind: float(np.ptp(box["L"][:2]) / np.ptp(box["L"][2:])) for kind, box in windows.items()}
    margin, gap = 0.35 if n_rows > 1 else 0.12, 0.3
    stacked = page is not None and page < NARROW
    if page is None:
        heights = dict.fromkeys(kinds, _PANEL)
    elif stacked:
        heights = {kind: min((page - margin - 0.15) / (2 * ratio), _PANEL) for kind, ratio in ratios.items()}
    else:
        spare = page - margin - len(kinds) * gap - _LEGEND
        heights = dict.fromkeys(kinds, min(spare / (2 * sum(ratios.values())), _PANEL))
    blocks = {kind: n_rows * (height + 0.06) + 0.3 for kind, height in heights.items()}  # with the words above
    tall = sum(blocks.values()) + _LEGEND + 0.1 if stacked else max(*blocks.values(), _LEGEND)
    widths = {kind: heights[kind] * ratio for kind, ratio in ratios.items()}
    width = page or margin + sum(2 * across + gap for across in widths.values()) + _LEGEND
    figure, panels = new_figure(width, 0.32 + tall + 0.32), {}
    left, top = margin, 0.32 + tall
    for kind, across in widths.items():
        if stacked:
            left = margin + max(width - margin - 0.15 - 2 * across, 0) / 2
        figure.text((left + across) / width, (top - 0.16) / figure.get_figheight(), _VIEWS[kind], ha="center", va="center", color=GREY)
        for (side, hemi), line in product(enumerate("LR"), range(n_rows)):
            bottom = top - 0.3 - (line + 1) * (heights[kind] + 0.06) + 0.06
            axes = place(figure, left + side * (across + 0.03), bottom, across, heights[kind])
            axes.set_gid(f"{kind}-{hemi}-{line}")
            _frame(axes, windows[kind][hemi], hemi)
            panels[kind, hemi, line] = axes
        if stacked:
            top -= blocks[kind]
        else:
            left += 2 * across + gap
    seat = (width / 2 - 0.6, 0.32 + 0.37) if stacked else (left + 0.2, 0.32 + (tall - 0.3) / 2 - 0.6)
    return figure, panels, place(figure, *seat, 1.2, 1.2)


def _frame(axes: "Axes", window: "NDArray[np.float64]", hemi: str) -> None:
    bare(axes)
    axes.set(xlim=window[:2], ylim=window[2:], aspect="equal")
    axes.text(0.03 if hemi == "L" else 0.97, 0.97, hemi, transform=axes.transAxes, ha="left" if hemi == "L" else "right", va="top",
              fontsize=11, fontweight="bold")  # fmt: skip


def _borders(axes: "Axes", stream: str, notes: "Mapping[tuple[str, str], str]") -> None:
    """Grey lines at borders and meridians, the areas' names, and what is noted at the borders."""
    for meridian in (-90, 0, 90):
        axes.axhline(meridian, color=LIGHT, linewidth=0.7, zorder=0)
    top = stream == "ventral"  # the outer side of the panel, where the medians never are
    for border, where in (("V1/V2", 1), ("V2/V3", 2)):
        axes.axvline(where, color=GREY, linewidth=0.8, zorder=0)
        words = notes.get((border, stream), "")
        axes.text(where + 0.03, -26 if top else 26, words, fontsize=6.5, color=GREY, va="bottom" if top else "top")
    for number, area in enumerate(("V1", "V2", "V3")):
        axes.text(number + 0.5, 111 if top else -111, area, ha="center", va="top" if top else "bottom", fontweight="bold",
                  color=area_color(area))  # fmt: skip


def _sign_legend(axes: "Axes") -> None:
    for line, (color, words) in enumerate(_SIGNS.values()):
        axes.add_patch(Rectangle((0, 0.62 - 0.3 * line), 0.14, 0.2, facecolor=color, edgecolor="none"))
        axes.text(0.2, 0.72 - 0.3 * line, words, va="center", fontsize=7)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _rings(axes: "Axes", radius: float, limits: tuple[float, float]) -> None:
    for where, label in ((tick, f"{tick:g}") for tick in (1.0, 2.0, 4.0, 8.0, 16.0) if limits[0] < tick < 0.9 * radius):
        axes.add_patch(Circle((0, 0), where, fill=False, edgecolor="white", linewidth=0.6))
        if where > 0.25 * radius:
            axes.text(where * 0.707, where * 0.707, label, fontsize=6, ha="left", va="bottom", color=INK)


def _field(axes: "Axes", half: float) -> None:
    """Axes in the visual field: the stimulus as a square, fixation as a cross."""
    axes.add_patch(Rectangle((-half, -half), 2 * half, 2 * half, fill=False, edgecolor=GREY, linewidth=0.8))
    axes.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
    axes.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
    axes.plot(0, 0, marker="+", color=INK, markersize=6, markeredgewidth=1, zorder=4)
    reach = half * 1.2
    ticks = np.array([-half, -half / 2, 0, half / 2, half])
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=ticks, yticks=ticks)


def _square(axes: "Axes", true: "NDArray[np.floating]", estimated: "NDArray[np.floating]", *, angle: bool) -> None:
    """Equal axes with the line of perfect agreement."""
    if angle:
        low, high = 0.0, 360.0
        axes.set(xticks=[0, 90, 180, 270, 360], yticks=[0, 90, 180, 270, 360], ylim=(-60, 420))
    else:
        values = np.concatenate([true, estimated])
        values = values[np.isfinite(values)]
        low, high = 0.0, float(np.quantile(values, 0.995)) * 1.08 if values.size else 1.0
        axes.set(ylim=(low, high))
        step = next(step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20) if high / step < 6 or step == 20)
        ticks = np.arange(0, high, step)
        axes.set(xticks=ticks, yticks=ticks)
    axes.set(xlim=(low, high))
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=0)


def _nearest_turn(estimate_deg: "NDArray[np.floating]", truth_deg: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Estimated angle plus or minus a full turn, whichever lies nearest to the truth, so that errors across 0 stay small on the page."""
    return np.asarray(truth_deg + ((estimate_deg - truth_deg + 180) % 360 - 180), dtype=np.float64)
