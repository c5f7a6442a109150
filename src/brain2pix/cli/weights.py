"""``brain2pix weights``."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from brain2pix.cli._options import Device, Out, Seed, Set, parse_changes

weights = App(name="weights", help="Feature networks: which there are, and how the bundled one is made.", help_format="plaintext")


@weights.command(name="list")
def list_weights() -> int:
    """List feature networks, with licence and where the file comes from."""
    from brain2pix.models.weights import card_names, read_card, weights_folder

    for name in card_names():
        card = read_card(name)
        place = "bundled" if card.bundled else str(weights_folder() / card.file)
        there = card.bundled or (weights_folder() / card.file).is_file()
        print(f"{name:10} {card.title}\n{'':10} {'here' if there else 'missing'}: {place}")
        print(f"{'':10} source {card.source}\n{'':10} licence {card.licence}\n{'':10} sha256 {card.sha256}")
    return 0


@weights.command
def train(
    *,
    n_images: Annotated[int, Parameter(help="Training images; test and validation photos are never among them.")] = 8000,
    image_size: Annotated[int, Parameter(help="Their edge [px].")] = 64,
    seed: Seed = 0,
    device: Device = "auto",
    out: Out = None,
    set_: Set = None,
) -> int:
    """Train the bundled backbone anew. Copy tiny.safetensors and tiny.toml to resources/backbones to use it."""
    from brain2pix.cli._job import run_job

    params = {"n_images": n_images, "image_size": image_size, "seed": seed, "device": device, "settings": parse_changes(set_)}
    folder = out or Path("runs") / f"backbone-{seed}"
    return run_job("backbone", params, folder, done=f"done: {folder / 'results'}")
