"""Translations are written as text, JSON Lines or SRT, and the times in them are those of the segments."""

from __future__ import annotations

import json

import pytest

from stc.decoding.long_recordings import TranslatedRecording, TranslatedSegment
from stc.decoding.output_formats import format_recording, join_segments

TALK = TranslatedRecording(
    "talk.wav",
    3723.5,
    (
        TranslatedSegment(0.12, 1.5, "Guten Tag."),
        TranslatedSegment(2.0, 3.0, ""),
        TranslatedSegment(3661.0506, 3723.4996, "Ende."),
    ),
)


def test_srt_numbers_its_entries_and_writes_hours_to_milliseconds() -> None:
    assert format_recording(TALK, "srt") == (
        "1\n00:00:00,120 --> 00:00:01,500\nGuten Tag.\n\n2\n01:01:01,051 --> 01:02:03,500\nEnde.\n\n"
    )


def test_json_has_times_and_the_whole_text() -> None:
    line = json.loads(format_recording(TALK, "jsonl"))
    assert (line["audio"], line["seconds"], line["text"]) == ("talk.wav", 3723.5, "Guten Tag. Ende.")
    assert line["segments"][2] == {"start": 3661.051, "end": 3723.5, "text": "Ende."}


def test_text_is_one_line() -> None:
    assert format_recording(TALK, "text") == "Guten Tag. Ende.\n"


def test_recording_that_failed_keeps_its_place() -> None:
    failed = TranslatedRecording("bad.wav", error="bad.wav is empty")
    assert format_recording(failed, "text") == "\n"
    assert json.loads(format_recording(failed, "jsonl")) == {"audio": "bad.wav", "error": "bad.wav is empty"}
    assert format_recording(failed, "srt") == ""


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["Eins.", "Zwei."], "Eins. Zwei."),
        (["第一。", "第二。"], "第一。第二。"),
        (["第一。", "GPU。"], "第一。 GPU。"),
        (["", "a", ""], "a"),
    ],
)
def test_segments_are_joined_as_their_script_does(texts: list[str], whole: str) -> None:
    assert join_segments(texts) == whole
