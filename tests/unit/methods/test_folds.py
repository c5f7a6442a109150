"""Decoders of folds and of several runs: which of them sees what, and which of them decodes what, for every system that has them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.config.training import TrainingSettings
from brain2pix.data.training import RepeatedResponses
from brain2pix.errors import ConfigError, DataFormatError, ShapeError
from brain2pix.events import CancelToken, Finished, Metric, ignore
from brain2pix.methods._folds import Folds
from brain2pix.methods._self_supervised import SelfSupervised
from brain2pix.methods.base import TrainingContext
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.training.engine import seed_everything, train
from brain2pix.training.run_folder import RunFolder, load_model, model_description

METHODS = ("gaziv", "beliy", "retino")
IDS = tuple(f"test-{number:02d}" for number in range(12))
PHOTOS = np.arange(12) // 3  # four photographs: folds of images 0-2, 6-8 and of 3-5, 9-11
PARTS = ((0, 1, 2, 6, 7, 8), (3, 4, 5, 9, 10, 11))
OF_OTHERS = ("responses of other test images", "SNR weights of other test images")


def settings_of(name, **changes):
    quick = {"backbone.name": "random", "image_loss.backbone.name": "random", "encoder.n_steps": 2, "decoder.n_steps": 3}
    quick |= {"encoder.batch": 6} | dict.fromkeys(("decoder.batch_pairs", "decoder.batch_images", "decoder.batch_fmri"), 3)
    quick |= {"encoder.solve_every": 2} if name != "beliy" else {}
    return resolve_settings(name, "tiny", changes=quick | {key.replace("__", "."): value for key, value in changes.items()})


@pytest.fixture(scope="module")
def data(planted):
    """Fewer voxels and images than others need: nothing has to be learned here."""
    few, full = slice(0, 20), planted.data
    repeats = RepeatedResponses(full.repeats.values[:, few], full.repeats.image_index, IDS, PHOTOS)
    return dataclasses.replace(
        full,
        subject=dataclasses.replace(full.subject, voxel_index=full.subject.voxel_index[few]),
        responses=full.responses[:24, few],
        images=full.images[:24],
        image_index=full.image_index[:24],
        groups=full.groups[:24],
        unpaired=full.unpaired[:16],
        repeats=repeats,
        areas={},
    )


@pytest.fixture(scope="module")
def means(data):
    """Mean test responses, [m v]."""
    return torch.from_numpy(data.repeats.mean())


def poisoned(data, images):
    """Replace the responses to some test images by huge numbers."""
    values = data.repeats.values.copy()
    values[np.isin(data.repeats.image_index, images)] = 1e6
    return dataclasses.replace(data, repeats=dataclasses.replace(data.repeats, values=values))


def make(name, data, settings):
    seed_everything(0, "make")
    return make_method(name, settings, [data.subject], data.image_size)


def run(name, data, folder, settings, cancel=None, sink=ignore, lender=None):
    context = TrainingContext(torch.device("cpu"), 0, sink, cancel or CancelToken())
    method = make(name, data, settings)
    if lender is not None:
        method.adopt_encoder(lender)
    return train(method, data, context, RunFolder(folder), TrainingSettings(previews=1)), method


def by_hand(method, number, values):
    """Pictures of one decoder, without anything that chooses decoders."""
    if method.name == "retino":
        return method.decoder.networks[number](method.decoder.linear_pictures(values))
    return method.decoders[number](values)


def tensors_of(method, number):
    module = method.decoder.networks[number] if method.name == "retino" else method.decoders[number]
    return module.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


class Counting(CancelToken):
    """Counts how often it is asked, and stops when it was asked too often."""

    def __init__(self, allowed=None):
        super().__init__()
        self.asked, self.allowed = 0, allowed

    def cancelled(self):
        self.asked += 1
        return (self.allowed is not None and self.asked > self.allowed) or super().cancelled()


@dataclasses.dataclass
class Whole:
    folder: Path
    method: SelfSupervised
    events: list
    asked: int


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Each system with two folds of two runs, trained once without a stop: name -> Whole."""
    made = {}

    def get(name):
        if name not in made:
            folder, events, counting = tmp_path_factory.mktemp(name) / "run", [], Counting()
            outcome, method = run(name, data, folder, settings_of(name, repeats__folds=2, decoder__n_runs=2), counting, events.append)
            assert outcome == "finished"
            made[name] = Whole(folder, method, events, counting.asked)
        return made[name]

    return get


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("fold", [0, 1])
def test_poisoned_responses_do_not_reach_the_decoders_that_decode_them(name, fold, data, trained):
    bad, clean = poisoned(data, PARTS[fold]), trained(name).method
    method, context = make(name, bad, clean.settings), TrainingContext(torch.device("cpu"), 0, ignore, CancelToken())
    method.adopt_encoder(clean)
    # those of fold 1 come last: then the others have been trained on the poison
    phases = list(method.phases(bad))[: 2 * fold + 2]
    weights = [walk(phase, context) for phase in phases]
    for number in range(len(phases)):
        assert same(tensors_of(method, number), tensors_of(clean, number)) == (number // 2 == fold)
    # signal over noise by hand, of the other fold's images alone
    repeats = data.repeats
    trials = [repeats.values[repeats.image_index == image].astype(np.float64) for image in PARTS[1 - fold]]
    ratio = np.var([each.mean(axis=0) for each in trials], axis=0, ddof=1) / np.mean([each.var(axis=0, ddof=1) for each in trials], axis=0)
    for own in weights[2 * fold :]:
        np.testing.assert_allclose(own, ratio / ratio.mean(), rtol=1e-4)


def walk(phase, context):
    """Train as the engine does, whatever the losses are; gives the voxels' SNR weights."""
    phase.prepare(context)
    weights = phase.snr
    phase.initialise(context)
    optimizer = phase.optimizer()
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(phase.n_steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * phase.learning_rate(step)
        optimizer.zero_grad(set_to_none=True)
        phase.loss(step)["total"].backward()
        optimizer.step()
        phase.after_step(step)
    phase.finish(context)
    return weights


@pytest.mark.parametrize("name", METHODS)
def test_each_row_is_decoded_by_the_decoders_that_never_saw_its_responses(name, trained, means, rng):
    method = trained(name).method
    order = rng.permutation(12)
    values = means[torch.from_numpy(order)]
    ids = [IDS[image] for image in order]
    ids[3], ids[7] = "", "train-0001"  # of no test image: all decoders
    with torch.no_grad():
        images = method.decode(VoxelBatch(values, stimulus_ids=tuple(ids)))
        single = torch.stack([by_hand(method, number, values) for number in range(4)])
        everything = method.decode(VoxelBatch(values))
    expected = {0: single[:2].mean(dim=0), 1: single[2:].mean(dim=0), None: single.mean(dim=0)}
    for row, name_ in enumerate(ids):
        fold = None if row in (3, 7) else int(IDS.index(name_) not in PARTS[0])
        torch.testing.assert_close(images[row], expected[fold][row].clamp(0, 1), rtol=1e-4, atol=1e-5)
        assert fold is None or not torch.allclose(images[row], everything[row], atol=1e-5)
    torch.testing.assert_close(everything, expected[None].clamp(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_runs_are_averaged_and_the_first_is_what_one_run_gives(name, data, means, tmp_path):
    _, one = run(name, data, tmp_path / "one", settings_of(name))
    _, two = run(name, data, tmp_path / "two", settings_of(name, decoder__n_runs=2), lender=one)
    assert same(tensors_of(two, 0), tensors_of(one, 0)) and not same(tensors_of(two, 1), tensors_of(two, 0))
    with torch.no_grad():
        mean = (by_hand(two, 0, means) + by_hand(two, 1, means)) / 2
        torch.testing.assert_close(two.decode(VoxelBatch(means, stimulus_ids=IDS)), mean.clamp(0, 1))
    assert two.info.folds == () and two.info.transductive == ("test responses without images", "SNR weights")
    # a system of one decoder stores what it always did
    assert "folds" not in one.state_dict() and not any(key.startswith("decoders.") for key in one.state_dict())


@pytest.mark.parametrize("name", METHODS)
def test_phases_have_names_of_their_own(name, trained):
    method, events = trained(name).method, trained(name).events
    names = ["decoder fold 1", "decoder fold 1 run 2", "decoder fold 2", "decoder fold 2 run 2"]
    assert [event.stage for event in events if isinstance(event, Finished)] == ["encoder", *names]
    assert {event.stage for event in events if isinstance(event, Metric)} >= set(names)
    assert [method.decoder_name(number) for number in range(4)] == names


@pytest.mark.parametrize("name", METHODS)
def test_saved_and_loaded_with_its_folds(name, trained, means):
    folder, method = trained(name).folder, trained(name).method
    again = load_model(folder)
    batch = VoxelBatch(means, stimulus_ids=IDS)
    with torch.no_grad():
        assert torch.equal(again.decode(batch), method.decode(batch))
    assert again.info.folds == method.info.folds == tuple(tuple(IDS[image] for image in part) for part in PARTS)
    assert again.info.transductive == OF_OTHERS
    about = model_description(folder)
    assert about["folds"] == [[IDS[image] for image in part] for part in PARTS] and about["transductive"] == list(OF_OTHERS)


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_resumed_is_the_same_system(name, data, trained, tmp_path):
    whole, settings = trained(name), trained(name).method.settings
    for allowed in (whole.asked * 2 // 3, whole.asked // 4, None):
        torch.manual_seed(0 if allowed is None else allowed)  # the state of the world does not matter
        outcome, method = run(name, data, tmp_path / "run", settings, Counting(allowed))
        assert outcome == ("finished" if allowed is None else "cancelled")
    assert same(method.state_dict(), whole.method.state_dict())


@pytest.mark.parametrize("name", METHODS)
def test_without_a_loss_on_test_responses_there_is_nothing_to_divide(name, data):
    method = make(name, data, settings_of(name, repeats__folds=2, weight_fmri=0))
    assert [phase.name for phase in method.phases(data)] == ["encoder", "decoder"]
    assert len(method.decoders) == 1 and method.info.folds == () and "folds" not in method.state_dict()


def test_excluded_images_stay_excluded_from_all_folds(data):
    method = make("gaziv", data, settings_of("gaziv", repeats__folds=2, repeats__exclude=(4,)))
    context = TrainingContext(torch.device("cpu"), 0, ignore, CancelToken())
    drawn = []
    for phase in list(method.phases(data))[1:]:
        phase.prepare(context)
        drawn.append(set(phase.sampler.images.tolist()))
    assert drawn == [{3, 5, 9, 10, 11}, {0, 1, 2, 6, 7, 8}]


@pytest.mark.parametrize(
    ("repeats", "folds", "message"),
    [
        (lambda repeats: None, 2, "repeats.folds is 2, but this training gets no test responses.*set repeats.folds to 0"),
        (
            lambda repeats: repeats,
            5,
            r"repeats.folds is 5, but the test images come from 4 photo.*set repeats.folds to 4 or less",
        ),
        (lambda repeats: dataclasses.replace(repeats, groups=PHOTOS * 0), 2, "come from 1 photograph.*set repeats.folds to 0"),
        (lambda repeats: RepeatedResponses(repeats.values, repeats.image_index), 2, "0 names are known for 12 images; give stimulus_ids"),
    ],
)
def test_images_that_cannot_be_divided_are_refused(data, repeats, folds, message):
    changed = dataclasses.replace(data, repeats=repeats(data.repeats))
    with pytest.raises(ConfigError, match=message):
        list(make("gaziv", changed, settings_of("gaziv", repeats__folds=folds)).phases(changed))


@pytest.mark.parametrize("name", METHODS)
def test_one_fold_is_refused(name):
    with pytest.raises(ConfigError, match=r"repeats.*folds must be 0 \(off\) or 2 and more"):
        settings_of(name, repeats__folds=1)


def test_damaged_or_other_folds_are_refused(trained, data):
    method = trained("gaziv").method
    state = {key: value.clone() for key, value in method.state_dict().items()}
    fresh = make("gaziv", data, method.settings)
    with pytest.raises(DataFormatError, match=r"stored parts of the test images cannot be read"):
        fresh.load_state_dict({**state, "folds": state["folds"][:-1]})
    with pytest.raises(DataFormatError, match=r"stores 1 parts of the test images, its settings say 2"):
        fresh.load_state_dict({**state, "folds": Folds((IDS,)).to_tensor()})
    with pytest.raises(DataFormatError, match=r"missing folds"):
        fresh.load_state_dict({key: value for key, value in state.items() if key != "folds"})


def test_names_of_any_script_are_kept():
    folds = Folds((("bild/ä 1.png", "写真\n2"), ('"x"',)))
    assert Folds.from_tensor(folds.to_tensor(), 2) == folds
    assert folds.of(["写真\n2", '"x"', "", "bild"]).tolist() == [0, 1, -1, -1]


def test_a_batch_needs_a_name_for_each_row():
    with pytest.raises(ShapeError, match="a batch of 3 responses needs one stimulus id each, got 2"):
        VoxelBatch(torch.zeros(3, 4), stimulus_ids=("a", "b"))
