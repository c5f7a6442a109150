import hashlib
import random

import numpy as np
import pytest
import torch

from brain2pix.errors import DataFormatError
from brain2pix.training.checkpoint import (
    Checkpoint,
    CheckpointFolder,
    Position,
    load_optimizer,
    pack_optimizer,
    random_state,
    read_checkpoint,
    set_random_state,
)


def make(step=3, optimizer=None):
    return Checkpoint(
        Position(1, step), {"weight": torch.randn(4, 5), "count": torch.tensor(7)}, optimizer, random_state(), {"data": "abc"}
    )


def test_round_trip(tmp_path):
    net = torch.nn.Linear(5, 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, amsgrad=True, betas=(0.7, 0.9))
    net(torch.randn(3, 5)).sum().backward()
    optimizer.step()
    written = make(optimizer=pack_optimizer(optimizer))
    read = read_checkpoint(CheckpointFolder(tmp_path).save(written))
    assert read.position == Position(1, 3)
    assert read.fingerprint == {"data": "abc"}
    assert torch.equal(read.model["weight"], written.model["weight"])
    fresh = torch.optim.Adam(net.parameters(), lr=0.5)
    load_optimizer(fresh, read.optimizer)
    state, expected = fresh.state_dict(), optimizer.state_dict()
    assert state["param_groups"] == expected["param_groups"]
    for index, values in expected["state"].items():
        assert values.keys() == state["state"][index].keys()
        assert all(torch.equal(values[name], state["state"][index][name]) for name in values)


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop", "Adagrad", "NAdam"])
def test_other_optimizers_go_on_as_if_nothing_happened(kind):
    def make_pair():
        torch.manual_seed(0)
        net = torch.nn.Linear(5, 4)
        options = {"momentum": 0.9, "nesterov": True} if kind == "SGD" else {}
        return net, getattr(torch.optim, kind)(net.parameters(), lr=0.1, **options)

    def steps(net, optimizer, n):
        for _ in range(n):
            optimizer.zero_grad()
            net(torch.arange(15.0).view(3, 5)).square().mean().backward()
            optimizer.step()

    whole, optimizer = make_pair()
    steps(whole, optimizer, 6)
    first, optimizer = make_pair()
    steps(first, optimizer, 3)
    second, fresh = make_pair()
    second.load_state_dict(first.state_dict())
    load_optimizer(fresh, pack_optimizer(optimizer))
    steps(second, fresh, 3)
    assert torch.equal(whole.weight, second.weight)


def test_random_generators_go_on_where_they_were():
    def draw():
        return [*torch.rand(3).tolist(), *np.random.standard_normal(3), np.random.rand(), random.random(), random.gauss(0, 1)]

    np.random.standard_normal(1)  # half of a pair: numpy keeps the other half in its state
    random.gauss(0, 1)
    state = random_state()
    expected = draw()
    draw()
    set_random_state(state)
    assert draw() == expected


def test_two_are_kept_each_with_the_hash_that_sha256sum_checks(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for step in range(4):
        folder.save(make(step))
    assert [file.name for file in folder.files()] == ["checkpoint-000003.pt", "checkpoint-000004.pt"]
    assert len(list(tmp_path.iterdir())) == 4
    for file in folder.files():
        digest, name = file.with_name(file.name + ".sha256").read_text().split()
        assert name == file.name
        assert digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(make())
    (tmp_path / ".writing-abc.pt").write_bytes(b"half")
    assert folder.load_newest(pytest.fail).position.step == 3
    assert not (tmp_path / ".writing-abc.pt").exists()


def test_hash_of_a_changed_byte_or_a_missing_hash(tmp_path):
    file = CheckpointFolder(tmp_path).save(make())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        DataFormatError, match=r"checkpoint .*000001.pt is damaged: its sha256 is [0-9a-f]{12}\.\.\., .*sha256 says [0-9a-f]{12}"
    ):
        read_checkpoint(file)
    file.with_name(file.name + ".sha256").unlink()
    with pytest.raises(DataFormatError, match="sha256 says nothing"):
        read_checkpoint(file)


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def test_a_checkpoint_cannot_run_code(tmp_path):
    file = tmp_path / "checkpoint-000001.pt"
    torch.save({"format": 1, "about": Harmful()}, file)
    file.with_name(file.name + ".sha256").write_text(hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_checkpoint(file)


def test_no_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path / "none")
    assert folder.load_newest(pytest.fail) is None
    folder.remove()
