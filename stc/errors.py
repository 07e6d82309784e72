"""Errors a user can act on. Anything else that is raised is a fault of stc and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError


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


def validation_faults(error: ValidationError, model: type[BaseModel], prefix: str) -> list[Fault]:
    """pydantic's errors as faults: dotted key, value, what is allowed, and the nearest key for an unknown one."""
    faults = []
    for entry in error.errors():
        path = [str(part) for part in entry["loc"]]
        key = ".".join([prefix, *path] if prefix else path)
        if entry["type"] == "extra_forbidden":
            known = _fields(model, path[:-1])
            faults.append(
                Fault(key, entry["input"], f"no such key; keys here: {', '.join(known)}{nearest(path[-1], known)}")
            )
        elif entry["type"] == "missing":
            faults.append(Fault(key, "(nothing)", "is needed"))
        else:
            message = entry["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            faults.append(Fault(key, entry["input"], message))
    return faults


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [one for one in get_args(annotation) or [annotation] if isinstance(one, type)]  # X, or X | None
        if not issubclass(inner[0] if inner else object, BaseModel):
            break
        model = inner[0]
    return list(model.model_fields)
