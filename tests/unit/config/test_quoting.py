"""Values in error messages."""

from __future__ import annotations

from vortex.config.quoting import quoted, shortened


def test_quoted_keeps_begin_and_end_of_a_long_value() -> None:
    assert quoted("a'b") == '"a\'b"'
    assert quoted("x" * 98) == f"'{'x' * 98}'"
    assert quoted("a" * 500 + "b" * 500) == f"'{'a' * 65}…{'b' * 32}'"
    assert len(shortened("x" * 10_000, 500)) <= 500
