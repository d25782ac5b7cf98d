"""What is generated from the descriptions of the settings: the example file and the JSON schema."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vortex.config.example import example, kind, schema, shown_default
from vortex.config.loading import load
from vortex.config.settings import Settings, known_keys, sections

REQUIRED: dict[str, dict[str, Any]] = {
    "source": {"stream": "s"},
    "event": {"customer": "c", "type": ["a.b", "t"], "id": "i", "time": "x"},
    "store": {"url": "s3://bucket/prefix"},
}


def test_example_loads_and_shows_every_default(tmp_path: Path) -> None:
    """Every optional setting has the value that it has without a file."""
    path = tmp_path / "example.toml"
    path.write_text(example())
    loaded, least = load(path, {}), Settings.model_validate(REQUIRED)
    for name, section in sections().items():
        for key, field in section.model_fields.items():
            if not field.is_required():
                assert getattr(getattr(loaded, name), key) == getattr(getattr(least, name), key), f"{name}.{key}"


def test_example_shows_every_key_with_its_description() -> None:
    """A commented-out key is an example value."""
    text = example()
    for name, section in sections().items():
        assert f"\n[{name}]\n" in text
        for key, field in section.model_fields.items():
            assert f"\n{key} = " in text or f"\n# {key} = " in text, f"{name}.{key}"
            assert field.description, f"{name}.{key} has no description"
            assert field.description.endswith("."), f"{name}.{key}: a description is made of sentences"


def test_example_loads_with_every_commented_key_set(tmp_path: Path) -> None:
    """Each commented-out key has a valid value."""
    keys = {key for names in known_keys().values() for key in names}
    lines = [
        line.removeprefix("# ") if line.removeprefix("# ").partition(" = ")[0] in keys else line
        for line in example().splitlines()
    ]
    path = tmp_path / "example.toml"
    path.write_text("\n".join(lines).replace("file:///var/lib/vortex", "s3://bucket/prefix"))
    loaded = load(path, {})
    assert loaded.hours.max_delay == 6 * 3_600_000
    assert loaded.coordination.table == "vortex-clickstream"


def test_schema_accepts_the_example() -> None:
    """With durations and sizes as text."""
    document = json.loads(schema())
    jsonschema.Draft7Validator.check_schema(document)
    jsonschema.validate(tomllib.loads(example()), document)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("commit", "every", "1h30m"),
        ("commit", "every", " 1.5 h 3m"),
        ("commit", "max_bytes", "1.5 KiB"),
        ("commit", "max_bytes", "10mb"),
        ("commit", "max_bytes", 1000),
        ("memory", "limit", "auto"),
        ("memory", "limit", "1.5 GiB"),
        ("memory", "limit", 1 << 20),
        ("event", "time_format", ["%F", "%D"]),
        ("event", "id", ["a", "b.c"]),
    ],
)
def test_schema_accepts_what_settings_accept(section: str, key: str, value: object) -> None:
    """In other spellings than those of the example."""
    document = {**REQUIRED, section: {**REQUIRED.get(section, {}), key: value}}
    Settings.model_validate(document)
    jsonschema.validate(document, json.loads(schema()))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("commit", "every", 30),
        ("commit", "every", "30"),
        ("commit", "every", "soon"),
        ("commit", "max_bytes", "many"),
        ("commit", "max_bytes", "5XB"),
        ("commit", "max_bytes", -1),
        ("memory", "limit", "automatic"),
        ("memory", "limit", True),
        ("memory", "limit", -1),
        ("memory", "keys", "auto"),
        ("commit", "evry", "30s"),
        ("comit", "every", "30s"),
        ("log", "level", "loud"),
        ("http", "port", 70_000),
        ("event", "id", []),
    ],
)
def test_schema_refuses_what_settings_refuse(section: str, key: str, value: object) -> None:
    document = {**REQUIRED, section: {**REQUIRED.get(section, {}), key: value}}
    with pytest.raises(ValueError, match="validation error"):
        Settings.model_validate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(schema()))


def test_schema_has_required_keys_and_defaults() -> None:
    """Defaults are written as in a file, not in milliseconds."""
    document = json.loads(schema())
    assert document["required"] == ["source", "event", "store"]
    assert document["properties"]["event"]["required"] == ["customer", "type", "id", "time"]
    assert document["properties"]["commit"]["properties"]["every"]["default"] == "1m"
    assert document["properties"]["limits"]["properties"]["events"]["default"] == 100_000
    assert "default" not in document["properties"]["hours"]["properties"]["max_delay"]


def test_kind_describes_the_type_of_a_setting() -> None:
    """For the reference page."""
    kinds = {
        f"{name}.{key}": kind(field)
        for name, section in sections().items()
        for key, field in section.model_fields.items()
    }
    assert kinds["hours.max_delay"] == "duration"
    assert kinds["memory.limit"] == 'size, or "auto"'
    assert kinds["memory.keys"] == "size"
    assert kinds["event.id"] == "path or list of paths"
    assert kinds["log.format"] == '"auto", "json", "text"'
    assert kinds["http.port"] == "whole number"
    assert kinds["store.endpoint_url"] == "text"
    assert shown_default(sections()["dedup"].model_fields["reach"]) == "1d"
