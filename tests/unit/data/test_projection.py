"""Files from volume to surface and back on the simulated subject, held against nilearn and the planted receptive fields."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis
from nibabel.freesurfer import MGHImage, write_annot, write_morph_data
from nilearn.surface import InMemoryMesh, vol_to_surf

from brain2pix.arrays import RetinotopicMap
from brain2pix.cli._main import run_arguments
from brain2pix.data import open_subject, write_maps
from brain2pix.data.projection import Options, project
from brain2pix.errors import Brain2PixError

N = 10242
SPACE = "MNI152NLin2009aSym"


@pytest.fixture(scope="module")
def subject(tiny_subject):
    return open_subject(tiny_subject)


@pytest.fixture(scope="module")
def truth(tiny_subject):
    return np.load(tiny_subject.with_name("tiny-truth") / "sub-01_truth.npz")


@pytest.fixture(scope="module")
def maps(subject, truth, tmp_path_factory):
    """Folder of maps with the planted fields, as a trained encoder would write them."""
    quality = np.where(np.isfinite(truth["x0_deg"]), 0.9, np.nan)
    planted = RetinotopicMap(*(np.float32(part) for part in (truth["x0_deg"], truth["y0_deg"], truth["sigma_deg"], quality)), 20.0)
    folder = tmp_path_factory.mktemp("maps")
    write_maps(folder, planted, subject, np.arange(subject.n_voxels))
    return folder


def only(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def of_nilearn(subject, hemi, image, interpolation):
    white, pial = (
        InMemoryMesh(subject.mesh(hemi, kind).vertices.astype(float), subject.mesh(hemi, kind).faces) for kind in ("white", "pial")
    )
    return vol_to_surf(image, pial, inner_mesh=white, kind="depth", depth=[0.8, 0.65, 0.5, 0.35, 0.2], interpolation=interpolation)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_a_statistic(subject, tmp_path, rng, suffix):
    volume = rng.normal(size=subject.space.shape).astype(np.float32)
    kind = MGHImage if suffix == ".mgz" else nib.Nifti1Image
    image = kind(volume, subject.space.affine)
    nib.save(image, tmp_path / f"sub-01_stat-t_statmap{suffix}")
    files, lines = project(tmp_path / f"sub-01_stat-t_statmap{suffix}", subject, tmp_path / "out")
    for hemi in "LR":
        values = nib.load(tmp_path / "out" / f"sub-01_hemi-{hemi}_stat-t_statmap.func.gii").agg_data()
        np.testing.assert_allclose(values, of_nilearn(subject, hemi, nib.Nifti1Image(volume, subject.space.affine), "linear"), atol=1e-4)
        coverage = nib.load(tmp_path / "out" / f"sub-01_hemi-{hemi}_stat-t_statmap_coverage.shape.gii").agg_data()
        np.testing.assert_allclose(coverage, 1, atol=1e-6)
        index = nib.load(tmp_path / "out" / f"sub-01_hemi-{hemi}_voxel.shape.gii").agg_data()
        np.testing.assert_array_equal(index, subject.vertex_voxels(hemi))
        assert index.max() < subject.n_voxels
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "left: 10,242 of 10,242 vertices have a value, mean coverage 1.00" in lines


def test_labels_keep_names_and_colours_and_come_back(subject, tmp_path):
    source = only(subject.path / "func", "*_dseg.nii.gz")
    _, lines = project(source, subject, tmp_path / "surface")
    assert any("holds labels" in line and "none is averaged" in line for line in lines)
    for hemi in "LR":
        image = nib.load(only(tmp_path / "surface", f"*hemi-{hemi}*.label.gii"))
        np.testing.assert_array_equal(image.agg_data(), of_nilearn(subject, hemi, nib.load(source), "nearest_most_frequent"))
        table = pd.read_csv(only(subject.path / "func", "*_dseg.tsv"), sep="\t")
        assert image.labeltable.get_labels_as_dict() == {0: "???", **dict(zip(table["index"], table["name"], strict=True))}
        red = next(label.red for label in image.labeltable.labels if label.key == 1)
        assert red == pytest.approx(int(table["color"][0][1:3], 16) / 255)
    _, lines = project(only(tmp_path / "surface", "*hemi-R*.label.gii"), subject, tmp_path / "volume")
    assert any("hemi-L" in line and "is taken for the other hemisphere" in line for line in lines)
    back = nib.load(tmp_path / "volume" / f"sub-01_seg-visual_dseg_space-{SPACE}.nii.gz")
    np.testing.assert_allclose(back.affine, subject.space.affine)
    found, planted = np.asarray(back.dataobj), np.asarray(nib.load(source).dataobj)
    assert found.dtype.kind == "i" and set(np.unique(found)) <= set(np.unique(planted))
    both = (found > 0) & (planted > 0)
    assert both.sum() > 0.7 * (planted > 0).sum() and (found == planted)[both].mean() > 0.9
    names = pd.read_csv(tmp_path / "volume" / f"sub-01_seg-visual_dseg_space-{SPACE}.tsv", sep="\t")
    assert dict(zip(names["index"], names["name"], strict=True)) == dict(zip(table["index"], table["name"], strict=True))


def test_maps_go_by_their_cartesian_parts(subject, truth, maps, tmp_path):
    project(maps, subject, tmp_path / "out")
    for hemi in "LR":
        parts = {
            name: nib.load(only(tmp_path / "out", f"*hemi-{hemi}*_{name}.func.gii")).agg_data()
            for name in ("x0", "y0", "angle", "ecc", "sigma", "quality")
        }
        known = np.isfinite(parts["x0"])
        assert 100 < known.sum() < N
        for values in parts.values():
            np.testing.assert_array_equal(np.isfinite(values), known)
        np.testing.assert_allclose(parts["angle"][known], np.degrees(np.arctan2(parts["y0"], parts["x0"]))[known] % 360, atol=1e-3)
        np.testing.assert_allclose(parts["ecc"][known], np.hypot(parts["x0"], parts["y0"])[known], atol=1e-5)
        # each hemisphere sees the other half of the field, also at the midline, where voxels of both lie side by side
        own = truth["x0_deg"][subject.voxels["hemi"] == hemi]
        assert np.nanmin(own) - 1e-4 <= parts["x0"][known].min() and parts["x0"][known].max() <= np.nanmax(own) + 1e-4
        assert (np.sign(parts["x0"][known]) == (1 if hemi == "L" else -1)).mean() > 0.97
        # the field of the voxel that the vertex shows is near
        voxel = subject.vertex_voxels(hemi)
        there = known & (voxel >= 0)
        place = tuple(subject.ijk[voxel[there]].T)
        planted = np.stack([np.asarray(nib.load(only(maps, f"*_space-*_{name}.nii.gz")).dataobj)[place] for name in ("x0", "y0")])
        apart = np.hypot(*(planted - np.stack([parts["x0"][there], parts["y0"][there]])))
        assert np.nanmedian(apart) < 1.0


def test_maps_of_vertices_go_to_the_grid(subject, maps, tmp_path):
    folder = tmp_path / "surfaces"
    folder.mkdir()
    for file in maps.glob("*.func.gii"):
        shutil.copy(file, folder)
    project(folder, subject, tmp_path / "out")
    parts = {name: np.asarray(nib.load(only(tmp_path / "out", f"*_{name}.nii.gz")).dataobj) for name in ("x0", "y0", "angle")}
    place = tuple(subject.ijk.T)
    planted = np.stack([np.asarray(nib.load(only(maps, f"*_space-*_{name}.nii.gz")).dataobj)[place] for name in ("x0", "y0")])
    found = np.stack([parts[name][place] for name in ("x0", "y0")])
    both = np.isfinite(planted).all(axis=0) & np.isfinite(found).all(axis=0)
    assert both.sum() > 0.6 * np.isfinite(planted).all(axis=0).sum()
    assert np.median(np.hypot(*(planted - found)[:, both])) < 1.0
    np.testing.assert_allclose(parts["angle"][place][both], np.degrees(np.arctan2(*found[::-1, both])) % 360, atol=1e-3)


def ramp(subject):
    return {hemi: subject.mesh(hemi, "white").vertices @ [0.1, 0.2, -0.1] for hemi in "LR"}


def cifti(path, subject, rows):
    """Without a medial wall: its vertices lie towards the middle."""
    keep = {hemi: np.flatnonzero(np.abs(subject.mesh(hemi, "white").vertices[:, 0]) > 6) for hemi in "LR"}
    axis = BrainModelAxis.from_surface(keep["L"], N, "CORTEX_LEFT") + BrainModelAxis.from_surface(keep["R"], N, "CORTEX_RIGHT")
    data = np.concatenate([ramp(subject)[hemi][keep[hemi]] for hemi in "LR"])[None]
    nib.save(Cifti2Image((data if isinstance(rows, ScalarAxis) else np.where(data > 0, 1, 0)).astype(np.float32), (rows, axis)), path)
    return path


def test_containers_agree(subject, tmp_path):
    """The same numbers as GIFTI from a volume, as .mgz pair, as morphometry and as CIFTI give the same voxels."""
    values = ramp(subject)
    for hemi, side in (("L", "lh"), ("R", "rh")):
        nib.save(MGHImage(values[hemi].astype(np.float32).reshape(N, 1, 1), np.eye(4)), tmp_path / f"{side}.ramp.mgz")
        write_morph_data(tmp_path / f"{side}.ramp", values[hemi])
    sources = (tmp_path / "lh.ramp.mgz", tmp_path / "rh.ramp", cifti(tmp_path / "ramp.dscalar.nii", subject, ScalarAxis(["ramp"])))
    found = []
    for number, source in enumerate(sources):
        project(source, subject, tmp_path / f"out{number}")
        found.append(np.asarray(nib.load(only(tmp_path / f"out{number}", f"ramp_space-{SPACE}.nii.gz")).dataobj))
    np.testing.assert_array_equal(found[0], found[1])
    inside = np.isfinite(found[0])
    xyz = nib.affines.apply_affine(subject.space.affine, np.argwhere(inside))
    assert np.sqrt(np.mean((found[0][inside] - xyz @ [0.1, 0.2, -0.1]) ** 2)) < 0.4  # 4 mm voxels, white instead of the middle
    wall = np.isfinite(found[2])
    assert (wall <= inside).all() and 0.8 < wall.sum() / inside.sum() < 1
    assert np.corrcoef(found[0][wall], found[2][wall])[0, 1] > 0.999


def test_an_area_that_is_number_0_is_not_lost(subject, tmp_path):
    labels = (subject.mesh("L", "white").vertices[:, 1] > -50).astype(np.int32)
    write_annot(tmp_path / "lh.parts.annot", labels, np.array([[200, 0, 0, 0], [0, 0, 200, 0]]), ["back", "front"])
    _, lines = project(tmp_path / "lh.parts.annot", subject, tmp_path / "out")
    assert any("one higher than in the file" in line for line in lines)
    table = pd.read_csv(only(tmp_path / "out", "*.tsv"), sep="\t")
    assert table.to_numpy().tolist() == [[1, "back", "#c80000"], [2, "front", "#0000c8"]]
    found = np.asarray(nib.load(tmp_path / "out" / f"parts_space-{SPACE}.nii.gz").dataobj)
    y = nib.affines.apply_affine(subject.space.affine, np.argwhere(found == 1))[:, 1]
    assert len(y) > 500 and y.max() < -44


def test_cifti_labels(subject, tmp_path):
    table = {0: ("???", (0, 0, 0, 0)), 1: ("high", (0, 1, 0, 1))}
    project(cifti(tmp_path / "x.dlabel.nii", subject, LabelAxis(["parts"], [table])), subject, tmp_path / "out")
    assert pd.read_csv(only(tmp_path / "out", "*.tsv"), sep="\t").to_numpy().tolist() == [[1, "high", "#00ff00"]]
    assert set(np.unique(np.asarray(nib.load(only(tmp_path / "out", f"x_space-{SPACE}.nii.gz")).dataobj))) == {0, 1}


def test_little_coverage_is_no_value(subject, tmp_path, rng):
    volume = np.where(rng.random(subject.space.shape) < 0.6, np.nan, 1.0).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, subject.space.affine), tmp_path / "holes.nii.gz")
    shares = []
    for least in (0.0, 0.5, 1.0):
        project(tmp_path / "holes.nii.gz", subject, tmp_path / f"{least}", Options(least_coverage=least))
        values = nib.load(tmp_path / f"{least}" / "hemi-L_holes.func.gii").agg_data()
        coverage = nib.load(tmp_path / f"{least}" / "hemi-L_holes_coverage.shape.gii").agg_data()
        np.testing.assert_array_equal(np.isnan(values), (coverage < least) | (coverage == 0))
        shares.append(np.isfinite(values).mean())
    assert shares[0] > 0.9 > shares[1] > shares[2]


def mistaken(subject, tmp_path):
    good = tmp_path / "good.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(subject.space.shape, dtype=np.float32), subject.space.affine), good)
    for name in ("sub-01_prf_angle.nii.gz", "lh.prfangle.mgz"):
        if name.endswith("mgz"):
            nib.save(MGHImage(np.zeros((N, 1, 1), dtype=np.float32), np.eye(4)), tmp_path / name)
        else:
            shutil.copy(good, tmp_path / name)
        yield tmp_path / name, Options(), "looks like polar angles, which have no mean: 350 and 10 degrees would become 180"
    yield tmp_path / "sub-01_prf_angle.nii.gz", Options("nearest"), "or take one voxel for each vertex: --how nearest --depths 0.5"
    nib.save(MGHImage(np.zeros((163842, 1, 1), dtype=np.float32), np.eye(4)), tmp_path / "lh.curv.mgz")
    yield tmp_path / "lh.curv.mgz", Options(), "163842 values, mesh has 10242 vertices: looks like fsaverage data on fsaverage5"
    np.save(tmp_path / "map.npy", np.zeros(N))
    yield tmp_path / "map.npy", Options(), "does not say which hemisphere it is of; name it hemi-L_… or lh.…"
    far = subject.space.affine.copy()
    far[0, 3] += 1000
    nib.save(nib.Nifti1Image(np.ones(subject.space.shape, dtype=np.float32), far), tmp_path / "far.nii.gz")
    yield tmp_path / "far.nii.gz", Options(), "surface and volume are not in one space (missing c_ras shift"
    (tmp_path / "empty").mkdir()
    yield tmp_path / "empty", Options(), "holds no maps of receptive fields: expected volumes *_x0.nii.gz"
    yield tmp_path / "nowhere", Options(), "does not exist; give a volume, values of vertices, or a folder"
    yield good, Options(least_coverage=2), "the least coverage is a share in 0..1, got 2"
    yield good, Options(depths=(2.0,)), "shares of the way from white (0) to pial (1), got [2.0]"
    for side, names in (("lh", ["a", "b"]), ("rh", ["a", "c"])):
        write_annot(tmp_path / f"{side}.clash.annot", np.arange(N) % 2, np.array([[1, 2, 3, 0], [4, 5, 6, 0]]), names)
    yield tmp_path / "lh.clash.annot", Options(), "name the same label differently (b)"


def test_each_mistake_is_named_and_leaves_nothing(subject, maps, tmp_path):
    cases = [*mistaken(subject, tmp_path), (maps, Options("label"), "projected linearly, part by part; --how label is for single files")]
    for source, options, text in cases:
        with pytest.raises(Brain2PixError) as caught:
            project(source, subject, tmp_path / "out", options)
        assert text in str(caught.value), str(caught.value)
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".writing-*"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(Brain2PixError, match="exists and is not an empty folder"):
        project(tmp_path / "good.nii.gz", subject, tmp_path / "full")


def test_a_subject_without_surfaces_says_so(tiny_copy, tmp_path):
    shutil.rmtree(tiny_copy / "sub-01" / "anat")
    subject = open_subject(tiny_copy)
    source = only(subject.path / "func", "*_dseg.nii.gz")
    with pytest.raises(Brain2PixError, match="holds no hemisphere with white and pial surface"):
        project(source, subject, tmp_path / "out")


def test_the_command(tiny_subject, tmp_path, capsys):
    source = only(tiny_subject / "sub-01" / "anat", "*hemi-L_sulc.shape.gii")
    assert run_arguments(["project", str(source), str(tiny_subject), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    written = [line.removeprefix("wrote ") for line in said.splitlines() if line.startswith("wrote ")]
    assert written and all((tmp_path / "out").joinpath(line.rsplit("/", 1)[-1]).is_file() for line in written)
    assert "voxels of sub-01 have a value" in said
    for arguments, text in (
        (["--labels", "--how", "linear"], "labels have no mean; leave one of them out"),
        (["--depths", "0.2;0.5"], "--depths needs numbers in 0..1 with commas between them"),
        (["--labels"], "is no whole number; sample measurements linear"),
    ):
        assert run_arguments(["project", str(source), str(tiny_subject), str(tmp_path / "more"), *arguments]) == 1
        error = capsys.readouterr().err
        assert text in error and len(error.splitlines()) == 1
    assert not (tmp_path / "more").exists()
