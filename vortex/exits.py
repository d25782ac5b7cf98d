"""Exit codes; distinct, so that a supervisor or a script can tell what to do."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the process says when it ends."""

    OK = 0
    FAILED = 1
    """`check` or `verify` found a fault, or the demo's sum does not hold."""
    USAGE = 2
    """The command line is wrong."""
    CONFIG = 3
    """The settings are wrong; the message names file, key and environment variable."""
    UNREACHABLE = 4
    """The stream or the store denied access or cannot be reached, where a command does not wait for it."""
    LOST_STATE = 5
    """State is missing, foreign or broken: a person must look at it before Vortex goes on."""
    INTERRUPTED = 130
    """A second signal: left at once. Nothing committed is lost."""
