import io
import logging

import pytest
from rich.console import Console

from brain2pix.cli._progress import Bars, PlainLines, drawn, duration, numbers
from brain2pix.events import Failed, Finished, Message, Metric, Preview, Progress, Started, Stopped

STORY = [
    Started("encoder"),
    Metric("encoder", 1, "tv", 0.5),
    Metric("encoder", 1, "total", 1.23456),
    Progress("encoder", 1, 10),
    Message("debug", "not for people"),
    Message("warning", "checkpoint not saved"),
    Progress("encoder", 10, 10),
    Preview("encoder", 10, "previews/a.png"),
    Finished("encoder", 75.0),
    Started("decoder"),
    Stopped("decoder"),
    Failed("train", "bad"),
]


def test_plain_lines(capsys):
    draw = PlainLines()
    for event in STORY:
        draw(event)
    assert capsys.readouterr().out.splitlines() == [
        "encoder ...",
        "warning: checkpoint not saved",
        "encoder: done in 1 min 15 s (total 1.235  tv 0.5)",
        "decoder ...",
        "decoder: stopped",
    ]


@pytest.fixture
def told(capsys, monkeypatch):
    """Give the lines that come of events, each some seconds after the last."""

    def tell(events, seconds):
        now = [100.0]
        monkeypatch.setattr("brain2pix.cli._progress.time.monotonic", lambda: now[0])
        draw = PlainLines()
        for event in events:
            draw(event)
            now[0] += seconds
        return capsys.readouterr().out.splitlines()

    return tell


def test_a_line_every_few_seconds(told):
    assert told([Started("encoder"), *(Progress("encoder", step, 100) for step in range(1, 41))], 1) == [
        "encoder ...",
        "encoder 10/100, 1 min 30 s left",
        "encoder 20/100, 1 min 20 s left",
        "encoder 30/100, 1 min 10 s left",
        "encoder 40/100, 1 min 00 s left",
    ]


def test_what_was_done_before_tells_nothing_of_the_time_that_is_left(told):
    # a stage that goes on, and is not said to begin
    lines = told([Progress("cells", done, 12) for done in (5, 5, 6, 8)], 20)
    assert lines == ["cells 5/12", "cells 6/12, 4 min 00 s left", "cells 8/12, 1 min 20 s left"]


def test_the_time_that_is_left_goes_by_while_a_cell_runs(told):
    # a cell takes a minute
    assert told([Progress("cells", done, 12) for done in (0, 0, 0, 1, 1, 1, 2)], 20)[2:] == [
        "cells 1/12, 11 min 00 s left",
        "cells 1/12, 10 min 40 s left",
        "cells 1/12, 10 min 20 s left",
        "cells 2/12, 10 min 00 s left",
    ]


def test_what_comes_before_the_first_step_is_no_pace(told):
    steps = [(64, 128, "features"), (128, 128, "features"), (1, 100, ""), (11, 100, "")]
    assert told([Started("encoder"), *(Progress("encoder", *each) for each in steps)], 20) == [
        "encoder ...",
        "encoder features 64/128",
        "encoder features 128/128, 0.0 s left",
        "encoder 1/100",
        "encoder 11/100, 2 min 58 s left",
    ]


def test_bars_in_a_terminal(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda: Console(file=text, force_terminal=True, width=140))
    with Bars() as bars:
        for event in STORY:
            bars(event)
        bars(Progress("a stage that never began", 1, 2))
    drawing = text.getvalue()
    assert "encoder" in drawing and "10/10" in drawing and "total 1.235" in drawing
    assert "warning: checkpoint not saved" in drawing and "not for people" not in drawing


def test_stages_with_brackets_do_not_break_the_bars(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda: Console(file=text, force_terminal=True, width=140))
    with Bars() as bars:
        for event in (Started("region [V1]"), Message("info", "V1 [/] odd"), Finished("region [V1]", 1.0)):
            bars(event)
    assert "V1 [/] odd" in text.getvalue()


def test_warnings_of_the_core_are_shown(capsys):
    with drawn():
        logging.getLogger("brain2pix.data.subject").warning("%d voxels dropped", 3)
    assert capsys.readouterr().out == "warning: 3 voxels dropped\n"


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4 s"), (42, "42 s"), (60, "1 min 00 s"), (3725, "62 min 05 s")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_numbers_fit_on_a_line():
    assert numbers({}) == ""
    assert numbers({"a": 1.0, "total": 2.0}) == "total 2  a 1"
    assert numbers({"x" * 80: 1.0, "y" * 80: 2.0}) == f"{'x' * 80} 1"
