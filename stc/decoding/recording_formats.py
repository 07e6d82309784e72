"""How a translated recording is written: text, JSON Lines or SRT."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stc.decoding.long_recordings import TranslatedRecording

FORMATS = ("text", "jsonl", "srt")
SUFFIXES = {"text": ".txt", "jsonl": ".jsonl", "srt": ".srt"}


def format_recording(translation: TranslatedRecording, form: str) -> str:
    """A recording in one of :data:`FORMATS`, ending in a newline where there is anything.

    A recording that could not be translated is an empty line of text, so that lines keep counting recordings, an
    object with ``error`` in JSON Lines, and nothing in SRT.
    """
    if form == "jsonl":
        return _json(translation)
    if form == "srt":
        return _srt(translation)
    return join_segments([piece.text for piece in translation.pieces]) + "\n"


def join_segments(texts: Sequence[str]) -> str:
    """Segments as one text: a space between them, except between two signs of a script that has none."""
    whole = ""
    for text in filter(None, texts):
        space = " " if whole and not (_wide(whole[-1]) and _wide(text[0])) else ""
        whole += space + text
    return whole


def _wide(sign: str) -> bool:
    """Chinese and Japanese signs, and their punctuation."""
    return unicodedata.east_asian_width(sign) in "WF"


def _json(translation: TranslatedRecording) -> str:
    line: dict[str, object] = {"audio": translation.name}
    if translation.error is not None:
        line["error"] = translation.error
    else:
        line["seconds"] = round(translation.seconds, 3)
        line["text"] = join_segments([piece.text for piece in translation.pieces])
        line["segments"] = [
            {"start": round(piece.start, 3), "end": round(piece.end, 3), "text": piece.text}
            for piece in translation.pieces
        ]
    return json.dumps(line, ensure_ascii=False) + "\n"


def _srt(translation: TranslatedRecording) -> str:
    shown = [piece for piece in translation.pieces if piece.text]
    return "".join(
        f"{number}\n{_time(piece.start)} --> {_time(piece.end)}\n{piece.text}\n\n"
        for number, piece in enumerate(shown, start=1)
    )


def _time(seconds: float) -> str:
    """``00:01:02,345``."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"
