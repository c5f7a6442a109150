"""What every registered system must do, whoever wrote it: one suite, run for each name in the registry."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from brain2pix.arrays import SubjectInfo, VoxelBatch
from brain2pix.config.training import TrainingSettings
from brain2pix.data.training import RepeatedResponses, TrainingData
from brain2pix.errors import ConfigError, NotSupportedError, ShapeError
from brain2pix.events import CancelToken
from brain2pix.methods.base import TrainingContext
from brain2pix.methods.registry import METHODS, make_method, method_entry, resolve_settings, settings_class, settings_from_json
from brain2pix.training.engine import seed_everything, train
from brain2pix.training.run_folder import RunFolder, load_model

SIZE, N_VOXELS, N_IMAGES = 32, 24, 30

# Fewer steps than the preset `tiny`, so that the suite stays quick. A system that is not named here is tested as its preset says.
SHORT = {
    "gaziv": {"encoder.n_steps": 6, "encoder.check_every": 3, "encoder.dropout": 0.5, "decoder.n_steps": 6},
    "beliy": {"encoder.n_steps": 6, "encoder.check_every": 3, "decoder.n_steps": 6},
    "retino": {"encoder.n_steps": 6, "encoder.solve_every": 3, "decoder.n_steps": 6},
}

pytestmark = pytest.mark.parametrize("name", METHODS)


def make_data(seed=0):
    """Responses that follow the brightness of places in smooth pictures, with noise."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(4, SIZE - 4, (N_VOXELS, 2))

    def pictures(count):
        coarse = rng.integers(0, 256, (count, 8, 8, 3))
        return np.kron(coarse, np.ones((1, SIZE // 8, SIZE // 8, 1))).astype(np.uint8)

    def respond(images, noise):
        grey = images.mean(axis=3) / 255 - 0.5
        clean = np.stack([grey[:, y - 3 : y + 3, x - 3 : x + 3].mean(axis=(1, 2)) for y, x in centres], axis=1)
        return (4 * clean + noise * rng.standard_normal(clean.shape)).astype(np.float32)

    images, test = pictures(N_IMAGES), pictures(6)
    return TrainingData(
        subject=SubjectInfo("sub-01", np.arange(10, 10 + N_VOXELS), "of these voxels", "z-train", 12.0, True),
        responses=respond(images, 0.5),
        images=images,
        image_index=np.arange(N_IMAGES),
        groups=np.arange(N_IMAGES) // 3,
        unpaired=pictures(40),
        repeats=RepeatedResponses(respond(np.repeat(test, 4, axis=0), 0.5), np.repeat(np.arange(6), 4)),
        voxel_xyz=rng.standard_normal((N_VOXELS, 3)).astype(np.float32) * 20,
        areas={"V1": np.arange(N_VOXELS) < 12, "V2": np.arange(N_VOXELS) >= 12},
    )


def make(name, data, seed=0):
    seed_everything(seed, "make")
    return make_method(name, resolve_settings(name, "tiny", changes=SHORT.get(name, {})), [data.subject], data.image_size)


def run(name, folder, cancel=None, seed=0, data=None, training=None):
    data = data or make_data()
    context = TrainingContext(torch.device("cpu"), seed, lambda event: None, cancel or CancelToken())
    method = make(name, data, seed)
    return train(method, data, context, RunFolder(folder), TrainingSettings(**(training or {"previews": 1}))), method


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """Each system, trained once: name -> (run folder, method)."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "run"
            outcome, method = run(name, folder)
            assert outcome == "finished"
            made[name] = folder, method
        return made[name]

    return get


@pytest.fixture
def folder(trained_once, name):
    return trained_once(name)[0]


@pytest.fixture
def method(trained_once, name):
    return trained_once(name)[1]


@pytest.fixture
def voxels():
    return VoxelBatch(torch.from_numpy(make_data(1).responses[:5]), ("sub-01",) * 5)


class CancelAfter(CancelToken):
    """Asks for a stop at the n-th question, and counts the questions."""

    def __init__(self, questions):
        super().__init__()
        self.asked, self.questions = 0, questions

    def cancelled(self):
        self.asked += 1
        return self.asked > self.questions or super().cancelled()


def assert_same_state(first, second):
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


def test_decode_gives_pictures(method, voxels):
    images = method.decode(voxels)
    assert images.shape == (5, 3, SIZE, SIZE)
    assert images.dtype == torch.float32
    assert 0 <= images.min() and images.max() <= 1
    assert images.std() > 0, "every picture is the same grey"


def test_decode_repeats_itself(method, voxels):
    """Whatever the random generators say, and whatever was decoded before."""
    first = method.decode(voxels)
    torch.manual_seed(123)
    method.decode(VoxelBatch(torch.randn(3, N_VOXELS)))
    assert torch.equal(method.decode(voxels), first)


def test_decode_sees_each_row_alone(method, voxels):
    together = method.decode(voxels)
    alone = torch.cat([method.decode(VoxelBatch(row[None], ("sub-01",))) for row in voxels.values])
    assert torch.allclose(together, alone, atol=1e-4)
    reverse = method.decode(VoxelBatch(voxels.values.flip(0), voxels.subjects))
    assert torch.allclose(reverse.flip(0), together, atol=1e-4)


def test_decode_leaves_the_responses_alone(method, voxels):
    before = voxels.values.clone()
    method.decode(voxels)
    assert torch.equal(voxels.values, before)


def test_decode_depends_on_the_responses(method, voxels):
    assert not torch.allclose(method.decode(voxels), method.decode(replace(voxels, values=-voxels.values)))


def test_a_batch_of_other_voxels_is_refused(method, name):
    with pytest.raises(ShapeError, match=rf"{name} was trained on {N_VOXELS} voxels of sub-01, the batch has {N_VOXELS + 1}"):
        method.decode(VoxelBatch(torch.zeros(2, N_VOXELS + 1)))


def test_encode_or_say_that_there_is_no_encoder(method, name):
    images = torch.rand(4, 3, SIZE, SIZE)
    if not method.info.has_encoder:
        with pytest.raises(NotSupportedError, match=rf"{name} has no encoder"):
            method.encode(images)
        return
    images.requires_grad_(True)
    responses = method.encode(images)
    assert responses.values.shape == (4, N_VOXELS)
    (slope,) = torch.autograd.grad(responses.values[2].sum(), images)
    assert slope[2].abs().sum() > 0, "encode must be differentiable"
    assert slope[[0, 1, 3]].abs().sum() == 0, "pictures of a batch must not mix"
    with torch.no_grad():
        assert torch.allclose(method.encode(images).values, responses.values, atol=1e-5)


def test_info(method, name):
    info = method.info
    assert (info.name, info.image_size) == (name, SIZE)
    assert info.subjects[0].voxel_hash == "of these voxels"
    assert info.title and method_entry(name).title
    assert all(isinstance(use, str) for use in info.transductive)


def test_without_test_responses_nothing_is_transductive(name, tmp_path):
    """A system that was not given test responses either refuses, or does not claim to have used them."""
    data = replace(make_data(), repeats=None)
    try:
        _, method = run(name, tmp_path / "run", data=data)
    except (ValueError, ShapeError) as error:
        assert "repeat" in str(error) or "test" in str(error)
    else:
        assert method.info.transductive == ()


def test_saved_and_loaded(folder, method, voxels):
    loaded = load_model(folder)
    assert torch.equal(loaded.decode(voxels), method.decode(voxels))
    assert_same_state(loaded.state_dict(), method.state_dict())
    assert replace(loaded.info, subjects=()) == replace(method.info, subjects=())
    assert loaded.info.subjects[0].to_dict() == method.info.subjects[0].to_dict()
    if method.info.has_encoder:
        images = torch.rand(3, 3, SIZE, SIZE)
        with torch.no_grad():
            assert torch.equal(loaded.encode(images).values, method.encode(images).values)


def test_an_adopted_encoder_gives_what_training_it_again_gives(name, folder, method, tmp_path):
    """Or the system says that it has none to share."""
    data, context = make_data(), TrainingContext(torch.device("cpu"), 0, lambda event: None, CancelToken())
    borrower, lender = make(name, data), load_model(folder)
    if not method.info.has_encoder:
        with pytest.raises(NotSupportedError, match=rf"{name} has no encoder that another run could lend it"):
            borrower.adopt_encoder(lender)
        return
    phases = [phase.name for phase in borrower.phases(data)]
    borrower.adopt_encoder(lender)
    left = [phase.name for phase in borrower.phases(data)]
    assert 0 < len(left) < len(phases) and left == phases[-len(left) :]
    images = torch.rand(3, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(borrower.encode(images).values, method.encode(images).values)
    assert train(borrower, data, context, RunFolder(tmp_path / "run"), TrainingSettings(previews=0)) == "finished"
    assert_same_state(borrower.state_dict(), method.state_dict())


def test_an_encoder_of_other_voxels_is_refused(name, folder, method):
    data = make_data()
    other = make(name, replace(data, subject=replace(data.subject, voxel_hash="of other voxels")))
    with pytest.raises((ConfigError, NotSupportedError)) as caught:
        other.adopt_encoder(load_model(folder))
    assert isinstance(caught.value, ConfigError) == method.info.has_encoder


def test_settings_go_through_json(name, method):
    assert settings_from_json(name, method.settings.model_dump_json()) == method.settings
    assert settings_class(name).__doc__


def test_state_is_tensors_only(method):
    state = method.state_dict()
    assert state and all(isinstance(value, torch.Tensor) for value in state.values())
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


def test_training_changes_the_state(name, method):
    fresh = make(name, make_data()).state_dict()
    changed = [key for key, value in method.state_dict().items() if key not in fresh or not torch.equal(fresh[key], value)]
    assert changed


def test_same_seed_same_system(name, method, tmp_path):
    torch.manual_seed(99)  # the state of the world does not matter
    _, again = run(name, tmp_path / "again")
    assert_same_state(again.state_dict(), method.state_dict())


def test_cancelled_anywhere_and_resumed_is_the_same_system(name, method, tmp_path):
    """Stops at each of several questions; what comes out in the end is what an uninterrupted run gives, bit for bit."""
    counter = CancelAfter(10**9)
    run(name, tmp_path / "counted", counter)
    stops = sorted({1, 2, counter.asked // 3, counter.asked // 2, counter.asked - 1} - {0})
    for stop in stops:
        place = tmp_path / f"stopped-{stop}"
        outcome, _ = run(name, place, CancelAfter(stop))
        assert outcome == "cancelled", f"did not stop at question {stop} of {counter.asked}"
        assert not (place / "model").exists()
        torch.manual_seed(stop)
        outcome, resumed = run(name, place)
        assert outcome == "finished"
        assert_same_state(resumed.state_dict(), method.state_dict())


def test_a_run_that_is_stopped_again_and_again_ends_as_the_same_system(name, method, tmp_path):
    """Every attempt gets a little further and is then stopped."""
    allowed, outcome, resumed = 3, "cancelled", None
    while outcome == "cancelled":
        outcome, resumed = run(name, tmp_path / "run", CancelAfter(allowed), training={"previews": 0, "checkpoint_every_steps": 1})
        allowed += 2  # closed-form starts ask often and cannot be saved half-way
        assert allowed < 500
    assert_same_state(resumed.state_dict(), method.state_dict())
