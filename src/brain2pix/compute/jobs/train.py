"""Train a system on a subject."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import check_device_name, choose_device, memory_reported
from brain2pix.config.base import build
from brain2pix.config.preparation import PreparationSettings
from brain2pix.data.regions import default_region
from brain2pix.data.splits import training_data
from brain2pix.data.subject import open_subject
from brain2pix.errors import ConfigError, MissingDataError
from brain2pix.events import Cancelled
from brain2pix.methods.base import CHOSEN_ON_TEST, TrainingContext
from brain2pix.methods.predictions import unpaired_as_pairs
from brain2pix.methods.registry import make_method, resolve_settings
from brain2pix.training.run_folder import RunFolder, load_model

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from brain2pix.config.run import TrainParams
    from brain2pix.data.subject import Subject
    from brain2pix.data.training import TrainingData

_PERMUTE = 11  # keeps this stream of random numbers apart from the others of the same seed


def prepare(params: "TrainParams") -> Prepared:
    """Resolve the settings, open the subject, gather what may be trained on, make the untrained system."""
    settings = resolve_settings(params.method, params.preset, params.settings_file, params.settings)
    check_device_name(params.device)
    preparation = _preparation(params)
    subject = open_subject(params.subject, params.subject_name, nan=params.nan, zscore=preparation.zscore)
    region = _region(params, subject)
    data = training_data(
        subject,
        region,
        image_size=params.image_size,
        train_split=params.train_split,
        repeats_split=params.repeats_split,
        preparation=preparation,
    )
    prepared = _what_was_prepared(preparation, data, subject.select(region).size, subject.rows(params.train_split).size)
    # torch takes seconds to load, so mistakes in settings and data are told before
    from brain2pix.training.engine import seed_everything, train

    device = choose_device(params.device)
    if params.permute_pairs:
        data = permuted(data, params.seed)
    if params.pairs_from is not None:
        data = pairs_of_encoder(params.pairs_from, data, region, device)
    seed_everything(params.seed, "make")
    method = make_method(params.method, settings, [data.subject], data.image_size)
    if params.encoder_from is not None:
        method.adopt_encoder(load_model(params.encoder_from, device))

    def run(context: JobContext) -> None:
        if subject.simulated:
            context.message(f"{subject.name} of {subject.root.name} is a simulated subject")
        if prepared:
            context.message(f"prepared: {prepared}")
        surroundings = TrainingContext(device, params.seed, context.sink, context.cancel)
        with memory_reported(device, settings):
            if train(method, data, surroundings, context.folder, params.training) == "cancelled":
                raise Cancelled

    resolved = {
        "method": params.method,
        "settings": settings.model_dump(mode="json"),
        "training": params.training.model_dump(mode="json"),
        "prepare": preparation.model_dump(mode="json"),
        "unit": data.subject.unit,
        "notes": list(subject.notes),
        "subject": str(subject.path),
        "simulated": subject.simulated,
        "region": region,
        "n_voxels": data.subject.n_voxels,
        "n_trials": len(data.responses),
        "n_unpaired": 0 if data.unpaired is None else len(data.unpaired),
        "image_size": data.image_size,
        "seed": params.seed,
        "encoder_from": None if params.encoder_from is None else str(params.encoder_from),
        "device": str(device),
    }
    return Prepared(resolved, run)


def permuted(data: "TrainingData", seed: int) -> "TrainingData":
    """Give each response the image of another trial: the control in which nothing can be learned from pairs."""
    return replace(data, image_index=np.random.default_rng([seed, _PERMUTE]).permutation(data.image_index))


def pairs_of_encoder(run: "Path", data: "TrainingData", region: str, device: "torch.device") -> "TrainingData":
    """Replace the pairs by images without responses and what a trained encoder predicts for them.

    Raises
    ------
    ConfigError
        If the encoder reads other voxels than `data` has.
    MissingDataError
        If the subject has no images without responses.
    """
    encoder = load_model(run, device)
    if data.unpaired is None:
        raise MissingDataError("pairs from an encoder need images without responses: stimuli/unpaired.npy or a folder stimuli/unpaired")
    if encoder.info.subjects[0].voxel_hash != data.subject.voxel_hash:
        raise ConfigError(
            f"the encoder in {run} reads {encoder.info.subjects[0].n_voxels} voxels, region {region!r} has {data.subject.n_voxels} others; "
            "leave the region out, or give the one it was trained on"
        )
    pairs = unpaired_as_pairs(encoder, data)
    if CHOSEN_ON_TEST not in encoder.info.transductive:
        return pairs
    return replace(pairs, subject=replace(pairs.subject, transductive=(*pairs.subject.transductive, CHOSEN_ON_TEST)))


def _preparation(params: "TrainParams") -> PreparationSettings:
    """Give the preparation that was asked for, or that of the run whose encoder is taken."""
    lender = params.pairs_from or params.encoder_from
    if lender is None:
        return params.prepare
    of_encoder = build(PreparationSettings, RunFolder(lender).read_settings().get("prepare", {}))
    if "prepare" not in params.model_fields_set:
        return of_encoder
    asked = params.prepare.model_dump()
    differing = [f"{key} is {value!r}, not {asked[key]!r}" for key, value in of_encoder.model_dump().items() if value != asked[key]]
    if differing:
        raise ConfigError(
            f"the encoder in {lender} was trained on responses prepared otherwise: {'; '.join(differing)}; "
            "leave prepare out, or give a run with the same settings"
        )
    return of_encoder


def _what_was_prepared(preparation: PreparationSettings, data: "TrainingData", n_voxels: int, n_trials: int) -> str:
    """Say what was done to the responses; empty where nothing was asked for."""
    done = []
    if preparation.zscore != "auto":
        done.append(f"zscore {preparation.zscore}, responses in {data.subject.unit}")
    if preparation.chooses_voxels:
        done.append(f"{data.subject.n_voxels} of {n_voxels} voxels chosen by {preparation.repeats_of} repeats")
    if preparation.average_repeats:
        done.append(f"{n_trials} trials averaged to {len(data.responses)} responses, one per image")
    return "; ".join(done)


def _region(params: "TrainParams", subject: "Subject") -> str:
    if params.region is not None:
        return params.region
    lender = params.pairs_from or params.encoder_from
    of_encoder = RunFolder(lender).read_settings().get("region") if lender is not None else None
    return str(of_encoder or default_region(subject.areas))
