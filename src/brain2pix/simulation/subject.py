"""Make a simulated subject: real anatomy, known truth, and a folder that opens like any lab's data."""

import time
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from brain2pix.anatomy import HEMISPHERES, MNI305_TO_MNI152, load_fsaverage5, load_sulc, mni_grid
from brain2pix.data.native import NativeContent, Space, write_anatomy, write_native
from brain2pix.errors import ConfigError
from brain2pix.events import CancelToken, Finished, Progress, Started, ignore
from brain2pix.files import atomic_folder
from brain2pix.simulation.images import make_stimuli, make_unpaired
from brain2pix.simulation.truth import Truth, make_truth, truth_folder, write_truth
from brain2pix.simulation.voxels import CATEGORY_AREAS, make_voxels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from brain2pix.anatomy import Mesh
    from brain2pix.config.simulation import SimulationSettings
    from brain2pix.events import EventSink
    from brain2pix.simulation.images import StimulusSet
    from brain2pix.simulation.voxels import Voxels

SUBJECT = "sub-01"
SPACE_NAME = "MNI152NLin2009aSym"  # of the template inside nilearn
T1W_MM = 2  # the volume is for display: 2 mm whatever the voxels of the responses, which at 4 mm would show no sulcus
_REPEATED = ("test", "validation", "category_test")


def simulate(out: Path, settings: "SimulationSettings", sink: "EventSink" = ignore, cancel: CancelToken | None = None) -> Path:
    """Write a simulated subject as a native folder, and its truth to a folder beside it.

    Parameters
    ----------
    out : Path, the dataset root; must not exist or be empty. The truth goes to ``<out>-truth``.
    settings : SimulationSettings
    sink : callable, hears the stages anatomy, images, unpaired images, responses, trials and files
    cancel : CancelToken or None, asked between chunks of work

    Returns
    -------
    Path, `out`

    Raises
    ------
    ConfigError
        If one of the two folders exists and is not empty.
    ComputeError
        If the disk is full; nothing is left behind then.
    Cancelled
        If the token said so; nothing is left behind then.
    """
    content, truth = simulate_content(
        settings, sink, cancel, name=f"Simulated subject, {settings.voxel_mm:g} mm, seed {settings.seed}", check=lambda: _check_places(out)
    )
    with _stage("files", sink, cancel):
        try:
            # the truth appears only once the dataset has
            with atomic_folder(truth_folder(out)) as beside:
                write_truth(beside, truth)
                write_native(out, content, cancel)
        except FileExistsError as error:
            raise ConfigError(str(error)) from None
    return out


def simulate_content(
    settings: "SimulationSettings",
    sink: "EventSink" = ignore,
    cancel: CancelToken | None = None,
    *,
    name: str = "Simulated subject",
    check: "Callable[[], None]" = lambda: None,
) -> tuple[NativeContent, Truth]:
    """Simulate in memory.

    Parameters
    ----------
    settings, sink, cancel : as in `simulate`
    name : str, of the dataset
    check : callable, called before any work; may raise

    Returns
    -------
    content : NativeContent
    truth : Truth
    """
    check()
    from brain2pix.simulation.responses import expected_ceiling, fit_forward, measure, noise_free  # torch: only when there is work

    with _stage("anatomy", sink, cancel):
        voxels = make_voxels(settings)
        template = _template()
    with _stage("images", sink, cancel):
        stimuli = make_stimuli(settings)
    with _stage("unpaired images", sink, cancel) as report:
        unpaired = make_unpaired(settings, report)
    with _stage("responses", sink, cancel) as report:
        forward = fit_forward(voxels, stimuli.images[stimuli.rows("train")], settings)
        signal = noise_free(forward, stimuli.images, stimuli.table["category"].tolist(), report)
    with _stage("trials", sink, cancel) as report:
        measured = measure(voxels, signal, stimuli, settings, report)
    repeats = {"test": settings.n_repeats, "validation": settings.n_repeats, "category_test": settings.n_category_repeats}
    rows = {split: stimuli.rows(split) for split in _REPEATED if len(stimuli.rows(split))}
    ceiling = {split: expected_ceiling(signal[at], measured.noise_sd, repeats[split]) for split, at in rows.items()}
    scaled = {split: ((signal[at] - measured.mean) / measured.sd).astype(np.float32) for split, at in rows.items()}
    truth = make_truth(voxels, forward, measured, ceiling, scaled, settings)
    return _content(settings, voxels, stimuli, unpaired, measured.trials, measured.responses, template, name), truth


def _content(
    settings: "SimulationSettings",
    voxels: "Voxels",
    stimuli: "StimulusSet",
    unpaired: "NDArray[np.uint8]",
    trials: pd.DataFrame,
    responses: "NDArray[np.float32]",
    template: tuple["NDArray[np.float32]", "NDArray[np.float64]"],
    name: str,
) -> NativeContent:
    affine, shape = mni_grid(settings.voxel_mm)
    t1w, t1w_affine = template
    table = pd.DataFrame(voxels.ijk, columns=["i", "j", "k"]).assign(hemi=voxels.hemi)
    return NativeContent(
        subject=SUBJECT,
        name=name,
        space=Space(SPACE_NAME, affine, shape),
        voxels=table,
        areas=voxels.areas(),
        responses=responses,
        trials=trials,
        stimuli=stimuli.table,
        images=stimuli.by_id(),
        field_of_view_deg=settings.field_of_view_deg,
        unit="z-train",
        simulated=True,
        unpaired=unpaired,
        t1w=t1w,
        t1w_affine=t1w_affine,
        meshes=_meshes(),
        sulc={hemi: load_sulc(hemi) for hemi in HEMISPHERES},
        descriptions=_descriptions(),
        description="Simulated responses on the anatomy of fsaverage5 and MNI152; no brain was measured",
    )


def _meshes() -> "dict[tuple[str, str], Mesh]":
    """White and pial in the world of the voxels, the others as they are."""
    return {
        (hemi, kind): mesh.moved(MNI305_TO_MNI152) if kind in ("white", "pial") else mesh
        for hemi in HEMISPHERES
        for kind, mesh in load_fsaverage5(hemi).items()
    }


@lru_cache(maxsize=1)
def _template() -> tuple["NDArray[np.float32]", "NDArray[np.float64]"]:
    from nilearn.datasets import load_mni152_template

    # The grids share their voxel centres: every second voxel is what resampling gives, in a tenth of the time.
    image = load_mni152_template(resolution=1)
    volume = np.asarray(image.dataobj, dtype=np.float32)[::T1W_MM, ::T1W_MM, ::T1W_MM]
    return np.ascontiguousarray(volume), np.asarray(image.affine @ np.diag([T1W_MM, T1W_MM, T1W_MM, 1]), dtype=np.float64)


def write_template_anatomy(anat: Path) -> None:
    """Write the ``anat`` folder of a simulated subject, which is the same for all: fsaverage5 and the MNI152 template.

    Parameters
    ----------
    anat : Path, folder to make
    """
    write_anatomy(anat, SUBJECT, SPACE_NAME, _template(), _meshes(), {hemi: load_sulc(hemi) for hemi in HEMISPHERES})


def _descriptions() -> dict[str, str]:
    early = {f"V{code}{part}": f"simulated V{code}, {side}" for code in (1, 2, 3) for part, side in (("v", "ventral"), ("d", "dorsal"))}
    category = {name: f"simulated {name}, prefers {spec.prefers}s" for name, spec in CATEGORY_AREAS.items()}
    return {
        **early,
        **category,
        "nonvisual": "simulated non-visual cortex: noise only",
        "outside": "simulated V1-V3 whose receptive field is centred outside the stimulus",
    }


def _check_places(out: Path) -> None:
    for folder in (out, truth_folder(out)):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists and is not an empty folder; choose another place or remove it first")


@contextmanager
def _stage(name: str, sink: "EventSink", cancel: CancelToken | None) -> "Iterator[Callable[[int, int], None]]":
    """Announce a stage; give a function that reports progress and stops if asked to."""
    token = cancel or CancelToken()

    def report(done: int, total: int) -> None:
        token.check()
        sink(Progress(name, done, total))

    token.check()
    sink(Started(name))
    start = time.perf_counter()
    yield report
    sink(Finished(name, time.perf_counter() - start))
