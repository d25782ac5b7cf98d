"""Makes the root folder of an image by the steps of its Dockerfile, with namespaces in place of a container engine.

The base is Debian's own Python, unpacked by debootstrap: the release that the official image of this Python is made of.
"""

from __future__ import annotations

import fnmatch
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.image.dockerfile import Copy, Run, Stage
from tests.image.namespaces import PATH, isolated
from tests.servers import REPOSITORY, TOOLS

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Releases of Debian by the version of their Python."""
_PACKAGES = "python3,python3-venv,libpython3-dev,ca-certificates"
"""The official image has no compiler, and Python's headers."""
_WAYS_OUT = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs")
"""How this machine reaches its package registries; there for the steps, not in the image."""
_VARIABLES = ("PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class Missing(Exception):
    """This machine lacks what the test needs; the text says what."""


def require() -> None:
    """Raises Missing."""
    for program in ("debootstrap", "unshare", "nsenter", "setpriv", "chroot"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is needed: apt-get install debootstrap util-linux")
    if os.geteuid():
        raise Missing("root is needed, to make namespaces and a root folder: sudo make test-image")
    trial = subprocess.run(isolated(["true"]), capture_output=True, text=True, check=False)
    if trial.returncode:
        raise Missing(f"namespaces are not permitted here: {trial.stderr.strip()}")


def base(name: str) -> Path:
    """The root folder of a base image such as python:3.13-slim; made once, kept in .tools. Raises Missing."""
    version = name.partition(":")[2].partition("-")[0]
    suite = SUITES.get(version)
    if suite is None:
        raise Missing(f"no release of Debian has Python {version}: add it to SUITES in {Path(__file__).name}")
    root = TOOLS / "image" / f"base-{suite}"
    if not root.exists():
        staging = root.with_name(f"staging-{os.getpid()}")
        staging.mkdir(parents=True)
        try:
            made = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite]
            subprocess.run([*made, str(staging)], check=True, stdout=subprocess.DEVNULL, timeout=900)
            (staging / "usr/local/bin/python").symlink_to("/usr/bin/python3")  # where the official image has it
            for kept in (staging / "var/lib/apt/lists", staging / "var/cache/apt"):
                shutil.rmtree(kept)
                kept.mkdir()
            staging.rename(root)
        except BaseException:  # Ctrl-C, too: half a root folder must not stay
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return root


def build(stages: list[Stage], folder: Path) -> Path:
    """Execute the steps of all stages below `folder`; the root folder of the last one. Raises AssertionError."""
    roots: dict[str, Path] = {}
    root = folder
    for number, stage in enumerate(stages):
        root = folder / (stage.name or str(number))
        _copied(roots.get(stage.base) or base(stage.base), root)
        for step in stage.steps:
            if isinstance(step, Run):
                _run(root, step)
            else:
                _copy(roots[step.stage] if step.stage else REPOSITORY, root, step)
        roots[stage.name or str(number)] = root
    return root


def _copied(source: Path, target: Path) -> None:
    """A copy of a root folder, with owners and modes."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)


def _run(root: Path, step: Run) -> None:
    """In a mount namespace of its own, which has /proc, /dev, and the ways out."""
    folder = root / step.folder.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for way in _WAYS_OUT:
        if Path(way).exists():
            here = root / way.lstrip("/")
            if not here.exists():
                lines.append(f"touch {here}")
            lines.append(f"mount --bind -o ro $(readlink -f {way}) {here}")
    lines.append(f"exec chroot {root} sh -c {shlex.quote(f'cd {step.folder} && {step.command}')}")
    ways = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    environment = {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", **ways, **step.environment}
    environment["PATH"] = environment["PATH"].replace("$PATH", PATH)
    done = subprocess.run(
        isolated(lines),
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"RUN {step.command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _copy(source: Path, root: Path, step: Copy) -> None:
    target = root / step.target.lstrip("/")
    ignored = ignore_patterns() if source == REPOSITORY else []
    for name in step.sources:
        origin = source / name.lstrip("/")
        if origin.is_dir():
            _copy_folder(origin, target, ignored)
        else:
            into = target / origin.name if step.target.endswith(("/", "/.")) or len(step.sources) > 1 else target
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, into)


def _copy_folder(origin: Path, target: Path, ignored: list[str]) -> None:
    """The contents of the folder, less what .dockerignore names."""

    def left_out(_: str, names: list[str]) -> set[str]:
        return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in ignored)}

    shutil.copytree(origin, target, symlinks=True, dirs_exist_ok=True, ignore=left_out)


def ignore_patterns() -> list[str]:
    """What .dockerignore says of every folder."""
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    return [line.removeprefix("**/") for line in lines if line.startswith("**/")]
