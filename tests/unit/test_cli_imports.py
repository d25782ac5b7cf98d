"""What starting the program imports: counts, not times. `python -m benchmarks.startup` measures the time."""

from __future__ import annotations

import subprocess
import sys

_MOST_OF_A_WORKER = 950
_MOST_OF_HELP = 300
_NEVER = {
    "boto3", "cryptography", "docutils", "duckdb", "fastapi", "httpx", "hypothesis", "moto", "pandas", "psycopg",
    "pyarrow", "pygments", "pytest", "requests", "rich", "s3transfer", "uvicorn", "vortex.commands", "vortex.verify",
    "vortex_loader",
}  # fmt: skip
"""For the commands `demo`, `check`, `status` and `verify`, for the loader, or for developers."""


def imported(statement: str) -> set[str]:
    """All modules that are loaded after the statement, in a new process."""
    program = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


def test_run_imports_no_module_that_a_worker_does_not_use() -> None:
    """A worker is ready in a second of CPU, of which imports take half."""
    found = imported("import vortex.cli, vortex.config.loading, vortex.runtime.service")
    assert "vortex.runtime.assembly" in found
    assert not found & _NEVER
    assert len(found) <= _MOST_OF_A_WORKER


def test_supervisor_imports_no_client_and_no_decoder() -> None:
    """It accesses neither stream nor store."""
    found = imported("import vortex.cli, vortex.config.loading, vortex.runtime.supervisor")
    assert not found & (_NEVER | {"aiobotocore", "botocore", "vortex.core.decode.decoder", "vortex.runtime.service"})


def test_help_imports_neither_settings_nor_clients() -> None:
    """It answers in a tenth of a second."""
    found = imported("import vortex.cli")
    assert not found & (_NEVER | {"aiohttp", "botocore", "numpy", "prometheus_client", "pydantic", "vortex.runtime"})
    assert len(found) <= _MOST_OF_HELP
