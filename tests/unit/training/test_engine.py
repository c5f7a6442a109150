import json
import os
import shutil
import signal
import subprocess

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from brain2pix.config.training import TrainingSettings
from brain2pix.errors import ComputeError, ConfigError
from brain2pix.events import CancelToken, Finished, Message, Metric, Preview, Progress, Started, Stopped
from brain2pix.methods.base import TrainingContext
from brain2pix.methods.registry import make_method
from brain2pix.training.engine import data_hash, seed_everything, train
from brain2pix.training.run_folder import RunFolder


class CancelAfter(CancelToken):
    """Asks for a stop at the n-th question."""

    def __init__(self, questions):
        super().__init__()
        self.left = questions

    def cancelled(self):
        self.left -= 1
        return self.left < 0 or super().cancelled()


def run(toy, folder, training=None, cancel=None, seed=3, data=None, sink=None, **settings):
    events = []
    data = data or toy.toy_data()
    seed_everything(seed, "make")
    method = make_method("toy", toy.ToySettings(**settings), [data.subject], data.image_size)
    context = TrainingContext(torch.device("cpu"), seed, sink or events.append, cancel or CancelToken())
    outcome = train(method, data, context, RunFolder(folder), TrainingSettings(**(training or {})))
    return outcome, events


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def messages(events, level):
    return [event.text for event in events if isinstance(event, Message) and event.level == level]


def test_same_seed_same_result_and_another_seed_another(toy, tmp_path):
    outcome, _ = run(toy, tmp_path / "a")
    assert outcome == "finished"
    run(toy, tmp_path / "b")
    run(toy, tmp_path / "c", seed=4)
    assert_equal_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not torch.equal(weights(tmp_path / "a")["encoder.1.weight"], weights(tmp_path / "c")["encoder.1.weight"])


def test_the_clock_does_not_change_the_result(toy, tmp_path):
    """Checkpoints, previews and events take random numbers nowhere."""
    run(toy, tmp_path / "quiet", {"previews": 0, "checkpoint_every_s": 1000})
    run(toy, tmp_path / "busy", {"previews": 13, "checkpoint_every_steps": 1, "events_per_second": 100})
    assert_equal_weights(weights(tmp_path / "quiet"), weights(tmp_path / "busy"))


@pytest.mark.parametrize("stop_at", [1, 5, 23, 43, 60, 82])
def test_cancelled_and_resumed_equals_uninterrupted(toy, tmp_path, stop_at):
    run(toy, tmp_path / "whole")
    outcome, events = run(toy, tmp_path / "parts", cancel=CancelAfter(stop_at))
    assert outcome == "cancelled"
    assert isinstance(events[-1], Stopped)
    assert not (tmp_path / "parts" / "model").exists()
    torch.rand(17)  # another state of the world
    outcome, events = run(toy, tmp_path / "parts")
    assert outcome == "finished"
    assert stop_at == 1 or any("going on from the checkpoint" in text for text in messages(events, "info"))
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_cancelled_in_what_follows_a_step_loses_no_step(toy, tmp_path):
    """A closed form after a step may take long: a wish to stop that comes then costs it, and not the steps before."""
    run(toy, tmp_path / "whole")
    # asked once before the phase, once after `prepare`, at each step, and once more after each fifth step
    outcome, _ = run(toy, tmp_path / "parts", cancel=CancelAfter(2 + 25 + 4))
    assert outcome == "cancelled"
    outcome, events = run(toy, tmp_path / "parts")
    assert outcome == "finished"
    assert any("phase 1, step 25" in text for text in messages(events, "info")), messages(events, "info")
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.parametrize("stop_at", range(1, 100, 14))
def test_cancelled_anywhere_and_resumed_is_the_same(toy, tmp_path, stop_at):
    run(toy, tmp_path / "whole")
    run(toy, tmp_path / "parts", cancel=CancelAfter(stop_at))
    run(toy, tmp_path / "parts")
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_many_interruptions(toy, tmp_path):
    run(toy, tmp_path / "whole")
    outcomes = []
    while not outcomes or outcomes[-1] == "cancelled":
        outcome, _ = run(toy, tmp_path / "parts", cancel=CancelAfter(9))
        outcomes.append(outcome)
    assert len(outcomes) > 8
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_resumed_after_kill_9_equals_uninterrupted(toy, tmp_path, start_toy):
    run(toy, tmp_path / "whole", step_s=0.0)
    training = {"checkpoint_every_steps": 7}
    process = start_toy(tmp_path / "parts", training, n_steps=40, step_s=0.02)
    for line in process.stdout:  # let it come into the second phase
        event = json.loads(line)
        if event["kind"] == "progress" and event["stage"] == "decoder!" and event["done"] >= 15:
            break
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "parts" / "model").exists()
    # the pause between steps is a setting, so the second half must be the same run: start it the same way
    again = start_toy(tmp_path / "parts", training, n_steps=40, step_s=0.02)
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    going_on = [json.loads(line)["text"] for line in output.splitlines() if "going on" in line]
    assert going_on and "phase 2, step" in going_on[0] and not going_on[0].endswith("step 0")
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_cancel_file_stops_within_one_step(tmp_path, start_toy):
    step_s = 0.3
    (tmp_path / "run").mkdir()
    process = start_toy(tmp_path / "run", {"checkpoint_every_s": 1000}, n_steps=1000, step_s=step_s)
    for line in process.stdout:
        if json.loads(line)["kind"] == "progress":
            break
    (tmp_path / "run" / "CANCEL").touch()
    lines = [json.loads(line) for line in process.stdout]
    process.wait(timeout=10)
    assert lines[-1] == {"kind": "outcome", "outcome": "cancelled"}
    assert sum(line["kind"] == "progress" for line in lines) <= 1
    assert len(list((tmp_path / "run" / "checkpoints").glob("*.pt"))) == 1


def test_events_tell_the_story(toy, tmp_path):
    _, events = run(toy, tmp_path / "run", {"previews": 2, "events_per_second": 1e-3}, n_steps=40)
    kinds = [type(event) for event in events]
    assert [event.stage for event in events if isinstance(event, Started)] == ["encoder", "decoder!"]
    assert [event.stage for event in events if isinstance(event, Finished)] == ["encoder", "decoder!"]
    last = [event for event in events if isinstance(event, Progress) and event.stage == "encoder"][-1]
    assert (last.done, last.total) == (40, 40)
    assert {event.name for event in events if isinstance(event, Metric)} == {"total", "fit"}
    assert kinds.count(Preview) == 4
    for event in events:
        if isinstance(event, Preview):
            assert imageio.imread(tmp_path / "run" / event.path).shape == (4, 3 * 4 + 2 * 2, 3)
    # 80 steps, but one bundle in 1,000 s: however slow the machine, only what must be seen came out
    assert sum(isinstance(event, Progress) for event in events) <= 8  # first, last, and the one before each preview


def test_the_loss_is_learned(toy, tmp_path):
    _, events = run(toy, tmp_path / "run", {"events_per_second": 100}, n_steps=200, step_s=0.001)
    losses = [event.value for event in events if isinstance(event, Metric) and event.stage == "decoder!" and event.name == "fit"]
    assert losses[-1] < 0.5 * losses[0]


def test_checkpoints_are_removed_when_finished_unless_wanted(toy, tmp_path):
    run(toy, tmp_path / "a")
    assert not (tmp_path / "a" / "checkpoints").exists()
    run(toy, tmp_path / "b", {"keep_when_finished": True, "checkpoint_every_steps": 5})
    assert len(list((tmp_path / "b" / "checkpoints").glob("*.pt"))) == 2


def test_truncated_newest_checkpoint_falls_back_to_the_one_before(toy, tmp_path):
    run(toy, tmp_path / "whole")
    run(toy, tmp_path / "parts", {"checkpoint_every_steps": 5}, cancel=CancelAfter(30))
    files = sorted((tmp_path / "parts" / "checkpoints").glob("*.pt"))
    assert len(files) == 2
    with files[-1].open("rb+") as file:
        file.truncate(files[-1].stat().st_size // 2)
    outcome, events = run(toy, tmp_path / "parts", {"checkpoint_every_steps": 5})
    assert outcome == "finished"
    (warning,) = messages(events, "warning")
    assert files[-1].name in warning and "damaged" in warning and f"going back to {files[0].name}" in warning
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_all_checkpoints_damaged_starts_again(toy, tmp_path):
    run(toy, tmp_path / "whole")
    run(toy, tmp_path / "parts", {"checkpoint_every_steps": 5}, cancel=CancelAfter(30))
    for file in (tmp_path / "parts" / "checkpoints").glob("*.pt"):
        file.write_bytes(b"")
    _, events = run(toy, tmp_path / "parts")
    assert len(messages(events, "warning")) == 2 and "going back to the start" in messages(events, "warning")[-1]
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"n_steps": 41}, "settings"), ({"seed": 4}, "seed"), ({"data": "other"}, "data"), ({"batch_size": 9}, "settings")],
)
def test_checkpoint_of_another_run_is_refused(toy, tmp_path, change, named):
    run(toy, tmp_path / "run", cancel=CancelAfter(30))
    if "data" in change:
        change = {"data": toy.toy_data(seed=1)}
    with pytest.raises(ConfigError, match=rf"holds a checkpoint of another run: {named} changed. Choose another folder"):
        run(toy, tmp_path / "run", **change)


def test_bf16_without_cuda_is_said_and_left_out(toy, tmp_path):
    run(toy, tmp_path / "plain")
    _, events = run(toy, tmp_path / "bf16", {"precision": "bf16"})
    assert messages(events, "warning") == ["bf16 is for CUDA; on cpu training stays in float32"]
    assert_equal_weights(weights(tmp_path / "plain"), weights(tmp_path / "bf16"))


def test_loss_that_is_not_finite(toy, tmp_path):
    with pytest.raises(ComputeError, match=r"loss of phase 'encoder' is not finite at step 6 \(total nan, fit .*Lower the learning rate"):
        run(toy, tmp_path / "run", explode=True)


def test_another_process_took_over(toy, tmp_path):
    """The one with the older attempt number stops before it touches a checkpoint."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.status.write_text(json.dumps({"attempt": 1}))

    def sink(event):
        if isinstance(event, Progress):
            folder.status.write_text(json.dumps({"attempt": 2}))

    with pytest.raises(ComputeError, match="another process has taken over"):
        run(toy, folder.path, {"checkpoint_every_steps": 5}, sink=sink)
    assert not folder.checkpoints.exists()


def test_data_hash_sees_every_part(toy):
    data = toy.toy_data()
    first = data_hash(data)
    assert data_hash(toy.toy_data()) == first
    for name in ("responses", "images", "image_index", "unpaired"):
        changed = toy.toy_data()
        array = getattr(changed, name)
        array[-1] = np.roll(array[-1], 1) if array.ndim > 1 else (array[-1] + 1) % 20
        assert data_hash(changed) != first, name


# ---------------------------------------------------------------------- a disk that is really full


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 160 kB, if this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root; the size limit of the other test stands for it")
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tiny file system here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place, leave):
    """Write until only `leave` bytes are free."""
    size = shutil.disk_usage(place).free - leave
    (place / "filler").write_bytes(b"x" * max(0, size))


def test_full_disk_while_checkpointing_is_reported_and_training_goes_on(toy, tmp_path, small_disk):
    run(toy, tmp_path / "whole", {"previews": 0})
    fill(small_disk, 8192)

    def sink(event):
        events.append(event)
        if isinstance(event, Started) and event.stage == "decoder!":
            (small_disk / "filler").unlink()  # somebody tidied up: the final save works again

    events = []
    outcome, _ = run(toy, small_disk / "run", {"previews": 0, "checkpoint_every_steps": 10}, sink=sink)
    assert outcome == "finished"
    warnings = messages(events, "warning")
    assert warnings and all("checkpoint not saved, training goes on: no space left while writing" in text for text in warnings)
    assert_equal_weights(weights(tmp_path / "whole"), weights(small_disk / "run"))
    assert [file.name for file in (small_disk / "run").rglob(".writing-*")] == []


def test_full_disk_at_the_final_save(toy, small_disk):
    fill(small_disk, 8192)
    with pytest.raises(ComputeError, match=r"no space left while writing .*model .*nothing was changed. Free some space"):
        run(toy, small_disk / "run", {"previews": 0})
    left = [file for file in (small_disk / "run").rglob("*") if file.is_file()]
    assert left == []


def test_a_size_limit_is_reported_like_a_full_disk(tmp_path, start_toy):
    """The same without root: no file of this process may grow beyond 4 kB."""
    process = start_toy(tmp_path / "run", {"previews": 0, "checkpoint_every_steps": 10}, limit=4000)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert sum("checkpoint not saved, training goes on" in line for line in output.splitlines()) >= 7
    assert "ComputeError: no space left while writing" in errors
    assert [file for file in (tmp_path / "run").rglob("*") if file.is_file()] == []
