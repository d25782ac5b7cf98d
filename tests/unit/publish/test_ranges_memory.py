"""Publishing a large plan and reading large records at a time take no more memory than stated."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bombs import LIMIT, MIB
from tests.native import native
from tests.publishing_memory import EVENTS, FOLDERS

CONSTANT_MIB = 320
"""Fixed memory on top of the limit, as in benchmarks/memory.py."""


@pytest.mark.skipif(native is None, reason="the bound is for an installation with the steps in C")
def test_large_objects_and_large_records_together_keep_to_the_limit_of_memory() -> None:
    """Each alone would fit; together they wait for each other."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.publishing_memory"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["published"] > 0.65 * FOLDERS * EVENTS
    assert row["peak"] < LIMIT / MIB + CONSTANT_MIB
