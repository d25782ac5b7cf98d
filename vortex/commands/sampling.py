"""The lines of `vortex check` about a sample of the stream: which settings fit what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vortex.commands.probes import Line
from vortex.config.settings import Settings
from vortex.core.compression import Compression
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.limits import Limits
from vortex.core.layout import Layout
from vortex.core.wording import counted
from vortex.lookup.sample import Reading, Sample
from vortex.runtime.assembly import fields_of

SAMPLE = 2000
"""Records of a sample."""
_SHOWN = 3
_REJECTED = 0.5
"""Share of rejections from which on the check fails."""
_MEANS = {
    "customer": "every event is rejected as missing_customer",
    "type": "every event is rejected as missing_type",
    "id": "no event has an id",
    "time": "every event counts by its arrival time",
}


def reading_of(settings: Settings) -> Reading:
    """The settings that decide what becomes of an event."""
    layout = Layout(settings.layout.path, settings.layout.rejected)
    limits = Limits(**settings.limits.model_dump())
    compression = Compression(settings.layout.compression)
    return Reading(Decoder(fields_of(settings)), layout, settings.publish.period, limits, compression)


def lines_of(sample: Sample, shards: int) -> Iterator[Line]:
    """What the sample says about each setting."""
    if not sample.records:
        yield Line(
            "sample",
            True,
            f"no record in the last hours in {counted(shards, 'shard')}; put some events, then check again",
        )
        return
    events = f"{counted(sample.events, 'event')} in {counted(sample.records, 'record')} of {counted(shards, 'shard')}"
    yield Line("sample", True, f"{events}; formats: {_shares(sample.formats)}")
    if sample.fields.events:
        for name in sample.fields.shares:
            yield field_line(sample, name)
    yield _rejections(sample)
    if sample.accepted:
        again = f"{sample.again:,} of {sample.accepted:,} events repeat an id within the sample"
        yield Line("duplicates", True, again)
        customers = f"{counted(len(sample.customers), 'customer')}: {_shares(sample.customers)}"
        yield Line("spread", True, f"{customers}; {counted(len(sample.types), 'type')}: {_shares(sample.types)}")
        yield Line("objects", True, f"would be written, for example: {', '.join(sample.keys)}")


def field_line(sample: Sample, name: str) -> Line:
    """Whether the field's paths are right: FAILED where no event has a usable value at any of them."""
    fields, share = sample.fields, sample.fields.shares[name]
    what, paths = f"event.{name}", " or ".join(share.paths)
    text = f"{paths}: in {_percent(share.present, fields.events)} of {counted(fields.events, 'event')}"
    if share.present:
        text += f", {_percent(share.readable, share.present)} of these readable"
    if share.readable:
        if share.readable < fields.events:
            text += _beside(sample, name)
        return Line(what, True, text)
    if share.present:
        means = "every event counts by its arrival time" if name == "time" else f"every event is rejected as bad_{name}"
        hint = "; set event.time_format" if name == "time" else ""
        found = f"found {', '.join(share.unreadable)}"
        return Line(what, False, f"{text} ({found}): {means}{hint}{_near(sample, name)}")
    decoder = sample.reading.decoder
    if name == "id" and decoder.hash_missing and not fields.likely("id"):
        return Line(what, True, f'{text}; events are identified by their content (event.missing_id = "hash")')
    means = _MEANS[name]
    if name == "id":
        content = "so they are identified by their content" if decoder.hash_missing else "every event is rejected"
        means = f"{means}, {content}"
    return Line(what, False, f"{text}: {means}{_near(sample, name)}")


def _beside(sample: Sample, name: str) -> str:
    share = sample.fields.shares[name]
    if share.unreadable:
        return f" (not readable, for example: {', '.join(share.unreadable)})"
    return ""


def _near(sample: Sample, name: str) -> str:
    near = sample.fields.near(name)
    text = ", ".join(f"{path} ({share:.0%})" for path, share in near)
    return f"; nearest paths in the data: {text}" if text else "; the data have no other path that could be it"


def _rejections(sample: Sample) -> Line:
    number = sample.reasons.total()
    if not number:
        return Line("rejections", True, "none")
    share = number / sample.events
    reasons = _shares(Counter(map(str, sample.reasons.elements())))
    text = f"{number:,} of {counted(sample.events, 'event')} ({share:.0%}): {reasons}"
    text += "; `vortex preview` shows them"
    return Line("rejections", share < _REJECTED, text)


def _percent(part: int, whole: int) -> str:
    """Never 0 % or 100 % by rounding."""
    share = 100 * part / whole if whole else 0.0
    if part and share < 1:
        return "under 1 %"
    if part < whole and share > 99:
        return "over 99 %"
    return f"{share:.0f} %"


def _shares(names: Counter[str]) -> str:
    total = names.total()
    text = [f"{name[:60]} {_percent(number, total)}" for name, number in names.most_common(_SHOWN)]
    return ", ".join(text) + (", …" if len(names) > _SHOWN else "")
