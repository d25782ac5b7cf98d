"""Where the program starts: SIGTERM is handled before anything else is imported.

Process 1 of a container has no default handlers: a signal without a handler is lost. Imports take most of a second on a
small machine, so this module imports almost nothing.
"""

import os
import signal
import sys
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has begun. A worker that is asked to stop ends with 0, another command as killed by it."""
    os._exit(0 if sys.argv[1:2] == ["run"] else 128 + number)


def main() -> None:
    """The program `vortex`. `vortex run` replaces the handler when it has something to finish."""
    signal.signal(signal.SIGTERM, _end)
    from vortex.cli import main as program

    program()
