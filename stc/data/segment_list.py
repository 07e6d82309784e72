"""Read what the shared tasks give with long recordings: a YAML list of segments, FILE_ORDER, and files of texts.

The layout is that of MuST-C (Di Gangi et al. 2019) and of IWSLT's test sets. An entry of the list is
``{wav: talk.wav, offset: 12.5, duration: 3.2}``, in seconds, with any other keys. A text file has one line an entry.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from stc.errors import InputError, suggestion
from stc.system.read_files import read_lines, read_text, read_yaml_list


class Segment(TypedDict):
    """An entry of the list: the part of ``wav`` that begins at ``offset`` and lasts ``duration``, in seconds."""

    wav: Annotated[str, Field(min_length=1)]
    offset: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    duration: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def read_segments(file: Path) -> list[Segment]:
    """Return the entries of a YAML list.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not YAML, an entry lacks a key or has a wrong value, or there are none.
    """
    try:
        found = file.stat()
    except OSError:
        raise FileNotFoundError(str(file)) from None
    return _read_segments(file, (found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=8)  # a training set has 100,000 entries and more, and is asked for several times
def _read_segments(file: Path, stamp: tuple[int, int]) -> list[Segment]:
    if not (segments := read_yaml_list(file, Segment)):
        raise InputError(f"{file} has no segments")
    return segments


FILE_ORDER = "FILE_ORDER"
LIST_SUFFIXES = (".yaml", ".yml")


def in_file_order(segments: list[Segment], file: Path, order: Path) -> list[int]:
    """Return the positions of the segments, talk after talk in the order of a file that names a talk a line.

    Segments of one talk stay in their order. Without such a file, the segments stay as they are.

    Args:
        file: where the segments are listed, for messages.

    Raises:
        InputError: as :func:`talk_places`.
    """
    places = talk_places({one["wav"] for one in segments}, f"segment in {file}", order)
    if places is None:
        return list(range(len(segments)))
    return sorted(range(len(segments)), key=lambda index: places[segments[index]["wav"]])


def talk_places(talks: Collection[str], what: str, order: Path) -> dict[str, int] | None:
    """Return the place of each talk by a file that names a talk a line; None if there is no such file.

    The names may lack the suffix of the audio files.

    Args:
        what: what there is of the talks, for messages.

    Raises:
        InputError: a talk is missing in the file or only there, or is named twice.
    """
    try:
        named = [(number, text.strip()) for number, text in read_lines(order)]
    except FileNotFoundError:
        return None
    short = {str(Path(talk).with_suffix("")): talk for talk in talks}
    places: dict[str, int] = {}
    for number, name in named:
        talk = name if name in talks else short.get(name)
        if talk is None:
            raise InputError(f"{order}, line {number}: there is no {what} of {name!r}{suggestion(name, talks)}")
        if talk in places:
            raise InputError(f"{order}, line {number}: {name!r} is named before")
        places[talk] = number
    if missing := sorted(set(talks) - places.keys()):
        raise InputError(f"{order} does not name {missing[0]!r}, of which there is a {what}")
    return places


def read_one_text_a_line(file: Path, count: int, lines_of: str) -> list[str]:
    """Return the texts of a file that has one line for each of ``count`` things.

    Args:
        lines_of: what the things are, for messages.

    Raises:
        InputError: the file is missing, or has more or fewer lines.
    """
    lines = read_text_lines(file)
    if len(lines) != count:
        raise InputError(f"{file} has {len(lines)} lines for {count} {lines_of}: one a line is needed")
    return lines


def read_text_lines(file: Path) -> list[str]:
    """Return the lines of a file, blank ones too. Raise InputError if it is missing or not UTF-8."""
    try:
        return [line.removesuffix("\r") for line in read_text(file).removesuffix("\n").split("\n")]
    except FileNotFoundError:
        raise InputError(f"{file} is missing") from None
