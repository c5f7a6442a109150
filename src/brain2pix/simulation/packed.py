"""A simulated subject with its trained run in one small file, and back: ``python -m brain2pix.simulation.packed FILE FOLDER`` unpacks.

The file is a ``.tar.xz`` of the folder. What the packages of this program hold anyway is left out, and numbers that lie on a grid are kept
as small integers:

- ``subject/sub-01/anat`` (fsaverage5 and the MNI152 template) is written anew from nilearn.
- In the response matrix (HDF5) and in the tensors of a model (safetensors), an array whose values are all whole multiples of a power of two
  becomes integers; that power stands in ``packed.json``.

Nothing is rounded here: the model comes back byte by byte, and every response with its exact value.
"""

import io
import json
import lzma
import os
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from brain2pix.data.betas import create_hdf5
from brain2pix.errors import Brain2PixError, ConfigError, DataFormatError, MissingDataError
from brain2pix.files import atomic_folder, atomic_path, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FORMAT = 1
INDEX = "packed.json"
MOST_BYTES = 200e6  # that a file may grow to when it is unpacked
LEFT_OUT = ("checkpoints", "anat")  # folders
_INTEGERS = (np.int8, np.int16)
_SUFFIX = ".integers.npy"
_BETAS = "betas"
# Literals of integers around 0 have no context worth looking at; bytes are not aligned.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 24}]


def pack(folder: Path, file: Path) -> int:
    """Write a folder into one file; the same folder gives the same bytes.

    Parameters
    ----------
    folder : Path, holds ``subject``, and whatever belongs to it
    file : Path, ``.tar.xz``

    Returns
    -------
    int, bytes
    """
    members: dict[str, bytes] = {}
    index: dict[str, Any] = {"format": FORMAT, "integers": {}}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not set(LEFT_OUT) & set(name.parts[:-1]):
            members |= _member(name.as_posix(), path.read_bytes(), index["integers"])
    members[INDEX] = json.dumps(index, indent=1, sort_keys=True).encode()
    with atomic_path(file) as beside:
        beside.write_bytes(lzma.compress(_tar(members), format=lzma.FORMAT_XZ, filters=_FILTERS))
    return file.stat().st_size


def unpack(file: Path, folder: Path) -> Path:
    """Make the folder again, whole or not at all.

    Parameters
    ----------
    file : Path
    folder : Path, must not exist or be empty

    Returns
    -------
    Path, `folder`

    Raises
    ------
    MissingDataError, DataFormatError
        If there is no such file, or it is damaged, or its members would leave the folder.
    ConfigError
        If `folder` is not empty.
    ComputeError
        If the disk is full.
    """
    if not file.is_file():
        raise MissingDataError(f"{file} is missing; install the program again")
    try:
        members = _members(file)
        index = json.loads(members.pop(INDEX))
        if index["format"] != FORMAT:
            raise DataFormatError(f"{file} has format {index['format']}, this version reads {FORMAT}; install the program again")
        whole = dict(_whole(members, index["integers"]))
    except (lzma.LZMAError, tarfile.TarError, EOFError, OSError, ValueError, KeyError) as error:
        if isinstance(error, Brain2PixError):
            raise
        raise DataFormatError(f"{file} is damaged ({type(error).__name__}: {error}); install the program again") from error
    try:
        with atomic_folder(folder) as beside:
            for name, content in whole.items():
                place = beside / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            for name, (stub, betas) in _matrices(members, index["integers"]).items():
                _write_matrix(beside / name, stub, betas)
            _write_anatomy(beside)
            _complete_paths(beside, folder.absolute())
    except FileExistsError as error:
        raise ConfigError(str(error)) from None
    return folder


def _write_anatomy(folder: Path) -> None:
    from brain2pix.simulation.subject import SUBJECT, write_template_anatomy

    if (folder / "subject").is_dir():
        write_template_anatomy(folder / "subject" / SUBJECT / "anat")


def _complete_paths(beside: Path, folder: Path) -> None:
    """Say in the jobs where their inputs lie now; in the packed file, paths count from the job's own folder."""
    for file in beside.rglob("job.json"):
        job = json.loads(file.read_text(encoding="utf-8"))
        for key in {"subject", "run"} & job.get("params", {}).keys():
            if job["params"][key] is not None:
                job["params"][key] = os.path.normpath(folder / file.relative_to(beside).parent / job["params"][key])
        write_json(file, job)


# ---------------------------------------------------------------------- the archive


def _tar(members: dict[str, bytes]) -> bytes:
    """Tar without owners and times; files of one kind lie together, so that what they share is found."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(members, key=lambda name: (name != INDEX, PurePosixPath(name).suffix, name)):
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(members[name]), 0o644
            archive.addfile(about, io.BytesIO(members[name]))
    return buffer.getvalue()


def _members(file: Path) -> dict[str, bytes]:
    """Contents of an archive by name; nothing is written, and no name may lead out of the folder."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(_decompressed(file)), mode="r:") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            plain = not path.is_absolute() and ".." not in path.parts and not set(member.name) & set('\\:*?"<>|\0')
            if not member.isfile() or not plain or path.name in ("", "."):
                raise DataFormatError(f"{file} holds {member.name!r}, which is no plain file below its folder; it was not unpacked")
            content = archive.extractfile(member)
            assert content is not None  # a file has content
            members[member.name] = content.read()
    return members


def _decompressed(file: Path) -> bytes:
    """Content of an xz file, up to its end mark and the sums before it: a tar alone would not miss them."""
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    content = reader.decompress(file.read_bytes(), max_length=int(MOST_BYTES))
    if not reader.eof and len(content) >= int(MOST_BYTES):
        raise DataFormatError(f"{file} unpacks to more than {MOST_BYTES / 1e6:g} MB; it was not unpacked")
    if not reader.eof:
        raise EOFError("it ends too early")
    return content


def _member(name: str, content: bytes, integers: dict[str, Any]) -> dict[str, bytes]:
    if name.endswith(".h5"):
        return _pack_matrix(name, content, integers)
    if name.endswith(".safetensors"):
        return _pack_tensors(name, content, integers)
    return {name: content}


def _whole(members: dict[str, bytes], integers: dict[str, Any]) -> "Iterator[tuple[str, bytes]]":
    """Files as they were, but for HDF5."""
    for name, content in members.items():
        if name.endswith(_SUFFIX):
            continue
        about = integers.get(name)
        if about is None:
            yield name, content
        elif about["kind"] == "safetensors":
            yield name, _unpack_tensors(content, members, name, about)


# ---------------------------------------------------------------------- numbers on a grid


def as_integers(values: "NDArray[np.float32]") -> "tuple[NDArray[Any], int] | None":
    """Write values as ``integers * 2 ** exponent``, exactly; None if they need more than 16 bits.

    Parameters
    ----------
    values : float32 array

    Returns
    -------
    int8 or int16 array of the same shape, and the exponent; or None
    """
    found = values[values != 0]
    if not found.size:
        return np.zeros(values.shape, dtype=np.int8), 0
    if not np.isfinite(found).all():
        return None
    mantissa, power = np.frexp(found.astype(np.float64))
    whole = np.round(mantissa * 2.0**24).astype(np.int64)  # float32 has 24 binary digits
    exponent = int((power - 24 + np.log2((whole & -whole).astype(np.float64)).astype(np.int64)).min())
    scaled = np.ldexp(values.astype(np.float64), -exponent)
    for kind in _INTEGERS:
        if np.abs(scaled).max() <= np.iinfo(kind).max and not np.signbit(values[values == 0]).any():
            return scaled.astype(kind), exponent
    return None


def _from_integers(integers: "NDArray[Any]", exponent: int) -> "NDArray[np.float32]":
    values: NDArray[np.float32] = np.ldexp(integers.astype(np.float64), exponent).astype(np.float32)
    return values


def _as_npy(values: "NDArray[Any]") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _from_npy(content: bytes) -> "NDArray[Any]":
    values: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return values


# ---------------------------------------------------------------------- responses: HDF5


def _pack_matrix(name: str, content: bytes, integers: dict[str, Any]) -> dict[str, bytes]:
    stub = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as full, h5py.File(stub, "w") as rest:
        found = as_integers(full[_BETAS][()])
        if found is None:
            return {name: content}
        integers[name] = {"kind": "hdf5", "exponent": found[1], "chunks": list(full[_BETAS].chunks or full[_BETAS].shape)}
        for key in full:
            if key != _BETAS:
                full.copy(key, rest)
        rest.attrs.update(dict(full.attrs))
    return {name: stub.getvalue(), f"{name}.{_BETAS}{_SUFFIX}": _as_npy(found[0])}


def _matrices(members: dict[str, bytes], integers: dict[str, Any]) -> "dict[str, tuple[bytes, NDArray[np.float32]]]":
    return {
        name: (members[name], _from_integers(_from_npy(members[f"{name}.{_BETAS}{_SUFFIX}"]), about["exponent"]))
        for name, about in integers.items()
        if about["kind"] == "hdf5"
    }


def _write_matrix(path: Path, stub: bytes, betas: "NDArray[np.float32]") -> None:
    from brain2pix.data.betas import VOXELS_PER_CHUNK

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(io.BytesIO(stub), "r") as rest, create_hdf5(path) as full:
        chunks = (max(len(betas), 1), max(1, min(betas.shape[1], VOXELS_PER_CHUNK)))
        full.create_dataset(_BETAS, data=betas, chunks=chunks)
        for key in rest:
            rest.copy(key, full)
        full.attrs.update(dict(rest.attrs))


# ---------------------------------------------------------------------- models: safetensors


def _pack_tensors(name: str, content: bytes, integers: dict[str, Any]) -> dict[str, bytes]:
    start, tensors = _tensors(content)
    members, exponents = {name: content[:start]}, {}
    for tensor, (begin, end, dtype, shape) in tensors.items():
        part = content[start + begin : start + end]
        found = as_integers(np.frombuffer(part, dtype="<f4").reshape(shape)) if dtype == "F32" else None
        if found is not None:
            exponents[tensor] = found[1]
            part = _as_npy(found[0])
        members[f"{name}.{tensor}{_SUFFIX}"] = part
    integers[name] = {"kind": "safetensors", "exponents": exponents}
    return members


def _unpack_tensors(head: bytes, members: dict[str, bytes], name: str, about: dict[str, Any]) -> bytes:
    start, tensors = _tensors(head)
    content = bytearray(start + max((end for _, end, _, _ in tensors.values()), default=0))
    content[:start] = head
    for tensor, (begin, end, _, _) in tensors.items():
        part = members[f"{name}.{tensor}{_SUFFIX}"]
        if tensor in about["exponents"]:
            part = _from_integers(_from_npy(part), about["exponents"][tensor]).astype("<f4").tobytes()
        if len(part) != end - begin:
            raise DataFormatError(f"the packed tensor {tensor} has {len(part)} bytes instead of {end - begin}; install the program again")
        content[start + begin : start + end] = part
    return bytes(content)


def _tensors(content: bytes) -> tuple[int, dict[str, tuple[int, int, str, list[int]]]]:
    """Where the data begin, and begin, end, type and shape of each tensor (https://huggingface.co/docs/safetensors: 8 bytes, then JSON)."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    return start, {key: (*about["data_offsets"], about["dtype"], about["shape"]) for key, about in head.items() if key != "__metadata__"}


def main(arguments: list[str]) -> int:
    """Unpack; the last line of stderr says what went wrong."""
    if len(arguments) != 2:
        print("usage: python -m brain2pix.simulation.packed FILE FOLDER", file=sys.stderr)
        return 2
    try:
        unpack(Path(arguments[0]), Path(arguments[1]))
    except (Brain2PixError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
