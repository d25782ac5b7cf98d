"""Places that settings name: stores, streams, endpoints, regions, keys.

Each function parses the text of a setting, or raises ValueError with a line that says what is wrong and what to write
instead. Texts that programs read in different ways are refused, so that a text always names one store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from vortex.config.quoting import quoted, shortened

MOST_SOCKET_BYTES = 107
"""The longest path of a socket in the file system: `sun_path` of unix(7) less the NUL at its end."""

_MOST_PREFIX_BYTES = 500
_STORES = 'write "s3://bucket/prefix" or "file:///absolute/folder"'
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, but for the least length: a server that
# speaks S3 may take shorter ones.
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_ARN = re.compile(r"arn:(aws[a-z-]*):([a-z0-9-]*):([a-z0-9-]*):([^:]*):(.+)", re.DOTALL)
_ACCOUNT = re.compile(r"\d{12}")
_ACCESS_POINT = re.compile(r"accesspoint[:/]([a-z0-9](?:[a-z0-9-]{1,48}[a-z0-9]))(?:/(.*))?", re.DOTALL)
_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d{1,2}")
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MOST_HOST = 253
"""Characters of the name of a host."""
_KMS_KEY = re.compile(r"(?:key/)?(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_KMS_ALIAS = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}")

_REFUSED_BUCKETS = {
    "--x-s3": "a directory bucket (S3 Express) does not list keys in order, which Vortex needs",
    "--xa-s3": "a directory bucket (S3 Express) does not list keys in order, which Vortex needs",
    "--ol-s3": "an Object Lambda access point accepts no writes",
    "--op-s3": "S3 on Outposts has no conditional writes, which Vortex needs",
    ".mrap": "a Multi-Region Access Point has no conditional writes across its buckets, which Vortex needs",
    "--table-s3": "a table bucket holds no plain objects",
}
_USE_A_BUCKET = "; use a general purpose bucket"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A place in S3: `name` is a bucket's, an access point's alias, or an access point's ARN; `prefix` has no slash at
    either end. `region` is the one that an ARN names.
    """

    name: str
    prefix: str
    region: str | None = None


def store_place(url: str) -> Bucket | Path:
    """What `store.url` names; a folder on disk is a Path. Raises ValueError."""
    _plain(url)
    if url.startswith("s3://"):
        return _bucket(url.removeprefix("s3://"))
    if url.startswith("file:"):
        return _folder(url.removeprefix("file:"))
    if url.startswith(("/", "./", "../", "~")):
        raise ValueError(f"not a URL; {_STORES}")
    raise ValueError(_STORES)


def _plain(text: str) -> None:
    if text != text.strip() or not text.isprintable():
        raise ValueError("has white space around it, or a character that cannot be printed")


def _segments(path: str, *, what: str) -> list[str]:
    """The parts between slashes; a slash at the end is one too many, and forgiven."""
    parts = path.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f'{what} has an empty part, or "." or ".."; leave it out')
    return parts


def _folder(rest: str) -> Path:
    if not rest.startswith("///") or not rest.strip("/"):
        raise ValueError(f"{_STORES} (three slashes, no host, not the root)")
    for sign in "#?":
        if sign in rest:
            raise ValueError(f'"{sign}" is not allowed in the path; write {quote(sign)} if it is part of a name')
    if rest.startswith("///~") or "$" in rest:
        raise ValueError('"~" and "$" are not expanded; write the whole path (%7E and %24 if they are part of a name)')
    if _ESCAPE.search(rest):
        raise ValueError('"%" begins an escape such as %20; write %25 if it is part of a name')
    try:
        path = unquote_to_bytes(rest[2:]).decode()
    except UnicodeDecodeError:
        raise ValueError("the escapes (%XX) are not UTF-8") from None
    _plain(path)
    return Path("/", *_segments(path[1:], what="the path"))


def _shown(text: str, whole: str) -> str:
    """The text for a message; what comes before an @ may be a password."""
    return f"…@{whole.rpartition('@')[2].partition('/')[0]}" if "@" in whole else text


def _bucket(rest: str) -> Bucket:
    if rest.startswith("arn:"):
        return _access_point(rest)
    name, _, prefix = rest.partition("/")
    if not name:
        raise ValueError(_STORES)
    _refuse(name)
    if not _BUCKET.fullmatch(name) or ".." in name or _ADDRESS.fullmatch(name):
        raise ValueError(
            f"{quoted(_shown(name, rest))} is not a bucket name (lower-case letters, digits, hyphens and dots, 63 at "
            f"most); {_STORES}"
        )
    return Bucket(name, _prefix(prefix))


def _refuse(name: str) -> None:
    for ending, why in _REFUSED_BUCKETS.items():
        if name.endswith(ending):
            raise ValueError(why + _USE_A_BUCKET)


def _access_point(text: str) -> Bucket:
    found = _ARN.fullmatch(text)
    usual = "arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME"
    if found is None:
        raise ValueError(f'{quoted(text)} is not the ARN of an access point; write "s3://{usual}/prefix"')
    _, service, region, account, resource = found.groups()
    if service == "s3-outposts":
        _refuse("--op-s3")
    if service == "s3-object-lambda":
        _refuse("--ol-s3")
    if service == "s3express":
        _refuse("--x-s3")
    if service == "s3" and not region:
        _refuse(".mrap" if resource.startswith("accesspoint") else "")
        raise ValueError('write the name of the bucket, not its ARN: "s3://bucket/prefix"')
    point = _ACCESS_POINT.fullmatch(resource)
    if service != "s3" or point is None or not _ACCOUNT.fullmatch(account):
        raise ValueError(f'{quoted(text)} is not the ARN of an access point; write "s3://{usual}/prefix"')
    _region(region)
    name = text[: text.rindex(resource)] + f"accesspoint/{point[1]}"
    return Bucket(name, _prefix(point[2] or ""), region)


def _prefix(text: str) -> str:
    if not text:
        return ""
    for sign in "?#%\\":
        if sign in text:
            raise ValueError(f'"{sign}" is not allowed in the prefix: programs read it in different ways')
    if len(text.encode()) > _MOST_PREFIX_BYTES:
        raise ValueError(f"the prefix is too long; at most {_MOST_PREFIX_BYTES} bytes, as a key in S3 has at most 1024")
    return "/".join(_segments(text, what="the prefix"))


def stream_name(stream: str) -> str:
    """The stream's name, from its name or ARN."""
    return stream.rpartition("/")[2]


def stream_region(stream: str) -> str | None:
    """The region in a stream's ARN; None for a name. Raises ValueError for what is neither."""
    if not stream.startswith("arn:"):
        if not _STREAM.fullmatch(stream):
            raise ValueError(
                f"{quoted(stream)} is not a stream name (letters, digits, hyphens, dots and underscores, 128 at most)"
            )
        return None
    found = _ARN.fullmatch(stream)
    kind, _, name = found[5].partition("/") if found else ("", "", "")
    whole = found and found[2] == "kinesis" and _REGION.fullmatch(found[3]) and _ACCOUNT.fullmatch(found[4])
    if not found or not whole or kind != "stream" or not _STREAM.fullmatch(name):
        raise ValueError(
            f"{quoted(stream)} is not the ARN of a stream; write arn:aws:kinesis:REGION:ACCOUNT:stream/NAME, or the "
            "name"
        )
    return found[3]


def region(text: str, *, of_aws: bool) -> str:
    """A region's name by its form; whether there is such a region, AWS alone knows. Raises ValueError.

    A server that is not AWS (`of_aws` False: an endpoint is set) may call its region "local", "auto" or "garage".
    """
    if of_aws or not _LABEL.fullmatch(text):
        _region(text)
    return text


def _region(text: str) -> None:
    if not _REGION.fullmatch(text):
        hint = ", without the zone's letter" if _REGION.fullmatch(text[:-1]) else ""
        raise ValueError(f'{quoted(text)} is not a region; write for example "eu-central-1"{hint}')


def endpoint(url: str) -> str:
    """A service's URL: scheme, host, port, perhaps a path. Raises ValueError."""
    _plain(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        why = "" if "@" in url else f": {problem}"
        raise ValueError(f"{quoted(_shown(url, url))} is not a URL{why}") from None
    if parts.scheme not in ("http", "https"):
        again = url if not _SCHEME.match(url) or "://" not in url else url.partition("://")[2]
        again = shortened(_shown(again, again)).lstrip(":/") or "host:9000"
        raise ValueError(f'the scheme is missing or unknown; write "https://{again}" or "http://{again}"')
    if "@" in url:  # a password with a slash looks like a path
        raise ValueError("must have no user and password; credentials come from where the AWS SDKs look for them")
    host = parts.netloc.rpartition(":")[0] if port else parts.netloc
    if not parts.hostname or not (_is_address(host[1:-1]) if host.startswith("[") else _is_name(host)):
        raise ValueError(f'{quoted(url)} names no host; write for example "https://host:9000"')
    if parts.query or parts.fragment or "?" in url or "#" in url or " " in url:
        raise ValueError(f"{quoted(url)} has a query, a fragment or a space, which an endpoint cannot have")
    return url


def _is_name(host: str) -> bool:
    """Whether it may be the name or the IPv4 address of a host; asyncio raises UnicodeError for another one."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= _MOST_HOST and all(_HOST_LABEL.fullmatch(label) for label in labels)


def _is_address(host: str) -> bool:
    """Whether it is an IPv6 address, perhaps with a zone."""
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def kms_key(text: str) -> str:
    """A key's id, alias or ARN. Raises ValueError."""
    name, arn = text, _ARN.fullmatch(text)
    whole = bool(arn and arn[2] == "kms" and _REGION.fullmatch(arn[3]) and _ACCOUNT.fullmatch(arn[4]))
    if arn is not None:
        name = arn[5]
    right = _KMS_ALIAS.fullmatch(name) or (_KMS_KEY.fullmatch(name) and name.startswith("key/") == whole)
    if text.startswith("arn:") != whole or not right:
        raise ValueError(
            f'{quoted(text)} is not a KMS key; write its id, "alias/NAME", or arn:aws:kms:REGION:ACCOUNT:key/ID'
        )
    return text


def table(text: str) -> str:
    """A DynamoDB table's name. Raises ValueError."""
    if not _TABLE.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a table name (3 to 255 letters, digits, hyphens, dots or underscores)")
    return text


def account(text: str) -> str:
    """An AWS account's number. Raises ValueError."""
    if not _ACCOUNT.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not an AWS account; write its twelve digits")
    return text


def listening_host(text: str) -> str:
    """A host to listen on, or `unix:/path`. Raises ValueError."""
    _plain(text)
    if not text.startswith("unix:"):
        if not _is_name(text) and not _is_address(text):
            raise ValueError(
                f'{quoted(text)} is not a host; write for example "127.0.0.1", "0.0.0.0" or "::", and its port in '
                "http.port"
            )
        return text
    path = text.removeprefix("unix:")
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError('write the absolute path of a socket: "unix:/path/of/the/socket"')
    if len(path.encode()) > MOST_SOCKET_BYTES:
        raise ValueError(f"the path of a socket has at most {MOST_SOCKET_BYTES} bytes, this one {len(path.encode())}")
    return text
