"""Hands and eyes of a walk through the real window: clicks and keys as a user makes them, pictures, and a log.

Clicks and keys come from xdotool as X events where it is installed, so that they take the road of a real mouse; elsewhere Qt makes them.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Lost(Exception):
    """The walk did not find what a user would look for."""


class Walk:
    """Hands and eyes in the window.

    Parameters
    ----------
    out : Path, for pictures and the log; made anew
    """

    def __init__(self, out: Path) -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.out = out
        self.began_s = time.monotonic()
        self.n_pictures = 0
        self.x11 = shutil.which("xdotool") is not None and os.environ.get("DISPLAY") is not None

    # -- eyes

    def say(self, text: str) -> None:
        line = f"{self.seconds():7.1f} s  {text}"
        print(line, flush=True)
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def picture(self, name: str) -> None:
        """Keep a picture of the whole screen: windows and dialogs, as they lie over each other."""
        from qtpy.QtWidgets import QApplication

        self.rest(0.6)
        self.n_pictures += 1
        file = self.out / f"{self.n_pictures:02d}-{name}.png"
        QApplication.primaryScreen().grabWindow(0).save(str(file))
        self.say(f"picture {file.name}")

    def see(self, what: str, there: Callable[[], Any], within_s: float = 20.0) -> Any:
        """Wait until something can be seen."""
        end = time.monotonic() + within_s
        while not (found := there()):
            if time.monotonic() > end:
                self.picture("lost")
                raise Lost(f"after {within_s:.0f} s: {what}")
            self.rest(0.05)
        self.say(f"see {what}")
        return found

    def seconds(self) -> float:
        """Time since the walk began."""
        return time.monotonic() - self.began_s

    def rest(self, seconds: float) -> None:
        """Let the window work."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.01)

    # -- hands

    def click(self, widget: Any, at: tuple[float, float] | None = None, *, double: bool = False) -> None:
        """Click a widget, at a place given as shares of its width and height (the middle)."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        self.see(f"{_name(widget)}, enabled", lambda: widget.isVisible() and widget.isEnabled())
        _bring_into_view(widget)
        self.rest(0.15)
        x, y = at or (0.5, 0.5)
        place = QPoint(round(x * (widget.width() - 1)), round(y * (widget.height() - 1)))
        self.say(f"{'double-' if double else ''}click {_name(widget)}")
        if self.x11:
            point = widget.mapToGlobal(place)
            self._xdotool("mousemove", str(point.x()), str(point.y()))
            self.rest(0.1)
            self._xdotool("click", *(["--repeat", "2", "--delay", "60"] if double else []), "1")
        else:
            (QTest.mouseDClick if double else QTest.mouseClick)(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
        self.rest(0.25)

    def click_rect(self, widget: Any, rect: Any, name: str) -> None:
        """Click the middle of a part of a widget, e.g. an entry of a menu."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.say(f"click {name}")
        if self.x11:
            point = widget.mapToGlobal(rect.center())
            self._xdotool("mousemove", str(point.x()), str(point.y()))
            self.rest(0.1)
            self._xdotool("click", "1")
        else:
            QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, rect.center())
        self.rest(0.4)

    def drag(self, widget: Any, *places: tuple[float, float]) -> None:
        """Press the button at the first place, move to the others, let go."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        self.say(f"drag in {_name(widget)}")
        points = [QPoint(round(x * (widget.width() - 1)), round(y * (widget.height() - 1))) for x, y in places]
        for number, point in enumerate(points):
            if self.x11:
                there = widget.mapToGlobal(point)
                self._xdotool("mousemove", str(there.x()), str(there.y()))
            else:
                QTest.mouseMove(widget, point)
            self.rest(0.1)
            if number == 0:
                self._xdotool("mousedown", "1") if self.x11 else QTest.mousePress(widget, Qt.MouseButton.LeftButton, pos=point)
        self._xdotool("mouseup", "1") if self.x11 else QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=points[-1])
        self.rest(0.3)

    def keys(self, *names: str) -> None:
        """Press keys, named as X does: "ctrl+b", "Down", "3"."""
        self.say(f"press {' '.join(names)}")
        if self.x11:
            for name in names:
                self._xdotool("key", name)
                self.rest(0.15)
        else:
            _qt_keys(names)
        self.rest(0.2)

    def type(self, text: str) -> None:
        """Type a text where the cursor is, in place of what stands there."""
        self.keys("ctrl+a")
        self.say(f"type {text}")
        if self.x11:
            self._xdotool("type", "--delay", "8", text)
        else:
            from qtpy.QtTest import QTest
            from qtpy.QtWidgets import QApplication

            QTest.keyClicks(QApplication.focusWidget(), text)
        self.rest(0.3)

    def choose(self, box: Any, text: str) -> None:
        """Choose an entry of a combo box with the arrow keys."""
        index = next((number for number in range(box.count()) if text in box.itemText(number)), None)
        if index is None:
            raise Lost(f"{text!r} among {[box.itemText(number) for number in range(box.count())]}")
        self.click(box)
        self.keys(*["Down" if index > box.currentIndex() else "Up"] * abs(index - box.currentIndex()), "Return")
        self.see(f"{box.itemText(index)!r} chosen", lambda: box.currentIndex() == index)

    def answer(self, do: Callable[[Any], None]) -> None:
        """Have something done as soon as a question is asked: it keeps the window waiting, and the walk with it."""
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        def look() -> None:
            asked = QApplication.activeModalWidget()
            if asked is None:
                QTimer.singleShot(100, look)
            else:
                do(asked)

        QTimer.singleShot(100, look)

    def _xdotool(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], check=True, timeout=30)


def _qt_keys(names: tuple[str, ...]) -> None:
    from qtpy.QtGui import QKeySequence
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    for name in names:
        target = QApplication.focusWidget() or QApplication.activeWindow()
        QTest.keySequence(target, QKeySequence(name))


def _name(widget: Any) -> str:
    words = widget.accessibleName() or getattr(widget, "text", lambda: "")() or widget.objectName()
    return f"{type(widget).__name__} {' '.join(str(words).split())[:60]!r}"


def _bring_into_view(widget: Any) -> None:
    from qtpy.QtWidgets import QScrollArea

    parent = widget.parent()
    while parent is not None:
        if isinstance(parent, QScrollArea):
            parent.ensureWidgetVisible(widget)
        parent = parent.parent()
