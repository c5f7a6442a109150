"""Cached responses are those in memory, to the bit; a cache that is damaged, or cannot be written, costs time and nothing else."""

import logging
import os
import resource
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain2pix.config.preparation import PreparationSettings
from brain2pix.data import NativeContent, Space, betas, cache, open_subject, subject, training_data, write_native

MIB = 2**20
VOXELS = np.arange(60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Cache folder of this test; all responses are large."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "LARGE_BYTES", 0)
    return tmp_path / "home" / "napari-brain2pix" / "responses"


def in_memory(opened, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(cache, "LARGE_BYTES", 2**40)
        return training_data(opened, "all", **options)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("zscore", ["auto", "train", "session"])
def test_a_cache_holds_what_memory_holds(lab, folder, monkeypatch, average, zscore):
    preparation = PreparationSettings(zscore=zscore, average_repeats=average)
    lab.trials["stimulus_id"] = lab.trials["stimulus_id"].replace({"0007": "0003"})
    lab.edit_table(lab.h5_table, lambda table: table.assign(stimulus_id=lab.trials["stimulus_id"]))
    opened = open_subject(lab.root, zscore=zscore)
    expected = in_memory(opened, monkeypatch, preparation=preparation)
    assert not folder.exists()
    monkeypatch.setattr(subject, "BLOCK_BYTES", 4 * 22 * 7)  # seven voxels at a time
    monkeypatch.setattr(cache, "_ROWS_BYTES", 4 * 60 * 3)  # three rows
    data = training_data(opened, "all", preparation=preparation)
    assert isinstance(data.responses, np.memmap) and isinstance(data.repeats.values, np.memmap)
    np.testing.assert_array_equal(data.responses, expected.responses)
    np.testing.assert_array_equal(data.repeats.values, expected.repeats.values)
    assert len(data.responses) == (7 if average else 8) and data.repeats.values.shape == (12, 60)
    (file,) = folder.iterdir()
    assert file.name.startswith("mylab_sub-01_") and oct(file.stat().st_mode & 0o777) == oct(0o666 & ~umask())
    # numpy reads it too
    np.testing.assert_array_equal(np.load(file, mmap_mode="r"), np.concatenate([expected.responses, expected.repeats.values]))
    assert np.load(file).flags.c_contiguous


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_it_is_made_once_and_nothing_writes_to_it(lab, folder):
    first = training_data(open_subject(lab.root), "all")
    (file,) = folder.iterdir()
    made = file.stat()
    first.responses[:] = 7
    again = training_data(open_subject(lab.root), "all")
    np.testing.assert_array_equal(again.responses, lab.betas[:8])
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()] == [(made.st_ino, made.st_mtime_ns)]


def test_another_question_is_another_file(lab, folder):
    def ask(region="all", zscore="auto", **options):
        training_data(open_subject(lab.root, zscore=zscore), region, **options)
        return len(list(folder.iterdir()))

    assert ask() == 1
    assert ask(zscore="train", preparation=PreparationSettings(zscore="train")) == 2
    assert ask(region="V1") == 3
    assert ask(repeats_split=None) == 4
    assert ask(preparation=PreparationSettings(average_repeats=True)) == 5
    os.utime(lab.h5, ns=(1, 1))
    assert ask() == 6
    # the table says which trials are training trials, and with them what z-scores the responses
    lab.edit_table(lab.h5_table, lambda table: table.assign(split=table["split"].replace("validation", "other")))
    assert ask() == 6
    lab.edit_table(lab.h5_table, lambda table: table.assign(split=["train"] * 7 + ["other"] + list(table["split"][8:])))
    assert ask() == 7


DAMAGE = {
    "cut": lambda content: content[:-9],
    "without its checksum": lambda content: content[:-4],
    "one bit": lambda content: content[:400] + bytes([content[400] ^ 4]) + content[401:],
    "header": lambda content: content.replace(b"<f4", b">f4"),
    "empty": lambda content: b"",
    "longer": lambda content: content + b"0",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_made_again(lab, folder, kind):
    training_data(open_subject(lab.root), "all")
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[kind](whole))
    np.testing.assert_array_equal(training_data(open_subject(lab.root), "all").responses, lab.betas[:8])
    assert file.read_bytes() == whole


@given(st.binary(max_size=400), st.integers(0, 6), st.integers(0, 6))
def test_whatever_a_file_holds(tmp_path_factory, content, n_rows, n_columns):
    file = tmp_path_factory.getbasetemp() / "any.npy"
    for text in (content, cache._header((n_rows, n_columns)) + content):
        file.write_bytes(text)
        assert cache.open_cache(file, (n_rows, n_columns)) is None


def test_a_folder_that_cannot_be_written_is_no_obstacle(lab, folder, caplog):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file lies where the folder should be")
    with caplog.at_level(logging.WARNING):
        data = training_data(open_subject(lab.root), "all")
    np.testing.assert_array_equal(data.responses, lab.betas[:8])
    assert not isinstance(data.responses, np.memmap)
    assert f"responses are kept in memory: the cache {folder} cannot be written" in caplog.text


def test_a_full_disk_is_no_obstacle(lab, folder, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        data = training_data(open_subject(lab.root), "all")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(data.responses, lab.betas[:8])
    assert "no space left while writing" in caplog.text
    assert list(folder.iterdir()) == []


def test_a_damaged_subject_is_told_as_ever(lab, folder):
    opened = open_subject(lab.root)
    lab.h5.write_bytes(lab.h5.read_bytes()[:3000])
    with pytest.raises(Exception, match="cannot be read: truncated or not of this format"):
        training_data(opened, "all")
    assert not list(folder.glob("*"))


COMMAND = """
import sys
from pathlib import Path
from brain2pix.data import cache, open_subject, training_data
cache.LARGE_BYTES = 0
opened = open_subject(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(training_data(opened, "all").responses.sum(dtype="float64"))
"""


def test_processes_that_make_the_same_cache_do_not_meet(lab, folder):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", COMMAND, str(lab.root)], **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0] and not any("cache" in text[1] for text in said)
    expected = lab.betas[:8].sum(dtype="float64")
    assert [float(text[0]) for text in said] == pytest.approx([expected] * 3)
    assert len(list(folder.iterdir())) == 1


def test_small_responses_stay_in_memory(lab, folder, monkeypatch):
    monkeypatch.setattr(cache, "LARGE_BYTES", 4 * 60 * 20)  # exactly what they need
    assert not isinstance(training_data(open_subject(lab.root), "all").responses, np.memmap)
    monkeypatch.setattr(cache, "LARGE_BYTES", 4 * 60 * 20 - 1)
    assert isinstance(training_data(open_subject(lab.root), "all").responses, np.memmap)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A subject with 46 MB of responses, runs and sessions."""
    rng = np.random.default_rng(0)
    shape, n_trials = (30, 40, 20), 480
    ijk = np.argwhere(np.ones(shape, dtype=bool))
    ids = [f"i{n:03d}" for n in range(40)]
    content = NativeContent(
        subject="sub-01",
        name="wide",
        space=Space("T1w", np.diag([2.0, 2, 2, 1]), shape),
        voxels=pd.DataFrame(ijk, columns=list("ijk")).assign(hemi="L"),
        areas={"V1": np.arange(len(ijk)) % 3 == 0},
        responses=rng.standard_normal((n_trials, len(ijk)), dtype=np.float32),
        trials=pd.DataFrame(
            {"stimulus_id": np.tile(ids, 12), "split": "train", "run": np.arange(n_trials) // 40, "session": 1, "repeat": 1}
        ),
        stimuli=pd.DataFrame({"stimulus_id": ids, "category": "a", "split": "train"}),
        images={name: np.zeros((8, 8, 3), dtype=np.uint8) for name in ids},
        field_of_view_deg=10.0,
        unit="a.u.",
    )
    return write_native(tmp_path_factory.mktemp("wide") / "wide", content), content.responses


@pytest.mark.parametrize("region", ["all", "V1"])
def test_a_cache_is_made_in_bounded_memory(wide, folder, monkeypatch, region):
    """A third of the voxels, scattered, costs no more memory than all of them."""
    root, responses = wide
    monkeypatch.setattr(subject, "BLOCK_BYTES", MIB)
    monkeypatch.setattr(betas, "_READ_BYTES", MIB)
    monkeypatch.setattr(cache, "_ROWS_BYTES", MIB)
    preparation = PreparationSettings(zscore="run", average_repeats=region == "V1")
    tracemalloc.start()
    try:
        opened = open_subject(root, zscore="run")
        tracemalloc.reset_peak()
        data = training_data(opened, region, preparation=preparation)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(data.responses, np.memmap)
    assert peak < 14 * MIB < responses.nbytes / 3, f"{peak / MIB:.1f} MiB"
    voxels = data.subject.voxel_index[[0, 5000, -1]]
    groups = np.arange(480) // 40
    scaled = pd.DataFrame(responses[:, voxels]).groupby(groups).transform(lambda column: (column - column.mean()) / column.std(ddof=0))
    expected = scaled.groupby(np.tile(np.arange(40), 12)).mean() if region == "V1" else scaled
    np.testing.assert_allclose(data.responses[:, [0, 5000, -1]], expected, atol=1e-5)


@pytest.mark.parametrize("chunks", [None, (22, 7), (1, 60), (5, 16)])
def test_any_layout_of_the_file_is_read_the_same(lab, monkeypatch, chunks):
    with h5py.File(lab.h5, "a") as file:
        del file["betas"]
        file.create_dataset("betas", data=lab.betas, chunks=chunks)
    monkeypatch.setattr(betas, "_READ_BYTES", 4 * 22 * 10)
    monkeypatch.setattr(betas, "VOXELS_PER_CHUNK", 4)
    opened = open_subject(lab.root)
    for columns in (VOXELS, np.array([59, 0, 31, 30]), np.array([], dtype=int), np.array([12])):
        np.testing.assert_array_equal(opened.responses(None, columns), lab.betas[:, columns])


def test_blocks_are_the_whole(lab, monkeypatch):
    opened = open_subject(lab.root, zscore="train")
    monkeypatch.setattr(subject, "BLOCK_BYTES", 1)  # one voxel at a time
    rows, voxels = np.array([5, 2, 20]), np.array([40, 3, 17])
    found = list(opened.blocks(voxels, rows))
    assert [part for part, _ in found] == [slice(0, 1), slice(1, 2), slice(2, 3)]
    np.testing.assert_array_equal(np.concatenate([values for _, values in found], axis=1), opened.responses(rows, voxels))
