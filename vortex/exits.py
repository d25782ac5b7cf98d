"""Exit codes, by which a supervisor or a script decides what to do."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit code of a command."""

    OK = 0
    FAILED = 1
    """`check` or `verify` found a fault, `explain` did not see the event, `preview` rejects all, `rejects replay` could
    not put all, or the sum of the demo does not hold."""
    USAGE = 2
    """The command line is wrong."""
    CONFIG = 3
    """The settings are wrong; each line names the file, the key and the environment variable."""
    UNREACHABLE = 4
    """The stream or the store is unreachable or denies access; only commands that do not wait end with this."""
    LOST_STATE = 5
    """State is missing, damaged or of another stream; this needs operator action."""
    UNFINISHED = 6
    """A drain was stopped before its end, or has left something unpublished; run it again."""
    INTERRUPTED = 130
    """Ctrl-C ended a command that does not run until it is stopped, or a second signal ended a worker at once. Nothing
    committed is lost."""
