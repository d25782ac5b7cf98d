"""The image without a container engine: its Dockerfile's steps make a root folder, and its entry point runs there.

`make test-image`. It needs root, namespaces and debootstrap.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.harness import make_stream, until
from tests.image.container import confined, environment, running
from tests.image.dockerfile import Stage, stages
from tests.image.root import Missing, build, require
from tests.servers import CREDENTIALS, REPOSITORY, free_port

GRACE_S = 25.0
COMPILERS = {"as", "c++", "c99", "cc", "cc1", "clang", "cpp", "g++", "gcc", "ld", "make", "tcc"}
SETTINGS = """
[source]
stream = "{stream}"
endpoint_url = "{kinesis}"
region = "us-east-1"
[event]
customer = "customer"
type = "type"
id = "id"
time = "at"
[store]
url = "file:///data"
[http]
port = {port}
"""

Image = tuple[Stage, Path]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The last stage and its root folder, which is in memory while the tests run."""
    try:
        require()
        parsed = stages((REPOSITORY / "Dockerfile").read_text("utf-8"))
        with in_memory() as folder:
            yield parsed[-1], build(parsed, folder)
    except Missing as problem:
        pytest.skip(str(problem))  # no root, namespaces or debootstrap here: `make test-image` says which


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder without a disk: thousands of small files are written and removed at once."""
    with TemporaryDirectory(prefix="vortex-image-") as name:
        Path(name).chmod(0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


class Site:
    """A stream of three events, settings that read it, and the folder that they name as the store."""

    def __init__(self, kinesis: str, folder: Path, owner: int) -> None:
        stream, self.port = folder.name, free_port()
        client = make_stream(kinesis, stream, 1)
        for number in range(3):
            event = {"customer": "acme", "type": "view", "id": f"id-{number}", "at": "2026-01-01T00:00:00Z"}
            client.put_record(StreamName=stream, Data=json.dumps(event).encode(), PartitionKey="1")
        settings, self.data = folder / "settings", folder / "data"
        for one in (settings, self.data):
            one.mkdir()
            os.chown(one, owner, owner)
        text = SETTINGS.format(stream=stream, kinesis=kinesis, port=self.port)
        (settings / "vortex.toml").write_text(text, "utf-8")
        self.volumes = {"/etc/vortex": settings, "/data": self.data}


@pytest.fixture
def site(image: Image, moto_url: str) -> Iterator[Site]:
    """In a folder that every user may enter; that of pytest is for its own."""
    with TemporaryDirectory(prefix="vortex-image-") as name:
        Path(name).chmod(0o755)
        yield Site(moto_url, Path(name), int(image[0].user))


def test_image_has_the_steps_in_c_and_no_compiler(image: Image) -> None:
    stage, root = image
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    assert not COMPILERS & {path.name for path in files if path.stat().st_mode & 0o111}
    program = "import vortex.core.native.compiled"
    command = confined(stage, root, ["python", "-c", program])
    done = subprocess.run(command, env=environment(stage), capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


def test_container_stops_cleanly_when_it_is_process_1_of_a_read_only_root(image: Image, site: Site) -> None:
    stage, root = image
    with running(stage, root, site.volumes, CREDENTIALS) as worker:
        until(lambda: worker.execute(*stage.health_check).returncode == 0)
        fields = worker.fields()
        assert fields["NSpid"][-1] == "1"
        assert set(fields["Uid"]) == {stage.user} != {"0"}
        assert int(fields["CapEff"][0], 16) == 0
        assert fields["NoNewPrivs"] == ["1"]
        assert "Read-only file system" in worker.execute("python", "-c", "open('/opt/vortex/x', 'w')").stderr
        elsewhere = worker.execute("env", f"VORTEX_HTTP__PORT={free_port()}", *stage.health_check)
        assert (elsewhere.returncode, "does not answer" in elsewhere.stderr) == (1, True)

        code, log = worker.stop(GRACE_S)

    assert code == 0, log
    assert "ended with code 0" in log
    assert "Traceback" not in log


def test_container_publishes_what_the_stream_has_when_it_drains(image: Image, site: Site) -> None:
    """Arguments stand in place of CMD."""
    with running(*image, site.volumes, CREDENTIALS, "run", "--drain") as worker:
        code, log = worker.wait(60)
    assert code == 0, log
    published = b"".join(gzip.decompress(path.read_bytes()) for path in site.data.glob("customer=acme/**/*.gz"))
    assert sorted(json.loads(line)["id"] for line in published.splitlines()) == ["id-0", "id-1", "id-2"]
