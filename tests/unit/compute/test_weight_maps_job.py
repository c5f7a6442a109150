"""Receptive fields read from the weights themselves, by the job."""

import json

import numpy as np
import pytest

from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.maps import read_maps
from brain2pix.data.subject import open_subject
from brain2pix.errors import NotSupportedError
from brain2pix.evaluation import read_lines
from brain2pix.training.run_folder import load_model

SETTINGS = {"maps": "weights", "max_spread": 1}


def run(folder, **params):
    assert run_job(JobSpec("maps", {"device": "cpu", **params}, folder)) == "finished"
    return folder / "results"


def test_weights_give_fields_of_both_sides(trained, tiny_subject, tmp_path):
    system = trained / "gaziv"
    encoder = run(tmp_path / "encoder", run=str(system), settings=SETTINGS)
    assert json.loads((encoder / "summary.json").read_text())["source"] == "encoder weights of gaziv"
    method = load_model(system)
    found = read_maps(encoder, "encoder").on(open_subject(tiny_subject), method.info.subjects[0].voxel_index)
    # the closed-form start gives each voxel a space map; its own centre of mass, in degrees
    space = method.encoder.space_of(0).detach().numpy() ** 2
    cell = 12 / (space.shape[-1] + 2)
    centre = np.tensordot(space.sum(axis=1), np.arange(space.shape[-1]) + 1.5, 1) / space.sum(axis=(1, 2)) * cell - 6
    assert np.corrcoef(found.x0_deg, centre)[0, 1] > 0.9
    decoder = run(tmp_path / "decoder", run=str(system), side="decoder", settings=SETTINGS)
    summary = json.loads((decoder / "summary.json").read_text())
    assert summary["source"] == "decoder weights of gaziv"
    agreement = summary["agreement"]
    assert agreement["map_r"] > agreement["shuffled_map_r"]
    line = {line.score: line for line in read_lines(decoder / "agreement.tsv")}["map_r"]
    assert line.value == pytest.approx(agreement["map_r"], rel=1e-3) and line.chance == pytest.approx(agreement["shuffled_map_r"], abs=1e-3)


def test_a_system_without_weights_of_places_is_refused(trained, tmp_path):
    with pytest.raises(NotSupportedError, match="ridge has no weights of places on the decoder's side; set maps='gradient'"):
        run(tmp_path / "out", run=str(trained / "ridge"), side="decoder", settings=SETTINGS)
