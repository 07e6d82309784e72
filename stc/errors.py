"""Errors that a user can act on. Any other exception is a bug in stc and keeps its traceback."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError


class StcError(Exception):
    """An error with a complete message: what is wrong, which value, and what is allowed. Shown without traceback."""


class InputError(StcError):
    """A file, folder or data set that stc was given is wrong."""


class ModelError(StcError):
    """A model folder is damaged, incomplete or of a kind that stc does not support."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a config: the key, its value and what is allowed.

    Attributes:
        others: further settings that are involved, each with its value. If the user set one of these and not the key,
            :meth:`about` names that one.
    """

    key: str
    value: object
    allowed: str
    others: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return f"{self.key}={command_line_value(self.value)}: {self.allowed}"

    def below(self, prefix: str) -> Fault:
        """Return the fault with its keys below ``prefix``."""
        if not prefix:
            return self
        key = f"{prefix}.{self.key}" if self.key else prefix
        return replace(self, key=key, others=tuple((f"{prefix}.{name}", value) for name, value in self.others))

    def about(self, given: Collection[str]) -> Fault:
        """Return the fault about that one of its settings which is among the keys ``given``, or below the longest."""

        def set_by(name: str) -> int:
            return max((len(key) for key in given if name == key or name.startswith(f"{key}.")), default=0)

        key, value = max([(self.key, self.value), *self.others], key=lambda setting: set_by(setting[0]))
        return replace(self, key=key, value=value, others=())


def command_line_value(value: object) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {command_line_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(command_line_value, value))}]"
    if isinstance(value, float) and value.is_integer():
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class ConfigError(StcError):
    """A config is wrong; ``faults`` lists everything that is."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def first_line(error: object) -> str:
    """Return the first line of an error's message, or its class if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the most similar allowed name; empty if none is similar."""
    match = get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""


def field_error(*faults: Fault) -> PydanticCustomError:
    """Return the error for a validator to raise if these fields of its model are wrong. Keys are the model's own."""
    return PydanticCustomError("fields", "{message}", {"message": "; ".join(map(str, faults)), "faults": faults})


_Model = TypeVar("_Model", bound=BaseModel)

_MEANT = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text; a number or true is text in quotes",
    "tuple_type": "must be a list: [a,b]",
    "list_type": "must be a list: [a,b]",
    "none_required": "must be null",
    "model_type": "must be a mapping: {key: value}",
    "dict_type": "must be a mapping: {key: value}",
    "mapping_type": "must be a mapping: {key: value}",
}
"""Our own messages by pydantic's type of error."""


def validate_model(model: type[_Model], values: Mapping[str, Any], prefix: str = "") -> _Model:
    """Return the model of plain values with the types that YAML gave them: neither text nor ``true`` is a number.

    Args:
        prefix: the key above the values, for messages.

    Raises:
        ConfigError: with all faults.
    """
    try:
        # pydantic's strict mode for JSON accepts a list for a tuple and text for a path.
        return model.model_validate_json(json.dumps(_whole(values)), strict=True)
    except ValidationError as error:
        raise ConfigError(_faults(error, model, prefix, values)) from None


def _whole(value: Any) -> Any:
    """Return the value with whole floats as integers, so that 1e3 is a valid number of steps."""
    if isinstance(value, Mapping):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _faults(error: ValidationError, model: type[BaseModel], prefix: str, values: Mapping[str, Any]) -> list[Fault]:
    """Return pydantic's errors as faults: dotted key, value, what is allowed, and a suggestion for an unknown key."""
    found: dict[tuple[str, str], Fault] = {}
    for entry in error.errors():
        if entry["type"] == "too_short" and len(entry["input"]) != entry["ctx"]["actual_length"]:
            continue  # the items that are wrong are left out of the count, and have faults of their own
        path = _set(entry["loc"], values)
        key, value = ".".join(path), entry["input"]
        if entry["type"] == "fields":
            faults = [fault.below(key) for fault in entry["ctx"]["faults"]]
        elif entry["type"] == "extra_forbidden":
            known = _fields(model, path[:-1])
            faults = [Fault(key, value, f"no such key; keys here: {', '.join(known)}{suggestion(path[-1], known)}")]
        elif entry["type"] == "missing":
            faults = [Fault(".".join([*path, str(entry["loc"][-1])]), "(nothing)", "is needed")]
        else:
            message = entry["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            faults = [Fault(key, value, _MEANT.get(entry["type"], message))]
        for fault in faults:
            place = fault.key, str(fault.value)
            if (other := found.get(place)) and fault.allowed != other.allowed:  # one for each member of a union
                fault = replace(fault, allowed=f"{other.allowed}, or {fault.allowed}")
            found[place] = fault
    return [fault.below(prefix) for fault in found.values()]


def _set(loc: Sequence[int | str], values: Any) -> list[str]:
    """Return the key that the user set, as parts, for a location of pydantic's.

    An item of a list has the key of the list. What pydantic adds, the members of a union, is left out.
    """
    path: list[str] = []
    for part in loc:
        if isinstance(values, Mapping) and part in values:
            path.append(str(part))
            values = values[part]
        elif isinstance(values, list | tuple) and isinstance(part, int):
            values = values[part]
        else:
            break
    return path


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [one for one in get_args(annotation) or [annotation] if isinstance(one, type)]  # X, or X | None
        if not issubclass(inner[0] if inner else object, BaseModel):
            break
        model = inner[0]
    return list(model.model_fields)
