"""Exit codes, by which a supervisor or a script decides what to do. docs/reference/exit-codes.md has them, too.

A command other than `run` that is ended by SIGTERM has the code of a shell for it, 143: `vortex.start`.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit code of a command."""

    OK = 0
    FAILED = 1
    """`check` or `verify` found a fault, `explain` did not see the event, `preview` rejects all, `rejects replay` could
    not put all, `health` got no answer, the sum of the demo does not hold, or the store has no state of the stream."""
    USAGE = 2
    """The command line is wrong, or names a file that cannot be read or written."""
    CONFIG = 3
    """The settings are wrong, or do not allow what is asked; a line names the key, and the file and the environment
    variable where it has them."""
    UNREACHABLE = 4
    """The stream or the store is unreachable or denies access; only commands that do not wait end with this."""
    LOST_STATE = 5
    """State is missing, damaged or of another stream; this needs operator action. A worker that gave a shard up ends
    with it, too, however it ends: else nobody would see from its code that the shard stands still."""
    UNFINISHED = 6
    """A drain was stopped before its end, or has left something unpublished; run it again."""
    INTERRUPTED = 130
    """Ctrl-C ended a command that does not run until it is stopped, or a second signal ended a worker at once. Nothing
    committed is lost."""
