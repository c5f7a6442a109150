"""A laboratory's areas, hemispheres, anatomy and surfaces: laid where the voxels lie, by names as people write them."""

import nibabel
import numpy as np
import pytest
from lab import AFFINE, GRID, Lab
from nibabel.affines import apply_affine

from brain2pix.anatomy.surfaces import Mesh
from brain2pix.config.importing import Choices
from brain2pix.data.readers import READERS
from brain2pix.data.readers.own_labels import name_and_side, name_of_file
from brain2pix.data.surface_files import write_mesh, write_vertex_values
from brain2pix.errors import Brain2PixError, ConfigError, DataFormatError

INDEX = np.indices(GRID)


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    made.write_nifti("betas.nii"), made.write_table("betas.tsv"), made.write_mask()
    return made


def dataset_of(lab, *regions, name="betas.nii", flip=(), areas=(), **own):
    own = {"regions": regions, "mask": lab.folder / "mask.nii.gz", **own}
    with READERS["own"].open(lab.folder / name, Choices(own=own, flip=flip, areas=areas)) as dataset:
        return dataset


def inside(dataset, volume):
    return np.asarray(volume, dtype=bool)[tuple(dataset.placement.ijk.T)]


def refused(error, text, lab, *regions, **own):
    with pytest.raises(error, match=text):
        dataset_of(lab, *regions, **own)


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "area", "side"),
    [
        ("lh.V1v", "V1v", "L"),
        ("V1v_L", "V1v", "L"),
        ("rh-V3A", "V3A", "R"),
        ("ctx-rh-lateraloccipital", "lateraloccipital", "R"),
        ("Left-Thalamus", "Thalamus", "L"),
        ("R_V1_ROI", "V1", "R"),
        ("V3A/B", "V3AB", ""),
        ("LO", "LO", ""),
        ("rh", "", "R"),
        ("G_and_S_cingul", "GandScingul", ""),
    ],
)
def test_names_of_labels(text, area, side):
    assert name_and_side(text) == (area, side)


@pytest.mark.parametrize(
    ("file", "area", "side"),
    [
        ("sub-01_space-T1w_label-FFA_mask.nii.gz", "FFA", ""),
        ("sub-01_hemi-R_space-T1w_label-FFA_mask.nii.gz", "FFA", "R"),
        ("sub-01_hemi-L_space-T1w_desc-brain_mask.nii.gz", "", "L"),
        ("sub-01_mask_LH_V1v.nii.gz", "V1v", "L"),
        ("lh.V1v.nii.gz", "V1v", "L"),
        ("V1-left.nii", "V1", "L"),
        ("hV4.nii", "hV4", ""),
        ("sub-01_desc-brain_mask.nii.gz", "brain", ""),
    ],
)
def test_names_of_files(tmp_path, file, area, side):
    assert name_of_file(tmp_path / file) == (area, side)


# ---------------------------------------------------------------------- masks and labels


def test_masks_may_overlap(lab):
    one, other = INDEX[1] < 4, INDEX[1] > 1
    dataset = dataset_of(lab, lab.save("V1.nii.gz", one), lab.save("sub-01_label-FFA_mask.nii.gz", other * 255, dtype=np.uint8))
    np.testing.assert_array_equal(dataset.areas["V1"], inside(dataset, one))
    np.testing.assert_array_equal(dataset.areas["FFA"], inside(dataset, other))
    assert (dataset.areas["V1"] & dataset.areas["FFA"]).any()
    assert dataset.descriptions["V1"] == "V1 of V1.nii.gz"
    assert any("lie outside the voxels of the responses" in note for note in dataset.notes)
    assert list(dataset_of(lab, lab.folder / "V1.nii.gz", lab.folder / "sub-01_label-FFA_mask.nii.gz", areas=("FFA",)).areas) == ["FFA"]


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
@pytest.mark.parametrize("table", ["tsv", "ctab", "_LUT.txt", "json"])
def test_label_volumes(lab, dtype, table):
    """Left and right of a name become one area, and tell the hemisphere."""
    labels = np.where(INDEX[0] < 2, 1, 2) + 10 * (INDEX[1] // 3)
    path = lab.save("sub-01_seg-visual_dseg.nii.gz", labels, dtype=dtype)
    names = {1: "lh.V1v", 2: "rh.V1v", 11: "V2_L", 12: "V2_R", 99: "V3"}
    beside = lab.folder / f"sub-01_seg-visual_dseg{'' if table.startswith('_') else '.'}{table}"
    if table == "tsv":
        beside.write_text("index\tname\n" + "".join(f"{index}\t{name}\n" for index, name in names.items()))
    elif table == "json":
        beside.write_text(str({str(index): name for index, name in names.items()}).replace("'", '"'))
    else:
        beside.write_text("# a colour table\n\n" + "".join(f"{index:4d}  {name:20s} 10 20 30 0\n" for index, name in names.items()))
    dataset = dataset_of(lab, path)
    assert sorted(dataset.areas) == ["V1v", "V2"]
    np.testing.assert_array_equal(dataset.areas["V1v"], inside(dataset, INDEX[1] < 3))
    np.testing.assert_array_equal(dataset.placement.hemi == "L", inside(dataset, INDEX[0] < 2))
    assert dataset.descriptions["V2"] == "V2 of V2_L, V2_R"
    assert any("V3 label no voxel" in note for note in dataset.notes)


def test_names_of_hemispheres_win_over_the_sign_of_x(lab):
    left, right = lab.save("lh.nii.gz", INDEX[0] < 4), lab.save("rh.V1.nii.gz", INDEX[0] >= 4)
    dataset = dataset_of(lab, left, right)
    np.testing.assert_array_equal(dataset.placement.hemi == "L", inside(dataset, INDEX[0] < 4))
    assert list(dataset.areas) == ["V1"]
    both = dataset_of(lab, left, lab.save("rh.V2.nii.gz", INDEX[0] >= 3))
    shared = inside(both, INDEX[0] == 3)
    assert (both.placement.hemi[shared] == "R").all() and any(f"{shared.sum()} voxels lie in areas of both" in note for note in both.notes)


def test_what_is_left_out_is_said(lab):
    dataset = dataset_of(lab, lab.save("all.nii.gz", lab.mask), lab.save("V9.nii.gz", INDEX[0] == 2))
    assert dataset.areas == {}
    said = "\n".join(dataset.lines())
    assert "all.nii.gz is left out: 'all' always means every voxel" in said and "V9.nii.gz holds no voxel of the responses" in said


# ---------------------------------------------------------------------- what is refused


def test_labels_that_are_none(lab):
    blurred = np.where(INDEX[0] == 1, 2.97, 0)
    refused(DataFormatError, r"blurred.nii: label 2.97: was this mask interpolated linearly\?", lab, lab.save("blurred.nii", blurred))
    refused(DataFormatError, "labels reach from -1 to 0", lab, lab.save("negative.nii", -1.0 * (INDEX[0] == 1)))
    path = lab.save("atlas.nii", INDEX[0] + 1, dtype=np.int16)
    refused(DataFormatError, r"5 labels \(1, 2, 3, 4, 5\) without names; put .*atlas.tsv with index and name beside it", lab, path)
    (lab.folder / "atlas.tsv").write_text("index\tname\n1\tV1\n2\tV2\n")
    refused(DataFormatError, r"labels 3, 4, 5 are not in atlas.tsv \(it names 1, 2\)", lab, path)
    (lab.folder / "atlas.tsv").write_text("index\tname\n1.5\tV1\n")
    refused(DataFormatError, "'index' must hold whole numbers", lab, path)
    (lab.folder / "atlas.tsv").write_text("index\tname\n1\t??\n2\tb\n3\tc\n4\td\n5\te\n")
    refused(DataFormatError, r"the name '\?\?' of label 1 has no letters or digits", lab, path)
    (lab.folder / "atlas.tsv").unlink()
    (lab.folder / "atlas.ctab").write_text("1 V1 0 0 0 0\nV2 2\n")
    refused(DataFormatError, "atlas.ctab: line 2 is 'V2 2', expected number, name and colour", lab, path)
    (lab.folder / "atlas.ctab").write_bytes(b"\xff\xfe1 V1")
    refused(DataFormatError, "atlas.ctab is not text", lab, path)
    (lab.folder / "atlas.mgz").write_bytes(b"x")
    refused(DataFormatError, "expected NIfTI: mri_convert", lab, lab.folder / "atlas.mgz")


def test_grids(lab):
    moved = AFFINE.copy()
    moved[1, 3] += 1.5
    refused(
        DataFormatError, r"V1.nii: grid \(5, 6, 7\) 2 x 2 x 2 mm differs .* up to 1.5 mm apart", lab, lab.save("V1.nii", lab.mask, moved)
    )
    refused(DataFormatError, r"V1.nii: grid \(5, 6, 8\)", lab, lab.save("V1.nii", np.zeros((5, 6, 8))))
    refused(DataFormatError, "mask moved.nii: grid", lab, mask=lab.save("moved.nii", lab.mask, moved))
    refused(DataFormatError, "mask .*empty.nii is empty", lab, mask=lab.save("empty.nii", np.zeros(GRID)))
    refused(
        DataFormatError,
        "holds 5 labels, expected 0 and 1; give label volumes as --regions",
        lab,
        mask=lab.save("many.nii", INDEX[1], dtype="i2"),
    )
    far = lab.save("V8.nii", 0 * INDEX[0], dtype=np.uint8)
    refused(DataFormatError, "the areas hold no voxel", lab, far, mask=None)
    flat = AFFINE.copy()
    flat[2, 2] = 0
    image = nibabel.Nifti1Image(lab.mask.astype(np.uint8), None)
    image.header["sform_code"], image.header["srow_x"], image.header["srow_y"] = 1, flat[0], flat[1]
    nibabel.save(nibabel.Nifti1Image(lab.mask.astype(np.uint8), None, image.header), lab.folder / "flat.nii")
    lab.write_npy("matrix.npy"), lab.write_table("matrix.tsv")
    refused(DataFormatError, "its affine is no map from voxels to millimetres", lab, name="matrix.npy", mask=lab.folder / "flat.nii")


def test_orientation_that_is_not_told(lab):
    turned = AFFINE.copy()
    turned[0, 0], turned[0, 3] = -2, 4
    lab.write_nifti("disagree.nii", q_affine=turned), lab.write_table("disagree.tsv")
    assert any("sform and qform disagree" in note for note in dataset_of(lab, name="disagree.nii").notes)
    lab.write_nifti("none.nii", sform=0, qform=0), lab.write_table("none.tsv")
    with READERS["own"].open(lab.folder / "none.nii", Choices()) as dataset:
        assert any("none.nii: orientation unknown (sform and qform codes are 0)" in note for note in dataset.notes)


def test_vectors_belong_to_a_matrix(lab):
    np.save(lab.folder / "V1.npy", np.ones(lab.n_voxels, dtype=bool))
    refused(ConfigError, "has one value per column of a matrix; these responses are volumes", lab, lab.folder / "V1.npy")
    refused(ConfigError, "has one value per column of a matrix; these responses are volumes", lab, lab.folder / "V1.npy", mask=None)
    lab.write_npy("matrix.npy"), lab.write_table("matrix.tsv")
    volume = lab.save("V2.nii", lab.mask)
    refused(ConfigError, "the columns of the responses have no places; give the --mask", lab, volume, name="matrix.npy", mask=None)
    np.save(lab.folder / "V1.npy", np.ones(3))
    refused(
        DataFormatError, rf"V1.npy has shape \(3,\), responses have {lab.n_voxels} voxels", lab, lab.folder / "V1.npy", name="matrix.npy"
    )
    np.save(lab.folder / "V1.npy", np.full(lab.n_voxels, 0.5))
    refused(DataFormatError, "a mask holds 0 and 1, found .*0.5", lab, lab.folder / "V1.npy", name="matrix.npy")


# ---------------------------------------------------------------------- left and right


def test_flip_mirrors_voxels_and_what_lies_on_their_grid(lab):
    plain = dataset_of(lab, anatomy=lab.save("epi.nii", INDEX[0].astype(np.float32)))
    flipped = dataset_of(lab, anatomy=lab.folder / "epi.nii", flip=("x",))
    np.testing.assert_array_equal(flipped.placement.ijk, plain.placement.ijk)
    xyz = [one.placement.space.to_world(one.placement.ijk) for one in (plain, flipped)]
    np.testing.assert_allclose(xyz[1], xyz[0] * [-1, 1, 1])
    assert set(flipped.placement.hemi[plain.placement.hemi == "L"]) == {"R"}
    np.testing.assert_allclose(flipped.t1w[1], np.diag([-1, 1, 1, 1]) @ plain.t1w[1])
    assert any("the world coordinates of all voxels are mirrored (row of the affine)" in note for note in flipped.notes)
    own_grid = dataset_of(
        lab, anatomy=lab.save("T1w.nii", np.ones((20, 20, 20)), np.array(AFFINE) @ np.diag([0.5, 0.5, 0.5, 1])), flip=("x",)
    )
    np.testing.assert_allclose(own_grid.t1w[1], AFFINE @ np.diag([0.5, 0.5, 0.5, 1]))


def test_names_against_coordinates(lab):
    left, right = lab.save("lh.V1.nii.gz", INDEX[0] > 2), lab.save("rh.V1.nii.gz", INDEX[0] < 2)
    refused(
        DataFormatError,
        r"the voxels of left areas lie to the right of those of right areas .* if it is the affine, --flip x",
        lab,
        left,
        right,
    )
    assert (dataset_of(lab, left, right, flip=("x",)).placement.hemi == "L").any()
    lab.write_npy("matrix.npy"), lab.write_table("matrix.tsv")
    with pytest.raises(ConfigError, match=r"matrix\.npy has no voxel coordinates: there is nothing to flip"):
        dataset_of(lab, name="matrix.npy", mask=None, flip=("x",))


def test_the_name_of_the_space(lab):
    assert dataset_of(lab).placement.space.name == "T1w"
    lab.write_nifti("mni.nii", sform=4), lab.write_table("mni.tsv")
    assert dataset_of(lab, name="mni.nii").placement.space.name == "MNI152"
    lab.write_mask("sub-01_space-fsnative_mask.nii.gz")
    assert dataset_of(lab, mask=lab.folder / "sub-01_space-fsnative_mask.nii.gz").placement.space.name == "fsnative"


# ---------------------------------------------------------------------- anatomy and surfaces


def test_anatomy_on_its_own_grid(lab, rng):
    volume = rng.random((12, 14, 15)).astype(np.float32)
    affine = np.array([[1.0, 0, 0, -5], [0, 1, 0, -71], [0, 0, 1, 2], [0, 0, 0, 1]])
    dataset = dataset_of(lab, anatomy=lab.save("T1w.nii.gz", volume, affine))
    np.testing.assert_array_equal(dataset.t1w[0], volume)
    np.testing.assert_allclose(dataset.t1w[1], affine)
    affine[0, 3] = 1
    dataset = dataset_of(lab, anatomy=lab.save("T1w.nii.gz", volume, affine))
    xyz = apply_affine(AFFINE, dataset.placement.ijk)
    assert any(f"only {np.mean(xyz[:, 0] > 0.5):.0%} of the voxels lie within T1w.nii.gz" in note for note in dataset.notes)
    affine[0, 3] = 200
    refused(
        DataFormatError,
        r"does not hold a single voxel of the responses: its middle lies at \[206, ",
        lab,
        anatomy=lab.save("T1w.nii", volume, affine),
    )
    lab.write_npy("matrix.npy"), lab.write_table("matrix.tsv")
    refused(
        ConfigError,
        "voxels without coordinates cannot lie in an anatomy",
        lab,
        name="matrix.npy",
        mask=None,
        anatomy=lab.folder / "T1w.nii",
    )


def test_surfaces(lab):
    folder = lab.folder / "surf"
    xyz = apply_affine(AFFINE, np.argwhere(lab.mask))
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    meshes = {}
    for hemi, own in (("L", xyz[xyz[:, 0] < 0]), ("R", xyz[xyz[:, 0] > 0])):
        for kind in ("white", "pial"):
            meshes[hemi, kind] = Mesh(own.astype(np.float32) + (kind == "pial"), faces)
            write_mesh(folder / f"sub-01_hemi-{hemi}_{kind}.surf.gii", meshes[hemi, kind], hemi, kind, "T1w")
        write_vertex_values(folder / f"sub-01_hemi-{hemi}_sulc.shape.gii", np.arange(len(own), dtype=np.float32), hemi)
    dataset = dataset_of(lab, surfaces=folder)
    assert set(dataset.meshes) == set(meshes) and set(dataset.sulc) == {"L", "R"}
    for key, mesh in meshes.items():
        np.testing.assert_allclose(dataset.meshes[key].vertices, mesh.vertices)
    assert "L white" in "\n".join(dataset.lines())
    far = Mesh(meshes["L", "white"].vertices + np.float32([0, 60, 0]), faces)
    for kind in ("white", "pial"):
        write_mesh(folder / f"sub-01_hemi-L_{kind}.surf.gii", far, "L", kind, "T1w")
    refused(
        DataFormatError,
        r"surface L (white|pial) and the voxels are not in the same space, voxels lie \d\d mm from it",
        lab,
        surfaces=folder,
    )
    refused(Brain2PixError, "surface folder .* does not exist", lab, surfaces=lab.folder / "nowhere")


def test_a_subject_of_freesurfer(lab):
    """Its surfaces have their zero in the middle of the volume; the shift to the scanner's stands in the file."""
    surf = lab.folder / "subject" / "surf"
    surf.mkdir(parents=True)
    shift = np.array([0.5, -60.0, 10.0])
    info = {
        "head": np.array([2, 0, 20], np.int32),
        "valid": "1  # volume info valid",
        "filename": "T1.mgz",
        "volume": np.array([256, 256, 256]),
    }
    axes = {"voxelsize": np.ones(3), "xras": np.array([-1.0, 0, 0]), "yras": np.array([0, 0, -1.0]), "zras": np.array([0, 1.0, 0])}
    xyz = apply_affine(AFFINE, np.argwhere(lab.mask))
    for side, own in (("lh", xyz[xyz[:, 0] < 0]), ("rh", xyz[xyz[:, 0] > 0])):
        for kind in ("white", "pial"):
            nibabel.freesurfer.write_geometry(
                surf / f"{side}.{kind}", own - shift, np.array([[0, 1, 2]]), volume_info={**info, **axes, "cras": shift}
            )
    dataset = dataset_of(lab, surfaces=lab.folder / "subject")
    assert set(dataset.meshes) == {("L", "white"), ("L", "pial"), ("R", "white"), ("R", "pial")}
    np.testing.assert_allclose(dataset.meshes["R", "white"].vertices, xyz[xyz[:, 0] > 0], atol=1e-3)
