"""Files and folders as other people's libraries write them: what is said, what one can do, and that nothing hangs or is written."""

import gzip
import json
import os
import pickle
import socket
import struct
import tracemalloc
import zipfile

import h5py
import nibabel as nib
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from brain2pix.data.what_is import what_is
from brain2pix.data.what_is.arrays import images_text
from brain2pix.data.what_is.said import fact, listed, size_text
from brain2pix.errors import Brain2PixError, DataFormatError, MissingDataError

AFFINE = np.diag([-2.0, 2.0, 2.5, 1.0])


def write_all(folder):
    """One file of each kind, and what must be said of it."""
    rng = np.random.default_rng(0)

    def volume(name, values, affine=AFFINE, step=None):
        image = nib.Nifti1Image(values, affine)
        if step:
            image.header.set_xyzt_units("mm", "sec")
            image.header.set_zooms((*image.header.get_zooms()[:3], step))
        nib.save(image, folder / name)

    floats = rng.standard_normal((6, 7, 8)).astype(np.float32)
    volume("T1w.nii.gz", floats)
    volume("T1w.nii", floats)
    volume("sub-01_task-x_bold.nii.gz", rng.standard_normal((4, 5, 6, 3)).astype(np.float32), step=1.5)
    volume("trials.nii", rng.standard_normal((4, 5, 6, 3)).astype(np.float32))
    volume("V1_mask.nii.gz", (floats > 1).astype(np.uint8))
    volume("areas_dseg.nii.gz", (np.arange(6 * 7 * 8).reshape(6, 7, 8) % 3).astype(np.int16))
    (folder / "areas_dseg.tsv").write_text("index\tname\n1\tV1\n2\tV2\n")
    volume("prf_angle.nii.gz", rng.uniform(0, 360, (6, 7, 8)).astype(np.float32))
    volume("noaffine.nii", np.zeros((3, 3, 3), np.int16), None)
    nib.save(nib.MGHImage(rng.random((10242, 1, 1)).astype(np.float32), np.eye(4)), folder / "lh.benson14_eccen.mgz")
    nib.save(nib.MGHImage(rng.random((5, 6, 7)).astype(np.float32), np.eye(4)), folder / "brain.mgz")
    points, faces = rng.uniform(-60, -10, (6, 3)), np.array([[0, 1, 2], [3, 4, 5]])
    nib.freesurfer.write_geometry(folder / "lh.white", points, faces)
    nib.freesurfer.write_morph_data(folder / "lh.curv", np.linspace(-1, 1, 6).astype(np.float32))
    table = np.array([[1, 2, 3, 0, 0], [9, 8, 7, 0, 0]])
    nib.freesurfer.write_annot(folder / "lh.aparc.annot", np.array([0, 1, 1, 0, 1, 0]), table, ["V1", "V2"])
    (folder / "lh.V1.label").write_text("#!ascii label , from subject\n2\n0 1.0 2.0 3.0 0.5\n5 1.0 2.0 3.0 0.1\n")
    arrays = [
        nib.gifti.GiftiDataArray(points.astype(np.float32), intent="NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(faces.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    nib.save(nib.GiftiImage(darrays=arrays), folder / "lh.pial.surf.gii")
    values = nib.gifti.GiftiDataArray(np.linspace(0, 3, 32492).astype(np.float32), intent="NIFTI_INTENT_SHAPE")
    nib.save(nib.GiftiImage(darrays=[values]), folder / "sub.R.thickness.shape.gii")
    axis = nib.cifti2.BrainModelAxis.from_mask(np.arange(20) < 15, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    scalars = nib.cifti2.ScalarAxis(["curvature"])
    nib.save(nib.Cifti2Image(rng.random((1, 15)).astype(np.float32), (scalars, axis)), folder / "x.dscalar.nii")
    np.save(folder / "matrix.npy", rng.random((30, 50)).astype(np.float32))
    np.save(folder / "pictures.npy", np.zeros((5, 20, 20, 3), np.uint8))
    np.save(folder / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(folder / "two.npz", x=rng.random((3, 4)), y=np.arange(3))
    with h5py.File(folder / "tree.h5", "w") as file:
        file["group/data"], file["names"] = rng.random((5, 6)), ["a", "b"]
        file["elsewhere"] = h5py.ExternalLink("other.h5", "x")
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as file:
        file.create_dataset("imgBrick", (73000, 425, 425, 3), "u1", chunks=(1, 425, 425, 3))
    with h5py.File(folder / "betas_session01.hdf5", "w") as file:
        file.create_dataset("betas", (750, 83, 104, 81), "i2", chunks=(1, 83, 104, 81))
    with h5py.File(folder / "new.mat", "w", userblock_size=512) as file:
        file["dat"] = rng.random((4, 5))
    scipy.io.savemat(folder / "old.mat", {"X": rng.random((4, 5)), "name": "abc"})
    scipy.io.savemat(folder / "prf.mat", {"ang": rng.random((4, 1)), "ecc": rng.random((4, 1)), "R2": rng.random((4, 1))})
    save_file({"w": np.zeros((2, 3), np.float32)}, folder / "w.safetensors")
    (folder / "trials.tsv").write_text("stimulus_id\tsplit\nb\ttrain\nc\ttest\n")
    (folder / "x.csv").write_text("image,run\na.png,1\nb.png\n")
    (folder / "run_events.tsv").write_text("onset\tduration\ttrial_type\n0\t1\tx\n")
    (folder / "lut.ctab").write_text("0 Unknown 0 0 0 0\n1 V1 255 0 0 0\n")
    (folder / "notes.txt").write_text("a line with \x1b[31m colours\n")
    (folder / "job.json").write_text(json.dumps({"kind": "train", "params": {}}))
    (folder / "events.jsonl").write_text('{"kind": "started", "stage": "x"}\n{"kind": "finished"}\n')
    (folder / "list.json").write_text("[1, 2]")
    (folder / "plan.toml").write_text('subjects = ["a"]\nmethods = ["ridge"]\n')
    (folder / "movie.mp4").write_bytes(b"\0\0\0 ftypisom" + bytes(64))
    (folder / "clip.webm").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(12) + b"webm" + bytes(32))
    (folder / "saved.pkl").write_bytes(pickle.dumps({"a": [1, 2]}))
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / "a.jpg")
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with gzip.open(folder / "some.txt.gz", "wb") as packed:
        packed.write(b"hello")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("files"))


SAID = {
    "T1w.nii.gz": ("NIfTI volume", "(6, 7, 8), 2 x 2 x 2.5 mm, axes run to LAS", "--anatomy"),
    "T1w.nii": ("NIfTI volume", "float32", "window"),
    "sub-01_task-x_bold.nii.gz": ("series of scans", "3 volumes, one each 1.5 s", "must be estimated first"),
    "trials.nii": ("responses of one's own, with their table trials.tsv", "3 volumes", "brain2pix import own"),
    "V1_mask.nii.gz": ("NIfTI mask", "voxels)", "--regions"),
    "areas_dseg.nii.gz": ("volume of labels", "2: V1 (112 voxels), V2 (112 voxels)", "areas_dseg.tsv names its values"),
    "prf_angle.nii.gz": ("map of receptive fields: angle", "nsd", "brain2pix prf import"),
    "noaffine.nii": ("every voxel is 0", "left/right may be wrong"),
    "lh.benson14_eccen.mgz": ("receptive fields: eccentricity", "as many as fsaverage5", "left hemisphere"),
    "brain.mgz": ("FreeSurfer volume (MGH)", "(5, 6, 7)", "mri_convert"),
    "lh.white": ("FreeSurfer mesh", "6, 2 triangles", "left hemisphere"),
    "lh.curv": ("FreeSurfer values of vertices", "-1 to 1"),
    "lh.aparc.annot": ("annotation", "V1, V2"),
    "lh.V1.label": ("FreeSurfer label", "2"),
    "lh.pial.surf.gii": ("GIFTI mesh", "6, 2 triangles", "left hemisphere"),
    "sub.R.thickness.shape.gii": ("GIFTI values of vertices", "as many as fs_LR 32k", "right hemisphere", "0 to 3"),
    "x.dscalar.nii": ("CIFTI-2", "15 of 20 vertices", "curvature"),
    "matrix.npy": ("numpy matrix", "(30, 50) float32", "brain2pix import own", "--table TABLE.tsv"),
    "pictures.npy": ("colour pictures [n h w 3]: 5 of 20 x 20 px", "unpaired.npy"),
    "objects.npy": ("Python objects", "never loaded"),
    "two.npz": ("numpy archive", "x (3, 4) float64", "y (3,) int64"),
    "tree.h5": ("HDF5 file", "group/data (5, 6) float64", "names (2,) texts", "elsewhere: not followed"),
    "nsd_stimuli.hdf5": ("Natural Scenes Dataset", "imgBrick (73000, 425, 425, 3) uint8", "not imported yet"),
    "betas_session01.hdf5": ("one session of the Natural Scenes Dataset", "not imported yet"),
    "new.mat": ("MATLAB v7.3 file (HDF5)", "dat (4, 5) float64"),
    "old.mat": ("MATLAB v5 file", "X (4, 5) double", "name (1, 3) text"),
    "prf.mat": ("analyzePRF", "brain2pix prf import"),
    "w.safetensors": ("safetensors", "w (2, 3) F32", "1, 6 numbers"),
    "trials.tsv": ("trials with their split", "2: stimulus_id, split", "brain2pix import own RESPONSES OUT --table"),
    "x.csv": ("commas: perhaps trials, without a split", "1 lines have another number of fields", "--split-by image"),
    "run_events.tsv": ("events of a run (BIDS)", "estimated from the scans first"),
    "lut.ctab": ("colour table", "Unknown, V1"),
    "notes.txt": ("text", "\\x1b[31m"),
    "job.json": ("JSON: job", "train", "brain2pix run"),
    "events.jsonl": ("events of a run", "kind, stage", "brain2pix inspect"),
    "list.json": ("JSON list", "2"),
    "plan.toml": ("plan of a sweep", "brain2pix sweep"),
    "movie.mp4": ("MP4 video", "not imported"),
    "clip.webm": ("WebM video",),
    "saved.pkl": ("Python pickle", "never loaded"),
    "a.png": ("PNG picture", "40 x 30 px"),
    "a.jpg": ("JPEG picture", "40 x 30 px"),
    "some.zip": ("zip archive", "a.txt", "unzip"),
    "some.txt.gz": ("gzip file", "gunzip"),
}


@pytest.mark.parametrize("name", SAID)
def test_each_kind_of_file(files, name):
    before = sorted(path.name for path in files.iterdir())
    lines = what_is(files / name).lines(files / name)
    said = "\n".join(lines)
    for part in SAID[name]:
        assert part in said, said
    assert lines[0].startswith(f"{files / name}: ")
    assert all(line[9] == " " and line[10] != " " for line in lines[1:]), said  # labels are aligned
    assert "\x1b" not in said
    assert sorted(path.name for path in files.iterdir()) == before


def test_every_file_has_an_expectation(files):
    assert {path.name for path in files.iterdir()} - {"areas_dseg.tsv"} == set(SAID)


def refused(path, error, message):
    with pytest.raises(error, match=message):
        what_is(path)


def test_what_cannot_be_read(tmp_path):
    refused(tmp_path / "nowhere", MissingDataError, "does not exist; give a file, a dataset folder")
    (tmp_path / "empty.nii").touch()
    refused(tmp_path / "empty.nii", DataFormatError, r"empty.nii is empty \(0 bytes\)")
    (tmp_path / "page.mat").write_text("\n<!DOCTYPE html><html>")
    refused(tmp_path / "page.mat", DataFormatError, "is a web page, not a MATLAB, HDF5 or npz file; .* needs a login")
    (tmp_path / "annex.mat").write_text("/annex/objects/MD5E-s1--abc.mat\n")
    refused(tmp_path / "annex.mat", MissingDataError, "is a pointer, file content was not downloaded")
    (tmp_path / "broken.nii").symlink_to(tmp_path / "annexed")
    refused(tmp_path / "broken.nii", MissingDataError, "the link is broken, file content was not downloaded")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", MissingDataError, "link is broken")
    (tmp_path / "bad.json").write_text('{"a":')
    refused(tmp_path / "bad.json", DataFormatError, "looks like JSON and is not valid")
    (tmp_path / "bad.toml").write_text("a ==")
    refused(tmp_path / "bad.toml", DataFormatError, "is not valid TOML")
    (tmp_path / "odd.bin").write_bytes(np.random.default_rng(1).bytes(600))
    refused(tmp_path / "odd.bin", DataFormatError, "of no known format; it starts with")
    (tmp_path / "short.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    refused(tmp_path / "short.safetensors", DataFormatError, "announces 1,099,511,627,776 bytes; it is no safetensors file, or truncated")
    (tmp_path / "nothing").mkdir()
    refused(tmp_path / "nothing", MissingDataError, "is an empty folder")


def test_pipes_sockets_and_devices_do_not_hang(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", DataFormatError, "is a pipe, expected a file or a folder")
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("talk")
        refused(tmp_path / "talk", DataFormatError, "is a socket")
    refused(tmp_path.__class__("/dev/zero"), DataFormatError, "is a device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_the_right_to_read(tmp_path):
    (tmp_path / "secret.nii").write_bytes(b"x")
    (tmp_path / "secret.nii").chmod(0)
    refused(tmp_path / "secret.nii", MissingDataError, "may not be read by this user")


def test_large_files_are_not_read_whole(tmp_path):
    """Four GiB that take no room on the disk, of a volume and of an array; and a long table."""
    shape = (1000, 1000, 1000)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    (tmp_path / "big.nii").write_bytes(header.binaryblock + bytes(4))
    with (tmp_path / "big.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1000, 1_000_000)})
    (tmp_path / "big.tsv").write_text("stimulus_id\tsplit\n" + "a" * 4000 + "\ttrain\n" + "a\ttrain\n" * 2_200_000)
    for name in ("big.nii", "big.npy"):
        os.truncate(tmp_path / name, 4 * 2**30 + 4096)
    tracemalloc.start()
    said = [what_is(tmp_path / name).lines(tmp_path / name) for name in ("big.nii", "big.npy", "big.tsv")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 * 2**20
    assert "too large to look at every value" in said[0][0] and "3.7 GiB" in said[1][1] and "in the first 16.0 MiB" in said[2][1]


# ---------------------------------------------------------------------- folders


def test_folders_of_bids(tmp_path):
    for place, name in (
        ("anat", "sub-01_T1w.nii.gz"),
        ("func", "sub-01_task-x_run-1_bold.nii.gz"),
        ("func", "sub-01_task-x_run-1_events.tsv"),
    ):
        (tmp_path / "sub-01" / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sub-01" / place / name).touch()
    said = "\n".join(what_is(tmp_path / "sub-01").lines(tmp_path / "sub-01"))
    assert "scans of one subject (BIDS)" in said and "1 x func bold" in said
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "lab", "BIDSVersion": "1.10.0"}))
    said = "\n".join(what_is(tmp_path).lines(tmp_path))
    assert "BIDS dataset (raw)" in said and "1: sub-01" in said and "1 x anat T1w" in said and "must be estimated first" in said
    (tmp_path / "dataset_description.json").write_text(json.dumps({"Name": "lab", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}))
    assert "no responses of single trials are in it" in "\n".join(what_is(tmp_path).lines(tmp_path))
    (tmp_path / "sub-01" / "func" / "sub-01_betas.h5").touch()
    (tmp_path / "sub-02").mkdir()
    said = "\n".join(what_is(tmp_path).lines(tmp_path))
    assert "native format" in said and "--subject-name sub-02" in said
    assert f"part of   the dataset {tmp_path}" in what_is(tmp_path / "sub-01" / "func").lines(tmp_path)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (
            ("training_split/training_images/a.png", "training_split/training_fmri/lh_training_fmri.npy", "roi_masks/x.npy"),
            ("Algonauts 2023", "not imported yet"),
        ),
        (("nsddata/ppdata/x", "nsddata_betas/y"), ("Natural Scenes Dataset", "not imported yet")),
        (("betas_session01.nii.gz", "betas_session02.nii.gz"), ("betas of the Natural Scenes Dataset", "2: betas_session01")),
        (("surf/lh.white", "surf/rh.white", "label/lh.aparc.annot", "mri/T1.mgz"), ("FreeSurfer subject", "--surfaces", "lh.aparc.annot")),
        (("lh.pial", "rh.pial"), ("FreeSurfer surfaces", "--surfaces")),
        (("a.png", "b.PNG", "c.png"), ("pictures", "--images")),
        (("n01/a.JPEG", "n02/b.JPEG"), ("pictures in 2 folders, 2 in the first 2", "--images")),
        (("x.doc", "y.doc", "z"), ("folder of no known layout", "2 .doc, 1 no suffix")),
        (("sweep.json", "results.tsv", "cells/a/job.json"), ("sweep", "results.tsv")),
    ],
)  # fmt: skip
def test_folders_by_their_layout(tmp_path, names, parts):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    said = "\n".join(what_is(tmp_path).lines(tmp_path))
    for part in parts:
        assert part in said, said


def test_exported_figures_and_alignments(tmp_path):
    (tmp_path / "maps.png").write_bytes(b"x")
    (tmp_path / "maps.json").write_text(json.dumps({"schema": "b2p-figure-1"}))
    assert "exported figures" in what_is(tmp_path).title
    about = {"subjects": [{"key": "sub-01", "n_voxels": 3, "title": "t"}], "simulated": True, "fitted_on": 3, "components": {"n": 2}}
    (tmp_path / "alignment.json").write_text(json.dumps(about))
    (tmp_path / "alignment.safetensors").write_bytes(b"x")
    found = what_is(tmp_path)
    assert found.title == "alignment of 1 simulated subjects" and "sub-01: 3 voxels of t" in found.facts[0]


def test_a_description_that_nests_without_end(tmp_path):
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "dataset_description.json").write_text("[" * 200_000)
    assert "BIDS dataset (raw)" in what_is(tmp_path).title
    refused(tmp_path / "dataset_description.json", DataFormatError, "looks like JSON and is not valid")


# ---------------------------------------------------------------------- words


def test_words():
    assert fact("shape", "a\x1b[2Jb\n") == "shape     a\\x1b[2Jb\\n"
    assert listed("abcd", 2) == "a, b and 2 more" and listed([]) == ""
    assert [size_text(n) for n in (5, 2048, 3 * 2**20, 5 * 2**40)] == ["5 bytes", "2.0 KiB", "3.0 MiB", "5,120.0 GiB"]
    assert images_text((4, 3, 8, 8), np.uint8) == "pictures with colours first [n 3 h w]: 4 of 8 x 8 px"
    assert images_text((4, 8, 8), np.uint8).startswith("grey") and images_text((4, 8, 8), np.float32) == ""


# ---------------------------------------------------------------------- damaged and hostile files


class Damage:
    """Bytes of good files, and a place for damaged ones. Its name is short: hypothesis writes it in each report."""

    def __init__(self, files, folder):
        self.contents = {path.name: path.read_bytes() for path in sorted(files.iterdir()) if path.stat().st_size < 10**6}
        self.folder = folder

    def __repr__(self):
        return "Damage()"


@pytest.fixture(scope="module")
def damage(files, tmp_path_factory):
    return Damage(files, tmp_path_factory.mktemp("damaged"))


def look(folder, name, content):
    """Whatever it is: an answer in lines, or one of our errors; and nothing is written."""
    path = folder / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        assert all(isinstance(line, str) for line in what_is(path).lines(path))
    except Brain2PixError as error:
        assert str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        there = [one.name for one in folder.iterdir()]
        path.unlink()
    assert there == [name] and peak < 256 * 2**20


@given(st.data())
@examples(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files(damage, data):
    name = data.draw(st.sampled_from(sorted(damage.contents)))
    content = bytearray(damage.contents[name])
    for _ in range(data.draw(st.integers(1, 4))):
        # headers are where it hurts: half of the places lie in the first kilobyte
        limit = min(len(content), 1024) if data.draw(st.booleans()) else len(content)
        content[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(1, len(content)))]
    look(damage.folder, name, bytes(content))


@given(st.binary(min_size=1, max_size=2000), st.sampled_from(sorted(SAID)))
@examples(max_examples=150)
def test_random_bytes_under_any_name(damage, content, name):
    look(damage.folder, name, content)


@given(st.sampled_from(sorted(SAID)), st.sampled_from(sorted(SAID)))
@examples(max_examples=100)
def test_good_files_under_wrong_names(damage, content_of, name):
    if content_of in damage.contents:
        look(damage.folder, name, damage.contents[content_of])


def test_settings_that_begin_with_a_table_are_toml_and_stimuli_are_no_trials(tmp_path):
    (tmp_path / "plan.toml").write_text("[decoder]\nn_steps = 3\n")
    assert what_is(tmp_path / "plan.toml").title.endswith("TOML: settings")
    (tmp_path / "stimuli.tsv").write_text("stimulus_id\tfile\tsplit\na\ta.png\ttrain\n")
    assert what_is(tmp_path / "stimuli.tsv").title.endswith("stimuli of a native dataset")
