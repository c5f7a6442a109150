"""A laboratory's own files: what is planted at a voxel and a trial is found there, whatever form it comes in."""

from contextlib import contextmanager

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from lab import AFFINE, GRID, Lab, planted
from published import MATLAB_73

from brain2pix.config.importing import Choices
from brain2pix.data.readers import READERS, choose_reader, own_gathered, own_responses, sniff
from brain2pix.data.readers.importing import Listener, import_dataset
from brain2pix.data.subject import open_subject
from brain2pix.errors import DataFormatError, MissingDataError
from brain2pix.events import Message

OWN = ("table", "regions", "mask", "anatomy", "surfaces", "dataset", "voxel_order", "unit")


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def choices(**given):
    """Choices, with those for one's own files given by their bare names; the pictures are 8 degrees wide."""
    own = {name: given.pop(name) for name in OWN if name in given}
    splits = {name: given.pop(name) for name in ("by", "test_share", "validation_share", "seed") if name in given}
    return Choices(**{"field_of_view_deg": 8, "own": own, "splits": splits, **given})


@contextmanager
def opened(path, **given):
    with READERS["own"].open(path, choices(**given)) as dataset:
        yield dataset


def read_all(dataset):
    return np.concatenate(
        [dataset.responses.read(start, min(start + 7, dataset.responses.shape[1])) for start in range(0, dataset.responses.shape[1], 7)],
        axis=1,
    )


def assert_planted(dataset, lab):
    """Each voxel has the values of its place, each trial those of its row, and every voxel of the mask is there once."""
    i, j, k = dataset.placement.ijk.T
    expected = planted(np.arange(lab.n_trials)[:, None], i, j, k)
    np.testing.assert_array_equal(read_all(dataset), expected.astype(np.float32))
    assert {tuple(one) for one in dataset.placement.ijk} == {tuple(one) for one in np.argwhere(lab.mask)}
    assert len(dataset.placement.ijk) == lab.n_voxels


# ---------------------------------------------------------------------- responses


@pytest.mark.parametrize("name", ["betas.nii", "betas.nii.gz"])
def test_series_with_mask(lab, name):
    with opened(lab.write_nifti(name), table=lab.write_table(), mask=lab.write_mask()) as dataset:
        assert_planted(dataset, lab)
        np.testing.assert_allclose(
            dataset.placement.space.to_world(dataset.placement.ijk), nibabel.affines.apply_affine(AFFINE, dataset.placement.ijk)
        )
        x = nibabel.affines.apply_affine(AFFINE, dataset.placement.ijk)[:, 0]
        np.testing.assert_array_equal(dataset.placement.hemi, np.where(x < 0, "L", "R"))


def test_scaled_integers(lab):
    """What is stored as int16 with a slope comes out in its own unit."""
    stored = np.round(lab.series / 2).astype(np.int16)
    image = nibabel.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(2.0, 0.0)
    # nibabel keeps a slope only if the numbers are written by hand
    path = lab.folder / "betas.nii"
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([2.0, 0.0], "<f4").tobytes()
    path.write_bytes(bytes(raw))
    truth = nibabel.load(path).get_fdata()
    assert truth.max() > stored.max()
    with opened(path, table=lab.write_table(), mask=lab.write_mask()) as dataset:
        np.testing.assert_array_equal(read_all(dataset), truth[tuple(dataset.placement.ijk.T)].T.astype(np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("form", ["npy", "hdf5", "chunked"])
def test_matrix_in_the_order_of_a_mask(lab, order, turned, form):
    matrix = lab.matrix(order).T if turned else lab.matrix(order)
    if form == "npy":
        path = lab.write_npy(array=matrix)
    elif form == "hdf5":
        path = lab.write_hdf5(data__betas=matrix, other=np.zeros((3, 3)))
    else:
        path = lab.folder / "betas.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("betas", data=matrix, chunks=(4, 5), compression="gzip")
    with opened(path, table=lab.write_table(), mask=lab.write_mask(), voxel_order=order) as dataset:
        assert_planted(dataset, lab)
        assert any("first axis fastest" in note for note in dataset.notes) == (order == "F")


def test_fortran_npy(lab):
    with opened(lab.write_npy(array=np.asfortranarray(lab.matrix())), table=lab.write_table(), mask=lab.write_mask()) as dataset:
        assert_planted(dataset, lab)


@pytest.mark.parametrize("axis", [0, 3])
@pytest.mark.parametrize("matlab", [False, True])
def test_series_in_hdf5(lab, axis, matlab):
    array = np.moveaxis(lab.series, 3, axis)
    path = lab.write_hdf5(volumes=array.T if matlab else array)  # MATLAB's files have all axes the other way round
    if matlab:
        with h5py.File(path, "a") as file:
            file["volumes"].attrs["MATLAB_class"] = np.bytes_("double")
    with opened(path, table=lab.write_table(), mask=lab.write_mask()) as dataset:
        assert_planted(dataset, lab)
    with opened(path, table=lab.write_table()) as dataset:
        assert not dataset.placement.has_world and dataset.responses.shape == (lab.n_trials, np.prod(GRID))


def test_matlab_73(lab):
    """MATLAB's files have a header of their own, and matrices the other way round."""
    path = lab.folder / "betas.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["betas"] = lab.matrix("F").T
        file["betas"].attrs["MATLAB_class"] = np.bytes_("double")
        file["#refs#/a"] = lab.matrix()
    raw = path.read_bytes()
    path.write_bytes(MATLAB_73.ljust(124) + b"\x00\x02IM" + raw[128:])
    with opened(path, table=lab.write_table(), mask=lab.write_mask(), voxel_order="F") as dataset:
        assert_planted(dataset, lab)


def test_spans_that_do_not_fit_at_once(lab, monkeypatch):
    """With room for ten voxels at a time the file is gone through several times, and nothing changes."""
    monkeypatch.setattr(own_gathered, "GATHER_BYTES", 4 * lab.n_trials * 10)
    monkeypatch.setattr(own_responses, "BLOCK_BYTES", 8 * np.prod(GRID) * 5)
    with opened(lab.write_nifti(), table=lab.write_table(), mask=lab.write_mask()) as dataset:
        assert_planted(dataset, lab)
    wide = np.tile(lab.matrix(), (1, 40))
    path = lab.folder / "wide.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=wide, chunks=(2, wide.shape[1]), compression="gzip")
    with opened(path, table=lab.write_table()) as dataset:
        np.testing.assert_array_equal(read_all(dataset), wide.astype(np.float32))


def test_voxels_without_a_mask(lab):
    volumes, table = lab.write_nifti(), lab.write_table()
    areas = [lab.save(f"{name}.nii.gz", mask) for name, mask in lab.areas.items()]
    with opened(volumes, table=table, regions=areas[:1]) as dataset:
        assert {tuple(one) for one in dataset.placement.ijk} == {tuple(one) for one in np.argwhere(lab.areas["V1"])}
        assert "no mask: the voxels of all areas are taken" in dataset.notes
    still = np.where(lab.mask[..., None], lab.series, 5.0)
    still[0, 0, 0] = np.nan
    with opened(lab.save("still.nii.gz", still.astype(np.float32)), table=table) as dataset:
        assert {tuple(one) for one in dataset.placement.ijk} == {tuple(one) for one in np.argwhere(lab.mask)} - {(0, 0, 0)}
        assert any(f"the {len(dataset.placement.ijk)} voxels whose responses vary" in note for note in dataset.notes)


def test_matrix_without_places(lab):
    np.save(lab.folder / "lh.V1.npy", np.arange(lab.n_voxels) < 9)
    with opened(lab.write_npy(), table=lab.write_table(), regions=(lab.folder / "lh.V1.npy",)) as dataset:
        assert not dataset.placement.has_world
        assert dataset.areas["V1"].sum() == 9 and (dataset.placement.hemi[:9] == "L").all() and (dataset.placement.hemi[9:] == "n/a").all()
        assert "no coordinates" in "\n".join(dataset.lines())


# ---------------------------------------------------------------------- table


def test_ids_stay_text(lab):
    table = lab.table.replace({"stimulus_id": {"0001": "1"}})
    table.to_csv(lab.folder / "trials.csv", index=False)
    with opened(lab.write_npy(), table=lab.folder / "trials.csv") as dataset:
        assert list(dataset.trials["stimulus_id"]) == list(table["stimulus_id"])
        assert {"1", "0000"} <= set(dataset.stimuli["stimulus_id"])
        assert list(dataset.trials["run"]) == list(table["run"])
        assert list(dataset.trials["repeat"]) == (table.groupby("stimulus_id").cumcount() + 1).tolist()
        assert dataset.stimuli.set_index("stimulus_id").loc["0003", "category"] == "c3"


def test_events_of_bids(lab):
    files = [f"stimuli/{'a' if int(name) % 2 else 'b'}/{name}.png" for name in lab.table["stimulus_id"]]
    events = pd.DataFrame({"onset": np.arange(24) * 4.0, "duration": 2.0, "trial_type": lab.table["category"], "stim_file": files})
    events.assign(run="run-02", session="ses-01").to_csv(lab.folder / "betas.tsv", sep="\t", index=False)
    with opened(lab.write_npy(), by="image", test_share=0.25) as dataset:
        assert list(dataset.trials["stimulus_id"]) == [name.removeprefix("stimuli/").removesuffix(".png") for name in files]
        assert list(dataset.trials["category"]) == list(lab.table["category"])
        assert set(dataset.trials["run"]) == {2} and list(dataset.trials["onset"]) == list(events["onset"])
        assert "trial_type of betas.tsv is taken as the category of the images" in dataset.notes


def test_trial_type_may_be_the_split(lab):
    table = lab.write_table(trial_type=lab.table["split"].replace("test", "testing"), split=None)
    with opened(lab.write_npy(), table=table) as dataset:
        assert list(dataset.trials["split"]) == list(lab.table["split"])


def test_a_file_of_one_split(lab):
    with opened(lab.write_npy(), table=lab.write_table(split=None), split="test") as dataset:
        assert set(dataset.trials["split"]) == {"test"} and any(
            "no trial of trials.tsv has the split train" in note for note in dataset.notes
        )


def test_drawn_splits_win_over_the_column(lab):
    with opened(lab.write_npy(), table=lab.write_table(), by="category", test_share=0.25) as dataset:
        held = dataset.trials[dataset.trials["split"] == "test"]
        assert held["category"].nunique() == 1 and len(held) == (lab.table["category"] == held["category"].iloc[0]).sum()
        assert any("column split of trials.tsv is not used" in note for note in dataset.notes)


def test_runs_held_out_leave_their_images(lab):
    with opened(lab.write_npy(), table=lab.write_table(), mask=lab.write_mask(), by="run", test_share=0.3) as dataset:
        held = set(dataset.trials.loc[dataset.trials["split"] == "test", "run"])
        kept = np.array(
            [
                run in held or name not in set(lab.table["stimulus_id"][12:16])
                for run, name in zip(lab.table["run"], lab.table["stimulus_id"], strict=True)
            ]
        )
        assert len(held) == 1 and kept.sum() == 16 == len(dataset.trials)
        i, j, k = dataset.placement.ijk.T
        np.testing.assert_array_equal(read_all(dataset), planted(np.flatnonzero(kept)[:, None], i, j, k).astype(np.float32))
        assert any("8 trials of 4 images are left out" in note for note in dataset.notes)


# ---------------------------------------------------------------------- scaling, units, names


@pytest.mark.parametrize("within", ["run", "session"])
def test_zscore(lab, within, rng):
    matrix = rng.standard_normal((24, 30)) + 5
    session = np.repeat([1, 2], 12)
    with opened(lab.write_npy(array=matrix), table=lab.write_table(session=session), zscore=within) as dataset:
        assert dataset.unit == f"z-{within}"
        found = read_all(dataset)
    keys = [lab.table["split"], session, *([lab.table["run"]] if within == "run" else [])]
    for rows in lab.table.groupby(keys).indices.values():
        np.testing.assert_allclose(found[rows], scipy.stats.zscore(matrix[rows], axis=0), atol=1e-4)


def test_unit_and_subject(lab):
    path = lab.write_hdf5("sub-ab_betas.h5")
    with h5py.File(path, "a") as file:
        file.attrs["unit"] = "psc"
    with opened(path, table=lab.write_table()) as dataset:
        assert (dataset.unit, dataset.subject) == ("psc", "sub-ab")
    with opened(path, table=lab.write_table(), unit="z-run", subject="3") as dataset:
        assert (dataset.unit, dataset.subject) == ("z-run", "sub-03")
    (lab.folder / "sub-ab_betas.json").write_text('{"Units": "percent", "Simulated": true}')
    with opened(path, table=lab.write_table()) as dataset:
        assert dataset.unit == "a.u." and any("'percent'" in note for note in dataset.notes)
        assert dataset.simulated and "simulated" in dataset.lines()[0]


# ---------------------------------------------------------------------- pictures


def test_pictures_by_path_name_and_stem(lab):
    folder = lab.write_pictures()
    for told in ("{0}", "{0}.png", "odd/{0}.png", "somewhere/else/odd/{0}.png"):
        table = lab.write_table(image=[told.format(name) for name in lab.table["stimulus_id"]])
        with opened(lab.write_npy(), table=table, images=folder) as dataset:
            assert dataset.pictures.missing(list(lab.pictures)) == []
            for name, picture in lab.pictures.items():
                np.testing.assert_array_equal(dataset.pictures.read(name), picture)


def test_the_path_decides_between_files_of_one_name(lab):
    folder = lab.write_pictures()
    (folder / "more" / "odd").mkdir(parents=True)
    (folder / "more" / "odd" / "0001.png").write_bytes((folder / "even" / "0002.png").read_bytes())
    table = lab.write_table(image=["more/odd/0001.png" if name == "0001" else name for name in lab.table["stimulus_id"]])
    with opened(lab.write_npy(), table=table, images=folder) as dataset:
        np.testing.assert_array_equal(dataset.pictures.read("0001"), lab.pictures["0002"])
    with pytest.raises(DataFormatError, match="picture '0001' may be"), opened(lab.write_npy(), table=lab.write_table(), images=folder):
        pass


@pytest.mark.parametrize("form", ["npy", "h5"])
def test_stack_of_pictures(lab, form):
    stack = np.stack(list(lab.pictures.values()))
    path = lab.folder / f"stack.{form}"
    if form == "npy":
        np.save(path, stack)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("imgBrick", data=stack, chunks=(1, 16, 16, 3))
    with opened(lab.write_npy(), table=lab.write_table(), images=path) as dataset:
        assert dataset.pictures.missing(["0000", "0015"]) == []
        for name, picture in lab.pictures.items():
            np.testing.assert_array_equal(dataset.pictures.read(name), picture)


# ---------------------------------------------------------------------- into a folder, and sniffing


def test_import_opens_as_a_subject(lab):
    given = choices(mask=lab.write_mask(), table=lab.write_table(), images=lab.write_pictures(), unit="z-run")
    regions = tuple(lab.save(f"{name}.nii.gz", mask) for name, mask in lab.areas.items())
    given = given.model_copy(update={"own": given.own.model_copy(update={"regions": regions})})
    with READERS["own"].open(
        lab.write_npy(order="F"), given.model_copy(update={"own": given.own.model_copy(update={"voxel_order": "F"})})
    ) as dataset:
        import_dataset(dataset, lab.folder / "out", given)
    subject = open_subject(lab.folder / "out")
    i, j, k = subject.ijk.T
    np.testing.assert_array_equal(subject.responses(), planted(np.arange(24)[:, None], i, j, k).astype(np.float32))
    for name, mask in lab.areas.items():
        np.testing.assert_array_equal(subject.areas[name], mask[i, j, k])
    np.testing.assert_array_equal(subject.images(list(lab.pictures)), np.stack(list(lab.pictures.values())))
    assert subject.unit == "z-run" and subject.field_of_view_deg == 8 and list(subject.trials["split"]) == list(lab.table["split"])


def test_missing_pictures_are_left_out_if_asked(lab, events):
    folder = lab.write_pictures()
    (folder / "odd" / "0013.png").unlink()
    given = choices(table=lab.write_table(), images=folder, mask=lab.write_mask(), missing="skip", unit="z-run")
    with READERS["own"].open(lab.write_npy(), given) as dataset:
        with pytest.raises(MissingDataError, match=r"1 of 16 stimuli have no picture: 0013; .* --missing skip"):
            import_dataset(dataset, lab.folder / "out", choices())
        import_dataset(dataset, lab.folder / "out", given, Listener(events))
    assert any(event.text == "3 trials of 1 stimuli without a picture are left out" for event in events.of(Message))
    subject = open_subject(lab.folder / "out")
    i, j, k = subject.ijk.T
    kept = np.flatnonzero(lab.table["stimulus_id"] != "0013")
    np.testing.assert_array_equal(subject.responses(), planted(kept[:, None], i, j, k).astype(np.float32))


def test_sniff(lab):
    paths = [lab.write_npy(), lab.write_hdf5(), lab.write_nifti("betas.nii.gz"), lab.write_nifti("betas.nii")]
    for path in paths:
        assert sniff(path) is None
    lab.write_table("betas.tsv")
    for path in paths:
        kind, found = sniff(path)
        assert kind == "own" and "betas.tsv" in found.text and choose_reader("auto", path) is READERS["own"]
    (lab.folder / "betas.tsv").write_text("index\tname\n1\tV1\n")  # the table of a label volume
    assert sniff(paths[0]) is None
    with pytest.raises(DataFormatError, match=r"brain2pix import own betas\.npy OUT --table"):
        choose_reader("auto", paths[0])
