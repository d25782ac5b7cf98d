"""How objects are compressed, and the large blobs of segments, which objects copy."""

from __future__ import annotations

import sys
from enum import StrEnum

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ZSTD_OPTIONS", "Compression", "zstd"]


class Compression(StrEnum):
    """The compression of an object. Several members of gzip or frames of Zstandard, one after another, are one text."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def ending(self) -> str:
        """How the object's name ends."""
        return ".json.gz" if self is Compression.GZIP else ".json.zst"

    @classmethod
    def of(cls, key: str) -> Compression:
        """The compression of the object with this name."""
        return cls.ZSTD if key.endswith(cls.ZSTD.ending) else cls.GZIP


ZSTD_OPTIONS = {
    int(zstd.CompressionParameter.compression_level): 1,
    int(zstd.CompressionParameter.checksum_flag): 1,
}
"""Level 1 costs what gzip costs here. The checksum tells readers of a damaged frame, as that of gzip does."""
