"""Reading trials of a study of NSD's size from a training cache, against a bare memory map of the same numbers, in turns.

27,750 trials of 15,724 voxels (1.75 GB), generated; a batch is 64 random trials. `numpy` reads rows of the array that training gets;
`torch` does it through torch, as the systems index it. Cold: both files were dropped from the page cache before each batch.
"""

import os
from time import perf_counter

import numpy as np
import pytest
import torch

from brain2pix.data.cache import open_cache, write_cache
from brain2pix.methods._sampling import take_rows

SHAPE = (27_750, 15_724)
BATCH = 64
WIDTH = 604  # columns of a block, as `Subject.blocks` cuts a study of this size


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A cache, written as for a training, and a plain file of numpy."""
    folder = tmp_path_factory.mktemp("cache")
    numbers = np.random.default_rng(0).standard_normal((SHAPE[0], WIDTH), dtype=np.float32)

    def blocks():
        for start in range(0, SHAPE[1], WIDTH):
            part = slice(start, min(start + WIDTH, SHAPE[1]))
            yield part, numbers[:, : part.stop - part.start] + start

    began = perf_counter()
    cached = write_cache(folder / "cached.npy", SHAPE, blocks())
    seconds = perf_counter() - began
    np.save(folder / "bare.npy", np.load(cached, mmap_mode="r"))
    yield cached, folder / "bare.npy", seconds
    for file in folder.iterdir():
        file.unlink()


def opened(files, way):
    """Array of the cache, and the bare one."""
    ours = open_cache(files[0], SHAPE)
    assert ours is not None
    return torch.from_numpy(ours) if way == "torch" else ours, np.load(files[1], mmap_mode="r")


def drop(file):
    """Forget the pages of a file."""
    with file.open("rb") as pages:
        os.fsync(pages.fileno())
        os.posix_fadvise(pages.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_turns(benchmark, files, way, rounds, cold):
    """Read batches from both, now one first and now the other; both medians and best times stand in the report."""
    rng = np.random.default_rng(1)
    arrays = dict(zip(("ours", "bare"), opened(files, way), strict=True))
    seconds = {"ours": [], "bare": []}

    def read(name):
        rows = rng.choice(SHAPE[0], BATCH, replace=False)
        array = arrays[name]
        began = perf_counter()
        if name == "ours" and way == "torch":
            take_rows(array, rows)  # as trainings do
        else:
            array[rows]
        seconds[name].append(perf_counter() - began)

    def both():
        if cold:
            arrays.update(zip(("ours", "bare"), opened(files, way), strict=True))  # pages that are mapped stay: mapped anew
            for file in files[:2]:
                drop(file)
        for name in ("ours", "bare") if len(seconds["ours"]) % 2 else ("bare", "ours"):
            read(name)

    benchmark.pedantic(both, rounds=rounds)
    for name, pick in (("median", np.median), ("best", min)):
        ours, bare = (1e3 * float(pick(seconds[key])) for key in ("ours", "bare"))
        benchmark.extra_info[name] = f"{ours:.2f} ms, bare {bare:.2f} ms: {bare / ours:.2f} of its speed"


@pytest.mark.benchmark(group="64 random trials of 15,724 voxels, warm")
@pytest.mark.parametrize("way", ["numpy", "torch"])
def test_warm(benchmark, files, way):
    for array in opened(files, way):  # every page is in memory, and in the map
        for start in range(0, SHAPE[0], 1000):
            array[start : start + 1000].sum()
    in_turns(benchmark, files, way, 500, cold=False)


@pytest.mark.benchmark(group="64 random trials of 15,724 voxels, cold")
@pytest.mark.parametrize("way", ["numpy", "torch"])
def test_cold(benchmark, files, way):
    in_turns(benchmark, files, way, 8, cold=True)


@pytest.mark.benchmark(group="opening the cache: its checksum is read")
def test_open(benchmark, files):
    benchmark.pedantic(lambda: open_cache(files[0], SHAPE), rounds=3)
    benchmark.extra_info["seconds to write it"] = round(files[2], 1)
