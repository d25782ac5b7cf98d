"""Files of events."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from vortex.commands import event_files
from vortex.commands.event_files import FileError, new_file, records_in

LINES = b'{"a":1}\n{"b":2}\n\n{"c"'


def read(path: Path, data: bytes) -> list[bytes]:
    """The pieces of a file with this content."""
    path.write_bytes(data)
    return [piece.strip() for piece in records_in(path)]


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        (LINES, [b'{"a":1}', b'{"b":2}', b'{"c"']),
        (b'{"a":1}{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'{\n "a": 1\n}\n{\n "b": 2\n}', [b'{\n "a": 1\n}', b'{\n "b": 2\n}']),
        (b'[{"a":1},{"b":2}]', [b'{"a":1}', b'{"b":2}']),
        (b"", []),
        (b" \n", []),
        (b"not json", [b"not json"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_records_in_finds_the_events_when_plain_or_gzip(
    tmp_path: Path, data: bytes, pieces: list[bytes], packed: bool
) -> None:
    assert read(tmp_path / "f", gzip.compress(data) if packed else data) == pieces


def test_records_in_joins_lines_across_blocks_and_gzip_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "_CHUNK", 20)
    lines = [b'{"n":%d}' % n for n in range(500)]
    text = b"\n".join(lines)
    assert read(tmp_path / "f", text) == lines
    assert read(tmp_path / "f", gzip.compress(text[:1000]) + gzip.compress(text[1000:])) == lines


def test_records_in_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(LINES)))
    assert len(list(records_in(Path("-")))) == 3


def test_records_in_names_the_file_when_it_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="none: cannot be read"):
        list(records_in(tmp_path / "none"))
    with pytest.raises(FileError, match="truncated"):
        read(tmp_path / "f", gzip.compress(LINES)[:-9])
    monkeypatch.setattr(event_files, "_HEAD", 10)
    monkeypatch.setattr(event_files, "_CHUNK", 4)
    for text in (b'{"a": "long enough"}', gzip.compress(b'{"a": "long enough"}')):
        with pytest.raises(FileError, match=r"cut it\. On the stream .* limits\.record is rejected as too_large"):
            read(tmp_path / "f", text)


def test_new_file_names_the_file_when_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"kept")
    for name, why in (("there", "File exists"), ("none/f", "No such file or directory")):
        with (
            pytest.raises(FileError, match=f"{name}: cannot be written: {why}; give another file"),
            new_file(tmp_path / name),
        ):
            pass
    assert (tmp_path / "there").read_bytes() == b"kept"


def test_new_file_leaves_nothing_when_it_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "f") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert not (tmp_path / "f").exists()
    with new_file(tmp_path / "f") as file:
        file.write(b"whole")
    assert (tmp_path / "f").read_bytes() == b"whole"


def test_records_in_says_so_when_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(FileError, match="standard input is closed"):
        list(records_in(Path("-")))
