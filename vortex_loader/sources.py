"""Where the catalogue is: a file, a key in S3, or an HTTP address with the last good copy to fall back on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pathlib
import tempfile
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from vortex_loader.calls import Refused, ask, shown, token_of_environment
from vortex_loader.catalog import Catalog, read_catalog
from vortex_loader.model import LoaderError, Missing
from vortex_loader.store import Bucket, local_path, open_store, read_whole
from vortex_loader.wording import quoted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Copy:
    """The catalogue as it was read. Where its source was out of reach, how old it is in seconds, and the reason."""

    catalog: Catalog
    age: float = 0.0
    reason: str = ""


class FileSource:
    """A file, read anew each time."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def read(self) -> Copy:
        """The catalogue. Raises LoaderError."""
        try:
            return Copy(read_catalog(self._path.read_bytes(), str(self._path)))
        except OSError as problem:
            why = f"the catalogue {self._path} cannot be read: {problem.strerror}"
            raise LoaderError(f"{why}; --catalog names a file such as docs/how-to/load.md shows") from None


class KeySource:
    """An object in S3."""

    def __init__(self, url: str, endpoint_url: str | None, region: str | None) -> None:
        folder, _, self._key = url.rpartition("/")
        if not self._key or folder == "s3:/":
            raise LoaderError(f"{quoted(url)} names no object; write s3://bucket/key")
        self._url = url
        files = open_store(folder, endpoint_url=endpoint_url, region=region).files
        assert isinstance(files, Bucket)
        self._files = files

    def read(self) -> Copy:
        """The catalogue. Raises LoaderError."""
        try:
            return Copy(read_catalog(read_whole(self._files, self._key), self._url))
        except Missing as problem:
            raise LoaderError(str(problem)) from None


class HttpSource:
    """An address. What came last and was right is kept in `cache`, with when it came."""

    def __init__(self, url: str, cache: pathlib.Path, token: str | None = None) -> None:
        self._url, self._shown = url, shown(url)
        self._token = token
        self._kept = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"

    def read(self) -> Copy:
        """The catalogue, or the last good copy of it. Raises LoaderError where there is neither."""
        try:
            catalog = read_catalog(ask(self._url, token=self._token), self._shown)
        except Refused as problem:
            return self._fall_back(f"it answers {problem.status}")
        except LoaderError as problem:
            return self._fall_back(str(problem).removeprefix(f"{self._shown}: "))
        self._keep(catalog)
        return Copy(catalog)

    def _keep(self, catalog: Catalog) -> None:
        text = json.dumps({"at": time.time(), "url": self._shown, "catalog": catalog.as_json()})
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._kept.parent, delete=False, encoding="utf-8") as file:
                file.write(text)
            pathlib.Path(file.name).replace(self._kept)
        except OSError as problem:
            log.warning("%s: the catalogue's copy is not kept: %s", self._kept, problem.strerror)

    def _fall_back(self, reason: str) -> Copy:
        try:
            kept = json.loads(self._kept.read_bytes())
            catalog = read_catalog(json.dumps(kept["catalog"]).encode(), str(self._kept))
            age = max(0.0, time.time() - float(kept["at"]))
        except (OSError, ValueError, KeyError, TypeError, LoaderError):
            raise LoaderError(f"{self._shown}: {reason}, and there is no earlier copy") from None
        log.warning("%s: %s; going by the copy of %d s ago", self._shown, reason, age)
        return Copy(catalog, age, reason)


Source = FileSource | KeySource | HttpSource


def catalog_source(
    address: str, *, endpoint_url: str | None = None, region: str | None = None, cache: pathlib.Path | None = None
) -> Source:
    """The source at a path, `file://`, `s3://bucket/key`, `http://` or `https://`."""
    if address.startswith("s3://"):
        return KeySource(address, endpoint_url, region)
    if address.startswith(("http://", "https://")):
        folder = cache or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vortex-loader"
        try:
            path = urlsplit(address).path
        except ValueError:
            raise LoaderError(f"{shown(address)}: the address of the catalogue cannot be read") from None
        url = address if path not in ("", "/") else f"{address.rstrip('/')}/v1/catalog"
        return HttpSource(url, folder, token_of_environment())
    if address.startswith("file://"):
        return FileSource(local_path(address))
    if "://" in address or not address:
        raise LoaderError(f"{shown(address)}: a catalogue is a file, s3://bucket/key, or an HTTP address")
    return FileSource(pathlib.Path(address))
