"""Loading a settings file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.unit.config.required import KEYS, REQUIRED, check_loads_or_is_refused, message_of
from vortex.config.settings import known_keys


def test_an_unreadable_file_is_named_with_the_reason(tmp_path: Path) -> None:
    """A folder, missing permission, another encoding."""
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    assert "is not UTF-8" in message_of(tmp_path / "latin.toml")
    assert message_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_missing_sections_and_keys_are_all_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.toml"
    path.write_text("[source]\n")
    message = message_of(path)
    assert "source.stream (or VORTEX_SOURCE__STREAM): missing required setting" in message
    assert "missing required section [event]" in message
    assert "[store]" in message
    assert "vortex init" in message_of(tmp_path / "none.toml")


TYPED = [
    "-1",
    "0",
    "1",
    "1" + "0" * 30,
    "1.5",
    "nan",
    "inf",
    "-inf",
    "true",
    "[]",
    "[1]",
    '["a", 1]',
    "[[]]",
    "{}",
    '""',
]
TYPED += ["{ a = 1 }", "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", r'"\u0000"', r'"a\nb"', '"' + "x" * 3000 + '"']


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_any_toml_value_of_a_setting_loads_or_raises_config_error(section: str, key: str, tmp_path: Path) -> None:
    """Values of every TOML type."""
    path = tmp_path / "v.toml"
    least = tomllib.loads(REQUIRED)
    for value in TYPED:
        tables = {name: dict(keys) for name, keys in least.items()}
        tables.setdefault(section, {}).pop(key, None)
        lines = [
            f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items())
            for name, keys in tables.items()
        ]
        text = "".join(lines).replace(f"[{section}]\n", f"[{section}]\n{key} = {value}\n")
        path.write_text(text)
        check_loads_or_is_refused(path, {})


@pytest.mark.parametrize("section", known_keys())
@pytest.mark.parametrize("value", ["5", '"x"', "[]", "[1]", "true", "1979-05-27"])
def test_a_section_that_is_not_a_table_is_named(section: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "v.toml"
    path.write_text(f"{section} = {value}\n" + REQUIRED.replace(f"[{section}]", f"[x{section}]"))
    assert f"{path}: {section}: must be a section" in message_of(path)
