"""Forms from the settings models: every kind of field, its range, its help, and the model's own words for what is wrong."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field as Setting
from pydantic import model_validator
from qtpy.QtCore import Qt

from brain2pix.config.base import Settings, preset_names
from brain2pix.methods.registry import METHODS, resolve_settings, settings_class
from napari_brain2pix.widgets._fields import fields_of, title_of
from napari_brain2pix.widgets._forms import IntField, SettingsForm


class Inner(Settings):
    """A group."""

    n_steps: int = Setting(10, ge=0, le=50, description="gradient steps")
    rate: float = Setting(1e-3, gt=0, description="how fast [1/step]")


class Everything(Settings):
    """One setting of each kind."""

    count: int = Setting(3, ge=1, le=9, description="how many [pieces]")
    share: float | None = Setting(None, gt=0, le=1, description="a share; none: all")
    limit: int | None = Setting(None, ge=1, description="a limit")
    mode: Literal["fast", "very_slow"] = Setting("fast", description="how")
    number: Literal[1, 3] = Setting(3, description="one of two")
    on: bool = Setting(False, description="whether")
    weights: tuple[float, ...] = Setting((0.5, 2.0), min_length=1, description="some weights")
    span: tuple[float, float] = Setting((0.7, 1.3), description="two ends")
    file: Path | None = Setting(None, description="a file")
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _check(self) -> "Everything":
        if self.on and self.count == 9:
            raise ValueError("nine is too many when it is on")
        return self


@pytest.fixture
def form(qtbot) -> SettingsForm:
    made = SettingsForm()
    qtbot.addWidget(made)
    made.load(Everything())
    made.show()
    return made


def type_into(qtbot, field, text: str) -> None:
    line = getattr(field, "text", None)
    line = line if hasattr(line, "selectAll") else field
    line.selectAll()
    qtbot.keyClicks(line, text) if text else qtbot.keyClick(line, Qt.Key.Key_Delete)


def open_rest(qtbot, form: SettingsForm) -> None:
    qtbot.mouseClick(form.more, Qt.MouseButton.LeftButton)
    assert form.rest.isVisible()


def test_what_a_field_knows_comes_from_the_model() -> None:
    fields = {field.key: field for field in fields_of(Everything)}
    assert list(fields) == ["count", "share", "limit", "mode", "number", "on", "weights", "span", "file", "inner.n_steps", "inner.rate"]
    assert (fields["count"].help, fields["count"].unit, fields["count"].low, fields["count"].high) == ("how many", "pieces", 1, 9)
    assert (fields["share"].kind, fields["share"].optional, fields["share"].unit) == ("float", True, "")
    assert fields["number"].choices == (1, 3)
    assert (fields["file"].kind, fields["file"].optional) == ("path", True)
    assert fields["inner.n_steps"].is_main and not fields["inner.rate"].is_main
    assert fields["inner.n_steps"].title == "steps" and title_of("learning_rate") == "learning rate"


def test_ranges_help_and_units_are_seen(form, qtbot) -> None:
    count = form.editors["count"]
    assert isinstance(count, IntField) and (count.minimum(), count.maximum()) == (1, 9)
    assert "how many [pieces]" in count.toolTip() and "1 to 9" in count.toolTip()
    assert "inner.rate" not in form.editors and not form.rest.isVisible()
    open_rest(qtbot, form)
    assert form.editors["inner.rate"].text() == "0.001"
    assert form.changes() == {}


def test_only_what_was_changed_is_sent_as_plain_values(form, qtbot) -> None:
    open_rest(qtbot, form)
    editors = form.editors
    for key, text in (("share", "0.25"), ("limit", "7"), ("weights", "1, 2.5, 3e-2"), ("span", "0.5, 2"), ("file", "/some/file.pth")):
        type_into(qtbot, editors[key], text)
    type_into(qtbot, editors["inner.rate"], "2e-4")
    qtbot.keyClick(editors["count"], Qt.Key.Key_Up)
    qtbot.mouseClick(editors["on"], Qt.MouseButton.LeftButton, pos=editors["on"].rect().center().__class__(8, editors["on"].height() // 2))
    qtbot.keyClick(editors["mode"], Qt.Key.Key_Down)
    qtbot.keyClick(editors["number"], Qt.Key.Key_Up)
    assert form.changes() == {
        "count": 4,
        "share": 0.25,
        "limit": 7,
        "mode": "very_slow",
        "number": 1,
        "on": True,
        "weights": [1.0, 2.5, 0.03],
        "span": [0.5, 2.0],
        "file": "/some/file.pth",
        "inner.rate": 2e-4,
    }
    assert form.values() == Everything().with_changes(form.changes())
    type_into(qtbot, editors["share"], "none")
    type_into(qtbot, editors["limit"], "")
    type_into(qtbot, editors["file"], "")
    assert not {"share", "limit", "file"} & set(form.changes())
    qtbot.mouseClick(form.reset, Qt.MouseButton.LeftButton)
    assert form.changes() == {} and not form.reset.isVisible()
    assert editors["weights"].text() == "0.5, 2"


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("share", "1.5", "less than or equal to 1"),
        ("share", "much", "unable to parse string as a number"),
        ("weights", "1, x", "unable to parse string as a number"),
        ("weights", "", "at least 1 item"),
        ("span", "1", "Field required"),
        ("limit", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_explained_under_its_field_at_once(form, qtbot, key, text, words) -> None:
    type_into(qtbot, form.editors[key], text)
    assert words in form.notes[key].text() and form.notes[key].height() > 5
    assert [other for other, note in form.notes.items() if note.text()] == [key]
    assert key in form.problem and form.values() is None
    before = Everything.model_fields[key].default
    type_into(qtbot, form.editors[key], ", ".join(map(str, before)) if before else "")
    assert not form.problem and not form.notes[key].text() and form.changes() == {}


def test_what_is_wrong_only_together_is_said_below(form, qtbot) -> None:
    form.editors["on"].setChecked(True)
    form.editors["count"].setValue(9)
    assert "nine is too many when it is on" in form.general.text()
    form.editors["count"].setValue(8)
    assert not form.general.text() and form.changes() == {"count": 8, "on": True}


def test_changes_given_before_are_shown(form) -> None:
    form.load(Everything(), {"inner.rate": 0.5, "count": 2})
    assert form.editors["count"].value() == 2
    assert form.editors["inner.rate"].text() == "0.5" and form.rest.isVisible()
    assert form.changes() == {"inner.rate": 0.5, "count": 2}


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_every_method_and_preset_has_a_field_that_keeps_its_value(method, qtbot) -> None:
    form = SettingsForm()
    qtbot.addWidget(form)
    for preset in preset_names(method):
        form.load(resolve_settings(method, preset))
        form._add_rest()
        assert form.problem == "" and form.changes() == {}, preset
        assert set(form.editors) == set(_leaves(settings_class(method)().model_dump()))
        assert all(editor.toolTip() for editor in form.editors.values())


def _leaves(values: dict, prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return found
