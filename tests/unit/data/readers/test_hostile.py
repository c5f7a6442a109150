"""Cut, damaged and hostile files: our errors only, bounded memory and time, nothing written, nothing run."""

import struct
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from published import God, Vim1

from brain2pix.data.readers import READERS, Choices, sniff
from brain2pix.errors import Brain2PixError, DataFormatError

KINDS = ("god-matlab", "god-hdf5", "god-npz", "vim-1")
COUNTS = {"n_train": 30, "n_validation": 6}
# Of Python's and numpy's own; a healthy file of the fixtures takes less than a tenth.
MOST_BYTES = 64 * 2**20


class Healthy:
    """Bytes of a good file of each kind, and a place for damaged ones. Its name is short: hypothesis writes it in each report."""

    def __init__(self, contents, folder):
        self.contents, self.folder = contents, folder

    def __repr__(self):
        return "Healthy()"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("healthy")
    god, vim1 = God(), Vim1()
    files = {
        "god-matlab": god.write_matlab(folder / "Subject1.mat", compressed=False),
        "packed": god.write_matlab(folder / "Subject2.mat"),
        "god-hdf5": god.write_hdf5(folder / "Subject1.h5"),
        "god-npz": god.write_npz(folder / "sbj_1.npz"),
        "vim-1": vim1.write_responses(folder / "EstimatedResponses.mat"),
        "vim-1 packed": vim1.write_responses(folder / "Estimated5.mat", version="5"),
    }
    return Healthy({kind: path.read_bytes() for kind, path in files.items()}, tmp_path_factory.mktemp("damaged"))


def look(kind, path):
    """Open a file and read all of it; whatever is wrong must come as one of our errors."""
    before = sorted(place.name for place in path.parent.iterdir())
    tracemalloc.start()
    try:
        sniff(path)
        with READERS[kind].open(path, Choices(**(COUNTS if kind == "vim-1" else {}))) as dataset:
            dataset.lines()
            n_voxels = dataset.responses.shape[1]
            for start in range(0, n_voxels, 256):
                dataset.responses.read(start, min(start + 256, n_voxels))
    except Brain2PixError as error:
        assert path.name in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_BYTES
    assert sorted(place.name for place in path.parent.iterdir()) == before


def damaged(healthy, which, change):
    """Write a changed copy; the suffix is that of the kind."""
    kind = {"packed": "god-matlab", "vim-1 packed": "vim-1"}.get(which, which)
    path = healthy.folder / {"god-npz": "sbj_1.npz", "god-hdf5": "Subject1.h5"}.get(kind, "Subject1.mat")
    path.write_bytes(change(healthy.contents[which]))
    return kind, path


WHICH = (*KINDS, "packed", "vim-1 packed")


@pytest.mark.parametrize("which", WHICH)
@examples(max_examples=15)
@given(share=st.floats(0, 1))
def test_cut_files(healthy, which, share):
    look(*damaged(healthy, which, lambda content: content[: int(share * len(content))]))


@pytest.mark.parametrize("which", WHICH)
@examples(max_examples=30)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(healthy, which, places):
    def change(content):
        raw = bytearray(content)
        for share, value in places:
            raw[int(share * len(raw))] = value
        return bytes(raw)

    look(*damaged(healthy, which, change))


@pytest.mark.parametrize("which", WHICH)
@examples(max_examples=30)
@given(places=st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_headers(healthy, which, places):
    """What a file says of itself stands at its start; there a byte does most harm."""

    def change(content):
        raw = bytearray(content)
        for place, value in places:
            raw[place % len(raw)] = value
        return bytes(raw)

    look(*damaged(healthy, which, change))


@pytest.mark.parametrize("kind", KINDS)
@examples(max_examples=15)
@given(content=st.binary(max_size=400))
def test_random_bytes_after_a_good_start(healthy, kind, content):
    start = {"god-matlab": b"MATLAB 5.0".ljust(124) + b"\x00\x01IM", "god-npz": b"PK\x03\x04"}.get(kind, b"\x89HDF\r\n\x1a\n")
    look(*damaged(healthy, kind, lambda _: start + content))


# ---------------------------------------------------------------------- promises of more than there is


def matlab(*elements):
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"".join(elements)


def matrix(name, shape, data, matlab_class=6):
    dims = struct.pack(f"<{len(shape)}i", *shape)
    dims += b"\0" * (-len(dims) % 8)
    word = name.encode().ljust(-(-len(name) // 8) * 8, b"\0")
    head = (
        struct.pack("<IIII", 6, 8, matlab_class, 0) + struct.pack("<II", 5, 4 * len(shape)) + dims + struct.pack("<II", 1, len(name)) + word
    )
    return head + data


def packed(content, announced=None):
    raw = zlib.compress(struct.pack("<II", 14, len(content) if announced is None else announced) + content)
    return struct.pack("<II", 15, len(raw)) + raw


def doubles(count, there):
    return struct.pack("<II", 9, count) + b"\0" * there


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "content",
    [
        matlab(packed(matrix("dataSet", (HUGE, HUGE), doubles(2**32 - 8, 64))), packed(matrix("metaData", (1, 1), b"", 2))),
        matlab(packed(matrix("dataSet", (50_000_000, 1), doubles(400_000_000, 64))), packed(matrix("metaData", (HUGE, HUGE), b"", 2))),
        matlab(packed(matrix("dataSet", (2, 2), doubles(32, 32)), announced=2**32 - 8)),
        matlab(packed(matrix("metaData", (HUGE, 1), b"", 1)), packed(matrix("dataSet", (2, 2), doubles(32, 32)))),
        matlab(packed(matrix("x", (0, HUGE), doubles(0, 0))), packed(matrix("dataSet", (0, HUGE), doubles(0, 0)))),
        matlab(struct.pack("<II", 14, 2**32 - 8)),
        matlab(*[struct.pack("<II", 14, 0)] * 10),
    ],
)
def test_matlab_promises(tmp_path, content):
    path = tmp_path / "Subject1.mat"
    path.write_bytes(content)
    look("god-matlab", path)
    look("vim-1", path)


def test_cells_in_cells(tmp_path):
    cell = matrix("", (1, 1), b"", 1)
    for _ in range(300):
        cell = matrix("", (1, 1), struct.pack("<II", 14, len(cell)) + cell, 1)
    fields = struct.pack("<HHI", 5, 4, 8) + struct.pack("<II", 1, 8) + b"key".ljust(8, b"\0") + struct.pack("<II", 14, len(cell)) + cell
    path = tmp_path / "Subject1.mat"
    path.write_bytes(matlab(packed(matrix("dataSet", (2, 2), doubles(32, 32))), packed(matrix("metaData", (1, 1), fields, 2))))
    with (
        pytest.raises(DataFormatError, match="cells within cells"),
        READERS["god-matlab"].open(path, Choices()),
    ):
        pass


def test_deflated_bomb(god, tmp_path):
    """100 MB of zeros in 100 kB: read in blocks, never whole."""
    path = tmp_path / "Subject1.mat"
    whole = matrix("dataSet", (25, 500_000), doubles(100_000_000, 100_000_000))
    path.write_bytes(matlab(packed(whole), packed(matrix("metaData", (1, 1), b"", 2))))
    del whole
    look("god-matlab", path)


def test_hdf5_promises(god, tmp_path):
    """A shape without the bytes for it: HDF5 would give zeros for all of it."""
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    for key in ("dataset", "metadata/value", "metadata/key"):
        with h5py.File(path, "a") as file:
            del file[key]
            dtype = "S8" if key.endswith("key") else "f8"
            shape = (2**40,) if key.endswith("key") else (2**20, 2**20)
            file.create_dataset(key, shape=shape, dtype=dtype, chunks=(1024,) * len(shape))
        with pytest.raises(DataFormatError, match=r"announces [\d,]+ bytes, the file holds 0"), READERS["god-hdf5"].open(path, Choices()):
            pass
        path = god.write_hdf5(tmp_path / "Subject1.h5")


def test_hdf5_that_points_elsewhere(god, tmp_path):
    """A dataset whose bytes are another file's would read any file of the user's."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\x01" * 8 * 2000)
    path = god.write_hdf5(tmp_path / "Subject1.h5")
    with h5py.File(path, "a") as file:
        shape = file["dataset"].shape
        del file["dataset"]
        file.create_dataset("dataset", shape=shape, dtype="f8", external=[(str(secret), 0, 8 * shape[0] * shape[1])])
    with pytest.raises(DataFormatError, match="lies in another file"), READERS["god-hdf5"].open(path, Choices()):
        pass
    with h5py.File(path, "a") as file:
        del file["dataset"]
        file["dataset"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/dataset")
    other = god.write_hdf5(tmp_path / "other.h5")
    with pytest.raises(DataFormatError, match="lies in another file"), READERS["god-hdf5"].open(path, Choices()):
        pass
    assert other.exists()


def test_npz_promises(god, tmp_path):
    path = god.write_npz(tmp_path / "sbj_1.npz", arr_0=None)
    header = str({"descr": "<f8", "fortran_order": False, "shape": (10**12, 40)}).ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 1000)
    look("god-npz", path)
    with pytest.raises(DataFormatError, match="array 'arr_0' of shape"), READERS["god-npz"].open(path, Choices()):
        pass


def test_npz_bomb(god, tmp_path):
    path = tmp_path / "sbj_1.npz"
    np.savez_compressed(
        path, arr_0=np.zeros((8, 2_000_000), "f4"), arr_1=np.zeros((4, 2_000_000), "f4"), arr_3=np.zeros(8), arr_4=np.zeros(4)
    )
    from brain2pix.data.readers.god_npz import NpzFile, NpzResponses

    responses = NpzResponses(NpzFile(path))
    responses.test_labels = np.zeros(4, dtype=np.int64)
    tracemalloc.start()
    responses.read(1000, 1256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * 2**20
