"""Receptive fields of other programs: read with a named convention, checked, brought to a subject's voxels, and written for other tools."""

from brain2pix.data.prf_files.conventions import CONVENTIONS, Angle, Convention, convention_names, find_convention
from brain2pix.data.prf_files.importing import Choices, ImportedMaps, read_prf, write_prf
from brain2pix.data.prf_files.writing import KINDS, write_mgz, write_prf_files

__all__ = [
    "CONVENTIONS",
    "KINDS",
    "Angle",
    "Choices",
    "Convention",
    "ImportedMaps",
    "convention_names",
    "find_convention",
    "read_prf",
    "write_mgz",
    "write_prf",
    "write_prf_files",
]
