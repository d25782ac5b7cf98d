"""Reads a closed hour by its manifest, without a listing. From S3 or a folder."""

from __future__ import annotations

import gzip
import io
import json
import pathlib
import re
import sys
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any, Protocol
from urllib.parse import unquote

from isal import igzip, isal_zlib

from vortex_loader.model import (
    ClosedHour,
    Listed,
    LoaderError,
    Missing,
    NotClosed,
    Partition,
    Passing,
    StoredObject,
    hour_text,
)
from vortex_loader.wording import quoted

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MANIFEST_VERSIONS = (1, 2, 3)
"""Version 3 has `files`, parts of bundles. Version 2 names the compression; files of version 1 are gzip."""
_COMPRESSIONS = ("gzip", "zstd")
_BLOCK = 1 << 20
_BUCKET = re.compile(
    r"(arn:aws[a-z-]*:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[:/][a-z0-9-]+|[A-Za-z0-9._-]{1,255})(?:/(.*))?", re.DOTALL
)
"""A bucket, or the ARN of an access point; and the prefix."""
_igzip: Any = igzip  # has no types
_isal_error: type[Exception] = isal_zlib.error  # type: ignore[assignment]
_DAMAGED: tuple[type[Exception], ...] = (zlib.error, gzip.BadGzipFile, _isal_error, zstd.ZstdError, EOFError)


class Files(Protocol):
    """Where the objects are."""

    url: str

    def open(self, key: str) -> IO[bytes]:
        """The object's bytes. Raises Missing, Passing, LoaderError."""

    def part(self, key: str, offset: int, length: int) -> IO[bytes]:
        """So many bytes of the object, or more. Raises Missing, Passing, LoaderError."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object. Raises Passing, LoaderError."""


class Folder:
    """A store on disk."""

    def __init__(self, root: pathlib.Path) -> None:
        if (encoding := sys.getfilesystemencoding()) != "utf-8":
            raise LoaderError(
                f"{root}: names of files are {encoding} in this environment, and a store's are UTF-8; set PYTHONUTF8=1"
            )
        self.root = root
        self.url = root.absolute().as_uri()

    def open(self, key: str) -> IO[bytes]:
        """The file."""
        try:
            return (self.root / key).open("rb")
        except FileNotFoundError:
            raise Missing(f"{self.root / key} is not there") from None
        except OSError as problem:
            raise LoaderError(f"{self.root / key}: {problem.strerror}") from None

    def part(self, key: str, offset: int, length: int) -> IO[bytes]:
        """The file from there on."""
        file = self.open(key)
        file.seek(offset)
        return file

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return (self.root / key).is_file()


class Bucket:
    """A store in S3: `s3://bucket/prefix`."""

    def __init__(self, url: str, client: Any) -> None:
        found = _BUCKET.fullmatch(url.removeprefix("s3://"))
        if found is None:
            raise LoaderError(f"{quoted(url)} names no bucket; write s3://bucket/prefix")
        self.url = url.rstrip("/")
        self.bucket, self.prefix = found[1], (found[2] or "").strip("/")
        self._client = client

    def key(self, key: str) -> str:
        """The whole key."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def open(self, key: str) -> IO[bytes]:
        """The body of the object, as it comes."""
        body: IO[bytes] = self._call(self._client.get_object, key)["Body"]
        return body

    def part(self, key: str, offset: int, length: int) -> IO[bytes]:
        """By a ranged GET. A proxy that ignores ranges would give the lines of other partitions."""
        reply = self._call(self._client.get_object, key, Range=f"bytes={offset}-{offset + length - 1}")
        body: IO[bytes] = reply["Body"]
        if offset and not str(reply.get("ContentRange")).startswith(f"bytes {offset}-"):
            body.close()
            raise LoaderError(
                f"s3://{self.bucket}/{self.key(key)}: the answer is not from byte {offset} on: this store, or a proxy "
                "before it, ignores ranges, which bundles need"
            )
        return body

    def exists(self, key: str) -> bool:
        """One HEAD."""
        try:
            self._call(self._client.head_object, key)
        except Missing:
            return False
        return True

    def _call(self, call: Any, key: str, **options: str) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        place = f"s3://{self.bucket}/{self.key(key)}"
        try:
            return call(Bucket=self.bucket, Key=self.key(key), **options)
        except ClientError as problem:
            code = str(problem.response.get("Error", {}).get("Code", ""))
            if code in ("NoSuchKey", "404", "NotFound"):
                raise Missing(f"{place} is not there") from None
            if code in ("AccessDenied", "403", "Forbidden"):
                raise LoaderError(
                    f"{place}: denied. Allow s3:GetObject on it, as deploy/iam/loader.json does for what is published "
                    "in the default layout, and catalog.json for a catalogue; without s3:ListBucket on the bucket a "
                    "missing key is denied, too"
                ) from None
            if code == "InvalidRange":
                raise LoaderError(f"{place} ends before {options.get('Range')}, which its manifest names") from None
            if code in ("NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                raise LoaderError(f"{place}: {code}") from None
            raise Passing(f"{place}: {code or problem}") from None
        except BotoCoreError as problem:
            raise Passing(f"{place}: {problem}") from None


def open_store(url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Store:
    """The store at `s3://bucket/prefix`, `file:///dir` or a path. Raises LoaderError for another kind of address."""
    if url.startswith("s3://"):
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=10,
            read_timeout=30,
            max_pool_connections=32,
        )
        try:
            client = boto3.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)
        except (ValueError, BotoCoreError):  # their text quotes the address, which may hold a password
            raise LoaderError(
                "S3: --endpoint-url or --region cannot be read; write https://host and eu-central-1"
            ) from None
        return Store(Bucket(url, client))
    if url.startswith("file://"):
        return Store(Folder(local_path(url)))
    if "://" in url or not url:
        raise LoaderError(f"{quoted(url.rpartition('@')[2])}: a store is s3://bucket/prefix, file:///dir, or a folder")
    return Store(Folder(pathlib.Path(url)))


def local_path(url: str) -> pathlib.Path:
    """The absolute path that `file:///path` or `duckdb:///path` names.

    Raises LoaderError for what names another one, or none, to some programs.
    """
    scheme, _, rest = url.partition("://")
    if not rest.strip("/") or not rest.startswith("/") or "?" in rest or "#" in rest:
        raise LoaderError(
            f"{quoted(url)}: write {scheme}:///path, with three slashes, and %3F and %23 for a ? and a # in a name"
        )
    return pathlib.Path(unquote(rest))


class Store:
    """What Vortex has published."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.url = files.url

    def closed(self, hour: datetime) -> bool:
        """Whether the hour has its manifest: one HEAD."""
        return self.files.exists(hour_key(hour))

    def hour(self, hour: datetime) -> ClosedHour:
        """What the hour holds. Raises NotClosed; LoaderError for a manifest that cannot be read."""
        key = hour_key(hour)
        try:
            body = self._read(key)
        except Missing:
            raise NotClosed(f"{hour_text(hour)} is not closed: {self.url}/{key} is not there yet") from None
        try:
            document = json.loads(body)
            version = document["version"]
            if version in MANIFEST_VERSIONS:
                return _hour_of(document, hour)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise LoaderError(f"{self.url}/{key} cannot be read: {quoted(problem)}") from None
        raise LoaderError(
            f"{self.url}/{key}: format version {quoted(version)}; this loader reads up to {MANIFEST_VERSIONS[-1]}; run "
            "the vortex-loader of the version that wrote it"
        )

    def objects(self, partition: Partition) -> list[StoredObject]:
        """The partition's files, as its COPY manifest or the hour's manifest lists them; found below this store,
        wherever it was moved.
        """
        return [stored for listed in partition.folders for stored in self._listed(listed)]

    def _listed(self, listed: Listed) -> list[StoredObject]:
        if not listed.manifest:
            return [*listed.files]
        body = self._read(listed.manifest)
        try:
            return [
                StoredObject(f"{listed.folder}/{entry['url'].rpartition('/')[2]}", entry["meta"]["content_length"])
                for entry in json.loads(body)["entries"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise LoaderError(f"{self.url}/{listed.manifest} cannot be read: {quoted(problem)}") from None

    def blocks(self, stored: StoredObject) -> Iterator[bytes]:
        """The object's lines, about a mebibyte at a time, whole lines each.

        Raises LoaderError where its length is not the manifest's or its bytes are no such file.
        """
        kept: list[bytes] = []
        for piece in self._decompressed(stored):
            end = piece.rfind(b"\n") + 1
            if end:
                yield b"".join((*kept, piece[:end]))
                kept = [piece[end:]]
            else:
                kept.append(piece)
        rest = b"".join(kept)
        if rest:
            raise LoaderError(f"{self.url}/{stored.name}: its last line has no end")

    def _decompressed(self, stored: StoredObject) -> Iterator[bytes]:
        is_zstd = stored.key.endswith(".zst")
        with self._opened(stored) as raw:
            counted = _Counted(raw, None if stored.offset is None else stored.length)
            try:
                with (zstd if is_zstd else _igzip).open(counted, "rb") as file:
                    while piece := file.read(_BLOCK):
                        yield piece
                counted.rest()
            except _DAMAGED as problem:
                kind = _COMPRESSIONS[is_zstd]
                raise LoaderError(f"{self.url}/{stored.name} is not a complete {kind} file: {problem}") from None
            except OSError as problem:
                raise Passing(f"{self.url}/{stored.name}: {problem}") from None
            except Exception as problem:
                if not type(problem).__module__.startswith(("botocore", "urllib3")):
                    raise
                raise Passing(f"{self.url}/{stored.name}: {problem}") from None
            if counted.total != stored.length:
                raise LoaderError(
                    f"{self.url}/{stored.name} has {counted.total} bytes; its manifest says {stored.length}"
                )

    def _opened(self, stored: StoredObject) -> IO[bytes]:
        if stored.offset is None:
            return self.files.open(stored.key)
        return self.files.part(stored.key, stored.offset, stored.length)

    def _read(self, key: str) -> bytes:
        return read_whole(self.files, key)


class _Counted(io.RawIOBase):
    """A file that counts what is read of it, `most` bytes if that is not None."""

    def __init__(self, raw: IO[bytes], most: int | None = None) -> None:
        self._raw, self._most = raw, most
        self.total = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        most = len(buffer) if self._most is None else min(len(buffer), self._most - self.total)
        data = self._raw.read(most)
        buffer[: len(data)] = data
        self.total += len(data)
        return len(data)

    def rest(self) -> None:
        """Counts what is left."""
        while self.read(_BLOCK):
            pass


def read_whole(files: Files, key: str) -> bytes:
    """The object's bytes. Raises as `Files.open` does; Passing where it breaks off."""
    with files.open(key) as file:
        try:
            return file.read()
        except Exception as problem:
            if isinstance(problem, OSError) or type(problem).__module__.startswith(("botocore", "urllib3")):
                raise Passing(f"{files.url}/{key}: {problem}") from None
            raise


def hour_key(hour: datetime) -> str:
    """The one key to wait for."""
    return f"_hours/date={hour:%Y-%m-%d}/hour={hour:%H}/manifest.json"


def _hour_of(document: Any, hour: datetime) -> ClosedHour:
    compression = document.get("compression", _COMPRESSIONS[0])
    if compression not in _COMPRESSIONS:
        raise ValueError(f"its files have the compression {quoted(compression)}")
    if document["hour"] != f"{hour:%Y-%m-%dT%H}:00:00Z":
        raise ValueError(f"it says that it is of {quoted(document['hour'])}")
    rows: dict[tuple[str, str], list[Any]] = {}
    for row in document["partitions"]:
        rows.setdefault((row["customer"], row["event_type"]), []).append(row)
    return ClosedHour(
        hour,
        tuple(
            Partition(
                customer,
                event_type,
                hour,
                sum(row["rows"] for row in several),
                tuple(_listed_in(row) for row in several),
                sum(row["objects"] for row in several),
                compression,
            )
            for (customer, event_type), several in rows.items()
        ),
        sum(row["rows"] for row in document["rejected"]),
        dict(document["counts"]),
    )


def _listed_in(row: Any) -> Listed:
    if "files" not in row:
        return Listed(row["folder"], row["manifest"])
    files = tuple(StoredObject(one["key"], int(one["bytes"]), int(one["offset"])) for one in row["files"])
    return Listed(row["folder"], "", files)
