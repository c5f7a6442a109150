"""Make the pictures of the README from the folder that `brain2pix demo` wrote.

usage: .venv/bin/python scripts/screenshots.py [DEMO_FOLDER]      (default: brain2pix-demo)

The window runs on a virtual display of its own, so the pictures do not depend on the desktop.
"""

import argparse
import shutil
from pathlib import Path

from brain2pix.cli._window import photograph_window

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
# name in docs/images: name in the figures of the demo
FIGURES = {"figure_maps.png": "maps_angle.png", "figure_reconstructions.png": "reconstructions.png"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", nargs="?", type=Path, default=Path("brain2pix-demo"), help="folder written by brain2pix demo")
    demo = parser.parse_args().demo.resolve()
    if not (demo / "scores.json").is_file():
        parser.error(f"{demo} holds no scores.json; run `make demo` first, or give the folder of a finished demo")
    IMAGES.mkdir(parents=True, exist_ok=True)
    photograph_window(demo, IMAGES / "window.png")
    for name, figure in FIGURES.items():
        shutil.copyfile(demo / "figures" / figure, IMAGES / name)
    for path in sorted(IMAGES.glob("*.png")):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
