import nibabel as nib
import numpy as np
import pytest

from brain2pix.anatomy import (
    HEMISPHERES,
    MNI305_TO_MNI152,
    SURFACE_KINDS,
    SimulatedAtlas,
    display_offset,
    load_fsaverage5,
    load_sulc,
    mni305_to_mni152,
    used_vertices,
)
from brain2pix.errors import ConfigError, ShapeError


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_fsaverage5_has_all_surfaces_on_their_side(hemi):
    meshes = load_fsaverage5(hemi)
    assert set(meshes) == set(SURFACE_KINDS)
    for mesh in meshes.values():
        assert mesh.vertices.shape == (10242, 3)
        assert mesh.faces.shape[1] == 3 and mesh.faces.max() == 10241
    side = np.sign(np.median(meshes["white"].vertices[:, 0]))
    assert side == (-1 if hemi == "L" else 1)
    # pial lies outside white: the closed surface holds more
    assert _volume(meshes["pial"]) > _volume(meshes["white"]) > 0
    assert load_sulc(hemi).shape == (10242,)


@pytest.mark.parametrize("hemi", HEMISPHERES)
def test_sulc_is_positive_in_the_calcarine_sulcus(hemi):
    """Sulci are dark: the fundus of the longest medial occipital sulcus has a positive depth, the occipital pole's gyri do not."""
    white, sulc = load_fsaverage5(hemi)["white"].vertices, load_sulc(hemi)
    pial = load_fsaverage5(hemi)["pial"].vertices
    center = pial.mean(axis=0)
    deep = np.linalg.norm(pial - center, axis=1) < np.quantile(np.linalg.norm(pial - center, axis=1), 0.1)
    assert sulc[deep].mean() > sulc[~deep].mean()
    assert white.shape == pial.shape


def test_mni152_differs_by_the_freesurfer_affine():
    points = np.random.default_rng(0).normal(0, 40, (50, 3))
    assert np.allclose(mni305_to_mni152(points), nib.affines.apply_affine(MNI305_TO_MNI152, points))
    # FreeSurfer's own example: MNI305 (10, -20, 35) is MNI152 (10.695, -18.409, 36.137)
    assert np.allclose(mni305_to_mni152([10, -20, 35]), [10.695, -18.409, 36.137], atol=0.01)
    assert mni305_to_mni152(np.zeros((2, 5, 3))).shape == (2, 5, 3)


def test_unused_vertices_of_the_flat_mesh_are_known():
    flat = load_fsaverage5("L")["flat"]
    used = used_vertices(flat.faces, flat.n_vertices)
    assert (~used).sum() == 777
    assert used_vertices(load_fsaverage5("L")["white"].faces, 10242).all()
    with pytest.raises(ShapeError, match=r"vertices 0\.\.9, the mesh has 0\.\.4"):
        used_vertices(np.array([[0, 1, 9]]), 5)


@pytest.mark.parametrize("kind", ["inflated", "flat", "sphere"])
def test_display_draws_left_of_right_with_a_gap(kind):
    meshes = {hemi: load_fsaverage5(hemi)[kind] for hemi in HEMISPHERES}
    offsets = display_offset(meshes, kind)
    x = {hemi: (mesh.vertices + offsets[hemi])[used_vertices(mesh.faces, 10242), 0] for hemi, mesh in meshes.items()}
    assert x["L"].max() < 0 < x["R"].min()
    assert x["R"].min() - x["L"].max() == pytest.approx(20, abs=1e-3)


def test_flat_occipital_poles_face_the_midline():
    meshes = {hemi: load_fsaverage5(hemi)["flat"] for hemi in HEMISPHERES}
    offsets = display_offset(meshes, "flat")
    for hemi, mesh in meshes.items():
        used = used_vertices(mesh.faces, 10242)
        v1 = (SimulatedAtlas(hemi).lookup(load_fsaverage5(hemi)["sphere"].vertices)[0] == 1) & used
        x = np.abs(mesh.vertices[:, 0] + offsets[hemi][0])
        assert x[v1].mean() < x[used].mean() / 2


def test_white_and_pial_are_not_shifted():
    meshes = {hemi: load_fsaverage5(hemi)["white"] for hemi in HEMISPHERES}
    assert all((shift == 0).all() for shift in display_offset(meshes, "white").values())


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown hemisphere 'left'"):
        load_fsaverage5("left")
    with pytest.raises(ConfigError, match="unknown hemisphere"):
        load_sulc("X")
    with pytest.raises(ConfigError, match="Did you mean 'inflated'"):
        display_offset({}, "inflate")


def test_moved_mesh_keeps_its_triangles():
    mesh = load_fsaverage5("R")["white"]
    moved = mesh.moved(MNI305_TO_MNI152)
    assert moved.faces is mesh.faces
    assert np.allclose(moved.vertices, mni305_to_mni152(mesh.vertices), atol=1e-3)


def _volume(mesh):
    a, b, c = (mesh.vertices[mesh.faces[:, corner]].astype(float) for corner in range(3))
    return float(np.einsum("fc,fc->f", a, np.cross(b, c)).sum() / 6)
