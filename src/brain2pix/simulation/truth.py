"""What is true of a simulated subject: written beside the dataset, in a folder that no reader of data opens."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.errors import DataFormatError
from brain2pix.files import write_json
from brain2pix.simulation.categories import CATEGORIES
from brain2pix.simulation.channel_names import CHANNEL_NAMES
from brain2pix.simulation.voxels import AREA_CODES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.simulation import SimulationSettings
    from brain2pix.simulation.responses import Forward, Measured
    from brain2pix.simulation.voxels import Voxels

_SUFFIX = "-truth"
_ARRAYS = "sub-01_truth.npz"
_SETTINGS = "sub-01_truth.json"


@dataclass(frozen=True)
class Truth:
    """The truth of each voxel, in the order of the subject's voxel table.

    Parameters
    ----------
    ijk : int array, [v 3], to make sure that rows are the subject's rows
    area : int array, [v]: 1, 2, 3 for V1-V3, 4 category areas, 5 non-visual
    in_scope : bool array, [v]: V1-V3 with the centre inside the stimulus; scores are over these
    x0_deg, y0_deg, sigma_deg : float arrays, [v], the Gaussian; NaN for non-visual voxels
    exponent : float array, [v], of the compression
    channel_weight : float array, [v c], sums to 1
    preference : int array, [v], row of `categories`, -1 without
    mix : float array, [v], share of the category term
    nc1 : float array, [v], single-trial ceiling: share of signal variance over the repeated images (of categories in category areas)
    noise_sd, mean, sd : float arrays, [v]: noise of a trial, and what z-scoring took away, in the model's unit
    ceiling : dict of split to float array, [v], correlation of the noise-free response with the mean over repeats, as expected
    signal : dict of split to float array, [m v], noise-free responses in the subject's unit, images in the order of the stimulus table
    channels, categories : tuples of str
    settings : dict, that the subject was made with
    """

    ijk: "NDArray[np.int64]"
    area: "NDArray[np.int64]"
    in_scope: "NDArray[np.bool_]"
    x0_deg: "NDArray[np.float64]"
    y0_deg: "NDArray[np.float64]"
    sigma_deg: "NDArray[np.float64]"
    exponent: "NDArray[np.float64]"
    channel_weight: "NDArray[np.float32]"
    preference: "NDArray[np.int64]"
    mix: "NDArray[np.float64]"
    nc1: "NDArray[np.float64]"
    noise_sd: "NDArray[np.float64]"
    mean: "NDArray[np.float64]"
    sd: "NDArray[np.float64]"
    ceiling: "dict[str, NDArray[np.float64]]"
    signal: "dict[str, NDArray[np.float32]]"
    channels: tuple[str, ...]
    categories: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def size_deg(self) -> "NDArray[np.float64]":
        """Effective size of the receptive field: sigma over the root of the exponent, [v]."""
        return self.sigma_deg / np.sqrt(self.exponent)


def truth_folder(dataset: Path) -> Path:
    """Where the truth of a dataset lies: beside it.

    Parameters
    ----------
    dataset : Path, the dataset root
    """
    dataset = dataset.resolve()
    return dataset.with_name(dataset.name + _SUFFIX)


def make_truth(
    voxels: "Voxels",
    forward: "Forward",
    measured: "Measured",
    ceiling: "dict[str, NDArray[np.float64]]",
    signal: "dict[str, NDArray[np.float32]]",
    settings: "SimulationSettings",
) -> Truth:
    """Gather the truth from the parts of a simulation.

    Parameters
    ----------
    voxels : Voxels
    forward : Forward
    measured : Measured
    ceiling, signal : dict of split to array, as in `Truth`
    settings : SimulationSettings
    """
    return Truth(
        ijk=voxels.ijk,
        area=voxels.area,
        in_scope=voxels.in_scope,
        x0_deg=voxels.x0_deg,
        y0_deg=voxels.y0_deg,
        sigma_deg=voxels.sigma_deg,
        exponent=voxels.exponent,
        channel_weight=voxels.channel_weight,
        preference=voxels.preference,
        mix=voxels.mix,
        nc1=voxels.nc1,
        noise_sd=measured.noise_sd,
        mean=measured.mean,
        sd=measured.sd,
        ceiling=ceiling,
        signal=signal,
        channels=CHANNEL_NAMES,
        categories=CATEGORIES,
        settings=settings.model_dump(),
    )


def write_truth(folder: Path, truth: Truth) -> None:
    """Write a truth folder.

    Parameters
    ----------
    folder : Path, existing
    truth : Truth
    """
    arrays: dict[str, Any] = {name: value for name, value in vars(truth).items() if isinstance(value, np.ndarray)}
    for group in ("ceiling", "signal"):
        arrays |= {f"{group}/{split}": values for split, values in getattr(truth, group).items()}
    np.savez(folder / _ARRAYS, **arrays)
    about = {
        "Description": "Truth of a simulated subject, in the order of its voxels. Only scores against the truth may open this folder.",
        "AreaCodes": AREA_CODES,
        "channels": list(truth.channels),
        "categories": list(truth.categories),
        "settings": truth.settings,
    }
    write_json(folder / _SETTINGS, about)


def load_truth(subject_folder: Path) -> Truth | None:
    """Load the truth that lies beside a dataset.

    Parameters
    ----------
    subject_folder : Path, a dataset root or the folder of its subject

    Returns
    -------
    Truth, or None if there is none: it was deleted, or the subject is not a simulated one

    Raises
    ------
    DataFormatError
        If the folder is there but is not readable as a truth.
    """
    root = subject_folder.resolve()
    if root.name.startswith("sub-") and not (root / "dataset_description.json").exists():
        root = root.parent
    folder = truth_folder(root)
    if not (folder / _ARRAYS).is_file() or not (folder / _SETTINGS).is_file():
        return None
    try:
        about = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        with (folder / _ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
        for group in ("ceiling", "signal"):
            arrays[group] = {name.partition("/")[2]: arrays.pop(name) for name in list(arrays) if name.startswith(f"{group}/")}
        return Truth(
            **arrays,
            channels=tuple(about["channels"]),
            categories=tuple(about["categories"]),
            settings=about["settings"],
        )
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataFormatError(f"{folder} is not a readable truth folder ({error}); delete it or simulate the subject again") from error
