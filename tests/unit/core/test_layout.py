"""Object keys: encoding is injective, a name is one path segment, and no name escapes its folder."""

from __future__ import annotations

from string import ascii_letters, digits
from unicodedata import category, normalize
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vortex.core.layout import Layout, LayoutError, _remembered, encode, hour_of, object_key

PATH = "customer={customer}/event_type={event_type}/date={date}/hour={hour}"
REJECTED = "_rejected/date={date}/hour={hour}"
SAFE = ascii_letters + digits + "_.-%"
LETTERS = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "So"}
"""The last two are what later versions of Unicode call two of the older version's letters."""
NAMES = st.text(st.characters(), max_size=300)


@given(NAMES, NAMES)
@example("", "%")
@example(".", "%2E")
@example("..", "%2E%2E")
@example("a/b", "a%2Fb")
@example("x" * 400, "x" * 401)
@example("é", "e\u0301")
@example("\u212b", "Å")  # the sign of a unit, and the letter
@example("\u0338", "≠")  # with the template's "=" before it, the first is the second
@example("\u200d\u0301", "e\u200d\u0301")
@example("각", "\u1100\u1161\u11a8")
@example("注文完了" * 30, "注文完了" * 31)
def test_encode_is_injective_and_returns_one_safe_path_segment(one: str, two: str) -> None:
    """Different names get different segments, also on a disk that normalizes; each is letters and ASCII, no slash."""
    for value in (one, two):
        text = encode(value)
        assert all(c in SAFE or (ord(c) > 127 and category(c) in LETTERS) for c in text)
        assert text.strip("."), "never . or .. alone"
        assert len(text.encode()) <= 121
        assert normalize("NFC", f"customer={text}/") == f"customer={text}/"
    forms = {normalize("NFD", f"={encode(value)}") for value in (one, two)}
    assert (len(forms) == 1) == (encode(one) == encode(two)) == (one == two)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tyrell é", "tyrell%20é"),
        ("注文完了", "注文完了"),
        ("Заказ оформлен", "Заказ%20оформлен"),
        ("חשבונית", "חשבונית"),
        ("हिन्दी", "हिन्दी"),
        ("٣", "٣"),
        ("𠮷野家", "𠮷野家"),
        ("é and e\u0301", "%C3%A9%20and%20e%CC%81"),  # outside NFC: all of it
        ("e\u0301", "e%CC%81"),
        ("q\u0303", "q%CC%83"),  # in NFC, but behind no letter that stays
        ("\u202egnp.exe", "%E2%80%AEgnp.exe"),
        ("a\u200db\ufeff\u00a0", "a%E2%80%8Db%EF%BB%BF%C2%A0"),
        ("\u3164", "%E3%85%A4"),
        ("☃é", "%E2%98%83é"),
        ("😀", "%F0%9F%98%80"),
        ("\ud83d", "%ED%A0%BD"),
        ("\n\x00/\\", "%0A%00%2F%5C"),
        ("\U000323b0", "%F0%B2%8E%B0"),  # a letter since Unicode 15
    ],
)
def test_encode_keeps_letters_and_escapes_what_paths_and_readers_cannot_bear(value: str, text: str) -> None:
    assert encode(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_encode_gives_what_decodes_to_the_value_unless_it_is_cut(value: str) -> None:
    text = encode(value)
    if value and len(text.encode()) <= 120:
        assert unquote(text) == value


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=121, max_size=300))
@example("é" * 121)
@example("𠮷" * 121)
@example("x" + "é" * 121)
def test_encode_cuts_long_names_at_a_character(value: str) -> None:
    """Cut names have more bytes than any uncut name, so the two kinds cannot collide."""
    text = encode(value)
    assert len(text.encode()) == 121
    start = unquote(text[: text.rindex("-", 0, len(text.rstrip("_")) - 31)], errors="strict")
    assert value.startswith(start) and len(start) >= 7


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
        ("_Rejected/" + PATH, "begin with another folder"),
        (
            "_{customer}/{event_type}/{date}/{hour}",
            "can become '_vortex', a folder of Vortex itself; begin with another",
        ),
        ("_b{event_type}s/{customer}/{date}/{hour}", "can become '_bundles'"),
        ("_HOURS/" + PATH, "can become '_hours'"),
        ("a" * 135 + "={customer}/{event_type}/{date}/{hour}", "can have 257 bytes, at most 255"),
        (
            "a" * 255 + "/{customer}/{event_type}/{date}/{hour}",
            "can have 513 bytes with the longest names, at most 450",
        ),
        ("x" * 100_000, "segment 'xxx"),
    ],
)
def test_layout_raises_an_error_when_a_template_cannot_keep_partitions_apart(path: str, wrong: str) -> None:
    """The message says what is wrong, shortly."""
    with pytest.raises(LayoutError, match=wrong) as problem:
        Layout(path, REJECTED)
    assert len(str(problem.value)) < 500


@pytest.mark.parametrize(
    "rejected",
    [
        "customer=_rejected/event_type=_rejected/date={date}/hour={hour}",
        "CUSTOMER=_rejected/{date}/{hour}",
        "customer={date}/hour={hour}",
        "_vortex/{date}/{hour}",
        "_Vortex/{date}/{hour}",
        "{date}/{hour}",
    ],
)
def test_layout_refuses_folders_of_rejections_that_a_customer_may_have(rejected: str) -> None:
    """Whatever the customer's name."""
    with pytest.raises(LayoutError, match=r"begin with another|fixed part"):
        Layout(PATH, rejected)


@pytest.mark.parametrize(
    ("path", "rejected"),
    [
        (PATH, "customer_rejected/{date}/{hour}"),
        (PATH, "rejected/date={date}/hour={hour}"),
        (PATH, "customer=a=b/{date}/{hour}"),  # no name has an equals sign in it, and none is empty
        (PATH, "customer=/{date}/{hour}"),
        ("events/{customer}/{event_type}/{date}/{hour}", "rejected/{date}/{hour}"),
        ("events/{customer}/{event_type}/{date}/{hour}", "event/{date}/{hour}"),
        ("date={date}/hour={hour}/c={customer}/t={event_type}", "_rejected-{date}/{hour}"),
        ("v2/{customer}/{event_type}/{date}/{hour}", "v1/{date}/{hour}"),
    ],
)
def test_layout_accepts_folders_that_cannot_meet(path: str, rejected: str) -> None:
    Layout(path, rejected)


PIECES = st.sampled_from(["_", "a", "A", "b", "=", "r", "rejected", "20", "vortex", "bundles", "-", "2020-01-01", "07"])
FIXED = st.lists(PIECES, max_size=3).map("".join)


@given(
    *(
        st.tuples(FIXED, st.sampled_from(["", "{customer}", "{event_type}", "{date}", "{hour}"]), FIXED)
        for _ in range(2)
    ),
    st.lists(st.text(SAFE + "=", min_size=1, max_size=12) | PIECES, min_size=2, max_size=2),
)
@example(("_", "{customer}", ""), ("_r", "", ""), ["vortex", "x"])
@example(("a", "{customer}", ""), ("a", "", "r"), ["r", "x"])
def test_layout_accepts_no_templates_of_which_two_kinds_share_a_first_folder(
    one: tuple[str, str, str], other: tuple[str, str, str], names: list[str]
) -> None:
    """Events, rejections, and what is Vortex's own: then none lies within a folder of another."""
    path, rejected = "".join(one), "".join(other)
    path += "".join(f"/{{{name}}}" for name in ("customer", "event_type", "date", "hour") if name not in path)
    rejected += "".join(f"/{{{name}}}" for name in ("date", "hour") if name not in rejected)
    try:
        layout = Layout(path, rejected)
    except LayoutError:
        return
    period = 1_577_862_000_000  # 2020-01-01, 07:00
    firsts = [
        layout.folder(names[0], names[1], period),
        layout.rejected_folder(period),
        "_vortex",
        "_hours",
        "_manifests",
        "_bundles",
    ]
    assert len({folder.split("/")[0].lower() for folder in firsts}) == 6


def test_object_key_contains_the_period_and_the_part() -> None:
    """Minutes, and seconds only where a period does not begin on a minute."""
    assert object_key("f", 1_545_116_700_000, 0) == "f/0705-000.json.gz"
    assert object_key("f", 1_545_116_710_000, 12) == "f/070510-012.json.gz"
    assert hour_of(-1) == -3_600_000
