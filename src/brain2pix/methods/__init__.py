"""One system, one file, all behind the protocol of `brain2pix.methods.base`; reach them through the registry."""

from brain2pix.methods.base import Decoder, Entry, Method, MethodInfo, Phase, TrainingContext
from brain2pix.methods.predictions import predict_responses, unpaired_as_pairs
from brain2pix.methods.registry import METHODS, make_method, method_entry, resolve_settings, settings_class, settings_from_json

__all__ = [
    "METHODS",
    "Decoder",
    "Entry",
    "Method",
    "MethodInfo",
    "Phase",
    "TrainingContext",
    "make_method",
    "method_entry",
    "predict_responses",
    "resolve_settings",
    "settings_class",
    "settings_from_json",
    "unpaired_as_pairs",
]
