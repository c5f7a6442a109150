"""What each kind of job is asked: plain values that go into ``job.json``."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from brain2pix.config.base import Settings
from brain2pix.config.defaults import DEMO_METHOD
from brain2pix.config.models import BackboneSettings
from brain2pix.config.preparation import PreparationSettings, ZScore
from brain2pix.config.training import TrainingSettings

_DEVICE = "auto, cpu, cuda, cuda:N or mps; auto takes CUDA if there is any"
_RUN = "run folder of a trained system"
_SUBJECT = "subject's folder; None: the one the system was trained on"


class SimulateParams(Settings):
    """Make a simulated subject."""

    out: Path = Field(description="dataset folder to make")
    preset: str = Field("demo", description="size and noise")
    seed: int = Field(0, ge=0, description="changes crops, subject and noise")
    settings: dict[str, Any] = Field({}, description="single settings over the preset, dotted names")


class TrainParams(Settings):
    """Train a system."""

    subject: Path = Field(description="dataset folder, or the subject's folder in it")
    subject_name: str | None = Field(None, description="which subject of a dataset folder, e.g. sub-01")
    nan: Literal["drop-voxels", "error"] = Field(
        "drop-voxels", description="what to do with voxels that have responses that are not finite"
    )
    method: str = Field("gaziv", description="name in the registry of methods")
    preset: str | None = Field("demo", description="preset of the method")
    settings_file: Path | None = Field(None, description="TOML over the preset")
    settings: dict[str, Any] = Field({}, description="single settings over preset and file, dotted names")
    region: str | None = Field(None, description="expression over areas; None: V1 + V2 + V3 - outside")
    image_size: int | None = Field(None, ge=8, le=1024, description="edge of the images [px]; None: as they are")
    seed: int = Field(0, ge=0, description="of weights, order and noise of training")
    device: str = Field("auto", description=_DEVICE)
    train_split: str = Field("train", description="trials to train on")
    repeats_split: str | None = Field("test", description="trials whose responses, without images, may be used (transductive); None: none")
    permute_pairs: bool = Field(False, description="control: give each response the image of another trial")
    pairs_from: Path | None = Field(None, description="train on (predicted response, image) pairs of this trained encoder")
    encoder_from: Path | None = Field(None, description="run folder whose trained encoder is taken instead of training one again")
    prepare: PreparationSettings = PreparationSettings()
    training: TrainingSettings = TrainingSettings()


class ImportModelParams(Settings):
    """Make a trained system of the checkpoints that its authors published."""

    subject: Path = Field(description="dataset folder, or the subject's folder in it")
    subject_name: str | None = Field(None, description="which subject of a dataset folder, e.g. sub-01")
    method: str = Field("gaziv", description="name in the registry of methods")
    encoder: Path | None = Field(None, description="checkpoint of the encoder; None: a system without one")
    decoder: Path | None = Field(None, description="checkpoint of the decoder; None: a system that makes no pictures")
    region: str = Field("VC", description="expression over areas: the voxels of the checkpoints, in the order of the subject's table")
    select_voxels: Path | None = Field(
        None, description="npz file with select_voxels: numbers of the region's voxels, from 0, or a mask over them, as the program had it"
    )
    zscore: ZScore = Field("none", description="how the subject's responses are z-scored; none: as they are, as the program took them")
    preset: Literal["released", "paper"] = Field("released", description="what no file tells: groups, activation and their order")
    settings: dict[str, Any] = Field({}, description="single settings over the preset, dotted names")


class MapsParams(Settings):
    """Read receptive fields from a trained encoder, or from a decoder."""

    run: Path = Field(description=_RUN)
    subject: Path | None = Field(None, description=_SUBJECT)
    side: Literal["encoder", "decoder"] = Field(
        "encoder", description="where a voxel's response comes from in the image, or where the voxel writes in the picture"
    )
    compare: Path | None = Field(
        None, description="side decoder: folder with the encoder's maps to compare with; None: they are read from the encoder on the way"
    )
    preset: str | None = Field("default", description="preset of the receptive fields")
    settings: dict[str, Any] = Field({}, description="single settings over the preset")
    quality_split: str | None = Field("validation", description="trials that give the encoder's r per voxel; None: peak over background")
    seed: int = Field(0, ge=0, description="chooses the input images")
    device: str = Field("auto", description=_DEVICE)


class DecodeParams(Settings):
    """Reconstruct the images of a split from their responses."""

    run: Path = Field(description=_RUN)
    subject: Path | None = Field(None, description=_SUBJECT)
    split: str = Field("test", description="which images")
    device: str = Field("auto", description=_DEVICE)
    batch: int = Field(64, ge=1, description="images decoded at once")


class EvaluateParams(DecodeParams):
    """Score reconstructions, and predictions if the system has an encoder."""

    pool: Path | None = Field(None, description="folder of pictures that are distractors of further identification scores; None: none")


class ClassifyParams(DecodeParams):
    """Classify reconstructions among the classes of a gallery."""

    gallery: Path = Field(description="folder with one sub-folder of pictures for each class, or procedural: the simulation's classes")
    class_column: str = Field("category", description="column of stimuli.tsv that names the true classes")
    backbone: BackboneSettings = Field(BackboneSettings(), description="network whose features are compared; published: alexnet")
    size: int = Field(224, ge=32, le=512, description="edge at which the network sees pictures [px]")
    per_class: int = Field(100, ge=1, le=5000, description="pictures of a class, at most")
    seed: int = Field(0, ge=0, description="draws the pictures")


class StimulateParams(Settings):
    """Change the responses of a region and decode."""

    run: Path = Field(description=_RUN)
    subject: Path | None = Field(None, description=_SUBJECT)
    stimulus: str = Field("mean", description="stimulus whose mean response is changed; mean: the mean training response")
    repeat: int | None = Field(None, ge=1, description="change the response of this trial of the stimulus; None: the mean over its trials")
    split: str | None = Field(None, description="only trials of this split; None: those in which the stimulus was seen")
    region: str = Field("all", description="expression over areas")
    mode: Literal["set", "add", "scale", "silence"] = Field("add", description="what is done to the responses of the region")
    amplitude: float = Field(1.0, description="value, summand or factor [units of the responses]")
    record: Path | None = Field(None, description="record of a stimulation to run again, instead of the six above")
    device: str = Field("auto", description=_DEVICE)


class BackboneParams(Settings):
    """Train the bundled backbone on images that may be used for training."""

    n_images: int = Field(8000, ge=32, description="training images")
    image_size: int = Field(64, ge=16, le=224, description="their edge [px]")
    seed: int = Field(0, ge=0, description="of images and training")
    settings: dict[str, Any] = Field({}, description="single settings of the backbone's training")
    device: str = Field("auto", description=_DEVICE)


class DemoParams(Settings):
    """Run the whole main job on a simulated subject."""

    seed: int = Field(0, ge=0, description="of subject and training")
    preset: str = Field("demo", description="size of subject and training")
    method: str = Field(DEMO_METHOD, description="system of the row `full`: any with an encoder")
    scores: Literal["short", "full"] = Field("short", description="rows of the sheet: the first ones, or all")
