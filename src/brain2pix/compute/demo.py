"""The whole main job on a simulated subject: simulate, train, map, decode, stimulate, score. Each stage is the job a lab would run.

::

    DIR/demo.json                 preset and seed
    DIR/subject, DIR/subject-truth
    DIR/runs/<row>                one run folder per row of the sheet: gaziv (full), supervised, ridge_pairs, ridge_unpaired, null
    DIR/maps                      receptive fields of the trained encoder, NIfTI and GIFTI
    DIR/results                   reconstructions.npz, stimulation.json
    DIR/figures, DIR/scores.json, DIR/scores.tsv

A stage whose folder says "finished" is not run again, so that an interrupted demo goes on where it stopped.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain2pix.compute.demo_folder import METHOD, Demo
from brain2pix.config.base import preset_names
from brain2pix.errors import ConfigError, unknown_name
from brain2pix.events import Message
from brain2pix.files import write_json

if TYPE_CHECKING:
    from brain2pix.events import CancelToken, EventSink

# Which preset of the methods goes with which size of subject.
_METHOD_PRESETS = {"tiny": "tiny", "demo": "demo", "hard": "demo", "full": "demo"}


def run_demo(out: Path, seed: int, preset: str, sink: "EventSink", cancel: "CancelToken") -> Path:
    """Run the main job, or go on with one that was interrupted.

    Parameters
    ----------
    out : Path, folder to make or to go on in
    seed : int, of subject and training
    preset : str, size of the subject
    sink : callable, takes events
    cancel : CancelToken

    Returns
    -------
    Path of ``scores.json``

    Raises
    ------
    ConfigError
        If the preset is unknown, or the folder holds something else.
    Cancelled
        If it was stopped; the same call goes on.
    """
    demo = _open(out.absolute(), seed, preset, sink, cancel)
    with demo.stage("simulate"):
        _simulate(demo)
    with demo.stage("train"):
        _train(demo, "full")
    with demo.stage("maps"):
        demo.job("maps", demo.path / "runs" / "maps", run=demo.run_folder("full"), seed=seed)
        _copy_folder(demo.path / "runs" / "maps" / "results", demo.path / "maps")
    with demo.stage("baselines"):
        _train(demo, "ridge_pairs", method="ridge")
        _train(demo, "ridge_unpaired", method="ridge", preset="unpaired", pairs_from=demo.run_folder("full"))
    _show(demo, "first maps and pictures")
    with demo.stage("supervised"):
        _train(demo, "supervised", repeats_split=None, settings={"weight_images": 0, "weight_fmri": 0, "snr_source": "none"})
    with demo.stage("null"):
        _train(
            demo, "null", permute_pairs=True, repeats_split=None, settings={"weight_fmri": 0, "snr_source": "none", "decoder.n_steps": 0}
        )
        demo.job("maps", demo.path / "runs" / "null_maps", run=demo.run_folder("null"), seed=seed)
    return _score(demo)


def _open(out: Path, seed: int, preset: str, sink: "EventSink", cancel: "CancelToken") -> Demo:
    if preset not in (names := preset_names("simulation")):
        raise ConfigError(unknown_name("preset", preset, names))
    asked = {"preset": preset, "seed": seed, "method": METHOD}
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
    return Demo(out, seed, preset, sink, cancel, seconds)


def _simulate(demo: Demo) -> None:
    if demo.subject.exists():  # written whole or not at all
        demo.sink(Message("info", f"{demo.subject} is there already"))
        return
    demo.job("simulate", None, out=demo.subject, preset=demo.preset, seed=demo.seed)


def _train(demo: Demo, row: str, method: str = METHOD, **params: Any) -> None:
    params = {"preset": _METHOD_PRESETS[demo.preset], **params}
    demo.job("train", demo.run_folder(row), subject=demo.subject, method=method, seed=demo.seed, **params)


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
