"""The peer's program is skipped with one clear line where it cannot be built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.peers.__main__ import ROWS, main, table
from benchmarks.peers.kcl import Kcl, NoJava


def test_peers_say_in_one_line_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started."""
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr(sys, "argv", ["peers", "--plain"])
    main()
    said = capsys.readouterr()
    assert said.out == ""
    assert " ".join(said.err.split()) == (
        "skipped: java is missing: the peer on the Kinesis Client Library needs Java 17 and Maven"
    )


def test_peer_says_why_maven_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    mvn = tmp_path / "mvn"
    mvn.write_text("#!/bin/sh\necho no route to the repository\nexit 1\n")
    mvn.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(NoJava, match="mvn -q -B failed: no route to the repository"):
        Kcl.built(tmp_path, {})


def test_table_shows_the_ratios_of_peer_and_vortex() -> None:
    one = dict.fromkeys(ROWS, 5.0)
    two = {name: 10 * value for name, value in one.items()}
    lost = {"missing": 0, "twice": 3}
    shown = table({"Vortex": one, "KCL": two}, {"Vortex": lost, "KCL": lost})
    assert list(shown.columns[3].cells) == ["10.0"] * len(ROWS) + ["", ""]
    assert list(shown.columns[2].cells)[-2:] == ["0", "3"]


def test_peer_speaks_cbor_and_takes_the_given_level_and_trust(tmp_path: Path) -> None:
    """The SDK speaks CBOR unless a property tells it not to."""
    where = {"kinesis": "https://k", "store": "https://s", "leases": "http://d", "bucket": "b"}
    trusted = Kcl(tmp_path / "trust.p12").command(**where, shards=4, level=6, flush_s=3, failover_s=10)
    assert not any(each.lower().startswith("-daws.cbor") for each in trusted)
    assert f"-Djavax.net.ssl.trustStore={tmp_path / 'trust.p12'}" in trusted
    assert trusted[trusted.index("peer.Main") + 1 :] == [
        "stream=bench",
        *(f"{name}={value}" for name, value in where.items()),
        *("application=b", "shards=4", "flush=3", "level=6", "failover=10"),
    ]
    plain = Kcl().command(**where, shards=4, level=6, flush_s=3, failover_s=10)
    assert not any("trustStore" in each for each in plain)
