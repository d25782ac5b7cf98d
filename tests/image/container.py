"""A process in namespaces of its own, as a container engine starts it: process 1, read-only root, no privileges."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.harness import until
from tests.image.dockerfile import Stage
from tests.image.namespaces import PATH, isolated

_CONFINED = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


class Container:
    """One that runs. Its root is read-only except for /tmp, in memory, and its volumes."""

    def __init__(self, image: Stage, root: Path, process: subprocess.Popen[str]) -> None:
        self._image, self._root, self._outer = image, root, process

    @property
    def pid(self) -> int:
        """Of its process 1, as this machine counts; unshare is its parent."""
        path = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        until(lambda: path.read_text("ascii") != "")  # unshare has forked
        return int(path.read_text("ascii").split()[0])

    def fields(self) -> dict[str, list[str]]:
        """Of /proc/<pid>/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines()
        return {name: text.split() for name, _, text in (line.partition(":") for line in lines)}

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another process in it, like that of a health check."""
        entered = ["nsenter", "--target", str(self.pid), "--mount", "--pid"]
        return subprocess.run(
            [*entered, *confined(self._image, self._root, list(command))],
            env=environment(self._image),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def stop(self, patience_s: float) -> tuple[int, str]:
        """Send its stop signal to process 1; its exit code and what it wrote. Raises TimeoutExpired."""
        os.kill(self.pid, signal.Signals[self._image.stop_signal])
        return self.wait(patience_s)

    def wait(self, patience_s: float) -> tuple[int, str]:
        """Until process 1 ends; its exit code and what it wrote. Raises TimeoutExpired."""
        written, _ = self._outer.communicate(timeout=patience_s)
        return self._outer.returncode, written


def environment(image: Stage) -> dict[str, str]:
    """The variables of its processes: those of the image, none of this machine's."""
    path = image.environment.get("PATH", "$PATH").replace("$PATH", PATH)
    return {**image.environment, "PATH": path}


def confined(image: Stage, root: Path, command: list[str]) -> list[str]:
    """The command in the root folder, as the image's user, without privileges."""
    return ["chroot", str(root), "setpriv", f"--reuid={image.user}", f"--regid={image.user}", *_CONFINED, *command]


@contextmanager
def running(
    image: Stage, root: Path, volumes: dict[str, Path], variables: dict[str, str], *arguments: str
) -> Iterator[Container]:
    """A container of the image. `volumes`: folders of this machine by their place in it. `arguments` replace CMD."""
    lines = [f"mount --bind {root} {root}"]
    for place in volumes:
        (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    lines += [f"mount -o remount,bind,ro {root}", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    lines += [f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp"]
    lines += [f"mount --bind {folder} {root}{place}" for place, folder in volumes.items()]
    lines += [f"exec {shlex.join(confined(image, root, image.command_line(*arguments)))}"]
    process = subprocess.Popen(
        isolated(lines),
        env={**environment(image), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    one = Container(image, root, process)
    try:
        yield one
    finally:
        if process.poll() is None:
            with suppress(OSError, IndexError):
                os.kill(one.pid, signal.SIGKILL)  # it has outgrown --kill-child when it changed its user
            process.kill()
        process.communicate()
