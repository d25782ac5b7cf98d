"""The messages that the source holds: log lines, errors that are raised, and what commands print."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_PRINTING = {("console", "print"), ("click", "echo"), ("click", "secho")}


def messages_of(source: str) -> Iterator[str]:
    """Each message as `kind: text`; a value in the text stands there by its last name, `{…}` if it has none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from _of(_name(node.exc.func), node.exc)
        elif isinstance(node, ast.Call) and _name(node.func) == "print_line":
            yield from _of("print", node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, method = _name(node.func.value), node.func.attr
            if owner == "log" and method in _LEVELS:
                yield from _of(f"log {method}", node)
            elif (owner, method) in _PRINTING:
                yield from _of("print", node)


def messages_below(folder: Path) -> list[str]:
    """Those of all modules below a folder, each once, in order of their text."""
    paths = folder.rglob("*.py")
    return sorted({message for path in paths for message in messages_of(path.read_text("utf-8"))})


def _of(kind: str, call: ast.Call) -> Iterator[str]:
    for argument in call.args:
        text = _text(argument)
        if any(map(str.isalpha, text.replace("%s", "").replace("{…}", ""))) and " " in text:
            yield f"{kind}: {' '.join(text.split())}"


def _text(node: ast.expr) -> str:
    """The text of a string, an f-string, a choice or a sum of them; empty for anything else."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.FormattedValue(value=value):
            return _text(value) or f"{{{_name(value) or '…'}}}"
        case ast.IfExp(body=body, orelse=other):
            return " | ".join(text for text in (_text(body), _text(other)) if text)
        case ast.Call(func=ast.Name(id="counted"), args=[number, ast.Constant(value=str(noun))]):
            return f"{{{_name(number) or '…'}}} {noun}s"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
    return ""


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
