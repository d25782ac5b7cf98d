"""Settings in the environment: `VORTEX_SECTION__KEY`, and variables that only look like one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

Known = Mapping[str, Iterable[str]]
"""The keys of every section."""
PREFIX = "VORTEX_"
NEST = "__"
DEFAULTS = "VORTEX_DEFAULTS"
"""The variable whose settings a file overrides."""
_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_ADDRESSES = ("tcp://", "udp://", "sctp://")


def variable(section: str, key: str = "") -> str:
    """The variable of a setting, or of a whole section."""
    return f"{PREFIX}{section}{NEST if key else ''}{key}".upper()


def overrides(environ: Mapping[str, str], known: Known) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What is set, by section and key of `known`; and a line for each variable that names an unknown setting.

    A variable without `__` is not a setting: a Kubernetes Service named `vortex` sets VORTEX_PORT in every pod.
    """
    names = _names(known)
    bare = [name.removeprefix(PREFIX) for name in names]
    found: dict[str, dict[str, str]] = {}
    faults = []
    for name, value in environ.items():
        if not name.upper().startswith(PREFIX) or NEST not in name:
            continue
        if name.upper() in names:
            section, key = names[name.upper()]
            found.setdefault(section, {})[key] = value
        elif not _of_a_service(name.upper(), value):
            near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), bare, 1)
            faults.append(
                f"environment: {name}: unknown setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")
            )
    return found, faults


def defaults(environ: Mapping[str, str], known: Known) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What VORTEX_DEFAULTS sets, as `overrides` returns it: "section.key=value", separated by spaces.

    The image sets it, so that a file, which is stronger, need not repeat what is right in every container.
    """
    found: dict[str, dict[str, str]] = {}
    faults = []
    for word in environ.get(DEFAULTS, "").split():
        name, given, value = word.partition("=")
        section, _, key = name.partition(".")
        if not given:
            faults.append(f"environment: {DEFAULTS}: {word!r} is no setting; write section.key=value")
        elif key not in known.get(section, ()):
            faults.append(f"environment: {DEFAULTS}: {name}: unknown setting")
        else:
            found.setdefault(section, {})[key] = value
    return found, faults


def unheard(environ: Mapping[str, str], known: Known) -> list[str]:
    """A line for each variable that lacks one underscore to be a setting."""
    names = {name.replace(NEST, "_"): name for name in _names(known)}
    return [
        f"environment: {name}: not a setting, has no effect; did you mean {names[name.upper()]}?"
        for name, value in sorted(environ.items())
        if name.upper() in names and not _of_a_service(name.upper(), value)
    ]


def _names(known: Known) -> dict[str, tuple[str, str]]:
    return {variable(section, key): (section, key) for section, keys in known.items() for key in keys}


def _of_a_service(name: str, value: str) -> bool:
    """Whether Kubernetes (or a Docker link) set it: it tells each pod where every Service of the namespace is."""
    return bool(_SERVICE.search(name)) or value.startswith(_ADDRESSES)
