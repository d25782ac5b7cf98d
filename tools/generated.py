"""Writes the files that are made from the code: `python -m tools.generated`, or `make generated`.

tests/unit/test_generated.py fails if one of them differs from what the code says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.chart import chart_files
from vortex.config.environment import variable
from vortex.config.example import SCHEMA_FILE, description, example, kind, schema, shown_default, toml
from vortex.config.settings import sections
from vortex.core.invariants import Invariant
from vortex.metrics import METRICS

ROOT = Path(__file__).parents[1]


def files() -> dict[str, str]:
    """Every generated file by its path in the repository."""
    return {
        "config.example.toml": example(),
        SCHEMA_FILE: schema(),
        "docs/reference/settings.md": settings_page(),
        "docs/reference/invariants.md": invariants_page(),
        "docs/reference/metrics.md": metrics_page(),
        **chart_files(ROOT),
    }


def settings_page() -> str:
    """The reference of the settings."""
    lines = [
        "# Settings",
        "",
        _made_from("vortex/config/"),
        "",
        "Settings are a TOML file. `vortex init` writes one with every key and its default. Each key can also be set "
        f"in the environment, as `VORTEX_SECTION__KEY`: `{variable('store', 'url')}` sets `store.url`, and wins over "
        "the file. Lists are JSON there. Vortex refuses unknown sections, keys and variables, and names them.",
        "",
        'Durations are texts such as `"250ms"`, `"30s"`, `"5m"`, `"1h30m"` or `"7d"`. Sizes are texts such as '
        '`"64MiB"` (or `"64Mi"`) or `"10MB"` (or `"10M"`), or numbers of bytes.',
    ]
    for name, section in sections().items():
        rows = [
            (f"`{name}.{key}`", kind(field), _code(shown_default(field), field.is_required()), field.description or "")
            for key, field in section.model_fields.items()
        ]
        lines += ["", f"## {name}", "", description(section), "", *_table(("Key", "Value", "Default", "Meaning"), rows)]
    return "\n".join(lines) + "\n"


def invariants_page() -> str:
    """The reference of what Vortex promises."""
    on_store = [(f"`{one}`", one.promise, one.action) for one in Invariant if one.on_store]
    others = [(f"`{one}`", one.promise, one.action) for one in Invariant if not one.on_store]
    heads = ("Code", "What holds", "What to do if it does not")
    lines = [
        "# Invariants",
        "",
        _made_from("vortex/core/invariants.py"),
        "",
        "What Vortex promises. `vortex verify` reads a store back, names each broken promise, and says what "
        "to do. The simulation checks all of them at every write.",
        "",
        "## What `vortex verify` proves on a store",
        "",
        *_table(heads, on_store),
        "",
        "## What the simulation alone can see",
        "",
        *_table(heads, others),
    ]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """The reference of the metrics."""
    rows = [(f"`{row.name}`", row.kind, ", ".join(f"`{label}`" for label in row.labels), row.help) for row in METRICS]
    lines = [
        "# Metrics",
        "",
        _made_from("vortex/metrics.py"),
        "",
        "Vortex serves these at `/metrics`, for Prometheus. Times are in seconds, sizes in bytes. No label has a name "
        "from an event. Every series has the label `stream`, the stream's name. The usual `process_` metrics are there "
        "as well. A gauge is there once its value is known; a counter is there from the start.",
        "",
        "They are also pushed by OTLP (http/protobuf) where `OTEL_EXPORTER_OTLP_ENDPOINT` or "
        "`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` is set, with `pip install 'vortex-microbatcher[otlp]'`. "
        "Names and labels are the same. OpenTelemetry's own variables set interval, headers and resource attributes. "
        "Each worker of `--processes` pushes its own, told apart by `service.instance.id`; the supervisor pushes "
        "`vortex_process_restarts_total`, and `vortex_trouble` with the name `process`, which is 1 while a worker does "
        "not answer.",
        "",
        "With `vortex run --processes`, one page shows all workers: counters and histograms are sums, and so are "
        "gauges, except ages, lags and times, of which the greatest counts. Counters never fall while the supervisor "
        "runs: what ended workers counted stays in the sum.",
        "",
        *_table(("Metric", "Kind", "Labels", "Meaning"), rows),
    ]
    return "\n".join(lines) + "\n"


def _code(default: object, required: bool) -> str:
    return "required" if required else "" if default is None else f"`{toml(default)}`"


def _made_from(source: str) -> str:
    return f"<!-- Made from {source} by `make generated`; change it there. -->"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [heads, tuple("---" for _ in heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def main() -> None:
    """Write them all."""
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
