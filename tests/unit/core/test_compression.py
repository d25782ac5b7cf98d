"""The compressions of objects."""

from __future__ import annotations

import pytest

from vortex.core.compression import ZSTD_OPTIONS, Compression, zstd
from vortex.core.layout import object_key


@pytest.mark.parametrize(("compression", "name"), [("gzip", "f/0000-000.json.gz"), ("zstd", "f/0000-000.json.zst")])
def test_the_name_of_an_object_tells_its_compression(compression: str, name: str) -> None:
    kind = Compression(compression)
    assert object_key("f", 0, 0, kind) == name and Compression.of(name) is kind


def test_a_frame_has_a_checksum_so_that_readers_find_a_changed_byte() -> None:
    """Raw bytes do not compress, so that only the checksum can tell."""
    packed = bytearray(zstd.compress(bytes(range(256)), options=ZSTD_OPTIONS))
    packed[100] ^= 1
    with pytest.raises(zstd.ZstdError):
        zstd.decompress(bytes(packed))
