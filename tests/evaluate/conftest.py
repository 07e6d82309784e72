"""Talks to be scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from talks_with_pauses import Talks, write_talks


@pytest.fixture
def talks(tmp_path: Path) -> Talks:
    return write_talks(tmp_path / "talks")
