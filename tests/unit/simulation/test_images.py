import numpy as np
import pytest

from brain2pix.config.base import resolve
from brain2pix.config.simulation import SimulationSettings
from brain2pix.events import Cancelled
from brain2pix.simulation.crops import centre_box, crop
from brain2pix.simulation.images import make_stimuli, make_unpaired, permitted_images
from brain2pix.simulation.photos import PHOTO_SOURCES, photo

SMALL = {"n_train": 60, "n_unpaired": 80, "n_category_train": 12, "n_category_test": 12, "n_test": 50, "n_validation": 50}


def _settings(**changes):
    return resolve(SimulationSettings, "simulation", "tiny", changes={**SMALL, **changes})


@pytest.fixture(scope="module")
def stimuli():
    return make_stimuli(_settings())


def test_table_and_images_agree(stimuli):
    table = stimuli.table
    assert table.groupby("split").size().to_dict() == {"train": 60, "test": 50, "validation": 50, "category_train": 12, "category_test": 12}
    assert table["stimulus_id"].is_unique and not table.isna().any().any()
    assert stimuli.images.shape == (len(table), 32, 32, 3) and stimuli.images.dtype == np.uint8
    assert list(stimuli.by_id()) == table["stimulus_id"].tolist()


def test_test_photos_have_ten_crops_each(stimuli):
    test = stimuli.table[stimuli.table["split"] == "test"]
    assert test["source"].value_counts().to_dict() == dict.fromkeys(PHOTO_SOURCES["test"], 10)
    validation = stimuli.table[stimuli.table["split"] == "validation"]
    assert validation["source"].value_counts().to_dict() == {"china": 25, "motorcycle": 25}


def test_training_images_are_half_photos_half_leaves_from_training_sources(stimuli):
    train = stimuli.table[stimuli.table["split"] == "train"]
    assert (train["category"] == "leaves").sum() == (train["category"] == "photo").sum() == 30
    assert set(train["source"][train["category"] == "photo"]) <= set(PHOTO_SOURCES["train"])
    assert train["source"][train["category"] == "leaves"].str.startswith("leaves-").all()


@pytest.mark.parametrize(
    "make", [lambda: make_unpaired(_settings()), lambda: permitted_images(40, 32, 0), lambda: make_stimuli(_settings())]
)
def test_training_side_loads_no_held_out_photo(make, monkeypatch):
    """Whatever is read while training images are made is recorded: no test or validation photo may be among it."""
    import brain2pix.simulation.images as module

    read: list[tuple[str, str]] = []
    real, purpose = module.photo, ["?"]
    monkeypatch.setattr(module, "photo", lambda name: read.append((purpose[0], name)) or real(name))
    mixture = module._mixture

    def noted(name, *rest):
        purpose[0] = "training side"
        try:
            return mixture(name, *rest)
        finally:
            purpose[0] = "held out"

    monkeypatch.setattr(module, "_mixture", noted)
    make()
    seen = {name for side, name in read if side == "training side"}
    assert seen and seen <= set(PHOTO_SOURCES["train"])


def test_seed_changes_crops_and_never_the_split(stimuli):
    same, other = make_stimuli(_settings()), make_stimuli(_settings(seed=1))
    assert same.images.tobytes() == stimuli.images.tobytes() and same.table.equals(stimuli.table)
    columns = ["stimulus_id", "split"]
    assert other.table[columns].equals(stimuli.table[columns])
    for split in ("test", "validation"):
        rows = stimuli.rows(split)
        assert other.table["source"][rows].tolist() == stimuli.table["source"][rows].tolist()
        # the centred squares, the first of each photo, are all that two seeds share
        shared = {image.tobytes() for image in stimuli.images[rows]} & {image.tobytes() for image in other.images[rows]}
        assert len(shared) <= len(PHOTO_SOURCES[split])
    train = stimuli.rows("train")
    assert (other.images[train] != stimuli.images[train]).any(axis=(1, 2, 3)).mean() > 0.95


def test_unpaired_images_are_others_than_the_paired(stimuli):
    unpaired = make_unpaired(_settings())
    assert unpaired.shape == (80, 32, 32, 3)
    assert not {image.tobytes() for image in unpaired} & {image.tobytes() for image in stimuli.images}
    assert len({image.tobytes() for image in unpaired}) == 80
    assert 0.2 < unpaired.mean() / 255 < 0.6 and unpaired.std() / 255 > 0.18


def test_permitted_images_follow_their_arguments():
    one, same, other = permitted_images(30, 48, 5), permitted_images(30, 48, 5), permitted_images(30, 48, 6)
    assert one.shape == (30, 48, 48, 3) and (one == same).all() and (one != other).any()


def test_making_images_can_be_stopped():
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        make_unpaired(_settings(), stop)


def test_training_images_are_about_as_colourful_as_photos_they_never_show():
    def from_grey(images):
        images = images.astype(float)
        return np.abs(images - images.mean(axis=3, keepdims=True)).mean(axis=(1, 2, 3))

    photos = np.stack([crop(photo(name)[0], centre_box(photo(name)[0]), 32) for name in PHOTO_SOURCES["validation"]])
    distance = from_grey(permitted_images(200, 32, 0))
    assert 0.7 < np.median(distance) / np.median(from_grey(photos)) < 1.2
    assert 0.22 < (distance < 8).mean() < 0.5  # some are nearly grey, most are not
