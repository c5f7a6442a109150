"""Volumes to surfaces and back, held against nilearn, scipy and planted truth."""

import numpy as np
import pytest
from nibabel import Nifti1Image
from nibabel.affines import apply_affine
from nilearn.surface import InMemoryMesh, vol_to_surf
from scipy.ndimage import map_coordinates
from scipy.stats import circmean

from brain2pix.anatomy.sampling import DEPTHS, map_to_surface, map_to_volume, sample_surface, sample_volume
from brain2pix.anatomy.surfaces import Mesh, load_fsaverage5
from brain2pix.arrays import RetinotopicMap
from brain2pix.errors import ConfigError, ShapeError

VOXEL_MM = 3.0
SHAPE = (64, 76, 64)
AFFINE = np.array([[-VOXEL_MM, 0, 0, 96.0], [0, VOXEL_MM, 0, -124.0], [0, 0, VOXEL_MM, -76.0], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def cortex():
    meshes = load_fsaverage5("L")
    return meshes["white"], meshes["pial"]


def centres():
    return apply_affine(AFFINE, np.moveaxis(np.indices(SHAPE), 0, -1))


def nilearn_sample(volume, cortex, interpolation):
    """nilearn counts depth from the outer surface."""
    white, pial = (InMemoryMesh(mesh.vertices.astype(float), mesh.faces) for mesh in cortex)
    image = Nifti1Image(volume, AFFINE)
    depths = [1 - depth for depth in DEPTHS]
    return vol_to_surf(image, pial, inner_mesh=white, kind="depth", depth=depths, interpolation=interpolation)


def test_linear_is_nilearns_where_nothing_is_missing(cortex, rng):
    volume = rng.normal(size=SHAPE)
    values, coverage = sample_volume(volume, AFFINE, *cortex)
    np.testing.assert_allclose(values, nilearn_sample(volume, cortex, "linear"), atol=2e-6)
    np.testing.assert_allclose(coverage, 1, atol=1e-6)


def test_labels_are_nilearns(cortex, rng):
    labels = rng.integers(0, 5, size=SHAPE).astype(np.int32)
    values, coverage = sample_volume(labels, AFFINE, *cortex, how="label")
    np.testing.assert_array_equal(values, nilearn_sample(labels, cortex, "nearest_most_frequent"))
    assert (coverage == 1).all()


def test_nearest_is_the_voxel_at_each_depth(cortex, rng):
    volume = rng.normal(size=SHAPE)
    white, pial = cortex
    places = [
        np.round(apply_affine(np.linalg.inv(AFFINE), white.vertices.astype(float) * (1 - depth) + pial.vertices * depth)).astype(int)
        for depth in DEPTHS
    ]
    expected = np.mean([volume[tuple(place.T)] for place in places], axis=0)
    np.testing.assert_allclose(sample_volume(volume, AFFINE, white, pial, how="nearest")[0], expected, atol=1e-6)


def test_a_ramp_is_exact(cortex):
    ramp = centres() @ [0.5, -1.25, 2.0] + 7
    white, pial = cortex
    for depths in ((0.0,), (0.5,), DEPTHS):
        where = white.vertices + (pial.vertices - white.vertices) * np.mean(depths)
        np.testing.assert_allclose(sample_volume(ramp, AFFINE, white, pial, depths)[0], where @ [0.5, -1.25, 2.0] + 7, atol=2e-4)


def test_missing_voxels_do_not_spread(cortex, rng):
    """10 % of the voxels are lost: nilearn loses almost every second vertex, the same sampling here none to speak of."""
    volume = centres() @ [0.05, 0.1, -0.02]
    whole, _ = sample_volume(volume, AFFINE, *cortex)
    lost = np.where(rng.random(SHAPE) < 0.1, np.nan, volume)
    values, coverage = sample_volume(lost, AFFINE, *cortex)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        peers = nilearn_sample(lost, cortex, "linear")
    assert np.isnan(peers).mean() > 0.4
    assert np.isnan(values).mean() < 0.001
    good = np.isfinite(values)
    assert np.sqrt(np.mean((values[good] - whole[good]) ** 2)) < 0.05 * whole.std()
    # the share of weights that met a value, by scipy on the mask itself
    white, pial = cortex
    middle = apply_affine(np.linalg.inv(AFFINE), (white.vertices.astype(float) + pial.vertices) / 2).T
    expected = map_coordinates(np.isfinite(lost).astype(float), middle, order=1)
    np.testing.assert_allclose(sample_volume(lost, AFFINE, white, pial, (0.5,))[1], expected, atol=1e-6)
    assert coverage.mean() == pytest.approx(0.9, abs=0.01)
    # one lost voxel is a hole of one value: no neighbour changes it
    np.testing.assert_allclose(values[coverage == 1], whole[coverage == 1], atol=1e-4)


def test_missing_labels_do_not_vote(cortex, rng):
    labels = np.where(rng.random(SHAPE) < 0.3, np.nan, 4.0)
    values, coverage = sample_volume(labels, AFFINE, *cortex, how="label")
    assert set(values[np.isfinite(values)]) == {4.0}
    np.testing.assert_array_equal(np.isnan(values), coverage == 0)


def test_outside_the_volume_nothing_is_made_up(cortex):
    white, pial = cortex
    front = apply_affine(AFFINE, (0, SHAPE[1] - 30, 0))[1]
    values, coverage = sample_volume(np.ones(SHAPE)[:, :-29], AFFINE, white, pial)
    far = (np.minimum(white.vertices[:, 1], pial.vertices[:, 1]) > front + VOXEL_MM) & (coverage >= 0)
    assert far.sum() > 500 and np.isnan(values[far]).all() and (coverage[far] == 0).all()
    assert np.nanmax(np.abs(values - 1)) < 1e-5


def test_a_field_goes_to_the_surface_and_back(cortex):
    field = np.sin(centres() @ [0.03, 0.05, 0.02])
    values, _ = sample_volume(field, AFFINE, *cortex)
    found = sample_surface(values, *cortex, SHAPE, AFFINE)
    expected = field[tuple(found.ijk.T)]
    inner = found.weight > 2
    assert inner.sum() > 5000
    assert np.corrcoef(found.values[inner], expected[inner])[0, 1] > 0.99
    assert (found.coverage == 1).all()


def test_a_voxel_has_the_mean_of_the_cortex_in_it(cortex, rng):
    """By throwing points at random into the prisms between the surfaces, in proportion to their area."""
    white, pial = cortex
    values = np.stack([white.vertices[:, 1], pial.vertices[:, 2]])
    found = sample_surface(values, white, pial, SHAPE, AFFINE)
    middle = (white.vertices.astype(float) + pial.vertices) / 2
    a, b, c = (middle[white.faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    face = rng.choice(len(area), size=1_500_000, p=area / area.sum())
    share = rng.dirichlet((1, 1, 1), size=face.size)
    depth = rng.random((face.size, 1))
    corners = white.faces[face]
    points = sum(share[:, [k]] * (white.vertices[corners[:, k]] * (1 - depth) + pial.vertices[corners[:, k]] * depth) for k in range(3))
    ijk = np.round(apply_affine(np.linalg.inv(AFFINE), points)).astype(int)
    flat = np.ravel_multi_index(tuple(ijk.T), SHAPE)
    count = np.bincount(flat, minlength=np.prod(SHAPE))
    for row, found_row in zip(values, found.values, strict=True):
        mean = np.bincount(flat, (share * row[corners]).sum(axis=1), minlength=np.prod(SHAPE)) / np.maximum(count, 1)
        place = np.ravel_multi_index(tuple(found.ijk.T), SHAPE)
        many = count[place] > 60
        assert many.sum() > 5000
        assert np.sqrt(np.mean((found_row - mean[place])[many] ** 2)) < 0.25  # mm, in a voxel of 3
    thrown = count / count.sum() * area.sum()
    assert found.weight.sum() == pytest.approx(area.sum(), rel=1e-4)
    assert np.corrcoef(found.weight, thrown[np.ravel_multi_index(tuple(found.ijk.T), SHAPE)])[0, 1] > 0.98


def test_the_vertex_of_a_voxel_is_near_it(cortex):
    white, pial = cortex
    found = sample_surface(np.zeros(white.n_vertices), white, pial, SHAPE, AFFINE)
    middle = (white.vertices + pial.vertices) / 2
    apart = np.linalg.norm(middle[found.vertex] - apply_affine(AFFINE, found.ijk), axis=1)
    assert np.percentile(apart, 99) < 2 * VOXEL_MM and len(np.unique(found.ijk, axis=0)) == len(found.ijk)


def test_missing_vertices_do_not_spread(cortex, rng):
    white, pial = cortex
    values = np.where(rng.random(white.n_vertices) < 0.1, np.nan, 2.5)
    found = sample_surface(values, white, pial, SHAPE, AFFINE)
    assert np.isnan(found.values).mean() < 0.05
    np.testing.assert_allclose(found.values[np.isfinite(found.values)], 2.5, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(found.values), found.coverage == 0)
    assert found.coverage.mean() == pytest.approx(0.9, abs=0.01)


def test_labels_of_vertices_go_by_majority(cortex):
    white, pial = cortex
    labels = np.where(white.vertices[:, 1] < -40, 3.0, 7.0)
    labels[white.vertices[:, 2] > 40] = np.nan
    found = sample_surface(labels, white, pial, SHAPE, AFFINE, how="label")
    assert set(found.values[np.isfinite(found.values)]) == {3.0, 7.0}
    y = apply_affine(AFFINE, found.ijk)[:, 1]
    assert (found.values[y < -46] != 7).all() and (found.values[y > -34] != 3).all()
    assert np.isnan(found.values[apply_affine(AFFINE, found.ijk)[:, 2] > 49]).all()
    near = sample_surface(labels, white, pial, SHAPE, AFFINE, how="nearest").values
    assert ((near > 3) & (near < 7)).any(), "a mean would have made up labels"


def wrapping_map(points):
    """Receptive fields on either side of the right horizontal meridian: the angle runs from 300 over 360 to 60 along z."""
    angle = np.radians(np.interp(points[..., 2], (-76, 116), (-60, 60)))
    return 4 * np.cos(angle), 4 * np.sin(angle)


def as_map(x0, y0):
    return RetinotopicMap(*(np.asarray(part, dtype=np.float32) for part in (x0, y0, np.ones_like(x0), np.ones_like(x0))), 20.0)


def apart_deg(first, second):
    return np.abs((first - second + 180) % 360 - 180)


def test_angles_would_break_where_they_wrap_and_positions_do_not(cortex):
    white, pial = cortex
    x0, y0 = wrapping_map(centres())
    ijk = np.argwhere(np.ones(SHAPE, dtype=bool))
    voxels = as_map(x0.ravel(), y0.ravel())
    truth = as_map(*wrapping_map(white.vertices + (pial.vertices - white.vertices) * np.mean(DEPTHS))).angle_deg
    ours, coverage = map_to_surface(voxels, ijk, SHAPE, AFFINE, white, pial)
    assert apart_deg(ours.angle_deg, truth).max() < 0.5 and coverage.min() > 0.999
    naive, _ = sample_volume(voxels.angle_deg.reshape(SHAPE), AFFINE, white, pial)
    assert apart_deg(naive, truth).max() > 150, "0 and 360 have the mean 180: the other side of the visual field"
    # and back
    vertices = as_map(*wrapping_map(white.vertices))
    back, found = map_to_volume(vertices, white, pial, SHAPE, AFFINE)
    truth = voxels.angle_deg.reshape(SHAPE)[tuple(found.ijk.T)]
    assert apart_deg(back.angle_deg, truth).max() < 6
    assert apart_deg(sample_surface(vertices.angle_deg, white, pial, SHAPE, AFFINE).values, truth).max() > 100


def test_two_points_of_the_visual_field_have_their_circular_mean(cortex):
    """Half the voxels at 350 degrees, half at 10: scipy's circular mean is 0, and so is ours."""
    white, pial = cortex
    checks = np.indices(SHAPE).sum(axis=0) % 2
    degrees = np.where(checks, 350.0, 10.0)
    x0, y0 = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    found, _ = map_to_surface(as_map(x0.ravel(), y0.ravel()), np.argwhere(checks >= 0), SHAPE, AFFINE, white, pial)
    assert np.degrees(circmean(np.radians([350, 10]))) % 360 == pytest.approx(0, abs=1e-9)
    assert apart_deg(found.angle_deg, 0.0).max() <= 10 + 1e-3


def test_a_position_is_both_numbers_or_none(cortex, rng):
    white, pial = cortex
    x0, y0 = wrapping_map(centres())
    half = np.where(rng.random(SHAPE) < 0.2, np.nan, y0)
    found, _ = map_to_surface(as_map(x0.ravel(), half.ravel()), np.argwhere(np.ones(SHAPE, dtype=bool)), SHAPE, AFFINE, white, pial)
    known = np.where(np.isnan(half), np.nan, x0)
    np.testing.assert_allclose(found.x0_deg, sample_volume(known, AFFINE, white, pial)[0], atol=1e-6)


def test_each_mistake_is_named(cortex):
    white, pial = cortex
    volume, half = np.zeros(SHAPE), Mesh(white.vertices[:9], white.faces[:0])
    for call, kind, text in (
        (lambda: sample_volume(volume[0], AFFINE, white, pial), ShapeError, "three axes, got shape"),
        (lambda: sample_volume(volume, AFFINE, half, pial), ShapeError, "white has 9 vertices, pial 10242"),
        (lambda: sample_volume(volume, AFFINE, white, pial, (1.5,)), ConfigError, r"from white \(0\) to pial \(1\), got \[1.5\]"),
        (lambda: sample_volume(volume, AFFINE, white, pial, how="cubic"), ConfigError, "unknown way of sampling 'cubic'"),
        (lambda: sample_volume(volume + 0.5, AFFINE, white, pial, how="label"), ConfigError, "label 0.5 is no whole number"),
        (lambda: sample_volume(volume + 2**25, AFFINE, white, pial, how="label"), ConfigError, "is larger than 16777216"),
        (lambda: sample_surface(np.zeros(9), white, pial, SHAPE, AFFINE), ShapeError, r"shape \(9,\), the mesh 10242 vertices"),
        (lambda: sample_surface(np.zeros(10242), white, pial, SHAPE, AFFINE, how="x"), ConfigError, "unknown way of sampling 'x'"),
    ):
        with pytest.raises(kind, match=text):
            call()
