"""`vortex rejects` over an emulator: a path is mended, and what it rejected is put back once."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from tests.harness import Site, event_of, make_stream

pytestmark = pytest.mark.integration


def test_replay_after_mending_a_path_publishes_each_event_once(moto_url: str, tmp_path: Path) -> None:
    kinesis = make_stream(moto_url, "mending", 2)
    site = Site(moto_url, "mending", (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    right = site.config.read_text("utf-8")
    site.config.write_text(re.sub(r"customer = .*", 'customer = "custmer"', right), "utf-8")
    names = [f"id-{n}" for n in range(40)]
    for n, name in enumerate(names):
        data = gzip.compress(event_of(name)) if n % 4 == 0 else event_of(name)
        kinesis.put_record(StreamName="mending", PartitionKey=name, Data=data)
    checked = site.call("check", "--json")
    failed = [line["detail"] for line in json.loads(checked.stdout) if not line["ok"]]
    assert checked.returncode == 1
    assert any("nearest paths in the data: customer (100%)" in detail for detail in failed)
    site.drain()
    assert site.lines() == []
    explained = site.call("explain", json.loads(event_of(names[0]))["customer"], names[0], "--json")
    answer = json.loads(explained.stdout)
    assert (answer["verdict"], answer["rejections"][0]["reason"]) == ("rejected", "missing_customer")
    counted = json.loads(site.call("rejects", "summary", "--json").stdout)
    assert counted["reason"] == {"missing_customer": 40}
    assert len(site.call("rejects", "list", "--limit", "5").stdout.splitlines()) == 15
    asked = site.call("rejects", "replay", "--dry-run")
    assert "40 would be rejected again: missing_customer" in asked.stdout

    site.config.write_text(right, "utf-8")
    assert "40 to put back" in site.call("rejects", "replay", "--dry-run").stdout
    assert site.call("rejects", "replay").returncode == 2  # nobody can be asked
    file = tmp_path / "mended.json"
    assert f"wrote 40 to {file}" in site.call("rejects", "replay", "--file", str(file)).stdout
    assert "40 events decoded: 40 accepted" in site.call("preview", "-n", "100", "--file", str(file)).stdout
    done = site.call("rejects", "replay", "--yes")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "40 put back, 0 were put back before"), done.stderr
    site.drain()
    assert sorted(json.loads(line)["id"] for _, line in site.lines()) == sorted(names)
    again = site.call("rejects", "replay", "--yes")
    assert "40 were put back before" in again.stdout
    assert site.call("verify").returncode == 0
