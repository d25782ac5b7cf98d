"""The unit tests mirror the package: `vortex/a/b.py` is tested by `tests/unit/a/test_b.py` or `test_b_<aspect>.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests/unit"
_DECLARES = "only declares types or names"
_SETTINGS = "declares settings: config/test_settings.py, test_environment.py and test_loading.py test each of them"
_DECODER = "is a part of the decoder: core/decode/test_decoder.py and test_events.py test it"
_EXPLAIN = "is a part of explain: lookup/test_explain.py searches a whole run with it"
_USER = "tests/acceptance/test_as_a_user.py runs the command"
EXCEPTIONS = {
    "adapters/aws/pages.py": "adapters/aws/test_exchange_malformed_replies.py tests the pages of every client",
    "adapters/aws/signed_call.py": "kinesis/test_get_records.py, s3/test_get_object.py and test_put_object.py test it",
    "commands/close.py": _USER,
    "commands/demo_traffic.py": _USER,
    "commands/demo_warehouse.py": _USER,
    "config/input.py": _SETTINGS,
    "config/output.py": _SETTINGS,
    "config/section.py": _SETTINGS,
    "core/decode/diagnosis.py": _DECODER,
    "core/decode/event_pages.py": "core/decode/test_events.py and test_events_steps.py test it with the reader",
    "core/decode/fields.py": _DECODER,
    "core/decode/reasons.py": _DECLARES,
    "core/decode/shape.py": _DECODER,
    "core/ingest/policy.py": _DECLARES,
    "core/model.py": _DECLARES,
    "core/native/compiled.py": "core/native/test_native.py compares it with pure.py",
    "core/native/pure.py": "core/native/test_native.py compares it with compiled.py",
    "exits.py": _DECLARES,
    "fleet/fleet.py": _DECLARES,
    "ingest/setup.py": _DECLARES,
    "lookup/answers.py": _DECLARES,
    "lookup/identity.py": _EXPLAIN,
    "lookup/logs.py": _EXPLAIN,
    "lookup/placed.py": _EXPLAIN,
    "lookup/progress.py": _DECLARES,
    "lookup/sends.py": _EXPLAIN,
    "options.py": "test_cli.py tests what commands share",
    "rejects_commands.py": "test_cli.py tests its options, and commands/test_rejects.py what they call",
    "ports.py": _DECLARES,
    "runtime/gauges.py": "tests/integration/test_fleet.py reads the gauges of workers",
    "verify/report.py": _DECLARES,
}
"""Modules without a test file of their name, and why."""
OF_THE_REPOSITORY = {
    "test_alerts",
    "test_deploy",
    "test_dockerfile",
    "test_documentation",
    "test_formats",
    "test_generated",
    "test_layout_of_tests",
    "test_message_snapshot",
    "test_released_states",
    "test_requirements",
    "test_setup",
    "test_wheel_tests",
    "test_words",
    "test_workflows",
}
"""Test files about the repository, not about one module."""


def modules() -> list[str]:
    """The modules of the package, by path within it."""
    paths = (path.relative_to(ROOT / "vortex") for path in (ROOT / "vortex").rglob("*.py"))
    return sorted(path.as_posix() for path in paths if path.name not in ("__init__.py", "__main__.py"))


def files_of(module: str) -> list[Path]:
    """The test files of a module."""
    path = UNIT / module
    return [*path.parent.glob(f"test_{path.stem}.py"), *path.parent.glob(f"test_{path.stem}_*.py")]


@pytest.mark.parametrize("module", modules())
def test_module_has_a_test_file_of_its_name_or_a_reason(module: str) -> None:
    """A reason goes when the module gets a test file."""
    assert bool(files_of(module)) != (module in EXCEPTIONS), module


def test_exceptions_name_existing_modules() -> None:
    assert set(EXCEPTIONS) <= set(modules())


def test_test_file_is_named_after_a_module_or_package_of_its_folder() -> None:
    """In the folders that the package has; others hold the tests of the tools around it."""
    of_modules = {path for module in modules() for path in files_of(module)}
    strays = []
    for path in UNIT.rglob("test_*.py"):
        folder = path.parent.relative_to(UNIT)
        of_package = path.stem == f"test_{folder.name}" or path.stem.startswith(f"test_{folder.name}_")
        if (ROOT / "vortex" / folder).is_dir() and path not in of_modules and not of_package:
            strays.append(path.relative_to(UNIT).as_posix())
    assert sorted(strays) == sorted(f"{name}.py" for name in OF_THE_REPOSITORY)
