"""The Data step: what is inside a folder, a mirrored brain is noticed, and what one waits for is said before."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication, QFileDialog, QScrollArea, QStackedWidget, QVBoxLayout, QWidget

from brain2pix.arrays import RetinotopicMap
from brain2pix.cli._main import run_arguments
from brain2pix.data.maps import write_maps
from brain2pix.data.subject import open_subject
from brain2pix.errors import DataFormatError
from brain2pix.simulation import load_truth
from napari_brain2pix import _state
from napari_brain2pix._state import State
from napari_brain2pix.children.simulate import SampleMaker
from napari_brain2pix.folders.contents import contents
from napari_brain2pix.folders.workspace import open_workspace
from napari_brain2pix.widgets.data import DataPanel
from napari_brain2pix.widgets.head import SubjectHead

from .test_io import SHAPE, gifti, mesh_file, save_nifti


@pytest.fixture(scope="module")
def with_map(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a subject and a map of its true receptive fields, without a model."""
    folder = tmp_path_factory.mktemp("contents") / "demo"
    folder.mkdir()
    (folder / "subject").symlink_to(tiny_subject)
    subject, truth = open_subject(tiny_subject), load_truth(tiny_subject)
    index = subject.select("V1 + V2 + V3 - outside")
    parts = [np.asarray(values[index], dtype=np.float32) for values in (truth.x0_deg, truth.y0_deg, truth.size_deg)]
    write_maps(folder / "maps", RetinotopicMap(*parts, np.ones(index.size, dtype=np.float32), 12.0, "r", "the truth"), subject, index)
    return folder


@pytest.fixture
def panel(qtbot):
    """Data page as it stands in the dock, beside another page."""
    state = State()
    made = DataPanel(state, SampleMaker(state, state))
    inner = QWidget()
    column = QVBoxLayout(inner)
    column.addWidget(made)
    column.addStretch(1)
    scroll, stack = QScrollArea(), QStackedWidget()
    scroll.setWidget(inner)
    scroll.setWidgetResizable(True)
    stack.addWidget(scroll)
    stack.addWidget(QWidget())
    stack.resize(360, 900)
    qtbot.addWidget(stack)
    made.stack = stack  # kept alive
    with qtbot.waitExposed(stack):
        stack.show()
    return made


def items(panel: DataPanel) -> dict[str, str]:
    return {item.text(0): item.text(1) for item in panel.contents._in_order()}


def voxels_of(subject: Path, name: str, side: str) -> int:
    """Count the voxels of an area on one side in the files themselves, by nibabel."""
    func = subject / "sub-01" / "func"
    mask = next(func.glob(f"*_label-{name}_mask.nii.gz"))
    hemi = next(func.glob(f"*_hemi-{side}_*_desc-brain_mask.nii.gz"))
    return int((np.asanyarray(nib.load(mask).dataobj).astype(bool) & np.asanyarray(nib.load(hemi).dataobj).astype(bool)).sum())


def test_what_is_inside(panel, with_map, qtbot) -> None:
    assert panel.inside.isHidden() and "Four ways" in panel.summary.text()
    panel.state.opened.connect(lambda: panel.stack.setCurrentIndex(1))  # as the dock turns to another step
    panel.open(with_map)
    panel.stack.setCurrentIndex(0)
    tree = panel.contents
    qtbot.waitUntil(lambda: tree.viewport().rect().bottom() >= tree.visualItemRect(tree.topLevelItem(9)).bottom() > 400, timeout=3000)
    found = items(panel)
    subject = with_map / "subject"
    assert found["FFA"] == f"L {voxels_of(subject, 'FFA', 'L')} · R {voxels_of(subject, 'FFA', 'R')}"
    assert found["✓ Map"].endswith("voxels") and found["– Models"] == "none" and found["– Pictures"] == "no reconstructions"
    assert "Train one (step Train), or open the folder of a run." in found
    assert panel.notice.isHidden()
    # a click on an area chooses it, and rows can be taken elsewhere
    area = next(item for item in tree._in_order() if item.text(0) == "FFA")
    qtbot.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=tree.visualItemRect(area).center())
    assert panel.state.region.text == "FFA"
    assert panel.state.region.mask.sum() == voxels_of(subject, "FFA", "L") + voxels_of(subject, "FFA", "R")
    qtbot.keyClick(tree, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == f"FFA\t{found['FFA']}"
    tree.copy_all()
    assert len(QGuiApplication.clipboard().text().splitlines()) >= len(found) - 5


def test_what_is_missing_says_what_to_do(tiny_copy) -> None:
    for file in (tiny_copy / "sub-01" / "anat").glob("*"):
        if "_sulc" not in file.name and "hemi-R" not in file.name:
            file.unlink()
    (tiny_copy / "stimuli" / "unpaired.npy").unlink(missing_ok=True)
    shutil.rmtree(tiny_copy / "stimuli" / "unpaired", ignore_errors=True)
    rows = {row.name: row for row in contents(open_workspace(tiny_copy))}
    left, right = rows["Surfaces"].parts
    assert (left.mark, right.mark, rows["Surfaces"].mark) == ("missing", "done", "mind")
    assert "hemi-L_white.surf.gii" in left.todo and str(tiny_copy / "sub-01" / "anat") in left.todo
    assert next(part for part in rows["Volumes"].parts if part.name == "anatomy").mark == "missing"
    assert "photographs" in rows["Stimuli"].parts[-1].todo
    assert rows["Map"].todo.startswith("Train a model first")


def test_a_mirrored_brain_is_noticed(panel, with_map, tmp_path, capsys) -> None:
    said: list[str] = []
    panel.state.problem.connect(said.append)
    panel.open(with_map)
    assert not any(said) and panel.notice.isHidden()
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "subject").symlink_to((with_map / "subject").resolve())
    shutil.copytree(with_map / "maps", folder / "maps")
    file = next((folder / "maps").glob("*_x0.nii.gz"))
    image = nib.load(file)
    nib.save(nib.Nifti1Image(-image.get_fdata(dtype=np.float32), image.affine), file)
    panel.open(folder)
    for text in (said[-1], panel.notice.text(), items(panel)["⚠ Map"] and panel.contents.rows[7].todo):
        assert "contradicts left and right" in text and "flip x" in text and "swap hemispheres" in text
    capsys.readouterr()
    assert run_arguments(["inspect", str(folder)]) == 0
    assert "WARNING   This map contradicts left and right" in capsys.readouterr().out


class PaintedTexts(QObject):
    """What a label showed each time when it was painted."""

    def __init__(self, label: QWidget) -> None:
        super().__init__(label)
        self.texts: list[str] = []
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.texts.append(watched.text())
        return False


def test_opening_is_said_before_the_window_is_blocked(qtbot, tmp_path, monkeypatch) -> None:
    state = State()
    head = SubjectHead(state)
    qtbot.addWidget(head)
    with qtbot.waitExposed(head):
        head.show()
    painted, before = PaintedTexts(head.title), []

    def slow(path: Path, split: str | None) -> None:
        before.append((painted.texts[-1:], QApplication.overrideCursor().shape()))
        raise DataFormatError("not a subject")

    monkeypatch.setattr(_state, "open_workspace", slow)
    with pytest.raises(DataFormatError):
        state.open(tmp_path / "large")
    assert before == [(["<b>Opening large …</b>"], Qt.CursorShape.WaitCursor)]
    assert QApplication.overrideCursor() is None and head.title.text() == "<b>No subject is open</b>"


def test_files_of_the_data_page_open_in_the_viewer(viewer, dock, tmp_path, monkeypatch, qtbot, rng) -> None:
    values = gifti(tmp_path / "sub-01_hemi-L_r2.func.gii", (rng.random(4).astype(np.float32), "NONE"), hemi="L")
    mesh = mesh_file(tmp_path / "sub-01_hemi-L_white.surf.gii", "L", -30)
    series = save_nifti(tmp_path / "bold.nii.gz", rng.normal(size=(*SHAPE, 3)).astype(np.float32), np.eye(4))
    (tmp_path / "bad.nii").write_bytes(b"<html>")
    files = [str(path) for path in (values, mesh, tmp_path / "bad.nii", tmp_path / "notes.txt", series)]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (files, ""))
    qtbot.mouseClick(dock.data.files_button, Qt.MouseButton.LeftButton)
    assert {layer.name for layer in viewer.layers} == {"bold", "sub-01_hemi-L_white", "sub-01_hemi-L_r2"}
    said = dock.head.notice.text()
    assert "bad.nii" in said and "notes.txt: expected a volume" in said
    assert dock.state.workspace is None and viewer.dims.ndim == 4


def test_a_series_beside_a_subject_moves_neither_slices_nor_letters(viewer, dock, tiny_subject, tmp_path, rng) -> None:
    dock.open(tiny_subject)
    left, before = viewer.canvas.overlays["brain2pix left"], viewer.dims.point
    series = save_nifti(tmp_path / "bold.nii.gz", rng.normal(size=(*SHAPE, 3)).astype(np.float32), np.eye(4))
    dock.data.files_chosen.emit([str(series)])
    # the same slices: napari's sliders move in steps of .57 mm
    assert viewer.dims.ndim == 4 and viewer.dims.point[1:] == pytest.approx(before, abs=0.3)
    for plane, letter in (("coronal", True), ("axial", True), ("sagittal", False), ("3d", True)):
        dock.state.set_view("volume", plane)
        assert left.visible == letter and (not letter or left.text == "L"), plane
    dock.state.set_view("volume", "axial")
    row = int(np.argmax(dock.state.workspace.subject.xyz[:, 2]))
    dock.state.select([row], "field")
    assert viewer.dims.point[3] == pytest.approx(dock.state.workspace.subject.xyz[row, 2])
