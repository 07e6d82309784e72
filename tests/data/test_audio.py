"""Audio is read as it is, as one channel at the asked rate, or refused by name."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from stc.data.audio import Recordings, read_audio, read_batch
from stc.data.manifest import Manifest
from stc.errors import InputError


def test_16_bit_samples_come_back_exactly(tmp_path: Path) -> None:
    samples = np.array([0, 1, -32768, 32767, 5000], dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    read = read_audio(tmp_path / "a.wav", 16000)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, samples / np.float32(32768))


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = np.full(100, 0.5), np.full(100, -0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", 16000), 0.125)


def test_resampling_keeps_a_tone(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "a.wav", tone, 44100, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav", 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert len(read) == 16000
    np.testing.assert_allclose(read[200:-200], expected[200:-200], atol=2e-3)


@pytest.mark.parametrize("content", [b"", b"no audio at all"])
def test_undecodable_audio_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.wav").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.wav"):
        read_audio(tmp_path / "broken.wav", 16000)


def test_audio_without_samples_is_refused_by_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16000)
    with pytest.raises(InputError, match=r"silent\.wav"):
        read_audio(tmp_path / "silent.wav", 16000)


def test_missing_audio_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.wav"):
        read_audio(tmp_path / "gone.wav", 16000)


def test_audio_that_is_not_the_listed_one_is_refused_by_name(tiny_manifest: Path) -> None:
    manifest = Manifest.load(tiny_manifest)
    swapped = [manifest.rows[0].model_copy(update={"audio": manifest.rows[1].audio})]
    with pytest.raises(InputError, match=r"1\.wav"):
        read_batch(manifest, swapped, 16000, workers=2)


def test_a_batch_is_in_the_order_of_its_rows(tiny_manifest: Path) -> None:
    manifest = Manifest.load(tiny_manifest)
    rows = manifest.rows[::-1]
    lengths = [len(samples) for samples in read_batch(manifest, rows, 16000, workers=3)]
    assert lengths == [round(row.duration * 16000) for row in rows]


def test_kept_recordings_are_those_of_the_files(tiny_manifest: Path) -> None:
    manifest = Manifest.load(tiny_manifest)
    recordings = Recordings(manifest, 16000, workers=1)
    rows = [manifest.rows[index] for index in (2, 0, 2)]
    for samples in (recordings.read(rows), recordings.read(rows)):
        for found, expected in zip(samples, read_batch(manifest, rows, 16000, workers=1), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
def test_every_format_is_heard_at_the_asked_rate(tmp_path: Path, form: str, subtype: str | None) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    file = tmp_path / "a"
    soundfile.write(file, np.stack([tone, tone], axis=1), 48000, format=form, subtype=subtype)
    read = read_audio(file, 16000)
    assert len(read) == pytest.approx(16000, abs=100)
    spectrum = np.abs(np.fft.rfft(read))
    assert spectrum.argmax() / len(read) * 16000 == pytest.approx(440, abs=2)
    assert np.sqrt(2 * np.mean(read[2000:14000] ** 2)) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", "OPUS"), ("MP3", None)])
def test_truncated_audio_is_refused_by_name(tmp_path: Path, form: str, subtype: str | None) -> None:
    file = tmp_path / "cut.wav"
    soundfile.write(file, 0.3 * np.sin(np.arange(80000) * 0.05), 16000, format=form, subtype=subtype)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\.wav (is cut short|cannot be decoded)"):
        read_audio(file, 16000)


def test_samples_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.0]), 16000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"nan\.wav .*finite"):
        read_audio(tmp_path / "nan.wav", 16000)
