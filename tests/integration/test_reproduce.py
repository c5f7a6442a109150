"""A reproduction runs, goes on, and its report says what its tables say: on the smallest subject, with the fewest steps."""

import json
import re
import shutil
from functools import partial
from html.parser import HTMLParser

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest

from brain2pix.cli._main import run_arguments
from brain2pix.compute.jobs import reproduce as jobs_reproduce
from brain2pix.compute.reproduce.folder import make_ready, read_overview
from brain2pix.compute.reproduce.plans import Plan, variants_of
from brain2pix.compute.reproduce.prepare import prepare
from brain2pix.compute.reproduce.run import check_weights, claim, write_report
from brain2pix.compute.runner import run_job, run_state
from brain2pix.compute.sweep import InThisProcess, run_sweep
from brain2pix.compute.sweep_cells import Standing, missing_jobs, standings
from brain2pix.config.base import build
from brain2pix.config.reproduce import ReproduceParams
from brain2pix.errors import ComputeError, MissingDataError
from brain2pix.evaluation.report import read_lines
from brain2pix.events import CancelToken, Message, Metric, Progress
from brain2pix.training.run_folder import RunFolder

QUICK = {"encoder.n_steps": 3, "encoder.check_every": 3, "decoder.n_steps": 3, "encoder.solve_every": 0}
HOSTILE = "<script>alert('x')</script> & \"<img src=x onerror=alert(1)>\" $\\frac{1}$"


class Page(HTMLParser):
    """Tables of a report by their ids, each a list of rows of texts; all tags and text."""

    def __init__(self, file):
        super().__init__()
        self.tables, self.tags, self.text, self.images = {}, [], "", []
        self._rows = None
        self._cell = False
        self.feed(file.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs)["id"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._cell = True
        elif tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self._cell:
            self._rows[-1][-1] += data


def quick_plan():
    full, _, supervised = variants_of("gaziv", "tiny", QUICK)[:3]
    return Plan("quick", "gaziv", "tiny", QUICK, (full, supervised), runs=2, folds=0, regions=("LVC", "HVC", "VC"), maps=False)


def asked(data, method="gaziv", **more):
    return build(ReproduceParams, {"subject": data, "method": method, "device": "cpu", **more})


class Reproduced:
    """A reproduction in a folder."""

    def __init__(self, data, out):
        self.params = asked(data)
        self.out = out

    def prepare(self):
        made = prepare(self.params, self.out, quick_plan())
        claim(made)
        return made

    def run(self, sink=lambda event: None, cancel=None):
        made = self.prepare()
        found = run_sweep(made.cells, InThisProcess(cancel=cancel), self.out, sink, cancel)
        return {standing.state for standing in found.values()}

    def page(self):
        return Page(write_report(self.prepare()).report)

    def missing(self):
        made = self.prepare()
        return {job.folder.parent.name for job in missing_jobs(made.cells, standings(made.cells))}


@pytest.fixture(scope="module")
def reproduced(tiny_subject, tmp_path_factory):
    made = Reproduced(tiny_subject, tmp_path_factory.mktemp("reproduced") / "out")
    assert made.run() == {"finished"}
    made.page()  # writes the report and its tables
    return made


@pytest.fixture(scope="module")
def page(reproduced):
    return reproduced.page()


def cells_of(page, row):
    return next(each for each in page.tables["identification-pixel"] if each[0].startswith(row))


def test_the_report_has_the_numbers_of_the_table(reproduced, page):
    lines = {(line.part, line.row, line.score): line for line in read_lines(reproduced.out / "scores.tsv")}
    head = page.tables["identification-pixel"][0]
    titles = {row.name: row.title for row in reproduced.prepare().rows}
    for row in ("full", "full, 2 runs", "supervised", "LVC", "HVC"):
        cells = cells_of(page, titles[row])
        for n in (2, 5, 10):
            line = lines["identification", row, f"pixel {n}-way"]
            assert cells[head.index(f"{n}-way [%]")] == f"{line.value:.1f} [{line.low:.1f}, {line.high:.1f}] %"
            assert line.chance == 100 / n and line.n == 20
        rank = lines["rank", row, "pixel rank"]
        assert cells[head.index("rank")].startswith(f"{rank.value:.3f} ") and rank.value == pytest.approx(
            1 - lines["identification", row, "pixel 2-way"].value / 100
        )
    assert "random 50-way" not in {score for _, _, score in lines}  # 20 images
    ceiling = lines["ceiling", "V1", "median ceiling"]
    assert any(row[0] == "V1" and row[2] == f"{ceiling.value:.3f}" for row in page.tables["ceiling"])


def test_it_agrees_with_the_scores_of_each_cell(reproduced):
    """The same 2-way and 10-way numbers as the job `evaluate` wrote for the cell."""
    table = pd.read_csv(reproduced.out / "results.tsv", sep="\t")
    own = {(line.row, line.score): line.value for line in read_lines(reproduced.out / "scores.tsv")}
    for row in ("full", "supervised"):
        cell = table[(table["ablation"] == row) & (table["region"] == "main") & (table["seed"] == 0)].set_index("score")["value"]
        for score in ("pixel 2-way", "pixel 10-way", "pixel r"):
            assert own[row, score] == pytest.approx(cell[score], abs=1e-6)


def test_statistics_and_orderings(reproduced, page):
    table = pd.read_csv(reproduced.out / "statistics.tsv", sep="\t")
    pixel = table[table["judge"] == "pixel"]
    assert {("full", "supervised"), ("full, 2 runs", "full"), ("LVC", "HVC")} <= set(zip(pixel["better"], pixel["worse"], strict=True))
    assert (table["p_holm"] >= table["p"] - 1e-12).all() and (table["n"] == 20).all()
    written = [row[4:6] for row in page.tables["statistics"][1:]]
    assert all("0.0000" not in cells for cells in written)  # no p is zero
    told = [[float(cell.removeprefix("<")) for cell in cells] for cells in written]
    np.testing.assert_allclose(told, table[["p", "p_holm"]].clip(lower=1e-4), atol=5.1e-5)
    verdicts = pd.read_csv(reproduced.out / "orderings.tsv", sep="\t").set_index("ordering")["verdict"]
    assert verdicts["test responses without images help: full > + images"] == "missing"  # no such row in this plan
    assert verdicts["self-supervision helps: full > pairs only"] != "missing"
    assert {row[0]: row[1] for row in page.tables["orderings"][1:]} == verdicts.to_dict()


def test_honesty(reproduced, page):
    assert "SIMULATED SUBJECT" in page.text
    assert "transductive" in cells_of(page, "full: pairs")[0] and "transductive" not in cells_of(page, "pairs only")[0]
    missing = {row[0]: row[1] for row in page.tables["missing"][1:]}
    assert any("sub-01 has no VC" in why for why in missing.values())
    assert any("brain2pix weights fetch vgg16" in why for why in missing.values()) and "--gallery" in missing["classification"]
    assert "identification-vgg16" not in page.tables
    for judge in ("pixel", "random", "random_residual"):  # untrained networks are never called what they are not
        ours = [cell for row in page.tables[f"identification-{judge}"] for cell in row]
        assert not any(re.search("perceptual|vgg", cell, re.IGNORECASE) for cell in ours)
    published = page.tables["published"]
    assert all(row[-1].startswith("here the subject is simulated") for row in published[1:])
    assert all(row[3] in ("missing", "not measured here") for row in published if "perceptual" in row[0] or "people" in row[0])


def test_it_works_alone(page):
    assert page.images and all(each.startswith("data:image/png;base64,") for each in page.images)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_a_deleted_cell_is_missing_and_runs_again_alone(reproduced, tmp_path):
    kept = shutil.copytree(reproduced.out, tmp_path / "kept", copy_function=shutil.copy2)
    try:
        gone = next(cell for cell in reproduced.prepare().cells if cell.at.ablation == "supervised")
        shutil.rmtree(gone.folder)
        page = reproduced.page()
        cells = cells_of(page, "pairs only")
        assert cells[1] == "missing" and gone.id in cells[-1]
        assert next(row for row in page.tables["cells"] if row[0] == gone.id)[4] == "missing"
        assert not [line for line in read_lines(reproduced.out / "scores.tsv") if line.row == "supervised"]
        verdicts = {row[0]: row[1] for row in page.tables["orderings"]}
        assert verdicts["self-supervision helps: full > pairs only"] == "missing"
        assert reproduced.missing() == {gone.id}
        before = {file: file.stat().st_mtime_ns for file in (reproduced.out / "cells").rglob("*") if file.is_file()}
        told = []
        assert reproduced.run(told.append) == {"finished"}
        assert {file: file.stat().st_mtime_ns for file in before} == before
        assert {
            event.text.split("finished: ")[1].split(" (")[0]
            for event in told
            if isinstance(event, Message) and "] finished: " in event.text
        } >= {gone.id}
        assert cells_of(reproduced.page(), "pairs only")[1] != "missing"
    finally:
        shutil.rmtree(reproduced.out)
        shutil.copytree(kept, reproduced.out, copy_function=shutil.copy2)


def test_stopped_before_it_began_goes_on(tiny_subject, tmp_path):
    cancel = CancelToken()
    cancel.cancel()
    made = Reproduced(tiny_subject, tmp_path / "out")
    assert made.run(cancel=cancel) == {"missing"}
    page = made.page()  # of nothing: everything is missing, nothing is invented
    assert [row[1] for row in page.tables["identification-pixel"][2:]] == ["missing"] * (len(page.tables["identification-pixel"]) - 2)
    assert {row[1] for row in page.tables["orderings"][1:]} == {"missing"}
    assert len(made.missing()) == 4


def quick_job(monkeypatch, data, out, **more):
    """Run the job of a reproduction with the quick plan in this process."""
    monkeypatch.setattr(jobs_reproduce, "prepare_reproduction", partial(prepare, plan=quick_plan()))
    events = []
    return run_job(make_ready(asked(data, **more), out, data / "sub-01"), events.append), events


def test_the_job_is_stopped_by_its_folder_names_what_fails_and_goes_on(tiny_subject, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(jobs_reproduce, "_TELL_S", 0.0)
    begun = InThisProcess._run

    def stop_in_the_second_cell(self, job, after):
        done = {folder.parent for folder, found in self._known.items() if found.state == "finished"}
        if done and job.name == "train":
            (out / "CANCEL").touch()
        return begun(self, job, after)

    def break_the_second_seed(self, job, after):
        return Standing("failed", "it broke") if "seed1" in str(job.folder) else begun(self, job, after)

    with monkeypatch.context() as patch:
        patch.setattr(InThisProcess, "_run", stop_in_the_second_cell)
        outcome, events = quick_job(monkeypatch, tiny_subject, out)
    assert outcome == "cancelled" and run_state(RunFolder(out)) == "cancelled"
    before = read_overview(out)
    assert "running" not in before.counts() and 0 < before.n_finished < len(before.cells) == 4 and before.report is None
    told = [(event.total, event.label) for event in events if isinstance(event, Progress)]
    assert {total for total, _ in told} == {4} and any(re.search(r": train, .*encoder.* of ", label) for _, label in told)
    assert not any(isinstance(event, Metric) for event in events), "the steps of the trainings are in their own folders"
    done = [cell.run.parent for cell in before.cells if cell.state == "finished"]
    kept = {file: file.stat().st_mtime_ns for cell in done for file in cell.rglob("*") if file.is_file()}

    with monkeypatch.context() as patch:
        patch.setattr(InThisProcess, "_run", break_the_second_seed)
        with pytest.raises(ComputeError, match=r"3 finished, 1 failed of 4 cells: .*seed1.*: train: it broke. The report has the others"):
            quick_job(monkeypatch, tiny_subject, out)
    assert run_state(RunFolder(out)) == "failed" and "it broke" in RunFolder(out).read_status()["error"]
    assert read_overview(out).report is not None and read_overview(out).n_finished == 3

    assert quick_job(monkeypatch, tiny_subject, out)[0] == "finished"
    after = read_overview(out)
    assert after.n_finished == 4 and after.left_s() == 0
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "what was finished is not touched"


def test_the_dataset_and_the_folder_of_its_subject_give_the_same_cells(tiny_subject, tmp_path):
    made = [
        prepare(asked(place, **more), tmp_path)
        for place, more in ((tiny_subject, {}), (tiny_subject / "sub-01", {}), (tiny_subject, {"subject_name": "01"}))
    ]
    assert len({tuple(cell.id for cell in each.cells) for each in made}) == 1


@pytest.mark.parametrize(
    ("gallery", "column", "message"),
    [
        ("nowhere", "category", "nowhere is not a folder"),
        ("empty", "category", "has 0 sub-folders with pictures"),
        ("wrong", "category", "no stimulus of split 'category_test' has a class of the gallery"),
        ("procedural", "colour", "has no column 'colour' with classes"),
    ],
)
def test_a_gallery_that_cannot_be_used_is_refused_before_anything_runs(tiny_subject, tmp_path, capsys, gallery, column, message):
    (tmp_path / "empty").mkdir()
    for name in ("chair", "ship"):
        (tmp_path / "wrong" / name).mkdir(parents=True)
        imageio.imwrite(tmp_path / "wrong" / name / "1.png", np.zeros((8, 8, 3), dtype=np.uint8))
    folder = gallery if gallery == "procedural" else str(tmp_path / gallery)
    command = [
        "reproduce",
        "gaziv",
        str(tiny_subject),
        str(tmp_path / "out"),
        "--gallery",
        folder,
        "--class-column",
        column,
        "--device",
        "cpu",
    ]
    assert run_arguments(command) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_hostile_name_is_text(tiny_copy, tmp_path):
    file = tiny_copy / "dataset_description.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"Name": HOSTILE}))
    page = Reproduced(tiny_copy, tmp_path / "out").page()
    assert "script" not in page.tags and not [each for each in page.images if not each.startswith("data:")]
    assert {row[0]: row[1] for row in page.tables["facts"]}["data"] == f"{HOSTILE}, sub-01"


def test_paper_needs_its_weights(tiny_subject, tmp_path):
    made = prepare(asked(tiny_subject, plan="paper"), tmp_path / "out")
    with pytest.raises(MissingDataError, match=r"vgg16-397923af\.pth.*vgg19.*--plan short"):
        check_weights(made)
    assert not (tmp_path / "out").exists()


def test_the_command_says_its_plan(tiny_subject, tmp_path, capsys):
    assert run_arguments(["reproduce", "beliy", str(tiny_subject), str(tmp_path / "out"), "--dry-run", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "beliy, plan short, preset tiny" in said and "(simulated)" in said and "nothing was run" in said
    assert re.search(r"\d+ cells with \d+ jobs: \d+ missing", said) and "row  VC: missing: sub-01 has no VC" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("prepared", "message"),
    [
        ("foreign", "is not the folder of a reproduction"),
        ("other", "holds another reproduction (method 'gaziv', not 'beliy'"),
        ("file", "is a file"),
    ],
)
def test_the_folder_of_something_else(tiny_subject, tmp_path, capsys, prepared, message):
    out = tmp_path / "out"
    if prepared == "foreign":
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    elif prepared == "other":
        claim(prepare(asked(tiny_subject), out))
    else:
        out.write_text("mine")
    assert run_arguments(["reproduce", "beliy", str(tiny_subject), str(out), "--device", "cpu"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gaziv", "beliy"])
def test_the_short_plan(tiny_subject, tmp_path, method):
    out = tmp_path / "out"
    assert run_arguments(["reproduce", method, str(tiny_subject), str(out), "--gallery", "procedural", "--device", "cpu"]) == 0
    page = Page(out / "report.html")
    assert {row[4] for row in page.tables["cells"][1:]} == {"finished"}
    lines = {(line.part, line.row, line.score): line for line in read_lines(out / "scores.tsv")}
    assert lines["identification", "all repeats", "pixel 2-way"].value == pytest.approx(
        lines["identification", "full", "pixel 2-way"].value
    )
    assert {"median rank", "top 1", "50-way"} <= {score for part, row, score in lines if (part, row) == ("classification", "full")}
    assert ("accuracy", "V1", "percentile 75") in lines and ("maps", "full", "kept") in lines
    excluded = next(row for row in page.tables["identification-pixel"] if row[0].startswith("full, each image's own"))
    assert excluded[1] != "missing"
    assert len(page.images) >= 4
