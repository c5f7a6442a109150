"""A plan becomes cells, and every mistake in it is named with its place before anything starts."""

from pathlib import Path

import pytest

from brain2pix.config.sweep import Coordinates, SweepPlan, flatten
from brain2pix.errors import ConfigError, MissingDataError

PLAN = """
subjects = ["data/one", { path = "data/two", subject_name = "sub-02" }]
seeds = [0, 3]
regions = ["default", "V1 - outside", { name = "early", region = "V1 + V2" }]
device = "cpu"
train = { image_size = 32, training.previews = 0 }

[[methods]]
method = "ridge"
settings = { size = 8 }

[[methods]]
method = "gaziv"
name = "small"
preset = "tiny"
settings = { encoder.n_steps = 3, "decoder.n_steps" = 4 }

[[ablations]]
name = "full"

[[ablations]]
name = "supervised"
methods = ["small"]
settings = { decoder.n_steps = 2, weight_images = 0 }
train = { repeats_split = "null", encoder_from = { ablation = "full" } }

[[exclude]]
method = "ridge"
region = ["early", "V1 - outside"]

[[exclude]]
subject = "two_sub-02"
seed = 3
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        file = tmp_path / "plan.toml"
        file.write_text(text)
        return SweepPlan.from_file(file)

    return from_text


def test_cells_are_the_combinations_that_are_left(read):
    cells = read(PLAN).cells()
    at = [cell.at for cell in cells]
    assert len(set(at)) == len(at)
    # subject one: 2 seeds x (ridge: 1 region x 1, small: 3 regions x 2 ablations); subject two: half of it
    assert len(at) == 2 * (1 + 6) + 7
    assert {place.region for place in at if place.method == "ridge"} == {"default"}
    assert {place.seed for place in at if place.subject == "two_sub-02"} == {0}
    assert {place.method for place in at if place.ablation == "supervised"} == {"small"}


def test_a_cell_is_what_train_is_asked(read, tmp_path):
    cells = {cell.at: cell for cell in read(PLAN).cells()}
    at = Coordinates("two_sub-02", "small", "supervised", "V1 - outside", 0)
    params = cells[at].train
    assert params.subject == tmp_path / "data" / "two" and params.subject_name == "sub-02"
    assert (params.method, params.preset, params.region, params.seed, params.device) == ("gaziv", "tiny", "V1 - outside", 0, "cpu")
    assert params.settings == {"encoder.n_steps": 3, "decoder.n_steps": 2, "weight_images": 0}
    assert params.repeats_split is None and params.image_size == 32 and params.training.previews == 0
    assert cells[at].lenders == {"encoder_from": at._replace(ablation="full")}
    default = cells[Coordinates("one", "ridge", "full", "default", 3)].train
    assert (default.region, default.preset, default.repeats_split) == (None, "demo", "test")


def test_lenders_come_first(read):
    text = PLAN.replace('name = "full"\n', 'name = "late"\n', 1).replace('ablation = "full"', 'ablation = "z"')
    cells = read(text + '\n[[ablations]]\nname = "z"\n').cells()
    order = [cell.at for cell in cells]
    borrowers = [cell for cell in cells if cell.lenders]
    assert borrowers
    for cell in borrowers:
        assert order.index(cell.lenders["encoder_from"]) < order.index(cell.at)


def test_paths_count_from_the_plan(read, tmp_path):
    text = """
    subjects = ["../data/one"]
    [[methods]]
    method = "ridge"
    settings_file = "mine.toml"
    train.pairs_from = "runs/a"
    """
    params = read(text).cells()[0].train
    assert params.subject == tmp_path.parent / "data" / "one"
    assert params.settings_file == tmp_path / "mine.toml"
    assert params.pairs_from == tmp_path / "runs" / "a"


def test_methods_and_ablations_may_be_names(read):
    cells = read('subjects = ["a"]\nmethods = ["ridge", "retino"]\nablations = ["full", "again"]').cells()
    assert [cell.at for cell in cells] == [Coordinates("a", m, b, "default", 0) for m in ("ridge", "retino") for b in ("full", "again")]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds", "seed", ["plan.toml: unknown option 'seed'", "Did you mean 'seeds'"]),
        ("[0, 3]", "[0, -3]", ["seeds 2: a seed is 0 or more, got -3"]),
        ("[0, 3]", "[0, 0]", ["seeds: 0 stands there twice"]),
        ('method = "ridge"\n', 'methods = "ridge"\n', ["methods 1", "unknown option 'methods'. Did you mean 'method'?"]),
        ('name = "small"', 'name = "ridge"', ["methods: 'ridge' stands there twice; give each a name"]),
        ("image_size", "image_sizes", ["plan.toml, train: unknown parameter 'image_sizes'. Did you mean 'image_size'?"]),
        ("image_size = 32", "image_size = 3", ["train: option 'image_size'", "got 3"]),
        ("training.previews", "training.preview", ["train: unknown option 'training.preview'. Did you mean 'training.previews'?"]),
        ("repeats_split", "repeat_split", ["ablations 2 (supervised), train: unknown parameter 'repeat_split'", "'repeats_split'"]),
        ("repeats_split", "seed", ["ablations 2 (supervised), train: unknown parameter 'seed'"]),
        (
            'methods = ["small"]',
            'methods = ["smalls"]',
            ["ablations 2 (supervised), methods: unknown method 'smalls'. Did you"],
        ),
        (
            '{ ablation = "full" }',
            '{ ablation = "fully" }',
            ["ablations 2 (supervised), train.encoder_from, ablation", "'full'"],
        ),
        ('{ ablation = "full" }', '{ ablaton = "full" }', ["train.encoder_from: unknown axis 'ablaton'. Did you mean 'ablation'?"]),
        ('region = ["early"', 'region = ["earl"', ["exclude 1, region: unknown region 'earl'. Did you mean 'early'?"]),
        ('subject = "two_sub-02"\nseed = 3', "", ["exclude 2 would leave out every cell"]),
        ("seed = 3\n", "sed = 3\n", ["exclude 2: unknown option 'sed'. Did you mean 'seed'?"]),
        ('device = "cpu"', "evaluate = { split = ['test'] }", ["evaluate: unknown option 'split'. Did you mean 'splits'?"]),
        ('device = "cpu"', "maps = { sied = 'decoder' }", ["maps: unknown parameter 'sied'. Did you mean 'side'?"]),
        ('device = "cpu"', "maps = { side = 'decodr' }", ["maps: option 'side'", "'decodr'"]),
        ('subjects = ["data/one"', 'subjects = [["data/one"]', ["subjects 1", "got ['data/one']"]),
        ("subjects = [", "subjects = 3 # [", ["subjects: expected a list, got 3"]),
        ("seeds = [0, 3]", "seeds = [0, 3", ["plan.toml is not valid TOML"]),
    ],
)
def test_a_mistake_is_named_with_its_place(read, old, new, words):
    assert old in PLAN
    with pytest.raises(ConfigError) as error:
        read(PLAN.replace(old, new, 1))
    assert all(word in str(error.value) for word in ("plan.toml", *words)), str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('{ ablation = "full" }', '{ ablation = "supervised" }', ["would take an encoder from itself"]),
        (
            '{ ablation = "full" }',
            '{ ablation = "supervised", method = "ridge" }',
            ["(one, ridge, supervised", "the plan leaves out"],
        ),
        ("seed = 3\n", "seed = 3\n[[exclude]]\nseed = [0, 3]\n", ["leaves out every cell"]),
    ],
)
def test_cells_that_cannot_be_are_refused(read, old, new, words):
    plan = read(PLAN.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        plan.cells()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_the_plan_of_the_page_can_be_read(read):
    page = (Path(__file__).parents[3] / "docs" / "sweep.md").read_text(encoding="utf-8")
    plan = read(page.partition("```toml")[2].partition("```")[0])
    at = [cell.at for cell in plan.cells()]
    for axis in Coordinates._fields:
        assert {getattr(place, axis) for place in at} == set(plan.names(axis))
    assert not [place for place in at if place.subject == "nsd-2" and place.seed]


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.toml does not exist"):
        SweepPlan.from_file(tmp_path / "none.toml")


def test_flat_settings():
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e.f": 3, "g": {}}) == {"a.b": 1, "a.c.d": [2], "e.f": 3, "g": {}}
