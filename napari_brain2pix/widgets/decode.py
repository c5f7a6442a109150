"""Which reconstructions are compared, how good they are, and in which order the pictures at the bottom show them."""

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from brain2pix.data.image_scores import SCORES
from napari_brain2pix._guard import guarded
from napari_brain2pix.children.comparison import MOST, SORTS, written
from napari_brain2pix.folders.pictures import splits_to_show
from napari_brain2pix.widgets._parts import Note, Notice, Section

if TYPE_CHECKING:
    from napari_brain2pix._state import State
    from napari_brain2pix.children.comparison import Comparison
    from napari_brain2pix.folders.pictures import Run
    from napari_brain2pix.folders.workspace import Workspace

KEY = Qt.ItemDataRole.UserRole
TITLE, FIRST_SCORE = 1, 2  # columns; the first holds the mark
WIDTHS = (26, 0, 44, 50, 66)  # px, of the columns; the title takes what is left
NO_SUBJECT = "Open a subject first (step Data)."
NO_MODEL = "No trained model here: train one first (step Train), or open a trained run or the folder of a demo."
NOT_YET = "The {split} images have not been reconstructed with this model yet."


class DecodePanel(QWidget):
    """Runs to compare with their mean scores, and the order of the gallery.

    Signals
    -------
    decode_wanted : the user wants the images of the split reconstructed with the model that is open

    Parameters
    ----------
    state : State
    comparison : Comparison
    """

    decode_wanted = Signal()

    def __init__(self, state: "State", comparison: "Comparison") -> None:
        super().__init__()
        self.state, self.comparison = state, comparison
        self.about, self.empty, self.means, self.count = Note(), Note(NO_SUBJECT), Note(), Note()
        self.decode_button = QPushButton("Reconstruct")
        self.split = QComboBox()
        self.runs = QTreeWidget()
        self.marks: dict[str, QCheckBox] = {}  # of the runs whose pictures are shown
        self.add_button, self.score_button = QPushButton("Add run…"), QPushButton("Score these")
        self.notice = Notice()
        self.score, self.sort, self.filter = QComboBox(), QComboBox(), QLineEdit()
        self._filled: list[tuple[str, str]] = []
        self._lay_out()
        self._connect()
        self._show_runs()

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(10)
        tests, self._compared, self._ordered = Section("Images"), Section("Compared runs"), Section("Pictures at the bottom")
        for widget in (self.split, self.about, self.empty, self.decode_button):
            tests.body.addWidget(widget)
        row = QHBoxLayout()
        row.addWidget(self.add_button)
        row.addWidget(self.score_button)
        self._compared.body.addWidget(self.runs)
        self._compared.body.addLayout(row)
        for widget in (self.notice, self.means):
            self._compared.body.addWidget(widget)
        form = QFormLayout()
        form.addRow("Score", self.score)
        form.addRow("Order", self.sort)
        form.addRow("Find", self.filter)
        self._ordered.body.addLayout(form)
        self._ordered.body.addWidget(self.count)
        for section in (tests, self._compared, self._ordered):
            box.addWidget(section)
        self._lay_out_runs()
        for name, score in SCORES.items():
            self.score.addItem(score.title, name)
            self.score.setItemData(self.score.count() - 1, score.meaning, Qt.ItemDataRole.ToolTipRole)
        for name, title in SORTS.items():
            self.sort.addItem(title, name)
        named = ((self.split, "Split"), (self.score, "Score"), (self.sort, "Order"), (self.filter, "Text in the name of an image"))
        for widget, name in named:
            widget.setAccessibleName(name)
        self.split.setToolTip("Whose responses are decoded: those to the images of this split")
        self.filter.setPlaceholderText("text in the name of an image")
        self.filter.setClearButtonEnabled(True)
        self.decode_button.setToolTip("Reconstruct these images from their responses, in the background")
        self.add_button.setToolTip("Compare with another trained run of this subject that was decoded, or with another demo of it")
        self.score_button.setToolTip(
            "Score every reconstruction of the runs without scores, in the background; their folders stay as they are"
        )

    def _lay_out_runs(self) -> None:
        table = self.runs
        table.setAccessibleName("Runs to compare, with their mean scores")
        table.setHeaderLabels(["", "Run", *(score.short for score in SCORES.values())])
        table.setRootIsDecorated(False)
        table.setUniformRowHeights(True)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        head = table.header()
        head.setSectionsMovable(False)
        head.setStretchLastSection(False)
        head.setMinimumSectionSize(24)
        for column, width in enumerate(WIDTHS):
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed if width else QHeaderView.ResizeMode.Stretch)
            head.resizeSection(column, width)
        table.headerItem().setToolTip(0, f"Mark the runs whose pictures are shown, at most {MOST}.")
        table.headerItem().setToolTip(TITLE, "The chosen line is the one whose reconstructions stand beside the stimuli at the bottom.")
        for column, score in enumerate(SCORES.values(), FIRST_SCORE):
            table.headerItem().setToolTip(column, f"{score.title}. {score.meaning}")

    def _connect(self) -> None:
        self.decode_button.clicked.connect(self.decode_wanted)
        self.runs.currentItemChanged.connect(self._lead)
        self.add_button.clicked.connect(self._choose_run)
        self.score_button.clicked.connect(self._score)
        self.score.activated.connect(self._choose_score)
        self.sort.activated.connect(self._choose_sort)
        self.filter.textChanged.connect(self._find)
        self.comparison.changed.connect(self._show_runs)
        self.comparison.ordered.connect(self._show_count)
        self.comparison.scoring.connect(self._show_scoring)
        self.comparison.said.connect(self._say)
        self.split.activated.connect(self._choose_split)
        self.state.opened.connect(self._show)
        self.state.split_changed.connect(self._show)

    # -- what is shown

    @guarded
    def _show(self, workspace: "Workspace") -> None:
        with QSignalBlocker(self.filter):
            self.filter.clear()
        splits = splits_to_show(workspace.subject)
        with QSignalBlocker(self.split):
            self.split.clear()
            self.split.addItems(splits)
            self.split.setCurrentText(workspace.split)
        self.split.setVisible(len(splits) > 1)
        self.about.say(about_images(workspace))
        self._show_runs()

    @guarded
    def _show_runs(self) -> None:
        """Fill the table; it forwards nothing meanwhile."""
        workspace, runs = self.state.workspace, self.comparison.runs
        trained = workspace is not None and workspace.model is not None
        decoded = workspace is not None and workspace.pictures.reconstructions is not None
        self.empty.setVisible(not decoded)
        self.empty.say(NO_SUBJECT if workspace is None else NOT_YET.format(split=workspace.split) if trained else NO_MODEL)
        self.decode_button.setVisible(trained and not decoded)
        self._compared.setVisible(workspace is not None)
        self._ordered.setVisible(workspace is not None)
        self.runs.setVisible(bool(runs))
        with QSignalBlocker(self.runs):
            if self._filled != (filled := [(key, run.scores.fingerprint if run.scores else "") for key, run in runs.items()]):
                self._filled = filled
                self._fill()
            for number, key in enumerate(runs):
                with QSignalBlocker(self.marks[key]):
                    self.marks[key].setChecked(key in self.comparison.shown)
                if key == self.comparison.lead:
                    self.runs.setCurrentItem(self.runs.topLevelItem(number))
        self.score_button.setVisible(bool(self.comparison.unscored))
        self._show_means()

    def _fill(self) -> None:
        self.runs.clear()
        self.marks = {}
        for run in self.comparison.runs.values():
            item, mark = self._line(run), _Mark()
            mark.setProperty("run", run.key)
            mark.setAccessibleName(f"Show the pictures of {run.title}")
            mark.toggled.connect(self._mark)
            self.runs.addTopLevelItem(item)
            self.runs.setItemWidget(item, 0, mark)
            self.marks[run.key] = mark
        if any(run.scores is not None for run in self.comparison.runs.values()):
            self.runs.addTopLevelItem(self._chance_line())
        lines = min(self.runs.topLevelItemCount(), 10)
        self.runs.setFixedHeight(self.runs.header().sizeHint().height() + lines * max(self.runs.sizeHintForRow(0), 1) + 6)

    def _line(self, run: "Run") -> QTreeWidgetItem:
        means = {score: self.comparison.mean(run, score) for score in SCORES}
        item = QTreeWidgetItem(["", run.title, *(written(score, mean.value if mean else None) for score, mean in means.items())])
        item.setData(0, KEY, run.key)
        item.setToolTip(TITLE, f"{run.title}\n{run.about}" if run.about else run.title)
        for column, (score, mean) in enumerate(means.items(), FIRST_SCORE):
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if mean is None or run.scores is None:
                item.setToolTip(column, "not scored")
                continue
            bounds = f", 95 % {written(score, mean.low)} .. {written(score, mean.high)} over photographs" if mean.low is not None else ""
            chance = written(score, run.scores.chance(score))
            n = run.scores.n_scored
            item.setToolTip(column, f"{SCORES[score].title}: mean {written(score, mean.value)}{bounds}; chance {chance}; N {n} images")
        return item

    def _chance_line(self) -> QTreeWidgetItem:
        """Say what no knowledge scores."""
        item = QTreeWidgetItem(["", "chance", *(written(score, self.comparison.chance(score)) for score in SCORES)])
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        font = item.font(0)
        font.setItalic(True)
        for column in range(TITLE, FIRST_SCORE + len(SCORES)):
            item.setFont(column, font)
            if column >= FIRST_SCORE:
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return item

    def _show_means(self) -> None:
        scored = next((run.scores for run in self.comparison.runs.values() if run.scores is not None), None)
        if scored is None:
            lacking = not set(self.comparison.pictures.stimulus_ids) - self.comparison.pictures.without_picture
            why = "No scores: no stimulus of this split has a picture." if lacking else "Not scored yet: press Score these."
            self.means.say("" if not self.comparison.runs else why)
            self.score_button.setVisible(bool(self.comparison.unscored) and not lacking)
            return
        photos = "one photograph" if scored.n_photos == 1 else f"{scored.n_photos:,} photographs"
        n_images = f"{scored.n_scored:,} {self.comparison.pictures.split} images"
        self.means.say(f"Means over N = {n_images} from {photos}. 95 % intervals and definitions: rest the mouse there.")

    @guarded
    def _show_count(self) -> None:
        total, shown = len(self.comparison.pictures.stimulus_ids), len(self.comparison.rows)
        lead = self.comparison.leading
        unsorted = self.comparison.sort != "name" and (lead is None or lead.scores is None)
        words = f"{shown:,} of {total:,} images" if shown else f"No name of an image has “{self.comparison.text}” in it."
        self.count.say(f"{words}; by name until {'they are scored' if lead else 'there are reconstructions'}" if unsorted else words)

    @guarded
    def _show_scoring(self, busy: bool) -> None:
        self.score_button.setEnabled(not busy)
        self.score_button.setText("Scoring …" if busy else "Score these")

    @guarded
    def _say(self, text: str) -> None:
        self.notice.say(text)

    # -- what the user does

    @guarded
    def _mark(self, on: bool) -> None:
        self.comparison.show_run(self.sender().property("run"), on)

    @guarded
    def _lead(self, item: QTreeWidgetItem | None) -> None:
        if item is not None and item.data(0, KEY):
            self.comparison.lead_with(item.data(0, KEY))

    @guarded
    def _choose_run(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A trained run of this subject, or a demo of it")
        if folder:
            self.add_run(Path(folder))

    def add_run(self, folder: Path) -> None:
        """Compare with another run; why it cannot be is said where the user looks.

        Parameters
        ----------
        folder : Path
        """
        from brain2pix.errors import Brain2PixError

        try:
            self.comparison.add(folder)
        except (Brain2PixError, OSError, ValueError, KeyError) as error:
            self.notice.say(str(error))

    @guarded
    def _score(self) -> None:
        self.comparison.start_scoring()

    @guarded
    def _choose_split(self) -> None:
        self.state.set_split(self.split.currentText())

    @guarded
    def _choose_score(self) -> None:
        self.comparison.set_score(self.score.currentData())

    @guarded
    def _choose_sort(self) -> None:
        self.comparison.set_sort(self.sort.currentData())

    @guarded
    def _find(self, text: str) -> None:
        self.comparison.set_text(text)


def about_images(workspace: "Workspace") -> str:
    """Say which images are shown, whether training saw them, and which responses they are reconstructed from."""
    subject, pictures, split = workspace.subject, workspace.pictures, workspace.split
    n_images = len(pictures.stimulus_ids)
    if not n_images:
        return f"This subject has no {split} images."
    splits, shown = subject.trials["split"], subject.trials["stimulus_id"]
    n_trained = len(set(shown[splits == "train"]) & set(pictures.stimulus_ids))
    trained = f"{n_trained:,} of them used in training" if n_trained else "none used in training"
    words = [f"{n_images:,} images of the {split} split, {trained}."]
    if pictures.without_picture:
        words.append(f"{len(pictures.without_picture):,} have no picture: nothing is compared with them.")
    repeats = shown[splits == split].value_counts()
    if len(repeats):
        low, high = int(repeats.min()), int(repeats.max())
        kind = "simulated" if subject.simulated else "measured"
        each = f"the mean of the {low if low == high else f'{low} to {high}'}" if high > 1 else "the one"
        words.append(f"Reconstructions are made from {each} {kind} response{'s' * (high > 1)} to each.")
    return " ".join(words)


class _Mark(QCheckBox):
    """A check box that takes a click anywhere in its cell: the box alone is small, and without words Qt takes nothing else."""

    @guarded(otherwise=False)
    def hitButton(self, place: QPoint) -> bool:
        """Whether a click there is meant for it."""
        return bool(self.rect().contains(place))
