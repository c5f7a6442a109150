"""Train the bundled backbone anew, on images that may be used for training."""

from typing import TYPE_CHECKING

from brain2pix.compute.context import JobContext, Prepared
from brain2pix.compute.device import choose_device, memory_reported
from brain2pix.config.base import build, nest
from brain2pix.config.models import BackboneTrainingSettings

if TYPE_CHECKING:
    from brain2pix.config.run import BackboneParams


def prepare(params: "BackboneParams") -> Prepared:
    """Resolve the settings."""
    settings = build(BackboneTrainingSettings, nest({**params.settings, "seed": params.seed}))
    device = choose_device(params.device)

    def run(context: JobContext) -> None:
        from brain2pix.simulation.images import PHOTO_SOURCES, permitted_images
        from brain2pix.training.backbone import train_backbone

        with context.stage("images"):
            images = permitted_images(params.n_images, params.image_size, params.seed)
        command = f"brain2pix weights train --n-images {params.n_images} --image-size {params.image_size} --seed {params.seed}"
        changes = " ".join(f"--set {key}={value}" for key, value in params.settings.items())
        with memory_reported(device, settings):
            train_backbone(
                images,
                context.folder.results,
                settings,
                context.sink,
                context.cancel,
                device,
                sources=[*PHOTO_SOURCES["train"], "dead leaves"],
                command=f"{command} {changes}".strip(),
            )

    return Prepared({**params.model_dump(mode="json"), "training": settings.model_dump(mode="json"), "device": str(device)}, run)
