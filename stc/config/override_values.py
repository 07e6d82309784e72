"""Values of the command line, read with Hydra's own grammar. Text that Hydra cannot read is quoted for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.errors import HydraException
from pydantic import BaseModel

from stc.system.paths import expand_home

_HYDRA_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def quote(text: str) -> str:
    """Return text as a value that Hydra takes literally."""
    return QuotedString(text, Quote.single).with_quotes()


def value_text(override: Override) -> str:
    """Return the value of an override as it was written."""
    return (override.input_line or "").partition("=")[2]


def parse_leniently(argument: str, sweep: bool) -> Override:
    """Parse an assignment, quoting text that Hydra cannot read. ``input_line`` of the result is the quoted argument.

    What Hydra can read keeps Hydra's meaning, with two exceptions: a number, true or false is text where the schema
    wants text, and a comma in the name of a folder separates two folders in a sweep only.

    Args:
        sweep: whether several values are those of a sweep.

    Raises:
        HydraException: it is no assignment, or Hydra does not accept the key.
    """
    key, equals, value = argument.partition("=")
    if equals:
        name = key.lstrip("+~")
        wanted = _wanted_type(name)
        elements = list(_split_at_commas(value)) if sweep else [value]
        value = ",".join(_quote_if_needed(one, wanted, sweep) for one in elements)
        if name in _HYDRA_FOLDERS and isinstance(folder := parse_override(f"{name}={value}").value(), str):
            value = quote(expand_home(folder)) if folder.startswith("~") else value
    return parse_override(f"{key}{equals}{value}")


def parse_override(argument: str) -> Override:
    """Parse an assignment as Hydra does.

    Raises:
        HydraException: it is no assignment in Hydra's grammar.
    """
    return _parser().parse_override(argument)


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _quote_if_needed(element: str, wanted: Literal["text", "folder"] | None, sweep: bool) -> str:
    try:
        parsed = parse_override(f"key={element}")
    except HydraException:
        return quote(element.strip())
    several = parsed.value_type is ValueType.SIMPLE_CHOICE_SWEEP and not sweep
    number = isinstance(parsed.value(), bool | int | float)
    return quote(element.strip()) if (wanted and number) or (wanted == "folder" and several) else element


def _split_at_commas(value: str) -> Iterator[str]:
    """Yield the values between commas that are in no brackets and no quotes."""
    element, depth, opening_quote, before = "", 0, "", ""
    for sign in value:
        if sign == "," and not opening_quote and depth == 0 and before != "\\":
            yield element
            element = before = ""
            continue
        if opening_quote:
            opening_quote = "" if sign == opening_quote and before != "\\" else opening_quote
        elif sign in "'\"":
            opening_quote = sign
        else:
            depth += (sign in "([{") - (sign in ")]}")
        element, before = element + sign, sign
    yield element


def _wanted_type(key: str) -> Literal["text", "folder"] | None:
    """Return whether the schema wants text under a key, or the name of a folder."""
    if key in (*_HYDRA_FOLDERS, "model.path") or (key.startswith("stages.") and key.endswith(".from")):
        return "folder"
    # A mapping in place of a text is written in braces, which no text needs quotes for.
    types = {one for one in _schema_types(key) if one is not type(None) and not _is_model(one)}
    if types == {Path}:
        return "folder"
    return "text" if types == {str} else None


def _schema_types(key: str) -> Iterator[Any]:
    from stc.config.schema import Config
    from stc.pipeline.stage_by_name import stage_class, stage_names

    first, *rest = key.split(".")
    if first == "stages" and len(rest) > 1:  # the composed config decides of which stage it is a field
        for name in stage_names():
            yield from _field_types(stage_class(name), rest[1:])
    else:
        yield from _field_types(Config, [first, *rest])


def _field_types(model: type[BaseModel], path: list[str]) -> Iterator[Any]:
    name, *rest = path
    if name in model.model_fields:
        annotation = model.model_fields[name].annotation
        for member in get_args(annotation) or [annotation]:
            one = get_args(member)[0] if get_origin(member) is Annotated else member
            if not rest:
                yield one
            elif _is_model(one):
                yield from _field_types(one, rest)


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
