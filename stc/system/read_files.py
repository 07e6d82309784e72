"""Read files that others may have written: with a size limit, a check of their shape, and errors that name the file.

Records, configs, manifests, leases and headers are read here. A file that is not a regular file (a pipe, a device), is
too large, is not UTF-8, is not JSON or has another shape raises one error that names the file and the fault. Nothing
here imports a heavy library.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from stc.errors import InputError, StcError

if TYPE_CHECKING:
    from omegaconf import DictConfig

MEBIBYTE = 2**20
JSON_BYTES = 256 * MEBIBYTE
"""The largest JSON file that is read, in bytes. A record of 100,000 files has about 15 MiB."""

YAML_BYTES = MEBIBYTE
"""The largest YAML file that is read, in bytes. Parsing one of this size takes about a second."""

LINE_BYTES = 16 * MEBIBYTE
"""The longest line that is read of a file of lines, in bytes."""

T = TypeVar("T")


@contextmanager
def open_regular(path: Path, *, error: type[StcError] = InputError) -> Iterator[BufferedReader]:
    """Open a regular file for reading bytes. Never waits for a pipe and never reads a device.

    Raises:
        FileNotFoundError: there is no such file; the caller says what that means.
        StcError: (of the class ``error``) it is not a regular file, or it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(path)) from None
    except (OSError, ValueError) as fault:
        if getattr(fault, "errno", None) == errno.ESTALE:  # removed by another machine
            raise FileNotFoundError(str(path)) from None
        raise error(f"{path} cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise error(f"{path} is {_kind(mode)}: a regular file is needed")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_bytes(path: Path, *, limit: int, error: type[StcError] = InputError) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        StcError: (of the class ``error``) it is not a regular file, cannot be read, or is larger.
    """
    with open_regular(path, error=error) as file:
        try:
            content = file.read(limit + 1)
        except OSError as fault:
            raise error(f"{path} cannot be read: {fault.strerror}") from None
    if len(content) > limit:
        raise error(f"{path} has more than {limit:,} bytes, the largest size that is read")
    return content


def read_text(path: Path, *, limit: int = JSON_BYTES, error: type[StcError] = InputError) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Raises:
        FileNotFoundError, StcError: as :func:`read_bytes`, or the file is not UTF-8.
    """
    content = read_bytes(path, limit=limit, error=error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error(f"{path} is not UTF-8 (byte {fault.start})") from None


def read_lines(path: Path, *, error: type[StcError] = InputError) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a UTF-8 file that is not blank, without a byte order mark.

    Raises:
        FileNotFoundError, StcError: as :func:`read_text`, or a line is longer than LINE_BYTES.
    """
    with open_regular(path, error=error) as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                raise error(f"{path}, line {number} has more than {LINE_BYTES:,} bytes, the longest that is read")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as fault:
                raise error(f"{path} is not UTF-8 (line {number}, byte {fault.start})") from None
            if text.strip():
                yield number, text


def read_json(path: Path, shape: type[T], *, limit: int = JSON_BYTES, error: type[StcError] = InputError) -> T:
    """Return the content of a JSON file as ``shape``: a pydantic model, or a type such as ``dict[str, Any]``.

    Raises:
        FileNotFoundError: there is no such file.
        StcError: (of the class ``error``) as :func:`read_text`, or it is not JSON or has another shape.
    """
    return parse_json(read_text(path, limit=limit, error=error), str(path), shape, error=error)


def parse_json(text: str | bytes, where: str, shape: type[T], *, error: type[StcError] = InputError) -> T:
    """Return JSON text as ``shape``.

    Args:
        where: the file, or file and line, for the message.

    Raises:
        StcError: (of the class ``error``) it is not JSON, is nested too deep, holds a number that is too long, or has
            another shape.
    """
    try:
        return cast(T, _adapter(cast(Any, shape)).validate_json(text))
    except ValidationError as fault:
        raise error(_describe(fault, where)) from None


def validate_shape(value: Any, where: str, shape: type[T], *, error: type[StcError] = InputError) -> T:
    """Return a parsed value as ``shape``. Raises as :func:`parse_json`."""
    try:
        return cast(T, _adapter(cast(Any, shape)).validate_python(value))
    except ValidationError as fault:
        raise error(_describe(fault, where)) from None


def _describe(fault: ValidationError, where: str) -> str:
    """Describe the first fault: its place, the value if it is short, and what is allowed."""
    first = fault.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"{where} is not JSON: {first['ctx']['error']}"
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    found = first["input"]
    if isinstance(found, bool | int | float | str | None) and len(repr(found)) <= 40:
        message += f", not {found!r}"
    return f"{where}: {place + ': ' if place else ''}{message}"


def read_yaml(path: Path, *, error: type[StcError] = InputError) -> DictConfig:
    """Return the content of a YAML file as an OmegaConf config.

    Raises:
        FileNotFoundError: there is no such file.
        StcError: (of the class ``error``) as :func:`read_text`, or it is not YAML or not a mapping.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    text = read_text(path, limit=YAML_BYTES, error=error)
    try:
        found = OmegaConf.create(text)
    except (YAMLError, OmegaConfBaseException, RecursionError, ValueError) as fault:
        why = " ".join(str(fault).split()) or type(fault).__name__
        raise error(f"{path} is not YAML: {why[:200]}") from None
    if not isinstance(found, DictConfig):
        raise error(f"{path}: must be a mapping")
    return found


def read_yaml_list(path: Path, item: type[T], *, error: type[StcError] = InputError) -> list[T]:
    """Return the items of a YAML file that is a list. Each has the shape ``item``.

    Raises:
        FileNotFoundError: there is no such file.
        StcError: (of the class ``error``) as :func:`read_text`, or it is not YAML or has another shape.
    """
    import yaml

    text = read_text(path, error=error)
    try:
        found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the former is ten times as fast
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise error(f"{path} is not YAML: {' '.join(str(fault).split())[:200]}") from None
    return validate_shape(found, str(path), cast(type[list[T]], list[item]))  # type: ignore[valid-type]


@lru_cache(maxsize=64)
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "a socket")
