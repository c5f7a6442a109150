"""Maps as other programs publish them, written by nibabel, scipy, h5py and the csv module, from formulas of the specification's table.

Nothing here is ours: each writer takes x0, y0 in degrees and says in its own words what an angle is.
"""

import csv
import math

import h5py
import nibabel as nib
import numpy as np
import scipy.io


def angles(x0, y0, hemi, convention):
    """Angle of each field, one at a time, as the table of conventions has it."""
    found = []
    for x, y, side in zip(x0, y0, hemi, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            found.append(math.nan)
            continue
        ccw = math.degrees(math.atan2(y, x)) % 360  # right horizontal, counter-clockwise
        from_up = 180 - (90 + ccw) % 360  # upper vertical, clockwise; the lower one is 180
        from_up = from_up if side == "L" or from_up < 180 else -180
        found.append(
            {
                "nsd": ccw,
                "analyzeprf": ccw,
                "benson14": from_up if side == "L" else -from_up,
                "neuropythy-visual": from_up,
                "neuropythy-standard": math.radians(ccw),
            }[convention]
        )
    return np.array(found)


def eccentricity(x0, y0):
    return np.array([math.sqrt(x * x + y * y) if math.isfinite(x + y) else math.nan for x, y in zip(x0, y0, strict=True)])


def write_volume(path, values, ijk, shape, affine, outside=np.nan):
    volume = np.full(shape, outside, dtype=np.float32)
    volume[tuple(ijk.T)] = values
    nib.save(nib.Nifti1Image(volume, affine), path)


def write_mgz(path, values):
    nib.save(nib.freesurfer.MGHImage(np.asarray(values, dtype=np.float32).reshape(-1, 1, 1), np.eye(4)), path)


def write_morphometry(path, values):
    nib.freesurfer.write_morph_data(path, np.asarray(values, dtype=np.float32))


def results(x0, y0, sigma, exponent, r2, degrees_per_pixel):
    """Struct of analyzePRF: pixels, percent, sigma over the root of the exponent; columns of one value a voxel."""
    n = len(x0)
    column = lambda values: np.asarray(values, dtype=np.float64).reshape(n, 1)  # noqa: E731
    return {
        "ang": column(angles(x0, y0, ["L"] * n, "analyzeprf")),
        "ecc": column(eccentricity(x0, y0) / degrees_per_pixel),
        "expt": column(exponent),
        "rfsize": column(np.asarray(sigma) / np.sqrt(exponent) / degrees_per_pixel),
        "R2": column(100 * np.asarray(r2)),
        "gain": column(np.ones(n)),
        "resnorms": np.empty((0, 0)),
        "numiters": np.empty((0, 0)),
        "meanvol": column(np.full(n, 500.0)),
        "noisereg": np.empty((0, 0)),
        "params": np.ones((1, 5, n)),
        "options": {"seedmode": np.array([[0.0, 1.0, 2.0]]), "display": "iter", "xvalmode": 0.0},
    }


def write_mat5(path, struct, *, split=False, compressed=True):
    scipy.io.savemat(path, struct if split else {"results": struct}, do_compression=compressed)


def write_mat73(path, struct, *, split=False):
    """As MATLAB 7.3 does: a header of 512 bytes, axes reversed, empty arrays told by an attribute, texts as numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        _into(file if split else file.create_group("results"), struct)
        file.create_group("#refs#")
    with path.open("rb+") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + b"\0" * 8 + b"\x00\x02IM")


def _into(group, struct):
    for name, value in struct.items():
        if isinstance(value, dict):
            _into(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, data=np.array([[ord(letter)] for letter in value], dtype=np.uint16)).attrs["MATLAB_class"] = b"char"
        elif np.size(value) == 0:
            group.create_dataset(name, data=np.array([0, 0], dtype=np.uint64)).attrs["MATLAB_empty"] = np.uint8(1)
        else:
            group.create_dataset(name, data=np.atleast_2d(value).T).attrs["MATLAB_class"] = b"double"


def write_table(path, columns, delimiter="\t"):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["n/a" if isinstance(value, float) and math.isnan(value) else value for value in row])
