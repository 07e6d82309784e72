"""A file of what was scored before, so that no run scores the same text by the same checkpoint again.

It is in the user's cache folder, since it is no result: it may be deleted at any time. Several processes may use it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from stc.system.console import say
from stc.system.paths import user_cache

T = TypeVar("T")

_AT_ONCE = 500  # keys in one question: SQLite takes 999 in its oldest versions
_CHECK_BYTES = 8
_PATIENCE = 30.0  # seconds that another process may write


def key_of(*parts: Any) -> bytes:
    """Return the key of what JSON values decide: their SHA-256."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def cache_file() -> Path:
    return user_cache() / "scores.sqlite"


class ScoreCache:
    """JSON values by key, in memory and in a SQLite file.

    Each value is stored with a checksum over it and its key, so a damaged one is missing and never wrong. If the file
    cannot be read or written, a line on standard error says so once, and the values are in memory only.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._memory: dict[bytes, Any] = {}
        self._usable = True

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Any]:
        """Return the values that there are."""
        keys = list(keys)
        if unknown := [key for key in dict.fromkeys(keys) if key not in self._memory]:
            self._memory.update(self._read(unknown))
        return {key: self._memory[key] for key in keys if key in self._memory}

    def add(self, values: Mapping[bytes, Any]) -> None:
        """Keep values. They are in the file when this returns."""
        self._memory.update(values)
        rows = [(key, _checked(key, json.dumps(value).encode())) for key, value in values.items()]
        self._transaction(lambda database: database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", rows))

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Any]:
        def select(database: sqlite3.Connection) -> list[tuple[bytes, Any]]:
            found: list[tuple[bytes, Any]] = []
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                found += database.execute(f"SELECT key, value FROM known WHERE key IN ({marks})", some)
            return found

        rows = self._transaction(select) or []
        contents = [(key, value, value[:-_CHECK_BYTES]) for key, value in rows if isinstance(value, bytes)]
        return {key: json.loads(content) for key, value, content in contents if _checked(key, content) == value}

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return what ``work`` makes of the file; None if the file cannot be used."""
        if not self._usable:
            return None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=_PATIENCE)) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS known (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
                return work(database)
        except (OSError, sqlite3.Error) as error:
            self._usable = False
            say(f"{self._file} cannot be used ({error}): scores of earlier runs are computed again; it may be deleted")
            return None


def _checked(key: bytes, content: bytes) -> bytes:
    """Return a value with the checksum after it."""
    return content + hashlib.blake2b(key + content, digest_size=_CHECK_BYTES).digest()
