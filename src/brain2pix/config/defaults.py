"""Choices that the command line names before it loads anything."""

from typing import Literal, get_args

DEMO_METHOD = "retino"  # which system the demo trains unless asked for another

# of an export
What = Literal["maps", "coverage", "reconstructions", "stimulation", "map-files", "scores", "record", "accuracy"]
Format = Literal["png", "svg", "pdf"]
Surface = Literal["inflated", "flat"]
WHAT: tuple[What, ...] = get_args(What)
FORMATS: tuple[Format, ...] = get_args(Format)
SURFACES: tuple[Surface, ...] = get_args(Surface)
KINDS = ("angle", "eccentricity", "size", "quality", "prediction", "ceiling", "accuracy")
COLUMNS_MM = {"single": 89.0, "double": 183.0}  # of a journal's page, as most journals have them
