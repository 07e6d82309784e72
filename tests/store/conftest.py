"""A store with results in it, for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from filled_store import filled

from stc.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "store")
