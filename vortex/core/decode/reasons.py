"""The reasons of rejections, and the exception that carries a reason to the code that writes the rejection."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why something was rejected. Written to the rejection line, so the words are part of the contract with loaders."""

    EMPTY = "empty"
    NOT_JSON = "not_json"
    NOT_UTF8 = "not_utf8"
    NOT_AN_OBJECT = "not_an_object"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    PAGE_TOO_LARGE = "page_too_large"
    EVENT_TOO_LARGE = "event_too_large"
    TOO_MANY_MEMBERS = "too_many_members"
    TOO_MANY_KEYS = "too_many_keys"
    TOO_MANY_TOKENS = "too_many_tokens"
    TOO_MANY_EVENTS = "too_many_events"
    TOO_MANY_SUB_RECORDS = "too_many_sub_records"
    REJECTIONS_TOO_LARGE = "rejections_too_large"
    BAD_COMPRESSION = "bad_compression"
    UNSUPPORTED_FORMAT = "unsupported_format"
    LONE_SURROGATE = "lone_surrogate"
    DUPLICATE_KEY = "duplicate_key"
    MISSING_CUSTOMER = "missing_customer"
    MISSING_TYPE = "missing_type"
    MISSING_ID = "missing_id"
    BAD_CUSTOMER = "bad_customer"
    BAD_TYPE = "bad_type"
    BAD_ID = "bad_id"


MISSING = {"customer": Reason.MISSING_CUSTOMER, "type": Reason.MISSING_TYPE, "id": Reason.MISSING_ID}
"""For each field, the reason if the event has none."""


class Refused(Exception):
    """Raised only inside decoding; `Decoder` turns it into a `Rejected`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def bare(self) -> Self:
        """A copy without traceback, which would keep the data of the decoder in memory."""
        return type(self)(self.reason, self.detail)


class OverBudget(Refused):
    """The record exceeds a limit (`vortex.core.decode.limits`): the whole record is one rejection."""
