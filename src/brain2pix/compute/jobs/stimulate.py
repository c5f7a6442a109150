"""Change the responses of a region and look at the reconstruction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import memory_reported
from brain2pix.compute.jobs._inputs import open_run
from brain2pix.compute.stimulator import Stimulator, change
from brain2pix.errors import ConfigError
from brain2pix.files import atomic_folder, write_json
from brain2pix.stimulation import check_record, make_record, read_record, write_record
from brain2pix.training.pictures import tile, write_png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from brain2pix.config.run import StimulateParams
    from brain2pix.config.stimulation import Mode

SAID_BY_A_RECORD = ("stimulus", "repeat", "split", "region", "mode", "amplitude")
RECORD = "record.json"


@dataclass(frozen=True)
class _Asked:
    """One stimulation, from the parameters or from a record."""

    stimulus: str
    repeat: int | None
    split: str | None
    region: str
    mask: "NDArray[np.bool_]"
    mode: "Mode"
    amplitude: float


def prepare(params: "StimulateParams") -> Prepared:
    """Load system and subject, find the voxels and the responses."""
    trained = open_run(params.run, params.subject, params.device)
    stimulator = Stimulator(trained)
    asked = _from_record(params, stimulator) if params.record else _from_params(params, stimulator)
    base = stimulator.base(asked.stimulus, asked.repeat, asked.split)
    changed = change(base, asked.mask, asked.mode, asked.amplitude)

    def run(context: JobContext) -> None:
        with memory_reported(trained.device, params), context.stage("stimulate"):
            before, after = (stimulator.picture(values, asked.stimulus) for values in (base, changed))
            difference = np.abs(after.astype(np.int16) - before).astype(np.uint8)
            distance = stimulator.distance(base, changed)
            record = make_record(
                stimulator.info,
                asked.mask,
                asked.mode,
                asked.amplitude,
                method=trained.method.name,
                base=asked.stimulus,
                region=asked.region,
                repeat=asked.repeat,
                split=asked.split,
                model=str(trained.path),
                excess=distance.get("excess"),
                percentile=distance.get("percentile"),
            )
            with atomic_folder(context.folder.results) as beside:
                for name, image in (("before", before), ("after", after), ("difference", difference)):
                    write_png(beside / f"{name}.png", image)
                write_png(beside / "comparison.png", tile(np.stack([before, after, difference])))
                write_record(beside / RECORD, record)
                write_json(
                    beside / "stimulation.json",
                    {**about, "mean_absolute_change": float(difference.mean() / 255), "distance": distance},
                )

    about: dict[str, Any] = {
        **trained.describe(),
        "stimulus": asked.stimulus,
        "repeat": asked.repeat,
        "split": asked.split,
        "region": asked.region,
        "mode": asked.mode,
        "amplitude": asked.amplitude,
        "n_stimulated": int(asked.mask.sum()),
        "statement": "microstimulation of the model, not of a brain",
    }
    if params.record:
        about["replayed"] = str(params.record)
    return Prepared(about, run)


def _from_params(params: "StimulateParams", stimulator: Stimulator) -> _Asked:
    mask = stimulator.mask(params.region)
    return _Asked(params.stimulus, params.repeat, params.split, params.region, mask, params.mode, params.amplitude)


def _from_record(params: "StimulateParams", stimulator: Stimulator) -> _Asked:
    """Read what a record says; refused if the parameters say something too, or if it speaks of other voxels."""
    assert params.record is not None
    both = [name for name in SAID_BY_A_RECORD if name in params.model_fields_set]
    if both:
        raise ConfigError(f"a record says what is stimulated and how: give either it or {', '.join(both)}")
    record = read_record(params.record)
    check_record(record, stimulator.info)
    return _Asked(record.base, record.repeat, record.split, record.region, record.mask(), record.mode, record.amplitude)
