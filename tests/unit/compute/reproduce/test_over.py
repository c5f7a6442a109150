"""Orderings over subjects: mean and interval against scipy, verdicts on planted differences, folders that do not belong together."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brain2pix.cli._main import run_arguments
from brain2pix.compute.reproduce.compare import FAILS, HOLDS, MISSING, UNCLEAR
from brain2pix.compute.reproduce.over import over_reproductions

BOUNDS = {"full > pairs": 0.0, "full > nothing": 0.0, "hardly matters": 5.0, "matters": 5.0, "unclear": 0.0, "once": 0.0}
FOUND = {
    "full > pairs": [3.0, 4.0, 5.0],
    "full > nothing": [-3.0, -4.0, -5.0],
    "hardly matters": [1.0, 0.0, 2.0],
    "matters": [11.0, 10.0, 12.0],
    "unclear": [-9.0, 1.0, 9.0],
    "once": [2.0, np.nan, np.nan],
}


@pytest.fixture
def folders(tmp_path):
    """Reproductions of three subjects, with planted differences."""
    made = []
    for number in range(3):
        folder = tmp_path / f"out{number}"
        folder.mkdir()
        (folder / "reproduce.json").write_text(json.dumps({"method": "gaziv", "plan": "short", "data": f"/data/sub-{number}"}))
        rows = [(name, "pixel", bound, json.dumps(FOUND[name][number])) for name, bound in BOUNDS.items()]
        pd.DataFrame(rows, columns=["ordering", "judge", "bound", "difference"]).to_csv(folder / "orderings.tsv", sep="\t", index=False)
        made.append(folder)
    return made


def test_mean_interval_and_verdict(folders):
    found = {each.ordering: each for each in over_reproductions(folders)}
    for name in list(FOUND)[:-1]:
        sample = np.array(FOUND[name])
        low, high = stats.t.interval(0.95, 2, loc=sample.mean(), scale=stats.sem(sample))
        assert (found[name].mean, found[name].low, found[name].high) == pytest.approx((sample.mean(), low, high))
    assert [each.verdict for each in found.values()] == [HOLDS, FAILS, HOLDS, FAILS, UNCLEAR, MISSING]


def test_command(folders, tmp_path, capsys):
    assert run_arguments(["orderings", *map(str, folders), "--write", str(tmp_path / "over.tsv")]) == 0
    said = capsys.readouterr().out
    assert "holds           full > pairs: +4.0 [+1.5, +6.5] (+3.0 +4.0 +5.0), pixel" in said
    assert "missing         once: (+2.0 - -), pixel" in said
    table = pd.read_csv(tmp_path / "over.tsv", sep="\t").set_index("ordering")
    assert table.loc["full > pairs", "mean"] == 4.0 and table.loc["once", "n"] == 1
    assert table[str(folders[1])]["matters"] == 10.0


def test_what_does_not_belong_together(folders, tmp_path, capsys):
    def refused(*places):
        assert run_arguments(["orderings", *map(str, places)]) == 1
        return capsys.readouterr().err

    assert "needs two reproductions or more, got 1" in refused(folders[0])
    assert f"{tmp_path} is no reproduction with a report" in refused(folders[0], tmp_path)
    assert "is there twice" in refused(folders[0], folders[0])
    note = {"method": "beliy", "plan": "short", "data": "/data/sub-0"}
    (folders[1] / "reproduce.json").write_text(json.dumps(note))
    assert "differ in their method: beliy, gaziv" in refused(*folders)
    (folders[1] / "reproduce.json").write_text(json.dumps(note | {"method": "gaziv"}))
    assert "/data/sub-0 is there twice" in refused(*folders)
