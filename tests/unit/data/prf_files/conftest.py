"""A subject with surfaces and known receptive fields: the simulated one and its truth."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from brain2pix.data import Subject, open_subject
from brain2pix.simulation import load_truth

sys.path.append(str(Path(__file__).parent / "helpers"))


@dataclass
class Known:
    """What is true of the subject's voxels, float64 [v] (NaN without a field), and of the vertices that show them."""

    subject: Subject
    x0: np.ndarray
    y0: np.ndarray
    sigma: np.ndarray
    exponent: np.ndarray
    r2: np.ndarray

    @property
    def hemi(self):
        return self.subject.voxels["hemi"].to_numpy(dtype=str)

    @property
    def size(self):
        return self.sigma / np.sqrt(self.exponent)

    def on_vertices(self, hemi, values):
        place = self.subject.vertex_voxels(hemi)
        return np.where(place >= 0, np.asarray(values)[place], np.nan)


@pytest.fixture(scope="session")
def known(tiny_subject):
    truth, subject = load_truth(tiny_subject), open_subject(tiny_subject)
    assert np.array_equal(truth.ijk, subject.ijk)
    r2 = np.random.default_rng(3).uniform(0.2, 0.9, subject.n_voxels)
    r2[::40] = -0.05  # worse than the mean: cross-validated fits are
    # a template and a measured map speak of contralateral fields only: category voxels look wherever they were told to
    side = np.where(subject.voxels["hemi"] == "L", 1, -1)
    x0 = np.where(np.isfinite(truth.x0_deg), np.abs(truth.x0_deg) * side, np.nan)
    early = truth.area <= 3
    assert (np.sign(truth.x0_deg[early & (np.abs(truth.x0_deg) > 0.01)]) == side[early & (np.abs(truth.x0_deg) > 0.01)]).all()
    exponent = np.where(np.isfinite(truth.x0_deg), truth.exponent, np.nan)
    return Known(subject, x0, truth.y0_deg.copy(), truth.sigma_deg.copy(), exponent, r2)
