"""Where the program starts: signals are handled before anything else is imported.

Process 1 of a container has no default handlers: a signal without a handler is lost. Imports take most of a second on a
small machine, so this module imports almost nothing.
"""

import os
import signal
import sys
from types import FrameType

_UNFINISHED = 6
"""`vortex.exits.Exit.UNFINISHED`, without its import."""


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has begun. A worker that is asked to stop ends with 0, a drain as unfinished, and another
    command as killed by the signal.
    """
    if not _runs():
        os._exit(128 + number)
    os._exit(_UNFINISHED if "--drain" in sys.argv else 0)


def _runs() -> bool:
    return sys.argv[1:2] == ["run"]


def main() -> None:
    """The program `vortex`. `vortex run` replaces the handler when it has something to finish."""
    signal.signal(signal.SIGTERM, _end)
    if _runs():  # other commands end by KeyboardInterrupt, and tidy up
        signal.signal(signal.SIGINT, _end)
    from vortex.cli import main as program

    program()
