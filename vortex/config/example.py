"""Makes the commented example and the JSON schema for editors from the descriptions of the settings."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vortex.config.section import Section
from vortex.config.settings import Settings, sections
from vortex.config.values import Written

SCHEMA_FILE = "vortex.schema.json"
"""Beside the settings file, which names it in its first line: editors with Taplo (Even Better TOML) read it there."""
_WIDTH = 118
_OF_THE_PLACE = {("http", "host"), ("log", "format")}
"""The image has other defaults for these (VORTEX_DEFAULTS); a file that names them is stronger."""
_DRAFT = "http://json-schema.org/draft-07/schema#"


def example() -> str:
    """The commented settings file that `vortex init` writes; config.example.toml is a copy."""
    lines = [
        f"#:schema ./{SCHEMA_FILE}",
        "",
        *_comment(
            "Settings of Vortex. Set source.stream, store.url, and customer, type, id and time of [event]. All other "
            "keys show their default, or an example behind a #; http.host and log.format, too, which the image sets."
        ),
        *_comment("Every key can also be set in the environment, as VORTEX_SECTION__KEY: VORTEX_STORE__URL."),
        *_comment('Durations: "250ms", "30s", "5m", "1h30m", "7d". Sizes: "64MiB", "10MB", or a number of bytes.'),
    ]
    for name, section in sections().items():
        lines += ["", "", *_comment(description(section)), f"[{name}]"]
        for key, field in section.model_fields.items():
            lines += ["", *_comment(field.description or ""), _line(name, key, field)]
    return "\n".join(lines) + "\n"


def schema() -> str:
    """The JSON schema of the settings file: durations and sizes are the texts that people write."""
    document = {
        "$schema": _DRAFT,
        "title": "Settings of Vortex",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _section_schema(section) for name, section in sections().items()},
        "required": [name for name, field in Settings.model_fields.items() if field.is_required()],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def description(section: type[Section]) -> str:
    """What a section is about."""
    return cleandoc(section.__doc__ or "")


def kind(field: FieldInfo) -> str:
    """What to write for a field, in words: "duration", "text", or its choices."""
    written = _written(field)
    if written is not None:
        return written.kind
    choices = [value for value in _leaves(field.annotation) if isinstance(value, str)]
    if choices:
        return ", ".join(f'"{choice}"' for choice in choices)
    leaves = _leaves(field.annotation)
    return "true or false" if bool in leaves else "whole number" if int in leaves else "text"


def shown_default(field: FieldInfo) -> object:
    """The default as it is written in a file; None where there is none."""
    value = field.default
    if value in (None, (), PydanticUndefined):
        return None
    written = _written(field)
    return written.text(value) if written else value


def changed(settings: Settings) -> list[str]:
    """The settings that differ from their defaults, each as `section.key = value`; required ones are left out."""
    found = []
    for name, section in sections().items():
        for key, field in section.model_fields.items():
            value = getattr(getattr(settings, name), key)
            if not field.is_required() and value != field.default:
                found.append(f"{name}.{key} = {toml(as_written(field, value))}")
    return found


def as_written(field: FieldInfo, value: object) -> object:
    """A value that was read, as it is written in a file."""
    written = _written(field)
    return written.text(value) if written and value is not None else value


def toml(value: object) -> str:
    """A text, a number, or a list of texts, as TOML."""
    return json.dumps(value, ensure_ascii=False)


def _line(section: str, key: str, field: FieldInfo) -> str:
    default = shown_default(field)
    if default is not None:
        return f"{'# ' if (section, key) in _OF_THE_PLACE else ''}{key} = {toml(default)}"
    assert field.examples, f"{key} has neither a default nor an example"
    return f"{'' if field.is_required() else '# '}{key} = {toml(field.examples[0])}"


def _comment(text: str) -> list[str]:
    return [
        line
        for paragraph in text.split("\n\n")
        for line in textwrap.wrap(
            " ".join(paragraph.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False
        )
    ]


def _written(field: FieldInfo) -> Written | None:
    """The marker of the field's type: at the field itself, or within what may be None."""
    return next((one for one in (*field.metadata, *_leaves(field.annotation)) if isinstance(one, Written)), None)


def _leaves(annotation: Any) -> list[Any]:
    return list(_flat(annotation))


def _flat(annotation: Any) -> Iterator[Any]:
    arguments = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    if not arguments:
        yield annotation
    for one in arguments:
        yield from _flat(one)


def _section_schema(section: type[Section]) -> dict[str, Any]:
    made = section.model_json_schema()
    return {
        "description": " ".join(description(section).split()),
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _key_schema(made["properties"][key], field) for key, field in section.model_fields.items()},
        **({"required": made["required"]} if "required" in made else {}),
    }


def _key_schema(made: dict[str, Any], field: FieldInfo) -> dict[str, Any]:
    found = {name: value for name, value in made.items() if name not in ("title", "default")}
    kinds = [one for one in found.get("anyOf", ()) if one != {"type": "null"}]  # TOML has no null
    if len(kinds) == 1:
        del found["anyOf"]
        found |= kinds[0]
    elif kinds:
        found["anyOf"] = kinds
    default = shown_default(field)
    return found if default is None else found | {"default": default}
