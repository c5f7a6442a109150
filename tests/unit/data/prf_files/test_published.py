"""The truth of the simulated subject, written as each program publishes it by formulas of the test's own, reads back as the truth."""

import numpy as np
import prf_published as published
import pytest

from brain2pix.data.prf_files import Choices, read_prf
from brain2pix.errors import ConfigError, DataFormatError

SIDES = {"lh": "L", "rh": "R"}


def over_voxels(known, imported, part="x0_deg"):
    whole = np.full(known.subject.n_voxels, np.nan)
    whole[imported.voxel_index] = getattr(imported.retinotopy, part)
    return whole


def assert_is_the_truth(known, imported, tolerance=1e-4):
    for part, truth in (("x0_deg", known.x0), ("y0_deg", known.y0)):
        np.testing.assert_allclose(over_voxels(known, imported, part), truth, atol=tolerance)


def write_nsd_volumes(folder, known, *, x0=None, y0=None):
    x0, y0 = known.x0 if x0 is None else x0, known.y0 if y0 is None else y0
    parts = {
        "angle": published.angles(x0, y0, known.hemi, "nsd"),
        "eccentricity": published.eccentricity(x0, y0),
        "size": known.size,
        "exponent": known.exponent,
        "R2": 100 * known.r2,
    }
    folder.mkdir(exist_ok=True)
    for name, values in parts.items():
        published.write_volume(
            folder / f"prf_{name}.nii.gz", values, known.subject.ijk, known.subject.space.shape, known.subject.space.affine
        )
    return folder


def write_prfanalyze(folder, known, *, x0=None, y0=None):
    x0, y0 = known.x0 if x0 is None else x0, known.y0 if y0 is None else y0
    parts = {"centerx0": x0, "centery0": y0, "sigmamajor": known.sigma, "sigmaminor": known.sigma, "theta": 0 * x0, "r2": known.r2}
    folder.mkdir(exist_ok=True)
    for name, values in parts.items():
        file = folder / f"sub-01_ses-1_task-prf_{name}.nii.gz"
        published.write_volume(file, values, known.subject.ijk, known.subject.space.shape, known.subject.space.affine)
    return folder


def write_benson(folder, known, suffix=".mgz", atlas="benson14"):
    write = published.write_mgz if suffix else published.write_morphometry
    folder.mkdir(exist_ok=True)
    for start, hemi in SIDES.items():
        sides = np.full(known.subject.n_voxels, hemi)
        angle = published.angles(known.x0, known.y0, sides, "benson14")
        parts = {"angle": angle, "eccen": published.eccentricity(known.x0, known.y0), "sigma": known.sigma}
        parts["varea"] = np.where(np.isfinite(known.x0), 1, 0)
        for name, values in parts.items():
            write(folder / f"{start}.{atlas}_{name}{suffix}", np.nan_to_num(known.on_vertices(hemi, values)))
    return folder


def test_nsd_volumes(known, tmp_path):
    imported = read_prf(write_nsd_volumes(tmp_path / "func1pt8mm", known), known.subject)
    assert imported.convention.name == "nsd" and "prf_angle" in imported.why
    assert_is_the_truth(known, imported)
    np.testing.assert_allclose(over_voxels(known, imported, "sigma_deg"), known.size, rtol=1e-5)  # effective, as it came: not divided again
    np.testing.assert_allclose(over_voxels(known, imported, "quality"), known.r2, rtol=1e-5)  # negative ones too
    assert imported.check.ok and imported.check.mirrored is False and not imported.others
    assert imported.about["QualityUnit"] == "fraction" and "sqrt(exponent)" in imported.about["SizeMeaning"]
    assert np.isnan(imported.retinotopy.field_of_view_deg)


def test_fits_that_ran_off_and_fixation(known, tmp_path):
    folder = write_nsd_volumes(tmp_path / "nsd", known)
    has_field = np.flatnonzero(np.isfinite(known.x0))
    ecc, angle = published.eccentricity(known.x0, known.y0), published.angles(known.x0, known.y0, known.hemi, "nsd")
    ecc[has_field[0]] = 1000.0  # a bound of the optimiser
    ecc[has_field[1]], angle[has_field[1]] = 0.0, np.nan  # at fixation there is no angle
    angle[has_field[2]] = np.nan  # nor here, and here that is a loss
    for name, values in (("angle", angle), ("eccentricity", ecc)):
        published.write_volume(
            folder / f"prf_{name}.nii.gz", values, known.subject.ijk, known.subject.space.shape, known.subject.space.affine
        )
    imported = read_prf(folder, known.subject)
    x0, y0 = over_voxels(known, imported), over_voxels(known, imported, "y0_deg")
    assert np.isnan(x0[has_field[0]]) and np.isnan(over_voxels(known, imported, "sigma_deg")[has_field[0]])
    assert (x0[has_field[1]], y0[has_field[1]]) == (0, 0) and np.isnan(x0[has_field[2]])
    assert over_voxels(known, imported, "quality")[has_field[0]] == pytest.approx(known.r2[has_field[0]])
    assert any("1 fits that ran off" in text for text in imported.about["Converted"])


def test_prfanalyze_volumes(known, tmp_path):
    imported = read_prf(write_prfanalyze(tmp_path / "prf", known), known.subject)
    assert imported.convention.name == "prfanalyze"
    assert_is_the_truth(known, imported)
    np.testing.assert_allclose(over_voxels(known, imported, "sigma_deg"), known.sigma, rtol=1e-5)
    np.testing.assert_allclose(over_voxels(known, imported, "quality"), known.r2, rtol=1e-5)
    assert imported.check.ok


def test_one_file_stands_for_those_named_alike(known, tmp_path):
    folder = write_prfanalyze(tmp_path / "prf", known)
    for file in list(folder.iterdir()):
        (folder / file.name.replace("ses-1", "ses-2")).write_bytes(file.read_bytes())
    with pytest.raises(DataFormatError, match=r"2 maps are called centerx0: .*ses_1.*ses_2.*give one of the files as SOURCE"):
        read_prf(folder, known.subject)
    imported = read_prf(folder / "sub-01_ses-2_task-prf_r2.nii.gz", known.subject)
    assert len(imported.about["Sources"]) == 6 and all("ses-2" in name for name in imported.about["Sources"])
    assert_is_the_truth(known, imported)


@pytest.mark.parametrize("suffix", [".mgz", "", ".v4_0.mgz"])
def test_benson_templates(known, tmp_path, suffix):
    """A template says 0 where it says nothing, and the same angles for both hemispheres."""
    imported = read_prf(write_benson(tmp_path / "surf", known, suffix), known.subject)
    assert imported.convention.name == "benson14" and imported.check.ok and imported.check.mirrored is False
    assert set(imported.retinotopy.quality[np.isfinite(imported.retinotopy.x0_deg)].tolist()) == {1.0}
    assert imported.retinotopy.quality_name.startswith("none given") and imported.about["QualityUnit"] == "n/a"
    # a mesh of 3 mm between voxels of 4 mm blurs: near in the median, and never at 0 for what lies outside
    early = np.logical_or.reduce([known.subject.areas[name] for name in ("V1", "V2", "V3")])
    apart = np.hypot(over_voxels(known, imported) - known.x0, over_voxels(known, imported, "y0_deg") - known.y0)[early]
    assert np.isfinite(apart).mean() > 0.85 and np.nanmedian(apart) < 0.5


def test_each_vertex_of_one_voxel_gives_its_value_exactly(known, tmp_path):
    """The same field everywhere in a hemisphere must come back everywhere, at no other place and of no other size."""
    for start, side in (("lh", 1), ("rh", -1)):
        n = known.subject.mesh(SIDES[start], "white").n_vertices
        for name, value in (("angle", np.degrees(np.arctan2(3, 2 * side)) % 360), ("eccentricity", 13**0.5), ("size", 0.7), ("R2", 40.0)):
            published.write_mgz(tmp_path / f"{start}.prf{name}.mgz", np.full(n, value))
    imported = read_prf(tmp_path, known.subject)
    left = known.hemi[imported.voxel_index] == "L"
    assert imported.convention.name == "nsd" and len(left) > 800
    np.testing.assert_allclose(imported.retinotopy.x0_deg, np.where(left, 2, -2), atol=1e-4)
    np.testing.assert_allclose(imported.retinotopy.y0_deg, 3, atol=1e-4)
    np.testing.assert_allclose(imported.retinotopy.sigma_deg, 0.7, atol=1e-5)
    np.testing.assert_allclose(imported.retinotopy.quality, 0.4, atol=1e-5)


def test_positions_are_averaged_never_angles(known, tmp_path):
    """Half of the vertices at 350 degrees, half at 10: between them is 0, not 180."""
    rng = np.random.default_rng(1)
    n = known.subject.mesh("L", "white").n_vertices
    published.write_mgz(tmp_path / "lh.prfangle.mgz", np.where(rng.random(n) < 0.5, 350, 10))
    published.write_mgz(tmp_path / "lh.prfeccentricity.mgz", np.full(n, 5))
    imported = read_prf(tmp_path, known.subject)
    assert imported.retinotopy.x0_deg.min() > 4.9 and np.abs(imported.retinotopy.y0_deg).max() < 0.9


def test_fsaverage_is_cut_to_fsaverage5(known, tmp_path):
    rng = np.random.default_rng(2)
    for start in SIDES:
        fine = rng.uniform(0, 180, 163842)
        for folder, n in (("fine", 163842), ("coarse", 10242)):
            (tmp_path / folder).mkdir(exist_ok=True)
            published.write_mgz(tmp_path / folder / f"{start}.benson14_angle.mgz", fine[:n])
            published.write_mgz(tmp_path / folder / f"{start}.benson14_eccen.mgz", np.full(n, 3))
    fine, coarse = (read_prf(tmp_path / name, known.subject) for name in ("fine", "coarse"))
    np.testing.assert_array_equal(fine.retinotopy.x0_deg, coarse.retinotopy.x0_deg)
    assert fine.notes == ("fsaverage cut to fsaverage5, whose vertices are its first",) and not coarse.notes
    published.write_mgz(tmp_path / "coarse" / "lh.benson14_angle.mgz", np.zeros(5000))
    with pytest.raises(DataFormatError, match=r"lh\.benson14_angle\.mgz has 5000 values, the subject's mesh 10242 vertices: it belongs to"):
        read_prf(tmp_path / "coarse", known.subject)


@pytest.mark.parametrize("version", ["v5", "v5 variables", "v7.3", "v7.3 variables"])
@pytest.mark.parametrize("place", ["voxels", "grid", "column of the grid"])
def test_results_of_analyzeprf(known, tmp_path, version, place):
    struct = published.results(known.x0, known.y0, known.sigma, known.exponent, known.r2, degrees_per_pixel=0.12)
    if place != "voxels":
        shape = known.subject.space.shape
        for name in ("ang", "ecc", "expt", "rfsize", "R2", "gain", "meanvol"):
            volume = np.full(shape, np.nan)
            volume[tuple(known.subject.ijk.T)] = struct[name].ravel()
            struct[name] = volume if place == "grid" else volume.reshape(-1, 1, order="F")
        struct.pop("params")
    write = published.write_mat5 if "v5" in version else published.write_mat73
    write(tmp_path / "results.mat", struct, split="variables" in version)
    with pytest.raises(ConfigError, match="lengths in pixels of the aperture; give --degrees-per-pixel"):
        read_prf(tmp_path / "results.mat", known.subject)
    imported = read_prf(tmp_path / "results.mat", known.subject, Choices(degrees_per_pixel=0.12))
    assert imported.convention.name == "analyzeprf" and imported.check.ok
    assert_is_the_truth(known, imported)
    np.testing.assert_allclose(over_voxels(known, imported, "sigma_deg"), known.size, rtol=1e-5)
    np.testing.assert_allclose(over_voxels(known, imported, "quality"), known.r2, rtol=1e-5)


def table_columns(known, convention):
    hemi, ijk = known.hemi, known.subject.ijk
    place = {"i": ijk[:, 0].tolist(), "j": ijk[:, 1].tolist(), "k": ijk[:, 2].tolist()}
    if convention == "prfpy":
        fields = {"mu_x": known.x0, "mu_y": known.y0, "size": known.sigma, "rsq": known.r2}
    elif convention == "fraction":
        fields = {"row_centers": -known.y0 / 12, "col_centers": known.x0 / 12, "sigma": known.sigma / 12}
    elif convention == "sigma and exponent":
        fields = {"x0": known.x0, "y0": known.y0, "sigma": known.sigma, "exponent": known.exponent, "r2": known.r2}
    else:
        names = {"nsd": ("angle", "ecc"), "benson14": ("angle", "eccen"), "neuropythy-standard": ("angle", "eccentricity")}
        angle, ecc = names.get(convention, ("polar_angle", "eccentricity"))
        percent = 100 if convention == "nsd" else 1
        fields = {
            angle: published.angles(known.x0, known.y0, hemi, convention),
            ecc: published.eccentricity(known.x0, known.y0),
            "sigma": known.sigma,
            "R2": percent * known.r2,
        }
    return {**place, **{name: values.tolist() for name, values in fields.items()}}


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize(
    ("convention", "proposed"),
    [
        ("nsd", "nsd"),
        ("benson14", "benson14"),
        ("neuropythy-visual", "neuropythy-visual"),
        ("neuropythy-standard", "neuropythy-standard"),
        ("prfpy", "prfanalyze"),
        ("fraction", "fraction"),
        ("sigma and exponent", "prfanalyze"),
    ],
)
def test_tables(known, tmp_path, convention, proposed, delimiter):
    columns = table_columns(known, convention)
    order = np.random.default_rng(0).permutation(known.subject.n_voxels)
    file = tmp_path / ("prf.tsv" if delimiter == "\t" else "prf.csv")
    published.write_table(file, {name: [values[row] for row in order] for name, values in columns.items()}, delimiter)
    imported = read_prf(file, known.subject, Choices(field_of_view_deg=12.0))
    assert imported.convention.name == proposed and imported.check.ok
    assert_is_the_truth(known, imported)
    assert imported.retinotopy.field_of_view_deg == 12
    if convention == "sigma and exponent":
        np.testing.assert_allclose(over_voxels(known, imported, "sigma_deg"), known.size, rtol=1e-5)
        assert imported.about["SizeMeaning"] == "effective size: sigma of the Gaussian / sqrt(exponent)"


def test_rows_and_vertices(known, tmp_path):
    """A table may count voxels, or vertices with a hemisphere, from 0 or from 1."""
    rows = np.flatnonzero(np.isfinite(known.x0))[::2]
    published.write_table(
        tmp_path / "rows.csv", {"voxel": (rows + 1).tolist(), "x0": known.x0[rows].tolist(), "y0": known.y0[rows].tolist()}, ","
    )
    imported = read_prf(tmp_path / "rows.csv", known.subject, Choices(first_index=1))
    assert np.array_equal(imported.voxel_index, rows)
    np.testing.assert_allclose(imported.retinotopy.y0_deg, known.y0[rows], atol=1e-5)
    columns = {"vertex": [], "hemi": [], "x0": [], "y0": []}
    for start, hemi in SIDES.items():
        x0, y0 = known.on_vertices(hemi, known.x0), known.on_vertices(hemi, known.y0)
        shown = np.flatnonzero(np.isfinite(x0))
        for name, values in (("vertex", shown), ("hemi", [start] * len(shown)), ("x0", x0[shown]), ("y0", y0[shown])):
            columns[name] += list(values)
    published.write_table(tmp_path / "vertices.tsv", columns)
    imported = read_prf(tmp_path / "vertices.tsv", known.subject)
    assert imported.check.ok and imported.check.mirrored is False
    swapped = read_prf(tmp_path / "vertices.tsv", known.subject, Choices(swap_hemispheres=True))
    assert not swapped.check.ok


def test_lines_at_no_voxel_are_left_out_and_counted(known, tmp_path):
    columns = table_columns(known, "prfpy")
    published.write_table(
        tmp_path / "prf.tsv", {name: [*values, {"i": 0, "j": 0, "k": 0}.get(name, 1.0)] for name, values in columns.items()}
    )
    imported = read_prf(tmp_path / "prf.tsv", known.subject)
    assert imported.notes == (f"1 of {known.subject.n_voxels + 1} lines lie at no voxel of sub-01 and are left out",)
    assert_is_the_truth(known, imported)


# Mirrored maps --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_nsd_volumes, write_prfanalyze])
@pytest.mark.parametrize(
    ("x", "y", "remedy", "flips"), [(-1, 1, "flip x", ("x",)), (1, -1, "flip y", ("y",)), (-1, -1, "flip x and y", ("x", "y"))]
)
def test_a_mirrored_map_fails_and_the_remedy_mends_it(known, tmp_path, write, x, y, remedy, flips):
    folder = write(tmp_path / "prf", known, x0=x * known.x0, y0=y * known.y0)
    imported = read_prf(folder, known.subject)
    assert not imported.check.ok and imported.check.remedies == (remedy,)
    assert imported.check.mirrored is (len(flips) == 1)
    said = "\n".join(imported.lines())
    assert f"check      try: {remedy}" in said and "WARNING    This map contradicts" in said
    mended = read_prf(folder, known.subject, Choices(flip=flips))
    assert mended.check.ok and not mended.others
    assert_is_the_truth(known, mended)
    assert f"sign of {flips[0]}0 turned over" in mended.about["Converted"]


def test_a_wrong_convention_is_seen_and_the_right_one_named(known, tmp_path):
    """Benson angles have no sign: read as if they had, the right hemisphere sees the right field."""
    columns = table_columns(known, "benson14")
    published.write_table(tmp_path / "prf.tsv", columns)
    wrong = read_prf(tmp_path / "prf.tsv", known.subject, Choices(convention="neuropythy-visual"))
    assert not wrong.check.ok and wrong.others == ("benson14",)
    assert any("read as benson14 the map agrees" in line for line in wrong.lines())
    assert [side.ok for side in wrong.check.sides[:2]] == [True, False]


def test_exchanged_files_of_a_template(known, tmp_path):
    """Files of the hemispheres with each other's names: what an unsigned angle means goes with the hemisphere that is said."""
    folder = write_benson(tmp_path / "surf", known)
    for name in ("angle", "eccen", "sigma", "varea"):
        left, right = (folder / f"{start}.benson14_{name}.mgz" for start in SIDES)
        content = left.read_bytes()
        left.write_bytes(right.read_bytes())
        right.write_bytes(content)
    mended = read_prf(folder, known.subject, Choices(swap_hemispheres=True))
    assert mended.check.ok and "hemispheres swapped" in mended.about["Converted"]
    assert read_prf(folder, known.subject).check.mirrored is not False
