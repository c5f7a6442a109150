"""What is refused, and what the message says to do."""

import h5py
import nibabel as nib
import numpy as np
import prf_published as published
import pytest
import scipy.io

from brain2pix.data.prf_files import Choices, read_prf
from brain2pix.data.prf_files.finding import key_of
from brain2pix.data.prf_files.tables import read_columns
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError


@pytest.fixture
def refused(known):
    def check(path, message, error=DataFormatError, **choices):
        with pytest.raises(error, match=message):
            read_prf(path, known.subject, Choices(**choices))

    return check


def table(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("prf_angle.nii.gz", "prf_angle"),
        ("lh.prfangle.mgz", "prfangle"),
        ("rh.benson14_angle.v4_0.mgz", "benson14_angle"),
        ("lh.benson14_eccen", "benson14_eccen"),
        ("sub-01_hemi-L_desc-prf_x0.func.gii", "sub_01_desc_prf_x0"),
        ("sub-01_ses-1_task-prf_centerx0.nii.gz", "sub_01_ses_1_task_prf_centerx0"),
    ],
)
def test_keys(tmp_path, name, key):
    assert key_of(tmp_path / name) == key


def test_places(refused, tmp_path):
    refused(tmp_path / "none", "none does not exist; give a folder with maps, or one of them", MissingDataError)
    refused(tmp_path, r"holds no maps of receptive fields\. Expected e\.g\. prf_angle\.nii\.gz, lh\.prfangle\.mgz", MissingDataError)
    table(tmp_path / "a.tsv", "x0\n1\n"), table(tmp_path / "b.csv", "x0\n1\n")
    refused(tmp_path, r"holds 2 tables \(a\.tsv, b\.csv\); give one of them", MissingDataError)
    refused(
        table(tmp_path / "a.docx", "x"),
        r"a\.docx: expected NIfTI, MGZ, GIFTI or FreeSurfer maps, a table \(\.tsv, \.csv, \.txt\) or a \.mat",
    )
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / "brain.nii.gz")
    refused(tmp_path / "brain.nii.gz", r"the name of brain\.nii\.gz does not say what it holds; expected one that ends in one of: .*prf.*")


def test_volumes(refused, known, tmp_path):
    space = known.subject.space
    published.write_volume(tmp_path / "prf_angle.nii.gz", known.x0, known.subject.ijk, space.shape, space.affine)
    refused(tmp_path, r"convention nsd: no map of ecc \(eccentricity, .*\); there are prf_angle", convention="nsd")
    refused(tmp_path, "no position among prf_angle: expected x0 and y0")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), space.affine), tmp_path / "prf_eccentricity.nii.gz")
    refused(tmp_path, r"map prf_eccentricity\.nii\.gz: grid \(4, 4, 4\)")
    nib.save(nib.Nifti1Image(np.zeros((10242, 1, 1), np.float32), np.eye(4)), tmp_path / "prf_eccentricity.nii.gz")
    refused(tmp_path, r"prf_eccentricity\.nii\.gz holds values of vertices and its name no hemisphere; name it lh\. or rh\.")
    (tmp_path / "prf_eccentricity.nii.gz").write_bytes(b"\x1f\x8b nothing")
    refused(tmp_path, r"prf_eccentricity\.nii\.gz .* cannot be read")


def test_swapping_where_nothing_says_a_side(refused, known, tmp_path):
    space = known.subject.space
    for name in ("centerx0", "centery0"):
        published.write_volume(tmp_path / f"{name}.nii.gz", known.x0, known.subject.ijk, space.shape, space.affine)
    message = "hemispheres cannot be swapped here: a volume does not say which hemisphere.*masks hemi-L and hemi-R, or mend its affine"
    refused(tmp_path, message, ConfigError, swap_hemispheres=True)
    file = table(tmp_path / "t.csv", "voxel,x0,y0\n1,1,1\n")
    refused(file, r"cannot be swapped here: t\.csv does, for it has no column hemi, not say", ConfigError, swap_hemispheres=True)
    empty = np.full(known.subject.space.shape, np.nan, np.float32)
    for name in ("centerx0", "centery0"):
        nib.save(nib.Nifti1Image(empty, space.affine), tmp_path / f"{name}.nii.gz")
    refused(tmp_path, "no voxel of sub-01 has a receptive field in centerx0.nii.gz, centery0.nii.gz; is it another subject's")


def test_surfaces(refused, known, tiny_copy, tmp_path):
    published.write_mgz(tmp_path / "prfangle.mgz", np.zeros(10242))
    refused(tmp_path, r"prfangle\.mgz says no hemisphere; name it lh\. or rh\.")
    (tmp_path / "prfangle.mgz").unlink()
    published.write_mgz(tmp_path / "lh.prfangle.mgz", np.zeros((10242, 2))[:, :1])
    nib.save(nib.freesurfer.MGHImage(np.zeros((10242, 1, 1, 2), np.float32), np.eye(4)), tmp_path / "lh.prfeccentricity.mgz")
    refused(tmp_path, r"lh\.prfeccentricity\.mgz holds 2 maps, expected one for each file")
    nib.save(nib.freesurfer.MGHImage(np.zeros((10, 10, 4), np.float32), np.eye(4)), tmp_path / "lh.prfeccentricity.mgz")
    refused(tmp_path, r"lh\.prfeccentricity\.mgz .*it is a volume")
    for file in (tiny_copy / "sub-01" / "anat").glob("*hemi-L*white.surf.gii"):
        file.unlink()
    from brain2pix.data import open_subject

    published.write_mgz(tmp_path / "lh.prfeccentricity.mgz", np.ones(10242))
    with pytest.raises(MissingDataError, match="sub-01 has no surface of hemisphere L: maps of vertices need its white and pial"):
        read_prf(tmp_path, open_subject(tiny_copy))


def test_tables(refused, known, tmp_path):
    n = known.subject.n_voxels
    edge = known.subject.space.shape[0]

    def bad(text, message, error=DataFormatError, **choices):
        refused(table(tmp_path / "t.csv", text), message, error, **choices)

    bad("x0,y0\n1,2\n", r"table .*t\.csv does not say where its lines lie: expected columns i, j, k .*columns: x0, y0")
    bad("voxel,x0,y0\n", r"has no lines after its header")
    bad("voxel,x0,x0\n1,2,3\n", "names a column twice")
    bad("voxel,x0,y0\n1,2,3\n1,2\n", "line 3 has 2 fields, the header 3; is the file truncated")
    bad("voxel,x0,y0\n1,2,3\n2,2,3\n3,zwei,3\n", "column x0, line 4: expected a number, got 'zwei'")
    bad("voxel,x0,y0\n1.5,2,3\n", r"column voxel, line 2: expected a whole number, got 1\.5")
    bad("voxel,x0,y0\n1,2,3\n1,2,3\n", "1 places stand in more than one line, e.g. row 1")
    bad(f"voxel,x0,y0\n1,2,3\n{n},2,3\n", rf"voxel goes from 1 to {n}, expected 0 to {n - 1}\. It may count from 1: say --first-index 1")
    bad(f"i,j,k,x0,y0\n{edge},1,1,2,3\n", rf"i goes from {edge} to {edge}, expected 0 to {edge - 1}")
    bad("i,j,k,x0,y0\n0,0,0,2,3\n", "none of its 1 voxels is one of sub-01 .*is it of another subject")
    bad("vertex,x0,y0\n0,2,3\n", "counts vertices: it needs a column hemi with L or R")
    bad("vertex,hemi,x0,y0\n0,lh,2,3\n1,x,2,3\n", "counts vertices: it needs a column hemi with L or R")
    bad("vertex,hemi,x0,y0\n10242,lh,2,3\n", "vertex of L goes from 10242 to 10242, expected 0 to 10241")
    bad("voxel,angle,ecc\n0,2,3\n", "0 angles|1 angles do not say which convention they follow")
    bad("voxel,x0,y0\n0,2,3\n", "the first index of a table is 0 or 1, got 2", ConfigError, first_index=2)
    bad("voxel,x0,y0\n0,2,3\n", "a map can be flipped in x or y, not 'z'", ConfigError, flip=("z",))
    bad("voxel,x0,y0\n0,2,3\n", "the field of view must be a number of degrees above 0, got -1", ConfigError, field_of_view_deg=-1.0)
    bad("voxel,x0,y0\n0,n/a,3\n", "no voxel of sub-01 has a receptive field in t.csv")


def test_columns_of_a_table(tmp_path):
    """Names in any case, missing values in the usual words, text left out, a byte-order mark of spreadsheets."""
    file = tmp_path / "t.csv"
    file.write_bytes("\ufeffVoxel;X0;note;Hemi\n1;n/a;good;lh\n2;1e-3;bad;Right\n3;;;\n".encode())
    columns, sides = read_columns(file)
    assert sorted(columns) == ["voxel", "x0"] and sides.tolist() == ["L", "R", "n/a"]
    np.testing.assert_array_equal(columns["x0"], [np.nan, 0.001, np.nan])


def test_results(refused, known, tmp_path):
    file = tmp_path / "results.mat"
    file.write_bytes(b"<html>not found</html>")
    refused(file, r"results\.mat is not a MATLAB file \(v5 or v7\.3\); it starts with '<html>not")
    scipy.io.savemat(file, {"something": np.eye(3), "text": "results"})
    refused(
        file,
        r"holds no result of analyzePRF: expected a struct with ang and ecc .*found something, text.*Save it with save\('results\.mat'",
    )
    scipy.io.savemat(file, {"results": {"ang": np.ones((5, 1)), "ecc": np.ones((4, 1))}})
    refused(file, r"the fields of the result differ in shape: ang \(5,\), ecc \(4,\); are they of one analysis", degrees_per_pixel=1.0)
    scipy.io.savemat(file, {"results": {"ang": np.ones((5, 1)), "ecc": np.ones((5, 1))}})
    message = rf"the result has shape \(5,\); sub-01 has a grid of .*, {known.subject.n_voxels} voxels, or 10242 \+ 10242 vertices"
    refused(file, message, degrees_per_pixel=1.0)
    with h5py.File(file, "w") as made:
        made["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/")
        made["ang"] = h5py.ExternalLink("other.h5", "/ang")
        made["ecc"] = np.ones((1, 5))
    refused(file, "holds no result of analyzePRF: .*found ang, ecc, elsewhere")


def test_results_over_vertices(known, tmp_path):
    n = [known.subject.mesh(hemi, "white").n_vertices for hemi in "LR"]
    angle = np.r_[np.full(n[0], 10.0), np.full(n[1], 170.0)]
    scipy.io.savemat(tmp_path / "both.mat", {"results": {"ang": angle, "ecc": np.full(sum(n), 20.0)}})
    both = read_prf(tmp_path / "both.mat", known.subject, Choices(degrees_per_pixel=0.1))
    left = known.hemi[both.voxel_index] == "L"
    assert both.convention.name == "analyzeprf" and all(side.ok for side in both.check.sides[:2])
    assert (both.retinotopy.x0_deg[left] > 1.9).all() and (both.retinotopy.x0_deg[~left] < -1.9).all()
    scipy.io.savemat(tmp_path / "lh.results.mat", {"results": {"ang": angle[: n[0]], "ecc": np.full(n[0], 20.0)}})
    one = read_prf(tmp_path / "lh.results.mat", known.subject, Choices(degrees_per_pixel=0.1))
    assert set(known.hemi[one.voxel_index].tolist()) == {"L"} and len(one.voxel_index) == left.sum()
