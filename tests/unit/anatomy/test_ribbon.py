from functools import lru_cache

import numpy as np
import pytest
from nilearn.datasets import load_mni152_gm_template

from brain2pix.anatomy import HEMISPHERES, SimulatedAtlas, mni_grid, posterior_ribbon, visual_field, voxel_to_world

# (LH, RH) voxels of V1, V2, V3 with an eccentricity below 20 degrees, and of the ribbon behind y = -30
COUNTS = {
    3.0: ((279, 325), (224, 246), (223, 262), 12_400),
    2.5: ((400, 497), (335, 379), (346, 406), 18_800),
    2.0: ((665, 844), (543, 622), (582, 661), 31_500),
}
CENTRES = {  # MNI152 mm, (LH, RH)
    "V1v": ((-7, -87, -2), (9, -84, -1)),
    "V1d": ((-9, -93, 6), (11, -89, 8)),
    "V2v": ((-11, -80, -6), (12, -78, -5)),
    "V2d": ((-11, -93, 12), (12, -89, 16)),
    "V3v": ((-16, -72, -7), (19, -71, -7)),
    "V3d": ((-14, -92, 18), (16, -88, 22)),
}
FOVEA = ((-23, -96, -8), (24, -97, -7))


@lru_cache
def _placed(voxel_mm):
    ribbon = posterior_ribbon(*mni_grid(voxel_mm))
    parts = {hemi: SimulatedAtlas(hemi).lookup_plane(ribbon.plane_xy[ribbon.hemi == hemi]) for hemi in HEMISPHERES}
    return ribbon, parts


@pytest.mark.parametrize("voxel_mm", COUNTS)
def test_voxel_counts_are_those_of_the_sheet(voxel_mm):
    ribbon, parts = _placed(voxel_mm)
    *areas, whole = COUNTS[voxel_mm]
    for code, expected in enumerate(areas, start=1):
        got = [int((parts[hemi][0] == code).sum()) for hemi in HEMISPHERES]
        assert got == pytest.approx(expected, rel=0.1)
    assert (ribbon.xyz[:, 1] < -30).sum() == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize("voxel_mm", COUNTS)
def test_area_centres_are_those_of_the_sheet(voxel_mm):
    ribbon, parts = _placed(voxel_mm)
    for side, hemi in enumerate(HEMISPHERES):
        xyz = ribbon.xyz[ribbon.hemi == hemi]
        area, ecc, _, ventral = parts[hemi]
        for name, centres in CENTRES.items():
            inside = (area == int(name[1])) & (ventral == (name[2] == "v"))
            assert np.linalg.norm(xyz[inside].mean(axis=0) - centres[side]) < 3
        assert np.linalg.norm(xyz[np.nan_to_num(ecc, nan=99) < 1].mean(axis=0) - FOVEA[side]) < 3


def test_hemispheres_see_the_other_side_of_the_world():
    ribbon, parts = _placed(3.0)
    for hemi, side in (("L", -1), ("R", 1)):
        area, ecc, theta, _ = parts[hemi]
        xyz = ribbon.xyz[ribbon.hemi == hemi][area > 0]
        x0, y0 = (field[area > 0] for field in visual_field(hemi, ecc, theta))
        assert (side * xyz[:, 0]).min() > -5  # the two touch at the midline
        assert np.median(side * xyz[:, 0]) > 8
        assert (np.sign(x0) == -side).mean() > 0.97
        v1 = area[area > 0] == 1
        # lingual gyrus, below the calcarine: upper field
        assert xyz[v1 & (y0 > 1), 2].mean() < xyz[v1 & (y0 < -1), 2].mean() - 5


def test_the_ribbon_is_grey_matter():
    """The grey-matter template of nilearn comes from other people and another method."""
    ribbon, _ = _placed(2.0)
    template = load_mni152_gm_template(resolution=2)
    ijk = np.round(np.linalg.solve(template.affine, np.c_[ribbon.xyz, np.ones(len(ribbon.xyz))].T)[:3]).astype(int)
    density = template.get_fdata()
    within = np.zeros(density.shape, dtype=bool)
    within[tuple(ijk)] = True
    y = np.arange(density.shape[1]) * template.affine[1, 1] + template.affine[1, 3]
    elsewhere = ~within & (y < -30)[None, :, None] & (density > 0)
    assert np.mean(density[within] > 0.5) > 0.6
    assert np.mean(density[elsewhere] > 0.5) < 0.35


def test_no_voxel_appears_twice():
    ribbon, _ = _placed(3.0)
    assert len(np.unique(ribbon.ijk, axis=0)) == len(ribbon.ijk)
    assert set(ribbon.hemi) == {"L", "R"}


@pytest.mark.parametrize("voxel_mm", [1.5, 2.0, 2.5, 4.0])
def test_grid_has_the_origin_at_a_voxel_and_the_same_room_on_both_sides(voxel_mm):
    affine, shape = mni_grid(voxel_mm)
    origin = np.linalg.solve(affine, [0, 0, 0, 1])[:3]
    assert np.allclose(origin, np.round(origin))
    corners = voxel_to_world([[0, 0, 0], np.array(shape) - 1], affine)
    assert corners[0, 0] == -corners[1, 0]
    assert (corners[0] >= (-90, -126, -72)).all() and (corners[1] <= (90, 90, 108)).all()
    assert (corners[0] < np.array((-90, -126, -72)) + voxel_mm).all()
