"""Where the loader starts: SIGTERM is handled before anything else is imported.

Process 1 of a container has no default handlers: a signal without a handler is lost.
"""

import os
import signal
import sys
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    """End at once; what a load had not committed, the next one does. `run` ends with 0: that is how it is stopped."""
    os._exit(0 if sys.argv[1:2] == ["run"] else 128 + number)


def main() -> None:
    """The program `vortex-loader`. Its `run` replaces the handler when it begins."""
    signal.signal(signal.SIGTERM, _end)
    from vortex_loader.cli import main as program

    program()
