"""Formats of a translated recording: text, JSON Lines or SRT."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stc.decoding.long_recordings import TranslatedRecording

FORMATS = ("text", "jsonl", "srt")
SUFFIXES = {"text": ".txt", "jsonl": ".jsonl", "srt": ".srt"}


def format_recording(recording: TranslatedRecording, form: str) -> str:
    """Return a recording in one of :data:`FORMATS`, with a newline at the end unless it is empty.

    A recording that could not be translated is an empty line of text, so that lines count recordings, an object with
    ``error`` in JSON Lines, and nothing in SRT.
    """
    if form == "jsonl":
        return _json(recording)
    if form == "srt":
        shown = [segment for segment in recording.segments if segment.text]
        return "".join(
            f"{number}\n{_time(segment.start)} --> {_time(segment.end)}\n{segment.text}\n\n"
            for number, segment in enumerate(shown, start=1)
        )
    return join_segments([segment.text for segment in recording.segments]) + "\n"


def join_segments(texts: Sequence[str]) -> str:
    """Return segments as one text, with spaces between them except where two Chinese or Japanese characters meet."""
    whole = ""
    for text in filter(None, texts):
        space = " " if whole and not (_is_wide(whole[-1]) and _is_wide(text[0])) else ""
        whole += space + text
    return whole


def _is_wide(character: str) -> bool:
    """Return whether it is a Chinese or Japanese character or punctuation mark."""
    return unicodedata.east_asian_width(character) in "WF"


def _json(recording: TranslatedRecording) -> str:
    line: dict[str, object] = {"audio": recording.name}
    if recording.error is not None:
        line["error"] = recording.error
    else:
        line["seconds"] = round(recording.seconds, 3)
        line["text"] = join_segments([segment.text for segment in recording.segments])
        line["segments"] = [
            {"start": round(segment.start, 3), "end": round(segment.end, 3), "text": segment.text}
            for segment in recording.segments
        ]
    return json.dumps(line, ensure_ascii=False) + "\n"


def _time(seconds: float) -> str:
    """Return a time as ``00:01:02,345``."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"
