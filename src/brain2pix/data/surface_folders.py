"""All surfaces of one person: a FreeSurfer subject, or a folder of GIFTI files (fMRIPrep, HCP, converted FreeSurfer)."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brain2pix.anatomy.surfaces import HEMISPHERES, Mesh
from brain2pix.data.freesurfer_files import read_geometry, read_morphometry, read_patch, tkr_to_scanner
from brain2pix.data.surface_files import ANATOMICAL_KINDS, check_count, check_side, hemisphere_of, load_gifti, mesh_of, read_vertex_values
from brain2pix.data.volumes import join_names
from brain2pix.errors import DataFormatError, MissingDataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# kind to the names it goes by, the best first
_FREESURFER = {"white": ("white", "smoothwm"), "pial": ("pial",), "inflated": ("inflated",), "sphere": ("sphere", "sphere.reg")}
_PATCHES = ("cortex.patch.flat", "full.flat.patch.3d", "full.patch.flat", "occip.patch.flat", "occip.flat.patch.3d")
_GIFTI = {
    "white": ("white", "smoothwm", "white_matter"),
    "pial": ("pial",),
    "midthickness": ("midthickness",),
    "inflated": ("inflated", "infl"),
    "sphere": ("sphere", "sphere.reg"),
    "flat": ("flat",),
}
_SULC = ("sulc",)
_MESH_OF = re.compile(r"[Ss]pace-[A-Za-z0-9]+|den-\w+?(?=_|\.|$)|\d+k_fs_LR|res-\w+?(?=_|\.|$)")  # which mesh and world a name speaks of
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
_PLACES = ("", "surf", "anat")


@dataclass(frozen=True)
class SurfaceFolder:
    """Surfaces of one person.

    Parameters
    ----------
    meshes : dict of (hemi, kind) to Mesh. hemi is "L" or "R", kind one of `SURFACE_KINDS` or "midthickness". White, pial and midthickness
        lie in the world of the anatomical volume (RAS mm); the others are for display. All kinds of a hemisphere have the same vertices;
        those cut away from a flat mesh are in no triangle
    sulc : dict of hemi to float32 array, [p], sulcal depth, positive in a sulcus
    notes : tuple of str, what may mislead
    """

    meshes: dict[tuple[str, str], Mesh]
    sulc: "dict[str, NDArray[np.float32]]" = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_surface_folder(path: "Path") -> SurfaceFolder:
    """Read the surfaces of a FreeSurfer subject (its folder or its ``surf`` folder) or of a folder of GIFTI files.

    Raises
    ------
    MissingDataError
        If the folder does not exist or holds no surface; says what was expected.
    DataFormatError
        If a file is damaged, its faces name vertices that it lacks, a left mesh lies on the right, or the kinds of a hemisphere
        differ in their number of vertices.
    """
    if not path.is_dir():
        raise MissingDataError(f"surface folder {path} does not exist; give a FreeSurfer subject folder or a folder of GIFTI surfaces")
    for place in ("surf", ""):
        if any((path / place).glob("[lr]h.white")) or any((path / place).glob("[lr]h.pial")):
            return _checked(path, _read_freesurfer(path / place))
    for place in _PLACES:
        files = sorted(file for pattern in ("*.gii", "*.gii.gz") for file in (path / place).glob(pattern))
        found = _choose(files, _GIFTI)
        if found[0]:
            return _checked(path, _read_gifti(files, *found))
    raise MissingDataError(
        f"{path} holds no surface; expected lh.white, lh.pial, … (FreeSurfer, here or in surf/) or GIFTI files such as "
        "sub-01_hemi-L_white.surf.gii, lh.pial.gii or sub.L.midthickness.32k_fs_LR.surf.gii (here, in anat/ or in surf/)"
    )


def _read_freesurfer(surf: "Path") -> SurfaceFolder:
    meshes: dict[tuple[str, str], Mesh] = {}
    sulc: dict[str, NDArray[np.float32]] = {}
    notes: list[str] = []
    for hemi in HEMISPHERES:
        side = f"{hemi.lower()}h"
        for kind, names in _FREESURFER.items():
            file = next((surf / f"{side}.{name}" for name in names if _there(surf / f"{side}.{name}")), None)
            if file is None:
                continue
            if file.name != f"{side}.{names[0]}":
                notes.append(f"{surf} holds no {side}.{names[0]}; {file.name} stands for it")
            geometry = read_geometry(file)
            mesh = geometry.mesh
            if kind in ANATOMICAL_KINDS:
                check_side(file, hemi, mesh.vertices)  # before the shift: surface space has its zero in the middle
                if geometry.to_scanner is None:
                    notes.append(f"{file} does not say where its volume lies (no c_ras): it may lie centimetres from the volume")
                else:
                    mesh = mesh.moved(geometry.to_scanner)
            meshes[hemi, kind] = mesh
        patch = next((surf / f"{side}.{name}" for name in _PATCHES if _there(surf / f"{side}.{name}")), None)
        whole = next((meshes[hemi, kind] for kind in ("white", "pial", "sphere", "inflated") if (hemi, kind) in meshes), None)
        if patch is not None and whole is not None:
            meshes[hemi, "flat"] = read_patch(patch, whole.n_vertices, whole.faces)
        if _there(surf / f"{side}.sulc"):
            sulc[hemi] = read_morphometry(surf / f"{side}.sulc")
    return SurfaceFolder(meshes, sulc, tuple(notes))


def _there(path: "Path") -> bool:
    return path.exists() or path.is_symlink()  # a broken link has a message of its own


def _choose(files: "list[Path]", kinds: dict[str, tuple[str, ...]]) -> "tuple[dict[tuple[str, str], Path], list[str]]":
    """File of each hemisphere and kind, all of one mesh and world: the person's own before templates, then what has most kinds."""
    groups: dict[str, dict[tuple[str, str], tuple[int, Path]]] = {}
    for file in files:
        hemi, kind = hemisphere_of(file), _kind(file, kinds)
        if not hemi or kind is None:
            continue
        name, rank = kind
        group = groups.setdefault(" ".join(_MESH_OF.findall(file.name)), {})
        if (hemi, name) not in group or (rank, len(file.name)) < (group[hemi, name][0], len(group[hemi, name][1].name)):
            group[hemi, name] = (rank, file)
    if not groups:
        return {}, []
    best = min(
        groups, key=lambda key: (not {kind for _, kind in groups[key]} & {*ANATOMICAL_KINDS, *_SULC}, key != "", -len(groups[key]), key)
    )
    left = sorted(key or "no space in its name" for key in groups if key != best)
    notes = [f"surfaces of {best or 'no space in their names'} are used; there are others of {join_names(left)}"] if left else []
    return {key: file for key, (_, file) in sorted(groups[best].items())}, notes


def _kind(file: "Path", kinds: dict[str, tuple[str, ...]]) -> tuple[str, int] | None:
    """Kind that a name speaks of and how well, 0 the best."""
    base = re.sub(r"(\.(surf|shape|func))?\.gii(\.gz)?$", "", file.name)
    base = re.sub(r"[._](left|right)$|\.\d+k_fs_LR$", "", base)
    for kind, names in kinds.items():
        for rank, name in enumerate(names):
            if re.search(rf"(^|[._]){re.escape(name)}$", base):
                return kind, rank
    return None


def _read_gifti(files: "list[Path]", chosen: "dict[tuple[str, str], Path]", notes: list[str]) -> SurfaceFolder:
    meshes: dict[tuple[str, str], Mesh] = {}
    said = list(notes)
    for (hemi, kind), file in chosen.items():
        image = load_gifti(file, "surface")
        if hemisphere_of(file, image) != hemi:
            raise DataFormatError(
                f"surface {file}: its name says {hemi}, the file itself {hemisphere_of(file, image)} (AnatomicalStructurePrimary); "
                "rename it or write it again"
            )
        mesh = mesh_of(file, image)
        if kind in ANATOMICAL_KINDS:
            moved = _gifti_to_scanner(image)
            _check_gifti_side(file, hemi, mesh, meshes.get(("L", kind)))
            if moved is not None:
                said.append(f"{file.name} is in FreeSurfer's surface space; it was moved to the volume by the geometry that it names")
                mesh = mesh.moved(moved)
        meshes[hemi, kind] = mesh
    sulc, _ = _choose([file for file in files if _same_mesh(file, chosen)], {"sulc": _SULC})
    return SurfaceFolder(meshes, {hemi: read_vertex_values(file) for (hemi, _), file in sulc.items()}, tuple(said))


def _same_mesh(file: "Path", chosen: "dict[tuple[str, str], Path]") -> bool:
    return _MESH_OF.findall(file.name) == _MESH_OF.findall(next(iter(chosen.values())).name)


def _gifti_to_scanner(image: Any) -> "NDArray[np.float64] | None":
    """Affine to the world of the volume for what ``mris_convert`` wrote in surface space: it names that volume in its metadata."""
    (points,) = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    try:
        numbers = {key.removeprefix("VolGeom"): float(value) for key, value in points.meta.items() if key.startswith("VolGeom")}
        c_ras = [numbers[f"C_{axis}"] for axis in "RAS"]
        if not any(c_ras) or (points.coordsys is not None and points.coordsys.dataspace == _SCANNER):
            return None
        shape, voxel_mm = [numbers[key] for key in ("Width", "Height", "Depth")], [numbers[f"{axis}size"] for axis in "XYZ"]
        axes = [[numbers[f"{column}_{axis}"] for axis in "RAS"] for column in "XYZ"]
    except (KeyError, ValueError):
        return None
    return tkr_to_scanner(shape, voxel_mm, axes, c_ras)


def _check_gifti_side(file: "Path", hemi: str, mesh: Mesh, left: Mesh | None) -> None:
    """Scanner coordinates may have their zero off the midline: with both hemispheres at hand they are compared with each other."""
    if hemi == "R" and left is not None and float(mesh.vertices[:, 0].mean()) > float(left.vertices[:, 0].mean()):
        return
    check_side(file, hemi, mesh.vertices)


def _checked(path: "Path", found: SurfaceFolder) -> SurfaceFolder:
    """Refuse kinds of a hemisphere that differ in their number of vertices, and sulcal depth of another mesh."""
    for hemi in HEMISPHERES:
        sizes = {kind: mesh.n_vertices for (side, kind), mesh in found.meshes.items() if side == hemi}
        if len(set(sizes.values())) > 1:
            have = ", ".join(f"{kind} {size}" for kind, size in sizes.items())
            raise DataFormatError(
                f"{path}: the surfaces of hemisphere {hemi} differ in their number of vertices ({have}); they are not of one mesh, "
                "keep those of one mesh in a folder"
            )
        if hemi in found.sulc and sizes:
            check_count(path / f"{hemi.lower()}h.sulc", found.sulc[hemi].size, next(iter(sizes.values())))
    missing = [hemi for hemi in HEMISPHERES if not any(side == hemi for side, _ in found.meshes)]
    notes = [f"{path} holds no surface of hemisphere {hemi}" for hemi in missing]
    return SurfaceFolder(found.meshes, found.sulc, (*found.notes, *notes))
