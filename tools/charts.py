"""Renders the Helm chart: `python -m tools.charts --helm PATH` writes, `--check` compares what is written.

For each values file of deploy/helm/examples, deploy/helm/golden keeps what Kubernetes gets. deploy/kubernetes.yaml is
made in the same way, for those who do not use Helm.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_CHART = _ROOT / "deploy/helm/vortex"
_EXAMPLES = _ROOT / "deploy/helm/examples"
_KUBERNETES = "1.30.0"
"""What is rendered for; the chart needs 1.25."""
_RULES = re.compile(
    r"^  # Alerting rules for Prometheus\..*?^  groups:\n.*?(?=^    - name: vortex-drain|^---|\Z)", re.M | re.S
)
_LEFT_OUT = "  # ... as in deploy/prometheus-alerts.yml, of this release alone\n  groups:\n"
_PLAIN = _EXAMPLES / "plain.yaml"
_HEAD = """\
# A fleet of Vortex workers on Kubernetes, made from the chart in deploy/helm by `make charts`. Put your own names where
# `my-` or capitals stand, and the image where you pushed it.
"""


def rendered(helm: str, values: Path) -> str:
    """What Kubernetes gets for a file of values, without the text of the alerting rules.

    Raises CalledProcessError; Helm has then said why.
    """
    given: list[str | Path] = [_CHART, "-f", values, "--kube-version", _KUBERNETES]
    subprocess.run([helm, "lint", "--quiet", "--strict", *given], check=True)
    template = [helm, "template", "vortex", *given]
    made = subprocess.run(template, check=True, stdout=subprocess.PIPE, text=True).stdout
    return _RULES.sub(_LEFT_OUT, made)


def plain(text: str) -> str:
    """Without what only Helm needs."""
    lines = text.splitlines(keepends=True)
    ours = ("helm.sh/chart:", "app.kubernetes.io/managed-by:", "# Source:")
    return _HEAD + "".join(line for line in lines if not line.strip().startswith(ours))


def targets(helm: str) -> dict[Path, str]:
    """Every rendered file."""
    found = {_ROOT / "deploy/kubernetes.yaml": plain(rendered(helm, _PLAIN))}
    for values in sorted(_EXAMPLES.glob("*.yaml")):
        if values != _PLAIN:
            found[_ROOT / "deploy/helm/golden" / values.name] = rendered(helm, values)
    return found


def main() -> int:
    """The program; with --check the code is 1 where a file is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--helm", required=True)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = 0
    for path, text in targets(arguments.helm).items():
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            print(f"{path.relative_to(_ROOT)} is stale: run `make charts`", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
