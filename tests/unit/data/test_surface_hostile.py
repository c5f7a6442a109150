"""Cut, damaged and hostile surface files: our errors only, bounded memory, nothing written, nothing run."""

import gzip
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis
from nibabel.freesurfer import MGHImage, write_annot, write_geometry, write_morph_data
from nibabel.gifti import GiftiDataArray, GiftiImage

from brain2pix.data.cifti_files import is_cifti
from brain2pix.data.freesurfer_files import read_geometry, read_patch
from brain2pix.data.loose_files import read_loose_volume
from brain2pix.data.loose_surfaces import read_loose_surfaces
from brain2pix.data.vertex_files import read_vertex_file
from brain2pix.errors import Brain2PixError, DataFormatError

N = 30
# Of Python's and the libraries' own; a healthy file of these takes a hundredth of it.
MOST_BYTES = 64 * 2**20
FACES = np.array([[0, 1, 2], [1, 2, 3], [4, 5, 29]], dtype=np.int32)


class Healthy:
    """Bytes of a good file of each kind, and a place for damaged ones. Its name is short: hypothesis writes it in each report."""

    def __init__(self, contents, folder):
        self.contents, self.folder = contents, folder

    def __repr__(self):
        return "Healthy()"


def arrays(*parts):
    kinds = {"f": "NIFTI_TYPE_FLOAT32", "i": "NIFTI_TYPE_INT32"}
    return GiftiImage(
        darrays=[GiftiDataArray(values, intent=f"NIFTI_INTENT_{name}", datatype=kinds[values.dtype.kind]) for values, name in parts]
    )


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("healthy")
    points = rng.normal(size=(N, 3)).astype(np.float32)
    values = rng.normal(size=(N,)).astype(np.float32)
    volume = {"head": [2, 0, 20], "valid": "1", "filename": "a", "volume": [9, 9, 9], "voxelsize": [1, 1, 1]}
    volume |= {"xras": [-1, 0, 0], "yras": [0, 0, -1], "zras": [0, 1, 0], "cras": [1, 2, 3]}
    write_geometry(folder / "lh.white", points, FACES, create_stamp="test", volume_info=volume)
    write_morph_data(folder / "lh.curv", values)
    write_annot(folder / "lh.areas.annot", rng.integers(-1, 2, N), np.array([[1, 2, 3, 0], [40, 50, 60, 0]]), ["a", "b"])
    (folder / "lh.V1.label").write_text("#!ascii label\n2\n3 0.1 0.2 0.3 0.5\n7 0.1 0.2 0.3 0.5\n")
    (folder / "lh.cortex.patch.flat").write_bytes(
        struct.pack(">ii", -1, 4) + b"".join(struct.pack(">i3f", n, 1, 2, 3) for n in (1, -2, 3, 4))
    )
    nib.save(MGHImage(values.reshape(N, 1, 1), np.eye(4)), folder / "lh.angle.mgh")
    nib.save(MGHImage(values.reshape(N, 1, 1), np.eye(4)), folder / "lh.angle.mgz")
    nib.save(nib.Nifti1Image(values.reshape(N, 1, 1), np.eye(4)), folder / "lh.angle.nii.gz")
    nib.save(MGHImage(rng.normal(size=(3, 4, 5)).astype(np.float32), np.eye(4)), folder / "T1.mgz")
    nib.save(arrays((points, "POINTSET"), (FACES, "TRIANGLE")), folder / "lh.white.surf.gii")
    nib.save(arrays((values, "SHAPE")), folder / "lh.angle.shape.gii")
    axis = BrainModelAxis.from_surface(np.arange(5, 25), N, "CORTEX_LEFT")
    nib.save(Cifti2Image(values[None, :20], (ScalarAxis(["a"]), axis)), folder / "x.dscalar.nii")
    labels = LabelAxis(["a"], [{0: ("none", (0, 0, 0, 0)), 1: ("V1", (1, 0, 0, 1))}])
    nib.save(Cifti2Image(np.ones((1, 20), dtype=np.float32), (labels, axis)), folder / "x.dlabel.nii")
    np.save(folder / "lh.map.npy", values)
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return Healthy(contents, tmp_path_factory.mktemp("damaged"))


NAMES = (
    *("lh.white", "lh.curv", "lh.areas.annot", "lh.V1.label", "lh.cortex.patch.flat", "lh.angle.mgh", "lh.angle.mgz", "lh.angle.nii.gz"),
    *("lh.white.surf.gii", "lh.angle.shape.gii", "x.dscalar.nii", "x.dlabel.nii", "lh.map.npy", "T1.mgz"),
)


def read(path):
    if path.name.endswith(".patch.flat"):
        return read_patch(path, N, FACES)
    if path.name == "lh.white":
        return read_geometry(path)
    if path.name == "T1.mgz":
        return read_loose_volume(path)
    if path.name.endswith(".surf.gii"):
        return read_loose_surfaces(path)
    is_cifti(path)
    return read_vertex_file(path, N)


def look(healthy, name, change):
    """Read a changed copy; whatever is wrong must come as one of our errors."""
    path = healthy.folder / name
    path.write_bytes(change(healthy.contents[name]))
    before = sorted(place.name for place in path.parent.iterdir())
    tracemalloc.start()
    try:
        read(path)
    except Brain2PixError as error:
        assert path.name in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_BYTES
    assert sorted(place.name for place in path.parent.iterdir()) == before


def test_the_healthy_ones_are_read(healthy):
    assert set(NAMES) == set(healthy.contents)
    for name, content in healthy.contents.items():
        (healthy.folder / name).write_bytes(content)
        read(healthy.folder / name)


@pytest.mark.parametrize("name", NAMES)
@examples(max_examples=12)
@given(share=st.floats(0, 1))
def test_cut_files(healthy, name, share):
    look(healthy, name, lambda content: content[: int(share * len(content))])


@pytest.mark.parametrize("name", NAMES)
@examples(max_examples=30)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(healthy, name, places):
    def change(content):
        raw = bytearray(content)
        for share, value in places:
            raw[int(share * len(raw))] = value
        return bytes(raw)

    look(healthy, name, change)


@pytest.mark.parametrize("name", NAMES)
@examples(max_examples=30)
@given(places=st.lists(st.tuples(st.integers(0, 600), st.sampled_from([0, 1, 2, 127, 128, 254, 255])), min_size=1, max_size=4))
def test_changed_headers(healthy, name, places):
    """What a file says of itself stands at its start, and extremes do most harm there. Packed files are packed again."""

    def change(content):
        packed = content.startswith(b"\x1f\x8b")
        raw = bytearray(gzip.decompress(content) if packed else content)
        for place, value in places:
            raw[place % len(raw)] = value
        return gzip.compress(bytes(raw)) if packed else bytes(raw)

    look(healthy, name, change)


@pytest.mark.parametrize("name", NAMES)
@examples(max_examples=10)
@given(content=st.binary(max_size=300))
def test_random_bytes_after_a_good_start(healthy, name, content):
    look(healthy, name, lambda whole: whole[:24] + content)


@pytest.mark.parametrize("name", ["lh.angle.mgz", "lh.angle.mgh", "lh.angle.nii.gz"])
def test_a_promise_of_gigabytes_takes_no_memory(healthy, name):
    """The header says 2**30 vertices, the file is a few bytes long."""
    place, form = (4, ">i") if "mg" in name else (42, "<h")
    number = 2**30 if "mg" in name else 2**15 - 1

    def change(content):
        packed = content.startswith(b"\x1f\x8b")
        raw = bytearray(gzip.decompress(content) if packed else content)
        raw[place : place + struct.calcsize(form)] = struct.pack(form, number)
        if form == "<h":  # three large edges: vertices by time
            raw[40:50] = struct.pack("<5h", 4, number, 1, 1, number)
        return gzip.compress(bytes(raw)) if packed else bytes(raw)

    look(healthy, name, change)


def test_an_entity_bomb_is_refused(healthy):
    bomb = '<!DOCTYPE GIFTI [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {name} "{10 * f"&{before};"}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    text = (
        f'<?xml version="1.0"?>{bomb}]><GIFTI Version="1.0" NumberOfDataArrays="0"><MetaData><MD><Name>&i;</Name></MD></MetaData></GIFTI>'
    )
    look(healthy, "lh.angle.shape.gii", lambda _: text.encode())


def test_a_header_whose_extension_announces_gigabytes(healthy):
    """nibabel takes memory for all that an extension announces before it reads it."""

    def change(content):
        raw = bytearray(content)
        raw[168:176] = (2**31 - 16).to_bytes(8, "little")  # where the data begin
        raw[544:548] = (2**30).to_bytes(4, "little")
        return bytes(raw)

    with pytest.raises(DataFormatError, match=r"an extension of its header announces 1,073,741,824 bytes, expected 8 to"):
        look_raising(healthy, "x.dlabel.nii", change)


def look_raising(healthy, name, change):
    path = healthy.folder / name
    path.write_bytes(change(healthy.contents[name]))
    tracemalloc.start()
    try:
        read_vertex_file(path, N)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES
