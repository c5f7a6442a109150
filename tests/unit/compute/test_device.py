import re

import pytest
import torch

from brain2pix.compute.device import available_devices, batch_settings, choose_device, memory_reported
from brain2pix.config.methods import GazivSettings
from brain2pix.config.prf import PRFSettings
from brain2pix.errors import ComputeError, ConfigError


def test_names_that_are_there():
    assert choose_device("cpu") == torch.device("cpu")
    assert str(choose_device("auto")) == ("cuda" if torch.cuda.is_available() else "cpu")
    assert available_devices()[0] == "cpu"


def test_unknown_name():
    with pytest.raises(ConfigError, match=r"unknown device 'cdua'\. Did you mean 'cuda'\? Known: auto, cpu"):
        choose_device("cdua")


def test_device_that_is_not_there():
    with pytest.raises(ComputeError, match=r"device 'cuda:99' is not here; available: cpu.*Choose one of these with --device"):
        choose_device("cuda:99")


def test_out_of_memory_names_the_batch():
    """A real allocation that no machine can serve."""
    with (
        pytest.raises(ComputeError, match=r"out of memory on cpu \(.*Batch sizes now: chunk = 64. Try --set chunk=32\."),
        memory_reported(torch.device("cpu"), PRFSettings()),
    ):
        torch.empty(2**50, dtype=torch.float64)


def test_out_of_memory_of_the_accelerator():
    with (
        pytest.raises(ComputeError, match="out of memory on cuda:0") as caught,
        memory_reported(torch.device("cuda:0"), GazivSettings()),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")
    assert "--set decoder.batch_pairs=12" in str(caught.value)


def test_without_batch_settings():
    with (
        pytest.raises(ComputeError, match=re.escape("Try a smaller region or image size, or another device.")),
        memory_reported(torch.device("cpu")),
    ):
        raise MemoryError


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), memory_reported(torch.device("cpu")):
        raise RuntimeError("shapes do not match")


def test_batch_settings_are_found_by_dotted_name():
    assert batch_settings({"a": {"batch": 4, "deep": {"batch_pairs": 2}}, "chunk": 3, "batch_norm": True, "n": 9}) == {
        "a.batch": 4,
        "a.deep.batch_pairs": 2,
        "chunk": 3,
    }
