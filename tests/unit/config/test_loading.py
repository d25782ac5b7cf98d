"""Loading a settings file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.unit.config.required import KEYS, REQUIRED, check_loads_or_is_refused, message_of
from vortex.config.loading import ConfigError, load
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


LARGE = [
    begin + "x" * 20_000 + end for begin, end in (("", ""), ("\t", ""), ("s3://", ""), ("file:///", ""), ("{", "}"))
]
LARGE += ["https://" + "x" * 20_000, "arn:aws:" + "x" * 20_000, "[" * 20_000, "%Q" * 10_000]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_error_shortens_a_value_as_large_as_a_file(section: str, key: str, tmp_path: Path) -> None:
    """In the file, and in the environment."""
    path = tmp_path / "v.toml"
    for value in LARGE:
        path.write_text(REQUIRED)
        try:
            load(path, {f"VORTEX_{section}__{key}".upper(): value})
        except ConfigError as problem:
            assert len(str(problem)) < 600
            assert f"{section}.{key} (or VORTEX_{section.upper()}__{key.upper()}): " in str(problem)
        tables = tomllib.loads(REQUIRED)
        tables.setdefault(section, {})[key] = value
        path.write_text(
            "\n".join(
                f"[{name}]\n" + "\n".join(f"{one} = {json.dumps(of)}" for one, of in table.items())
                for name, table in tables.items()
            )
        )
        try:
            load(path, {})
        except ConfigError as problem:
            assert len(str(problem)) < 600 + len(str(path))


def test_error_shortens_names_and_lists_of_faults(tmp_path: Path) -> None:
    """As of a file that is something else."""
    path = tmp_path / "v.toml"
    path.write_text("".join(f"{'k' * 10_000}{n} = 1\n" for n in range(1000)))
    message = message_of(path)
    assert len(message) < 60_000
    assert message.split("\n")[-1] == "and 953 more lines"
    path.write_text(f"{'k' * 100_000} = 1\n{'k' * 100_000} = 1\n")
    assert len(message_of(path)) < 1200


def test_load_refuses_a_file_without_an_end() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: has more than 16 MiB: it is no file of settings"):
        load(Path("/dev/zero"), {})
