"""Meshes, the model of visual areas, field sign, and the ways between voxels, millimetres and vertices."""

from brain2pix.anatomy.field_sign import EXPECTED_SIGN, triangle_field_sign, vertex_field_sign
from brain2pix.anatomy.geodesic import distance_from, edge_graph, smooth_on_surface
from brain2pix.anatomy.ribbon import Ribbon, mni_grid, posterior_ribbon
from brain2pix.anatomy.sampling import RibbonValues, map_to_surface, map_to_volume, sample_surface, sample_volume
from brain2pix.anatomy.schira import (
    AREA_NAMES,
    Placement,
    SimulatedAtlas,
    cortical_position,
    individual_placement,
    plane_coordinates,
    visual_field,
)
from brain2pix.anatomy.surfaces import (
    HEMISPHERES,
    MNI305_TO_MNI152,
    SURFACE_KINDS,
    Mesh,
    display_offset,
    load_fsaverage5,
    load_sulc,
    mni305_to_mni152,
    used_vertices,
)
from brain2pix.anatomy.transforms import nearest_voxel_of_vertices, voxel_to_world, world_to_voxel

__all__ = [
    "AREA_NAMES",
    "EXPECTED_SIGN",
    "HEMISPHERES",
    "MNI305_TO_MNI152",
    "SURFACE_KINDS",
    "Mesh",
    "Placement",
    "Ribbon",
    "RibbonValues",
    "SimulatedAtlas",
    "cortical_position",
    "display_offset",
    "distance_from",
    "edge_graph",
    "individual_placement",
    "load_fsaverage5",
    "load_sulc",
    "map_to_surface",
    "map_to_volume",
    "mni305_to_mni152",
    "mni_grid",
    "nearest_voxel_of_vertices",
    "plane_coordinates",
    "posterior_ribbon",
    "sample_surface",
    "sample_volume",
    "smooth_on_surface",
    "triangle_field_sign",
    "used_vertices",
    "vertex_field_sign",
    "visual_field",
    "voxel_to_world",
    "world_to_voxel",
]
