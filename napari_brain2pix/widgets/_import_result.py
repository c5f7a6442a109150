"""What was found in a file, and what an import came to, in words."""

from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QSizePolicy

from napari_brain2pix._guard import guarded
from napari_brain2pix.children.importing import in_window
from napari_brain2pix.folders.contents import SIGNS, Row
from napari_brain2pix.widgets._parts import Note, Notice, Section

if TYPE_CHECKING:
    from pathlib import Path

WHAT = {"flip": "voxel coordinates", "flip_images": "pictures"}
MIRRORED = {"x": "mirrored", "y": "turned upside down"}
CROSS = "✗"
CONTRADICTION = (
    "The responses contradict the brain's own sides. Nothing was changed. Before you trust this subject, find out which of these is "
    "the reason:"
)
LISTS = {"Not told by the files": "unknown", "Notes": "notes"}
MOST_AREAS = 24  # that are named


def found_rows(found: dict[str, Any]) -> list[Row]:
    """Rows for what a look found.

    Parameters
    ----------
    found : dict, as `brain2pix.data.readers.describe` gives it
    """
    sides = ", ".join(f"{found[name]:,} {name}" for name in ("left", "right") if found[name])
    areas = [f"{name} {count:,}" for name, count in found["areas"].items()]
    more = [f"and {len(areas) - MOST_AREAS} more"] if len(areas) > MOST_AREAS else []
    lost = found["missing"]
    there = f"{found['stimuli'] - lost:,} of {found['stimuli']:,} found" if lost else f"{found['stimuli']:,}"
    rows = [
        Row("Format", found["format"], "done", more=found["kind"]),
        Row("Subject", f"{found['subject']} of {found['title']}", "done"),
        Row("Responses", f"{sum(split['trials'] for split in found['splits']):,}", "done", parts=tuple(map(_split_row, found["splits"]))),
        Row("Voxels", f"{found['voxels']:,}{f': {sides}' if sides else ''}", "done"),
        Row("Areas", ", ".join([*areas[:MOST_AREAS], *more]) or "none", "done" if areas else "missing", more="\n".join(areas)),
        Row("Pictures", there, "mind" if lost else "done"),
        Row("Space", found["space"] if found["has_world"] else "no coordinates: the grid only arranges the voxels"),
        Row("Field of view", "not told" if found["field_of_view_deg"] is None else f"{found['field_of_view_deg']:g}°"),
        Row("Unit", found["unit"]),
    ]
    if found["anatomy"]:
        rows.append(Row("Anatomy", "a volume", "done"))
    if found["surfaces"]:
        rows.append(Row("Surfaces", ", ".join(found["surfaces"]), "done"))
    return rows


def remarks(found: dict[str, Any]) -> str:
    """Say what the files cannot tell and what may mislead, as lines of HTML."""
    lists = {name: [escape(in_window(text)) for text in found[key]] for name, key in LISTS.items() if found[key]}
    return "<br>".join(f"<b>{name}</b> · {'<br>· '.join(texts)}" for name, texts in lists.items())


def _split_row(split: dict[str, Any]) -> Row:
    low, high = split["repeats"]
    times = f"{low}" if low == high else f"{low} to {high}"
    return Row(split["split"], f"{split['trials']:,}: {split['stimuli']:,} stimuli × {times}, {split['runs']} runs")


class ImportResult(Section):
    """What an import came to: the check of left and right, line by line, and what would mend it.

    Signals
    -------
    again_wanted : dict, the offer that the user took: `choice`, `axis` and whether it was `used` before
    open_wanted, train_wanted, another_wanted
    """

    again_wanted = Signal(object)
    open_wanted = Signal()
    train_wanted = Signal()
    another_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Imported")
        self.what, self.sides, self.warnings = Note(), Note(), Note()
        self.notice = Notice()
        self.offers: list[QPushButton] = []
        self.open_button, self.train_button = QPushButton("Open it"), QPushButton("Go on to Train")
        self.another_button = QPushButton("Import another…")
        for widget in (self.what, self.sides, self.warnings, self.notice, self.open_button, self.train_button, self.another_button):
            self.body.addWidget(widget)
        self.open_button.clicked.connect(self.open_wanted)
        self.train_button.clicked.connect(self.train_wanted)
        self.another_button.clicked.connect(self.another_wanted)

    def show_import(self, folder: "Path", about: dict[str, Any], is_open: bool) -> None:
        """Show how an import ended.

        Parameters
        ----------
        folder : Path, the subject
        about : dict, the note in its folder; empty if there is none
        is_open : bool, whether the subject was opened
        """
        sides = about.get("sides", {})
        standing = "It is open now." if is_open else "It is not open yet."
        name, source = about.get("title", "The dataset"), about.get("source", "its files")
        self.what.say(escape(f"{name}, from {source}, is now in {folder}. {standing}"))
        told = [*sides.get("sides", []), *sides.get("signs", [])]
        lines = [f"{SIGNS['done'] if each['ok'] else CROSS} {escape(each['text'])}" for each in told]
        unchecked = sides.get("unchecked", "")
        self.sides.say("<br>".join([*lines, *([f"{SIGNS['missing']} {escape(unchecked)}"] if unchecked else [])]))
        self.warnings.say("<br>".join(f"{SIGNS['mind']} {escape(in_window(text))}" for text in about.get("warnings", [])))
        offers = sides.get("offers", [])
        self.notice.say(CONTRADICTION if offers else escape(in_window(sides.get("warning", ""))))
        self._show_offers(offers)
        self.open_button.setVisible(not is_open)
        self.train_button.setVisible(is_open and not offers)

    def _show_offers(self, offers: list[dict[str, Any]]) -> None:
        for button in self.offers:
            button.hide()
            button.deleteLater()
        self.offers = []
        for offer in offers:
            button = QPushButton(offer_words(offer))
            button.setToolTip(offer["why"])
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setProperty("offer", offer)
            button.clicked.connect(self._take)
            self.body.insertWidget(self.body.indexOf(self.open_button), button)
            self.offers.append(button)

    @guarded
    def _take(self) -> None:
        self.again_wanted.emit(self.sender().property("offer"))


def offer_words(offer: dict[str, Any]) -> str:
    """Words of the button that takes an offer."""
    what, how = WHAT[offer["choice"]], MIRRORED[offer["axis"]]
    return f"Import again with {what} {'as they are' if offer['used'] else how} ({offer['axis']})"
