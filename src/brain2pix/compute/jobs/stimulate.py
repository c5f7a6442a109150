"""Change the responses of a region and look at the reconstruction."""

from typing import TYPE_CHECKING

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import decode_images, open_run
from brain2pix.compute.live import LiveDecoder, change
from brain2pix.files import atomic_folder, write_json
from brain2pix.training.pictures import tile, write_png

if TYPE_CHECKING:
    from brain2pix.config.run import StimulateParams


def prepare(params: "StimulateParams") -> Prepared:
    """Load system and subject, find the voxels and the responses."""
    trained = open_run(params.run, params.subject, params.device)
    decoder = LiveDecoder(trained)
    values = decoder.base(params.stimulus)
    mask = decoder.mask(params.region)
    changed = change(values, mask, params.mode, params.amplitude)

    def run(context: JobContext) -> None:
        with memory_reported(trained.device, params), context.stage("stimulate"):
            before, after = decode_images(trained.method, np.stack([values, changed]), trained.device, context.cancel)
            difference = np.abs(after.astype(np.int16) - before).astype(np.uint8)
            with atomic_folder(context.folder.results) as beside:
                for name, image in (("before", before), ("after", after), ("difference", difference)):
                    write_png(beside / f"{name}.png", image)
                write_png(beside / "comparison.png", tile(np.stack([before, after, difference])))
                write_json(beside / "stimulation.json", {**about, "mean_absolute_change": float(difference.mean() / 255)})

    about = {
        **trained.describe(),
        "stimulus": params.stimulus,
        "region": params.region,
        "mode": params.mode,
        "amplitude": params.amplitude,
        "n_stimulated": int(mask.sum()),
        "statement": "microstimulation of the model, not of a brain",
    }
    return Prepared(about, run)
