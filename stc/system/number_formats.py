"""Numbers and settings as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stc.system.tables import NONE


def format_count(number: float) -> str:
    """Return a count in three significant digits: ``812``, ``10.4 M``, ``6.78 B``."""
    return _scaled(number, ("", "k", "M", "B", "T"))


def format_bytes(number: float) -> str:
    """Return bytes in three significant digits and powers of 1000: ``21.0 MB``."""
    return _scaled(number, ("B", "kB", "MB", "GB", "TB"))


def _scaled(number: float, units: Sequence[str]) -> str:
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number /= 1000
        power += 1
    decimals = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f} {units[power]}".rstrip()


def format_percent(ratio: float | None, unit: str = "") -> str:
    """Return a ratio in percent: ``98.7``, and a dash for None."""
    return NONE if ratio is None else f"{100 * ratio:.1f}{unit}"


def format_setting(value: Any) -> str:
    """Return the value of a setting for a table: ``0.5``, ``true``, ``none``."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
