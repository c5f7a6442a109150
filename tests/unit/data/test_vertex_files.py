"""Values of vertices in each container, written by nibabel and numpy."""

import struct

import nibabel as nib
import numpy as np
import pytest
from nibabel.freesurfer import MGHImage, read_annot, write_annot, write_geometry, write_morph_data
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData

from brain2pix.data.vertex_files import read_vertex_file, slice_fsaverage
from brain2pix.errors import DataFormatError, MissingDataError, ShapeError

N = 40
COLOURS = np.array([[25, 5, 25, 0, 0], [120, 30, 60, 0, 0], [10, 200, 40, 55, 0]])


@pytest.fixture
def values(rng):
    return rng.normal(size=(3, N)).astype(np.float32)


def only(maps, hemi):
    assert list(maps.values) == [hemi]
    array = maps.values[hemi]
    assert array.dtype == np.float32 and array.dtype.isnative and array.ndim == 2
    return array


def test_gifti(tmp_path, values):
    for number, intent in enumerate(("NIFTI_INTENT_SHAPE", "NIFTI_INTENT_TIME_SERIES")):
        arrays = [
            GiftiDataArray(row, intent=intent, datatype="NIFTI_TYPE_FLOAT32", meta=GiftiMetaData({"Name": f"row {place}"}))
            for place, row in enumerate(values)
        ]
        path = tmp_path / f"sub-01_hemi-R_{number}.func.gii"
        nib.save(GiftiImage(darrays=arrays), path)
        maps = read_vertex_file(path, N)
        np.testing.assert_array_equal(only(maps, "R"), values)
        assert maps.names == ("row 0", "row 1", "row 2")


def test_gifti_labels(tmp_path):
    table = GiftiLabelTable()
    for key, name in ((0, "???"), (4, "V1")):
        label = GiftiLabel(key, 0.5, 0.25, 1.0, float(key > 0))
        label.label = name
        table.labels.append(label)
    array = GiftiDataArray(np.int32([0, 4, 4]), intent="NIFTI_INTENT_LABEL", datatype="NIFTI_TYPE_INT32")
    nib.save(GiftiImage(darrays=[array], labeltable=table), tmp_path / "sub.L.areas.label.gii")
    maps = read_vertex_file(tmp_path / "sub.L.areas.label.gii")
    np.testing.assert_array_equal(only(maps, "L"), [[0, 4, 4]])
    assert maps.label_names == {0: "???", 4: "V1"} and maps.label_colours[4] == (0.5, 0.25, 1.0, 1.0)


@pytest.mark.parametrize("name", ["lh.curv", "lh.thickness", "lh.sulc"])
def test_morphometry(tmp_path, values, name):
    write_morph_data(tmp_path / name, values[0])
    maps = read_vertex_file(tmp_path / name, N)
    np.testing.assert_array_equal(only(maps, "L"), values[:1])
    assert maps.names == (name[3:],)


def test_old_morphometry(tmp_path):
    """Files of the nineties: the number of vertices in three bytes, then hundredths."""
    numbers = np.array([-150, 0, 275], dtype=">i2")
    (tmp_path / "rh.curv").write_bytes(b"\x00\x00\x03" + b"\x00\x00\x04" + numbers.tobytes())
    np.testing.assert_allclose(only(read_vertex_file(tmp_path / "rh.curv"), "R"), [[-1.5, 0, 2.75]])


@pytest.mark.parametrize("name", ["lh.prfangle.mgz", "lh.prfangle.mgh", "lh.prfangle.nii.gz"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_an_image_box_of_vertices(tmp_path, values, name, dtype):
    data = (100 * values).astype(dtype)
    kind = MGHImage if "mg" in name else nib.Nifti1Image
    nib.save(kind(data[0].reshape(N, 1, 1), np.eye(4)), tmp_path / name)
    maps = read_vertex_file(tmp_path / name, N)
    np.testing.assert_array_equal(only(maps, "L"), data[:1])
    assert maps.names == ("prfangle",)
    nib.save(kind(data.T.reshape(N, 1, 1, 3), np.eye(4)), tmp_path / name)
    maps = read_vertex_file(tmp_path / name, N)
    np.testing.assert_array_equal(only(maps, "L"), data)
    assert maps.names == ("prfangle 1", "prfangle 2", "prfangle 3")


def test_annotation(tmp_path, rng):
    labels = rng.integers(-1, 3, N).astype(np.int32)
    path = tmp_path / "lh.aparc.a2009s.annot"
    write_annot(path, labels, COLOURS, ["unknown", "V1", "V2"])
    maps = read_vertex_file(path, N)
    np.testing.assert_array_equal(only(maps, "L")[0], read_annot(path, orig_ids=False)[0])
    assert maps.label_names == {-1: "unknown", 0: "unknown", 1: "V1", 2: "V2"}
    np.testing.assert_allclose(maps.label_colours[2], (10 / 255, 200 / 255, 40 / 255, 1 - 55 / 255))
    assert maps.label_colours[-1][3] == 0 and maps.names == ("aparc.a2009s",) and not maps.notes


def annotation(codes, entries, version=2):
    """Bytes of an annotation whose table has holes, as colour tables of labs do."""
    parts = [struct.pack(">i", len(codes)), *(struct.pack(">ii", number, code) for number, code in enumerate(codes)), struct.pack(">i", 1)]
    parts += (
        [struct.pack(">ii", -2, 100), struct.pack(">i", 4), b"ctab"] if version == 2 else [struct.pack(">ii", len(entries), 4), b"ctab"]
    )
    parts += [struct.pack(">i", len(entries))] if version == 2 else []
    for index, name, colour in entries:
        parts += [struct.pack(">i", index)] if version == 2 else []
        parts += [struct.pack(">i", len(name) + 1), name.encode() + b"\0", struct.pack(">4i", *colour, 0)]
    return b"".join(parts)


def test_a_table_with_holes_names_no_wrong_area(tmp_path):
    """A code that the table lacks is unknown; the entries 7 and 90 keep their own names."""
    red, green, blue = 255, 200 << 8, 90 << 16
    path = tmp_path / "rh.areas.annot"
    path.write_bytes(annotation([red, green, 0, blue, red], [(7, "V1", (255, 0, 0)), (90, "V2", (0, 200, 0))]))
    maps = read_vertex_file(path)
    np.testing.assert_array_equal(only(maps, "R"), [[7, 90, -1, -1, 7]])
    assert maps.label_names == {-1: "unknown", 7: "V1", 90: "V2"}
    assert maps.notes == ("rh.areas.annot: 1 vertices have a colour code that its table lacks; they are shown as unknown",)


def test_the_old_table(tmp_path):
    path = tmp_path / "rh.areas.annot"
    path.write_bytes(annotation([255, 200 << 8, 0], [(0, "V1", (255, 0, 0)), (1, "V2", (0, 200, 0))], version=1))
    np.testing.assert_array_equal(only(read_vertex_file(path), "R")[0], read_annot(path)[0])
    assert read_vertex_file(path).label_names == {-1: "unknown", 0: "V1", 1: "V2"}


def test_label(tmp_path):
    path = tmp_path / "lh.V1_exvivo.label"
    rows = "".join(f"{vertex}  1.0 2.0 3.0 0.9\n" for vertex in (3, 17, 0))
    path.write_text(f"#!ascii label , from subject fsaverage vox2ras=TkReg\n3\n{rows}")
    maps = read_vertex_file(path, N)
    np.testing.assert_array_equal(np.flatnonzero(only(maps, "L")[0]), [0, 3, 17])
    assert maps.label_names == {0: "", 1: "V1_exvivo"} and maps.names == ("V1_exvivo",)
    path.write_text("#!ascii label\n0\n")
    assert not only(read_vertex_file(path, N), "L").any()
    path.write_text("#!ascii label\n1\n9 0 0 0 1\n")
    assert only(read_vertex_file(path, N), "L").sum() == 1


def test_numpy_vectors(tmp_path, values):
    np.save(tmp_path / "lh_map.npy", values[0].astype(">f8"))
    np.testing.assert_array_equal(only(read_vertex_file(tmp_path / "lh_map.npy", N), "L"), values[:1])
    np.save(tmp_path / "both.npy", values)
    np.testing.assert_array_equal(only(read_vertex_file(tmp_path / "both.npy"), ""), values)


def mistaken(folder):
    folder.joinpath("lh.page.annot").write_bytes(b"<html>not found</html>")
    yield "lh.page.annot", None, "is truncated or not an .annot file"
    folder.joinpath("lh.bare.annot").write_bytes(struct.pack(">iiii", 1, 0, 0, 0))
    yield "lh.bare.annot", None, "has no colour table, so its labels have no names"
    folder.joinpath("lh.twice.annot").write_bytes(struct.pack(">5i", 2, 1, 255, 1, 255) + annotation([255], [(0, "a", (255, 0, 0))])[12:])
    yield "lh.twice.annot", None, "expected each vertex 0..1 once"
    folder.joinpath("lh.v3.annot").write_bytes(struct.pack(">3i", 1, 0, 0) + struct.pack(">ii", 1, -3))
    yield "lh.v3.annot", None, "its colour table has version 3, expected 1 or 2"
    folder.joinpath("lh.bad.annot").write_bytes(annotation([255], [(0, "a", (255, 0, 999))]))
    yield "lh.bad.annot", None, "entry 0 of its colour table (index 0, 'a') is damaged"
    folder.joinpath("lh.long.annot").write_bytes(struct.pack(">7i", 1, 0, 0, 1, -2, 4, 9999999))
    yield "lh.long.annot", None, "announces a name of 9,999,999 letters"
    folder.joinpath("lh.a.label").write_text("#!ascii\n1\n3 0 0 0 0\n")
    yield "lh.a.label", None, "lists vertices, not how many the mesh has; open the mesh it belongs to first"
    folder.joinpath("lh.far.label").write_text("#!ascii\n1\n40 0 0 0 0\n")
    yield "lh.far.label", N, "names vertex 40, the mesh has 40 vertices (0-based)"
    folder.joinpath("lh.cut.label").write_text("#!ascii\n3\n1 0 0 0 0\n")
    yield "lh.cut.label", N, "announces 3 vertices and lists 1"
    folder.joinpath("lh.page.label").write_text("<html>\nnot found\n</html>")
    yield "lh.page.label", N, "expected the number of vertices in its second line, got b'not found"
    write_morph_data(folder / "lh.whole", np.zeros(9))
    folder.joinpath("lh.curv").write_bytes(folder.joinpath("lh.whole").read_bytes()[:-4])
    yield "lh.curv", None, "is truncated or no FreeSurfer map (curv, sulc, thickness)"
    write_geometry(folder / "lh.white", np.zeros((3, 3)), np.array([[0, 1, 2]]), create_stamp="test")
    yield "lh.white", None, "no FreeSurfer map"
    nib.save(MGHImage(np.zeros((4, 5, 6), dtype=np.float32), np.eye(4)), folder / "T1.mgz")
    yield "T1.mgz", None, "has shape (4, 5, 6), expected (vertices, 1, 1)"
    nib.save(MGHImage(np.zeros((9, 1, 1), dtype=np.float32), np.eye(4)), folder / "lh.w.mgh")
    folder.joinpath("lh.c.mgh").write_bytes(folder.joinpath("lh.w.mgh").read_bytes()[:300])
    yield "lh.c.mgh", None, "cannot be read: truncated"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.float32), np.eye(4)), folder / "T1.nii")
    yield "T1.nii", None, "it is a volume, expected values of vertices"
    np.save(folder / "words.npy", np.array(["a", "b"]))
    yield "words.npy", None, "expected real numbers [vertices] or [maps, vertices]"
    np.save(folder / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    yield "objects.npy", None, "cannot be read"
    mesh = [
        GiftiDataArray(np.zeros((3, 3), dtype=np.float32), intent="NIFTI_INTENT_POINTSET", datatype="NIFTI_TYPE_FLOAT32"),
        GiftiDataArray(np.int32([[0, 1, 2]]), intent="NIFTI_INTENT_TRIANGLE", datatype="NIFTI_TYPE_INT32"),
    ]
    nib.save(GiftiImage(darrays=mesh), folder / "lh.white.surf.gii")
    yield "lh.white.surf.gii", None, "holds a mesh and no values of its vertices"
    np.save(folder / "lh.big.npy", np.zeros(163842, dtype=np.float32))
    yield (
        "lh.big.npy",
        10242,
        "163842 values, mesh has 10242 vertices: looks like fsaverage data on fsaverage5; slice it or pick the matching mesh",
    )
    np.save(folder / "lh.odd.npy", np.zeros(41, dtype=np.float32))
    yield "lh.odd.npy", N, "has 41 values, mesh has 40 vertices; pick the matching mesh"


def test_each_mistake_is_named(tmp_path):
    for name, n_vertices, text in mistaken(tmp_path):
        with pytest.raises(DataFormatError) as caught:
            read_vertex_file(tmp_path / name, n_vertices)
        assert text in str(caught.value) and name in str(caught.value)
    with pytest.raises(MissingDataError, match=r"lh\.nothing does not exist"):
        read_vertex_file(tmp_path / "lh.nothing")


def test_a_map_of_fsaverage_is_cut_to_fsaverage5(rng):
    """The first vertices of the finer sphere are those of the coarser one: the meshes of nilearn's two releases agree."""
    fine = rng.normal(size=(2, 163842))
    np.testing.assert_array_equal(slice_fsaverage(fine, 10242), fine[:, :10242])
    for values, count in ((np.zeros(10242), 163842), (np.zeros(163842), 32492), (np.zeros(32492), 10242)):
        with pytest.raises(ShapeError, match=f"a map of {values.size} vertices cannot be cut to {count}.*fsaverage5 10242"):
            slice_fsaverage(values, count)
