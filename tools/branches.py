"""Checks that enough branches of the core are covered: `python -m tools.branches REPORT`, or `make coverage`.

REPORT is JSON of coverage (https://coverage.readthedocs.io/en/latest/commands/cmd_json.html). The floor of coverage
itself counts lines and branches together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FLOOR = 95.0
"""Percent of all branches of `vortex.core`."""
_SHOWN = 10


def read_report(report: Path) -> tuple[float, list[str]]:
    """The percentage of branches, and the files that lack most, a line each."""
    found = json.loads(report.read_text("utf-8"))
    totals = found["totals"]
    missing = {name: file["summary"]["missing_branches"] for name, file in found["files"].items()}
    most = sorted((name for name in missing if missing[name]), key=missing.__getitem__, reverse=True)
    percent = 100.0 * totals["covered_branches"] / max(1, totals["num_branches"])
    return percent, [f"{name}: {missing[name]} branches are not covered" for name in most[:_SHOWN]]


def main() -> int:
    """1 below the floor."""
    percent, lines = read_report(Path(sys.argv[1]))
    print(*lines, f"{percent:.1f} % of the branches are covered; the floor is {FLOOR:.0f} %", sep="\n")
    return int(percent < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
