"""Outside `napari.run()` an exception in a slot ends the process: every slot of ours is guarded."""

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from brain2pix.errors import Brain2PixError

logger = logging.getLogger(__name__)


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception in a slot into a message in the dock; the owner has a `state` with a `problem` signal.

    Qt signals may carry more values than a slot takes: the surplus is dropped.
    """
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    takes = None if inspect.Parameter.VAR_POSITIONAL in kinds else len(kinds) - 1

    @wraps(method)
    def slot(self: Any, *values: Any) -> Any:
        try:
            return method(self, *values[:takes])
        except Exception as error:
            expected = isinstance(error, Brain2PixError)
            logger.log(logging.INFO if expected else logging.ERROR, "%s failed", method.__qualname__, exc_info=True)
            self.state.problem.emit(str(error) if expected else f"Something went wrong: {type(error).__name__}: {error}")
            return None

    return slot
