"""Jobs about a run that is trained: its maps and its reconstructions."""

from pathlib import Path

from brain2pix.compute.spec import JobSpec
from brain2pix.training.run_folder import RunFolder, model_description
from napari_brain2pix.folders.pictures import TEST, jobs_about


def maps_job(trained: Path) -> JobSpec:
    """Describe the job that reads the receptive fields of all voxels from a trained run."""
    # without an encoder, the fields are those places in the picture that a voxel changes
    side = "encoder" if model_description(trained)["has_encoder"] else "decoder"
    folder = trained / ("maps" if side == "encoder" else "decoder_maps")
    return JobSpec("maps", {"run": str(trained), "side": side, "device": _device(trained)}, folder)


def decode_job(trained: Path, split: str = TEST) -> JobSpec:
    """Describe the job that reconstructs the images of a split with a trained run."""
    return JobSpec("decode", {"run": str(trained), "split": split, "device": _device(trained)}, trained / f"decode-{split}")


def run_of(folder: Path) -> Path:
    """Run folder that a job is about: the trained run that it names, or its own."""
    about = RunFolder(folder).read_job().get("params", {}).get("run")
    return Path(about) if isinstance(about, str) and Path(about).is_dir() else folder


def trained_run_of(folder: Path | None) -> Path | None:
    """Run folder of the trained system that a job made or was about; None if there is none (yet)."""
    run = run_of(folder) if folder is not None else None
    return run if run is not None and (run / "model" / "model.json").is_file() else None


def has_maps(trained: Path) -> bool:
    """Whether its maps were made."""
    return any(job.exists() for name in ("maps", "decoder_maps") for job in jobs_about(trained, name))


def has_pictures(trained: Path) -> bool:
    """Whether its test images were reconstructed."""
    return any(job.exists() for job in jobs_about(trained, "decode-test"))


def _device(trained: Path) -> str:
    """Where the system was trained."""
    return str(RunFolder(trained).read_job().get("params", {}).get("device", "auto"))
