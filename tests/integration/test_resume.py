"""A real run, killed in the middle and started again by the same command, ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

STEPS = 30
SETTINGS = {
    "encoder.n_steps": STEPS,
    "encoder.check_every": 10,
    "encoder.dropout": 0.5,
    "decoder.n_steps": STEPS,
    "decoder.batch_images": 8,
    "decoder.batch_pairs": 8,
    "decoder.batch_fmri": 8,
}


def start(job):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from brain2pix.cli import main; main()", "run", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(job):
    process = start(job)
    output, errors = process.communicate(timeout=240)
    assert (process.returncode, errors) == (0, ""), output + errors
    return output


def wait_for_step(process, folder, stage, step):
    until_s = time.monotonic() + 200
    while time.monotonic() < until_s:
        assert process.poll() is None, process.communicate()
        file = folder / "events.jsonl"
        for line in file.read_text().splitlines() if file.is_file() else ():
            event = json.loads(line) if line.endswith("}") else {}
            if event.get("kind") == "progress" and event["stage"] == stage and event["done"] >= step:
                return
        time.sleep(0.02)
    pytest.fail(f"{stage} did not come to step {step}")


def test_killed_in_both_phases_and_gone_on_with(tiny_subject, tmp_path):
    params = {
        "subject": str(tiny_subject),
        "preset": "tiny",
        "region": "V1 - outside",
        "settings": SETTINGS,
        "device": "cpu",
        "training": {"checkpoint_every_steps": 4, "events_per_second": 100},
    }
    for name in ("whole", "parts"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"kind": "train", "params": params}))
    finish(tmp_path / "whole.json")
    for stage in ("encoder", "decoder"):
        process = start(tmp_path / "parts.json")
        wait_for_step(process, tmp_path / "parts", stage, 6)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "parts" / "model").exists()
    output = finish(tmp_path / "parts.json")
    assert "going on from the checkpoint at phase 2" in output
    whole, parts = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    assert json.loads((tmp_path / "parts" / "status.json").read_text())["attempt"] == 3
