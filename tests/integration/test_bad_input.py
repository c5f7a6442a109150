"""Bad input through the command line: one clear line on stderr, exit code 1, nothing half-written.

Importing the libraries takes seconds, so most commands run in the process of the tests, with both streams caught below Python. Some run
in one of their own: those whose disk is full, and a case of each kind of mistake, for what a library says at its start and end.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest

from brain2pix.cli._main import run_arguments

FUNC = "sub-01/func"


def process(*arguments):
    """Run the command in a process of its own."""
    code = "from brain2pix.cli import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)


@pytest.fixture
def brain2pix(capfd):
    """Give the command as a function; what libraries write below Python counts as said, too."""

    def run(*arguments):
        capfd.readouterr()
        code = run_arguments([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


def training(subject, out, *more):
    return "train", subject, "--method", "ridge", "--preset", "tiny", "--device", "cpu", "--out", out, *more


def only(folder, pattern):
    (found,) = Path(folder).glob(pattern)
    return found


def contents(folder):
    return {place.relative_to(folder): place.stat().st_size for place in folder.rglob("*") if place.is_file()}


def assert_refused(result, text, *, code=1):
    assert result.returncode == code, result.stdout + result.stderr
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("brain2pix: ")


# ---------------------------------------------------------------------- damages: each changes a copy of the tiny subject


def cut(file, share=0.6):
    with file.open("rb+") as handle:
        handle.truncate(int(file.stat().st_size * share))


def move_grid(file):
    image = nibabel.load(file)
    affine = image.affine.copy()
    affine[0, 3] += 8
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), file)


def coarser_grid(file):
    image = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[:-3], image.affine), file)


def drop_trials(file):
    file.write_text("\n".join(file.read_text().splitlines()[:-3]) + "\n")


def edit_betas(change):
    def damage(root):
        with h5py.File(only(root / FUNC, "*_betas.h5"), "r+") as file:
            change(file)

    return damage


def empty_trial(file):
    file["betas"][7] = np.nan


def remove_image(root):
    table = pd.read_csv(root / "stimuli" / "stimuli.tsv", sep="\t")
    (root / "stimuli" / table["file"][3]).unlink()


def cut_image(root):
    table = pd.read_csv(root / "stimuli" / "stimuli.tsv", sep="\t")
    cut(root / "stimuli" / table[table["split"] == "train"]["file"].iloc[0], 0.3)


def forget_stimulus(root):
    file = root / "stimuli" / "stimuli.tsv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:3] + lines[4:]) + "\n")


DAMAGES = {
    # missing
    "no folder": (lambda root: shutil.rmtree(root), "does not exist; give the folder of a dataset"),
    "no description": (lambda root: (root / "dataset_description.json").unlink(), "holds no dataset_description.json"),
    "no subject": (lambda root: shutil.rmtree(root / "sub-01"), "holds no subject folder"),
    "no responses": (lambda root: only(root / FUNC, "*_betas.h5").unlink(), "holds no single-trial responses"),
    "no stimulus table": (lambda root: (root / "stimuli" / "stimuli.tsv").unlink(), "stimuli.tsv does not exist"),
    "no label table": (lambda root: only(root / FUNC, "*_dseg.tsv").unlink(), "_dseg.tsv does not exist"),
    # truncated
    "truncated responses": (lambda root: cut(only(root / FUNC, "*_betas.h5")), "_betas.h5"),
    "truncated labels": (lambda root: cut(only(root / FUNC, "*_dseg.nii.gz")), "cannot be read: truncated"),
    "truncated table": (lambda root: cut(only(root / FUNC, "*_betas.tsv"), 0.502), "_betas.tsv"),
    "truncated JSON": (lambda root: cut(root / "dataset_description.json"), "is not valid JSON"),
    "truncated image": (cut_image, "cannot be read: truncated"),
    "truncated image stack": (lambda root: cut(root / "stimuli" / "unpaired.npy"), "unpaired.npy"),
    # grids, tables, stimuli
    "area on a moved grid": (
        lambda root: move_grid(only(root / FUNC, "*label-FFA_mask.nii.gz")),
        "corners lie up to 8 mm apart. Resample it",
    ),
    "area on another grid": (lambda root: coarser_grid(only(root / FUNC, "*_dseg.nii.gz")), "differs from betas"),
    "table of another length": (lambda root: drop_trials(only(root / FUNC, "*_betas.tsv")), "rows"),
    "a trial without a response": (edit_betas(empty_trial), "1 trials have no finite response (rows 8)"),
    "stimulus without image": (remove_image, "1 stimuli have no image in"),
    "stimulus without a row": (forget_stimulus, "1 stimuli of the trial table are not in"),
}


def assert_damage_is_refused(run, subject, tmp_path, damage):
    change, text = DAMAGES[damage]
    change(subject)
    before = contents(subject) if subject.exists() else {}
    assert_refused(run(*training(subject, tmp_path / "runs" / "one")), text)
    assert not (tmp_path / "runs").exists()
    assert (contents(subject) if subject.exists() else {}) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_subject(brain2pix, tiny_copy, tmp_path, damage):
    assert_damage_is_refused(brain2pix, tiny_copy, tmp_path, damage)


@pytest.mark.parametrize("damage", ["truncated responses", "truncated image"])
def test_damaged_subject_in_a_process_of_its_own(tiny_copy, tmp_path, damage):
    assert_damage_is_refused(process, tiny_copy, tmp_path, damage)


# ---------------------------------------------------------------------- voxels that are not finite


def spoil_voxels(area):
    """Give one trial of each voxel of an area a NaN."""

    def damage(root):
        mask = np.asarray(nibabel.load(only(root / FUNC, f"*label-{area}_mask.nii.gz")).dataobj) > 0
        with h5py.File(only(root / FUNC, "*_betas.h5"), "r+") as file:
            ijk = file["ijk"][:]
            for voxel in np.flatnonzero(mask[tuple(ijk.T)]):
                file["betas"][3, voxel] = np.nan
        return int(mask[tuple(ijk.T)].sum())

    return damage


def test_voxels_that_are_not_finite(brain2pix, tiny_copy, tmp_path):
    count = spoil_voxels("PPA")(tiny_copy)
    whole = f"{count} of 1280 voxels left out"
    # refused where they are asked for, and nothing else is left of the region
    assert_refused(brain2pix(*training(tiny_copy, tmp_path / "a", "--region", "PPA")), "region 'PPA' selects no voxel")
    # refused altogether if wished
    result = brain2pix(*training(tiny_copy, tmp_path / "b", "--nan", "error"))
    assert_refused(result, f"{count} of 1280 voxels")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    # left out, counted per area and recorded by default
    result = brain2pix(*training(tiny_copy, tmp_path / "c"))
    assert result.returncode == 0 and result.stderr == ""
    assert whole in result.stdout and f"PPA {count}" in result.stdout
    assert sum(whole in line for line in (tmp_path / "c" / "events.jsonl").read_text().splitlines()) == 1


# ---------------------------------------------------------------------- what the user types


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--region", "V1vv"], 1, "unknown area 'V1vv'. Did you mean 'V1v'?"),
        (["--region", "V1 - V1"], 1, "selects no voxel"),
        (["--region", "V1 +"], 1, "ends where an area name is expected"),
        (["--region", ""], 1, "region expression is empty"),
        (["--set", "folds=3"], 1, "unknown option 'folds'. Did you mean 'n_folds'?"),
        (["--set", "size=big"], 1, "option 'size'"),
        (["--image-sizes", "32"], 2, "Did you mean --image-size?"),
        (["--subject-name", "sub-02"], 1, "unknown subject 'sub-02'. Did you mean 'sub-01'?"),
    ],
)
def test_mistyped(brain2pix, tiny_subject, tmp_path, arguments, code, text):
    assert_refused(brain2pix(*training(tiny_subject, tmp_path / "run", *arguments)), text, code=code)
    assert list(tmp_path.iterdir()) == []


def test_mistyped_in_a_process_of_its_own(tiny_subject, tmp_path):
    result = process(*training(tiny_subject, tmp_path / "run", "--region", "V1vv"))
    assert_refused(result, "unknown area 'V1vv'. Did you mean 'V1v'?")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- a model and a subject that do not belong together


@pytest.fixture(scope="module")
def trained(tiny_subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run_arguments([str(argument) for argument in training(tiny_subject, folder)]) == 0
    return folder


@pytest.mark.parametrize("command", ["decode", "evaluate"])
def test_checkpoint_of_another_voxel_order(brain2pix, trained, tiny_copy, tmp_path, command):
    with h5py.File(only(tiny_copy / FUNC, "*_betas.h5"), "r+") as file:
        file["ijk"][:] = file["ijk"][:][::-1]
    result = brain2pix(command, trained, "--subject", tiny_copy, "--out", tmp_path / "out", "--device", "cpu")
    assert_refused(result, "It is a checkpoint of another subject or voxel order")
    assert not (tmp_path / "out").exists()


def test_checkpoint_of_another_subject(brain2pix, trained, tmp_path):
    other = tmp_path / "other"
    result = brain2pix("simulate", other, "--preset", "tiny", "--seed", "1", "--set", "individual=true", "--set", "voxel_mm=5")
    assert result.returncode == 0, result.stderr
    result = brain2pix("decode", trained, "--subject", other, "--out", tmp_path / "out", "--device", "cpu")
    assert_refused(result, "It is a checkpoint of another subject or voxel order")
    assert not (tmp_path / "out").exists()


def test_truncated_model(brain2pix, trained, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    cut(copy / "model" / "model.safetensors", 0.9)
    before = contents(copy)
    assert_refused(brain2pix("decode", copy, "--device", "cpu"), "model.safetensors is truncated or was changed")
    assert contents(copy) == before


def test_run_folder_of_another_job(brain2pix, trained, tiny_subject):
    before = contents(trained)
    assert_refused(
        brain2pix(*training(tiny_subject, trained, "--seed", "5")), "holds another job (seed was 0, now 5); choose another folder"
    )
    assert contents(trained) == before


def test_finished_run_says_so(brain2pix, trained, tiny_subject):
    before = contents(trained)
    result = brain2pix(*training(tiny_subject, trained))
    assert (result.returncode, result.stderr) == (0, "")
    assert "is finished already; nothing was done" in result.stdout
    assert contents(trained) == before


# ---------------------------------------------------------------------- a disk that is really full


@pytest.fixture
def small_disk(tmp_path):
    """Give a function that mounts a file system of some size, if this user may."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root; the tests with a size limit stand for it")
    mounted = []

    def make(size):
        place = tmp_path / f"disk-{size}"
        place.mkdir()
        result = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, check=False)
        if result.returncode != 0:
            pytest.skip("cannot mount a tiny file system here")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk_while_simulating(small_disk):
    disk = small_disk("1m")
    assert_refused(process("simulate", disk / "subject", "--preset", "tiny"), "no space left while writing")
    assert list(disk.iterdir()) == []


def test_full_disk_while_saving_a_model(small_disk, tiny_subject):
    disk = small_disk("256k")
    assert_refused(process(*training(tiny_subject, disk / "run")), "no space left while writing")
    run = disk / "run"
    assert not (run / "model").exists() and list(run.rglob(".writing-*")) == [] and list(run.glob("model*")) == []
    assert json.loads((run / "status.json").read_text())["state"] in ("failed", "running")


def test_full_disk_while_writing_results(small_disk, trained):
    disk = small_disk("64k")
    assert_refused(process("decode", trained, "--out", disk / "out", "--device", "cpu"), "no space left while writing")
    assert not (disk / "out" / "results").exists() and list(disk.rglob(".writing-*")) == []


@pytest.fixture
def largest_file():
    """Give a function that limits what this process may write to one file; the same without root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (before[1] if size is None else size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_size_limit_while_simulating(brain2pix, largest_file, tmp_path):
    largest_file(100_000)
    result = brain2pix("simulate", tmp_path / "subject", "--preset", "tiny")
    largest_file(None)
    assert_refused(result, "no space left while writing")
    assert list(tmp_path.iterdir()) == []


def test_size_limit_while_saving_a_model(brain2pix, largest_file, tmp_path, tiny_subject):
    command = training(tiny_subject, tmp_path / "run")
    largest_file(50_000)
    result = brain2pix(*command)
    largest_file(None)
    assert_refused(result, "no space left while writing")
    assert list((tmp_path / "run").glob("model*")) == []
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
    result = brain2pix(*command)  # the disk was tidied up: the same command goes on
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
