"""Object keys: encoding is injective, a name is one path segment, and no name escapes its folder."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vortex.core.layout import Layout, LayoutError, _remembered, encode, hour_of, object_key

PATH = "customer={customer}/event_type={event_type}/date={date}/hour={hour}"
REJECTED = "_rejected/date={date}/hour={hour}"
NAMES = st.text(st.characters(), max_size=300)


@given(NAMES, NAMES)
@example("", "%")
@example(".", "%2E")
@example("..", "%2E%2E")
@example("a/b", "a%2Fb")
@example("x" * 400, "x" * 401)
def test_encode_is_injective_and_returns_one_safe_path_segment(one: str, two: str) -> None:
    """Different names get different segments, and every segment is plain ASCII without a slash."""
    for value in (one, two):
        text = encode(value)
        assert re.fullmatch(r"[A-Za-z0-9_.%-]+", text)
        assert text.strip("."), "never . or .. alone"
        assert len(text) <= 130
    assert (encode(one) == encode(two)) == (one == two)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=121, max_size=300))
def test_encode_cuts_long_names_without_breaking_an_escape(value: str) -> None:
    """Cut names are longer than any uncut name, so the two kinds cannot collide."""
    text = encode(value)
    assert len(text) > 120
    assert re.fullmatch(r"(?:[A-Za-z0-9_.-]|%[0-9A-F]{2})+", text)


def test_encode_does_not_cache_long_names() -> None:
    """A producer may send others without number."""
    _remembered.cache_clear()
    encode("x" * 60_000)
    encode("never seen before in any test")
    assert _remembered.cache_info().currsize == 1


@given(NAMES, NAMES)
def test_layout_folder_has_the_depth_of_the_template_for_any_name(customer: str, kind: str) -> None:
    folder = Layout(PATH, REJECTED).folder(customer, kind, 1_545_116_700_000)
    parts = folder.split("/")
    assert len(parts) == 4
    assert parts[0].startswith("customer=")
    assert parts[2:] == ["date=2018-12-18", "hour=07"]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("customer={customer}/date={date}/hour={hour}", "missing"),
        (PATH + "/{shard}", "unknown"),
        ("x={customer}-{event_type}/date={date}/hour={hour}", "own"),
        ("/" + PATH, "segment"),
        ("a/../" + PATH, "segment"),
        ("_vortex/" + PATH, "folder of Vortex itself"),
        (PATH + "/{date}", "once"),
        ("{customer}/{event_type}/{date}/{hour}", "fixed part"),
        ("customer={customer!r}/event_type={event_type}/date={date}/hour={hour}", "format"),
        ("_rejected/" + PATH, "begin with another folder"),
    ],
)
def test_layout_raises_an_error_when_a_template_cannot_keep_partitions_apart(path: str, wrong: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(LayoutError, match=wrong):
        Layout(path, REJECTED)


def test_object_key_contains_the_period_and_the_part() -> None:
    """Minutes, and seconds only where a period does not begin on a minute."""
    assert object_key("f", 1_545_116_700_000, 0) == "f/0705-000.json.gz"
    assert object_key("f", 1_545_116_710_000, 12) == "f/070510-012.json.gz"
    assert hour_of(-1) == -3_600_000
