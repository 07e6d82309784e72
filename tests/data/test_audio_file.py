"""An audio file is decoded in bounded memory whatever it says of itself, or refused by name and in words."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stc.data.audio import read_audio
from stc.data.audio_file import audio_info, cut_audio, open_sound_file
from stc.errors import InputError

SAMPLES = np.random.default_rng(0).integers(-9000, 9000, 16_000).astype("<i2")


def wav(*, rate: int = 16_000, channels: int = 1, bits: int = 16, size: int | None = None) -> bytes:
    """A WAV file of SAMPLES whose header says this."""
    content = SAMPLES.tobytes()
    size = len(content) if size is None else size
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * rate & 0xFFFFFFFF, 2, bits)
    riff = struct.pack("<I", size + 36 & 0xFFFFFFFF)
    return b"RIFF" + riff + b"WAVEfmt " + form + b"data" + struct.pack("<I", size) + content


def flac(folder: Path, *, rate: int | None = None, frames: int | None = None) -> bytes:
    """A FLAC file of SAMPLES whose header says this; 0 frames are an unknown number."""
    soundfile.write(folder / "plain.flac", SAMPLES, 16_000)
    content = bytearray((folder / "plain.flac").read_bytes())
    stated = int.from_bytes(content[18:26], "big")  # 20 bits of rate, 8 of channels and width, 36 of frames
    if rate is not None:
        stated = stated & (1 << 44) - 1 | rate << 44
    if frames is not None:
        stated = stated >> 36 << 36 | frames
    content[18:26] = stated.to_bytes(8, "big")
    return bytes(content)


@pytest.mark.parametrize("size", [0, 1_000_000_000, 2_000_000_000, 0x7FFF0000, 0x7FFFFFFF, 0xFFFFFFFF - 36, 0xFFFFFFFF])
def test_wav_of_a_streaming_writer_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(size=size))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16_000), SAMPLES / np.float32(32768))
    assert audio_info(str(tmp_path / "a.wav"), (0, size)).seconds == 1


def test_flac_that_was_written_into_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(flac(tmp_path, frames=0))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac", 16_000), SAMPLES / np.float32(32768))
    assert audio_info(str(tmp_path / "a.flac"), (0, 0)).seconds == 1


@pytest.mark.parametrize("name", ["a.raw", "a.mp3", "a", "größe 数据.txt"])
def test_format_is_known_by_the_content_whatever_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(wav())
    assert len(read_audio(tmp_path / name, 16_000)) == 16_000


@pytest.mark.parametrize("rate", [0, 1, 999, 384_001, 2**31 - 1, 2**32 - 1])
def test_rate_that_no_recording_has_is_refused_by_name(tmp_path: Path, rate: int) -> None:
    (tmp_path / "odd.wav").write_bytes(wav(rate=rate))
    with pytest.raises(InputError, match=r"odd\.wav (states a sampling rate|cannot be decoded)"):
        read_audio(tmp_path / "odd.wav", 16_000)


@pytest.mark.parametrize("changes", [{"channels": 0}, {"bits": 0}, {"channels": 65_535}])
def test_header_that_makes_no_sense_is_refused_by_name(tmp_path: Path, changes: dict[str, int]) -> None:
    (tmp_path / "odd.wav").write_bytes(wav(**changes))
    with pytest.raises(InputError, match=r"odd\.wav cannot be decoded as audio"):
        read_audio(tmp_path / "odd.wav", 16_000)


def test_many_hours_in_a_few_bytes_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "long.flac").write_bytes(flac(tmp_path, frames=2**36 - 1))
    with open_sound_file(tmp_path / "long.flac") as sound, pytest.raises(InputError, match=r"long\.flac is longer"):
        next(sound.blocks(16_000))


def test_recording_that_does_not_state_its_length_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "long.flac").write_bytes(flac(tmp_path, frames=0))
    with open_sound_file(tmp_path / "long.flac") as sound, pytest.raises(InputError, match=r"long\.flac is longer"):
        list(sound.blocks(16_000, longest=0.5))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_blocks_are_those_of_the_whole_resampled_at_once(tmp_path: Path, rate: int) -> None:
    from scipy.signal import resample_poly

    whole = np.random.default_rng(0).standard_normal((2_200_000 // 16, 16)).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.wav", whole, rate, subtype="FLOAT")
    with open_sound_file(tmp_path / "a.wav") as sound:
        blocks = list(sound.blocks(16_000))
    assert len(blocks) > 1
    at_once = resample_poly(whole.mean(axis=1), 16_000, rate)
    np.testing.assert_array_equal(np.concatenate(blocks), at_once)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_refused_by_name_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    odd = tmp_path / "odd.wav"
    {"folder": odd.mkdir, "pipe": lambda: os.mkfifo(odd), "device": lambda: odd.symlink_to("/dev/zero")}[kind]()
    with pytest.raises(InputError, match=rf"odd\.wav is a {kind}"):
        read_audio(odd, 16_000)


def test_the_same_part_of_a_file_is_the_same_bytes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.ogg", SAMPLES, 16_000)
    assert cut_audio(tmp_path / "talk.ogg", 0.25, 0.75, tmp_path / "a/1.wav") == 0.5
    cut_audio(tmp_path / "talk.ogg", 0.25, 0.75, tmp_path / "b/2.wav")
    assert (tmp_path / "a/1.wav").read_bytes() == (tmp_path / "b/2.wav").read_bytes()


def test_part_of_16_bit_audio_is_its_samples(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(wav())
    cut_audio(tmp_path / "talk.wav", 0.25, 0.75, tmp_path / "part.wav")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "part.wav", dtype="int16")[0], SAMPLES[4000:12_000])
