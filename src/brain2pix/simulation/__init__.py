"""The simulated subject: anatomy is real, responses are made, the truth is known and kept apart."""

from brain2pix.simulation.categories import CATEGORIES, PROCEDURAL_CLASSES, exemplar
from brain2pix.simulation.images import make_stimuli, make_unpaired, permitted_images
from brain2pix.simulation.photos import PHOTO_SOURCES, source_hashes
from brain2pix.simulation.subject import simulate, simulate_content
from brain2pix.simulation.truth import Truth, load_truth, truth_folder

__all__ = [
    "CATEGORIES",
    "PHOTO_SOURCES",
    "PROCEDURAL_CLASSES",
    "Truth",
    "exemplar",
    "load_truth",
    "make_stimuli",
    "make_unpaired",
    "permitted_images",
    "simulate",
    "simulate_content",
    "source_hashes",
    "truth_folder",
]
