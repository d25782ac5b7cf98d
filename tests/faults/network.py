"""Faults that proxies, load balancers, captive portals and broken cables cause, for any service."""

from __future__ import annotations

from collections.abc import Iterable

from tests.faults import edits as e
from tests.faults import strikes as s
from tests.faults.row import ANY, BODIES, SENT, WRITES, Fault
from tests.faults.wire import Exchange


def connections() -> Iterable[Fault]:
    yield Fault("refused", "the connection ends without a word", ANY, s.refuse)
    yield Fault("reset", "RST in the place of a reply", ANY, s.reset)
    yield Fault("dropped", "the request is taken, not carried out, and not answered", ANY, s.drop_request)
    yield Fault("lost_reply", "the request is carried out, the reply lost", ANY, s.lose_reply)
    yield Fault("lost_reply_rst", "the request is carried out, then RST", ANY, s.lose_reply_rst)
    yield Fault("carried_out_twice", "a proxy tries again; the second reply arrives", ANY, s.twice)
    yield Fault("carried_out_late", "RST; the request is carried out seconds later", WRITES, s.later)
    yield Fault("silence", "no reply, for as long as the client waits", ANY, s.silence, every=4)
    yield Fault(
        "silence_after", "carried out, and no reply for as long as the client waits", ANY, s.silence_after, every=4
    )
    yield Fault("silence_midway", "half of the body, then silence", BODIES, s.half(Exchange.hang), every=4)
    yield Fault("expect_ignored", "a server that knows no Expect waits for the body", SENT, s.ignore_expect, legal=True)
    yield Fault("continue_twice", "100 Continue twice", SENT, s.continue_twice, legal=True)
    yield Fault("body_refused", "the final reply before the body, then the end", SENT, s.refuse_body)
    yield Fault("redirected_early", "307 to a log-in page before the body", SENT, s.redirect_early)
    yield Fault("stops_reading", "a little of the request's body is read, then nothing", SENT, s.stop_reading, every=4)
    yield Fault("reset_in_request", "RST in the middle of the request's body", SENT, s.reset_in_request)
    yield Fault("hints_first", "103 Early Hints before the reply", ANY, s.hints_first, legal=True)
    yield Fault("keeps_and_closes", "says keep-alive, and closes", ANY, s.keeps_and_closes, legal=True)
    yield Fault("split_head", "the head in single pieces", BODIES, s.split_head, legal=True)
    yield Fault("trickle", "forty pieces, 20 ms apart", BODIES, s.trickle, legal=True)
    yield Fault("slow", "the reply comes seconds late", ANY, s.slow, legal=True)


def bodies() -> Iterable[Fault]:
    end = b"0\r\n\r\n"
    yield Fault("half_head", "half of the head, then the end", BODIES, s.half(s.refuse, of_head=True))
    yield Fault("half_body", "half of the body, then the end", BODIES, s.half(s.refuse))
    yield Fault("half_body_rst", "half of the body, then RST", BODIES, s.half(s.reset))
    yield Fault("length_too_long", "ten bytes less than the length", BODIES, s.lengths(off=10))
    yield Fault("length_too_short", "two bytes more than the length", BODIES, s.lengths(off=-2, stays=True))
    yield Fault("length_twice", "two lengths", BODIES, s.lengths("Content-Length: {n}", "Content-Length: 3"))
    yield Fault("length_negative", "a length below nothing", BODIES, s.lengths("Content-Length: -1"))
    yield Fault("length_is_text", "a length that is no number", BODIES, s.lengths("Content-Length: many"))
    yield Fault("length_huge", "a length of 8 EiB", BODIES, s.lengths("Content-Length: 9223372036854775807"))
    yield Fault(
        "reply_after",
        "a second reply that was not requested",
        BODIES,
        s.lengths(more=b"HTTP/1.1 200 OK\r\n\r\n", stays=True),
    )
    yield Fault("chunked", "chunks in the place of a length", BODIES, s.chunks(end, stays=True), legal=True)
    yield Fault("chunked_cut", "chunks that break off", BODIES, s.chunks(b"", share=0.5))
    yield Fault("chunk_size_junk", "a chunk whose size is no number", BODIES, s.chunks(b"zz\r\n", share=0.5))
    yield Fault("chunk_size_huge", "a chunk of 16 EiB", BODIES, s.chunks(b"ffffffffffffffff\r\nx", share=0.5))
    yield Fault(
        "chunked_short",
        "half of the body in chunks that end well",
        BODIES - {"GetObject"},
        s.chunks(end, share=0.5, stays=True),
    )
    yield Fault("no_length", "HTTP/1.0, the body ends with the connection", BODIES, s.until_the_end, legal=True)
    yield Fault("gzip", "compressed, although not requested", BODIES, e.encoded(said=True, done=True))
    yield Fault("gzip_unsaid", "compressed, and not announced", BODIES, e.encoded(said=False, done=True))
    yield Fault("gzip_lie", "called compressed, and is not", BODIES, e.encoded(said=True, done=False))
    yield Fault("endless", "96 MiB of spaces in chunks", BODIES, s.endless, every=8)
    yield Fault("header_huge", "a header of 100 KB", ANY, e.with_header("X-Odd", "x" * 100_000))
    yield Fault("header_nul", "a header with a NUL", ANY, e.with_header("X-Odd", "a\0b"))
    yield Fault("header_folded", "a header over two lines", ANY, e.with_header("X-Odd", "a\r\n b"))
    yield Fault(
        "header_broken", "a line among the headers that is not a header", ANY, e.with_header("X-Odd", "a\r\nodd line")
    )
    yield Fault("bare_newlines", "lines that end in LF only", BODIES, s.bare_newlines)
    yield Fault("junk", "bytes that are no HTTP", ANY, s.raw(b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\0\0"))
    yield Fault("empty_line", "an empty line, then the end", ANY, s.raw(b"\r\n"))


def statuses() -> Iterable[Fault]:
    text = b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}"
    for name, line in [
        ("000", b"000 Odd"),
        ("999", b"999 Odd"),
        ("text", b"OK OK"),
        ("empty", b""),
        ("long", b"2000 OK"),
    ]:
        yield Fault(f"status_{name}", f"a status line of {line.decode() or 'nothing'}", ANY, s.raw(text % line))
    yield Fault("version_2", "HTTP/2 in plain text", ANY, s.raw(b"HTTP/2 200\r\n\r\n"))
    yield Fault("version_icy", "ICY 200 OK", ANY, s.raw(b"ICY 200 OK\r\n\r\n"))
    yield Fault(
        "switching", "101 Switching Protocols", ANY, s.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    )
    yield Fault("html_200", "200 with a log-in page", ANY, s.html(200, "OK"))
    yield Fault("empty_200", "200 without a body", ANY, s.canned(200, "OK", b"", "application/xml"))
    yield Fault("empty_204", "204", ANY, s.canned(204, "No Content"))
    yield Fault("empty_206", "206 without a body", BODIES, s.canned(206, "Partial Content", b"", "text/plain"))
    yield Fault("not_modified", "304", ANY, s.canned(304, "Not Modified"))
    pages = [
        (400, "Bad Request", 2), (401, "Unauthorized", 8), (402, "Payment Required", 8), (403, "Forbidden", 8),
        (404, "Not Found", 2), (405, "Method Not Allowed", 2), (407, "Proxy Authentication Required", 2),
        (408, "Request Timeout", 2), (410, "Gone", 2), (418, "I'm a teapot", 2), (429, "Too Many Requests", 2),
        (451, "Unavailable For Legal Reasons", 2), (500, "Internal Server Error", 1), (501, "Not Implemented", 1),
        (502, "Bad Gateway", 1), (503, "Service Unavailable", 1), (504, "Gateway Timeout", 1), (511, "Log In", 1),
    ]  # fmt: skip
    for code, reason, every in pages:
        yield Fault(f"html_{code}", f"{code} with a page for people", ANY, s.html(code, reason), every=every)
    later = ("Retry-After", "86400")
    yield Fault("retry_tomorrow", "503 with Retry-After of a day", ANY, s.html(503, "Service Unavailable", later))
    to = ("Location", s.LOGIN)
    for code in (301, 302, 303, 307, 308):
        yield Fault(f"redirect_{code}", f"{code} to a log-in page", ANY, s.html(code, "Moved", to))
    yield Fault("redirect_nowhere", "302 without Location", ANY, s.html(302, "Found"))
    for name, body in [("null", b"null"), ("list", b"[]"), ("text", b'"x"'), ("object", b"{}"), ("cut", b'{"a": ["b')]:
        yield Fault(f"json_{name}", f"200 with {body.decode()}", BODIES, s.canned(200, "OK", body, "application/json"))
    yield Fault(
        "not_utf8", "200 with bytes that are no text", BODIES, s.canned(200, "OK", b"\xff\xfe\0\x80" * 9, "text/plain")
    )
    deep = b"[" * 100_000
    yield Fault(
        "json_deep", "200 with a hundred thousand brackets", BODIES, s.canned(200, "OK", deep, "application/json")
    )


def dates() -> Iterable[Fault]:
    for name, shift in [("minutes", 600), ("days", 2 * s.DAY_S), ("year", 365 * s.DAY_S)]:
        yield Fault(f"date_{name}_ahead", f"a Date {shift} s ahead", ANY, e.dated(shift), legal=True)
        yield Fault(f"date_{name}_behind", f"a Date {shift} s behind", ANY, e.dated(-shift), legal=True)
    yield Fault(
        "date_first", "the first Date there is", ANY, e.dated(None, "Thu, 01 Jan 1970 00:00:00 GMT"), legal=True
    )
    yield Fault("date_last", "the last Date there is", ANY, e.dated(None, "Fri, 31 Dec 9999 23:59:59 GMT"), legal=True)
    yield Fault("date_junk", "a Date that is none", ANY, e.dated(None, "yesterday"), legal=True)
    yield Fault("date_missing", "no Date", ANY, e.dated(None), legal=True)
