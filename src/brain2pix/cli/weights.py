"""``brain2pix weights``."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from brain2pix.cli._options import Device, Out, Seed, Set, parse_changes

weights = App(
    name="weights",
    help="Feature networks: which there are, where their weights come from, and how the bundled one is made.",
    help_format="plaintext",
)


@weights.command(name="list")
def list_weights() -> int:
    """List feature networks, with licence and where the file comes from."""
    from brain2pix.models.weights import card_names, read_card, weights_folder

    for name in card_names():
        card = read_card(name)
        place = "bundled" if card.bundled else str(weights_folder() / card.file)
        there = card.bundled or (weights_folder() / card.file).is_file()
        print(f"{name:13} {card.title}\n{'':13} {'here' if there else 'missing'}: {place}")
        print(f"{'':13} source {card.source}\n{'':13} licence {card.licence}\n{'':13} sha256 {card.sha256 or 'not known'}")
    return 0


@weights.command
def fetch(
    name: Annotated[str, Parameter(help="Network: vgg16, vgg19, alexnet or alexnet-caffe.")],
    /,
    *,
    yes: Annotated[bool, Parameter(help="Do not ask.", negative="")] = False,
) -> int:
    """Download a published weight file, after asking; a broken download goes on where it stopped."""
    from brain2pix.cli._progress import drawn
    from brain2pix.models.weights import download_weights, read_card, weights_folder

    card = read_card(name)
    target = weights_folder() / card.file
    if not card.bundled and not target.is_file():
        print(f"{card.title}\nfrom      {card.source}\nto        {target}\nlicence   {card.licence}")
        if not yes and not _agreed():
            print("nothing was fetched")
            return 1
    with drawn() as sink:
        path = download_weights(name, sink=sink)
    print(_there(path))
    return 0


@weights.command
def add(
    file: Annotated[Path, Parameter(help="Weight file as its publisher gives it.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Network. Default: told by the file's name or its SHA-256.")] = None,
) -> int:
    """Copy a published weight file that you have to where it is looked for, if it is the one on its card."""
    from brain2pix.models.weights import add_weights

    print(_there(add_weights(file, name)))
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


def _there(path: Path) -> str:
    from brain2pix.models.weights import card_names, read_card

    known = any(card.file == path.name and card.sha256 for card in map(read_card, card_names()))
    return f"here and as on its card: {path}" if known else f"here, of the right layout (no SHA-256 is known): {path}"


def _agreed() -> bool:
    from brain2pix.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError("a download needs a yes, and there is no terminal to ask in; give --yes")
    return input("Download it? [y/N] ").strip().lower() in ("y", "yes")
