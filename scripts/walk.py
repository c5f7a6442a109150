"""Walk through the first minutes of a new user in the real window, and leave screenshots and a log of what was clicked.

usage: .venv/bin/python scripts/walk.py [--out build/walk] [--guide docs/images/guide]      (make walk starts it on a virtual display)

Every part checks what the user would look for; the first that is missing ends the walk with a picture and an exit code.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from _hands import Lost, Walk

SIZE = (1600, 1000)
PATIENCE_S = 420.0  # for a training of seconds, on a busy machine
PLUGIN_ENTRY = "brain2pix"
# pictures that the user guide shows
GUIDE = (
    "first-look",
    "data",
    "import",
    "import-mirrored",
    "reproduce",
    "train",
    "training",
    "click-on-the-cortex",
    "click-in-the-visual-field",
    "decode-worst-first",
    "enlarged",
    "stimulate-V2",
    "painted",
    "export",
    "keys",
)
HELPERS = Path(__file__).parents[1] / "tests" / "unit" / "data" / "readers" / "helpers"  # writers of files in published layouts
COLOURS = 256  # of a picture in the guide: half the size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/walk"), help="folder for screenshots and log")
    parser.add_argument("--guide", type=Path, metavar="FOLDER", help="also write the pictures of the user guide there")
    options = parser.parse_args()
    out = options.out.resolve()
    with tempfile.TemporaryDirectory(prefix="brain2pix-walk-") as home:
        # a new user: nothing in the cache, napari as it comes
        os.environ["NAPARI_CONFIG"] = str(Path(home) / "settings.yaml")
        os.environ["XDG_CACHE_HOME"] = str(Path(home) / "cache")
        os.environ["XDG_STATE_HOME"] = str(Path(home) / "state")
        os.environ["NAPARI_CATCH_ERRORS"] = "0"
        walk = Walk(out)
        try:
            _walk(walk, Path(home))
        except Lost as lost:
            walk.say(f"LOST: {lost}")
            return 1
    walk.say("the walk is over; all was found")
    if options.guide is not None:
        write_guide(out, options.guide)
    return 0


def write_guide(out: Path, folder: Path) -> None:
    """Write the pictures of the user guide, small."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for name in GUIDE:
        (file,) = out.glob(f"[0-9][0-9]-{name}.png")
        whole = Image.open(file).convert("RGB")
        whole.quantize(palette=whole.quantize(COLOURS), dither=Image.Dither.FLOYDSTEINBERG).save(folder / f"{name}.png", optimize=True)


def _walk(walk: Walk, home: Path) -> None:
    viewer, dock = first_window(walk)
    data(walk, dock)
    maps(walk, viewer, dock)
    decode(walk, dock)
    stimulate(walk, viewer, dock)
    export(walk, dock, home / "exported")
    bring_in(walk, dock, home)
    simulate(walk, dock, home / "mine")
    reproduce(walk, dock)
    train(walk, dock)
    follow_up(walk, dock)
    log_and_keys(walk, dock)
    light(walk, viewer, dock)
    close(walk, viewer, dock)


def first_window(walk: Walk) -> tuple[Any, Any]:
    """Start napari as everyone does, and find the plugin in its menu."""
    import napari
    from napari.settings import get_settings

    get_settings().application.gui_notification_level = "error"  # PyQt5's farewell would cover the first pictures
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(*SIZE)
    walk.rest(1.5)
    menu = viewer.window.plugins_menu
    window = menu.parent().window()
    bar = window.menuBar()
    walk.click_rect(bar, bar.actionGeometry(menu.menuAction()), "menu Plugins")
    walk.see("the Plugins menu", menu.isVisible)
    entry = next((action for action in menu.actions() if PLUGIN_ENTRY in action.text()), None)
    if entry is None:
        raise Lost(f"no entry {PLUGIN_ENTRY!r} among {[action.text() for action in menu.actions()]}")
    walk.picture("plugins-menu")
    walk.click_rect(menu, menu.actionGeometry(entry), f"entry {entry.text()!r}")
    dock = walk.see("the dock", lambda: next((w for name, w in viewer.window.dock_widgets.items() if PLUGIN_ENTRY in name), None))
    walk.see("that it is ready", lambda: dock._settled)
    walk.picture("first-look")
    return viewer, dock


def data(walk: Walk, dock: Any) -> None:
    """Open the sample, and look what is inside."""
    walk.click(dock.steps.buttons["maps"])
    walk.see("what comes first", lambda: "Open a subject" in dock.steps.line.text())
    walk.click(dock.steps.buttons["data"])
    began = walk.seconds()
    walk.click(dock.data.sample_button)
    walk.see("a subject", lambda: dock.state.workspace is not None, 60)
    walk.say(f"the sample was open after {walk.seconds() - began:.1f} s")
    walk.see("that it says it is simulated", lambda: dock.head.badge.isVisible())
    walk.see("maps and pictures", lambda: dock.state.found is not None and dock.gallery.pictures["reconstruction"].pixels is not None)
    walk.see("the live decoder's picture", lambda: dock.complete, 90)
    walk.say(f"the first stimulated picture came after {walk.seconds() - began:.1f} s")
    walk.picture("sample-opened")
    walk.click(dock.steps.buttons["data"])
    walk.see("what is inside", lambda: dock.data.contents.isVisible())
    walk.picture("data")


def maps(walk: Walk, viewer: Any, dock: Any) -> None:
    """Look at the maps from all sides, click the brain and the visual field."""
    canvas = viewer.window._qt_viewer.canvas.native
    walk.click(dock.steps.buttons["maps"])
    for kind in dock.state.kinds:
        walk.choose(dock.maps.kind, kind)
        walk.picture(f"map-{kind.lower().replace(' ', '-')}")
    walk.choose(dock.maps.kind, next(iter(dock.state.kinds)))
    before = int(dock.state.found.shown.sum())
    walk.click(dock.maps.threshold, (0.5, 0.5))
    walk.keys(*["Right"] * 5)
    walk.see("fewer voxels", lambda: int(dock.state.found.shown.sum()) < before)
    walk.picture("threshold")
    walk.keys("Home")
    for place in ((0.14, 0.55), (0.16, 0.5), (0.12, 0.6), (0.15, 0.45)):
        walk.click(canvas, place)
        if dock.state.selection.rows.size:
            break
    walk.see("the voxel's field", lambda: dock.state.selection.source == "surface" and dock.maps.selected.text())
    walk.picture("click-on-the-cortex")
    walk.click(dock.maps.legend, (0.62, 0.45))
    walk.see("voxels that see this place", lambda: dock.state.selection.source == "field" and dock.state.selection.rows.size)
    walk.picture("click-in-the-visual-field")
    for view in ("flat", "sphere", "volume"):
        walk.click(dock.views.view.buttons[view])
        walk.picture(f"view-{view}")
    walk.click(dock.views.plane.buttons["coronal"])
    walk.picture("view-coronal")
    walk.keys("ctrl+b", "i")
    walk.see("the inflated cortex again", lambda: dock.state.view == "inflated")


def decode(walk: Walk, dock: Any) -> None:
    """Compare pictures, sort them, enlarge one."""
    walk.click(dock.steps.buttons["decode"])
    walk.see("scores", lambda: dock.decode.runs.topLevelItemCount() > 0)
    walk.picture("decode")
    walk.choose(dock.decode.sort, "Worst")
    walk.click(dock.gallery.thumbnails.viewport(), (0.1, 0.2))
    walk.keys("Right")
    walk.picture("decode-worst-first")
    walk.click(dock.gallery.zoom_button)
    walk.see("the large pictures", lambda: dock.gallery.zoom.isVisible())
    walk.picture("enlarged")
    walk.keys("Escape")
    walk.see("that they are closed", lambda: not dock.gallery.zoom.isVisible())


def stimulate(walk: Walk, viewer: Any, dock: Any) -> None:
    """Stimulate an area, a selection and a painted region."""
    from qtpy.QtWidgets import QPushButton

    walk.click(dock.steps.buttons["stimulate"])
    panel, region = dock.stimulate, dock.stimulate.region
    walk.see("the model", lambda: dock.complete, 90)
    walk.picture("stimulate")
    chip = next(chip for chip in region.chips.findChildren(QPushButton) if chip.text() == "V2")
    walk.click(chip)
    walk.see("V2 chosen", lambda: dock.state.region.text == "V2")
    walk.click(panel.amplitude.field)
    walk.type("4")
    walk.keys("Return")
    walk.see("the changed picture", lambda: dock.complete and "V2" in dock.gallery.pictures["stimulated"].caption.text(), 30)
    walk.picture("stimulate-V2")
    walk.click(panel.mode.buttons["silence"])
    walk.see("silence", lambda: dock.complete and "silenced" in dock.gallery.pictures["stimulated"].caption.text(), 30)
    walk.click(panel.mode.buttons["add"])
    walk.click(region.use_selection)
    walk.see("the selection as a region", lambda: dock.state.region.text == "selected" and dock.state.region.mask.any())
    walk.see("its picture", lambda: dock.complete and "selected" in dock.gallery.pictures["stimulated"].caption.text(), 30)
    walk.picture("stimulate-selection")
    walk.click(region.paint)
    walk.see("the volume, to paint on", lambda: dock.state.view == "volume")
    canvas = viewer.window._qt_viewer.canvas.native
    walk.drag(canvas, (0.4, 0.76), (0.41, 0.79), (0.4, 0.82))
    walk.see("painted voxels of the model", lambda: dock.state.extra.get("painted") is not None and dock.state.extra["painted"].any())
    walk.picture("painted")
    walk.click(region.paint)


def export(walk: Walk, dock: Any, folder: Path) -> None:
    """Write a figure of what is shown."""
    walk.click(dock.export_button)
    dialog = walk.see(
        "the export", lambda: dock.export_dialog if dock.export_dialog is not None and dock.export_dialog.isVisible() else None
    )
    walk.picture("export")
    walk.click(dialog.form.folder)
    walk.type(str(folder))
    walk.click(dialog.form.formats["pdf"], (0.05, 0.5))
    walk.click(dialog.export_button)
    walk.see("the files", lambda: dialog.open_button.isVisible(), PATIENCE_S)
    walk.say(f"written: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    if not {".png", ".pdf", ".json"} <= {file.suffix for file in folder.iterdir()}:
        raise Lost("PNG, PDF and their JSON")
    walk.picture("exported")
    walk.click(dialog.close_button)


def bring_in(walk: Walk, dock: Any, home: Path) -> None:
    """Import a made-up file in a published layout, whose coordinates are mirrored; be warned, and mend it."""
    sys.path.append(str(HELPERS))
    from published import God

    made_up = God(n_train=40, n_test=8, n_voxels=140)
    made_up.xyz = made_up.xyz * [-1, 1, 1]
    (home / "made-up").mkdir()
    made_up.write_images(home / "made-up" / "pictures")
    file = made_up.write_matlab(home / "made-up" / "Subject1.mat")
    walk.click(dock.steps.buttons["data"])
    walk.click(dock.data.import_button)
    page, form = dock.data.importing, dock.data.importing.form
    walk.picture("import-empty")
    walk.click(form.source)
    walk.type(str(file))
    walk.see("what is missing", lambda: "pictures are needed" in form.findings.text(), PATIENCE_S)
    walk.picture("import-found")
    walk.click(form.choices.editors["images"].text)
    walk.type(str(home / "made-up" / "pictures"))
    walk.see("that nothing stands against it", lambda: form.ready, PATIENCE_S)
    walk.picture("import")
    walk.click(form.folder)
    walk.type(str(home / "imported"))
    walk.click(page.import_button)
    walk.see("the warning", lambda: page.result.offers, PATIENCE_S)
    walk.picture("import-mirrored")
    walk.click(page.result.offers[0])
    walk.see("that it is mended", lambda: not page.importer.busy and page.result.isVisible() and not page.result.offers, PATIENCE_S)
    walk.see("the second folder", lambda: dock.state.workspace.folder == home / "imported-2")
    walk.picture("import-mended")
    walk.click(page.close_button)


def simulate(walk: Walk, dock: Any, folder: Path) -> None:
    """Simulate a subject of one's own."""
    walk.click(dock.steps.buttons["data"])
    walk.click(dock.data.new_button)
    form = dock.data.form
    walk.choose(form.preset, "tiny")
    walk.click(form.seed)
    walk.type("7")
    walk.click(form.folder)
    walk.type(str(folder))
    walk.picture("simulate")
    walk.click(form.start_button)
    walk.see("the new subject", lambda: dock.state.workspace.subject_folder == folder, PATIENCE_S)
    walk.see("that it can be trained on", lambda: dock.state.step == "train")
    walk.picture("simulated")


def reproduce(walk: Walk, dock: Any) -> None:
    """See what the evaluation of a paper would run, and what it lacks."""
    walk.click(dock.steps.buttons["train"])
    walk.click(dock.train_step.button)
    walk.see("what would be run", lambda: dock.reproducing.ready, PATIENCE_S)
    walk.picture("reproduce")
    walk.click(dock.reproducing.close_button)


def train(walk: Walk, dock: Any) -> None:
    """Train, stop, go on, and be told when it is done."""
    panel = dock.train
    walk.choose(panel.method, "retino")
    walk.choose(panel.preset, "tiny")
    walk.picture("train")
    walk.click(panel.start_button)
    walk.see("losses", lambda: dock.jobs.plot.curves, PATIENCE_S)
    walk.picture("training")
    walk.click(dock.jobs.stop_button)
    walk.see("that it has stopped", lambda: dock.runner.standing in ("cancelled", "finished"), PATIENCE_S)
    walk.picture("stopped")
    if dock.runner.standing == "cancelled":
        walk.click(dock.jobs.resume_button)
    walk.see("the end of the training", lambda: dock.runner.standing == "finished", PATIENCE_S)
    walk.picture("trained")
    walk.click(dock.jobs.show_button)
    walk.see("the model", lambda: dock.state.workspace.model is not None)


def follow_up(walk: Walk, dock: Any) -> None:
    """Make its maps and reconstructions."""
    walk.click(dock.steps.buttons["maps"])
    walk.click(dock.maps.make_button)
    walk.see("maps", lambda: dock.state.found is not None, PATIENCE_S)
    walk.picture("own-maps")
    walk.click(dock.steps.buttons["decode"])
    walk.click(dock.decode.decode_button)
    walk.see("pictures", lambda: dock.state.workspace.pictures.reconstructions is not None, PATIENCE_S)
    walk.see("the live decoder's picture", lambda: dock.complete, 90)
    walk.picture("own-pictures")


def log_and_keys(walk: Walk, dock: Any) -> None:
    """Read the log, list the keys."""
    from qtpy.QtWidgets import QMessageBox

    dock.log.parent().raise_()
    walk.picture("log")
    walk.click(dock.keys_button)
    box = walk.see("the keys", lambda: next((w for w in dock.window().findChildren(QMessageBox) if w.isVisible()), None))
    walk.picture("keys")
    box.close()
    dock.gallery.parent().raise_()


def light(walk: Walk, viewer: Any, dock: Any) -> None:
    """See the same in napari's light theme."""
    viewer.theme = "light"
    for step, button in dock.steps.buttons.items():
        walk.click(button)
        walk.picture(f"light-{step}")
    viewer.theme = "dark"


def close(walk: Walk, viewer: Any, dock: Any) -> None:
    """Close the window while a job is going on: it asks."""
    walk.click(dock.steps.buttons["train"])
    walk.click(dock.train.start_button)
    walk.see("a job", lambda: dock.runner.standing == "running", 60)
    asked: list[str] = []

    def stop(question: Any) -> None:
        asked.append(question.text())
        walk.picture("closing-asks")
        next(button for button in question.buttons() if "Stop" in button.text()).click()

    walk.answer(stop)
    viewer.window._qt_window.close()
    walk.see("the question", lambda: asked)
    walk.see("that the window is gone and the job stopped", lambda: dock._over)


if __name__ == "__main__":
    sys.exit(main())
