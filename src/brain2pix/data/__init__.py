"""Subjects on disk: write, open, check, split; maps to and from files. Free of torch at import."""

from brain2pix.data.checks import find_subjects
from brain2pix.data.hemifield import HemifieldCheck, SideCheck, check_hemifields
from brain2pix.data.images import as_tensor, as_uint8, read_image, resize
from brain2pix.data.maps import StoredMaps, read_maps, write_maps
from brain2pix.data.native import NativeContent, write_native
from brain2pix.data.regions import DEFAULT_REGION, default_region, region_mask
from brain2pix.data.screen import Dropped
from brain2pix.data.space import Space, voxel_hash
from brain2pix.data.splits import EvaluationSet, evaluation_set, training_data
from brain2pix.data.subject import Subject, open_subject
from brain2pix.data.summary import summarise, summary_lines
from brain2pix.data.training import RepeatedResponses, TrainingData

__all__ = [
    "DEFAULT_REGION",
    "Dropped",
    "EvaluationSet",
    "HemifieldCheck",
    "NativeContent",
    "RepeatedResponses",
    "SideCheck",
    "Space",
    "StoredMaps",
    "Subject",
    "TrainingData",
    "as_tensor",
    "as_uint8",
    "check_hemifields",
    "default_region",
    "evaluation_set",
    "find_subjects",
    "open_subject",
    "read_image",
    "read_maps",
    "region_mask",
    "resize",
    "summarise",
    "summary_lines",
    "training_data",
    "voxel_hash",
    "write_maps",
    "write_native",
]
