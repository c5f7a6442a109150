"""What an encoder says of images without responses is kept from one training to the next, and changes nothing in them."""

import dataclasses
import logging
import os

import numpy as np
import pytest
import torch

from brain2pix.config.training import TrainingSettings
from brain2pix.data.cache import cached_files
from brain2pix.events import CancelToken, Progress, ignore
from brain2pix.methods import predictions
from brain2pix.methods.base import TrainingContext
from brain2pix.methods.predictions import predict_responses
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.training.engine import seed_everything, train
from brain2pix.training.run_folder import RunFolder, load_model

N_IMAGES = 16


@pytest.fixture
def data(planted, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return dataclasses.replace(planted.data, unpaired=planted.data.unpaired[:N_IMAGES])


def settings_of(name, **changes):
    quick = {"backbone.name": "random", "image_loss.backbone.name": "random", "encoder.n_steps": 2, "decoder.n_steps": 2}
    quick |= {"encoder.solve_every": 2} if name != "beliy" else {}
    return resolve_settings(name, "tiny", changes=quick | {key.replace("__", "."): value for key, value in changes.items()})


def run(name, data, folder, lender=None, sink=ignore, **changes):
    seed_everything(0, "make")
    method = make_method(name, settings_of(name, **changes), [data.subject], data.image_size)
    if lender is not None:
        method.adopt_encoder(load_model(lender))
    train(method, data, TrainingContext(torch.device("cpu"), 0, sink, CancelToken()), RunFolder(folder), TrainingSettings(previews=1))
    return method


def predictions_made(events):
    return [event for event in events if isinstance(event, Progress) and "predicted responses" in event.label]


@pytest.mark.parametrize("name", ["gaziv", "beliy", "retino"])
def test_the_second_borrower_predicts_nothing_and_learns_the_same(data, tmp_path, name):
    lender = run(name, data, tmp_path / "lender")
    assert cached_files() == []  # nobody may ever take its encoder
    first = run(name, data, tmp_path / "first", tmp_path / "lender")
    (file,) = cached_files()
    # numpy reads it too, and it says what the lender says
    np.testing.assert_array_equal(np.load(file), predict_responses(lender, data.unpaired).astype(np.float32))
    seen = []
    second = run(name, data, tmp_path / "second", tmp_path / "lender", sink=seen.append)
    assert predictions_made(seen) == []
    one, other = first.state_dict(), second.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_other_images_or_another_encoder_are_another_file(data, tmp_path):
    run("beliy", data, tmp_path / "lender")
    run("beliy", data, tmp_path / "other", encoder__learning_rate=0.05)
    run("beliy", data, tmp_path / "a", tmp_path / "lender")
    run("beliy", data, tmp_path / "b", tmp_path / "lender", weight_fmri=0, snr_source="none")
    assert len(cached_files()) == 1
    run("beliy", data, tmp_path / "c", tmp_path / "other", encoder__learning_rate=0.05)
    assert len(cached_files()) == 2
    inverted = dataclasses.replace(data, unpaired=np.ascontiguousarray(255 - data.unpaired))
    run("beliy", inverted, tmp_path / "d", tmp_path / "lender")
    assert len(cached_files()) == 3


def test_a_damaged_file_is_made_again(data, tmp_path):
    run("beliy", data, tmp_path / "lender")
    whole = run("beliy", data, tmp_path / "a", tmp_path / "lender").state_dict()
    (file,) = cached_files()
    written = file.read_bytes()
    file.write_bytes(written[:-8] + bytes([written[-8] ^ 1]) + written[-7:])
    seen = []
    again = run("beliy", data, tmp_path / "b", tmp_path / "lender", sink=seen.append).state_dict()
    assert predictions_made(seen) and file.read_bytes() == written
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_cache_folder_that_cannot_be_written_stops_no_training(data, tmp_path, monkeypatch, caplog):
    run("beliy", data, tmp_path / "lender")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        run("beliy", data, tmp_path / "a", tmp_path / "lender")
    assert "predicted responses are not kept" in caplog.text and "cannot be written" in caplog.text


def test_what_was_used_longest_ago_makes_room(data, tmp_path, monkeypatch):
    for number in range(3):
        run("beliy", data, tmp_path / f"lender {number}", encoder__learning_rate=0.05 + number / 100)

    def borrow(number):
        before = set(cached_files())
        run(
            "beliy",
            data,
            tmp_path / f"run {number} {len(before)}",
            tmp_path / f"lender {number}",
            encoder__learning_rate=0.05 + number / 100,
        )
        return set(cached_files()) - before

    (first,), (second,) = borrow(0), borrow(1)
    for seconds, file in enumerate((first, second)):
        os.utime(file, (1000 + seconds, 1000 + seconds))
    assert borrow(0) == set()  # used again
    monkeypatch.setattr(predictions, "_KEPT_BYTES", 2 * first.stat().st_size)
    (third,) = borrow(2)
    assert set(cached_files()) == {first, third}
