"""Read and write NIfTI volumes, and say clearly what is wrong with one."""

import gzip
import logging
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from brain2pix.data.space import Space

logger = logging.getLogger(__name__)

UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError)
_NIFTI2_BYTES = 540  # of its header; a NIfTI-1 file has more than that in header and data
_MOST_EXTENSIONS = 1000  # that are looked at
_MOST_PACKED_EXTENSION = 64 * 2**20  # in a packed file, whose length says nothing
# Grids closer than this, at the corner that moves most, count as one.
MAX_CORNER_MM = 0.1


def require_file(path: Path, what: str) -> Path:
    """Give `path` back if its content is on this machine.

    Parameters
    ----------
    path : Path
    what : str, what the file is, for the message

    Raises
    ------
    MissingDataError
        If it does not exist, or is a git-annex link or pointer whose content was not downloaded.
    """
    if path.is_symlink() and not path.exists():
        raise MissingDataError(f"{what} {path}: the link is broken, file content was not downloaded; get it first (git annex get)")
    if not path.is_file():
        raise MissingDataError(f"{what} {path} does not exist")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((b"/annex/objects", b"version https://git-lfs")):
        raise MissingDataError(f"{what} {path} is a pointer, file content was not downloaded; get it first (git annex or git lfs)")
    return path


def unreadable(path: Path, what: str, error: BaseException) -> DataFormatError:
    """Describe a file that a library could not read to its end."""
    size = path.stat().st_size if path.exists() else 0
    with path.open("rb") as file:
        start = file.read(16)
    looks = f"; it starts with {start.decode('latin1')!r}" if start.lstrip().startswith(b"<") else ""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataFormatError(
        f"{what} {path} ({size:,} bytes) cannot be read: truncated or not of this format{looks} ({reason}). Copy it again."
    )


def open_volume(path: Path, what: str, n_axes: int = 3) -> Any:
    """Open a NIfTI file without reading its data.

    Parameters
    ----------
    path : Path
    what : str, what the file is, for messages
    n_axes : int, 3 for a volume, 4 for a series

    Returns
    -------
    nibabel image

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, what)
    try:
        check_extensions(path, what)
        image = nib.Nifti1Image.from_filename(path, keep_file_open=True)
    except DataFormatError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, what, error) from None
    # A trailing axis of length one is a habit of some writers, not another kind of file.
    shape = image.shape[:3] if n_axes == 3 and len(image.shape) == 4 and image.shape[3] == 1 else image.shape
    if len(shape) != n_axes:
        raise DataFormatError(f"{what} {path} has shape {image.shape}, expected {n_axes} axes")
    _check_size(path, what, image)
    return image


def check_extensions(path: Path, what: str) -> None:
    """Refuse a NIfTI header with an extension that is longer than it can be: nibabel would take memory for all of it first.

    Raises
    ------
    DataFormatError
    """
    packed = path.name.lower().endswith(".gz")
    longest = _MOST_PACKED_EXTENSION if packed else path.stat().st_size
    with gzip.open(path) if packed else path.open("rb") as file:
        start = file.read(_NIFTI2_BYTES)
        for order in "<>":
            size = struct.unpack(order + "i", start[:4])[0] if len(start) == _NIFTI2_BYTES else 0
            if size not in (348, _NIFTI2_BYTES):
                continue
            where = (
                struct.unpack(order + "q", start[168:176])[0] if size == _NIFTI2_BYTES else struct.unpack(order + "f", start[108:112])[0]
            )
            at = size + 4
            file.seek(at)
            for _ in range(_MOST_EXTENSIONS):
                if not at + 16 <= where or len(head := file.read(8)) < 8:
                    break
                extension = struct.unpack(order + "i", head[:4])[0]
                if not 8 <= extension <= longest:
                    raise DataFormatError(
                        f"{what} {path}: an extension of its header announces {extension:,} bytes, expected 8 to {longest:,}; "
                        "it is damaged. Copy it again."
                    )
                at += extension
                file.seek(at)


def count_axes(path: Path, what: str) -> int:
    """Count the axes of a NIfTI file without those of length one at its end.

    Raises
    ------
    MissingDataError, DataFormatError
    """
    require_file(path, what)
    try:
        check_extensions(path, what)
        shape = nib.Nifti1Image.from_filename(path).shape
    except DataFormatError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, what, error) from None
    edges = list(shape)
    while len(edges) > 3 and edges[-1] == 1:
        edges.pop()
    return len(edges)


def read_volume(path: Path, what: str) -> "tuple[NDArray[np.float32], NDArray[np.float64]]":
    """Read a 3-D volume with its scaling applied.

    Returns
    -------
    volume : float32 array, [i j k]
    affine : float64 array, [4 4]
    """
    image = open_volume(path, what)
    return volume_data(path, what, image), np.asarray(image.affine, dtype=np.float64)


def volume_data(path: Path, what: str, image: Any) -> "NDArray[np.float32]":
    """Read the data of an opened 3-D volume, float32 [i j k]."""
    try:
        data = image.get_fdata(dtype=np.float32, caching="unchanged")
    except UNREADABLE as error:
        raise unreadable(path, what, error) from None
    return np.asarray(data, dtype=np.float32).reshape(image.shape[:3])


def read_on_grid(path: Path, what: str, space: "Space") -> "NDArray[np.float32]":
    """Read a volume that must lie on a given grid.

    Raises
    ------
    DataFormatError
        If shape or affine differ; nothing is resampled silently.
    """
    image = open_volume(path, what)
    check_grid(path, what, image, space)
    return volume_data(path, what, image)


def check_grid(path: Path, what: str, image: Any, space: "Space") -> None:
    """Refuse a volume on another grid than that of the responses.

    Raises
    ------
    DataFormatError
        Naming both grids and how far the corners lie apart.
    """
    shape = tuple(int(edge) for edge in image.shape[:3])
    moved = space.corner_displacement_mm(image.affine)
    if shape == space.shape and moved <= MAX_CORNER_MM:
        return
    edges = " x ".join(f"{edge:g}" for edge in np.round(np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0)), 3))
    raise DataFormatError(
        f"{what} {path.name}: grid ({', '.join(map(str, shape))}) {edges} mm differs from betas {space}; "
        f"corners lie up to {moved:.3g} mm apart. Resample it to the grid of the betas with nearest neighbour (in {path.parent})."
    )


def orientation_note(path: Path, image: Any) -> str | None:
    """Say if a file does not tell left from right: no orientation code, or two that disagree.

    Returns
    -------
    str or None
    """
    header = image.header
    q_code, s_code = int(header["qform_code"]), int(header["sform_code"])
    if q_code == 0 and s_code == 0:
        return f"{path.name}: orientation unknown (sform and qform codes are 0); using the voxel sizes, left/right may be wrong"
    if q_code == 0 or s_code == 0:
        return None
    try:
        apart = np.abs(header.get_qform() - header.get_sform())
    except (HeaderDataError, ValueError):
        return f"{path.name}: orientation unknown (the qform is not valid); using the sform, left/right may be wrong"
    # A corner moves by rotation times extent plus shift; one voxel along each axis is a safe bound for "the same".
    if float((apart[:3, :3] * (np.array(image.shape[:3]) - 1)).sum(axis=1).max() + apart[:3, 3].max()) > 1.0:
        return f"{path.name}: orientation unknown (sform and qform disagree); using the sform, left/right may be wrong"
    return None


def write_volume(path: Path, data: "NDArray[Any]", space_name: str, affine: "NDArray[np.float64]", *, step_s: float | None = None) -> Path:
    """Write a volume atomically; bool becomes uint8, floats become float32 with slope 1.

    Parameters
    ----------
    path : Path, ending in .nii.gz or .nii
    data : array, [i j k] or [i j k n]
    space_name : str; names that begin with MNI get the MNI orientation code, others the aligned one
    affine : float array, [4 4]
    step_s : float or None, between the volumes of a series
    """
    array = np.asarray(data)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32)
    image = nib.Nifti1Image(array, np.asarray(affine, dtype=np.float64), dtype=array.dtype)
    code = "mni" if space_name.upper().startswith("MNI") else "aligned"
    image.header.set_xyzt_units("mm", "sec" if step_s else None)
    if step_s and array.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], step_s))
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    with atomic_path(path) as beside:
        nib.save(image, beside)
    return path


def entities(path: Path) -> dict[str, str]:
    """Read the key-value pairs of a BIDS file name, e.g. ``{"sub": "01", "hemi": "L"}``."""
    return dict(re.findall(r"(?:^|_)([a-zA-Z0-9]+)-([a-zA-Z0-9+.]+)", path.name))


def nifti_files(folder: Path, pattern: str) -> list[Path]:
    """List files `pattern`.nii and `pattern`.nii.gz in a folder, sorted."""
    return sorted([*folder.glob(f"{pattern}.nii"), *folder.glob(f"{pattern}.nii.gz")])


def stem(path: Path) -> str:
    """File name without .nii, .nii.gz, .h5 and the like."""
    return re.sub(r"(\.(surf|shape|func|label))?\.(nii|gii|h5|hdf5|tsv|json)(\.gz)?$", "", path.name)


def _check_size(path: Path, what: str, image: Any) -> None:
    """Compare the length that the header announces; compressed files fail when they are read."""
    if path.suffix == ".gz":
        return
    needed = int(image.dataobj.offset) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    size = path.stat().st_size
    if size < needed:
        raise DataFormatError(f"{what} {path} is truncated: its header announces {needed:,} bytes, it has {size:,}. Copy it again.")


def join_names(names: "Iterable[str]", limit: int = 5) -> str:
    """Join the first names of a list, with the count of the others."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
