"""Settings are layered and every mistake is named with the nearest valid word."""

import pytest
from pydantic import Field

from brain2pix.config.base import Settings, build, merge, nest, preset_names, resolve
from brain2pix.config.beliy import BeliySettings
from brain2pix.config.export import ExportSettings
from brain2pix.config.simulation import SimulationSettings
from brain2pix.errors import ConfigError, MissingDataError


class Inner(Settings):
    rate: float = Field(0.1, gt=0)


class Outer(Settings):
    inner: Inner = Inner()
    steps: int = Field(3, ge=1)


class Uppermost(Settings):
    outer: Outer = Outer(inner=Inner(rate=0.7), steps=9)
    needed: str


def test_a_group_given_in_part_keeps_the_rest_of_its_own_defaults(tmp_path):
    (tmp_path / "mine.toml").write_text("needed = 'x'\nouter.steps = 4\n")
    made = resolve(Uppermost, "nothing", file=tmp_path / "mine.toml")
    assert made == Uppermost(needed="x", outer=Outer(inner=Inner(rate=0.7), steps=4))
    assert resolve(Uppermost, "nothing", changes={"needed": "x", "outer.inner": {}}).outer == Uppermost(needed="x").outer
    # the released program of Beliy et al. keeps each repeat by chance, whatever else is said of repeats
    assert resolve(BeliySettings, "beliy", "tiny", changes={"repeats.folds": 2}).repeats.mode == "bernoulli"


def test_preset_file_and_override_are_layered_in_this_order(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("n_train = 100\nn_unpaired = 77\n")
    made = resolve(SimulationSettings, "simulation", "tiny", file, {"n_train": "48"})
    assert (made.voxel_mm, made.n_unpaired, made.n_train) == (4.0, 77, 48)


def test_every_shipped_preset_is_valid():
    names = preset_names("simulation")
    assert names == ["tiny", "demo", "full", "hard"]
    for name in names:
        resolve(SimulationSettings, "simulation", name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inner.rat": 1}, ["unknown option 'inner.rat'", "'inner.rate'"]),
        ({"step": 1}, ["unknown option 'step'", "'steps'"]),
        ({"inner.rate": -1}, ["'inner.rate'", "greater than 0", "-1"]),
        ({"steps": "many"}, ["'steps'", "integer", "'many'"]),
    ],
)
def test_a_wrong_option_is_named_with_what_is_valid(changes, words):
    with pytest.raises(ConfigError) as error:
        Outer().with_changes(changes)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_bad_item_of_a_list_is_told_once():
    with pytest.raises(ConfigError) as error:
        build(ExportSettings, {"folder": "a", "out": "b", "what": ["map"]})
    assert "'what.0'" in str(error.value) and ";" not in str(error.value)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown simulation preset 'dmeo'\. Did you mean 'demo'\? Known: demo, full, hard, tiny\."):
        resolve(SimulationSettings, "simulation", "dmeo")


def test_a_settings_file_must_exist_and_be_toml(tmp_path):
    with pytest.raises(MissingDataError, match=r"nowhere\.toml does not exist"):
        resolve(SimulationSettings, "simulation", file=tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("n_train = = 3")
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
        resolve(SimulationSettings, "simulation", file=tmp_path / "bad.toml")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Outer().steps = 5


def test_dotted_keys_nest_and_merge():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, nest({"a.b": 9})) == {"a": {"b": 9, "c": 2}, "d": 3}
