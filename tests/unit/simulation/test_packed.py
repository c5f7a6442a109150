"""Packing keeps every number, and unpacking believes nothing."""

import io
import lzma
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from brain2pix.data.betas import create_hdf5
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError
from brain2pix.simulation import packed
from brain2pix.simulation.packed import as_integers, pack, unpack


@given(st.lists(st.integers(-32767, 32767), min_size=1, max_size=20), st.integers(-30, 30))
def test_numbers_on_a_grid_become_integers_and_back(whole: list[int], exponent: int) -> None:
    values = (np.array(whole, dtype=np.float64) * 2.0**exponent).astype(np.float32)
    found = as_integers(values)
    assert found is not None
    integers, step = found
    np.testing.assert_array_equal(integers * 2.0**step, values)


@pytest.mark.parametrize("values", [[0.1, 0.2, 1000.0], [1.0, np.nan], [np.inf], [-0.0, 1.0], [1.0, 1e-30]])
def test_other_numbers_are_left_as_they_are(values: list[float]) -> None:
    assert as_integers(np.array(values, dtype=np.float32)) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng, place = np.random.default_rng(0), tmp_path / "folder"
    (place / "model").mkdir(parents=True)
    (place / "checkpoints").mkdir()
    (place / "checkpoints" / "large.pt").write_bytes(bytes(1000))
    (place / "job.json").write_text('{"params": {"subject": "subject", "region": null}}')
    (place / "model" / "text.json").write_text("{}")
    on_grid = (np.round(rng.normal(size=(6, 300)) * 4) / 4 + 0.0).astype(np.float32)
    tensors = {
        "rounded": on_grid,
        "free": rng.normal(size=7).astype(np.float32),
        "rows": np.arange(5),
        "scalar": np.array(0.5, dtype=np.float32),
    }
    save_file(tensors, place / "model" / "model.safetensors")
    with create_hdf5(place / "sub_betas.h5") as file:
        file.create_dataset("betas", data=on_grid, chunks=(6, 256))
        file["trials/stimulus_id"] = [f"test-{number}" for number in range(6)]
        file.attrs["unit"] = "z-train"
    return place


def test_a_folder_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    size = pack(folder, tmp_path / "one.tar.xz")
    pack(folder, tmp_path / "two.tar.xz")
    assert (tmp_path / "one.tar.xz").read_bytes() == (tmp_path / "two.tar.xz").read_bytes()
    assert size == (tmp_path / "one.tar.xz").stat().st_size
    back = unpack(tmp_path / "one.tar.xz", tmp_path / "deep" / "back")
    for name in ("model/model.safetensors", "model/text.json"):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    assert not (back / "checkpoints").exists()
    assert f'"{back / "subject"}"' in (back / "job.json").read_text(), "the job says where its subject lies now"
    with h5py.File(folder / "sub_betas.h5") as before, h5py.File(back / "sub_betas.h5") as after:
        np.testing.assert_array_equal(before["betas"][()], after["betas"][()])
        assert after["betas"].dtype == np.float32 and after["betas"].chunks == (6, 256)
        assert after["trials/stimulus_id"][3] == b"test-3" and after.attrs["unit"] == "z-train"
    with pytest.raises(ConfigError, match="not an empty folder"):
        unpack(tmp_path / "one.tar.xz", back)


def archive(file: Path, name: str, kind: bytes = tarfile.REGTYPE, size: int = 3) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        about = tarfile.TarInfo(name)
        about.type, about.size, about.linkname = kind, size if kind == tarfile.REGTYPE else 0, "/etc/passwd"
        made.addfile(about, io.BytesIO(bytes(about.size)))
    file.write_bytes(lzma.compress(buffer.getvalue()))
    return file


def test_files_that_lead_elsewhere_or_are_damaged_are_refused_and_nothing_is_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad, target = tmp_path / "good.tar.xz", tmp_path / "bad.tar.xz", tmp_path / "target" / "inner"
    pack(folder, good)

    def refused(words: str) -> None:
        with pytest.raises(DataFormatError, match=words) as caught:
            unpack(bad, target)
        assert str(bad) in str(caught.value)
        assert not target.parent.exists() or not list(target.parent.iterdir())

    for name in ("../outside", "/absolute", "a/../../b", "c:\\windows", "sub/.."):
        archive(bad, name)
        refused("no plain file")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        archive(bad, "link", kind)
        refused("no plain file")
    with monkeypatch.context() as patched:
        patched.setattr(packed, "MOST_BYTES", 1e6)
        archive(bad, "large", size=2_000_000)
        refused("more than 1 MB")
    archive(bad, "harmless")
    refused("damaged")
    for content in (b"", b"no archive", good.read_bytes()[: good.stat().st_size // 2], good.read_bytes()[:-20]):
        bad.write_bytes(content)
        refused("damaged")
    broken = bytearray(good.read_bytes())
    broken[len(broken) // 2] ^= 0xFF
    bad.write_bytes(bytes(broken))
    refused("damaged")
    with pytest.raises(MissingDataError, match="install the program again"):
        unpack(tmp_path / "nothing", target)
