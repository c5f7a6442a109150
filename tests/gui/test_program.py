"""``python -m napari_brain2pix`` as its users start it."""

import subprocess
import sys

import numpy as np
from imageio.v3 import imread

WITHOUT_QT = """
import sys

class NoQt:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("PyQt5", "PyQt6", "PySide2", "PySide6"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoQt())
"""


def test_a_picture_of_the_whole_window_without_torch_in_it(demo, tmp_path) -> None:
    picture = tmp_path / "pictures" / "window.png"
    code = f"""
import sys
from napari_brain2pix.__main__ import main
code = main([{str(demo)!r}, "--screenshot", {str(picture)!r}])
assert "torch" not in sys.modules, "the window must not load torch"
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    pixels = imread(picture)[..., :3].astype(int)
    height, width, _ = pixels.shape
    assert width >= 1500 and height >= 900
    # the brain is on the canvas (colours), pictures are in the bottom dock (bright), the dock is at the right (legend)
    colourful = (pixels.max(axis=2) - pixels.min(axis=2)) > 80
    assert colourful[: height // 2, int(0.25 * width) : int(0.75 * width)].mean() > 0.01
    assert pixels[int(0.78 * height) : int(0.92 * height), int(0.02 * width) : int(0.45 * width)].std() > 15
    assert colourful[int(0.2 * height) : int(0.6 * height), int(0.8 * width) :].mean() > 0.05
    assert np.unique(pixels.reshape(-1, 3), axis=0).shape[0] > 2000


def test_a_folder_that_cannot_be_opened_is_one_line_and_an_exit_code(tmp_path) -> None:
    command = [sys.executable, "-m", "napari_brain2pix", str(tmp_path / "none"), "--screenshot", str(tmp_path / "window.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "does not exist" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "window.png").exists()


def test_without_a_qt_binding_it_says_what_to_install() -> None:
    code = WITHOUT_QT + "from napari_brain2pix.__main__ import main\nsys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == 'pip install "napari-brain2pix[pyqt5]"'


def test_without_a_qt_binding_the_plugin_says_the_same() -> None:
    code = WITHOUT_QT + "import napari_brain2pix.widgets.dock"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr.strip().endswith('MissingDependencyError: pip install "napari-brain2pix[pyqt5]"')
