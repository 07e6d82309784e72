"""Sort files as people number them: ``sent_2`` before ``sent_10``."""

from __future__ import annotations

import re
from pathlib import Path


def natural_key(path: Path) -> tuple[list[list[str | int]], Path]:
    """Return a sort key for a path, with runs of digits as numbers. The path itself decides between equals."""
    return [_pieces(part) for part in path.parts], path


def _pieces(name: str) -> list[str | int]:
    # Text and numbers alternate, so that a text is never compared with a number.
    return [int(piece) if place % 2 else piece for place, piece in enumerate(re.split(r"(\d+)", name))]
