"""A manifest folder is read whole, or refused by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stc.data.manifest import Manifest, place_file
from stc.errors import InputError

ROW = {"id": "a", "audio": "audio/a.wav", "sha256": "0", "duration": 1.0, "source": "A.", "target": "B."}


def folder(
    path: Path, rows: list[dict[str, Any]], task: str = '{"target_lang": "de", "target_name": "German"}'
) -> Path:
    (path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "task.json").write_text(task)
    return path


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([ROW, ROW], "line 2: id 'a' is there twice"),
        ([ROW | {"target": ""}], "line 1: target"),
        ([ROW | {"audio": "../a.wav"}], r"line 1: '\.\./a\.wav' lies outside"),
        ([ROW | {"audio": "/a.wav"}], "line 1: '/a.wav' lies outside"),
        ([{"id": "a"}], "line 1: audio"),
    ],
)
def test_row_at_fault_is_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=rf"manifest\.jsonl,? {message}|manifest\.jsonl {message}"):
        Manifest.load(folder(tmp_path, rows))


@pytest.mark.parametrize("task", ["", "{}", '{"target_lang": "de", "target_name": "German", "more": 1}'])
def test_task_at_fault_is_named(tmp_path: Path, task: str) -> None:
    with pytest.raises(InputError, match=r"task\.json"):
        Manifest.load(folder(tmp_path, [ROW], task))


def test_file_that_is_there_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("first")
    (tmp_path / "second").write_text("second")
    place_file(tmp_path / "first", tmp_path / "placed")
    with pytest.raises(FileExistsError):
        place_file(tmp_path / "second", tmp_path / "placed")
    assert (tmp_path / "first").read_text() == "first"
