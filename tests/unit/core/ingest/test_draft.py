"""A draft of a segment: places of one folder are one member, and its lines are let go."""

from __future__ import annotations

from vortex.core.ingest.draft import Draft
from vortex.core.layout import Layout
from vortex.core.log.lines import PageLines
from vortex.core.log.segment import empty_footer
from vortex.core.model import Position, Start


def test_seal_stores_places_of_one_folder_as_one_member() -> None:
    """A place that got two numbers is one member."""
    footer = empty_footer(
        "s", owner="me", created=0, position=Position(Start.TRIM_HORIZON), watermark=0, closed_before=0
    )
    layout = Layout("c={customer}/t={event_type}/d={date}/h={hour}", "_rejected/d={date}/h={hour}")
    pages = [PageLines.of([b"a"], 0), PageLines.of([b"b"], 1), PageLines.of([b"c"], 2)]
    places = [(("one", "t"), 0), (("one", "t"), 0), (("one", "u"), 0)]
    draft = Draft(footer, layout, places, pages, {}, [b"k" * 48], 100)
    sealed = draft.seal("before")
    rows = {sealed.footer.folders[row["folder"]].path: int(row["rows"]) for row in sealed.footer.member_rows}
    assert rows == {"c=one/t=t/d=1970-01-01/h=00": 2, "c=one/t=u/d=1970-01-01/h=00": 1}
    assert (sealed.footer.prev, sealed.footer.ids, draft.pages) == ("before", 3, [])
