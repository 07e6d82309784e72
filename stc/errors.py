"""Errors a user can act on. Anything else that is raised is a fault of stc and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class StcError(Exception):
    """Its message is complete: what is wrong, with which value, and what is allowed. Shown without traceback."""


class InputError(StcError):
    """A file, folder or data set handed to stc is not what it should be."""


class ModelError(StcError):
    """A model folder is damaged, incomplete or of a kind stc cannot handle."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a config: the key, the value found there and what would be right."""

    key: str
    value: object
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}: {self.allowed}"


class ConfigError(StcError):
    """A config with faults, all of them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest allowed name, or nothing where none is near."""
    match = get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""
