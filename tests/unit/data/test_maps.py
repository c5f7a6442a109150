"""Maps on disk, seen through nibabel and nilearn: the right field must appear on the left hemisphere."""

import json
import resource
from dataclasses import replace

import nibabel as nib
import nilearn.image
import nilearn.surface
import numpy as np
import pandas as pd
import pytest

from brain2pix.anatomy.surfaces import Mesh, load_fsaverage5
from brain2pix.arrays import RetinotopicMap
from brain2pix.data import NativeContent, Space, check_hemifields, open_subject, read_maps, write_maps, write_native
from brain2pix.errors import ComputeError, ConfigError, DataFormatError, MissingDataError, ShapeError

AFFINE = np.array([[4.0, 0, 0, -98], [0, 4.0, 0, -134], [0, 0, 4.0, -72], [0, 0, 0, 1]])
SHAPE = (50, 60, 48)


def _mesh(mesh):
    return mesh if isinstance(mesh, Mesh) else Mesh(*mesh)


def occipital_voxels(meshes):
    """Voxels behind y = -70 mm that the cortex of either side passes through."""
    parts = []
    for hemi in ("L", "R"):
        middle = (meshes[hemi, "white"].vertices + meshes[hemi, "pial"].vertices) / 2
        ijk = np.unique(np.rint(nib.affines.apply_affine(np.linalg.inv(AFFINE), middle[middle[:, 1] < -70])).astype(int), axis=0)
        parts.append(pd.DataFrame({"i": ijk[:, 0], "j": ijk[:, 1], "k": ijk[:, 2], "hemi": hemi}))
    return pd.concat(parts).drop_duplicates(["i", "j", "k"], keep=False).reset_index(drop=True)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    meshes = {
        (hemi, kind): mesh if isinstance(mesh, Mesh) else Mesh(*mesh) for hemi in "LR" for kind, mesh in load_fsaverage5(hemi).items()
    }
    voxels = occipital_voxels(meshes)
    rng = np.random.default_rng(0)
    voxels = voxels.iloc[rng.permutation(len(voxels))].reset_index(drop=True)
    z = AFFINE[2, 2] * voxels["k"].to_numpy() + AFFINE[2, 3]
    content = NativeContent(
        subject="sub-01",
        name="phantom",
        space=Space("MNI152", AFFINE, SHAPE),
        voxels=voxels,
        areas={"V1v": z < 0, "V1d": z >= 0},
        responses=rng.standard_normal((3, len(voxels))).astype(np.float32),
        trials=pd.DataFrame({"stimulus_id": ["a", "b", "c"], "split": "train"}),
        stimuli=pd.DataFrame({"stimulus_id": ["a", "b", "c"], "category": "x", "split": "train"}),
        images={name: np.zeros((8, 8, 3), dtype=np.uint8) for name in "abc"},
        field_of_view_deg=12.0,
        meshes={key: meshes[key] for key in meshes if key[1] in ("white", "pial")},
    )
    return open_subject(write_native(tmp_path_factory.mktemp("maps") / "dataset", content))


@pytest.fixture
def phantom(subject):
    """Right field on the left hemisphere, upper field below z = 0; each voxel also carries its own number as quality."""
    left = (subject.voxels["hemi"] == "L").to_numpy()
    ventral = subject.areas["V1v"]
    x0, y0 = np.where(left, 3.0, -3.0).astype(np.float32), np.where(ventral, 2.0, -2.0).astype(np.float32)
    number = np.arange(subject.n_voxels, dtype=np.float32)
    return RetinotopicMap(x0, y0, np.full_like(x0, 0.7), number, 12.0, "held-out r", "a phantom")


def test_volumes_show_the_right_field_at_the_left(subject, phantom, tmp_path):
    write_maps(tmp_path, phantom, subject, np.arange(subject.n_voxels))
    image = nib.as_closest_canonical(nib.load(tmp_path / "sub-01_space-MNI152_desc-encoder_x0.nii.gz"))
    x0 = image.get_fdata()
    inside = np.isfinite(x0)
    x = nib.affines.apply_affine(image.affine, np.argwhere(inside))[:, 0]
    side = np.abs(x) > 6  # away from the midline, where the hemispheres' voxels interleave
    assert inside.sum() == subject.n_voxels and side.sum() > 100
    assert (x0[inside][side & (x < 0)] == 3).all() and (x0[inside][side & (x > 0)] == -3).all()
    loaded = nilearn.image.load_img(tmp_path / "sub-01_space-MNI152_desc-encoder_y0.nii.gz")
    y0 = loaded.get_fdata()
    z = nib.affines.apply_affine(loaded.affine, np.argwhere(np.isfinite(y0)))[:, 2]
    assert (y0[np.isfinite(y0)][z < 0] == 2).all() and (y0[np.isfinite(y0)][z >= 0] == -2).all()


@pytest.mark.parametrize(("hemi", "x0", "angles"), [("L", 3.0, (33.69, 326.31)), ("R", -3.0, (146.31, 213.69))])
def test_surfaces_show_the_opposite_field(subject, phantom, tmp_path, hemi, x0, angles):
    write_maps(tmp_path, phantom, subject, np.arange(subject.n_voxels))
    values = nilearn.surface.load_surf_data(tmp_path / f"sub-01_hemi-{hemi}_desc-encoder_x0.func.gii")
    points, _ = nilearn.surface.load_surf_mesh(subject.path / "anat" / f"sub-01_hemi-{hemi}_white.surf.gii")
    shown = np.isfinite(values)
    assert values.shape == (len(points),) and shown.sum() > 500
    assert (values[shown] == x0).all()
    structure = nib.load(tmp_path / f"sub-01_hemi-{hemi}_desc-encoder_x0.func.gii").meta["AnatomicalStructurePrimary"]
    assert (np.sign(points[shown, 0].mean()), structure) == ((-1, "CortexLeft") if hemi == "L" else (1, "CortexRight"))
    angle = nib.load(tmp_path / f"sub-01_hemi-{hemi}_desc-encoder_angle.func.gii").agg_data()
    assert sorted(set(np.round(angle[shown], 2).tolist())) == pytest.approx(sorted(angles), abs=0.01)


def test_each_vertex_shows_a_voxel_near_it(subject, phantom, tmp_path):
    write_maps(tmp_path, phantom, subject, np.arange(subject.n_voxels))
    for hemi in ("L", "R"):
        number = nib.load(tmp_path / f"sub-01_hemi-{hemi}_desc-encoder_quality.func.gii").agg_data()
        middle = (subject.mesh(hemi, "white").vertices + subject.mesh(hemi, "pial").vertices) / 2
        shown = np.flatnonzero(np.isfinite(number))
        own = (subject.voxels["hemi"] == hemi).to_numpy()
        distance = np.linalg.norm(middle[shown, None] - subject.xyz[None, own], axis=2)  # brute force
        np.testing.assert_array_equal(np.flatnonzero(own)[distance.argmin(axis=1)], number[shown].astype(int))
        assert distance.min(axis=1).max() <= 6.0
        hidden = np.setdiff1d(np.arange(len(middle)), shown)[::40]
        assert (np.linalg.norm(middle[hidden, None] - subject.xyz[None, own], axis=2).min(axis=1) > 6.0).all()


def test_part_of_the_voxels(subject, phantom, tmp_path):
    index = np.flatnonzero(subject.areas["V1d"])[::-1][:200]
    part = RetinotopicMap(*(values[index] for values in (phantom.x0_deg, phantom.y0_deg, phantom.sigma_deg, phantom.quality)), 12.0)
    write_maps(tmp_path, part, subject, index, label="prf")
    stored = read_maps(tmp_path)
    assert {tuple(row) for row in stored.ijk} == {tuple(row) for row in subject.ijk[index]}
    np.testing.assert_array_equal(stored.on(subject, index).quality, phantom.quality[index])
    everywhere = stored.on(subject)
    assert np.isfinite(everywhere.x0_deg).sum() == 200
    np.testing.assert_array_equal(everywhere.y0_deg[index], phantom.y0_deg[index])


def test_round_trip_keeps_voxels_without_a_field(subject, phantom, tmp_path):
    x0 = phantom.x0_deg.copy()
    x0[::3] = np.nan
    holes = RetinotopicMap(x0, phantom.y0_deg, phantom.sigma_deg, phantom.quality, 12.0, "held-out r", "encoder gradients")
    files = write_maps(tmp_path / "new" / "prf", holes, subject, np.arange(subject.n_voxels))
    assert all(file.is_file() for file in files) and {file.parent for file in files} == {tmp_path / "new" / "prf"}
    stored = read_maps(tmp_path / "new" / "prf")
    assert len(stored.ijk) == subject.n_voxels
    back = stored.on(subject)
    for name in ("x0_deg", "y0_deg", "sigma_deg", "quality"):
        np.testing.assert_array_equal(getattr(back, name), getattr(holes, name), err_msg=name)
    assert (back.field_of_view_deg, back.quality_name, back.source) == (12.0, "held-out r", "encoder gradients")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["prf"]  # no staging folder is left


def test_accuracy_travels_with_the_map_and_goes_with_it(subject, phantom, tmp_path):
    everything = np.arange(subject.n_voxels)
    share = np.linspace(-0.2, 1.2, subject.n_voxels, dtype=np.float32)
    share[5] = np.nan
    write_maps(tmp_path, replace(phantom, accuracy=share, accuracy_name="r over a ceiling"), subject, everything)
    found = read_maps(tmp_path)
    np.testing.assert_array_equal(found.on(subject).accuracy, share)
    np.testing.assert_array_equal(found.on(subject, everything[::-3]).accuracy, share[::-3])
    assert found.retinotopy.accuracy_name == "r over a ceiling"
    values = nib.load(tmp_path / "sub-01_hemi-L_desc-encoder_accuracy.func.gii").agg_data()
    assert np.isfinite(values).sum() > 500
    # written again without one, nothing of it is left
    write_maps(tmp_path, replace(phantom, accuracy_name="no repeats"), subject, everything)
    assert not list(tmp_path.glob("*_accuracy.*"))
    again = read_maps(tmp_path).on(subject)
    assert again.accuracy is None and again.accuracy_name == "no repeats"
    # maps of before know nothing of it
    file = tmp_path / "sub-01_desc-encoder_prf.json"
    older = {key: value for key, value in json.loads(file.read_text()).items() if key != "AccuracyMeasure"}
    file.write_text(json.dumps(older))
    assert read_maps(tmp_path).on(subject).accuracy_name == ""


def test_description(subject, phantom, tmp_path):
    write_maps(tmp_path, phantom, subject, np.arange(subject.n_voxels))
    values = json.loads((tmp_path / "sub-01_desc-encoder_prf.json").read_text())
    assert values["Units"] == "deg" and values["FieldOfViewDeg"] == 12.0 and values["Model"] == "a phantom"
    assert values["QualityMeasure"] == "held-out r" and values["Simulated"] is False and "counter-clockwise" in values["Convention"]


def test_writing_again_replaces(subject, phantom, tmp_path):
    first = write_maps(tmp_path, phantom, subject, np.arange(subject.n_voxels))
    flipped = RetinotopicMap(-phantom.x0_deg, phantom.y0_deg, phantom.sigma_deg, phantom.quality, 12.0)
    assert write_maps(tmp_path, flipped, subject, np.arange(subject.n_voxels)) == first
    np.testing.assert_array_equal(read_maps(tmp_path).on(subject).x0_deg, -phantom.x0_deg)


def test_full_disk_keeps_the_old_maps(subject, phantom, tmp_path):
    """A real limit on the size of files: the first volume fits, a surface does not."""
    everything = np.arange(subject.n_voxels)
    folder = tmp_path / "prf"
    write_maps(folder, phantom, subject, everything)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    turned = RetinotopicMap(-phantom.x0_deg, phantom.y0_deg, phantom.sigma_deg, phantom.quality, 12.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        with pytest.raises(ComputeError, match="no space left while writing"):
            write_maps(folder, turned, subject, everything)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["prf"]


def test_maps_of_prfanalyze(subject, tmp_path):
    for name, value in (("centerx0", 1.5), ("centery0", -2.0), ("sigmamajor", 0.6), ("r2", 0.4)):
        volume = np.full(SHAPE, np.nan, dtype=np.float32)
        volume[tuple(subject.ijk[:30].T)] = value
        nib.save(nib.Nifti1Image(volume, AFFINE), tmp_path / f"sub-01_task-prf_{name}.nii.gz")
    back = read_maps(tmp_path).on(subject, np.arange(31))
    assert back.x0_deg[:30].tolist() == [1.5] * 30 and back.y0_deg[0] == -2 and back.sigma_deg[3] == pytest.approx(0.6)
    assert back.quality[29] == pytest.approx(0.4) and np.isnan(back.x0_deg[30])


def test_bad_maps(subject, phantom, tmp_path):
    everything = np.arange(subject.n_voxels)
    with pytest.raises(ShapeError, match=rf"the map has {subject.n_voxels} voxels, voxel_index 5"):
        write_maps(tmp_path, phantom, subject, everything[:5])
    with pytest.raises(ShapeError, match="accuracy"):
        replace(phantom, accuracy=np.zeros(3, dtype=np.float32))
    with pytest.raises(ConfigError, match="label 'a/b' of a map must be letters and digits"):
        write_maps(tmp_path, phantom, subject, everything, label="a/b")
    with pytest.raises(MissingDataError, match=r"holds no map of x0 \(\*_x0\.nii\.gz\); positions must be Cartesian"):
        read_maps(tmp_path)
    write_maps(tmp_path, phantom, subject, everything)
    write_maps(tmp_path, phantom, subject, everything, label="prf")
    with pytest.raises(DataFormatError, match="holds 2 maps of x0"):
        read_maps(tmp_path)
    assert read_maps(tmp_path, "prf").retinotopy.source == "a phantom"
    file = tmp_path / "sub-01_space-MNI152_desc-prf_y0.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), AFFINE), file)
    with pytest.raises(DataFormatError, match=r"map .*y0\.nii\.gz: grid \(4, 4, 4\)"):
        read_maps(tmp_path, "prf")
    file.write_bytes(b"\x1f\x8b" + b"0" * 40)
    with pytest.raises(DataFormatError, match=r"map .*y0\.nii\.gz .* cannot be read"):
        read_maps(tmp_path, "prf")


def test_maps_of_another_grid(subject, phantom, tmp_path):
    write_maps(tmp_path, phantom, subject, np.arange(subject.n_voxels))
    image = nib.load(tmp_path / "sub-01_space-MNI152_desc-encoder_x0.nii.gz")
    moved = image.affine + np.pad([[0.0, 0, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]], ((0, 1), (0, 0)))
    for name in ("x0", "y0"):
        nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), moved), tmp_path / f"sub-01_desc-other_{name}.nii.gz")
    with pytest.raises(DataFormatError, match=r"maps lie on .*, sub-01 on .*; resample x0 and y0, never the angle"):
        read_maps(tmp_path, "other").on(subject)


def test_surface_of_someone_else(subject, tmp_path):
    """A surface that lost its centre shift lies apart from the voxels."""
    other = open_subject(subject.root)
    for kind in ("white", "pial"):
        mesh = other.mesh("L", kind)
        other._meshes["L", kind] = Mesh(mesh.vertices + np.float32([0, 60, 0]), mesh.faces)
    with pytest.raises(DataFormatError, match=r"surface L and volume are not in the same space, voxels lie \d\d mm from it"):
        other.vertex_voxels("L")


# Surfaces --------------------------------------------------------------------------------------------------------------------------------


def gifti(path, points, faces, order=1):
    arrays = [
        nib.gifti.GiftiDataArray(np.asarray(points, dtype=np.float32), intent="NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(np.asarray(faces, dtype=np.int32), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    nib.save(nib.gifti.GiftiImage(darrays=arrays[::order]), path)


def test_meshes_of_a_lab(lab):
    points = [[-1, 0, 0], [-2, 5, 0], [-3, 0, 5]]
    file = lab.anat / "sub-01_hemi-L_white.surf.gii"
    subject = open_subject(lab.root)
    gifti(file, points, [[0, 1, 2]], order=-1)  # triangles first: the intent decides
    np.testing.assert_array_equal(subject.mesh("L", "white").vertices, points)

    def refused(message):
        with pytest.raises(DataFormatError, match=message):
            open_subject(lab.root).mesh("L", "white")

    gifti(file, points, [[0, 1, 3]])
    refused(r"faces name vertex 3, but there are 3 vertices \(0-based\)")
    gifti(file, np.negative(points), [[0, 1, 2]])
    refused(r"file says L, mesh lies at x > 0 \(mean x 2\.0 mm\); left and right look exchanged")
    gifti(file, np.zeros((3, 2)), [[0, 1, 2]])
    refused(r"expected vertices \[p 3\] and faces \[f 3\]")
    nib.save(nib.gifti.GiftiImage(darrays=[nib.gifti.GiftiDataArray(np.zeros((3, 3), np.float32), intent="NIFTI_INTENT_POINTSET")]), file)
    refused("expected one array of intent NIFTI_INTENT_TRIANGLE, got 0")
    gifti(file, points, [[0, 1, 2]])
    whole = file.read_bytes()
    for share in (0.9, 0.5, 0.02):
        file.write_bytes(whole[: int(len(whole) * share)])
        refused(r"surface .*hemi-L_white\.surf\.gii .*truncated")
    file.write_bytes(b"")
    refused(r"surface .*hemi-L_white\.surf\.gii .*truncated")


def test_sulc_must_fit_its_mesh(lab):
    gifti(lab.anat / "sub-01_hemi-L_white.surf.gii", [[-1, 0, 0], [-2, 5, 0], [-3, 0, 5]], [[0, 1, 2]])
    array = nib.gifti.GiftiDataArray(np.zeros(163842, np.float32), intent="NIFTI_INTENT_SHAPE")
    nib.save(nib.gifti.GiftiImage(darrays=[array]), lab.anat / "sub-01_hemi-L_sulc.shape.gii")
    with pytest.raises(DataFormatError, match="has 163842 values, mesh has 3 vertices"):
        open_subject(lab.root).sulc("L")


# The check after every import --------------------------------------------------------------------------------------------------------


@pytest.fixture
def planted():
    """2 x 2 x 50 voxels of V1 and V2, a few of them on the wrong side as in any data."""
    rng = np.random.default_rng(5)
    hemi = np.repeat(["L", "R"], 100)
    ventral = np.tile(np.repeat([True, False], 50), 2)
    x0 = np.abs(rng.normal(2, 1, 200)) * np.where(hemi == "L", 1, -1)
    y0 = np.abs(rng.normal(2, 1, 200)) * np.where(ventral, 1, -1)
    x0[::20] *= -1
    second = np.arange(200) % 2 == 1
    areas = {
        "V1": ~second,
        "V2": second,
        "V1v": ~second & ventral,
        "V1d": ~second & ~ventral,
        "V2v": second & ventral,
        "V2d": second & ~ventral,
    }
    return x0.astype(np.float32), y0.astype(np.float32), hemi, areas


def a_map(x0, y0):
    return RetinotopicMap(x0, y0, np.ones_like(x0), np.linspace(0, 1, x0.size, dtype=np.float32), 12.0)


def test_a_map_as_it_should_be(planted):
    x0, y0, hemi, areas = planted
    check = check_hemifields(a_map(x0, y0), hemi, areas)
    assert check.ok and check.remedies == ()
    assert check.lines()[0].startswith("left hemisphere prefers the right field in 95% of 100 voxels (median +")


def test_mirrored_maps_are_named(planted):
    x0, y0, hemi, areas = planted
    check = check_hemifields(a_map(-x0, y0), hemi, areas)
    assert not check.ok and check.remedies == ("flip x", "swap hemispheres")
    assert "left hemisphere prefers the LEFT field in 100% of V2: angle looks mirrored (x)" in check.lines()
    swapped = check_hemifields(a_map(x0, y0), np.where(hemi == "L", "R", "L"), areas)
    assert swapped.remedies == ("flip x", "swap hemispheres")
    upside = check_hemifields(a_map(x0, -y0), hemi, areas)
    assert upside.remedies == ("flip y",)
    assert "ventral V1-V3 prefers the LOWER field in 100% of V1v: angle looks mirrored (y)" in upside.lines()
    assert upside.lines()[-1] == "try: flip y"


def test_a_warning_gives_both_readings_and_tells_noise_from_a_mirror(planted):
    x0, y0, hemi, areas = planted
    assert check_hemifields(a_map(x0, y0), hemi, areas).warning() == ""
    mirrored = check_hemifields(a_map(-x0, y0), hemi, areas).warning()
    assert "contradicts left and right" in mirrored and "flip x" in mirrored and "swap hemispheres" in mirrored
    upside = check_hemifields(a_map(x0, -y0), hemi, areas).warning()
    assert "contradicts up and down" in upside and "flip y" in upside and "swap" not in upside
    noise = np.random.default_rng(1).normal(size=(2, x0.size)).astype(np.float32)
    said = check_hemifields(a_map(*noise), hemi, areas).warning()
    assert "may be noise" in said and "flip" not in said


def test_weak_voxels_may_be_left_out(planted):
    x0, y0, hemi, areas = planted
    x0[:60] *= -1  # the lowest qualities
    assert not check_hemifields(a_map(x0, y0), hemi, areas).ok
    assert check_hemifields(a_map(x0, y0), hemi, areas, min_quality=0.31).ok


def test_nothing_to_check():
    none = np.full(4, np.nan, dtype=np.float32)
    check = check_hemifields(a_map(none, none), np.array(["L", "L", "R", "R"]), {})
    assert check.ok and "no voxel with a receptive field" in check.lines()[0]
    with pytest.raises(ShapeError, match="V1 needs one value for each of 4 voxels"):
        check_hemifields(a_map(none, none), np.array(["L"] * 4), {"V1": np.zeros(3, bool)})
