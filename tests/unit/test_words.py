"""Words that left the project stay out of it: docs/glossary.md has the words that took their place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "benchmarks",
    "deploy",
    "docs",
    "examples",
    "native",
    "simulation",
    "tests",
    "tools",
    "vortex",
    "vortex_loader",
)
SUFFIXES = {".c", ".h", ".html", ".json", ".md", ".py", ".pyi", ".toml", ".txt", ".yaml", ".yml"}
NOT_READ = {"test_words.py", "constraints.txt"}
GONE = {
    "afresh": "again",
    r"before_all(?!_)": "initial_plan, log_start",
    r"bump\w*": "advance",
    "for ever": "forever",
    r"giver\w*": "previous owner",
    r"heirs?": "successor",
    r"journal(?!_mode)": "LogStore",
    "lineage": "sources of deduplication",
    r"opens?_from": "closed_before",
    "outlived": "of an earlier stream",
    "still_s": "unchanged_for_s",
    r"take_up|taken_up": "load or create",
    "unborn": "not started",
    r"unfold\w*": "decompress",
    "wiring": "factories, assembly",
}
"""A word as a regular expression, and what to write instead."""


def texts() -> dict[str, str]:
    """The text files of the repository by their path."""
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    paths = [path for path in (*ROOT.glob("*"), *inside) if path.suffix in SUFFIXES and path.name not in NOT_READ]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


TEXTS = texts()


@pytest.mark.parametrize("word", GONE)
def test_word_that_left_the_project_is_nowhere(word: str) -> None:
    pattern = re.compile(rf"(?<![a-z])({word})(?![a-z])", re.IGNORECASE)
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"write {GONE[word]!r} instead"
