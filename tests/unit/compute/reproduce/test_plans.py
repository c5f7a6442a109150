"""Every plan of every method is made of real presets and settings, and its rows name cells that it has."""

import pytest

from brain2pix.compute.reproduce.compare import claims_of
from brain2pix.compute.reproduce.plans import MAIN, METHODS, PLANS, WITHOUT, make_plan, rows_of, sweep_plan, variants_of
from brain2pix.config.run import TrainParams
from brain2pix.config.sweep import SubjectEntry
from brain2pix.errors import ConfigError
from brain2pix.methods.registry import resolve_settings

REGIONS = {MAIN: "VC", "V1": "V1", "LVC": "V1 + V2 + V3", "HVC": "HVC", f"{WITHOUT}V1": "VC - V1"}
FOLDS = [[0, 2, 4], [1, 3]]


def made(method, name, **more):
    plan = make_plan(name, method, image_size=64, **more)
    sweep = sweep_plan(plan, SubjectEntry(path="."), REGIONS, FOLDS, "cpu")
    sweep.check()
    lacking = {each: "not in this subject" for each in plan.regions if each not in (*REGIONS, "VC")}
    rows = rows_of(plan, {**REGIONS, "VC": "VC"}, ["VC"], lacking, len(FOLDS))
    return plan, sweep.cells(), rows


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("image_size", [32, 112])
def test_every_cell_resolves(method, name, image_size):
    plan = make_plan(name, method, image_size=image_size)
    cells = sweep_plan(plan, SubjectEntry(path="."), REGIONS, FOLDS, "cpu").cells()
    assert cells
    for cell in cells:
        params = TrainParams.model_validate(cell.train.model_dump())
        settings = resolve_settings(params.method, params.preset, params.settings_file, params.settings)
        assert type(settings).__name__.lower().startswith(method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PLANS)
def test_each_row_has_its_cells_and_each_cell_a_row(method, name):
    _, cells, rows = made(method, name)
    there = {cell.at for cell in cells}
    used = {at for row in rows for run in row.runs for at in run}
    assert used == there
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PLANS)
def test_the_claims_speak_of_rows(method, name):
    plan, _, rows = made(method, name)
    names = {row.name for row in rows} | {"1 repeat", "all repeats"}
    claims = claims_of(plan)
    assert {side for claim in claims for side in (claim.better, claim.worse)} <= names
    assert any(claim.within and claim.worse == f"{WITHOUT}V1" for claim in claims)


@pytest.mark.parametrize("method", METHODS)
def test_what_test_responses_each_variant_sees(method):
    cells = {(cell.at.ablation, cell.at.region, cell.at.seed): cell.train for cell in made(method, "short")[1]}
    settings = {key: resolve_settings(method, each.preset, None, each.settings) for key, each in cells.items()}
    full, images, supervised = ((name, MAIN, 0) for name in ("full", "images", "supervised"))
    assert cells[full].repeats_split == "test" and settings[full].weight_fmri > 0
    for key in (images, supervised):
        assert cells[key].repeats_split is None and settings[key].weight_fmri == 0 and settings[key].snr_source == "none"
    assert settings[images].weight_images > 0 and settings[supervised].weight_images == 0 and settings[supervised].weight_pairs > 0
    excluded = [settings["excluded 1", MAIN, 0].repeats.exclude, settings["excluded 2", MAIN, 0].repeats.exclude]
    assert [list(each) for each in excluded] == FOLDS


@pytest.mark.parametrize("method", METHODS)
def test_snr_weights_are_never_made_of_one_repeat(method):
    settings = [resolve_settings(method, "released", None, dict(each.settings)) for each in variants_of(method, "released", {})]
    assert {each.repeats.max_repeats for each in settings} == {None, 1, 5, 15}
    assert all(each.snr_source == "none" for each in settings if each.repeats.max_repeats == 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_encoder_is_trained_once_for_each_seed_and_region(method):
    """Only `full`, areas, and what changes the encoder itself train one; what needs none takes none."""
    for name in PLANS:
        for cell in made(method, name)[1]:
            owns = cell.at.ablation in ("full", "no shift", "supervised")
            assert cell.lenders == ({} if owns else {"encoder_from": cell.at._replace(ablation="full")})


def test_feature_blocks_are_added_one_by_one():
    settings = [resolve_settings("gaziv", "released", None, dict(each.settings)) for each in variants_of("gaziv", "released", {})]
    seen = {tuple(weight > 0 for weight in each.image_loss.perceptual) for each in settings}
    assert seen == {tuple(block < n for block in range(5)) for n in range(6)}


def test_runs_are_those_of_the_papers():
    assert make_plan("paper", "beliy", image_size=112, data="GOD").runs == 20
    assert make_plan("paper", "beliy", image_size=112, data="vim-1").runs == 10
    assert make_plan("paper", "gaziv", image_size=112, data="GOD").runs == 1
    plan, cells, rows = made("beliy", "paper", runs=3)
    seeds = {
        name: sorted(cell.at.seed for cell in cells if cell.at.ablation == name and cell.at.region == MAIN) for name in ("full", "no shift")
    }
    assert plan.runs == 3 and seeds == {"full": [0, 1, 2], "no shift": [0]}
    averaged = next(row for row in rows if row.name == "excluded, 3 runs")
    assert [[(at.ablation, at.seed) for at in run] for run in averaged.runs] == [
        [("excluded 1", seed), ("excluded 2", seed)] for seed in range(3)
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PLANS)
def test_grey_stimuli_are_decoded_grey(method, name):
    for data, channels in (("vim-1", 1), ("GOD", 3)):
        cells = made(method, name, data=data, runs=1)[1]
        found = {resolve_settings(method, each.train.preset, None, each.train.settings).decoder.out_channels for each in cells}
        assert found == {channels}


@pytest.mark.parametrize(
    ("name", "method", "more", "message"),
    [
        ("shrot", "gaziv", {}, "unknown plan 'shrot'. Did you mean 'short'"),
        ("short", "bely", {}, "unknown paper to reproduce 'bely'. Did you mean 'beliy'"),
        ("short", "gaziv", {"runs": 0}, "runs must be 1 or more, got 0"),
    ],
)
def test_mistakes_are_told(name, method, more, message):
    with pytest.raises(ConfigError) as caught:
        make_plan(name, method, image_size=64, **more)
    assert message in str(caught.value)
