"""The whole main job on a simulated subject: simulate, train, map, decode, stimulate, score. Each stage is the job a lab would run.

::

    DIR/demo.json                 preset, seed and method
    DIR/subject, DIR/subject-truth
    DIR/runs/<row>                one run folder per row of the sheet; the row `full` lies under the method's name, inductive_0 and
                                  inductive_1 are the folds of one row, null is the encoder trained on permuted pairs
    DIR/maps                      receptive fields of the trained encoder, NIfTI and GIFTI
    DIR/results                   reconstructions.npz, image_scores.tsv, stimulation.json
    DIR/figures, DIR/scores.json, DIR/scores.tsv

A stage whose folder says "finished" is not run again, so that an interrupted demo goes on where it stopped, and a short sheet becomes a
full one by asking for it.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.demo_folder import Demo, photo_folds
from brain2pix.config.base import preset_names
from brain2pix.config.defaults import DEMO_METHOD
from brain2pix.data.splits import evaluation_set
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, unknown_name
from brain2pix.events import Message
from brain2pix.files import write_json
from brain2pix.methods.registry import METHODS, method_entry, settings_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.events import CancelToken, EventSink

# Which preset of the methods goes with which size of subject.
_METHOD_PRESETS = {"tiny": "tiny", "demo": "demo", "hard": "demo", "full": "demo"}
# What a row changes in the method's settings.
_NO_TEST = {"weight_fmri": 0, "snr_source": "none"}
_PAIRS_ONLY = {"weight_pairs": 1, "weight_images": 0, **_NO_TEST}
_ENCODER_ONLY = {**_NO_TEST, "decoder.n_steps": 0}
_START_ONLY = {**_ENCODER_ONLY, "encoder.n_steps": 0}


def run_demo(
    out: Path,
    seed: int,
    preset: str,
    sink: "EventSink",
    cancel: "CancelToken",
    *,
    method: str = DEMO_METHOD,
    full_sheet: bool = False,
) -> Path:
    """Run the main job, or go on with one that was interrupted.

    Parameters
    ----------
    out : Path, folder to make or to go on in
    seed : int, of subject and training
    preset : str, size of the subject
    sink : callable, takes events
    cancel : CancelToken
    method : str, system of the row `full`
    full_sheet : bool, compute all rows of the sheet; False: the first ones. Rows that are there already are scored anyway

    Returns
    -------
    Path of ``scores.json``

    Raises
    ------
    ConfigError
        If preset or method are unknown, or the folder holds something else.
    Cancelled
        If it was stopped; the same call goes on.
    """
    check_demo(preset, method)
    demo = _open(out.absolute(), seed, preset, method, sink, cancel)
    _first_rows(demo)
    if full_sheet:
        _more_rows(demo)
    return _score(demo)


def check_demo(preset: str, method: str) -> None:
    """Refuse presets and methods that do not exist, and methods whose receptive fields cannot be mapped.

    Raises
    ------
    ConfigError
    """
    if preset not in (names := preset_names("simulation")):
        raise ConfigError(unknown_name("preset", preset, names))
    method_entry(method)
    if method not in (able := [name for name in METHODS if "encoder" in settings_class(name).model_fields]):
        raise ConfigError(f"{method} has no encoder, and the demo maps receptive fields; choose one of: {', '.join(able)}")


def _first_rows(demo: Demo) -> None:
    with demo.stage("simulate"):
        _simulate(demo)
    with demo.stage("train"):
        _train(demo, "full")
    with demo.stage("maps"):
        _map(demo, "maps", "full")
        _copy_folder(demo.path / "runs" / "maps" / "results", demo.path / "maps")
    with demo.stage("baselines"):
        _train(demo, "ridge_pairs", method="ridge")
        _train(demo, "ridge_unpaired", method="ridge", preset="unpaired", pairs_from=demo.run_folder("full"))
    _show(demo, "first maps and pictures")
    with demo.stage("supervised"):
        _train(demo, "supervised", settings=_PAIRS_ONLY, repeats_split=None, encoder_from=demo.run_folder("full"))
    with demo.stage("null"):
        _train(demo, "null", settings=_ENCODER_ONLY, repeats_split=None, permute_pairs=True)
        _map(demo, "null_maps", "null")


def _more_rows(demo: Demo) -> None:
    """Rows of the full sheet that the first ones lack; each takes the encoder that it would train anyway."""
    with demo.stage("images"):
        _train(demo, "images", settings=_NO_TEST, repeats_split=None, encoder_from=demo.run_folder("full"))
    with demo.stage("inductive"):
        fold = photo_folds(_test_photos(demo))
        for number, folder in enumerate(demo.fold_folders()):
            unseen = np.flatnonzero(fold == number).tolist()
            _train(demo, folder.name, settings={"repeats.exclude": unseen}, encoder_from=demo.run_folder("full"))
    with demo.stage("shuffled"):
        _train(demo, "shuffled", permute_pairs=True, encoder_from=demo.run_folder("null"))
    with demo.stage("map controls"):
        _train(demo, "untrained", settings=_START_ONLY, repeats_split=None)
        _map(demo, "untrained_maps", "untrained")
        # gradients alone: what the model itself says of its fields does not depend on the inputs
        _map(demo, "noise_maps", "full", settings={"inputs": "noise", "centre": "gradient", "size": "gradient"})
    with demo.stage("decoder fields"):
        _map(demo, "decoder_maps", "full", side="decoder", compare=demo.path / "runs" / "maps" / "results")


def _open(out: Path, seed: int, preset: str, method: str, sink: "EventSink", cancel: "CancelToken") -> Demo:
    asked = {"preset": preset, "seed": seed, "method": method}
    note = out / "demo.json"
    if note.is_file():
        found = json.loads(note.read_text(encoding="utf-8"))
        if found != asked:
            raise ConfigError(f"{out} holds the demo {found}, you asked for {asked}; choose another folder with --out, or remove this one")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not the folder of a demo (no demo.json); choose another folder with --out")
    else:
        write_json(note, asked)
    file = out / "seconds.json"
    seconds = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return Demo(out, seed, preset, method, sink, cancel, seconds)


def _simulate(demo: Demo) -> None:
    if demo.subject.exists():  # written whole or not at all
        demo.sink(Message("info", f"{demo.subject} is there already"))
        return
    demo.job("simulate", None, out=demo.subject, preset=demo.preset, seed=demo.seed)


def _test_photos(demo: Demo) -> "NDArray[np.int64]":
    """Photo of each test image, [m]; images are numbered as `repeats.exclude` counts them."""
    return evaluation_set(open_subject(demo.subject), np.zeros(1, dtype=np.int64)).groups


def _train(demo: Demo, row: str, **params: Any) -> None:
    params = {"preset": _METHOD_PRESETS[demo.preset], "method": demo.method, **params}
    demo.job("train", demo.run_folder(row), subject=demo.subject, seed=demo.seed, **params)


def _map(demo: Demo, name: str, row: str, **params: Any) -> None:
    demo.job("maps", demo.path / "runs" / name, run=demo.run_folder(row), seed=demo.seed, **params)


def _show(demo: Demo, what: str) -> None:
    """Decode with what is trained so far and draw it: the first thing there is to look at."""
    from brain2pix.compute.scoring import DemoResults
    from brain2pix.compute.showing import draw_maps, draw_pictures

    with demo.stage(what):
        results = DemoResults.open(demo)
        results.write_reconstructions()
        draw_maps(results)
        draw_pictures(results)
    demo.sink(Message("info", f"first maps and pictures: {demo.path / 'figures'}"))


def _score(demo: Demo) -> Path:
    from brain2pix.compute.scoring import DemoResults, write_all_scores
    from brain2pix.compute.showing import draw_everything

    with demo.stage("score"):
        results = DemoResults.open(demo)
        results.write_reconstructions()
        path = write_all_scores(results)
        draw_everything(results)
    return path


def _copy_folder(source: Path, target: Path) -> None:
    if not target.exists():
        staging = target.with_name(f".{target.name}-new")
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(source, staging)
        staging.rename(target)
