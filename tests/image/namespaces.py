"""Commands in namespaces of their own: of mounts, which nothing outside sees, and of processes."""

from __future__ import annotations

from collections.abc import Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of every process in a root folder, unless its image says another."""


def isolated(lines: Sequence[str]) -> list[str]:
    """The command line that runs a script of the shell there; the script ends at the first line that fails."""
    options = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    return ["unshare", *options, "sh", "-ec", "\n".join(lines)]
