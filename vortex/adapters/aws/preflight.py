"""Checks what AWS clients read from the environment and from AWS's own files.

botocore reports such errors late and in many forms. These functions report them early, as one line that names the
variable or the file.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from botocore.exceptions import BotoCoreError, ConfigParseError, ProfileNotFound
from botocore.session import Session

from vortex.adapters.aws.tls import trusting

_SECRET = ("_KEY_ID", "_SECRET_", "_TOKEN")
_FILES = "the AWS configuration (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE or ~/.aws)"

_HINTS = {
    ProfileNotFound: "; `aws configure list-profiles` lists the profiles",
    ConfigParseError: "; write `key = value` lines below [default] or [profile NAME], or name another file",
}


def blamed(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """One line for an error of creating a client, with the variable whose value the error names."""
    message = " ".join(str(error).split())
    names = [name for name, value in sorted(environ.items()) if _plain(name) and _occurs(value, message)]
    if isinstance(error, ProfileNotFound) and not names and "AWS_PROFILE" in environ:
        names = ["AWS_PROFILE"]  # it is empty
    elif isinstance(error, ValueError) and not names:
        names = [name for name, value in sorted(environ.items()) if _plain(name) and _no_url(value)]
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "")
    return f"{', '.join(names) or _FILES}: {message}{hint}"


def _plain(name: str) -> bool:
    return name.startswith("AWS_") and not any(part in name for part in _SECRET)


def _occurs(value: str, message: str) -> bool:
    return bool(value.strip()) and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", message) is not None


def _no_url(value: str) -> bool:
    try:
        return "://" in value and urlsplit(value).port == 0
    except ValueError:
        return True


def fault(environ: Mapping[str, str] = os.environ) -> str | None:
    """An error in the environment that would fail every call: the CA bundle or the proxies. None if there is none."""
    return _of_bundle(environ) or _of_proxies()


def is_region(name: str) -> bool:
    """Whether botocore knows the region, or accepts its name as a possible one."""
    loader: Any = _session().get_component("data_loader")
    partitions = loader.load_data("partitions")["partitions"]
    return any(name in one["regions"] or re.fullmatch(one["regionRegex"].strip("^$"), name) for one in partitions)


def _session() -> Session:
    """A session for reading the configuration; its handlers of requests, 15 ms to register, are left out."""
    return Session(include_builtin_handlers=False)


def _of_bundle(environ: Mapping[str, str]) -> str | None:
    try:
        path, named = _session().get_config_variable("ca_bundle"), "AWS_CA_BUNDLE"
    except BotoCoreError:
        return None  # reported where the client is created
    if not path:
        path, named = environ.get("REQUESTS_CA_BUNDLE"), "REQUESTS_CA_BUNDLE"
    if not path:
        return None
    try:
        trusting(path)
    except (OSError, ValueError) as problem:  # ssl.SSLError is an OSError
        why = "has no certificate" if isinstance(problem, ssl.SSLError) else getattr(problem, "strerror", problem)
        return f"{named if environ.get(named) else f'ca_bundle in {_FILES}'}: {path}: {why}"
    return None


def _of_proxies() -> str | None:
    for scheme, url in sorted(getproxies().items()):
        if scheme not in ("http", "https"):
            continue
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            well = False
        if not well:  # do not quote the URL: it may contain a password
            return f"{scheme.upper()}_PROXY: invalid proxy; expected http://HOST:PORT"
    return None
