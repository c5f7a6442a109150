"""Cut, damaged and hostile tables and results: our errors only, bounded memory and time, nothing written."""

import tracemalloc

import numpy as np
import prf_published as published
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from brain2pix.data.prf_files import Choices, read_prf
from brain2pix.data.prf_files.matlab import read_results
from brain2pix.data.prf_files.tables import read_columns
from brain2pix.errors import Brain2PixError, DataFormatError

MOST_BYTES = 64 * 2**20
KINDS = ("v5.mat", "v5z.mat", "v73.mat", "table.tsv", "table.csv")


class Healthy:
    """Bytes of a good file of each kind, and a place for damaged ones."""

    def __init__(self, contents, folder):
        self.contents, self.folder = contents, folder

    def __repr__(self):
        return "Healthy()"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("healthy")
    rng = np.random.default_rng(0)
    struct = published.results(rng.normal(size=40), rng.normal(size=40), np.ones(40), np.full(40, 0.5), np.full(40, 0.5), 0.1)
    published.write_mat5(folder / "v5.mat", struct, compressed=False)
    published.write_mat5(folder / "v5z.mat", struct)
    published.write_mat73(folder / "v73.mat", struct)
    columns = {"voxel": list(range(40)), "hemi": ["L"] * 40, "x0": rng.normal(size=40).tolist(), "y0": rng.normal(size=40).tolist()}
    published.write_table(folder / "table.tsv", columns)
    published.write_table(folder / "table.csv", columns, ",")
    return Healthy({name: (folder / name).read_bytes() for name in KINDS}, tmp_path_factory.mktemp("damaged"))


def read(folder, name, content, known):
    """Read damaged bytes; give the error, if any. Anything but our own errors comes through."""
    for old in folder.iterdir():
        old.unlink()
    file = folder / name
    file.write_bytes(content)
    tracemalloc.start()
    try:
        (read_results if name.endswith(".mat") else read_columns)(file)
        read_prf(file, known.subject, Choices(degrees_per_pixel=0.1))
    except Brain2PixError as error:
        return error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES
        assert [path.name for path in folder.iterdir()] == [name]
    return None


@examples(max_examples=150)
@given(kind=st.sampled_from(KINDS), where=st.floats(0, 1), data=st.binary(min_size=1, max_size=40))
def test_overwritten_bytes(healthy, known, kind, where, data):
    whole = healthy.contents[kind]
    start = int(where * (len(whole) - 1))
    read(healthy.folder, kind, whole[:start] + data + whole[start + len(data) :], known)


@examples(max_examples=60)
@given(kind=st.sampled_from(KINDS), share=st.floats(0, 0.95))
def test_cut_files(healthy, known, kind, share):
    whole = healthy.contents[kind]
    error = read(healthy.folder, kind, whole[: int(share * len(whole))], known)
    if kind.endswith(".mat"):
        assert error is not None


@examples(max_examples=100)
@given(text=st.text(alphabet=st.sampled_from('0123456789.,;\t\n\r"eE-+ naxyijkvoxel0hemi\x00é'), max_size=300))
def test_any_text(healthy, known, text):
    read(healthy.folder, "table.csv", ("voxel,x0,y0\n" + text).encode(), known)


@examples(max_examples=60)
@given(kind=st.sampled_from(KINDS), content=st.binary(max_size=400))
def test_any_bytes(healthy, known, kind, content):
    assert read(healthy.folder, kind, content, known) is not None


@pytest.mark.parametrize("number", ["1e999", "9" * 5000, "-inf", "nan", "0x10", "1_0", "٣"])
def test_odd_numbers(healthy, known, number):
    content = f"voxel,x0,y0\n0,1,1\n1,{number},2\n".encode()
    error = read(healthy.folder, "table.csv", content, known)
    assert error is None or isinstance(error, DataFormatError)
    error = read(healthy.folder, "table.csv", f"voxel,x0,y0\n{number},1,1\n".encode(), known)
    assert error is None or isinstance(error, DataFormatError)


def test_a_table_that_is_no_table_is_refused_unread(healthy, known, tmp_path):
    file = tmp_path / "huge.csv"
    with file.open("wb") as opened:
        opened.truncate(200 * 2**20)
    with pytest.raises(DataFormatError, match=r"huge\.csv: the table takes 200 MiB, expected at most 64"):
        read_columns(file)
