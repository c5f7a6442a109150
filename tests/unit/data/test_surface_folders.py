"""A person's surfaces as FreeSurfer, fMRIPrep, the HCP and mris_convert leave them, written by nibabel."""

import re
import struct

import nibabel as nib
import numpy as np
import pytest
from nibabel.freesurfer import write_geometry, write_morph_data
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage, GiftiMetaData

from brain2pix.data.surface_folders import read_surface_folder
from brain2pix.errors import DataFormatError, MissingDataError

C_RAS = np.array([3.0, -12.5, 20.25])
CONFORMED = {
    "head": np.array([2, 0, 20]),
    "valid": "1  # volume info valid",
    "filename": "../mri/filled.mgz",
    "volume": np.array([256, 256, 256]),
    "voxelsize": np.ones(3),
    "xras": np.array([-1.0, 0, 0]),
    "yras": np.array([0.0, 0, -1]),
    "zras": np.array([0.0, 1, 0]),
    "cras": C_RAS,
}
SIDE = {"L": -30.0, "R": 30.0}


def octahedron(x=0.0, scale=10.0):
    vertices = scale * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float) + [x, -40, 5]
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    return vertices.astype(np.float32), faces.astype(np.int32)


def freesurfer(folder, hemis="LR", volume=CONFORMED):
    surf = folder / "surf"
    surf.mkdir(parents=True)
    for hemi in hemis:
        for kind, scale in (("white", 9.0), ("pial", 11.0), ("inflated", 30.0), ("sphere.reg", 100.0)):
            at_side = SIDE[hemi] if kind in ("white", "pial") else 0.0
            write_geometry(surf / f"{hemi.lower()}h.{kind}", *octahedron(at_side, scale), create_stamp="test", volume_info=volume)
        write_morph_data(surf / f"{hemi.lower()}h.sulc", np.arange(6) - 2.5)
    return folder


def patch_file(path, vertices, xyz):
    """A patch as FreeSurfer writes it: 1-based vertices, those of its border with a minus."""
    rows = b"".join(struct.pack(">i3f", number, *map(float, point)) for number, point in zip(vertices, xyz, strict=True))
    path.write_bytes(struct.pack(">ii", -1, len(vertices)) + rows)


def gifti_mesh(path, vertices, faces, *, hemi="", space=1, geometry=None):
    points = GiftiDataArray(
        np.asarray(vertices, dtype=np.float32),
        intent="NIFTI_INTENT_POINTSET",
        datatype="NIFTI_TYPE_FLOAT32",
        coordsys=GiftiCoordSystem(dataspace=space, xformspace=space),
        meta=GiftiMetaData({key: f"{value:.6f}" for key, value in (geometry or {}).items()}),
    )
    triangles = GiftiDataArray(faces, intent="NIFTI_INTENT_TRIANGLE", datatype="NIFTI_TYPE_INT32")
    meta = {"AnatomicalStructurePrimary": {"L": "CortexLeft", "R": "CortexRight"}[hemi]} if hemi else {}
    nib.save(GiftiImage(meta=GiftiMetaData(meta), darrays=[triangles, points]), path)
    return path


def gifti_map(path, values):
    array = GiftiDataArray(np.asarray(values, dtype=np.float32), intent="NIFTI_INTENT_SHAPE", datatype="NIFTI_TYPE_FLOAT32")
    nib.save(GiftiImage(darrays=[array]), path)


@pytest.mark.parametrize("place", ["", "surf"])
def test_a_freesurfer_subject(tmp_path, place):
    found = read_surface_folder(freesurfer(tmp_path / "bert") / place)
    assert set(found.meshes) == {(hemi, kind) for hemi in "LR" for kind in ("white", "pial", "inflated", "sphere")}
    for hemi in "LR":
        vertices, faces = octahedron(SIDE[hemi], 11.0)
        np.testing.assert_allclose(found.meshes[hemi, "pial"].vertices, vertices + C_RAS, atol=1e-4)
        np.testing.assert_array_equal(found.meshes[hemi, "pial"].faces, faces)
        np.testing.assert_allclose(found.meshes[hemi, "inflated"].vertices, octahedron(0.0, 30.0)[0], atol=1e-4)  # no world of its own
        np.testing.assert_allclose(found.sulc[hemi], np.arange(6) - 2.5)
        assert found.sulc[hemi].dtype == np.float32 and found.sulc[hemi].dtype.isnative
    assert any("lh.sphere.reg stands for it" in note for note in found.notes)


def test_an_oblique_volume_turns_its_surface(tmp_path):
    """What FreeSurfer does: surface space to voxels of the volume, voxels to the scanner. A shift alone would be wrong here."""
    turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.3)
    axes = turn @ np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    tilted = {**CONFORMED, "xras": axes[:, 0], "yras": axes[:, 1], "zras": axes[:, 2], "voxelsize": np.array([0.8, 1.0, 1.2])}
    found = read_surface_folder(freesurfer(tmp_path / "bert", volume=tilted))
    header = MGHHeader()
    header.set_data_shape((256, 256, 256))
    header["delta"], header["Mdc"], header["Pxyz_c"] = tilted["voxelsize"], axes.T, C_RAS
    voxels = nib.affines.apply_affine(np.linalg.inv(header.get_vox2ras_tkr()), octahedron(-30.0, 9.0)[0])
    expected = nib.affines.apply_affine(header.get_vox2ras(), voxels)
    np.testing.assert_allclose(found.meshes["L", "white"].vertices, expected, atol=1e-3)
    assert np.abs(expected - octahedron(-30.0, 9.0)[0] - C_RAS).max() > 1


def test_without_the_volume_it_says_so(tmp_path):
    found = read_surface_folder(freesurfer(tmp_path / "bert", volume=None))
    np.testing.assert_allclose(found.meshes["L", "white"].vertices, octahedron(-30.0, 9.0)[0], atol=1e-4)
    assert sum("no c_ras" in note for note in found.notes) == 4
    assert not any("no c_ras" in note for note in read_surface_folder(freesurfer(tmp_path / "other")).notes)


def test_a_flat_patch_keeps_the_vertices_of_its_hemisphere(tmp_path):
    folder = freesurfer(tmp_path / "bert")
    flat = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    patch_file(folder / "surf" / "lh.cortex.patch.flat", [1, -2, 3, -4, 5], flat)  # vertex 5 is cut away
    mesh = read_surface_folder(folder).meshes["L", "flat"]
    np.testing.assert_array_equal(mesh.vertices[:5], flat)
    assert mesh.n_vertices == 6 and (mesh.vertices[5] == 0).all()
    np.testing.assert_array_equal(mesh.faces, octahedron()[1][:4])
    patch_file(folder / "surf" / "lh.cortex.patch.flat", [1, 7], flat[:2])
    with pytest.raises(DataFormatError, match="names vertex 6, its hemisphere has 6 vertices"):
        read_surface_folder(folder)


@pytest.mark.parametrize(
    "name",
    ["sub-01_hemi-{}_{}.surf.gii", "{}h.{}.gii", "{}h.{}.surf.gii", "sub.{}.{}.32k_fs_LR.surf.gii", "tpl-x_den-32k_hemi-{}_{}.surf.gii"],
)
def test_names_of_gifti(tmp_path, name):
    for hemi in "LR":
        for kind, scale in (("white", 9.0), ("pial", 11.0), ("midthickness", 10.0)):
            side = hemi.lower() if name.startswith("{}h") else hemi
            gifti_mesh(tmp_path / name.format(side, kind), *octahedron(SIDE[hemi], scale))
    found = read_surface_folder(tmp_path)
    assert set(found.meshes) == {(hemi, kind) for hemi in "LR" for kind in ("white", "pial", "midthickness")}
    np.testing.assert_array_equal(found.meshes["R", "midthickness"].vertices, octahedron(30.0, 10.0)[0])
    assert not found.notes


def test_names_of_nilearn(tmp_path):
    for side, x in (("left", -30.0), ("right", 30.0)):
        for kind in ("white", "pial", "infl", "flat"):
            gifti_mesh(tmp_path / f"{kind}_{side}.gii.gz", *octahedron(x))
        gifti_map(tmp_path / f"sulc_{side}.gii.gz", np.arange(6))
    found = read_surface_folder(tmp_path)
    assert set(found.meshes) == {(hemi, kind) for hemi in "LR" for kind in ("white", "pial", "inflated", "flat")}
    np.testing.assert_array_equal(found.sulc["R"], np.arange(6))


def test_of_several_meshes_the_persons_own_is_taken(tmp_path):
    anat = tmp_path / "anat"
    anat.mkdir()
    for hemi in "LR":
        gifti_mesh(anat / f"sub-01_hemi-{hemi}_pial.surf.gii", *octahedron(SIDE[hemi]))
        gifti_map(anat / f"sub-01_hemi-{hemi}_sulc.shape.gii", np.arange(6))
        gifti_mesh(anat / f"sub-01_hemi-{hemi}_space-fsLR_den-32k_midthickness.surf.gii", *octahedron(SIDE[hemi]))
        gifti_map(anat / f"sub-01_hemi-{hemi}_space-fsLR_den-32k_sulc.shape.gii", np.zeros(9))
    found = read_surface_folder(tmp_path)
    assert set(found.meshes) == {("L", "pial"), ("R", "pial")} and set(found.sulc) == {"L", "R"}
    assert any("space-fsLR den-32k" in note for note in found.notes)


GEOMETRY = {
    **{"VolGeomWidth": 256, "VolGeomHeight": 256, "VolGeomDepth": 256, "VolGeomXsize": 1, "VolGeomYsize": 1, "VolGeomZsize": 1},
    **{"VolGeomX_R": -1, "VolGeomX_A": 0, "VolGeomX_S": 0, "VolGeomY_R": 0, "VolGeomY_A": 0, "VolGeomY_S": -1},
    **{"VolGeomZ_R": 0, "VolGeomZ_A": 1, "VolGeomZ_S": 0, "VolGeomC_R": C_RAS[0], "VolGeomC_A": C_RAS[1], "VolGeomC_S": C_RAS[2]},
}


@pytest.mark.parametrize(("space", "shift"), [(0, C_RAS), (1, np.zeros(3))])
def test_what_mris_convert_left_in_surface_space_is_moved(tmp_path, space, shift):
    """With ``--to-scanner`` the points are in the world already, and the geometry of the volume is there all the same."""
    for hemi in "LR":
        gifti_mesh(tmp_path / f"{hemi.lower()}h.white.gii", *octahedron(SIDE[hemi]), space=space, geometry=GEOMETRY)
    found = read_surface_folder(tmp_path)
    np.testing.assert_allclose(found.meshes["R", "white"].vertices, octahedron(30.0)[0] + shift, atol=1e-4)
    assert bool(found.notes) == bool(shift.any())


def test_a_head_off_the_middle_is_no_mistake(tmp_path):
    for hemi in "LR":
        gifti_mesh(tmp_path / f"sub-01_hemi-{hemi}_white.surf.gii", *octahedron(SIDE[hemi] - 45.0))
    assert read_surface_folder(tmp_path).meshes["R", "white"].vertices[:, 0].mean() == pytest.approx(-15.0)


def mistaken(tmp_path):
    """Folders with one mistake each, and what is said of it."""
    swapped = freesurfer(tmp_path / "swapped")
    write_geometry(swapped / "surf" / "lh.pial", *octahedron(30.0), create_stamp="test", volume_info=CONFORMED)
    yield swapped, DataFormatError, r"lh.pial: file says L, mesh lies at x > 0"
    counts = freesurfer(tmp_path / "counts")
    vertices, faces = octahedron(-30.0)
    write_geometry(counts / "surf" / "lh.pial", np.r_[vertices, vertices[:1]], faces, create_stamp="test", volume_info=CONFORMED)
    yield counts, DataFormatError, r"hemisphere L differ in their number of vertices \(white 6, pial 7"
    beyond = freesurfer(tmp_path / "beyond")
    write_geometry(beyond / "surf" / "lh.white", vertices, faces + 1, create_stamp="test", volume_info=CONFORMED)
    yield beyond, DataFormatError, r"lh.white: faces name vertex 6, but there are 6 vertices"
    sulc = freesurfer(tmp_path / "sulc")
    write_morph_data(sulc / "surf" / "rh.sulc", np.zeros(7))
    yield sulc, DataFormatError, r"rh.sulc has 7 values, mesh has 6 vertices"
    cut = freesurfer(tmp_path / "cut")
    whole = (cut / "surf" / "rh.white").read_bytes()
    (cut / "surf" / "rh.white").write_bytes(whole[:100])
    yield cut, DataFormatError, r"rh.white is truncated: its header announces 6 vertices and 8 faces"
    page = freesurfer(tmp_path / "page")
    (page / "surf" / "rh.white").write_bytes(b"<html>")
    yield page, DataFormatError, r"rh.white is not a FreeSurfer mesh: it starts with b'<ht'"
    linked = freesurfer(tmp_path / "linked")
    (linked / "surf" / "rh.white").unlink()
    (linked / "surf" / "rh.white").symlink_to("rh.white.T1")
    yield linked, MissingDataError, r"rh.white: the link is broken"
    contrary = tmp_path / "contrary"
    contrary.mkdir()
    gifti_mesh(contrary / "lh.white.gii", *octahedron(-30.0), hemi="R")
    yield contrary, DataFormatError, r"its name says L, the file itself R"
    empty = tmp_path / "empty"
    empty.mkdir()
    yield empty, MissingDataError, r"holds no surface; expected lh.white, lh.pial, … \(FreeSurfer, here or in surf/\) or GIFTI"
    yield tmp_path / "nowhere", MissingDataError, r"does not exist; give a FreeSurfer subject folder"


def test_each_mistake_is_named(tmp_path):
    for folder, kind, text in mistaken(tmp_path):
        with pytest.raises(kind) as caught:
            read_surface_folder(folder)
        assert re.search(text, str(caught.value)), str(caught.value)
        assert str(folder) in str(caught.value)


def test_one_hemisphere_is_enough_and_said(tmp_path):
    found = read_surface_folder(freesurfer(tmp_path / "bert", hemis="R"))
    assert {hemi for hemi, _ in found.meshes} == {"R"}
    assert any("no surface of hemisphere L" in note for note in found.notes)
