"""Durations and sizes as text, read and written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.config.units import (
    duration_ms,
    duration_pattern,
    duration_text,
    size_bytes,
    size_pattern,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("30s", 30_000), ("1h30m", 5_400_000), ("250ms", 250), ("1.5h", 5_400_000), ("20y", 631_152_000_000)],
)
def test_duration_ms_reads_units_and_fractions(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "m", "5 parsecs", "-5s", "5s5", 5, None])
def test_duration_ms_refuses_a_number_without_a_unit(text: object) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 2**26),
        ("10MB", 10**7),
        ("1.5 KiB", 1536),
        (1024, 1024),
        ("7", 7),
        ("512M", 512 * 10**6),
        ("512MB", 512 * 10**6),
        ("512Mi", 2**29),
        ("512MiB", 2**29),
        ("2g", 2 * 10**9),
    ],
)
def test_size_bytes_reads_units_and_fractions(text: object, size: int) -> None:
    assert size_bytes(text) == size
    assert isinstance(text, int) or re.search(size_pattern(), str(text))


@pytest.mark.parametrize("text", ["", "5XB", "5I", "5IB", "-1", True, None, 1.5])
def test_size_bytes_refuses_other_values(text: object) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (250, "250ms"), (90_000, "90s"), (300_000, "5m"), (3_600_000, "1h"), (86_400_000, "1d")]
)
def test_duration_text_has_one_unit(ms: int, text: str) -> None:
    """As in the example file."""
    assert duration_text(ms) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (1500, "1500"), (2048, "2KiB"), (4_000_000, "4MB"), (64 * 2**20, "64MiB")]
)
def test_size_text_prefers_binary_units(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(0, 10**12))
def test_duration_and_size_texts_are_read_back_as_the_same_number(number: int) -> None:
    """And match the pattern of the schema."""
    assert duration_ms(duration_text(number)) == number
    assert size_bytes(size_text(number)) == number
    assert re.search(duration_pattern(), duration_text(number))
    assert re.search(size_pattern(), size_text(number))
