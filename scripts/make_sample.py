"""Make the trained simulated subject that ships with the program: resources/sample/simulated-subject.tar.xz.

usage: .venv/bin/python scripts/make_sample.py [--work FOLDER] [--out FILE]      (about ten minutes on two cores)

The commands are those of any user: simulate, train, maps, decode, evaluate. To fit the size limit

- the subject has no images of faces and other categories, and none without responses (retino then takes its training images);
- responses are rounded to a quarter of their standard deviation and stimuli are kept as JPEG, before anything is trained on them;
- the weights of the trained system are rounded, before anything is mapped, decoded or scored with it.

So what the window shows of the sample is what this model makes of these responses. A folder that an earlier call left is gone on with.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import torch

from brain2pix.files import write_json
from brain2pix.simulation.packed import pack
from brain2pix.simulation.photos import PHOTO_SOURCES
from brain2pix.training.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
OUT = ROOT / "resources" / "sample" / "simulated-subject.tar.xz"
MOST_BYTES = 2_000_000
SEED = 0
SUBJECT = {
    "image_size": 48,
    "n_train": 480,
    "n_validation": 8,
    "n_category_train": 0,
    "n_category_test": 0,
    "n_repeats": 16,
    "n_unpaired": 16,  # the least there can be; they are removed
}
SETTINGS = {
    "decoder.linear": {"size": 24, "blocks": 12, "error_shares": [0.1], "averaged_trials": SUBJECT["n_repeats"]},
    "decoder.channels": [12, 16, 24],
    "decoder.top_channels": 8,
}
RESPONSE_STEP = 0.25  # [standard deviations of the training responses]; a power of two, as all steps here
STEPS_PER_SD = 8  # of a tensor of weights
SMALL = 1000  # numbers; tensors below are left as they are
SPREAD = ("encoder.summary",)  # whose columns have units of their own
JPEG_QUALITY = 85
NOT_SHIPPED = ("checkpoints", "output.log", ".lock")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("sample-work"), help="folder for everything on the way")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    work, out = options.work.absolute(), options.out.absolute()
    make_run(work)
    shipped = gather(work)
    size = pack(shipped, out)
    print(f"{out}: {size:,} bytes")
    if size > MOST_BYTES:
        out.unlink()
        sys.exit(f"that is more than {MOST_BYTES:,} bytes; nothing was left there")


def make_run(work: Path) -> None:
    """Run the commands whose results are not there."""
    subject, run = work / "subject", work / "run"
    if not (work / "subject-slim").exists():
        for leftover in (subject, work / "subject-truth"):
            shutil.rmtree(leftover, ignore_errors=True)
        command("simulate", subject, "--preset", "tiny", "--seed", SEED, *(f"--set={key}={value}" for key, value in SUBJECT.items()))
        slim(subject)
        (work / "subject-slim").touch()
    if not (work / "rounded").exists():
        settings = (f"--set={key}={json.dumps(value)}" for key, value in SETTINGS.items())
        command("train", subject, "--method", "retino", "--preset", "demo", "--seed", SEED, "--device", "cpu", "--out", run, *settings)
        round_weights(run)
        (work / "rounded").touch()
    for verb in ("maps", "decode", "evaluate"):
        command(verb, run, "--device", "cpu")


def command(*words: object) -> None:
    print("brain2pix", *words, flush=True)
    subprocess.run([sys.executable, "-m", "brain2pix.cli", *map(str, words)], check=True)


def slim(subject: Path) -> None:
    """Round the responses, keep stimuli as JPEG, remove images without responses."""
    (betas,) = subject.rglob("*_betas.h5")
    with h5py.File(betas, "r+") as file:
        file["betas"][...] = np.round(file["betas"][()] / RESPONSE_STEP) * RESPONSE_STEP + 0.0  # which turns -0.0 into 0.0
    (subject / "stimuli" / "unpaired.npy").unlink()
    for picture in sorted((subject / "stimuli").rglob("*.png")):
        iio.imwrite(picture.with_suffix(".jpg"), iio.imread(picture), quality=JPEG_QUALITY, optimize=True)
        picture.unlink()
    for table in subject.rglob("*.tsv"):
        table.write_text(table.read_text(encoding="utf-8").replace(".png", ".jpg"), encoding="utf-8")


def round_weights(run: Path) -> None:
    """Round each large tensor to multiples of a power of two."""
    folder = RunFolder(run)
    method = folder.load_model("cpu")
    state = {name: rounded(name, values) for name, values in method.state_dict().items()}
    method.load_state_dict(state)
    folder.save_model(method)


def rounded(name: str, values: torch.Tensor) -> torch.Tensor:
    if values.dtype != torch.float32 or values.numel() < SMALL or name in SPREAD:
        return values
    step = 2.0 ** torch.floor(torch.log2(values.std() / STEPS_PER_SD)).item()
    return torch.round(values / step) * step + 0.0


def gather(work: Path) -> Path:
    """Lay subject and run into one folder, without what belongs to this machine."""
    shipped = work / "simulated-subject"
    shutil.rmtree(shipped, ignore_errors=True)
    shutil.copytree(work / "run", shipped, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    shutil.copytree(work / "subject", shipped / "subject")
    keep_last_preview(shipped)
    for file in shipped.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".tsv", ".csv"):
            text = file.read_text(encoding="utf-8")
            up = Path(*[".."] * (len(file.relative_to(shipped).parts) - 1))
            for place, inside in (("run", up), ("subject", up / "subject")):
                text = text.replace(str(work / place), inside.as_posix())
            file.write_text(text.replace(str(work), "."), encoding="utf-8")
    for file in shipped.rglob("status.json"):
        write_json(file, {**json.loads(file.read_text(encoding="utf-8")), "host": "", "pid": 0, "process_started": 0})
    notes = {
        "made_by": "scripts/make_sample.py",
        "commit": said("git", "rev-parse", "--short", "HEAD"),
        "response_step": RESPONSE_STEP,
        "weight_steps_per_sd": STEPS_PER_SD,
        "jpeg_quality": JPEG_QUALITY,
        "photographs": {split: sorted(names) for split, names in PHOTO_SOURCES.items()},
    }
    write_json(shipped / "sample.json", notes)
    return shipped


def keep_last_preview(run: Path) -> None:
    """Remove the pictures made during training but the last, and what the record says of them."""
    *others, _ = sorted((run / "previews").iterdir())
    for picture in others:
        picture.unlink()
    record = (run / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    names = {picture.name for picture in others}
    kept = [line for line in record if Path(json.loads(line).get("path", "")).name not in names]
    (run / "events.jsonl").write_text("".join(kept), encoding="utf-8")


def said(*words: str) -> str:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
