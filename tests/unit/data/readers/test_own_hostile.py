"""Cut, damaged and hostile files of one's own: our errors only, bounded memory, nothing written, nothing run."""

import gzip
import struct
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from lab import GRID, Lab

from brain2pix.config.importing import Choices
from brain2pix.data.readers import READERS, importing, own_gathered, own_responses, sniff
from brain2pix.errors import Brain2PixError, DataFormatError

MIB = 2**20
MOST_BYTES = 64 * MIB
# A file, and what is opened to read it.
RESPONSES = ("betas.npy", "betas.h5", "chunked.h5", "volumes.h5", "betas.nii", "betas.nii.gz")
BESIDE = (
    "trials.tsv",
    "trials.csv",
    "mask.nii",
    "mask.nii.gz",
    "atlas.nii",
    "atlas.tsv",
    "atlas.ctab",
    "V1.npy",
    "T1w.nii",
    "stack.npy",
    "stack.h5",
)


class Healthy:
    """A laboratory whose files are all good; each can be replaced by a damaged one for a while."""

    def __init__(self, folder):
        self.folder = folder
        lab = Lab(folder)
        lab.write_npy(), lab.write_hdf5(), lab.write_hdf5("volumes.h5", volumes=lab.series), lab.write_nifti("betas.nii"), lab.write_nifti()
        with h5py.File(folder / "chunked.h5", "w") as file:
            file.create_dataset("betas", data=lab.matrix(), chunks=(5, 11), compression="gzip")
        lab.write_table(), lab.write_table("trials.csv"), lab.write_mask("mask.nii"), lab.write_mask()
        lab.save("atlas.nii", 1 + np.indices(GRID)[0] // 3, dtype=np.int16)
        (folder / "atlas.tsv").write_text("index\tname\n1\tlh.V1\n2\trh.V1\n")
        lab.save("coloured.nii", 1 + np.indices(GRID)[0] // 3, dtype=np.int16)
        (folder / "atlas.ctab").write_text("1 V1 0 0 0 0\n2 V2 1 2 3 0\n")
        np.save(folder / "V1.npy", np.arange(lab.n_voxels) % 2 == 0)
        lab.save("T1w.nii", np.ones((8, 8, 8)))
        stack = np.stack(list(lab.pictures.values()))
        np.save(folder / "stack.npy", stack)
        with h5py.File(folder / "stack.h5", "w") as file:
            file["stack"] = stack
        self.contents = {name: (folder / name).read_bytes() for name in (*RESPONSES, *BESIDE)}

    def __repr__(self):
        return "Healthy()"

    def look(self, name, content):
        """Replace a file, open everything that uses it, read all of it."""
        path = self.folder / name
        path.write_bytes(content)
        before = sorted(place.name for place in self.folder.iterdir())
        tracemalloc.start()
        try:
            self._read(name)
        except Brain2PixError as error:
            assert str(self.folder) in str(error) or path.name in str(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            path.write_bytes(self.contents[name])
        assert peak < MOST_BYTES
        assert sorted(place.name for place in self.folder.iterdir()) == before

    def _read(self, name):
        there = self.folder.joinpath
        source = there(name if name in RESPONSES else "betas.nii" if name.startswith(("atlas", "T1w")) else "betas.npy")
        regions = {"atlas.nii": "atlas.nii", "atlas.tsv": "atlas.nii", "atlas.ctab": "coloured.nii", "V1.npy": "V1.npy"}
        if name == "atlas.ctab":
            there("coloured.ctab").write_bytes(there(name).read_bytes())
        own = {
            "table": there(name if name.startswith("trials") else "trials.tsv"),
            "mask": there(name if name.startswith("mask") else "mask.nii"),
            "regions": [there(regions[name])] if name in regions else [],
            "anatomy": there(name) if name == "T1w.nii" else None,
        }
        images = there(name) if name.startswith("stack") else there("stack.npy")
        sniff(source)
        try:
            with READERS["own"].open(source, Choices(own=own, images=images, field_of_view_deg=8)) as dataset:
                dataset.lines()
                rows = importing.rows_with_pictures(dataset, Choices(missing="skip"), importing.Listener())
                for stimulus in dataset.trials["stimulus_id"].iloc[rows[:3]]:
                    dataset.pictures.read(stimulus)
                dataset.responses.read(0, dataset.responses.shape[1])
        finally:
            there("coloured.ctab").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return Healthy(tmp_path_factory.mktemp("lab"))


EVERY = (*RESPONSES, *BESIDE)


@pytest.mark.parametrize("name", EVERY)
def test_good_files_are_read(healthy, name):
    healthy._read(name)


@pytest.mark.parametrize("name", EVERY)
@examples(max_examples=5)
@given(share=st.floats(0, 1))
def test_cut_files(healthy, name, share):
    content = healthy.contents[name]
    healthy.look(name, content[: int(share * len(content))])


@pytest.mark.parametrize("name", EVERY)
@examples(max_examples=8)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(healthy, name, places):
    raw = bytearray(healthy.contents[name])
    for share, value in places:
        raw[int(share * len(raw))] = value
    healthy.look(name, bytes(raw))


@pytest.mark.parametrize("name", EVERY)
@examples(max_examples=10)
@given(places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_headers(healthy, name, places):
    """What a file says of itself stands at its start; of a packed one within."""
    packed = name.endswith(".gz")
    raw = bytearray(gzip.decompress(healthy.contents[name]) if packed else healthy.contents[name])
    for place, value in places:
        raw[place % len(raw)] = value
    healthy.look(name, gzip.compress(bytes(raw)) if packed else bytes(raw))


@examples(max_examples=30)
@given(
    rows=st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=4), max_size=26),
    header=st.lists(
        st.sampled_from(["stimulus_id", "image", "split", "run", "repeat", "a/b", "", "trial_type", "onset"]), min_size=1, max_size=4
    ),
)
def test_any_table(healthy, rows, header):
    text = "\n".join(["\t".join(header), *("\t".join(row) for row in rows)])
    healthy.look("trials.tsv", text.encode("utf-8", errors="surrogatepass"))


# ---------------------------------------------------------------------- promises of more than there is


def refused(text, path, **own):
    with pytest.raises(DataFormatError, match=text), READERS["own"].open(path, Choices(own=own)) as dataset:
        dataset.responses.read(0, 10)


def test_npy_promises(healthy):
    header = str({"descr": "<f8", "fortran_order": False, "shape": (24, 10**12)}).ljust(117).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 1000
    healthy.look("betas.npy", content)
    path = healthy.folder / "promise.npy"
    path.write_bytes(content)
    refused("cannot be read", path, table=healthy.folder / "trials.tsv")
    path.unlink()


def test_hdf5_promises(tmp_path):
    """A shape without the bytes for it: HDF5 would give zeros for all of it."""
    lab = Lab(tmp_path)
    for shape in ((24, 2**40), (24, 2**12, 2**12, 2**12)):
        with h5py.File(tmp_path / "betas.h5", "w") as file:
            file.create_dataset("betas", shape=shape, dtype="f8", chunks=(1,) * (len(shape) - 1) + (1024,))
        refused(r"announces [\d,]+ bytes, the file holds 0", tmp_path / "betas.h5", table=lab.write_table())


def test_nifti_promises(tmp_path):
    lab = Lab(tmp_path)
    raw = bytearray(lab.write_nifti("betas.nii").read_bytes())
    for shape, text in (
        ((30000, 30000, 30000, 24), "has 27,000,000,000,000 voxels"),
        ((300, 300, 300, 24), "announces 2,592,000,000 bytes"),
    ):
        raw[40:50] = struct.pack("<5h", 4, *shape)
        (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(bytes(raw)))
        refused(text, tmp_path / "huge.nii.gz", table=lab.write_table())
    raw[40:50] = struct.pack("<5h", 3, 30000, 30000, 30000, 1)
    (tmp_path / "mask.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    refused("announces|is no grid of responses", lab.write_npy(), table=lab.write_table(), mask=tmp_path / "mask.nii.gz")


def test_a_group_within_a_group_within_a_group(tmp_path):
    lab = Lab(tmp_path)
    with h5py.File(tmp_path / "betas.h5", "w") as file:
        group = file
        for _ in range(200):
            group = group.create_group("g")
        group["betas"] = lab.matrix()
        for number in range(3_000):
            file[f"many/{number}"] = 1.0
    refused("holds no dataset that fits", tmp_path / "betas.h5", table=lab.write_table())


def test_packed_volumes_pass_in_bounded_memory(tmp_path, monkeypatch):
    """23 MB of float64 volumes, 12 MB of responses: a span of 1 MiB and slabs of 1 MiB are held, not more."""
    monkeypatch.setattr(own_gathered, "GATHER_BYTES", MIB)
    monkeypatch.setattr(own_responses, "BLOCK_BYTES", MIB)
    monkeypatch.setattr(importing, "BLOCK_BYTES", MIB)
    lab = Lab(tmp_path)
    rng = np.random.default_rng(0)
    series = rng.integers(0, 1000, (30, 30, 33, 96)).astype(np.int16)
    path = lab.save("betas.nii.gz", series)
    lab.table = lab.table.iloc[np.tile(np.arange(24), 4)]
    with READERS["own"].open(path, Choices(own={"table": lab.write_table()}, images=lab.write_pictures(), field_of_view_deg=8)) as dataset:
        tracemalloc.start()
        importing.import_dataset(dataset, tmp_path / "out", Choices())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * MIB < 4 * series.size, f"{peak / MIB:.1f} MiB"
    with h5py.File(next((tmp_path / "out" / "sub-01" / "func").glob("*.h5"))) as file:
        ijk = file["ijk"][:]
        np.testing.assert_array_equal(file["betas"][:, 777], series[tuple(ijk[777])])
