"""Published numbers stand beside what measures them, with why they cannot be compared."""

import pytest

from brain2pix.compute.reproduce.published import PUBLISHED, Circumstances, data_of, not_comparable, person_of

SAME = Circumstances("GOD", 3, simulated=False, short=False, runs={"full": 20})


def entry(method, value):
    return next(each for each in PUBLISHED[method] if each.value.startswith(value))


def test_each_has_a_source_and_a_place():
    for entries in PUBLISHED.values():
        for each in entries:
            assert each.source and each.value and (len(each.at) == 3 or "people" in each.quantity)


def test_pixels_never_stand_beside_perceptual_numbers():
    assert all("pixel" not in each.at[2] for each in PUBLISHED["gaziv"] if each.at)
    assert all("vgg" not in each.at[2] for each in PUBLISHED["beliy"] if each.at)


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        (Circumstances("", 1, simulated=True, short=False, runs={"full": 20}), "simulated"),
        (Circumstances("vim-1", 1, simulated=False, short=False, runs={"full": 20}), "other data: GOD"),
        (Circumstances("GOD", 3, simulated=False, short=True, runs={"full": 20}), "short training"),
        (Circumstances("GOD", 3, simulated=False, short=False, runs={"full": 2}), "mean of 20 runs, here of 2"),
    ],
)
def test_what_makes_it_not_comparable(here, reason):
    assert any(reason in each for each in not_comparable(entry("beliy", "85.3"), here))
    assert not any(reason in each for each in not_comparable(entry("beliy", "85.3"), SAME))


def test_another_person_and_another_network():
    ranks = entry("gaziv", "136.0")
    assert any("other person: subject 1" in each for each in not_comparable(ranks, SAME))
    tiny = Circumstances("GOD", 1, simulated=False, short=False, runs={}, network="tiny")
    assert any("AlexNet" in each for each in not_comparable(ranks, tiny)) and not any(
        "AlexNet" in each for each in not_comparable(ranks, SAME)
    )


def test_the_people_who_rated_are_not_measured_here():
    assert [each.at for each in PUBLISHED["gaziv"] if "people" in each.quantity] == [()] * 4


def test_datasets_and_people_are_known_by_name():
    assert data_of("Generic Object Decoding (npz release)") == data_of("Generic Object Decoding") == "GOD"
    assert data_of("vim-1") == "vim-1" and data_of("Simulated subject, 4 mm, seed 0") == ""
    assert person_of("sub-03") == 3 and person_of("sub-x") is None
