"""Outside `napari.run()` an exception in a slot ends the process: every slot, callback and event handler of ours is guarded."""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QWidget

from brain2pix.errors import Brain2PixError

logger = logging.getLogger(__name__)


def guarded(method: Callable[..., Any] | None = None, *, otherwise: Any = None, tell: bool = True) -> Callable[..., Any]:
    """Turn an exception in a slot into a message in the dock, if its owner has a `state` with a `problem` signal, and into a log entry.

    Qt signals may carry more values than a slot takes: the surplus is dropped.

    Parameters
    ----------
    method : method of a widget, or of anything that listens to Qt or napari
    otherwise : what it returns after an exception; Qt's own `event` needs a bool
    tell : bool; what shows the messages must not cause another
    """
    if method is None:
        return partial(guarded, otherwise=otherwise, tell=tell)
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    takes = None if inspect.Parameter.VAR_POSITIONAL in kinds else len(kinds) - 1

    @wraps(method)
    def slot(self: Any, *values: Any) -> Any:
        try:
            return method(self, *values[:takes])
        except Exception as error:
            expected = isinstance(error, Brain2PixError)
            logger.log(logging.INFO if expected else logging.ERROR, "%s failed", method.__qualname__, exc_info=True)
            if tell:
                _tell(self, str(error) if expected else f"Something went wrong: {type(error).__name__}: {error}")
            return otherwise

    return slot


def guarded_paint(method: Callable[..., None]) -> Callable[..., None]:
    """Log an exception in a paintEvent, once a widget: it would come again with each repaint, and a message would cause the next."""

    @wraps(method)
    def paint(self: Any, event: Any) -> None:
        try:
            method(self, event)
        except Exception:
            if not getattr(self, "_paint_failed", False):
                logger.exception("%s failed", method.__qualname__)
            self._paint_failed = True

    return paint


@contextmanager
def painting(widget: QWidget, *hints: QPainter.RenderHint) -> Iterator[QPainter]:
    """Painter of a widget that ends whatever happens: Qt aborts if one outlives its paintEvent."""
    painter = QPainter(widget)
    try:
        for hint in hints:
            painter.setRenderHint(hint)
        yield painter
    finally:
        painter.end()


def _tell(owner: Any, message: str) -> None:
    """Show a message where there is a dock to show it; a window that is being closed may have none any more."""
    try:
        owner.state.problem.emit(message)
    except (AttributeError, RuntimeError):
        logger.debug("nobody to tell: %s", message)
