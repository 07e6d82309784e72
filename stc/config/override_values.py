"""What the values of a command line are, by Hydra's own grammar. Text that it cannot read is put in quotes for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.errors import HydraException
from pydantic import BaseModel

from stc.system.paths import expand_home

_HYDRA_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def quote(text: str) -> str:
    """Text as a value that Hydra takes literally."""
    return QuotedString(text, Quote.single).with_quotes()


def parse_leniently(argument: str, sweep: bool) -> Override:
    """An assignment as Hydra parses it; its ``input_line`` is what Hydra is to be given.

    What Hydra can read keeps Hydra's meaning, apart from a number, true or false where the schema wants text, and a
    comma in the name of a folder, which separates two folders in a sweep only.

    Args:
        sweep: whether several values are those of a sweep.

    Raises:
        HydraException: it is no assignment, or Hydra takes no such key.
    """
    key, sign, value = argument.partition("=")
    if sign:
        name = key.lstrip("+~")
        wanted = _wanted(name)
        elements = list(_elements(value)) if sweep else [value]
        value = ",".join(_readable(one, wanted, sweep) for one in elements)
        if name in _HYDRA_FOLDERS and isinstance(folder := parse_override(f"{name}={value}").value(), str):
            value = quote(expand_home(folder)) if folder.startswith("~") else value
    return parse_override(f"{key}{sign}{value}")


def parse_override(argument: str) -> Override:
    """Hydra's own parsing.

    Raises:
        HydraException: it is no assignment by Hydra's grammar.
    """
    return _parser().parse_override(argument)


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _readable(element: str, wanted: Literal["text", "folder"] | None, sweep: bool) -> str:
    try:
        read = parse_override(f"key={element}")
    except HydraException:
        return quote(element.strip())
    several = read.value_type is ValueType.SIMPLE_CHOICE_SWEEP and not sweep
    number = isinstance(read.value(), bool | int | float)
    return quote(element.strip()) if (wanted and number) or (wanted == "folder" and several) else element


def _elements(value: str) -> Iterator[str]:
    """The values between commas, those within brackets and quotes left together."""
    element, depth, quote, before = "", 0, "", ""
    for sign in value:
        if sign == "," and not quote and depth == 0 and before != "\\":
            yield element
            element = before = ""
            continue
        if quote:
            quote = "" if sign == quote and before != "\\" else quote
        elif sign in "'\"":
            quote = sign
        else:
            depth += (sign in "([{") - (sign in ")]}")
        element, before = element + sign, sign
    yield element


def _wanted(key: str) -> Literal["text", "folder"] | None:
    """Whether the schema wants text under a key, or the name of a folder."""
    if key in (*_HYDRA_FOLDERS, "model.path") or (key.startswith("stages.") and key.endswith(".from")):
        return "folder"
    types = set(_types(key))
    if types - {type(None)} == {Path}:
        return "folder"
    return "text" if str in types and types <= {str, type(None)} else None


def _types(key: str) -> Iterator[Any]:
    from stc.config.schema import Config
    from stc.pipeline.stage_by_name import stage_class, stage_names

    first, *rest = key.split(".")
    if first == "stages" and len(rest) > 1:  # of which stage it is a field, the composed config decides
        for name in stage_names():
            yield from _below(stage_class(name), rest[1:])
    else:
        yield from _below(Config, [first, *rest])


def _below(model: type[BaseModel], path: list[str]) -> Iterator[Any]:
    name, *rest = path
    if name in model.model_fields:
        annotation = model.model_fields[name].annotation
        for member in get_args(annotation) or [annotation]:
            one = get_args(member)[0] if get_origin(member) is Annotated else member
            if not rest:
                yield one
            elif isinstance(one, type) and issubclass(one, BaseModel):
                yield from _below(one, rest)
