"""Each message says what was expected, what came and what to do, and names the file."""

import re

import h5py
import nibabel
import numpy as np
import pytest
from lab import AFFINE, GRID, Lab

from brain2pix.config.importing import Choices
from brain2pix.data.readers import READERS
from brain2pix.data.readers.importing import Listener, rows_with_pictures
from brain2pix.errors import ConfigError, DataFormatError, MissingDataError


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def refused(error, text, path, *, names="", own=None, **given):
    """The message holds a text, and the name of the responses or of the file that is wrong."""
    with pytest.raises(error, match=re.escape(text)) as caught, READERS["own"].open(path, Choices(own=own or {}, **given)) as dataset:
        dataset.responses.read(0, dataset.responses.shape[1])
    assert (names or path.name) in str(caught.value)


# ---------------------------------------------------------------------- responses


def test_another_number_of_trials(lab):
    table = lab.folder / "trials.tsv"
    lab.table.iloc[:-2].to_csv(table, sep="\t", index=False)
    own = {"table": table}
    refused(DataFormatError, "responses have 24 volumes, table 22 rows", lab.write_nifti(), own=own)
    refused(DataFormatError, f"responses have 24 and {lab.n_voxels} entries along their axes, table 22 rows", lab.write_npy(), own=own)
    refused(
        DataFormatError,
        f"expected (trials, voxels) with 22 trials as the table; datasets of numbers: betas (24, {lab.n_voxels})",
        lab.write_hdf5(),
        own=own,
    )
    own["dataset"] = "betas"
    refused(DataFormatError, f"responses have 24 and {lab.n_voxels} entries along their axes, table 22 rows", lab.write_hdf5(), own=own)
    refused(DataFormatError, "'betas' has shape (5, 6, 7, 24), table 22 rows", lab.write_hdf5(betas=lab.series), own=own)


def test_axes_that_cannot_be_told(lab):
    lab.write_table("square.tsv")
    refused(
        DataFormatError,
        "responses are 24 x 24, table 24 rows: which axis is trials cannot be told",
        lab.write_npy("square.npy", array=np.eye(24)),
    )
    path = lab.write_hdf5("square.h5", betas=np.zeros((24, 3, 4, 24)))
    refused(DataFormatError, "whether the first or the last axis is trials cannot be told", path)
    refused(DataFormatError, "responses have shape (24, 3, 2), expected a matrix", lab.write_npy("square.npy", array=np.zeros((24, 3, 2))))


def test_datasets_of_a_file(lab):
    path = lab.write_hdf5("betas.h5", first=lab.matrix(), group__second=lab.matrix(), text="x")
    lab.write_table("betas.tsv")
    refused(ConfigError, "2 datasets fit (first, group/second); name one: --dataset first", path)
    refused(ConfigError, "unknown dataset 'group_second'. Did you mean 'group/second'?", path, own={"dataset": "group_second"})
    with READERS["own"].open(path, Choices(own={"dataset": "/group/second"})) as dataset:
        assert dataset.responses.shape == (24, lab.n_voxels)
    refused(ConfigError, "is no HDF5 file: it has no dataset 'x'; leave out --dataset", lab.write_npy(), own={"dataset": "x"})
    refused(DataFormatError, "datasets of numbers: none", lab.write_hdf5("betas.h5", text="x"))


def test_bytes_that_lie_elsewhere(lab):
    """A dataset whose bytes are another file's would read any file of the user's."""
    lab.write_table("betas.tsv")
    secret = lab.folder / "secret.bin"
    secret.write_bytes(b"\x01" * 8 * 24 * 3)
    path = lab.folder / "betas.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", shape=(24, 3), dtype="f8", external=[(str(secret), 0, 8 * 24 * 3)])
    refused(DataFormatError, "lies in another file", path)
    with h5py.File(path, "w") as file:
        file["betas"] = h5py.ExternalLink(str(lab.write_hdf5("other.h5")), "/betas")
        file["again"] = file["/"]  # a group that holds itself
    refused(DataFormatError, "datasets of numbers: none", path)


def test_other_files(lab):
    lab.write_table("betas.tsv")
    for name, content, text in (
        ("betas.mat", b"MATLAB 5.0 MAT-file", "is no file of responses; expected a 4-D NIfTI (.nii, .nii.gz), an HDF5 matrix (.h5)"),
        ("betas.npy", b"<html>not found</html>", "it starts with '<html"),
        ("betas.h5", b"/annex/objects/SHA256E-s1", "file content was not downloaded"),
        ("betas.nii.gz", b"nothing", "cannot be read"),
    ):
        (lab.folder / name).write_bytes(content)
        refused((DataFormatError, MissingDataError), text, lab.folder / name)
    np.save(lab.folder / "betas.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(DataFormatError, "cannot be read", lab.folder / "betas.npy")
    np.save(lab.folder / "betas.npy", np.zeros((24, 3), dtype=complex))
    refused(DataFormatError, "holds complex128, expected real numbers", lab.folder / "betas.npy")
    np.savez(lab.folder / "betas.npz", np.zeros((24, 3)))
    (lab.folder / "betas.npz").rename(lab.folder / "betas.npy")
    refused(DataFormatError, "is an archive of arrays; expected one array", lab.folder / "betas.npy")
    refused(MissingDataError, "does not exist", lab.folder / "nowhere.npy")
    nibabel.save(nibabel.Nifti1Image(np.zeros(GRID, np.float32), AFFINE), lab.folder / "betas.nii")
    refused(DataFormatError, "has shape (5, 6, 7), expected 4 axes", lab.folder / "betas.nii")
    lab.save("betas.nii", np.zeros((*GRID, 24), dtype=np.float32))
    refused(DataFormatError, "the responses of no voxel vary", lab.folder / "betas.nii")


def test_a_mask_of_other_voxels(lab):
    mask = lab.mask.copy()
    mask[0, 0, 0] ^= True
    own = {"mask": lab.save("other.nii.gz", mask), "table": lab.write_table()}
    refused(DataFormatError, f"responses have {lab.n_voxels} columns, mask", lab.write_npy(), own=own, names=f"has {mask.sum()} voxels")
    path = lab.write_hdf5(betas=lab.series[:, :, :-1])
    refused(DataFormatError, "grid (5, 6, 7) differs from that of the responses (5, 6, 6)", path, own=own)


# ---------------------------------------------------------------------- table


def table_refused(lab, error, text, content, name="trials.tsv", **given):
    place = lab.folder / name
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(error, text, lab.write_npy(), own={"table": place}, names=name, **given)


def test_tables(lab):
    refused(MissingDataError, "has no table of the same name (.tsv or .csv) beside it; give --table FILE", lab.write_npy())
    table_refused(lab, DataFormatError, "is empty", "")
    table_refused(lab, DataFormatError, "has a header and no rows", "image\n")
    table_refused(lab, DataFormatError, "is not a text table", b"image\n\xff\xfe\n")
    table_refused(lab, DataFormatError, "is not a text table", "image\na\0b\n")
    table_refused(lab, DataFormatError, "has no column stimulus_id, image, stim_file or filename; columns: a, b", "a\tb\n1\t2\n")
    table_refused(lab, DataFormatError, "it looks comma-separated: name it .csv", "stimulus_id,split\n1,train\n")
    table_refused(lab, DataFormatError, "row 3 has 1 fields, the header 2", "image\tsplit\na\ttrain\nb\n")
    table_refused(lab, DataFormatError, "names a column twice: image, split, split", "image\tsplit\tsplit\n1\t2\t3\n")


def rows(lab, **changes):
    return lab.table.assign(**changes).to_csv(sep="\t", index=False, na_rep="n/a")


def test_rows_of_tables(lab):
    ids = list(lab.table["stimulus_id"])
    table_refused(
        lab, DataFormatError, "2 of 24 rows have no stimulus_id (rows 1, 3)", rows(lab, stimulus_id=["n/a", ids[1], "", *ids[3:]])
    )
    table_refused(lab, DataFormatError, "holds signs that cannot be printed", rows(lab, stimulus_id=["a\x07", *ids[1:]]))
    table_refused(lab, DataFormatError, "stimulus '0012' has two pictures, 'a4' and 'a12'", rows(lab, image=[f"a{n}" for n in range(24)]))
    table_refused(lab, DataFormatError, "picture 'a' has two ids, '0000' and '0001'; one picture must have one id", rows(lab, image="a"))
    table_refused(lab, DataFormatError, "1 of 24 rows have no run; fill the column, or leave it out", rows(lab, run=["n/a"] + [1] * 23))
    table_refused(lab, DataFormatError, "1 rows have no split (rows 1)", rows(lab, split=[None, *lab.table["split"][1:]]))
    table_refused(
        lab,
        DataFormatError,
        "stimuli with several values of category: 0012",
        rows(lab, category=[*"abcd", "x", *lab.table["category"][5:]]),
    )
    table_refused(lab, DataFormatError, "2 images have trials in train and in test: 0012, 0013", both_sides(lab))
    no_split = lab.table.drop(columns="split").to_csv(sep="\t", index=False)
    table_refused(lab, ConfigError, "has no column split (train, test, validation); add it, or let", no_split)
    table_refused(lab, DataFormatError, "has no column category", rows(lab).replace("category", "kind"), splits={"by": "category"})
    table_refused(lab, ConfigError, "--split test is for a table that does not tell", rows(lab), split="test")
    table_refused(lab, ConfigError, "has no column session: --zscore session cannot be done", rows(lab), zscore="session")
    table_refused(lab, ConfigError, "have one trial only: --zscore run cannot be done", rows(lab, run=np.arange(24)), zscore="run")


def both_sides(lab):
    table = lab.table.copy()
    table.loc[4:5, "split"] = "train"
    return table.to_csv(sep="\t", index=False)


# ---------------------------------------------------------------------- what is asked for


def test_choices(lab):
    path, own = lab.write_npy(), {"table": lab.write_table()}
    refused(
        ConfigError,
        "--masks is for the masks of published scans; give your own one by one as --regions FILE",
        path,
        own=own,
        masks=lab.folder,
        names="--regions",
    )
    refused(ConfigError, "unit 'percent' is not known; expected psc, z-run", path, own={**own, "unit": "percent"}, names="psc")
    refused(
        ConfigError, "subject 'a b' cannot be a name of BIDS; expected letters and digits", path, own=own, subject="a b", names="sub-01"
    )
    refused(ConfigError, "ROI 'V7' not in file; available: none", path, own=own, areas=("V7",))


def test_the_size_of_the_pictures_must_be_given(lab):
    pictures = lab.write_pictures()
    with READERS["own"].open(lab.write_npy(), Choices(own={"table": lab.write_table()}, images=pictures)) as dataset:
        assert "size not told" in "\n".join(dataset.lines())
        with pytest.raises(ConfigError, match=r"own data \(betas\.npy\): no file says how wide .*; give --field-of-view-deg"):
            rows_with_pictures(dataset, Choices(), Listener())


# ---------------------------------------------------------------------- pictures


def test_pictures(lab):
    path, own = lab.write_npy(), {"table": lab.write_table()}
    refused(MissingDataError, "does not exist; give the folder with the pictures", path, own=own, images=lab.folder / "none", names="none")
    (lab.folder / "empty").mkdir()
    refused(DataFormatError, "holds no image files", path, own=own, images=lab.folder / "empty", names="empty")
    stack = lab.folder / "stack.npy"
    np.save(stack, np.zeros((16, 4, 4, 3), np.float32))
    refused(
        DataFormatError,
        "expected 8-bit pictures (pictures, height, width, 3), got float32 (16, 4, 4, 3)",
        path,
        own=own,
        images=stack,
        names="stack.npy",
    )
    np.save(stack, np.zeros((15, 4, 4, 3), np.uint8))
    with READERS["own"].open(path, Choices(own=own, images=stack)) as dataset:
        assert dataset.pictures.missing(["0014", "0015"]) == ["0015"]
    counted = {"table": lab.write_table(image=[int(name) + 1 for name in lab.table["stimulus_id"]])}
    np.save(stack, np.zeros((16, 4, 4, 3), np.uint8))
    refused(
        DataFormatError, "has 16 pictures, the table counts from 1 to 16; count from 0", path, own=counted, images=stack, names="stack.npy"
    )
    named = {"table": lab.write_table(image=[f"a{name}" for name in lab.table["stimulus_id"]])}
    refused(DataFormatError, "pictures are found by number, the table calls one 'a0000'", path, own=named, images=stack, names="stack.npy")
