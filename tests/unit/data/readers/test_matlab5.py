"""MATLAB's own habits that scipy does not have: small types for whole numbers, data inside the tag, the other order of bytes."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io

from brain2pix.data.readers._matlab5 import Matlab5File


def element(order, kind, data):
    if 0 < len(data) <= 4:
        return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def variable(order, name, values, kind, dtype, *, packed):
    """Write a matrix of class double, its numbers stored as another type."""
    head = element(order, 6, struct.pack(f"{order}II", 6, 0)) + element(order, 5, struct.pack(f"{order}ii", *values.shape))
    content = head + element(order, 1, name.encode()) + element(order, kind, values.astype(f"{order}{dtype}").tobytes(order="F"))
    whole = struct.pack(f"{order}II", 14, len(content)) + content
    if not packed:
        return whole
    raw = zlib.compress(whole)
    return struct.pack(f"{order}II", 15, len(raw)) + raw


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("kind", "dtype"), [(2, "u1"), (3, "i2"), (7, "f4"), (9, "f8")])
def test_stored_types(tmp_path, order, packed, kind, dtype):
    rng = np.random.default_rng(1)
    large, small = rng.integers(0, 100, (7, 11)).astype(float), np.array([[3.0, 4.0]])
    parts = [variable(order, name, values, kind, dtype, packed=packed) for name, values in (("large", large), ("s", small))]
    version = b"\x00\x01IM" if order == "<" else b"\x01\x00MI"
    path = tmp_path / "whole.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + version + b"".join(parts))
    np.testing.assert_array_equal(scipy.io.loadmat(path)["large"], large)  # scipy takes it for what it is, too
    file = Matlab5File(path)
    np.testing.assert_array_equal(file.numbers("large"), large)
    np.testing.assert_array_equal(file.numbers("s"), small)
    with file.columns("large") as columns:
        for start, stop in ((0, 11), (4, 6), (9, 11), (0, 2), (5, 5)):
            np.testing.assert_array_equal(columns.read(start, stop), large[:, start:stop].astype(np.float32))
