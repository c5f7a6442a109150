from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain2pix.arrays import RetinotopicMap, SubjectInfo, VoxelBatch
from brain2pix.config.stimulation import QUADRANTS
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError, ShapeError
from brain2pix.methods.base import MethodInfo
from brain2pix.stimulation import (
    ResponseSpace,
    StimulationRecord,
    decode_function,
    fit_space,
    make_record,
    pixel_centres_deg,
    quadrant_experiment,
    quadrant_masks,
    read_record,
    replay,
    stimulate,
    write_record,
)

N_VOXELS = 120


@pytest.fixture
def planted(rng: np.random.Generator) -> RetinotopicMap:
    """Voxels whose receptive fields lie well inside the quadrants."""
    x, y = (rng.choice([-1, 1], N_VOXELS) * rng.uniform(1.5, 4.5, N_VOXELS) for _ in range(2))
    ones = np.ones(N_VOXELS, np.float32)
    return RetinotopicMap(x.astype(np.float32), y.astype(np.float32), ones, ones, 12.0)


def painter(prf_map: RetinotopicMap, sigma_deg: float) -> Any:
    """A decoder whose answer is known: each voxel paints a blob at its receptive field."""
    x, y = pixel_centres_deg(24, 24, 12.0)
    across = np.exp(-((x - prf_map.x0_deg[:, None]) ** 2) / (2 * sigma_deg**2))
    down = np.exp(-((y - prf_map.y0_deg[:, None]) ** 2) / (2 * sigma_deg**2))
    blobs = down[:, :, None] * across[:, None, :]

    def decode(patterns: np.ndarray) -> np.ndarray:
        return np.repeat(0.5 + 1e-3 * np.einsum("bv,vhw->bhw", patterns, blobs)[:, None], 3, axis=1)

    return decode


@pytest.fixture
def space(rng: np.random.Generator) -> ResponseSpace:
    return fit_space(rng.normal(size=(300, N_VOXELS)), rng.normal(size=(100, N_VOXELS)), n_components=10)


def test_a_local_decoder_changes_the_stimulated_quadrant(planted: RetinotopicMap, space: ResponseSpace, rng: np.random.Generator) -> None:
    base = 0.3 * rng.normal(size=(4, N_VOXELS))
    result = quadrant_experiment(painter(planted, 0.6), base, quadrant_masks(planted), space, n_controls=5)
    assert result.quadrant_share > 0.97
    assert result.control_share == pytest.approx(0.25, abs=0.06)
    assert sum(result.n_voxels.values()) == N_VOXELS
    for quadrant in QUADRANTS:
        assert result.excess[quadrant] == pytest.approx(1, abs=1e-4)  # as strong as the limit allows
        assert (result.amplitudes[quadrant] > 0).all()
    wide = quadrant_experiment(painter(planted, 4.0), base, quadrant_masks(planted), space, n_controls=0)
    assert 0.25 < wide.quadrant_share < 0.75
    assert np.isnan(wide.control_share)


def test_a_mirrored_decoder_fails(planted: RetinotopicMap, space: ResponseSpace, rng: np.random.Generator) -> None:
    mirrored = RetinotopicMap(-planted.x0_deg, planted.y0_deg, planted.sigma_deg, planted.quality, 12.0)
    result = quadrant_experiment(painter(mirrored, 0.6), rng.normal(size=(2, N_VOXELS)), quadrant_masks(planted), space, n_controls=0)
    assert result.quadrant_share < 0.03


def test_a_base_pattern_out_of_range_is_left_alone(planted: RetinotopicMap, space: ResponseSpace, rng: np.random.Generator) -> None:
    base = rng.normal(size=(3, N_VOXELS)) * np.array([[0.3], [9.0], [0.3]])
    result = quadrant_experiment(painter(planted, 0.6), base, quadrant_masks(planted), space, n_controls=0)
    for quadrant in QUADRANTS:
        assert np.isnan(result.shares[quadrant]).tolist() == np.isnan(result.amplitudes[quadrant]).tolist() == [False, True, False]
    assert result.quadrant_share > 0.97


def test_amplitude_may_be_given_and_silence_has_none(planted: RetinotopicMap, space: ResponseSpace, rng: np.random.Generator) -> None:
    base = rng.normal(size=(2, N_VOXELS))
    given = quadrant_experiment(painter(planted, 0.6), base, quadrant_masks(planted), space, amplitude=1.5, n_controls=0)
    assert {float(value) for part in given.amplitudes.values() for value in part} == {1.5}
    silenced = quadrant_experiment(painter(planted, 0.6), base, quadrant_masks(planted), space, mode="silence", n_controls=0)
    assert silenced.quadrant_share > 0.97


def test_controls_repeat_with_their_seed(planted: RetinotopicMap, space: ResponseSpace, rng: np.random.Generator) -> None:
    base = rng.normal(size=(2, N_VOXELS))
    shares = [
        quadrant_experiment(painter(planted, 0.6), base, quadrant_masks(planted), space, seed=seed).control_share for seed in (1, 1, 2)
    ]
    assert shares[0] == shares[1] != shares[2]


def test_an_empty_quadrant_is_refused(planted: RetinotopicMap, space: ResponseSpace) -> None:
    masks = quadrant_masks(planted, planted.x0_deg > 0)
    with pytest.raises(ConfigError, match="no voxel in scope sees the upper left quadrant"):
        quadrant_experiment(painter(planted, 0.6), np.zeros((1, N_VOXELS)), masks, space)


class Echo:
    """A decoder that paints the mean response."""

    def __init__(self, info: SubjectInfo) -> None:
        self.info = MethodInfo("echo", "Echo", 2, (info,), has_encoder=False)

    def decode(self, voxels: VoxelBatch) -> torch.Tensor:
        assert voxels.subjects == ("sub-07",) * len(voxels)
        return voxels.values.mean(dim=1)[:, None, None, None].expand(-1, 3, 2, 2)

    def encode(self, images: torch.Tensor) -> VoxelBatch:
        raise NotImplementedError


@pytest.fixture
def info() -> SubjectInfo:
    return SubjectInfo("sub-07", np.arange(5), "abc", "z-train", 12.0, True)


def test_any_decoder_becomes_a_function(info: SubjectInfo) -> None:
    decode = decode_function(Echo(info))
    images = np.asarray(decode(np.arange(10, dtype=np.float32).reshape(2, 5)))
    assert images.shape == (2, 3, 2, 2)
    assert images[:, 0, 0, 0].tolist() == [2, 7]


def test_a_record_replays_to_the_same_pattern(tmp_path: Path, info: SubjectInfo, rng: np.random.Generator) -> None:
    mask = np.array([True, False, False, True, False])
    record = make_record(info, mask, "add", 1.25, method="gaziv", base="astronaut_3", region="V1, upper left", excess=0.9, percentile=0.91)
    write_record(tmp_path / "stimulation.json", record)
    back = read_record(tmp_path / "stimulation.json")
    assert back == record
    assert back.simulated
    assert back.statement == "prediction of a model, not of a brain"
    values = rng.normal(size=(3, 5))
    assert (replay(back, values, info) == stimulate(values, mask, "add", 1.25)).all()


def test_a_record_of_other_voxels_is_refused(info: SubjectInfo) -> None:
    record = make_record(info, np.ones(5, bool), "set", 1.0, method="ridge", base="mean", region="all")
    other = SubjectInfo("sub-07", np.arange(5)[::-1].copy(), "abd", "z-train", 12.0, True)
    with pytest.raises(ShapeError, match="another selection or order; open the model that it names"):
        replay(record, np.zeros((1, 5)), other)


def test_broken_records_are_named(tmp_path: Path, info: SubjectInfo) -> None:
    file = tmp_path / "stimulation.json"
    with pytest.raises(MissingDataError, match="does not exist"):
        read_record(file)
    file.write_text("[")
    with pytest.raises(DataFormatError, match="is not valid JSON"):
        read_record(file)
    file.write_text('{"version": 2}')
    with pytest.raises(DataFormatError, match=r"is not a stimulation record: version: .*; subject: Field required"):
        read_record(file)
    record = make_record(info, np.ones(5, bool), "set", 1.0, method="ridge", base="mean", region="all")
    write_record(file, StimulationRecord.model_validate(record.model_dump() | {"voxels": (5,)}))
    with pytest.raises(DataFormatError, match=r"voxels must lie in 0\.\.4, got 5\.\.5"):
        read_record(file)
