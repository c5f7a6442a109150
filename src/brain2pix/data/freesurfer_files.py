"""FreeSurfer's own files: meshes, flat patches, morphometry, annotations, labels and the MGH box.

Each count in a file is held against the file's length before anything is read, so that a damaged file cannot ask for memory.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.freesurfer import io as freesurfer
from nibabel.freesurfer.mghformat import MGHHeader, MGHImage
from nibabel.openers import ImageOpener

from brain2pix.anatomy.surfaces import Mesh
from brain2pix.data.surface_files import check_announced, check_faces, reading
from brain2pix.data.volumes import join_names, require_file
from brain2pix.errors import DataFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

TRIANGLES, QUADS, NEW_QUADS = b"\xff\xff\xfe", b"\xff\xff\xff", b"\xff\xff\xfd"  # quads share their number with morphometry
MGH = (".mgz", ".mgh", ".mgh.gz")
UNKNOWN = -1  # the label of a vertex that an annotation leaves out
_LONGEST_NAME = 4096
_LONGEST_STAMP = 65536
_RGBA = tuple[float, float, float, float]


@dataclass(frozen=True)
class Geometry:
    """A FreeSurfer mesh as the file has it.

    Parameters
    ----------
    mesh : Mesh, in FreeSurfer's surface space (tkr-RAS mm), whose zero is the middle of the volume
    to_scanner : float64 array, [4 4], surface space to the world of the volume (RAS mm); None if the file does not say
    """

    mesh: Mesh
    to_scanner: "NDArray[np.float64] | None"


@dataclass(frozen=True)
class Annotation:
    """Labels of vertices.

    Parameters
    ----------
    labels : int32 array, [p], rows of the colour table; `UNKNOWN` where the file names none
    names : dict of label to name
    colours : dict of label to RGBA in 0..1
    n_lost : int, vertices whose colour code the table lacks: they are `UNKNOWN`
    """

    labels: "NDArray[np.int32]"
    names: dict[int, str]
    colours: dict[int, _RGBA]
    n_lost: int


def kind_of(path: "Path") -> str:
    """Say by its first bytes what a file without suffix is: "geometry", "morphometry", "patch", or "" for anything else."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(15)
    if start.startswith(QUADS) and len(start) == 15 and size == 15 + 4 * struct.unpack(">i", start[3:7])[0]:
        return "morphometry"
    if len(start) >= 8 and start.startswith(b"\xff\xff\xff\xff") and size == 8 + 16 * struct.unpack(">i", start[4:8])[0]:
        return "patch"
    if start.startswith((TRIANGLES, QUADS, NEW_QUADS)):
        return "geometry"
    # the oldest files of morphometry begin with their number of vertices
    if len(start) >= 6 and size == 6 + 2 * int.from_bytes(start[:3], "big"):
        return "morphometry"
    return ""


def read_geometry(path: "Path") -> Geometry:
    """Read ``lh.white``, ``lh.pial``, ``lh.inflated``, ``lh.sphere`` and the like.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "surface")
    _check_geometry(path)
    volume: Mapping[str, Any] = {}
    try:
        with reading(path, "surface"):
            vertices, faces, volume = freesurfer.read_geometry(path, read_metadata=True)
    except DataFormatError:  # the mesh may be sound, and only what follows it not
        with reading(path, "surface"):
            vertices, faces = freesurfer.read_geometry(path)
    check_faces(path, vertices, faces)
    mesh = Mesh(np.ascontiguousarray(vertices, dtype=np.float32), np.ascontiguousarray(faces, dtype=np.int32))
    if not str(volume.get("valid", "")).startswith("1"):
        return Geometry(mesh, None)
    with reading(path, "volume geometry of surface"):
        axes = np.stack([volume["xras"], volume["yras"], volume["zras"]])
        return Geometry(mesh, tkr_to_scanner(volume["volume"], volume["voxelsize"], axes, volume["cras"]))


def tkr_to_scanner(shape: "ArrayLike", voxel_mm: "ArrayLike", axes: "ArrayLike", c_ras: "ArrayLike") -> "NDArray[np.float64] | None":
    """Affine from FreeSurfer's surface space to the world of its volume: a shift by `c_ras` where that volume is conformed.

    Parameters
    ----------
    shape, voxel_mm : [3], of the volume
    axes : [3 3], direction of i, j and k in RAS, one in each row
    c_ras : [3], world position of the middle of the volume

    Returns
    -------
    float64 array, [4 4]; None if the numbers describe no volume
    """
    header = MGHHeader()
    header.set_data_shape(tuple(int(edge) for edge in np.asarray(shape)))
    header["delta"], header["Mdc"], header["Pxyz_c"] = voxel_mm, axes, c_ras
    scanner, surface = header.get_affine(), header.get_vox2ras_tkr()
    if not (np.isfinite(scanner).all() and np.isfinite(surface).all() and abs(np.linalg.det(surface)) > 0 and np.linalg.det(scanner)):
        return None
    moved = np.asarray(scanner @ np.linalg.inv(surface), dtype=np.float64)
    return moved if np.isfinite(moved).all() else None


def read_patch(path: "Path", n_vertices: int, faces: "NDArray[np.int32]") -> Mesh:
    """Read a flattened patch (``lh.cortex.patch.flat``) as a mesh with all vertices of its hemisphere; those cut away are in no triangle.

    Parameters
    ----------
    path : Path
    n_vertices : int, of the hemisphere
    faces : int array, [f 3], of its other meshes

    Raises
    ------
    MissingDataError, DataFormatError
        If it names vertices that the hemisphere lacks.
    """
    require_file(path, "flat patch")
    raw = path.read_bytes()
    marker, count = struct.unpack(">ii", raw[:8].ljust(8, b"\0"))
    if marker != -1 or count <= 0 or len(raw) < 8 + 16 * count:
        raise DataFormatError(
            f"flat patch {path} ({len(raw):,} bytes) is truncated or not a FreeSurfer patch (*.patch.flat); copy it again"
        )
    rows = np.frombuffer(raw, dtype=[("vertex", ">i4"), ("xyz", ">f4", 3)], count=count, offset=8)
    index = np.abs(rows["vertex"].astype(np.int64)) - 1  # 1-based; a minus marks the border of the patch
    if index.min() < 0 or index.max() >= n_vertices:
        raise DataFormatError(
            f"flat patch {path} names vertex {int(index.max())}, its hemisphere has {n_vertices} vertices (0-based); "
            "it belongs to another subject or mesh"
        )
    vertices = np.zeros((n_vertices, 3), dtype=np.float32)
    inside = np.zeros(n_vertices, dtype=bool)
    vertices[index], inside[index] = rows["xyz"], True
    return Mesh(vertices, np.ascontiguousarray(faces[inside[faces].all(axis=1)], dtype=np.int32))


def read_morphometry(path: "Path") -> "NDArray[np.float32]":
    """Read ``lh.curv``, ``lh.sulc``, ``lh.thickness`` and the like, one value for each vertex, [p].

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "surface map")
    if kind_of(path) != "morphometry":
        raise DataFormatError(
            f"surface map {path} ({path.stat().st_size:,} bytes) is truncated or no FreeSurfer map (curv, sulc, thickness); copy it again"
        )
    with reading(path, "surface map"):
        return np.asarray(freesurfer.read_morph_data(path)).astype(np.float32)


def read_annotation(path: "Path") -> Annotation:
    """Read an ``.annot`` file.

    nibabel's reader gives vertices whose code the table lacks the label that sorts next to it, and takes names in the order of the file
    where the table has holes; both would name the wrong area, so the few fields are read here.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "annotation")
    stream = _Numbers(path, path.read_bytes())
    count = stream.integer()
    pairs = stream.integers(2 * stream.counted(count, 8, "vertices")).reshape(-1, 2)
    if stream.integer() == 0:
        raise DataFormatError(f"annotation {path} has no colour table, so its labels have no names; write it again with one")
    table = _colour_table(stream)
    vertex = pairs[:, 0].astype(np.int64)
    if vertex.size and (vertex.min() < 0 or vertex.max() >= len(vertex) or np.unique(vertex).size != len(vertex)):
        raise DataFormatError(f"annotation {path}: expected each vertex 0..{len(vertex) - 1} once, got other numbers; it is damaged")
    codes = np.empty(len(vertex), dtype=np.int64)
    codes[vertex] = pairs[:, 1]
    labels = np.full(len(codes), UNKNOWN, dtype=np.int32)
    for index, (_, (red, green, blue, _clear)) in reversed(table.items()):  # of two entries of one colour the first has it
        labels[codes == red + (green << 8) + (blue << 16)] = index
    labels[codes == 0] = UNKNOWN
    names = {index: name for index, (name, _) in table.items()}
    colours = {index: _rgba(colour) for index, (_, colour) in table.items()}
    if (labels == UNKNOWN).any():
        names, colours = {UNKNOWN: "unknown", **names}, {UNKNOWN: (0.0, 0.0, 0.0, 0.0), **colours}
    return Annotation(labels, names, colours, int(((labels == UNKNOWN) & (codes != 0)).sum()))


def read_label(path: "Path", n_vertices: int | None) -> "NDArray[np.bool_]":
    """Read a ``.label`` file, which lists vertices, as a mask.

    Parameters
    ----------
    path : Path
    n_vertices : int or None, of the mesh

    Returns
    -------
    bool array, [p]

    Raises
    ------
    MissingDataError
    DataFormatError
        If `n_vertices` is not known, or the file names a vertex beyond it.
    """
    require_file(path, "label")
    if n_vertices is None:
        raise DataFormatError(f"label {path} lists vertices, not how many the mesh has; open the mesh it belongs to first")
    with path.open("rb") as file:
        start = file.readline(_LONGEST_STAMP), file.readline(_LONGEST_STAMP)
    if not start[1].strip().isdigit():
        raise DataFormatError(
            f"label {path}: expected the number of vertices in its second line, got {start[1][:40]!r}; is it a .label file?"
        )
    announced = int(start[1])
    if not announced:
        return np.zeros(n_vertices, dtype=bool)
    with reading(path, "label"):
        index = np.atleast_1d(freesurfer.read_label(path)).astype(np.int64)
    if index.size != announced:
        raise DataFormatError(f"label {path} is truncated: it announces {announced:,} vertices and lists {index.size:,}. Copy it again.")
    if index.min() < 0 or index.max() >= n_vertices:
        raise DataFormatError(
            f"label {path} names vertex {int(index.max())}, the mesh has {n_vertices} vertices (0-based); it belongs to another mesh"
        )
    mask = np.zeros(n_vertices, dtype=bool)
    mask[index] = True
    return mask


def open_mgh(path: "Path") -> Any:
    """Open an ``.mgz`` or ``.mgh`` file without reading its data.

    Returns
    -------
    nibabel image

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, "volume")
    # the header alone first: nibabel leaves the file open where it fails
    with reading(path, "volume"), ImageOpener(str(path)) as file:
        header = MGHHeader.from_fileobj(file)
        check_announced(path, "volume", header.get_data_shape(), header.get_data_dtype().itemsize)
    with reading(path, "volume"):
        return MGHImage.from_filename(path)


def is_vertex_box(shape: "tuple[int, ...]") -> bool:
    """Whether an image shape holds values of vertices, (p, 1, 1) or (p, 1, 1, t), rather than a volume."""
    space = sorted(shape[:3])
    return len(shape) in (3, 4) and space[:2] == [1, 1] and space[2] > 1


def vertex_rows(path: "Path", image: Any) -> "NDArray[np.float32]":
    """Values of vertices that were stored in an image box, float32 [n p], in this machine's byte order.

    Raises
    ------
    DataFormatError
        If the image is a volume.
    """
    shape = tuple(int(edge) for edge in image.shape)
    if not is_vertex_box(shape):
        raise DataFormatError(
            f"surface map {path} has shape {shape}, expected (vertices, 1, 1) or (vertices, 1, 1, maps); it is a volume: open it as one"
        )
    check_announced(path, "surface map", shape, image.get_data_dtype().itemsize)
    with reading(path, "surface map"):
        data = np.asanyarray(image.dataobj).reshape(max(shape[:3]), -1)
    if data.dtype.kind not in "iufb":
        raise DataFormatError(f"surface map {path} holds {data.dtype}, expected one real number for each vertex")
    return np.ascontiguousarray(data.T, dtype=np.float32)


class _Numbers:
    """Big-endian whole numbers and texts, one after the other, never beyond the end."""

    def __init__(self, path: "Path", raw: bytes) -> None:
        self.path, self.raw, self.place = path, raw, 0

    def take(self, n_bytes: int) -> bytes:
        if n_bytes < 0 or self.place + n_bytes > len(self.raw):
            raise DataFormatError(f"annotation {self.path} ({len(self.raw):,} bytes) is truncated or not an .annot file; copy it again")
        self.place += n_bytes
        return self.raw[self.place - n_bytes : self.place]

    def integer(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def integers(self, count: int) -> "NDArray[np.int32]":
        return np.frombuffer(self.take(4 * count), dtype=">i4").astype(np.int32)

    def counted(self, count: int, n_bytes: int, what: str) -> int:
        if count < 0 or self.place + count * n_bytes > len(self.raw):
            raise DataFormatError(
                f"annotation {self.path} ({len(self.raw):,} bytes) announces {count:,} {what}: it is truncated or not an .annot file; "
                "copy it again"
            )
        return count

    def text(self) -> str:
        length = self.integer()
        if length > _LONGEST_NAME:
            raise DataFormatError(f"annotation {self.path} announces a name of {length:,} letters; it is damaged, copy it again")
        return self.take(length).split(b"\0")[0].decode("utf-8", errors="replace")


def _colour_table(stream: _Numbers) -> "dict[int, tuple[str, tuple[int, ...]]]":
    """Entries of either version of the table: index to name and red, green, blue, transparency in 0..255."""
    version = stream.integer()
    if version not in (-2, *range(1, len(stream.raw))):
        raise DataFormatError(f"annotation {stream.path}: its colour table has version {-version}, expected 1 or 2; write it again")
    numbered = version == -2
    if numbered:
        stream.integer()  # the largest index
    stream.text()  # the file that the table came from
    count = stream.counted(stream.integer() if numbered else version, 20, "labels")
    table: dict[int, tuple[str, tuple[int, ...]]] = {}
    for number in range(count):
        index = stream.integer() if numbered else number
        name, colour = stream.text(), tuple(int(part) for part in stream.integers(4))
        if index < 0 or index in table or not all(0 <= part <= 255 for part in colour):
            raise DataFormatError(f"annotation {stream.path}: entry {number} of its colour table (index {index}, {name!r}) is damaged")
        table[index] = (name, colour)
    return table


def _rgba(colour: "tuple[int, ...]") -> _RGBA:
    red, green, blue, clear = (part / 255 for part in colour)
    return red, green, blue, 1.0 - clear


def _check_geometry(path: "Path") -> None:
    """Refuse a mesh file whose counts do not fit in it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(3)
        if magic == TRIANGLES:
            file.readline(_LONGEST_STAMP)
            file.readline(_LONGEST_STAMP)
            n_vertices, n_faces = struct.unpack(">ii", file.read(8).ljust(8, b"\0"))
            needed = file.tell() + 12 * (n_vertices + n_faces)
        elif magic in (QUADS, NEW_QUADS):
            counts = file.read(6).ljust(6, b"\0")
            n_vertices, n_faces = int.from_bytes(counts[:3], "big"), int.from_bytes(counts[3:], "big")
            needed = file.tell() + (6 if magic == QUADS else 12) * n_vertices + 12 * n_faces
        else:
            raise DataFormatError(
                f"surface {path} is not a FreeSurfer mesh: it starts with {magic!r}, expected {join_names(map(repr, (TRIANGLES, QUADS)))}"
            )
    if n_vertices <= 0 or n_faces < 0 or needed > size:
        raise DataFormatError(
            f"surface {path} is truncated: its header announces {n_vertices:,} vertices and {n_faces:,} faces, "
            f"{needed:,} bytes; it has {size:,}. Copy it again."
        )
