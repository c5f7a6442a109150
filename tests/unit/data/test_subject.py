"""Reading a lab's files, and what is said about wrong ones."""

import gzip
import json
import shutil
import struct
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from PIL import Image

from brain2pix.data import open_subject, summarise, summary_lines
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError


@pytest.fixture(params=["h5", "nii.gz", "nii"])
def any_lab(request, lab):
    if request.param != "h5":
        lab.as_nifti(suffix=f".{request.param}")
        (lab.nii_table.with_suffix(".json")).write_text(json.dumps({"Units": "z-session"}))
    return lab


def test_reads_what_others_wrote(any_lab):
    subject = open_subject(any_lab.root)
    assert subject.name == "sub-01" and subject.title == "a lab" and not subject.simulated
    assert subject.unit == "z-session" and subject.field_of_view_deg == 12.0
    np.testing.assert_array_equal(subject.ijk, any_lab.ijk)
    np.testing.assert_allclose(subject.responses(), any_lab.betas, rtol=1e-6)
    assert list(subject.trials["stimulus_id"][:3]) == ["0000", "0001", "0002"]  # text, with its zeros
    np.testing.assert_array_equal(subject.areas["V1v"], any_lab.labels == 1)
    np.testing.assert_array_equal(subject.areas["V1"], np.isin(any_lab.labels, (1, 2)))
    np.testing.assert_array_equal(subject.areas["FFA"], any_lab.ffa)
    assert subject.areas["all"].all()
    np.testing.assert_array_equal(subject.images(["t3", "0001"]), np.stack([any_lab.images["t3"], any_lab.images["0001"]]))


def test_world_coordinates_agree_with_nibabel(lab):
    subject = open_subject(lab.root)
    np.testing.assert_allclose(subject.xyz, nib.affines.apply_affine(nib.load(lab.dseg).affine, lab.ijk), rtol=1e-6)
    left = subject.voxels["hemi"] == "L"
    assert (subject.xyz[left, 0] < 0).all() and (subject.xyz[~left, 0] > 0).all()
    assert "sign of x" in " ".join(subject.notes)


def test_selected_rows_and_voxels(any_lab):
    subject = open_subject(any_lab.root)
    rows, voxels = np.array([9, 2, 4]), np.array([40, 3, 59, 4])
    np.testing.assert_allclose(subject.responses(rows, voxels), any_lab.betas[np.ix_(rows, voxels)], rtol=1e-6)
    assert subject.responses(rows, np.array([], dtype=int)).shape == (3, 0)


def test_reads_scaled_integers(lab):
    """An int16 NIfTI with a slope of 1/300, as the Natural Scenes Dataset writes them, is read in its true values."""
    lab.as_nifti(suffix=".nii")
    path = lab.nii.with_suffix("")
    lab.save(path, lab.volume(np.rint(lab.betas.T * 300).astype("int16"), "int16"))
    content = bytearray(path.read_bytes())
    content[112:116] = struct.pack("<f", 1 / 300)  # scl_slope
    path.write_bytes(content)
    lab.nii_table.with_suffix(".json").write_text('{"Units": "z-session"}')
    np.testing.assert_allclose(open_subject(lab.root).responses(), lab.betas, atol=1 / 500)


def _scaled(lab):
    """z-scored with its training trials."""
    train = (lab.trials["split"] == "train").to_numpy()
    return (lab.betas - lab.betas[train].mean(axis=0)) / lab.betas[train].std(axis=0)


def test_other_units_are_scaled_with_training_trials_only(lab):
    with h5py.File(lab.h5, "a") as file:
        file["betas"][...] = lab.betas * 50 + 7
        file.attrs["unit"] = "psc"
    subject = open_subject(lab.root)
    train = (lab.trials["split"] == "train").to_numpy()
    np.testing.assert_allclose(subject.responses(np.flatnonzero(train)), scipy.stats.zscore(lab.betas[train], axis=0), atol=1e-4)
    np.testing.assert_allclose(subject.responses(), _scaled(lab), atol=1e-4)
    assert subject.unit == "z-train" and "psc" in " ".join(subject.notes)
    voxels = np.array([7, 3])
    np.testing.assert_allclose(subject.responses(None, voxels), _scaled(lab)[:, voxels], atol=1e-4)


def test_trials_inside_the_hdf5_file_suffice(lab):
    lab.h5_table.unlink()
    with h5py.File(lab.h5, "a") as file:
        for name in lab.trials:
            values = lab.trials[name].to_numpy()
            file[f"trials/{name}"] = values if values.dtype.kind == "i" else list(values)
    subject = open_subject(lab.root)
    pd.testing.assert_frame_equal(subject.trials[list(lab.trials)], lab.trials, check_dtype=False)
    assert subject.trials["run"].dtype.kind == "i"


def test_subject_folder_opens_too(lab, monkeypatch):
    assert open_subject(lab.root / "sub-01").name == "sub-01"
    assert open_subject(lab.root, "01").name == "sub-01"
    monkeypatch.chdir(lab.root)
    assert open_subject(Path("sub-01")).root == lab.root


def test_hemispheres_come_from_masks(lab):
    x = lab.ijk[:, 0]
    lab.hemi_masks(x < 6, (x >= 6) & (x < 9))
    subject = open_subject(lab.root)
    np.testing.assert_array_equal(subject.voxels["hemi"], np.where(x < 6, "L", np.where(x < 9, "R", "n/a")))
    np.testing.assert_array_equal(subject.areas["L"], x < 6)
    assert f"{(x == 9).sum()} of 60 voxels are in no hemisphere mask" in " ".join(subject.notes)


def test_voxels_of_a_nifti_without_brain_mask_are_those_of_the_regions(lab):
    lab.as_nifti()
    lab.brain_mask.unlink()
    subject = open_subject(lab.root)
    inside = (lab.labels > 0) | lab.ffa
    np.testing.assert_array_equal(subject.ijk, lab.ijk[inside])
    assert "no brain mask" in " ".join(subject.notes)


def test_files_of_both_hemispheres_make_one_region(lab):
    x = lab.ijk[:, 0]
    for side, mask in (("L", x < 5), ("R", x >= 5)):
        lab.save(lab.func / f"sub-01_hemi-{side}_space-T1w_label-LOC_mask.nii.gz", lab.volume((mask & lab.ffa).astype("uint8")))
    np.testing.assert_array_equal(open_subject(lab.root).areas["LOC"], lab.ffa)


def test_voxel_hash_knows_order_and_grid(lab):
    subject = open_subject(lab.root)
    info = subject.describe(np.array([5, 2, 9]))
    assert info.voxel_hash == open_subject(lab.root).describe(np.array([5, 2, 9])).voxel_hash
    assert info.voxel_hash != subject.describe(np.array([2, 5, 9])).voxel_hash
    lab.edit_h5(affine=nib.load(lab.dseg).affine + np.diag([1e-6, 0, 0, 0]))
    assert open_subject(lab.root).describe(np.array([5, 2, 9])).voxel_hash == info.voxel_hash


def test_summary_counts(lab):
    summary = summarise(open_subject(lab.root))
    assert summary["areas"]["V1v"]["voxels"] == int((lab.labels == 1).sum())
    assert all(area["left"] + area["right"] == area["voxels"] for area in summary["areas"].values())
    assert summary["areas"]["L"]["right"] == summary["areas"]["R"]["left"] == 0 < summary["areas"]["L"]["left"]
    assert summary["trials"]["test"] == {"trials": 12, "images": 4, "repeats": [3, 3]}
    assert json.loads(json.dumps(summary)) == summary
    text = "\n".join(summary_lines(summary))
    assert "60 in T1w" in text and "16 px" in text and "test: 12 of 4 images, 3 each" in text


# What is said about wrong input ------------------------------------------------------------------------------------------------------


def refused(error, match, lab, **options):
    with pytest.raises(error, match=match) as caught:
        open_subject(lab.root, **options)
    return str(caught.value)


def test_places_that_are_no_dataset(lab, tmp_path):
    with pytest.raises(MissingDataError, match="does not exist; give the folder"):
        open_subject(tmp_path / "nothing")
    with pytest.raises(DataFormatError, match="is a file; give the folder"):
        open_subject(lab.h5)
    with pytest.raises(MissingDataError, match=r"no dataset_description\.json"):
        open_subject(lab.root / "stimuli")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "expected a JSON object, got list"),
        ('{"BIDSVersion": "1.10.0", "DatasetType": "derivative"}', "has no Name"),
        ('{"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "raw"}', "DatasetType is 'raw', expected 'derivative'"),
    ],
)
def test_bad_description(lab, content, message):
    (lab.root / "dataset_description.json").write_text(content)
    refused(DataFormatError, message, lab)


def test_which_subject(lab):
    refused(ConfigError, r"unknown subject 'sub-02'\. Did you mean 'sub-01'\?", lab, subject="02")
    (lab.root / "sub-02").mkdir()
    refused(ConfigError, "holds 2 subjects, say which one: sub-01, sub-02", lab)
    refused(MissingDataError, "func does not exist", lab, subject="sub-02")
    with pytest.raises(ConfigError, match="is the folder of sub-01, but subject '02' was asked for"):
        open_subject(lab.root / "sub-01", "02")
    shutil.rmtree(lab.root / "sub-01")
    shutil.rmtree(lab.root / "sub-02")
    refused(MissingDataError, "holds no subject folder", lab)


def test_no_betas_or_two(lab):
    shutil.copy(lab.h5, lab.func / "sub-01_task-other_desc-singletrial_betas.h5")
    refused(DataFormatError, "holds 2 files of single-trial responses", lab)
    for file in lab.func.glob("*betas.h5"):
        file.unlink()
    refused(MissingDataError, "no single-trial responses; expected", lab)


def test_table_of_another_length(any_lab):
    table = any_lab.h5_table if any_lab.h5_table.exists() else any_lab.nii_table
    any_lab.edit_table(table, lambda rows: rows.iloc[:-3])
    refused(DataFormatError, r"betas have 22 volumes, table 19 rows \(.*sub-01.*\).*nothing is cut", any_lab)


def test_missing_tables(lab, write_table):
    lab.h5_table.unlink()
    refused(MissingDataError, r"trial table .*tsv does not exist, and .* has no '/trials'", lab)
    write_table(lab.h5_table, lab.trials)
    lab.as_nifti()
    lab.nii_table.unlink()
    refused(MissingDataError, r"trial table .*statmap\.tsv does not exist", lab)


def test_missing_stimulus_and_label_tables(lab):
    kept = lab.stimuli.read_bytes()
    lab.stimuli.unlink()
    refused(MissingDataError, r"stimulus table .*stimuli\.tsv does not exist", lab)
    lab.stimuli.write_bytes(kept)
    lab.dseg_table.unlink()
    refused(MissingDataError, r"label table .*dseg\.tsv does not exist", lab)


def test_table_inside_and_beside_disagree(lab):
    with h5py.File(lab.h5, "a") as file:
        file["trials/stimulus_id"] = list(lab.trials["stimulus_id"][::-1])
        file["trials/split"] = list(lab.trials["split"])
    refused(DataFormatError, "name different stimuli", lab)


def test_table_in_pieces(lab):
    text = lab.h5_table.read_text()
    lab.h5_table.write_text(text[: text.rindex("validation") - 2])
    refused(DataFormatError, r"line 23 has 2 fields, the header 6; is the file truncated\?", lab)
    lab.h5_table.write_text(text.replace("\t", ","))
    refused(DataFormatError, "no column stimulus_id, split; .*looks comma-separated, expected tabs", lab)
    lab.h5_table.write_text("")
    refused(DataFormatError, "is empty; expected a header line", lab)
    lab.h5_table.write_bytes(b"\xff\xfe\x00\x01stimulus_id")
    refused(DataFormatError, "is not a text table", lab)
    lab.h5_table.write_text(text.replace("repeat", "split", 1))
    refused(DataFormatError, "names a column twice", lab)


def test_trials_without_stimulus(lab):
    lab.edit_table(lab.h5_table, lambda rows: rows.assign(stimulus_id=rows["stimulus_id"].where(rows.index != 4, "n/a")))
    refused(DataFormatError, r"1 trials have no stimulus_id \(rows 5\); remove them", lab)


@pytest.mark.parametrize("which", ["dseg", "ffa_mask", "brain_mask"])
def test_region_on_another_grid(lab, which):
    lab.save(getattr(lab, which), np.zeros((5, 6, 4), dtype=np.uint8), np.diag([6.0, 6, 6, 1]))
    text = refused(DataFormatError, r"grid \(5, 6, 4\) 6 x 6 x 6 mm differs from betas \(10, 12, 8\) 3 x 3 x 3 mm", lab)
    assert "nearest neighbour" in text and getattr(lab, which).name in text


def test_region_on_a_shifted_grid(lab):
    affine = nib.load(lab.dseg).affine.copy()
    affine[0, 3] += 0.04
    lab.save(lab.dseg, lab.volume(lab.labels.astype("int16"), "int16"), affine)
    open_subject(lab.root)  # less than 0.1 mm is the same grid
    affine[0, 3] += 2
    lab.save(lab.dseg, lab.volume(lab.labels.astype("int16"), "int16"), affine)
    refused(DataFormatError, r"corners lie up to 2\.04 mm apart", lab)


def test_mirrored_affine_shows_how_far_corners_move(lab):
    affine = nib.load(lab.dseg).affine.copy()
    affine[0] *= -1  # LAS instead of RAS, same shape
    lab.save(lab.dseg, lab.volume(lab.labels.astype("int16"), "int16"), affine)
    refused(DataFormatError, "corners lie up to 27 mm apart", lab)


def test_labels_without_a_row(lab):
    lab.edit_table(lab.dseg_table, lambda rows: rows[rows["name"] != "V1d"])
    refused(DataFormatError, r"labels 2 are not in .*dseg\.tsv \(it names 1, 3\); add a row", lab)


def test_rows_without_a_label_are_a_warning(lab, caplog):
    lab.edit_table(lab.dseg_table, lambda rows: pd.concat([rows, pd.DataFrame([("9", "hV4", "#000000")], columns=rows.columns)]))
    subject = open_subject(lab.root)
    assert any("hV4 label no voxel" in note for note in subject.notes)
    assert "hV4 label no voxel" in caplog.text


def test_label_numbers_must_be_whole(lab):
    lab.edit_table(lab.dseg_table, lambda rows: rows.assign(index=["1.5", "2", "3"]))
    refused(DataFormatError, "'index' must hold whole numbers", lab)


def test_interpolated_labels_and_masks(lab):
    labels = lab.volume(lab.labels.astype("float32"), "float32")
    labels[tuple(lab.ijk[0])] = 2.97
    lab.save(lab.dseg, labels)
    refused(DataFormatError, r"label 2\.97: was this mask interpolated linearly\?", lab)
    lab.save(lab.dseg, lab.volume(lab.labels.astype("float32"), "float32"))  # whole numbers in a float file are fine
    open_subject(lab.root)
    lab.save(lab.ffa_mask, lab.volume(lab.ffa * 0.4, "float32"))
    refused(DataFormatError, r"label-FFA_mask.*value 0\.4 found, a mask holds 0 and 1; was this mask interpolated", lab)


@pytest.mark.parametrize(("sform", "qform", "message"), [(0, 0, "codes are 0"), (1, 1, "sform and qform disagree"), (1, 0, None)])
def test_unknown_orientation_is_a_warning(lab, sform, qform, message):
    lab.as_nifti()
    image = nib.load(lab.nii)
    affine = image.affine
    moved = affine.copy()
    moved[0, 3] += 5
    image = nib.Nifti1Image(np.asarray(image.dataobj), affine)
    image.set_qform(moved, code=qform)
    image.set_sform(affine, code=sform)
    nib.save(image, lab.nii)
    if sform == 0:  # nibabel then goes by voxel sizes alone; put the other files on that grid
        for path in (lab.dseg, lab.ffa_mask, lab.brain_mask):
            lab.save(path, np.asarray(nib.load(path).dataobj), nib.load(lab.nii).affine)
    notes = [note for note in open_subject(lab.root).notes if "orientation unknown" in note]
    assert (message is None and not notes) or (len(notes) == 1 and message in notes[0] and "left/right may be wrong" in notes[0])


def test_stimuli_without_image(lab):
    for name in ("0000", "0001", "0002", "0003", "0004", "t1"):
        (lab.root / "stimuli" / "pictures" / f"{name}.png").unlink()
    text = refused(MissingDataError, "6 stimuli have no image", lab)
    assert "0000 (pictures/0000.png)" in text and "0004" in text and "t1" not in text and "and 1 more" in text
    lab.edit_table(lab.stimuli, lambda rows: rows.assign(file=rows["file"].where(rows["stimulus_id"] != "t2", "n/a")))
    refused(MissingDataError, "7 stimuli have no image", lab)


def test_stimuli_without_a_row(lab):
    lab.edit_table(lab.stimuli, lambda rows: rows[~rows["stimulus_id"].isin(["t0", "0007"])])
    refused(MissingDataError, r"2 stimuli of the trial table are not in .*stimuli\.tsv: 0007, t0", lab)


def test_imagery_needs_no_picture(lab):
    lab.edit_table(lab.h5_table, lambda rows: rows.assign(split=rows["split"].replace("validation", "imagery")))
    (lab.root / "stimuli" / "pictures" / "v0.png").unlink()
    assert (open_subject(lab.root).trials["split"] == "imagery").sum() == 2


def test_bad_stimulus_tables(lab):
    good = lab.stimuli.read_text()
    lab.stimuli.write_text(good + good.splitlines()[1] + "\n")
    refused(DataFormatError, "1 stimulus ids occur twice: 0000", lab)
    lab.stimuli.write_text(good.replace("width_deg", "breadth"))
    refused(DataFormatError, r"no column width_deg; give the size .* in degrees", lab)
    lab.stimuli.write_text(good.replace("12.0\t12.0", "8.4\t8.4", 1))
    refused(DataFormatError, r"expected one positive size in degrees for all stimuli, got 8\.4, 12", lab)
    lab.stimuli.write_text(good.replace("12.0", "wide"))
    refused(DataFormatError, "width_deg and height_deg must be numbers", lab)
    lab.stimuli.write_text(good.replace("\n0003\t", "\nn/a\t"))
    refused(DataFormatError, "1 rows have no stimulus_id", lab)


def test_field_of_view_of_oblong_stimuli_is_that_of_the_cut_square(lab):
    lab.stimuli.write_text(lab.stimuli.read_text().replace("12.0\t12.0", "16.0\t12.0"))
    assert open_subject(lab.root).field_of_view_deg == 12.0


def test_nan_voxels_are_dropped_and_counted_by_region(any_lab):
    lab = any_lab
    bad = np.zeros(60, dtype=bool)
    bad[np.flatnonzero(lab.labels == 1)[:2]] = True
    bad[np.flatnonzero((lab.labels == 0) & ~lab.ffa)[0]] = True
    lab.betas[3, bad] = np.nan
    lab.betas[5, np.flatnonzero(bad)[0]] = np.inf
    if lab.h5.exists():
        lab.edit_h5(betas=lab.betas)
    else:
        lab.save(next(iter(lab.func.glob("*statmap.nii*"))), lab.volume(lab.betas.T, "float32"))
    subject = open_subject(lab.root)
    np.testing.assert_array_equal(subject.ijk, lab.ijk[~bad])
    np.testing.assert_allclose(subject.responses(), lab.betas[:, ~bad], rtol=1e-6)
    assert np.array_equal(subject.areas["V1v"], (lab.labels == 1)[~bad])
    (dropped,) = subject.dropped
    expected = {
        name: int((mask & bad).sum()) for name, mask in (("V1v", lab.labels == 1), ("V1", np.isin(lab.labels, (1, 2))), ("FFA", lab.ffa))
    }
    assert (dropped.n_voxels, dropped.n_total) == (3, 60)
    assert dropped.per_area == {name: count for name, count in expected.items() if count}
    assert "3 of 60 voxels left out: responses that are not finite (" in " ".join(subject.notes)
    assert open_subject(lab.root, nan="keep").n_voxels == 60
    refused(DataFormatError, "3 of 60 voxels left out: responses that are not finite.*nan='drop-voxels'", lab, nan="error")


def test_trials_without_any_response(lab):
    lab.betas[[2, 4]] = np.nan
    lab.edit_h5(betas=lab.betas)
    refused(DataFormatError, r"2 trials have no finite response \(rows 3, 5\); remove them", lab)


def test_no_voxel_left(lab):
    lab.betas[np.arange(60) % 22, np.arange(60)] = np.nan
    lab.edit_h5(betas=lab.betas)
    refused(DataFormatError, "no voxel is left; 60 of 60 voxels left out", lab)


def test_constant_voxels_are_dropped_where_a_scale_is_needed(lab):
    lab.betas[:, 5] = 2.5
    lab.edit_h5(betas=lab.betas)
    assert open_subject(lab.root).n_voxels == 60
    with h5py.File(lab.h5, "a") as file:
        file.attrs["unit"] = "a.u."
    subject = open_subject(lab.root)
    assert subject.n_voxels == 59 and np.isfinite(subject.responses()).all()
    assert "1 of 60 voxels left out: constant responses" in " ".join(subject.notes)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"betas": None}, "has no response matrix '/betas'; top-level items: affine, ijk, shape"),
        ({"betas": np.zeros((22, 60, 1))}, r"must be a numeric \(trials, voxels\) matrix"),
        ({"ijk": None}, r"has no '/ijk' of shape \(60, 3\)"),
        ({"betas": np.zeros((60, 22)), "_rows": 60}, "betas have 60 volumes, table 22 rows"),
        ({"ijk": np.zeros((59, 3), dtype=int)}, r"'/ijk' has shape \(59, 3\), expected \(60, 3\); .* transposed\?"),
        ({"ijk": np.full((60, 3), 11)}, r"60 voxels of '/ijk' lie outside the grid \(10, 12, 8\).*0-based"),
        ({"ijk": np.zeros((60, 3), dtype=int)}, "'/ijk' names 59 voxels twice"),
        ({"affine": np.eye(3)}, r"'/affine' has shape \(3, 3\), expected \(4, 4\)"),
        ({"shape": None}, "has no '/shape'"),
        ({"betas": np.zeros((22, 0)), "ijk": np.zeros((0, 3))}, "holds 22 trials of 0 voxels"),
    ],
)
def test_bad_hdf5_content(lab, items, message):
    lab.edit_h5(**{key: value for key, value in items.items() if not key.startswith("_")})
    assert lab.h5.name in refused(DataFormatError, message, lab)


def test_bad_trials_group(lab):
    lab.h5_table.unlink()
    with h5py.File(lab.h5, "a") as file:
        file["trials/run"] = np.arange(22)
    refused(DataFormatError, "'/trials' needs stimulus_id and split, has run", lab)
    with h5py.File(lab.h5, "a") as file:
        file["trials/stimulus_id"], file["trials/split"] = ["a"] * 22, ["train"] * 21
    refused(DataFormatError, "columns of '/trials' differ in length", lab)


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def test_truncated_hdf5(lab):
    cut(lab.h5)
    assert lab.h5.name in refused(
        DataFormatError, r"betas .* \([\d,]+ bytes\) cannot be read: truncated or not of this format.*Copy it again", lab
    )


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.001])
def test_truncated_nifti_betas(lab, suffix, share):
    path = cut(lab.as_nifti(suffix=suffix), share)
    assert path.name in refused(DataFormatError, "truncated", lab)


@pytest.mark.parametrize("which", ["dseg", "ffa_mask", "brain_mask"])
def test_truncated_volumes(lab, which):
    path = cut(getattr(lab, which))
    assert path.name in refused(DataFormatError, "truncated", lab)


def test_truncated_image(lab):
    subject = open_subject(lab.root)
    cut(lab.root / "stimuli" / "pictures" / "t2.png")
    with pytest.raises(DataFormatError, match=r"image .*t2\.png .*truncated"):
        subject.images(["t2"])


def test_web_page_instead_of_data(lab):
    lab.h5.write_text("<html><body>please log in</body></html>")
    refused(DataFormatError, "it starts with '<html>", lab)


def test_content_that_was_not_downloaded(lab):
    lab.dseg.unlink()
    lab.dseg.symlink_to("../../.git/annex/objects/aa/bb/MD5E-s12--abc.nii.gz")
    refused(MissingDataError, "link is broken, file content was not downloaded", lab)
    lab.dseg.unlink()
    lab.dseg.write_text("/annex/objects/MD5E-s12--abc.nii.gz\n")
    refused(MissingDataError, "is a pointer, file content was not downloaded", lab)
    lab.dseg.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(MissingDataError, "is a pointer, file content was not downloaded", lab)


def test_three_axes_where_four_are_needed(lab):
    lab.as_nifti()
    lab.save(lab.nii, np.zeros((10, 12, 8), dtype=np.float32))
    refused(DataFormatError, r"has shape \(10, 12, 8\), expected 4 axes", lab)


def test_hemisphere_masks_exchanged(lab):
    x = lab.ijk[:, 0]
    lab.hemi_masks(x >= 5, x < 5)
    refused(DataFormatError, r"the voxels of hemi-L lie to the right of hemi-R \(mean x \d+\.\d and -\d+\.\d mm\)", lab)
    lab.hemi_masks(x < 6, x >= 5)
    refused(DataFormatError, r"\d+ voxels are in the masks of both hemispheres", lab)


def test_no_mask_and_no_regions(lab):
    lab.as_nifti()
    for file in (lab.brain_mask, lab.dseg, lab.ffa_mask):
        file.unlink()
    refused(MissingDataError, "neither a brain mask .* nor regions", lab)


def test_reserved_area_names(lab):
    lab.save(lab.func / "sub-01_space-T1w_label-all_mask.nii.gz", lab.volume(lab.ffa.astype("uint8")))
    subject = open_subject(lab.root)
    assert subject.areas["all"].all() and "the area named 'all'" in " ".join(subject.notes)


def test_unknown_names(lab):
    subject = open_subject(lab.root)
    with pytest.raises(ConfigError, match=r"unknown split 'tset'\. Did you mean 'test'\?"):
        subject.rows("tset")
    with pytest.raises(ConfigError, match=r"unknown stimulus 't9'\. Did you mean 't"):
        subject.images(["t9"])
    with pytest.raises(ConfigError, match=r"unknown area 'V4'\. Did you mean 'V"):
        subject.select("V1 + V4")


def test_pictures_of_several_sizes(lab):
    Image.new("RGB", (30, 24), (9, 200, 77)).save(lab.root / "stimuli" / "pictures" / "t1.png")
    subject = open_subject(lab.root)
    with pytest.raises(DataFormatError, match="edges of 16, 24 px; ask for one image size"):
        subject.images(["t0", "t1"])
    assert (subject.images(["t0", "t1"], 8)[1] == (9, 200, 77)).all()


def test_absent_anatomy(lab):
    subject = open_subject(lab.root)
    with pytest.raises(MissingDataError, match="no anatomical volume"):
        subject.t1w()
    with pytest.raises(MissingDataError, match=r"no surface .*_hemi-L_white\.surf\.gii; there: none"):
        subject.mesh("L", "white")
    with pytest.raises(MissingDataError, match="no sulcal depth"):
        subject.sulc("L")
    assert subject.meshes() == [] and subject.unpaired() is None
    data = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    with gzip.open(lab.anat / "sub-01_T1w.nii.gz", "wb") as file:
        file.write(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])).to_bytes())
    volume, affine = subject.t1w()
    np.testing.assert_array_equal(volume, data)
    np.testing.assert_array_equal(affine, np.diag([2.0, 2, 2, 1]))
