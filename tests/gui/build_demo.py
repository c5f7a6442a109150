"""Make a small demo folder around a simulated subject: a trained ridge model, maps and reconstructions. Run as a child process.

The map holds the true receptive fields: what the window shows can be checked against anatomy. Usage: build_demo.py DEMO
"""

import json
import sys
from pathlib import Path

import numpy as np

from brain2pix.arrays import RetinotopicMap
from brain2pix.compute.jobs._inputs import decode_images, open_run
from brain2pix.compute.runner import run_job
from brain2pix.compute.spec import JobSpec
from brain2pix.data.maps import write_maps
from brain2pix.data.splits import evaluation_set
from brain2pix.data.subject import open_subject
from brain2pix.events import CancelToken, ignore
from brain2pix.simulation import load_truth


def main(demo: Path) -> None:
    subject_folder, run_folder = demo / "subject", demo / "runs" / "ridge"
    subject, truth = open_subject(subject_folder), load_truth(subject_folder)
    assert truth is not None
    index = subject.select("V1 + V2 + V3 - outside")
    quality = np.linspace(0.05, 0.95, index.size).astype(np.float32)[np.random.default_rng(0).permutation(index.size)]
    parts = (np.asarray(values[index], dtype=np.float32) for values in (truth.x0_deg, truth.y0_deg, truth.size_deg))
    write_maps(demo / "maps", RetinotopicMap(*parts, quality, subject.field_of_view_deg, "held-out r", "the truth"), subject, index)
    run_job(JobSpec("train", {"subject": str(subject_folder), "method": "ridge", "preset": "tiny"}, run_folder), ignore, CancelToken())
    run = open_run(run_folder / "model", subject_folder, "cpu")
    test = evaluation_set(run.subject, run.voxel_index)
    (demo / "results").mkdir()
    np.savez_compressed(
        demo / "results" / "reconstructions.npz",
        stimulus_ids=np.array(test.stimulus_ids),
        stimuli=test.images,
        reconstructions=decode_images(run.method, test.responses, run.device, CancelToken()),
    )
    (demo / "demo.json").write_text(json.dumps({"preset": "tiny", "seed": 0, "method": "ridge"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
