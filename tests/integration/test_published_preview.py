"""gaziv and beliy from published files to a trained system: the networks of preset `preview` at 56 px, five epochs of 24 pairs."""

import csv
import time

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from brain2pix.cli._main import run_arguments
from brain2pix.training.run_folder import load_model

pytestmark = pytest.mark.slow

VOXELS, N_TRAIN, N_TEST, REPEATS = 60, 24, 6, 5
LONGEST_S = 60  # of one core's time, for pairs, images and test responses together
FIVE_EPOCHS = {"encoder.n_steps": 15, "encoder.batch": 8, "encoder.check_every": 3, "decoder.n_steps": 15}
FIVE_EPOCHS |= {f"decoder.batch_{name}": 8 for name in ("pairs", "images", "fmri")}


def run(*arguments):
    return run_arguments([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """Files as they were published for 'fMRI on ImageNet' at 112 px; planted fields that see brightness, and noise."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("published")

    def pictures(count):
        fields = ndimage.gaussian_filter(rng.standard_normal((count, 112, 112, 3)), (0, 10, 10, 0), mode="wrap")
        return (fields / fields.std(axis=(1, 2, 3), keepdims=True) * 0.2 + 0.5).clip(0, 1)

    train, test = pictures(N_TRAIN), pictures(N_TEST)
    y, x = np.mgrid[:112, :112]
    places = rng.uniform(20, 92, (VOXELS, 2))
    fields = np.exp(-((y - places[:, :1, None]) ** 2 + (x - places[:, 1:, None]) ** 2) / 200)
    fields /= fields.sum(axis=(1, 2), keepdims=True)
    signals = [np.einsum("nhw,vhw->nv", each.mean(axis=3), fields, optimize=True) for each in (train, test)]
    mean, sd = signals[0].mean(axis=0), signals[0].std(axis=0)
    responses = (signals[0] - mean) / sd + 0.5 * rng.standard_normal((N_TRAIN, VOXELS))
    labels = np.repeat(np.arange(N_TEST), REPEATS)
    trials = ((signals[1] - mean) / sd)[labels] + 0.5 * rng.standard_normal((len(labels), VOXELS))
    averaged = np.stack([trials[labels == image].mean(axis=0) for image in range(N_TEST)])
    ceiling, snr = np.full(VOXELS, 0.8), np.ones(VOXELS)
    areas = {"V1": np.arange(VOXELS) < 20, "VC": np.ones(VOXELS, dtype=bool)}
    np.savez(folder / "sbj_1.npz", responses, trials, averaged, np.arange(N_TRAIN), labels, ceiling, snr, **areas)
    np.savez(folder / "images_112.npz", train_images=train, test_images=test)
    assert run("import", "god-npz", folder / "sbj_1.npz", folder / "subject") == 0
    for number, picture in enumerate(pictures(20)):
        place = folder / "subject" / "stimuli" / "unpaired" / f"class{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 255).round().astype(np.uint8)).save(place / f"{number}.jpg")
    return folder / "subject"


def metrics(folder, name):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [float(row["value"]) for row in csv.DictReader(file) if row["name"] == name]


@pytest.mark.parametrize("method", ["gaziv", "beliy"])
def test_preview_learns_in_a_minute_and_the_same_again(subject, tmp_path, method):
    folders = [tmp_path / "first", tmp_path / "second"]
    changes = [part for key, value in FIVE_EPOCHS.items() for part in ("--set", f"{key}={value}")]
    for folder in folders:
        began = time.process_time()  # not the clock: others may use the cores
        common = ("--preset", "preview", "--region", "VC", "--image-size", 56, "--device", "cpu", "--out", folder)
        assert run("train", subject, "--method", method, *common, *changes) == 0
        assert time.process_time() - began < LONGEST_S
    for loss in ("pairs", "images", "fmri"):
        assert np.isfinite(metrics(folders[0], loss)).all() and len(metrics(folders[0], loss)) > 0
    fit, held_out = metrics(folders[0], "fit"), metrics(folders[0], "held-out loss")
    assert fit[-1] < fit[0] and min(held_out) < held_out[0]
    first, second = (load_model(folder) for folder in folders)
    assert first.info.transductive == ("test responses without images", "SNR weights")
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(np.array_equal(value, second.state_dict()[key], equal_nan=True) for key, value in first.state_dict().items())
