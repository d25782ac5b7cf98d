"""Which rejections are those of an event. test_explain.py searches them in a store."""

from __future__ import annotations

import gzip

import pytest

from vortex.core.decode.limits import DEFAULT
from vortex.lookup.identity import Wanted
from vortex.lookup.rejected import Matcher


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"x":"acme","i":"id-1"}', True),
        (b'{"x":"acme","i":"id-10"}', False),
        (b'{"x":"acme","i":"my id-1"}', False),
        (b'{"x":"other","i":"id-1"}', False),
        (b'{"x":"acme","i":"id-1"', True),
        (gzip.compress(b'{"x":"acme","i":"id-1"}', mtime=0), True),
    ],
)
def test_matches_whole_values_only(data: bytes, found: bool) -> None:
    assert Matcher(Wanted("acme", "id-1"), DEFAULT).matches(data) == found


@pytest.mark.parametrize(
    ("data", "found"),
    [(b'{"c":"a","i":12}', True), (b'{"c":"a","i":"12"}', True), (b'{"c":"a","i":120,"j":1.12}', False)],
)
def test_matches_numbers_as_numbers_and_as_texts(data: bytes, found: bool) -> None:
    assert Matcher(Wanted("a", "12"), DEFAULT).matches(data) == found


@pytest.mark.parametrize("data", ['{"c":"é","i":"1"}'.encode(), b'{"c":"\\u00e9","i":"1"}'])
def test_matches_texts_with_and_without_escapes(data: bytes) -> None:
    assert Matcher(Wanted("é", "1"), DEFAULT).matches(data)


def test_matches_the_bytes_of_a_given_event_and_no_others() -> None:
    matcher = Matcher(Wanted("", "", line=b'{"a"'), DEFAULT)
    assert matcher.exact(b' {"a"\n')
    assert matcher.matches(b'{"a"')
    assert not matcher.matches(b'{"a":1}')
