"""A file that ends before its audio does is noticed, and a whole one is not taken for one."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from stc.data.audio_headers import is_truncated, zero_size_position

TONE = 0.3 * np.sin(np.arange(32_000) * 0.05)


def file_of(form: str, subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, TONE, 16_000, format=form, subtype=subtype)
    return content.getvalue()


CONTAINERS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]


@pytest.mark.parametrize(("form", "subtype"), CONTAINERS)
def test_whole_file_is_whole(form: str, subtype: str) -> None:
    assert not is_truncated(io.BytesIO(file_of(form, subtype)))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize(("form", "subtype"), CONTAINERS)
def test_file_cut_anywhere_is_cut_short(form: str, subtype: str, share: float) -> None:
    content = file_of(form, subtype)
    assert is_truncated(io.BytesIO(content[: int(share * len(content))]))


@pytest.mark.parametrize("size", [0, 1_000_000_000, 2_000_000_000 - 36, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_written_into_a_pipe_is_whole(size: int) -> None:
    content = file_of("WAV", "PCM_16")
    place = content.index(b"data") + 4
    assert not is_truncated(io.BytesIO(content[:place] + struct.pack("<I", size) + content[place + 4 :]))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all", file_of("FLAC"), file_of("MP3")])
def test_other_content_is_not_judged(content: bytes) -> None:
    assert not is_truncated(io.BytesIO(content))


@pytest.mark.parametrize("size", [64_001, 1_234_567_891])
def test_size_that_somebody_counted_is_believed(size: int) -> None:
    content = file_of("WAV", "PCM_16")
    place = content.index(b"data") + 4
    assert is_truncated(io.BytesIO(content[:place] + struct.pack("<I", size) + content[place + 4 :]))


def test_samples_of_no_stated_size_are_told_from_none() -> None:
    content = file_of("WAV", "PCM_16")
    place = content.index(b"data") + 4
    none = content[:place] + bytes(4)
    assert zero_size_position(io.BytesIO(content[:place] + bytes(4) + content[place + 4 :])) == place
    assert zero_size_position(io.BytesIO(none)) is None
    assert zero_size_position(io.BytesIO(none + b"LIST" + struct.pack("<I", 4) + b"INFO")) is None
