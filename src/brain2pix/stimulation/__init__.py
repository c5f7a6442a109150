"""Microstimulation of a model: voxels are changed, then any method decodes them. A statement about the model, with its controls."""

from brain2pix.stimulation.controls import ResponseSpace, describe_distance, fit_space, largest_amplitude, size_matched, space_of
from brain2pix.stimulation.measures import (
    change_energy,
    disc_weights,
    pixel_centres_deg,
    quadrant_share,
    quadrant_weights,
    share_within,
)
from brain2pix.stimulation.operations import stimulate, stimulate_batch
from brain2pix.stimulation.program import QuadrantExperiment, decode_function, quadrant_experiment
from brain2pix.stimulation.record import StimulationRecord, check_record, make_record, read_record, replay, write_record
from brain2pix.stimulation.regions import describe_part, disc_mask, quadrant_mask, quadrant_masks, seen_quadrants, select_voxels

__all__ = [
    "QuadrantExperiment",
    "ResponseSpace",
    "StimulationRecord",
    "change_energy",
    "check_record",
    "decode_function",
    "describe_distance",
    "describe_part",
    "disc_mask",
    "disc_weights",
    "fit_space",
    "largest_amplitude",
    "make_record",
    "pixel_centres_deg",
    "quadrant_experiment",
    "quadrant_mask",
    "quadrant_masks",
    "quadrant_share",
    "quadrant_weights",
    "read_record",
    "replay",
    "seen_quadrants",
    "select_voxels",
    "share_within",
    "size_matched",
    "space_of",
    "stimulate",
    "stimulate_batch",
    "write_record",
]
