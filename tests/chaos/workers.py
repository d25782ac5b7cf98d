"""The processes under test: how they are started behind the proxy and stopped, and what their logs must not contain."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.bombs import MARK
from tests.chaos.pulse import Pulse
from tests.harness import Site
from tests.servers import free_port

_STOP_S = 90
"""The time limit of a graceful stop: the grace period, and a call that hangs until its timeout."""
_MOST = 100
"""Failures of one worker before the run is given up."""
_BROKEN = re.compile(r"Traceback|never retrieved|never awaited|Unclosed|unhandled|Fatal error", re.IGNORECASE)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of this process without variables of AWS and Vortex."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "VORTEX_"))}
    return {**kept, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", **more}


@dataclass
class Worker:
    """One worker of a site; its process is replaced after each restart."""

    name: str
    site: Site
    environment: dict[str, str]
    log: Path
    pulse: Pulse
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    faults: list[str] = field(default_factory=list)
    """Its failures."""
    stop_s: list[float] = field(default_factory=list)
    _asked: float = 0.0

    def start(self) -> None:
        """Start the process."""
        environment = {**self.environment, "VORTEX_HTTP__PORT": str(self.port)}
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(self.site.command("run"), stdout=file, stderr=file, env=environment)
        self.pulse.say("watch", self.name, self.port, self.process.pid)

    def check(self) -> None:
        """A process that ended by itself is a failure. It is replaced, so that the run can continue."""
        if self.process is not None and self.process.poll() is not None:
            last = (self.log.read_text(errors="replace").splitlines() or [""])[-1]
            self.faults.append(f"{self.name} ended by itself with code {self.process.returncode}: {last[-400:]}")
            if len(self.faults) > _MOST:
                raise SystemExit("\n".join(self.faults))
            self.pulse.say("leave", self.name)
            self.start()

    def ask_to_stop(self) -> None:
        """Send the signal."""
        self.check()
        assert self.process is not None
        self.pulse.say("leave", self.name)
        self._asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    def has_stopped(self) -> None:
        """Wait for its end, which must come in time with exit code 0."""
        assert self.process is not None
        try:
            code: object = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            code = f"only when killed, {_STOP_S} s later"
            self.kill()
        self.stop_s.append(time.monotonic() - self._asked)
        if code:
            self.faults.append(f"{self.name}, asked to stop, ended with {code}")
        self.process = None

    def kill(self) -> None:
        """Kill the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def said(self, secrets: Iterable[str]) -> list[str]:
        """Tracebacks, secrets and payloads in its log."""
        text = self.log.read_text(errors="replace")
        found = _BROKEN.search(text)
        faults = []
        if found:
            faults.append(f"{self.name}: {found[0]} in the log: …{text[found.start() : found.start() + 1500]}")
        faults += [f"{self.name}: a secret in the log: {secret[:12]}…" for secret in secrets if secret in text][:3]
        if MARK in text:
            faults.append(f"{self.name}: a payload in the log: …{text[max(0, text.index(MARK) - 300) :][:600]}")
        return faults
