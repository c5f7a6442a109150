"""Runs compared by the command line: against scipy, numpy and a second formula of Holm's correction."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from brain2pix.cli._main import run_arguments
from brain2pix.compute.compare import compare_runs
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError
from brain2pix.events import CancelToken, ignore


@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    """Three decoded runs: two systems, and one of them with its pictures in the wrong order."""
    place = tmp_path_factory.mktemp("compared")
    for name in ("gaziv", "ridge"):
        shutil.copytree(trained / name, place / name)
        assert run_job(JobSpec("decode", {"run": str(place / name), "device": "cpu"}, place / name / "decode-test")) == "finished"
    shutil.copytree(place / "ridge", place / "shuffled")
    file = place / "shuffled" / "decode-test" / "results" / "reconstructions.npy"
    np.save(file, np.load(file)[::-1])
    return place


def beaten(made, stimuli):
    r = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in stimuli] for a in made.astype(float)])
    return np.array([(np.delete(row, place) < row[place]).mean() for place, row in enumerate(r)]), np.diag(r)


def test_differences_of_every_two_runs(runs, tiny_subject, tmp_path, capsys) -> None:
    names = ("ridge", "gaziv", "shuffled")
    out = tmp_path / "compare.tsv"
    assert run_arguments(["compare", *(str(runs / name) for name in names), "--device", "cpu", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "SIMULATED, split test, 20 images from" in printed and "ridge: training used no test responses" in printed
    assert "gaziv: training used" in printed and "(transductive)" in printed and "not compared on equal terms" in printed
    table = pd.read_csv(out, sep="\t")
    assert set(table["score"]) >= {"pixel 2-way", "random 2-way", "random_residual 2-way", "pixel r"}
    subject = open_subject(tiny_subject)
    ids = json.loads((runs / "ridge" / "decode-test" / "results" / "reconstructions.json").read_text())["stimulus_ids"]
    stimuli = subject.images(ids).astype(float)
    found = {name: beaten(np.load(runs / name / "decode-test" / "results" / "reconstructions.npy"), stimuli) for name in names}
    for score, part, factor in (("pixel 2-way", 0, 100), ("pixel r", 1, 1)):
        rows = table[table["score"] == score]
        assert list(zip(rows["first"], rows["second"], strict=True)) == [("ridge", "gaziv"), ("ridge", "shuffled"), ("gaziv", "shuffled")]
        for row in rows.itertuples():
            own, other = found[row.first][part], found[row.second][part]
            assert row.difference == pytest.approx(factor * np.mean(own - other), abs=1e-3 * factor)
            assert (row.mean_first, row.mean_second) == pytest.approx((factor * own.mean(), factor * other.mean()), abs=1e-3 * factor)
            assert row.low <= row.difference <= row.high and row.n_images == 20
            # a share of 19 rivals is a whole number of them: ties are ties
            difference = np.round(19 * (own - other)) if part == 0 else own - other
            assert row.wilcoxon_p == pytest.approx(wilcoxon(difference, method="approx", zero_method="wilcox").pvalue, rel=1e-3)
        order = np.argsort(rows["wilcoxon_p"].to_numpy())
        stepped, largest = np.empty(3), 0.0
        for rank, place in enumerate(order):  # Holm by its words: never below a smaller one, never above 1
            largest = max(largest, min(1.0, (3 - rank) * rows["wilcoxon_p"].to_numpy()[place]))
            stepped[place] = largest
        np.testing.assert_allclose(rows["holm_p"], stepped, rtol=1e-4)


def test_the_table_goes_to_the_first_run(runs, capsys) -> None:
    assert run_arguments(["compare", str(runs / "ridge"), str(runs / "shuffled"), "--device", "cpu"]) == 0
    assert (runs / "ridge" / "compare-test.tsv").is_file() and "compare-test.tsv" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(runs, trained, tmp_path) -> None:
    def compare(*folders, split="test"):
        return compare_runs(folders, split, None, "cpu", ignore, CancelToken())

    with pytest.raises(ConfigError, match="needs two runs or more, got 1"):
        compare(runs / "ridge")
    with pytest.raises(ConfigError, match="a run is named twice"):
        compare(runs / "ridge", runs / "ridge")
    with pytest.raises(
        MissingDataError, match=r"was not decoded on split 'validation'; do it first: brain2pix decode .*--split validation"
    ):
        compare(runs / "ridge", runs / "gaziv", split="validation")
    other = shutil.copytree(runs / "ridge", tmp_path / "other")
    about = other / "decode-test" / "results" / "reconstructions.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "stimuli": "0" * 24}))
    with pytest.raises(DataFormatError, match="holds reconstructions of other images, or in another size"):
        compare(runs / "ridge", other)
    job = other / "job.json"
    job.write_text(json.dumps({**json.loads(job.read_text()), "params": {}}))
    with pytest.raises(MissingDataError, match="does not say where its subject lies; give it with --subject"):
        compare(other, runs / "ridge")
