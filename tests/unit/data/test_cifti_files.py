"""CIFTI-2 as nibabel writes it: the medial wall left out, both hemispheres and structures of the volume in one matrix."""

import gzip
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ParcelsAxis, ScalarAxis, SeriesAxis

from brain2pix.data.cifti_files import is_cifti, read_cifti
from brain2pix.data.vertex_files import read_vertex_file
from brain2pix.errors import DataFormatError

N_LEFT, N_RIGHT = 50, 60
LEFT, RIGHT = np.r_[0:20, 25:50], np.arange(5, 60)
MASK = np.zeros((4, 5, 6), dtype=bool)
MASK[1, 2:4, 3] = True


def brain(left=LEFT, right=RIGHT, volume=True):
    axis = BrainModelAxis.from_surface(left, N_LEFT, "CORTEX_LEFT")
    if right is not None:
        axis += BrainModelAxis.from_surface(right, N_RIGHT, "CORTEX_RIGHT")
    return axis + BrainModelAxis.from_mask(MASK, "THALAMUS_LEFT", np.eye(4)) if volume else axis


def save(path, rows, data, axis=None):
    nib.save(Cifti2Image(data, (rows, brain() if axis is None else axis)), path)
    return path


@pytest.fixture
def data(rng):
    return rng.normal(size=(2, len(brain()))).astype(np.float32)


def check(maps, data):
    expected = {"L": np.full((len(data), N_LEFT), np.nan), "R": np.full((len(data), N_RIGHT), np.nan)}
    expected["L"][:, LEFT], expected["R"][:, RIGHT] = data[:, : LEFT.size], data[:, LEFT.size : LEFT.size + RIGHT.size]
    assert list(maps.values) == ["L", "R"]
    for hemi, values in expected.items():
        np.testing.assert_array_equal(maps.values[hemi], values.astype(np.float32))
        assert maps.values[hemi].dtype == np.float32


def test_scalars(tmp_path, data):
    path = save(tmp_path / "sub-01_x.dscalar.nii", ScalarAxis(["angle", "ecc"]), data)
    for maps in (read_cifti(path), read_vertex_file(path)):
        check(maps, data)
        assert maps.names == ("angle", "ecc") and not maps.label_names
        assert maps.notes == ("sub-01_x.dscalar.nii holds more than the cortex, not shown on a surface: THALAMUS_LEFT (2 voxels)",)


def test_series(tmp_path, data):
    maps = read_cifti(save(tmp_path / "rest.dtseries.nii", SeriesAxis(0.0, 0.72, 2), data))
    check(maps, data)
    assert maps.names == ("0 s", "0.72 s")


def test_labels(tmp_path, rng):
    tables = [
        {0: ("???", (0, 0, 0, 0)), 3: ("V1", (1, 0.5, 0, 1))},
        {0: ("???", (0, 0, 0, 0)), 3: ("V1 too", (1, 0, 0, 1)), 5: ("V2", (0, 1, 0, 1))},
    ]
    data = rng.choice([0, 3], size=(2, len(brain()))).astype(np.float32)
    maps = read_cifti(save(tmp_path / "areas.dlabel.nii", LabelAxis(["areas", "others"], tables), data))
    check(maps, data)
    assert maps.label_names == {0: "???", 3: "V1", 5: "V2"} and maps.label_colours[3] == (1.0, 0.5, 0.0, 1.0)
    assert "maps others name labels otherwise than the first" in maps.notes[-1]


def test_one_hemisphere(tmp_path, data):
    axis = brain(right=None, volume=False)
    maps = read_cifti(save(tmp_path / "left.dscalar.nii", ScalarAxis(["a", "b"]), data[:, : len(axis)], axis))
    assert list(maps.values) == ["L"] and not maps.notes


def test_what_is_cifti_is_seen_by_its_header(tmp_path, data):
    path = save(tmp_path / "x.dscalar.nii", ScalarAxis(["a", "b"]), data)
    shutil.copy(path, tmp_path / "renamed.nii")
    (tmp_path / "packed.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    for number, kind in enumerate((nib.Nifti1Image, nib.Nifti2Image)):
        nib.save(kind(np.zeros((5, 6, 7), dtype=np.float32), np.eye(4)), tmp_path / f"volume{number}.nii")
    (tmp_path / "short.nii").write_bytes(path.read_bytes()[:300])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(path.read_bytes())[:40])
    found = {place.name: is_cifti(place) for place in tmp_path.iterdir()}
    assert {name for name, yes in found.items() if yes} == {"x.dscalar.nii", "renamed.nii", "packed.nii.gz"}
    check(read_vertex_file(tmp_path / "renamed.nii"), data)
    with pytest.raises(DataFormatError, match="is packed, which the format does not allow; unpack it first"):
        read_vertex_file(tmp_path / "packed.nii.gz")


def mistaken(folder, data):
    parcels = ParcelsAxis.from_brain_models([("V1", brain(volume=False)), ("V2", brain(volume=False)[:10])])
    yield save(folder / "a.pscalar.nii", ScalarAxis(["a", "b"]), data[:, :2], parcels), "holds Scalar by Parcels, expected maps by vertices"
    nothing = BrainModelAxis.from_mask(MASK, "THALAMUS_LEFT", np.eye(4))
    yield save(folder / "b.dscalar.nii", ScalarAxis(["a", "b"]), data[:, :2], nothing), r"holds no cortex, only THALAMUS_LEFT \(2 voxels\)"
    good = save(folder / "good.dscalar.nii", ScalarAxis(["a", "b"]), data)
    (folder / "cut.dscalar.nii").write_bytes(good.read_bytes()[:-100])
    yield folder / "cut.dscalar.nii", "cannot be read: truncated"
    (folder / "page.nii").write_bytes(b"<html>not found</html>")
    yield folder / "page.nii", "cannot be read.*<html>"


def test_each_mistake_is_named(tmp_path, data):
    for path, text in mistaken(tmp_path, data):
        with pytest.raises(DataFormatError) as caught:
            read_cifti(path)
        assert re.search(text, str(caught.value)) and path.name in str(caught.value)


@pytest.mark.parametrize(
    ("count", "text"), [(2_000_000_000, "more than 2 GiB; take fewer maps"), (30, "vertex 49, its mesh has 30 vertices")]
)
def test_counts_of_vertices_are_not_believed(tmp_path, data, count, text):
    image = Cifti2Image(data, (ScalarAxis(["a", "b"]), brain()))
    next(iter(image.header.get_index_map(1).brain_models)).surface_number_of_vertices = count
    nib.save(image, tmp_path / "x.dscalar.nii")
    with pytest.raises(DataFormatError, match=text):
        read_cifti(tmp_path / "x.dscalar.nii")
