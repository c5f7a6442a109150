"""The live decoder as its client meets it: a process that answers lines with lines."""

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
from brain2pix.compute.live import LiveDecoder, Newest, serve
from brain2pix.data.subject import open_subject
from brain2pix.training.run_folder import load_model


class Client:
    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "brain2pix.compute.live", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def say(self, line):
        self.process.stdin.write(f"{line if isinstance(line, str) else json.dumps(line)}\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, line):
        self.say(line)
        return self.hear()


@pytest.fixture
def start():
    clients = []

    def start(*arguments):
        clients.append(Client(*arguments))
        return clients[-1]

    yield start
    for client in clients:
        if client.process.poll() is None:
            client.process.kill()
            client.process.wait()
        for stream in (client.process.stdin, client.process.stdout, client.process.stderr):
            stream.close()


def picture(answer):
    return imageio.imread(io.BytesIO(base64.b64decode(answer["image"])))


def test_a_session(trained, tiny_subject, start):
    client = start(trained / "ridge", tiny_subject)
    greeting = client.hear()
    assert greeting["ready"] and greeting["simulated"] and greeting["image_size"] == 32
    assert "V1" in greeting["regions"] and "FFA" not in greeting["regions"]

    # what the system decodes from the mean response to a test image
    answer = client.ask({"id": 1, "stimulus_id": "test-0003", "region": None, "mode": "add", "amplitude": 0})
    subject, method = open_subject(tiny_subject), load_model(trained / "ridge")
    rows = np.flatnonzero(subject.trials["stimulus_id"] == "test-0003")
    mean = subject.responses(rows, method.info.subjects[0].voxel_index).mean(axis=0, dtype=np.float64).astype(np.float32)
    expected = method.decode(VoxelBatch(torch.from_numpy(mean[None])))[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    assert answer["id"] == 1 and answer["n_voxels"] == 0
    assert np.abs(picture(answer).astype(int) - expected).max() <= 1

    still = client.ask({"id": 2, "stimulus_id": "test-0003", "region": "V1", "mode": "scale", "amplitude": 1.0})
    assert np.array_equal(picture(still), picture(answer))
    moved = client.ask({"id": 3, "stimulus_id": "test-0003", "region": "V1", "mode": "set", "amplitude": 4})
    assert moved["n_voxels"] == greeting["regions"]["V1"]
    assert not np.array_equal(picture(moved), picture(answer))

    # it survives whatever is asked
    for request, text in [
        ({"id": 4, "region": "V9"}, "unknown area 'V9'"),
        ({"id": 5, "region": "FFA"}, "selects no voxel"),
        ({"id": 6, "stimulus_id": "tst-0003"}, "Did you mean 'test-0003'"),
        ({"id": 7, "region": "V1", "mode": "adds"}, "Did you mean 'add'"),
        ({"id": 8, "region": "V1", "amplitude": "much"}, "amplitude must be a finite number, got 'much'"),
        ({"id": 9, "region": 3}, "TypeError"),
        ({"id": 10, "regions": "V1"}, "Did you mean 'region'"),
    ]:
        answer = client.ask(request)
        assert answer["id"] == request["id"] and text in answer["error"]
    assert "one JSON object on one line" in client.ask("{not json")["error"]
    assert "one JSON object on one line" in client.ask("[1, 2]")["error"]
    assert "image" in client.ask({"id": 11, "stimulus_id": "mean"})

    client.process.stdin.close()
    assert client.process.wait(timeout=10) == 0
    assert client.process.stderr.read() == ""


def test_a_model_that_is_not_there(tiny_subject, tmp_path, start):
    client = start(tmp_path, tiny_subject)
    output, errors = client.process.communicate(timeout=60)
    assert client.process.returncode == 1 and output == ""
    assert len(errors.splitlines()) == 1 and "has no trained model" in errors


def test_usage(start):
    client = start("one")
    _, errors = client.process.communicate(timeout=60)
    assert client.process.returncode == 2 and errors.startswith("usage:")


def test_the_window_never_loads_with_it():
    code = "import sys, brain2pix.compute.live; print({'napari', 'qtpy', 'PyQt5', 'vispy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_newest_request_wins():
    """Three requests wait while the first is worked on: only the last of them is answered."""
    lines = [json.dumps({"id": number}) for number in (1, 2, 3, 4)]
    may_read_on = threading.Event()

    class Stream:
        def __iter__(self):
            yield lines[0]
            may_read_on.wait(10)
            yield from lines[1:]

    class Decoder(LiveDecoder):
        def __init__(self):
            self.asked = []

        def greeting(self):
            return {"ready": True}

        def answer(self, request):
            self.asked.append(request["id"])
            if request["id"] == 1:
                may_read_on.set()
                threading.Event().wait(0.3)  # the reader takes in the others
            return {}

    decoder, answers = Decoder(), io.StringIO()
    serve(decoder, Stream(), answers)
    assert decoder.asked == [1, 4]
    assert [json.loads(line).get("id") for line in answers.getvalue().splitlines()] == [None, 1, 4]


def test_end_of_requests():
    assert Newest(io.StringIO("\n\n")).get() is None
