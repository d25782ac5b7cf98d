"""Moto's server, with put-if-absent as S3 has it: `python -P tests/moto_process.py -H HOST -p PORT`.

Moto looks for the key and then writes, each request in a thread of its own. So on a busy machine two puts may find no
key, and both succeed. Here one put waits for the other.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from moto.s3.responses import S3Response
from moto.server import main


def make_puts_atomic() -> None:
    """Of all buckets, one after the other."""
    lock, put = threading.Lock(), S3Response.put_object

    @functools.wraps(put)
    def one_by_one(self: S3Response) -> Any:
        with lock:
            return put(self)

    S3Response.put_object = one_by_one  # type: ignore[method-assign]


if __name__ == "__main__":
    make_puts_atomic()
    main()
