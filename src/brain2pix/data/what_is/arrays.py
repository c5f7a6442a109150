"""Arrays in words: npy, npz, HDF5, MATLAB and safetensors. Headers only, but for the range of small ones."""

import json
import math
import tokenize
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from brain2pix.data.readers import own
from brain2pix.data.readers._hdf5 import open_hdf5
from brain2pix.data.readers._matlab5 import Matlab5File
from brain2pix.data.readers._reading import reading
from brain2pix.data.readers.own_arrays import map_npy
from brain2pix.data.volumes import UNREADABLE
from brain2pix.data.what_is.said import WhatIs, fact, listed, own_import, quoted, shape_text, size_text
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_MOST_ITEMS, _DEEPEST = 200, 6
_MOST_HEADER = 32 * 2**20
_MOST_ENTRIES = 10_000
_OBJECTS = "Python objects: never loaded"
_NO_RESPONSES = "nothing here is imported: choose the file with the responses"


def describe_npy(path: "Path") -> WhatIs:
    """Describe one numpy array by its header."""
    with path.open("rb") as file:
        header = header_text(file)
    if header.endswith(_OBJECTS):
        return WhatIs(
            "numpy array of Python objects", (fact("array", header),), ("never loaded here: it may run code. Save numbers with np.save",)
        )
    array = map_npy(path, "array")
    facts = [fact("array", f"{shape_text(array.shape)} {array.dtype}, {size_text(array.nbytes)}")]
    said = own.sniff(path)
    if said is not None:
        return WhatIs(f"numpy array; {said.text}", tuple(facts), (own_import(path, table=True),))
    images = images_text(array.shape, array.dtype)
    if images:
        use = (
            "as images without responses: stimuli/unpaired.npy of a native folder" if images.startswith("colour") else "a stack of pictures"
        )
        return WhatIs(f"numpy array, perhaps {images}", tuple(facts), (use,))
    if array.ndim == 2:
        return WhatIs("numpy matrix", tuple(facts), (f"if its rows are responses: {own_import(path)}",))
    return WhatIs("numpy array", tuple(facts), ("a matrix of responses has two axes, trials by voxels; this one is not imported as it is",))


def describe_npz(path: "Path") -> WhatIs:
    """Describe a zip archive: numpy arrays, a PyTorch file, or something else."""
    with reading(path, "zip file"), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()[:_MOST_ENTRIES]
        names = [entry.filename for entry in entries]
        if any(name.endswith("data.pkl") for name in names):
            return WhatIs(
                "PyTorch file", (fact("entries", str(len(names))),), (f"weights of a known network: brain2pix weights add {quoted(path)}",)
            )
        arrays = [entry for entry in entries if entry.filename.endswith(".npy")]
        if not names or len(arrays) < len(names):
            total = sum(entry.file_size for entry in entries)
            about = (fact("entries", f"{len(names)}: {listed(names, 6)}"), fact("size", f"{size_text(total)} unpacked"))
            return WhatIs("zip archive", about, (f"unpack it, then inspect what is inside: unzip {quoted(path)}",))
        facts = tuple(
            fact("array", f"{entry.filename.removesuffix('.npy')} {_npy_header(archive, entry)}") for entry in arrays[:_MOST_ITEMS]
        )
    return WhatIs("numpy archive", facts, ("save the matrix of responses by itself (np.save), then import own",))


def describe_hdf5(path: "Path") -> WhatIs:
    """Describe an HDF5 file: its datasets, and whose layout it is. Links to other files are named, not followed."""
    with open_hdf5(path) as file:
        items: list[tuple[str, str, tuple[int, ...]]] = []
        complete = _walk(file, "", items)
        top = {str(name) for _, name in zip(range(_MOST_ITEMS), file, strict=False)}
        matlab = int(file.userblock_size) >= 512
    shapes = {name: shape for name, kind, shape in items if kind not in ("group", "link")}
    facts = [fact("dataset", f"{name} {shape_text(shape)} {kind}") for name, kind, shape in items if name in shapes]
    facts += [fact("link", f"{name}: not followed") for name, kind, _ in items if kind == "link"]
    facts = facts[:_MOST_ITEMS] or [fact("datasets", "none")]
    facts += [] if complete else [fact("note", f"only the first {len(items)} items, and {_DEEPEST} levels, are listed")]
    title, actions = _known_hdf5(path, top, shapes)
    container = "MATLAB v7.3 file (HDF5)" if matlab else "HDF5 file"
    return WhatIs(f"{container}{title}", tuple(facts), actions)


def _known_hdf5(path: "Path", top: set[str], shapes: dict[str, tuple[int, ...]]) -> tuple[str, tuple[str, ...]]:
    if "imgBrick" in top:
        return ": pictures of the Natural Scenes Dataset (imgBrick)", ("NSD is not imported yet",)
    if {"betas", "ijk", "affine"} <= top:
        n_trials, n_voxels = (*shapes.get("betas", ()), 0, 0)[:2]
        title = f": responses of a native subject, {n_trials:,} trials of {n_voxels:,} voxels"
        return title, ()
    if top == {"betas"} and len(shapes.get("betas", ())) == 4:
        return ": betas of one session of the Natural Scenes Dataset, by its layout", ("NSD is not imported yet",)
    said = own.sniff(path)
    if said is not None:
        return f": {said.text}", (own_import(path, table=True),)
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
    if matrices:
        named = f" --dataset {matrices[0]}" if len(matrices) > 1 else ""
        return "", (f"if {matrices[0]} holds responses: {own_import(path)}{named}",)
    return "", (_NO_RESPONSES,)


def describe_matlab5(path: "Path") -> WhatIs:
    """Describe a MATLAB v5 file by the headers of its variables."""
    variables = Matlab5File(path).variables
    facts = tuple(fact("variable", f"{name} {shape_text(one.shape)} {_class(one.matlab_class)}") for name, one in variables.items())
    matrices = [name for name, one in variables.items() if one.is_numeric and len(one.shape) == 2 and min(one.shape) > 1]
    if {"ang", "ecc", "R2"} <= set(variables):
        action = f"brain2pix prf import {quoted(path)} SUBJECT"
        return WhatIs("MATLAB v5 file: receptive fields, by its variables a result of analyzePRF", facts, (action,))
    save = "save its matrix as .npy or HDF5, e.g. in MATLAB: h5create, h5write; then brain2pix import own"
    return WhatIs("MATLAB v5 file", facts[:_MOST_ITEMS] or (fact("variables", "none"),), (save if matrices else _NO_RESPONSES,))


def describe_safetensors(path: "Path") -> WhatIs:
    """Describe a file of tensors by its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, path.stat().st_size - 8):
            raise DataFormatError(f"{path}: its header announces {length:,} bytes; it is no safetensors file, or truncated. Copy it again.")
        try:
            header = json.loads(file.read(length))
            tensors = {str(name): (str(one["dtype"]), tuple(int(edge) for edge in one["shape"])) for name, one in _tensors(header).items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataFormatError(f"{path}: its header is damaged ({type(error).__name__}); copy it again") from None
    count = sum(math.prod(shape) for _, shape in tensors.values())
    shown = list(tensors.items())[:_MOST_ITEMS]
    facts = [fact("tensors", f"{len(tensors)}, {count:,} numbers")]
    facts += [fact("tensor", f"{name} {shape_text(shape)} {dtype}") for name, (dtype, shape) in shown[:20]]
    facts += [fact("note", f"and {len(tensors) - 20} more")] if len(tensors) > 20 else []
    beside = {
        "model.json": ("a trained system", f"brain2pix inspect {quoted(path.parent)}"),
        "alignment.json": ("an alignment of subjects", f"brain2pix inspect {quoted(path.parent)}"),
    }
    for name, (what, action) in beside.items():
        if path.name == name.replace(".json", ".safetensors") and path.with_name(name).is_file():
            return WhatIs(f"safetensors file of {what}", tuple(facts), (action,))
    card = path.with_suffix(".toml")
    title = "safetensors file, weights of a network with its card" if card.is_file() else "safetensors file"
    return WhatIs(title, tuple(facts), (f"weights of a known network: brain2pix weights add {quoted(path)}",))


def images_text(shape: tuple[int, ...], dtype: Any) -> str:
    """Say what stack of pictures an array may be; "" if none."""
    if dtype != np.uint8 or len(shape) not in (3, 4) or min(shape, default=0) < 1:
        return ""
    if len(shape) == 4 and shape[3] == 3:
        return f"colour pictures [n h w 3]: {shape[0]:,} of {shape[1]} x {shape[2]} px"
    if len(shape) == 4 and shape[1] == 3:
        return f"pictures with colours first [n 3 h w]: {shape[0]:,} of {shape[2]} x {shape[3]} px"
    return f"grey pictures [n h w]: {shape[0]:,} of {shape[1]} x {shape[2]} px" if len(shape) == 3 and min(shape[1:]) >= 8 else ""


def _tensors(header: Any) -> dict[str, Any]:
    return {name: values for name, values in header.items() if name != "__metadata__"}


def _npy_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    try:
        with archive.open(entry) as file:
            return header_text(file)
    except (*UNREADABLE, RuntimeError, zipfile.BadZipFile) as error:  # damaged, locked or packed otherwise: the others are still listed
        return f"cannot be read ({type(error).__name__})"


def header_text(file: "IO[bytes]") -> str:
    """Shape and type in the header of a numpy file; says so if it is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a header is of Python 2
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
    # numpy parses the header as Python text
    except (*UNREADABLE, SyntaxError, tokenize.TokenError, TypeError, KeyError, RecursionError, MemoryError, OverflowError) as error:
        return f"cannot be read ({type(error).__name__})"
    return f"{shape_text(shape)} {_OBJECTS if dtype.hasobject else dtype}"


def _walk(group: h5py.Group, prefix: str, items: list[tuple[str, str, tuple[int, ...]]]) -> bool:
    """List what lies in this file itself; False if there was more than is listed."""
    for key in group:
        if len(items) >= _MOST_ITEMS:
            return False
        name = f"{prefix}{key}"
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            items.append((name, "link", ()))
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            kind = "texts" if item.dtype.kind == "O" else str(item.dtype)
            items.append((name, kind, tuple(item.shape or ())))
        elif isinstance(item, h5py.Group) and not (key == "#refs#"):  # where MATLAB keeps what its cells point to
            items.append((name, "group", ()))
            if name.count("/") + 1 >= _DEEPEST:
                return False
            if not _walk(item, f"{name}/", items):
                return False
    return True


def _class(number: int) -> str:
    names = {1: "cell", 2: "struct", 3: "object", 4: "text", 5: "sparse", 6: "double", 7: "single", 8: "int8", 9: "uint8", 10: "int16"}
    return {**names, 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64"}.get(number, f"class {number}")
