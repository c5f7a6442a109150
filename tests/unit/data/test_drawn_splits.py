"""Drawn splits: what is held out was never seen in training, whatever the table looks like."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain2pix.config.importing import SplitParams
from brain2pix.data.drawn_splits import draw_splits
from brain2pix.errors import ConfigError, DataFormatError

TABLE = pd.DataFrame(
    {
        "stimulus_id": [f"image {n % 40}" for n in range(100)],
        "category": [f"category {n % 40 % 8}" for n in range(100)],
        "run": [1 + n // 10 % 5 for n in range(100)],
        "session": [1 + n // 50 for n in range(100)],
    }
)


def sides(trials, drawn, name):
    """For each value of a column, the splits of its kept trials."""
    kept = trials[drawn.kept].assign(split=drawn.split[drawn.kept])
    return kept.groupby(name)["split"].agg(set)


@pytest.mark.parametrize(("by", "name", "n_units"), [("image", "stimulus_id", 40), ("category", "category", 8)])
def test_shares_and_sides(by, name, n_units):
    drawn = draw_splits(TABLE, SplitParams(by=by, test_share=0.25, validation_share=0.125, seed=3))
    found = sides(TABLE, drawn, name)
    assert drawn.kept.all() and (found.map(len) == 1).all()
    counts = found.map(lambda one: next(iter(one))).value_counts()
    assert counts.to_dict() == {"train": n_units * 5 // 8, "test": n_units // 4, "validation": n_units // 8}
    assert f"{n_units * 5 // 8} for training, {n_units // 4} for test, {n_units // 8} for validation" in drawn.notes[0]


def test_runs_of_all_sessions_are_told_apart():
    drawn = draw_splits(TABLE, SplitParams(by="run", test_share=0.2, validation_share=0.1))
    runs = TABLE.assign(split=drawn.split).groupby(["session", "run"])["split"].agg(set)
    assert (runs.map(len) == 1).all() and runs.map(lambda one: next(iter(one))).value_counts().to_dict() == {
        "train": 7,
        "test": 2,
        "validation": 1,
    }
    assert (sides(TABLE, drawn, "stimulus_id").map(len) == 1).all()
    held = set(TABLE["stimulus_id"][drawn.split == "test"])
    assert not drawn.kept[(drawn.split != "test") & TABLE["stimulus_id"].isin(held)].any()
    assert drawn.kept[drawn.split == "test"].all()
    lost = ~drawn.kept
    assert f"{lost.sum()} trials of {TABLE['stimulus_id'][lost].nunique()} images are left out" in drawn.notes[1]


def test_images_of_one_source_stay_together():
    table = TABLE.assign(source=[None if n % 40 == 7 else f"photo {n % 40 // 4}" for n in range(100)])
    drawn = draw_splits(table, SplitParams(by="image", test_share=0.3))
    assert (sides(table, drawn, "source").map(len) == 1).all() and (sides(table, drawn, "stimulus_id").map(len) == 1).all()
    assert len(set(table["source"][drawn.split == "test"])) >= 2


def test_seeds_and_the_order_of_rows():
    params = SplitParams(by="image", test_share=0.25)
    first = draw_splits(TABLE, params).split
    np.testing.assert_array_equal(draw_splits(TABLE, params).split, first)
    order = np.random.default_rng(0).permutation(len(TABLE))
    np.testing.assert_array_equal(draw_splits(TABLE.iloc[order].reset_index(drop=True), params).split, first[order])
    assert (draw_splits(TABLE, SplitParams(by="image", test_share=0.25, seed=1)).split != first).any()


def test_a_small_share_holds_out_at_least_one():
    drawn = draw_splits(TABLE, SplitParams(by="category", test_share=0.01))
    assert TABLE["category"][drawn.split == "test"].nunique() == 1
    assert set(draw_splits(TABLE, SplitParams(by="category", test_share=0)).split) == {"train"}


def test_what_cannot_be_drawn():
    with pytest.raises(ConfigError, match=r"8 categories are too few for a test share of 0\.5 and a validation share of 0\.49"):
        draw_splits(TABLE, SplitParams(by="category", test_share=0.5, validation_share=0.49))
    with pytest.raises(ConfigError, match="leave nothing for training; their sum must be below 1"):
        draw_splits(TABLE, SplitParams(by="image", test_share=0.5, validation_share=0.5))
    with pytest.raises(DataFormatError, match=r"my\.tsv has no column category"):
        draw_splits(TABLE.drop(columns="category"), SplitParams(by="category"), "my.tsv")
    with pytest.raises(DataFormatError, match=r"2 trials have no category \(rows 1, 4\)"):
        draw_splits(TABLE.assign(category=[None if n in (0, 3) else "a" for n in range(100)]), SplitParams(by="category"))
    with pytest.raises(ConfigError, match="every image of the training runs is also shown in a held-out run"):
        draw_splits(TABLE.assign(stimulus_id="the same"), SplitParams(by="run"))


@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(1, 2)), min_size=1, max_size=40),
    by=st.sampled_from(["image", "category", "run"]),
    test_share=st.floats(0, 0.9),
    validation_share=st.floats(0, 0.5),
    seed=st.integers(0, 5),
)
def test_no_image_is_ever_on_two_sides(rows, by, test_share, validation_share, seed):
    table = pd.DataFrame(rows, columns=["number", "run", "session"])
    table["stimulus_id"], table["category"] = table["number"].map("image {}".format), table["number"].map(lambda n: f"category {n % 3}")
    try:
        drawn = draw_splits(table, SplitParams(by=by, test_share=test_share, validation_share=validation_share, seed=seed))
    except ConfigError:
        return
    assert (sides(table, drawn, "stimulus_id").map(len) == 1).all()
    assert (drawn.split[drawn.kept] == "train").any()
    assert (drawn.split == "test").any() == (test_share > 0)
