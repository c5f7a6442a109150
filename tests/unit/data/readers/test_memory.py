"""Imports of any size take bounded memory: tens of megabytes of responses pass through blocks of one."""

import tracemalloc

import numpy as np
import pandas as pd
import published
import pytest
from published import God, Vim1

from brain2pix.data.readers import READERS, Choices, importing
from brain2pix.data.subject import open_subject

MIB = 2**20


@pytest.fixture(scope="module")
def large():
    """A subject with 18 MB of responses at float64."""
    patch = pytest.MonkeyPatch()
    patch.setattr(published, "GRID", (24, 24, 24))
    god = God(n_train=6, n_test=2, n_imagery=0, n_voxels=6_000)
    patch.undo()
    more = pd.DataFrame([(god.train[n % 6], "train", 9) for n in range(370)], columns=["stimulus_id", "split", "run"])
    god.trials = pd.concat([god.trials, more], ignore_index=True)
    god.responses = np.concatenate([god.responses, np.random.default_rng(0).standard_normal((370, 6_000))])
    return god


def imported(kind, path, choices, out):
    """Import, and give the largest memory that was held meanwhile."""
    tracemalloc.start()
    try:
        with READERS[kind].open(path, choices) as dataset:
            importing.import_dataset(dataset, out, choices)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "write", "name"),
    [
        ("god-matlab", "write_matlab", "Subject1.mat"),
        ("god-hdf5", "write_hdf5", "Subject1.h5"),
        ("god-npz", "write_npz", "sbj_1.npz"),
    ],
)
def test_import(large, tmp_path, monkeypatch, kind, write, name):
    monkeypatch.setattr(importing, "BLOCK_BYTES", MIB)
    change = {"arr_3": np.arange(376) % 6} if kind == "god-npz" else {}
    path = getattr(large, write)(tmp_path / name, **change)
    if kind == "god-npz":
        large.write_npz_images(tmp_path / "images_112.npz")
    images = None if kind == "god-npz" else large.write_images(tmp_path / "pictures")
    peak = imported(kind, path, Choices(images=images), tmp_path / "out")
    # two blocks, a piece of the file, the metadata and the tables
    assert peak < 13 * MIB < large.responses.nbytes / 1.2, f"{peak / MIB:.1f} MiB"
    order = [*np.flatnonzero(large.trials["split"] == "train"), *np.flatnonzero(large.trials["split"] == "test")]
    rows = order if kind == "god-npz" else slice(None)
    np.testing.assert_array_equal(
        open_subject(tmp_path / "out")._betas.read(np.arange(5000, 5300)), large.responses[rows, 5000:5300].astype(np.float32)
    )


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_vim1(tmp_path, monkeypatch, version):
    monkeypatch.setattr(importing, "BLOCK_BYTES", MIB)
    vim1 = Vim1(n_train=200, n_validation=20, n_voxels=12_000)
    path = vim1.write_responses(tmp_path / "EstimatedResponses.mat", version=version, dataTrnS2=None, dataValS2=None)
    vim1.write_stimuli(tmp_path / "Stimuli.mat")
    peak = imported("vim-1", path, Choices(n_train=200, n_validation=20), tmp_path / "out")
    assert peak < 10 * MIB < vim1.train.nbytes / 1.5, f"{peak / MIB:.1f} MiB"
