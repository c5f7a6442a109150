"""Volumes and surfaces through napari: written by nibabel and read by us, saved by us and read by nibabel."""

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from nibabel import freesurfer
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData
from npe2 import PluginManager

from brain2pix.errors import DataFormatError, MissingDataError, NotSupportedError
from napari_brain2pix._readers import get_reader, open_files

# napari says so of every tilted volume: its slices are shown without the tilt, positions and files keep it
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
SHAPE = (9, 11, 7)


@pytest.fixture
def model() -> ViewerModel:
    """Viewer without a window, where none is needed: its `open` is the same."""
    PluginManager.instance().discover()
    return ViewerModel()


def oblique() -> np.ndarray:
    """Affine of a tilted scan with x running to the left, in the 32-bit numbers that a NIfTI header holds."""
    turn = nib.eulerangles.euler2mat(0.31, -0.17, 0.23)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.0, 2.5, 3.0])
    affine[:3, 3] = (12.25, -80.5, 7.125)
    return affine.astype(np.float32).astype(np.float64)


def save_nifti(path: Path, data: np.ndarray, affine: np.ndarray | None = None, **header: object) -> Path:
    image = nib.Nifti1Image(data, oblique() if affine is None else affine)
    image.header.set_xyzt_units("mm", "sec")
    for name, values in header.items():
        getattr(image.header, name)(*values)
    nib.save(image, path)
    return path


def tetrahedron(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.array([[0, 0, 0], [9, 0, 0], [0, 8, 0], [0, 0, 7]], dtype=np.float32) + np.float32([shift, 0.125, 0])
    return vertices, np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]], dtype=np.int32)


def gifti(path: Path, *arrays: tuple[np.ndarray, str], hemi: str = "", table: GiftiLabelTable | None = None) -> Path:
    meta = GiftiMetaData({"AnatomicalStructurePrimary": {"L": "CortexLeft", "R": "CortexRight"}[hemi]} if hemi else {})
    kinds = {"f": "NIFTI_TYPE_FLOAT32", "i": "NIFTI_TYPE_INT32"}
    parts = [GiftiDataArray(values, intent=f"NIFTI_INTENT_{name}", datatype=kinds[values.dtype.kind]) for values, name in arrays]
    nib.save(GiftiImage(meta=meta, darrays=parts, labeltable=table), path)
    return path


def mesh_file(path: Path, hemi: str = "", shift: float = 0.0) -> Path:
    vertices, faces = tetrahedron(shift)
    return gifti(path, (faces, "TRIANGLE"), (vertices, "POINTSET"), hemi=hemi)  # writers differ in the order


def open_one(viewer, path: Path):
    (layer,) = viewer.open(str(path), plugin="napari-brain2pix")
    return layer


def saved(layer, path: Path) -> Path:
    assert layer.save(str(path), plugin="napari-brain2pix"), "no writer took it"
    return path


def world(layer, index: tuple[int, ...]) -> np.ndarray:
    return np.asarray(layer.data_to_world(index))


def test_an_oblique_image_comes_and_goes_without_a_change(model, tmp_path, rng) -> None:
    data = rng.normal(size=SHAPE).astype(np.float32)
    data[0, 0, 0] = np.nan
    layer = open_one(model, save_nifti(tmp_path / "sub-01_T1w.nii.gz", data))
    assert type(layer).__name__ == "Image" and layer.name == "sub-01_T1w"
    np.testing.assert_array_equal(layer.data, data)
    np.testing.assert_allclose(world(layer, (3, 4, 5)), nib.affines.apply_affine(oblique(), (3, 4, 5)), atol=1e-9)
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3 and layer.axis_labels == ("R", "A", "S")
    back = nib.load(saved(layer, tmp_path / "again.nii.gz"))
    np.testing.assert_array_equal(back.affine, oblique())
    np.testing.assert_array_equal(np.asanyarray(back.dataobj), data)
    # the user moved the layer: the file says where it is now
    layer.translate = (1.5, -2.0, 4.0)
    layer.scale = (2.0, 1.0, 1.0)
    moved = nib.load(saved(layer, tmp_path / "moved.nii"))
    np.testing.assert_allclose(nib.affines.apply_affine(moved.affine, (3, 4, 5)), world(layer, (3, 4, 5)), atol=1e-4)


def test_left_stays_left(model, tmp_path) -> None:
    """One bright voxel at the subject's left, in files with x running right and with x running left."""
    places = []
    for number, step in enumerate((2.0, -2.0)):
        affine = np.diag([step, 2.0, 2.0, 1.0])
        affine[:3, 3] = (-np.sign(step) * 8, -10, -6)
        data = np.zeros(SHAPE, dtype=np.float32)
        data[(1 if step > 0 else SHAPE[0] - 2), 8, 5] = 1.0
        layer = open_one(model, save_nifti(tmp_path / f"phantom{number}.nii", data, affine))
        places.append(world(layer, np.unravel_index(np.argmax(layer.data), SHAPE)))
        back = nib.load(saved(layer, tmp_path / f"phantom{number}-saved.nii.gz"))
        assert nib.aff2axcodes(back.affine)[0] == ("R" if step > 0 else "L")
        brightest = np.unravel_index(np.argmax(np.asanyarray(back.dataobj)), SHAPE)
        np.testing.assert_allclose(nib.affines.apply_affine(back.affine, brightest), places[-1], atol=1e-6)
    np.testing.assert_allclose(places[0], places[1])
    assert places[0][0] == -6, "negative x is the subject's left"


def test_a_series_has_time_first(model, tmp_path, rng) -> None:
    data = rng.integers(0, 900, size=(*SHAPE, 5)).astype(np.int16)
    layer = open_one(model, save_nifti(tmp_path / "bold.nii.gz", data, set_zooms=((2.0, 2.5, 3.0, 1.5),)))
    assert layer.data.shape == (5, *SHAPE) and layer.data.dtype == np.int16
    np.testing.assert_array_equal(layer.data[3], data[..., 3])
    np.testing.assert_allclose(world(layer, (2, 3, 4, 5)), [3.0, *nib.affines.apply_affine(oblique(), (3, 4, 5))])
    assert layer.interpolation2d == layer.interpolation3d == "nearest"
    back = nib.load(saved(layer, tmp_path / "bold-saved.nii.gz"))
    np.testing.assert_array_equal(back.affine, oblique())
    np.testing.assert_array_equal(np.asanyarray(back.dataobj), data)
    assert back.header.get_zooms()[3] == 1.5


def test_labels_are_told_from_images(model, tmp_path, rng) -> None:
    codes = np.zeros(SHAPE, dtype=np.int16)
    codes[2:4, 2:4, 2:4], codes[5, 5, 5] = 1, 300
    save_nifti(tmp_path / "sub-01_seg-visual_dseg.nii.gz", codes)
    (tmp_path / "sub-01_seg-visual_dseg.tsv").write_text("index\tname\tcolor\n1\tV1\t#0072b2\n300\thV4\t#f0e442\n")
    layer = open_one(model, tmp_path / "sub-01_seg-visual_dseg.nii.gz")
    assert type(layer).__name__ == "Labels"
    assert list(layer.features["name"]) == ["", "V1", "hV4"] and list(layer.features["index"]) == [0, 1, 300]
    np.testing.assert_allclose(layer.get_color(1)[:3], np.array([0x00, 0x72, 0xB2]) / 255, atol=1e-6)
    layer.data[6, 6, 6] = 1
    back = nib.load(saved(layer, tmp_path / "drawn.nii.gz"))
    assert back.get_data_dtype() == np.int16 and np.asanyarray(back.dataobj)[6, 6, 6] == 1
    np.testing.assert_array_equal(back.affine, oblique())
    assert (tmp_path / "drawn.tsv").read_text() == "index\tname\n1\tV1\n300\thV4\n"
    kinds = {
        "mask of floats": (save_nifti(tmp_path / "sub-01_label-FFA_mask.nii", (codes > 0).astype(np.float32)), "Labels"),
        "table in a JSON": (save_nifti(tmp_path / "areas.nii", codes.astype(np.float32)), "Labels"),
        "few whole numbers": (save_nifti(tmp_path / "drawing.nii", codes), "Labels"),
        "many whole numbers": (save_nifti(tmp_path / "epi.nii", rng.integers(0, 900, SHAPE).astype(np.int16)), "Image"),
        "a probability": (save_nifti(tmp_path / "sub-01_label-GM_probseg.nii", rng.random(SHAPE).astype(np.float32)), "Image"),
        "an interpolated mask": (save_nifti(tmp_path / "bad_mask.nii", codes * np.float32(0.99)), "Image"),
    }
    (tmp_path / "areas.json").write_text('{"LabelMap": {"1": "V1", "300": "hV4"}}')
    found = {what: type(open_one(model, path)).__name__ for what, (path, _) in kinds.items()}
    assert "bad_mask.nii: label 0.99: was this mask interpolated linearly?" in str(notification_manager.records[-1].message)
    assert found == {what: kind for what, (_, kind) in kinds.items()}
    assert list(model.layers["sub-01_label-FFA_mask"].features["name"]) == ["", "FFA"]
    assert list(model.layers["areas"].features["name"]) == ["", "V1", "hV4"]


def test_a_mesh_and_its_values(viewer, tmp_path) -> None:
    vertices, faces = tetrahedron(-30)
    layer = open_one(viewer, mesh_file(tmp_path / "sub-01_hemi-L_white.surf.gii", "L", -30))
    np.testing.assert_array_equal(layer.vertices, vertices)
    np.testing.assert_array_equal(layer.faces, faces)
    np.testing.assert_allclose(world(layer, (0, 0, 0)), 0, atol=0)
    mesh_file(tmp_path / "sub-01_hemi-R_white.surf.gii", "R", 30)
    values = np.float32([0.5, np.nan, 2.5, 3.5])
    for hemi, x in (("R", 30), ("L", -30)):  # the mesh of the own side, though both have as many vertices
        file = gifti(tmp_path / f"sub-01_hemi-{hemi}_angle.func.gii", (values, "NONE"), hemi=hemi)
        layer = open_one(viewer, file)
        np.testing.assert_allclose(layer.vertices, tetrahedron(x)[0])
    assert np.isfinite(layer.vertex_values).all(), "napari paints NaN black"
    assert np.ptp(layer.vertex_colors[1, :3]) < 0.01 < np.ptp(layer.vertex_colors[0, :3])
    both = nib.load(saved(layer, tmp_path / "out.gii"))
    np.testing.assert_array_equal(both.agg_data("NIFTI_INTENT_POINTSET"), vertices)
    np.testing.assert_array_equal(both.agg_data("NIFTI_INTENT_TRIANGLE"), faces)
    np.testing.assert_array_equal(both.agg_data("NIFTI_INTENT_SHAPE"), values)
    assert both.meta["AnatomicalStructurePrimary"] == "CortexLeft"
    saved(layer, tmp_path / "pair.surf.gii")
    assert [array.intent for array in nib.load(tmp_path / "pair.surf.gii").darrays] == [1008, 1009]
    np.testing.assert_array_equal(nib.load(tmp_path / "pair.shape.gii").agg_data(), values)
    again = open_one(viewer, tmp_path / "out.gii")
    np.testing.assert_array_equal(again.features["map 1"], values)


def test_labels_of_vertices_keep_their_colours(model, tmp_path) -> None:
    table = GiftiLabelTable()
    for key, name, colour in ((0, "none", (0, 0, 0, 0)), (7, "V1", (0.2, 0.4, 0.8, 1))):
        label = GiftiLabel(key, *colour)
        label.label = name
        table.labels.append(label)
    mesh_file(tmp_path / "lh.white.surf.gii", "L")
    layer = open_one(model, gifti(tmp_path / "lh.areas.label.gii", (np.int32([0, 7, 7, 0]), "LABEL"), hemi="L", table=table))
    np.testing.assert_allclose(layer.vertex_colors[1], (0.2, 0.4, 0.8, 1), atol=1e-6)
    assert layer.vertex_colors[0, 3] == 1, "no hole where there is no label"
    assert list(layer.features["name"]) == ["none", "V1", "V1", "none"]
    back = nib.load(saved(layer, tmp_path / "mine.label.gii"))
    np.testing.assert_array_equal(back.agg_data(), [0, 7, 7, 0])
    assert back.labeltable.get_labels_as_dict() == {0: "none", 7: "V1"}


def test_what_cannot_be_read_or_written_is_explained(model, tmp_path, rng) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    good = save_nifti(tmp_path / "good.nii.gz", rng.random(SHAPE).astype(np.float32))
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:300])
    (tmp_path / "page.nii").write_bytes(b"<html>not found</html>")
    (tmp_path / "page.gii").write_bytes(b"<html>not found")
    (tmp_path / "link.nii").write_text("version https://git-lfs.github.com/spec/v1")
    save_nifti(tmp_path / "five.nii", np.zeros((2, 2, 2, 1, 3), dtype=np.float32))
    gifti(alone / "lh.angle.func.gii", (np.zeros(9, dtype=np.float32), "NONE"), hemi="L")
    for path, error, words in (
        (tmp_path / "cut.nii.gz", DataFormatError, "truncated or not of this format"),
        (tmp_path / "page.nii", DataFormatError, "<html>"),
        (tmp_path / "page.gii", DataFormatError, "page.gii"),
        (tmp_path / "five.nii", DataFormatError, "has 5 axes, expected 3"),
        (tmp_path / "link.nii", MissingDataError, "was not downloaded"),
        (alone / "lh.angle.func.gii", DataFormatError, "open its mesh first"),
    ):
        with pytest.raises(error, match=words):
            model.open(str(path), plugin="napari-brain2pix")
    assert not len(model.layers)
    colours = model.add_image(np.zeros((3, 4, 5, 3), dtype=np.uint8), rgb=True)
    flat = model.add_labels(np.zeros((4, 4), dtype=np.uint8))
    bare = model.add_surface(tetrahedron())
    for layer, name, words in (
        (colours, "a.nii", "colours"),
        (flat, "b.nii.gz", "2 axes"),
        (bare, "c.shape.gii", "has none"),
    ):
        with pytest.raises(NotSupportedError, match=words):
            layer.save(str(tmp_path / name), plugin="napari-brain2pix")
        assert not (tmp_path / name).exists()


# ---------------------------------------------------------------------- FreeSurfer and CIFTI-2

C_RAS = np.array([4.0, -7.5, 11.0])
VOLUME = {
    "head": np.array([2, 0, 20]),
    "valid": "1  # volume info valid",
    "filename": "filled.mgz",
    "volume": np.array([256, 256, 256]),
    "voxelsize": np.ones(3),
    "xras": np.array([-1.0, 0, 0]),
    "yras": np.array([0.0, 0, -1]),
    "zras": np.array([0.0, 1, 0]),
    "cras": C_RAS,
}


@pytest.fixture
def bert(tmp_path) -> Path:
    """FreeSurfer subject with two hemispheres of four vertices each."""
    surf, label = tmp_path / "bert" / "surf", tmp_path / "bert" / "label"
    surf.mkdir(parents=True)
    label.mkdir()
    for side, x in (("lh", -40.0), ("rh", 40.0)):
        for kind in ("white", "inflated"):
            freesurfer.write_geometry(surf / f"{side}.{kind}", *tetrahedron(x), create_stamp="test", volume_info=VOLUME)
        freesurfer.write_morph_data(surf / f"{side}.curv", np.array([-0.5, 0.25, 1.0, 2.0]))
        colours = np.array([[25, 5, 25, 0, 0], [200, 30, 60, 0, 0]])
        freesurfer.write_annot(label / f"{side}.areas.annot", np.array([0, 1, -1, 1]), colours, ["unknown", "V1"])
        (label / f"{side}.V1.label").write_text("#!ascii label  , from subject bert vox2ras=TkReg\n2\n1 0 0 0 1\n3 0 0 0 1\n")
        nib.save(freesurfer.MGHImage(np.float32([1, 2, 3, 4]).reshape(4, 1, 1), np.eye(4)), surf / f"{side}.prfecc.mgz")
    return tmp_path / "bert"


def test_freesurfer_files_find_their_mesh(model, bert) -> None:
    """Values first: the mesh is taken from ``surf``, on the side that the name says, in the world of the volume."""
    for side, x in (("lh", -40.0), ("rh", 40.0)):
        curv = open_one(model, bert / "surf" / f"{side}.curv")
        np.testing.assert_allclose(curv.vertices, tetrahedron(x)[0] + C_RAS, atol=1e-4)
        np.testing.assert_allclose(curv.vertex_values, [-0.5, 0.25, 1.0, 2.0])
        np.testing.assert_allclose(open_one(model, bert / "surf" / f"{side}.prfecc.mgz").vertex_values, [1, 2, 3, 4])
        areas = open_one(model, bert / "label" / f"{side}.areas.annot")
        assert list(areas.features["name"]) == ["unknown", "V1", "unknown", "V1"]
        np.testing.assert_allclose(areas.vertex_colors[1], (200 / 255, 30 / 255, 60 / 255, 1), atol=1e-6)
        assert areas.vertex_colors[2, 3] == 1 and np.ptp(areas.vertex_colors[2, :3]) < 0.01, "no hole where there is no label"
        label = open_one(model, bert / "label" / f"{side}.V1.label")
        assert list(label.features["name"]) == ["", "V1", "", "V1"]


def test_freesurfer_meshes_lie_in_the_world(model, bert) -> None:
    white = open_one(model, bert / "surf" / "lh.white")
    np.testing.assert_allclose(white.vertices, tetrahedron(-40.0)[0] + C_RAS, atol=1e-4)
    np.testing.assert_array_equal(white.faces, tetrahedron()[1])
    inflated = open_one(model, bert / "surf" / "lh.inflated")
    np.testing.assert_allclose(inflated.vertices, tetrahedron(-40.0)[0], atol=1e-4)


def test_an_mgz_is_a_volume_or_values_by_its_shape(model, tmp_path, rng) -> None:
    data = rng.normal(size=SHAPE).astype(np.float32)
    affine = oblique()
    nib.save(freesurfer.MGHImage(data, affine), tmp_path / "T1.mgz")
    layer = open_one(model, tmp_path / "T1.mgz")
    assert type(layer).__name__ == "Image" and layer.data.dtype.isnative
    np.testing.assert_array_equal(layer.data, data)
    np.testing.assert_allclose(world(layer, (3, 4, 5)), nib.affines.apply_affine(affine, (3, 4, 5)), atol=1e-3)
    nib.save(freesurfer.MGHImage(rng.integers(0, 2000, SHAPE).astype(np.int32), affine), tmp_path / "aseg.mgz")
    assert type(open_one(model, tmp_path / "aseg.mgz")).__name__ == "Labels"


def test_cifti_comes_as_both_hemispheres(model, bert) -> None:
    """It ends in .nii as a volume does, and lacks the medial wall: vertex 2 of the left, vertex 0 of the right."""
    axis = BrainModelAxis.from_surface([0, 1, 3], 4, "CORTEX_LEFT") + BrainModelAxis.from_surface([1, 2, 3], 4, "CORTEX_RIGHT")
    path = bert / "surf" / "ecc.dscalar.nii"
    nib.save(Cifti2Image(np.float32([[1, 2, 3, 4, 5, 6]]), (ScalarAxis(["ecc"]), axis)), path)
    left, right = model.open(str(path), plugin="napari-brain2pix")
    np.testing.assert_array_equal(left.features["ecc"], [1, 2, np.nan, 3])
    np.testing.assert_array_equal(right.features["ecc"], [np.nan, 4, 5, 6])
    assert left.vertices[:, 0].mean() < 0 < right.vertices[:, 0].mean() and left.name != right.name
    assert np.ptp(left.vertex_colors[2, :3]) < 0.01, "the medial wall is grey, not black"
    table = LabelAxis(["areas"], [{0: ("???", (0, 0, 0, 0)), 1: ("V1", (1, 0.5, 0, 1))}])
    nib.save(Cifti2Image(np.float32([[1, 0, 1, 0, 1, 0]]), (table, axis)), path.with_name("areas.dlabel.nii"))
    left, right = model.open(str(path.with_name("areas.dlabel.nii")), plugin="napari-brain2pix")
    np.testing.assert_allclose(left.vertex_colors[0], (1, 0.5, 0, 1))
    assert list(right.features["name"]) == ["???", "???", "V1", "???"]


def test_values_of_fsaverage5_need_no_mesh(model, tmp_path) -> None:
    freesurfer.write_morph_data(tmp_path / "rh.thickness", np.linspace(1, 4, 10242))
    layer = open_one(model, tmp_path / "rh.thickness")
    assert layer.vertices.shape == (10242, 3) and layer.vertices[:, 0].mean() > 20
    freesurfer.write_morph_data(tmp_path / "rh.curv", np.zeros(163842))
    with pytest.raises(DataFormatError, match=r"163,842 vertices \(as fsaverage\) but no mesh"):
        model.open(str(tmp_path / "rh.curv"), plugin="napari-brain2pix")


def test_a_flat_patch_borrows_its_triangles(model, bert) -> None:
    rows = b"".join(struct.pack(">i3f", number, 0, 2 * abs(number), 0) for number in (1, -2, 3))
    (bert / "surf" / "lh.occip.patch.flat").write_bytes(struct.pack(">ii", -1, 3) + rows)
    layer = open_one(model, bert / "surf" / "lh.occip.patch.flat")
    np.testing.assert_array_equal(layer.faces, [[0, 1, 2]])
    np.testing.assert_array_equal(layer.vertices[:3, 1], [2, 4, 6])
    alone = bert / "lh.occip.patch.flat"
    alone.write_bytes((bert / "surf" / "lh.occip.patch.flat").read_bytes())
    with pytest.raises(DataFormatError, match=r"has no triangles of its own; put the lh\.white or lh\.sphere"):
        model.open(str(alone), plugin="napari-brain2pix")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lh.table.csv", b"a,b\n1,2\n"),
        ("rh.picture.tif", b"II*\0" + b"\1" * 60),
        ("lh.notes", b"left hemisphere: nothing to see"),
        ("cells.label", b'{"shapes": []}'),
        ("lh.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40),
        ("lh.empty", b""),
    ],
)
def test_files_of_others_are_left_to_others(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    assert get_reader(str(tmp_path / name)) is None


def test_several_files_come_meshes_first(viewer, bert) -> None:
    """As chosen in the dialog: in any order, some of them not ours."""
    (bert / "surf" / "lh.log").write_text("nothing")
    names = ["lh.curv", "lh.log", "rh.curv", "lh.inflated", "rh.inflated"]
    problems = open_files(viewer, [str(bert / "surf" / name) for name in names])
    assert len(problems) == 1 and problems[0].startswith("lh.log: expected a volume") and "lh.white" in problems[0]
    assert [layer.name for layer in viewer.layers] == ["lh.inflated", "rh.inflated", "lh.curv", "rh.curv"]
    np.testing.assert_allclose(viewer.layers["rh.curv"].vertices, tetrahedron(40.0)[0], atol=1e-4)


def test_what_a_label_and_a_damaged_mesh_need_is_explained(model, bert, tmp_path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "lh.V1.label").write_bytes((bert / "label" / "lh.V1.label").read_bytes())
    whole = (bert / "surf" / "lh.white").read_bytes()
    (alone / "lh.white").write_bytes(whole[:80])
    nib.save(freesurfer.MGHImage(np.zeros(SHAPE, dtype=np.float32), np.eye(4)), alone / "T1.mgz")
    (alone / "T1.mgz").write_bytes((alone / "T1.mgz").read_bytes()[:40])
    for name, words in (
        ("lh.V1.label", "lists vertices, not how many the mesh has; open the mesh it belongs to first"),
        ("lh.white", "is truncated: its header announces"),
        ("T1.mgz", "cannot be read: truncated"),
    ):
        with pytest.raises(DataFormatError, match=words):
            model.open(str(alone / name), plugin="napari-brain2pix")
    assert not len(model.layers)
