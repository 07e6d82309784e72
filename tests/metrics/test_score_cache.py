"""Scores are found again by later runs, and a file that is damaged or cannot be used gives none that are wrong."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stc.metrics.score_cache import ScoreCache, cache_file, key_of

KEYS = [key_of("a checkpoint", number) for number in range(1200)]
SCORES = {key: number / 7 for number, key in enumerate(KEYS)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "scores.sqlite"


def test_values_are_found_by_a_later_run(file: Path) -> None:
    ScoreCache(file).add(SCORES)
    assert ScoreCache(file).find([*KEYS, key_of("another")]) == SCORES


def test_file_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file().parent.parent == tmp_path
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_file().parent.parent == tmp_path / ".cache"


def test_several_processes_may_write_at_once(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stc.metrics.score_cache import ScoreCache, key_of\n"
        "for number in range(100): ScoreCache(Path(sys.argv[1])).add({key_of(sys.argv[2], number): number})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, file, name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = ScoreCache(file).find(key_of(name, number) for name in "abc" for number in range(100))
    assert sorted(found.values()) == sorted([*range(100)] * 3)


def test_changed_value_is_missing_and_not_wrong(file: Path) -> None:
    ScoreCache(file).add(SCORES)
    with sqlite3.connect(file) as database:
        (value,) = database.execute("SELECT value FROM known WHERE key = ?", [KEYS[7]]).fetchone()
        changed = value.replace(b"1.0", b"0.1")
        assert changed != value
        database.execute("UPDATE known SET value = ? WHERE key = ?", [changed, KEYS[7]])
        database.execute("UPDATE known SET value = ? WHERE key = ?", [0.5, KEYS[8]])
        database.execute("UPDATE known SET value = (SELECT value FROM known WHERE key = ?) WHERE key = ?", KEYS[10:12])
    database.close()
    expected = {key: score for key, score in SCORES.items() if key not in (KEYS[7], KEYS[8], KEYS[11])}
    assert ScoreCache(file).find(KEYS) == expected


@pytest.mark.parametrize("damage", ["no database", "cut short", "a folder in its place", "no folder"])
def test_file_that_cannot_be_used_is_told_once_and_left_alone(
    damage: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if damage == "no folder":
        file.parent.write_text("a file")
    else:
        ScoreCache(file).add(SCORES)
        content = file.read_bytes()
        file.unlink()
        if damage == "a folder in its place":
            file.mkdir()
        else:
            file.write_bytes(b"text " * 1000 if damage == "no database" else content[: len(content) // 3])
    cache = ScoreCache(file)
    assert cache.find(KEYS).items() <= SCORES.items()
    cache.add({KEYS[0]: 5.0})
    assert cache.find(KEYS[:1]) == {KEYS[0]: 5.0}  # of this run
    assert capsys.readouterr().err.count(str(file)) == 1
