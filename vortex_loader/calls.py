"""HTTP calls to the catalogue's service. A token goes to the address that was given, to no other, and into no text."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.parse import urlsplit

from vortex_loader.model import LoaderError, Passing

TOKEN = "VORTEX_LOADER_CATALOG_TOKEN"
_TIMEOUT_S = 10
_MOST_BYTES = 16 << 20
_MOST_TOLD = 4096


class Refused(LoaderError):
    """The service says no, with this status and this text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


def token_of_environment() -> str | None:
    """The token in VORTEX_LOADER_CATALOG_TOKEN, if any. Raises LoaderError for one that no header can hold."""
    token = os.environ.get(TOKEN, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", token):
        raise LoaderError(f"{TOKEN} holds a space, a line break or a letter outside ASCII: it is no token")
    return token or None


def ask(url: str, *, token: str | None = None, method: str = "GET", body: bytes | None = None) -> bytes:
    """What the service answers. Raises Refused for a status that is no success; Passing where it does not answer."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with _opener.open(urllib.request.Request(url, body, headers, method=method), timeout=_TIMEOUT_S) as reply:
            found: bytes = reply.read(_MOST_BYTES + 1)
            if reply.length and len(found) <= _MOST_BYTES:  # half of a TOML document is a document, too
                raise Passing("the answer ended before its end")
    except urllib.error.HTTPError as problem:
        with problem:
            raise Refused(problem.code, problem.read(_MOST_TOLD).decode(errors="replace")) from None
    except (HTTPException, ValueError) as problem:  # its text may quote the address, or what came
        raise Passing(f"no answer that is HTTP ({type(problem).__name__})") from None
    except OSError as problem:
        raise Passing(str(getattr(problem, "reason", problem))) from None
    if len(found) > _MOST_BYTES:
        raise LoaderError(f"more than {_MOST_BYTES} bytes")
    return found


def shown(url: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        return url.partition("://")[0] + "://…"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like others: urllib would send the token on to wherever it leads."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """None: do not follow."""
        return


_opener = urllib.request.build_opener(_NoRedirects)
