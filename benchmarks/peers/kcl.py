"""The program in `benchmarks/peers/kcl`: on the Kinesis Client Library, in Java, built by Maven."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages import STREAM

SOURCE = Path(__file__).parent / "kcl"
_LOG = "org.slf4j.simpleLogger.defaultLogLevel"
_PASSWORD = "changeit"
"""The usual password of a Java trust store, which holds certificates only."""


class NoJava(Exception):
    """The program cannot be built here; the message says what is missing."""


def require_java() -> None:
    """Raises NoJava where Java or Maven is missing."""
    for program in ("java", "keytool", "mvn"):
        if shutil.which(program) is None:
            raise NoJava(f"{program} is missing: the peer on the Kinesis Client Library needs Java 17 and Maven")


@dataclass(frozen=True, slots=True)
class Kcl:
    """The built program. `trust`: a trust store for the servers' certificates; None for plain HTTP."""

    trust: Path | None = None

    @classmethod
    def built(cls, folder: Path, environment: Mapping[str, str]) -> Kcl:
        """Build it. Raises NoJava where Maven cannot get the libraries, or has no compiler of Java 17."""
        _said(["mvn", "-q", "-B", "package"], SOURCE)
        bundle = environment.get("AWS_CA_BUNDLE")
        if bundle is None:
            return cls()
        trust = folder / "trust.p12"
        store = ["-keystore", str(trust), "-storetype", "PKCS12", "-storepass", _PASSWORD]
        _said(["keytool", "-importcert", "-noprompt", "-alias", "servers", "-file", bundle, *store], folder)
        return cls(trust)

    def command(
        self,
        *,
        kinesis: str,
        store: str,
        leases: str,
        bucket: str,
        shards: int,
        level: int,
        flush_s: int,
        failover_s: int,
    ) -> list[str]:
        """What to run, until it has read every shard to its tip. It flushes every `flush_s` seconds, and at the end.

        The lease of a worker that does not renew it for `failover_s` is free. The bucket's name is the application's,
        too. Two gigabytes are enough for a million events; with one, the whole heap is collected again and again. The
        parallel collector costs the least CPU. The SDK speaks CBOR to Kinesis unless told not to.
        """
        options = ["-Xmx2g", "-XX:+UseParallelGC", f"-D{_LOG}=warn"]
        if self.trust is not None:
            options += [f"-Djavax.net.ssl.trustStore={self.trust}", f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}"]
        target = SOURCE / "target"
        facts = {"stream": STREAM, "kinesis": kinesis, "store": store, "leases": leases, "bucket": bucket}
        facts |= {"application": bucket, "shards": str(shards), "flush": str(flush_s), "level": str(level)}
        facts |= {"failover": str(failover_s)}
        path = f"{target / 'kcl-1.jar'}:{target / 'lib'}/*"
        return ["java", *options, "-cp", path, "peer.Main", *(f"{name}={value}" for name, value in facts.items())]


def _said(command: list[str], folder: Path) -> None:
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if outcome.returncode:
        raise NoJava(f"{' '.join(command[:3])} failed: {(outcome.stdout + outcome.stderr).strip()[-800:]}")
