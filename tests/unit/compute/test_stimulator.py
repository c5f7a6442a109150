"""Stimulation as window and job share it: explicit voxels, single trials, distances, shares, and records that replay."""

import base64
import io
import json
import subprocess
import sys
import threading

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from brain2pix.arrays import VoxelBatch
from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.live import Afterwards, LiveDecoder
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.errors import ConfigError, DataFormatError, ShapeError
from brain2pix.stimulation import fit_space, make_record, read_record, write_record

BASE = "test-0003"
FAR = 12.0  # standard deviations, added to all of left V1


@pytest.fixture(scope="module")
def decoder(trained):
    return LiveDecoder(open_run(trained / "ridge", None, "cpu"))


def picture(answer):
    return imageio.imread(io.BytesIO(base64.b64decode(answer["image"])))


def rows_of(decoder, expression):
    return [int(row) for row in decoder.trained.subject.select(expression)]


def test_voxels_by_their_rows_are_an_area_like_any_other(decoder):
    painted, asked = rows_of(decoder, "V1 & L"), {"stimulus_id": BASE, "mode": "set", "amplitude": 3.0}
    by_name = decoder.answer({**asked, "region": "V1v & L"})
    by_rows = decoder.answer({**asked, "region": "painted & V1v", "areas": {"painted": painted}})
    assert by_rows["n_voxels"] == by_name["n_voxels"] > 0
    assert np.array_equal(picture(by_rows), picture(by_name))
    assert not np.array_equal(picture(by_rows), picture(decoder.answer({"stimulus_id": BASE})))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"areas": [1, 2]}, "areas must be an object such as"),
        ({"areas": {"V1": [1]}}, "'V1' is an area of the subject itself; give the voxels another name"),
        ({"areas": {"my paint": [1]}}, "'my paint' is no name of an area"),
        ({"areas": {"painted": [1.5]}}, "must be a list of whole numbers"),
        ({"areas": {"painted": "17"}}, "must be a list of whole numbers"),
        ({"areas": {"painted": [3, 10**6]}}, r"the rows of 'painted' must lie in 0\.\.\d+, got 3\.\.1000000"),
        ({"areas": {"painted": []}}, r"region 'painted' selects no voxel \(voxels: painted 0\)"),
        ({"stimulus_id": BASE, "repeat": 99}, "repeat must be a whole number from 1 to"),
        ({"stimulus_id": BASE, "repeat": True}, "repeat must be a whole number from 1 to"),
        ({"repeat": 1}, "the base 'mean' is the mean of all training trials"),
        ({"field": "upper_right"}, "field must be a list of quadrants"),
        ({"field": ["upper"]}, "unknown quadrant 'upper'"),
    ],
)
def test_what_is_unclear_is_refused(decoder, request_, text):
    with pytest.raises(ConfigError, match=text):
        decoder.answer({"region": "painted", "areas": {"painted": [1]}, "amplitude": 1.0, **request_})


def test_one_trial_as_base(decoder):
    subject, method = decoder.trained.subject, decoder.trained.method
    second = np.flatnonzero(subject.trials["stimulus_id"] == BASE)[1:2]
    response = torch.from_numpy(subject.responses(second, decoder.trained.voxel_index))
    expected = method.decode(VoxelBatch(response))[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    answer = decoder.answer({"stimulus_id": BASE, "repeat": 2})
    assert answer["repeat"] == 2
    assert np.abs(picture(answer).astype(int) - expected).max() <= 1
    assert not np.array_equal(picture(answer), picture(decoder.answer({"stimulus_id": BASE})))


def test_measures_are_those_of_the_core(decoder):
    subject, voxels = decoder.trained.subject, decoder.trained.voxel_index
    space = fit_space(subject.responses(subject.rows("train"), voxels), subject.responses(subject.rows("test"), voxels))
    left = subject.areas["V1"][voxels] & subject.areas["L"][voxels]
    base = subject.responses(np.flatnonzero(subject.trials["stimulus_id"] == BASE), voxels).mean(axis=0)

    def measured(amplitude):
        asked = {"stimulus_id": BASE, "region": "V1 & L", "mode": "add", "amplitude": amplitude}
        return decoder.measure({**asked, "field": ["upper_right", "lower_right"]})

    near, far = measured(0.1), measured(FAR)
    for amplitude, found in ((0.1, near), (FAR, far)):
        pattern = base + amplitude * left
        assert found["distance"]["excess"] == pytest.approx(space.excess(pattern[None])[0], rel=1e-4)
        assert found["distance"]["percentile"] == pytest.approx(space.percentile(pattern[None])[0], abs=0.011)
    assert near["distance"]["excess"] < 1 < far["distance"]["excess"]
    assert near["distance"]["text"].startswith("like measured") and far["distance"]["text"].startswith("out of distribution")
    assert space.excess((base + near["largest"] * left)[None])[0] == pytest.approx(1, abs=1e-3)

    # left V1 sees the right half of the field, and random voxels see both
    mild = measured(2.0)["share"]
    assert mild["share"] > mild["control"] + 0.1, mild
    assert far["share"]["chance"] == pytest.approx(0.5)
    images = [picture(decoder.answer({"stimulus_id": BASE, "region": region, "amplitude": FAR})) / 255 for region in (None, "V1 & L")]
    energy = np.square(images[1] - images[0]).sum(axis=-1)
    assert far["share"]["share"] == pytest.approx(energy[:, energy.shape[1] // 2 :].sum() / energy.sum(), abs=0.01)
    assert measured(0.0)["share"] is None  # nothing changed


def test_a_subject_without_held_out_trials_says_so(trained, tiny_copy):
    (table,) = tiny_copy.glob("sub-*/func/*_betas.tsv")
    table.write_text(table.read_text().replace("\ttest\t", "\tunused\t").replace("\tvalidation\t", "\tunused\t"))
    decoder = LiveDecoder(open_run(trained / "ridge", tiny_copy, "cpu"))
    found = decoder.measure({"region": "V1", "mode": "add", "amplitude": 1.0})
    assert "no trials of the split test or validation" in found["distance"]["problem"] and found["largest"] is None


def test_of_waiting_measures_the_newest_is_told():
    may_go_on, told, done = threading.Event(), [], threading.Event()

    class Slow:
        def measure(self, request):
            may_go_on.wait(10)
            return {"of": request["id"]}

    def say(values):
        told.append(values)
        done.set()

    afterwards = Afterwards(Slow(), say)
    for number in (1, 2, 3):
        afterwards.put({"id": number})
    may_go_on.set()
    assert done.wait(10)
    assert told == [{"id": 3, "measures": {"of": 3}}]


def test_a_record_replays_to_the_identical_picture(decoder, trained, tmp_path):
    asked = {"stimulus_id": BASE, "repeat": 2, "region": "chosen", "areas": {"chosen": rows_of(decoder, "V1 & R")[::2]}}
    live = picture(decoder.answer({**asked, "mode": "add", "amplitude": 2.37}))
    mask = decoder.stimulator.mask("chosen", asked["areas"])
    record = make_record(decoder.stimulator.info, mask, "add", 2.37, method="ridge", base=BASE, repeat=2, region="chosen")
    write_record(tmp_path / "mine.json", record)

    command = ["stimulate", str(trained / "ridge"), "--record", "mine.json", "--device", "cpu", "--out", "again"]
    code = "from brain2pix.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, timeout=120, cwd=tmp_path)
    results = tmp_path / "again" / "results"
    assert np.array_equal(imageio.imread(results / "after.png"), live)

    # the job leaves a record of its own, complete with the distances that the window shows
    again, distance = read_record(results / "record.json"), decoder.measure({**asked, "mode": "add", "amplitude": 2.37})["distance"]
    assert again.voxels == record.voxels and (again.base, again.repeat, again.amplitude) == (BASE, 2, 2.37)
    assert (again.excess, again.percentile) == (pytest.approx(distance["excess"]), pytest.approx(distance["percentile"]))
    assert json.loads((results / "stimulation.json").read_text())["distance"]["text"] == distance["text"]


def test_records_that_do_not_fit_are_refused_before_anything_is_written(decoder, trained, tmp_path):
    file = tmp_path / "mine.json"

    def replay(**more):
        params = {"run": str(trained / "ridge"), "device": "cpu", "record": str(file), **more}
        run_job(JobSpec("stimulate", params, tmp_path / "out"))

    write_record(
        file, make_record(decoder.stimulator.info, decoder.stimulator.mask("V1"), "add", 1.0, method="ridge", base="mean", region="V1")
    )
    with pytest.raises(ConfigError, match="give either it or region, amplitude"):
        replay(region="V1", amplitude=1.0)
    with pytest.raises(ShapeError, match="another selection or order"):
        replay(run=str(trained / "gaziv"))
    file.write_text("{}")
    with pytest.raises(DataFormatError, match="is not a stimulation record"):
        replay()
    assert not (tmp_path / "out").exists()
