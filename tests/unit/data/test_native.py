"""What we write: read back by us and by the libraries of others; nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import nilearn.surface
import numpy as np
import pandas as pd
import pytest

from brain2pix.anatomy.surfaces import Mesh
from brain2pix.data import NativeContent, Space, open_subject, summarise, summary_lines, write_native
from brain2pix.errors import ConfigError, ShapeError
from brain2pix.events import Cancelled, CancelToken

SHAPE = (9, 8, 7)
AFFINE = np.array([[2.5, 0, 0, -11.25], [0, 2.5, 0, -90], [0, 0, 2.5, -12], [0, 0, 0, 1]])


def content(**changes) -> NativeContent:
    rng = np.random.default_rng(11)
    ijk = np.argwhere(rng.random(SHAPE) < 0.2)
    ijk = ijk[ijk[:, 0] != 4]  # nothing on the midline
    ijk = ijk[rng.permutation(len(ijk))]  # order is the content's own
    n = len(ijk)
    code = rng.integers(0, 4, n)
    areas = {"V1v": code == 1, "V1d": code == 2, "hV4": code == 3, "FFA": rng.random(n) < 0.3, "outside": rng.random(n) < 0.2}
    ids = [f"{k:03d}" for k in range(6)] + ["a/b", "a_b"]
    stimuli = pd.DataFrame(
        {"stimulus_id": ids, "category": "thing", "split": ["train"] * 5 + ["test"] * 3, "source": ["p"] * 8, "extra": 1.5}
    )
    shown = ids[:5] + ids[5:] * 2
    trials = pd.DataFrame(
        {
            "stimulus_id": shown,
            "split": ["train"] * 5 + ["test"] * 6,
            "run": [1] * 6 + [2] * 5,
            "session": 1,
            "repeat": [1] * 8 + [2] * 3,
            "onset": np.arange(11.0),
            "duration": 2.0,
        }
    )
    tetra = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], dtype=np.int32)
    points = np.array([[0, 0, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]], dtype=np.float32)
    given = {
        "subject": "sub-03",
        "name": "planted",
        "space": Space("MNI152", AFFINE, SHAPE),
        "voxels": pd.DataFrame({"i": ijk[:, 0], "j": ijk[:, 1], "k": ijk[:, 2], "hemi": np.where(ijk[:, 0] < 4, "L", "R")}),
        "areas": areas,
        "responses": rng.standard_normal((11, n)).astype(np.float32),
        "trials": trials,
        "stimuli": stimuli,
        "images": {name: rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for name in ids},
        "field_of_view_deg": 8.4,
        "simulated": True,
        "unpaired": rng.integers(0, 256, (7, 16, 16, 3), dtype=np.uint8),
        "t1w": rng.random((30, 31, 32)).astype(np.float32),
        "t1w_affine": np.diag([4.0, 4, 4, 1]),
        "meshes": {
            (hemi, kind): Mesh(points * (-1 if hemi == "L" else 1) + shift, tetra)
            for hemi in "LR"
            for kind, shift in (("white", 0), ("pial", 0.1 if hemi == "R" else -0.1))
        },
        "sulc": {hemi: np.arange(4, dtype=np.float32) for hemi in "LR"},
        "descriptions": {"FFA": "simulated faces"},
    }
    return NativeContent(**{**given, **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    made = content()
    return made, write_native(tmp_path_factory.mktemp("native") / "dataset", made)


def test_round_trip(written):
    made, root = written
    subject = open_subject(root)
    assert (subject.name, subject.title, subject.simulated, subject.unit) == ("sub-03", "planted", True, "z-train")
    assert subject.field_of_view_deg == 8.4 and subject.image_size == 16
    np.testing.assert_array_equal(subject.ijk, made.voxels[["i", "j", "k"]])
    np.testing.assert_array_equal(subject.responses(), made.responses)
    np.testing.assert_array_equal(subject.voxels["hemi"], made.voxels["hemi"])
    for name, mask in made.areas.items():
        np.testing.assert_array_equal(subject.areas[name], mask, err_msg=name)
    np.testing.assert_array_equal(subject.areas["V1"], made.areas["V1v"] | made.areas["V1d"])
    pd.testing.assert_frame_equal(subject.trials[list(made.trials)], made.trials, check_dtype=False)
    pd.testing.assert_frame_equal(subject.stimuli[list(made.stimuli)], made.stimuli, check_dtype=False)
    ids = list(made.stimuli["stimulus_id"])
    np.testing.assert_array_equal(subject.images(ids), np.stack([made.images[name] for name in ids]))  # a/b and a_b are two files
    np.testing.assert_array_equal(subject.unpaired(), made.unpaired)
    assert subject.unpaired(8).shape == (7, 8, 8, 3)
    volume, affine = subject.t1w()
    np.testing.assert_array_equal(volume, made.t1w)
    np.testing.assert_array_equal(affine, made.t1w_affine)
    assert subject.notes == ()


def test_simulated_is_said_of_each_area(written):
    _, root = written
    subject = open_subject(root)
    assert subject.descriptions["V1v"] == "simulated V1v" and subject.descriptions["V1"] == "simulated V1"
    assert subject.descriptions["FFA"] == "simulated faces"
    assert "SIMULATED" in summary_lines(summarise(subject))[0]


def test_surfaces_for_us_and_for_others(written):
    made, root = written
    subject = open_subject(root)
    assert subject.meshes() == [("L", "white"), ("L", "pial"), ("R", "white"), ("R", "pial")]
    mesh = subject.mesh("L", "white")
    np.testing.assert_array_equal(mesh.vertices, made.meshes["L", "white"].vertices)
    np.testing.assert_array_equal(subject.sulc("R"), made.sulc["R"])
    file = root / "sub-03" / "anat" / "sub-03_hemi-L_white.surf.gii"
    points, faces = nilearn.surface.load_surf_mesh(file)
    np.testing.assert_array_equal(points, mesh.vertices)
    np.testing.assert_array_equal(faces, mesh.faces)
    assert nib.load(file).meta["AnatomicalStructurePrimary"] == "CortexLeft"
    depth = nilearn.surface.load_surf_data(root / "sub-03" / "anat" / "sub-03_hemi-R_sulc.shape.gii")
    np.testing.assert_array_equal(depth, made.sulc["R"])


def test_volumes_for_others(written):
    made, root = written
    func = root / "sub-03" / "func"
    image = nib.load(func / "sub-03_space-MNI152_seg-visual_dseg.nii.gz")
    names = pd.read_csv(func / "sub-03_space-MNI152_seg-visual_dseg.tsv", sep="\t").set_index("index")["name"]
    assert list(names) == ["V1v", "V1d", "hV4"] and int(image.header["sform_code"]) == 4
    labels = np.asarray(image.dataobj)
    for index, name in names.items():
        found = {tuple(row) for row in np.argwhere(labels == index)}
        assert found == {tuple(row) for row in made.voxels.loc[made.areas[name], ["i", "j", "k"]].to_numpy()}
    left = nib.load(func / "sub-03_hemi-L_space-MNI152_desc-brain_mask.nii.gz")
    x = nib.affines.apply_affine(left.affine, np.argwhere(np.asarray(left.dataobj) > 0))[:, 0]
    assert len(x) and (x < 0).all()


def test_hdf5_layout(written):
    _, root = written
    with h5py.File(root / "sub-03" / "func" / "sub-03_task-images_space-MNI152_desc-singletrial_betas.h5") as file:
        assert file["betas"].dtype == np.float32 and file["betas"].chunks[0] == 11
        assert file["ijk"].dtype == np.int32 and dict(file.attrs)["schema"] == "b2p-1"
        assert [text.decode() for text in file["trials/stimulus_id"][:2]] == ["000", "001"]
        np.testing.assert_array_equal(file["shape"], SHAPE)


def test_event_tables_by_run(written):
    _, root = written
    events = pd.read_csv(root / "sub-03" / "func" / "sub-03_task-images_run-02_events.tsv", sep="\t", dtype={"stimulus_id": str})
    assert list(events.columns) == ["onset", "duration", "trial_type", "stim_file", "stimulus_id", "repeat"]
    assert len(events) == 5 and (root / "stimuli" / events["stim_file"][0]).is_file()


def test_boring_files(written):
    _, root = written
    assert pd.read_csv(root / "participants.tsv", sep="\t")["participant_id"].tolist() == ["sub-03"]
    assert "**/*_betas.*" in (root / ".bidsignore").read_text()


def test_voxels_of_one_file_open_as_a_nifti_too(written, tmp_path):
    """The two kinds of betas give the same subject, voxel order apart."""
    made, root = written
    subject = open_subject(root)
    other = write_native(tmp_path / "other", made)
    func = other / "sub-03" / "func"
    betas = next(func.glob("*_betas.h5"))
    volume = np.zeros((*SHAPE, 11), dtype=np.float32)
    volume[tuple(subject.ijk.T)] = made.responses.T
    stem = "sub-03_task-images_space-MNI152_desc-singletrial_stat-effect_statmap"
    nib.save(nib.Nifti1Image(volume, AFFINE), func / f"{stem}.nii.gz")
    betas.with_suffix(".tsv").rename(func / f"{stem}.tsv")
    betas.with_suffix(".json").rename(func / f"{stem}.json")
    betas.unlink()
    from_nifti = open_subject(other)
    order = np.lexsort(subject.ijk.T[::-1])
    np.testing.assert_array_equal(from_nifti.ijk, subject.ijk[order])
    np.testing.assert_array_equal(from_nifti.responses(), made.responses[:, order])
    assert from_nifti.describe(np.arange(3)).voxel_hash == subject.describe(order[:3]).voxel_hash
    assert from_nifti.simulated and from_nifti.unit == "z-train"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responses": np.zeros((11, 3), np.float32)}, "responses are 11 trials x 3 voxels, got .* voxels rows, expected 3"),
        ({"responses": np.zeros((4, 3), np.float32)}, "got 11 trials rows, expected 4"),
        ({"images": {}}, "stimuli name 8 ids without image: 000, 001, 002, 003, 004 and 3 more"),
        ({"stimuli": content().stimuli.iloc[1:]}, "trials name 1 ids without stimuli row: 000"),
        ({"subject": "03"}, "expected a subject like 'sub-01'"),
        ({"space": Space("MNI 152", AFFINE, SHAPE)}, "a space of letters and digits"),
        ({"segmentation": ("V1v", "FFA")}, "area 'FFA' overlaps another area"),
        ({"areas": {"V1v": np.zeros(2, bool)}}, "area 'V1v' entries"),
        ({"stimuli": pd.concat([content().stimuli] * 2)}, "stimuli name an id twice"),
    ],
)
def test_content_that_does_not_fit(tmp_path, changes, message):
    with pytest.raises(ShapeError, match=message):
        write_native(tmp_path / "dataset", content(**changes))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ConfigError, match="exists and is not an empty folder; choose another place"):
        write_native(tmp_path, content())
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_cancelled_writing_leaves_nothing(tmp_path):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        write_native(tmp_path / "dataset", content(), token)
    assert list(tmp_path.iterdir()) == []


_FULL = """
import resource, sys
from pathlib import Path
place, tests = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, tests)
from test_native import content
from brain2pix.data import write_native
from brain2pix.errors import ComputeError
made = content()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write_native(place / "dataset", made)
    except ComputeError as error:
        assert "no space left while writing" in str(error) and "Free some space" in str(error), error
        assert list(place.iterdir()) == [], list(place.iterdir())
        print("refused", limit)
"""


def test_full_disk_leaves_nothing(tmp_path):
    """A real limit on the size of files, hit by the description, an image, the stack, the HDF5 file and a volume.

    In a process of its own: HDF5 is known to end the one it lives in when the disk is full.
    """
    limits = ["20", "400", "4000", "6000", "12000", "40000"]
    command = [sys.executable, "-c", _FULL, str(tmp_path), str(Path(__file__).parent), *limits]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert (done.returncode, done.stdout.split()[1::2]) == (0, limits), done.stderr
