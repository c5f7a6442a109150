"""Maps as other tools read them: nibabel, nilearn and pandas see the numbers of the map, in the names and shapes that they expect."""

import json

import nibabel as nib
import nilearn.surface
import numpy as np
import pandas as pd
import pytest

from brain2pix.arrays import RetinotopicMap
from brain2pix.data import open_subject, read_maps, write_maps
from brain2pix.data.maps import compare_maps, imported_maps, read_imported
from brain2pix.data.prf_files import CONVENTIONS, Choices, read_prf, write_prf, write_prf_files
from brain2pix.data.prf_files.converting import QUALITY_R2
from brain2pix.errors import ConfigError, ShapeError

WRITTEN = [name for name, one in CONVENTIONS.items() if not one.refuse and one.length != "px"]


@pytest.fixture(scope="module")
def found(known):
    def single(values):
        return np.asarray(values, dtype=np.float32)

    return RetinotopicMap(single(known.x0), single(known.y0), single(known.size), single(known.r2), 12.0, QUALITY_R2, "a truth")


@pytest.fixture(scope="module")
def everything(known):
    return np.arange(known.subject.n_voxels)


def test_freesurfer_files(known, found, everything, tmp_path):
    write_prf_files(tmp_path / "out", found, known.subject, everything, kinds=("mgz", "gifti"))
    for start, hemi in (("lh", "L"), ("rh", "R")):
        for name, values in (("x0", known.x0), ("y0", known.y0), ("sigma", known.size), ("quality", known.r2)):
            expected = known.on_vertices(hemi, values).astype(np.float32)
            image = nib.load(tmp_path / "out" / f"{start}.prf_{name}.mgz")
            assert image.shape == (10242, 1, 1) and image.get_data_dtype() == np.dtype(">f4")
            np.testing.assert_array_equal(np.asarray(image.dataobj).ravel(), expected)
            for file in (f"{start}.prf_{name}.mgz", f"sub-01_hemi-{hemi}_desc-prf_{name}.func.gii"):
                np.testing.assert_array_equal(nilearn.surface.load_surf_data(tmp_path / "out" / file), expected)


def test_the_files_of_nsd(known, found, everything, tmp_path):
    """In the shape of the published ones: names without underscore on surfaces, angle 0 to 360, R2 in percent."""
    files = {
        path.name for path in write_prf_files(tmp_path / "out", found, known.subject, everything, convention="nsd", kinds=("nifti", "mgz"))
    }
    assert files >= {"prf_angle.nii.gz", "prf_eccentricity.nii.gz", "prf_size.nii.gz", "prf_R2.nii.gz", "lh.prfangle.mgz", "rh.prfR2.mgz"}
    place = tuple(known.subject.ijk.T)
    angle, ecc, r2 = (nib.load(tmp_path / "out" / f"prf_{name}.nii.gz").get_fdata() for name in ("angle", "eccentricity", "R2"))
    assert np.nanmin(angle) >= 0 and np.nanmax(angle) < 360
    point = ecc[place] * np.exp(1j * np.radians(angle[place]))
    np.testing.assert_allclose(point, known.x0 + 1j * known.y0, atol=1e-4)
    np.testing.assert_allclose(r2[place], 100 * known.r2, rtol=1e-5)
    lh = nib.load(tmp_path / "out" / "lh.prfangle.mgz").get_fdata().ravel()
    np.testing.assert_allclose(lh, known.on_vertices("L", angle[place]), atol=1e-3)


def test_the_table_and_what_stands_beside_it(known, found, everything, tmp_path):
    write_prf_files(tmp_path / "out", found, known.subject, everything, kinds=("tsv",))
    file = tmp_path / "out" / "sub-01_desc-prf_voxels.tsv"
    table = pd.read_csv(file, sep="\t", na_values="n/a")
    columns = ["i", "j", "k", "x_mm", "y_mm", "z_mm", "hemi", "areas", "x0", "y0", "angle", "ecc", "sigma", "quality"]
    assert list(table.columns) == columns and len(table) == known.subject.n_voxels
    np.testing.assert_allclose(table["x0"], known.x0, rtol=1e-5)
    np.testing.assert_allclose(np.hypot(table["x0"], table["y0"]), table["ecc"], rtol=1e-5)
    np.testing.assert_allclose(np.degrees(np.arctan2(table["y0"], table["x0"])) % 360, table["angle"], rtol=1e-4, atol=1e-3)
    world = nib.affines.apply_affine(known.subject.space.affine, table[["i", "j", "k"]])
    np.testing.assert_allclose(world, table[["x_mm", "y_mm", "z_mm"]], atol=1e-3)
    in_v1 = [isinstance(text, str) and "V1" in text.split(",") for text in table["areas"]]
    assert np.array_equal(in_v1, known.subject.areas["V1"])
    about = json.loads(file.with_suffix(".json").read_text())
    assert all(set(about[name]) == {"Description", "Units"} for name in columns)
    assert about["x0"]["Units"] == "deg" and about["z_mm"]["Units"] == "mm" and about["ConventionName"] == "brain2pix"
    assert about["quality"]["Description"] == QUALITY_R2 and "90 = up" in about["angle"]["Description"]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("kind", ["nifti", "gifti", "mgz", "tsv"])
def test_every_kind_of_file_of_every_convention_reads_back(known, found, everything, tmp_path, name, kind):
    write_prf_files(tmp_path / "out", found, known.subject, everything, convention=name, kinds=(kind,))
    imported = read_prf(tmp_path / "out", known.subject, Choices(field_of_view_deg=12.0))
    assert imported.convention.name == name and imported.why == "proposed, for the JSON beside the files names it"
    assert imported.check.ok
    if kind in ("nifti", "tsv"):
        for part in ("x0_deg", "y0_deg", "sigma_deg"):
            np.testing.assert_allclose(getattr(imported.retinotopy, part), getattr(found, part)[imported.voxel_index], atol=1e-4)
        np.testing.assert_allclose(imported.retinotopy.quality, found.quality[imported.voxel_index], atol=1e-5)
    else:
        early = np.isin(imported.voxel_index, np.flatnonzero(known.subject.areas["V1"]))
        apart = np.hypot(
            imported.retinotopy.x0_deg - known.x0[imported.voxel_index], imported.retinotopy.y0_deg - known.y0[imported.voxel_index]
        )
        assert early.sum() > 250 and np.nanmedian(apart[early]) < 0.5


def test_r2_is_not_written_where_the_map_has_another_measure(known, found, everything, tmp_path):
    encoder = RetinotopicMap(found.x0_deg, found.y0_deg, found.sigma_deg, found.quality, 12.0, "held-out r", "encoder gradients")
    files = {
        path.name for path in write_prf_files(tmp_path / "nsd", encoder, known.subject, everything, convention="nsd", kinds=("nifti",))
    }
    assert "prf_R2.nii.gz" not in files and "prf_angle.nii.gz" in files
    files = {path.name for path in write_prf_files(tmp_path / "ours", encoder, known.subject, everything, kinds=("mgz",))}
    assert "lh.prf_quality.mgz" in files
    for kind in ("tsv", "nifti"):
        write_prf_files(tmp_path / kind, encoder, known.subject, everything, kinds=(kind,))
        assert read_prf(tmp_path / kind, known.subject).retinotopy.quality_name == "held-out r"  # nor called R2 on the way back


def test_the_json_beside_does_not_overrule_the_names(known, found, everything, tmp_path):
    """Someone else's volumes put beside our maps' JSON, and a JSON that is none."""
    write_prf_files(tmp_path / "nsd", found, known.subject, everything, convention="nsd", kinds=("nifti",))
    about = tmp_path / "nsd" / "sub-01_desc-prf_prf.json"
    about.write_text(about.read_text().replace('"ConventionName": "nsd"', '"ConventionName": "brain2pix"'))
    assert read_prf(tmp_path / "nsd", known.subject).convention.name == "nsd"
    about.write_text("{")
    assert read_prf(tmp_path / "nsd", known.subject).why == "proposed, for it has maps called prf_angle, prf_eccentricity"


def test_what_a_convention_cannot_tell_is_counted(known, found, everything, tmp_path):
    x0 = found.x0_deg.copy()
    turned = np.flatnonzero(np.abs(x0) > 0.5)[:7]
    x0[turned] *= -1
    ipsilateral = RetinotopicMap(x0, found.y0_deg, found.sigma_deg, found.quality, 12.0, QUALITY_R2)
    write_prf_files(tmp_path / "out", ipsilateral, known.subject, everything, convention="benson14", kinds=("nifti",))
    about = json.loads((tmp_path / "out" / "sub-01_desc-prf_prf.json").read_text())
    assert about["VoxelsThatTheConventionCannotTell"] == 7 and about["FieldOfViewDeg"] == 12
    angle = nib.load(tmp_path / "out" / "sub-01_benson14_angle.nii.gz").get_fdata()[tuple(known.subject.ijk.T)]
    assert np.isnan(angle[turned]).all()


def test_refused(known, found, everything, tmp_path):
    def refused(error, message, out=tmp_path / "out", fields=found, subject=known.subject, **choices):
        with pytest.raises(error, match=message):
            write_prf_files(out, fields, subject, everything, **choices)

    refused(ConfigError, "unknown kind of file 'vtk'", kinds=("vtk",))
    refused(ConfigError, "convention fsfast does not say what its angles mean", convention="fsfast")
    refused(ConfigError, "write nsd, the same in degrees", convention="analyzeprf")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    refused(ConfigError, "full exists and is not an empty folder; choose another place", out=tmp_path / "full")
    with pytest.raises(ShapeError, match=f"the map has {found.x0_deg.size} voxels, voxel_index 3"):
        write_prf_files(tmp_path / "out", found, known.subject, np.arange(3))
    assert not (tmp_path / "out").exists()


def test_without_surfaces(known, found, everything, tiny_copy, tmp_path):
    for file in (tiny_copy / "sub-01" / "anat").glob("*.surf.gii"):
        file.unlink()
    subject = open_subject(tiny_copy)
    with pytest.raises(
        ConfigError, match="sub-01 has no white and pial surfaces, so that its voxels have no vertices; leave out gifti and mgz"
    ):
        write_prf_files(tmp_path / "out", found, subject, everything)
    assert len(write_prf_files(tmp_path / "out", found, subject, everything, kinds=("nifti", "tsv"))) == 7
    imported = read_prf(tmp_path / "out", subject)
    assert imported.check.ok and imported.check.mirrored is None and imported.check.signs == ()


def test_into_the_subject_and_back(known, found, everything, tiny_copy, tmp_path):
    """What was imported lies where every command finds it, says where it came from, and is not replaced unasked."""
    subject = open_subject(tiny_copy)
    assert imported_maps(subject.path) is None
    write_prf_files(tmp_path / "nsd", found, known.subject, everything, convention="nsd", kinds=("nifti",))
    imported = read_prf(tmp_path / "nsd", subject)
    written = write_prf(imported, subject)
    folder = imported_maps(subject.path)
    assert folder == tiny_copy / "sub-01" / "prf" and all(path.parent == folder for path in written)
    stored = read_imported(folder)
    back = stored.on(subject)
    np.testing.assert_allclose(back.x0_deg, found.x0_deg, atol=1e-4)
    assert back.source == "imported pRF map (nsd)" and back.quality_name == QUALITY_R2
    # the width of the scan's stimulus is not known: null in the file, and the subject's own where a picture needs one
    assert stored.description["FieldOfViewDeg"] is None and np.isnan(stored.retinotopy.field_of_view_deg) and back.field_of_view_deg == 12
    about = stored.description
    assert about["Sources"] == ["prf_R2.nii.gz", "prf_angle.nii.gz", "prf_eccentricity.nii.gz", "prf_size.nii.gz"]
    assert about["SourceConvention"].startswith("nsd (0 = right") and "R2 from percent to a fraction" in about["Converted"]
    with pytest.raises(ConfigError, match=r"holds imported maps already .*replace them with --replace"):
        write_prf(imported, subject)
    flipped = read_prf(tmp_path / "nsd", subject, Choices(flip=("x",)))
    write_prf(flipped, subject, replace=True)
    np.testing.assert_allclose(read_imported(folder).on(subject).x0_deg, -found.x0_deg, atol=1e-4)


def test_imported_maps_come_before_others_in_their_folder(known, found, everything, tiny_copy):
    subject = open_subject(tiny_copy)
    encoder = RetinotopicMap(-found.x0_deg, found.y0_deg, found.sigma_deg, found.quality, 12.0, "held-out r", "an encoder")
    folder = subject.path / "prf"
    write_maps(folder, encoder, subject, everything)
    assert read_imported(imported_maps(subject.path)).retinotopy.source == "an encoder"
    write_maps(folder, found, subject, everything, label="prf")
    assert read_imported(folder).retinotopy.source == "a truth" and read_maps(folder, "encoder").retinotopy.source == "an encoder"


def test_two_maps_side_by_side(found):
    noise = np.random.default_rng(0).normal(0, 0.2, (2, found.x0_deg.size))
    other = RetinotopicMap(
        (found.x0_deg + noise[0]).astype(np.float32), (found.y0_deg + noise[1]).astype(np.float32), found.sigma_deg, found.quality, 12.0
    )
    both = np.isfinite(found.x0_deg)
    r = [np.corrcoef(getattr(found, part)[both], getattr(other, part)[both])[0, 1] for part in ("x0_deg", "y0_deg")]
    apart = np.median(np.hypot(noise[0], noise[1])[both])
    assert compare_maps(found, other) == (
        f"x0 r {r[0]:.2f}, y0 r {r[1]:.2f}, {apart:.2f} degrees apart in the median, over {int(both.sum()):,} voxels with a field in both"
    )
    none = np.full_like(found.x0_deg, np.nan)
    assert compare_maps(found, RetinotopicMap(none, none, none, none, 12.0)) == ""
