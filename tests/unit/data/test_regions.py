"""Region expressions against Python's own sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain2pix.data import default_region, region_mask
from brain2pix.errors import ConfigError

N = 12
NAMES = ["V1", "V2v", "hV4", "LO", "roi.x", "a_b"]

areas_strategy = st.fixed_dictionaries({name: st.sets(st.integers(0, N - 1)) for name in NAMES})


def trees():
    """Expressions as (operator, left, right), or a name."""
    return st.recursive(st.sampled_from(NAMES), lambda inner: st.tuples(st.sampled_from(["+", "|", "&", "-"]), inner, inner), max_leaves=8)


def text_of(tree, draw_space):
    if isinstance(tree, str):
        return f'"{tree}"' if draw_space() == "" and tree == "LO" else tree
    operator, left, right = tree
    gap = draw_space()
    return f"({text_of(left, draw_space)}{gap}{operator}{gap}{text_of(right, draw_space)})"


def set_of(tree, areas):
    if isinstance(tree, str):
        return areas[tree]
    operator, left, right = tree
    a, b = set_of(left, areas), set_of(right, areas)
    return {"+": a | b, "|": a | b, "&": a & b, "-": a - b}[operator]


def as_masks(areas):
    return {name: np.isin(np.arange(N), list(members)) for name, members in areas.items()}


@given(trees(), areas_strategy, st.data())
def test_like_sets(tree, areas, data):
    text = text_of(tree, lambda: data.draw(st.sampled_from(["", " ", "  "])))
    expected = set_of(tree, areas)
    if expected:
        assert set(np.flatnonzero(region_mask(text, as_masks(areas)))) == expected
    else:
        with pytest.raises(ConfigError, match="selects no voxel"):
            region_mask(text, as_masks(areas))


@given(st.lists(st.tuples(st.sampled_from("+|-"), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)), min_size=1), areas_strategy)
def test_without_parentheses(parts, areas):
    """From left to right, & first."""
    first, *rest = parts
    text = " & ".join(first[1])
    expected = set.intersection(*(areas[name] for name in first[1]))
    for operator, names in rest:
        text += f" {operator} " + "&".join(names)
        other = set.intersection(*(areas[name] for name in names))
        expected = expected - other if operator == "-" else expected | other
    if expected:
        assert set(np.flatnonzero(region_mask(text, as_masks(areas)))) == expected
    else:
        with pytest.raises(ConfigError, match="selects no voxel"):
            region_mask(text, as_masks(areas))


MASKS = {
    "V1": np.array([1, 1, 0, 0], bool),
    "V2": np.array([0, 0, 1, 0], bool),
    "FFA": np.array([0, 1, 0, 0], bool),
    "empty": np.zeros(4, bool),
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"region expression is empty; write names joined by"),
        ("  ", r"region expression is empty"),
        ("V1 + FAF", r"region 'V1 \+ FAF': unknown area 'FAF'\. Did you mean 'FFA'\? Known: FFA, V1, V2, empty"),
        ("V1 & V2", r"selects no voxel \(voxels: V1 2, V2 1\)"),
        ("empty", r"region 'empty' selects no voxel"),
        ("V1 +", "it ends where an area name is expected"),
        ("(V1 + V2", "a parenthesis is not closed"),
        ("V1 V2", "unexpected 'V2'"),
        ("V1 + )", r"unexpected '\)' where an area name is expected"),
        ("V1 / V2", "unexpected '/'"),
        ("1V", "unexpected '1'"),
    ],
)
def test_messages(text, message):
    with pytest.raises(ConfigError, match=message):
        region_mask(text, MASKS)


def test_quoted_names_may_hold_any_sign():
    assert region_mask('"IPS-0" - V1', {"IPS-0": np.array([1, 1], bool), "V1": np.array([1, 0], bool)}).tolist() == [False, True]


def test_default_region_takes_what_there_is():
    assert default_region(dict.fromkeys(["V1", "V2", "V3", "outside", "FFA"])) == "V1 + V2 + V3 - outside"
    assert default_region(dict.fromkeys(["V1", "V3", "FFA"])) == "V1 + V3"
    assert default_region(dict.fromkeys(["FFA", "all"])) == "all"
