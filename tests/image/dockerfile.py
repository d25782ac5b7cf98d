"""Reads a Dockerfile: its stages, their steps, and what they say of the container. Knows what this project uses."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_BLANK = re.compile(r"^\s*(#.*)?$")


class Run(NamedTuple):
    """A command of the shell, and the variables that it sees."""

    command: str
    environment: Mapping[str, str]
    folder: str


class Copy(NamedTuple):
    """Files of the context, or of another stage, and where they go."""

    sources: tuple[str, ...]
    target: str
    stage: str | None


@dataclass
class Stage:
    """One FROM and what follows it."""

    base: str
    name: str
    steps: list[Run | Copy] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0"
    stop_signal: str = "SIGTERM"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)

    def command_line(self, *arguments: str) -> list[str]:
        """What a container of this image executes: ENTRYPOINT, and the arguments or CMD."""
        return [*self.entrypoint, *(arguments or self.command)]


class _Reader:
    """Takes one instruction after the other. `given` are the build arguments of the command line."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.stages: list[Stage] = []
        self._given = given
        self._before: dict[str, str] = {}
        self._arguments: dict[str, str] = {}

    def take(self, keyword: str, text: str) -> None:
        """One instruction. Raises ValueError for one that is not known."""
        method = getattr(self, f"_take_{keyword.lower()}", None)
        if method is None:
            raise ValueError(f"{keyword}: not known to this reader")
        method(text)

    @property
    def _stage(self) -> Stage:
        return self.stages[-1]

    def _filled(self, text: str) -> str:
        known = (
            {**self._before, **self._arguments} if not self.stages else {**self._arguments, **self._stage.environment}
        )
        return _VARIABLE.sub(
            lambda found: known.get(found[1] or found[2], found[0] if found[2] == "PATH" else ""), text
        )

    def _take_arg(self, text: str) -> None:
        name, _, default = text.partition("=")
        known = self._before if self.stages else {}
        value = self._given.get(name, self._filled(default) or known.get(name, ""))
        (self._arguments if self.stages else self._before)[name] = value

    def _take_from(self, text: str) -> None:
        base, *rest = text.split()
        base = _VARIABLE.sub(lambda found: self._before[found[1] or found[2]], base)
        self._arguments = {}
        stage = Stage(base, rest[1] if rest else "")
        for before in self.stages:
            if before.name == base:
                stage.environment, stage.folder, stage.user = dict(before.environment), before.folder, before.user
        self.stages.append(stage)

    def _take_run(self, text: str) -> None:
        environment = {**self._arguments, **self._stage.environment}
        self._stage.steps.append(Run(text, environment, self._stage.folder))

    def _take_copy(self, text: str) -> None:
        *words, target = shlex.split(text)
        stage = next((word.partition("=")[2] for word in words if word.startswith("--from=")), None)
        sources = tuple(word for word in words if not word.startswith("--"))
        if not target.startswith("/"):
            target = f"{self._stage.folder.rstrip('/')}/{target}"
        self._stage.steps.append(Copy(sources, target, stage))

    def _take_env(self, text: str) -> None:
        self._stage.environment.update(self._pairs(text))

    def _take_label(self, text: str) -> None:
        self._stage.labels.update(self._pairs(text))

    def _pairs(self, text: str) -> dict[str, str]:
        return {name: self._filled(value) for name, _, value in (word.partition("=") for word in shlex.split(text))}

    def _take_workdir(self, text: str) -> None:
        self._stage.folder = text

    def _take_user(self, text: str) -> None:
        self._stage.user = text

    def _take_expose(self, text: str) -> None:
        self._stage.ports += text.split()

    def _take_stopsignal(self, text: str) -> None:
        self._stage.stop_signal = text

    def _take_healthcheck(self, text: str) -> None:
        self._stage.health_check = json.loads(text.partition("CMD ")[2])

    def _take_entrypoint(self, text: str) -> None:
        self._stage.entrypoint = json.loads(text)

    def _take_cmd(self, text: str) -> None:
        self._stage.command = json.loads(text)


def stages(text: str, **arguments: str) -> list[Stage]:
    """The stages of a Dockerfile; the last one is the image. `arguments` are its build arguments."""
    lines = [line for line in text.splitlines() if not _BLANK.match(line)]
    reader = _Reader(arguments)
    for instruction in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        keyword, _, rest = instruction.partition(" ")
        reader.take(keyword, rest.strip())
    return reader.stages
