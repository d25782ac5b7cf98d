"""Times in options, which are looked at before any service is asked."""

from __future__ import annotations

from vortex.commands.event_files import FileError
from vortex.config.values import parse_instant


def instant(option: str, text: str) -> int:
    """Epoch milliseconds of an ISO time. Raises FileError with the option's name."""
    try:
        return parse_instant(text)
    except ValueError as problem:
        raise FileError(f"{option}: {problem}") from None


def instant_or_none(option: str, text: str | None) -> int | None:
    """The same for an option that need not be given."""
    return None if text is None else instant(option, text)


def ordered(since: int | None, until: int | None, about: str = "") -> None:
    """Raises FileError unless `since` is before `until`. `about` says more of --until."""
    if since is not None and until is not None and since >= until:
        raise FileError(f"--since must be before --until{about}")
