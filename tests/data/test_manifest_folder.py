"""A manifest folder is read whole, or refused by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stc.data.manifest import Manifest, OverlapIndex, place_file
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
        ([ROW | {"duration": None}], "line 1: duration"),
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


def split(path: Path, *rows: dict[str, Any]) -> Manifest:
    path.mkdir()
    numbered = [ROW | {"id": str(number), "sha256": f"{path.name}{number}"} | row for number, row in enumerate(rows)]
    return Manifest.load(folder(path, numbered))


def shared(first: Manifest, second: Manifest) -> list[str]:
    content = OverlapIndex(first.rows)
    return [row.id for row in second.rows if content.match(row) is not None]


def test_missing_transcripts_are_no_shared_sentence(tmp_path: Path) -> None:
    first = split(tmp_path / "first", {"source": ""}, {"source": "A."})
    second = split(tmp_path / "second", {"source": ""}, {"source": " – "}, {"source": "a"})
    assert shared(first, second) == ["2"]


def test_segments_of_one_recording_that_overlap_are_shared(tmp_path: Path) -> None:
    def cut(start: float, end: float, recording: str = "talk") -> dict[str, Any]:
        return {"source": "", "cut_from": {"sha256": recording, "start": start, "end": end}}

    first = split(tmp_path / "first", cut(10, 20), {"source": "", "sha256": "whole", "duration": 60.0})
    after, within, other = cut(20, 30), cut(12, 13), cut(10, 20, "another talk")
    assert shared(first, split(tmp_path / "second", after, within, other, cut(1, 2, "whole"))) == ["1", "3"]


def test_only_a_segment_says_what_it_was_cut_from(tmp_path: Path) -> None:
    manifest = split(tmp_path / "data", {}, {"cut_from": {"sha256": "talk", "start": 0.5, "end": 1.5}})
    manifest.save()
    assert [row.cut_from is None for row in Manifest.load(manifest.folder).rows] == [True, False]
    assert (manifest.folder / "manifest.jsonl").read_text().count("cut_from") == 1
