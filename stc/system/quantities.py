"""Numbers as people read them: counts, bytes, percent."""

from __future__ import annotations

from collections.abc import Sequence

from stc.system.tables import NONE


def format_count(number: float) -> str:
    """A count in three significant digits: ``812``, ``10.4 M``, ``6.78 B``."""
    return _scaled(number, ("", "k", "M", "B", "T"))


def format_bytes(number: float) -> str:
    """Bytes in three significant digits and powers of 1000: ``21.0 MB``."""
    return _scaled(number, ("B", "kB", "MB", "GB", "TB"))


def _scaled(number: float, units: Sequence[str]) -> str:
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number /= 1000
        power += 1
    decimals = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f} {units[power]}".rstrip()


def format_percent(ratio: float | None, unit: str = "") -> str:
    """A ratio in percent: ``98.7``, and a dash for none."""
    return NONE if ratio is None else f"{100 * ratio:.1f}{unit}"
