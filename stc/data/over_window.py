"""Utterances that are longer than a model's window. Nothing of what is translated is cut off: it is cut into parts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from stc.data.manifest import Span, Utterance
from stc.data.silence import SHORTEST, segments
from stc.system.durable_files import file_sha256

OverWindow = Literal["refuse", "split"]
RATE = 16_000  # Hz, at which pauses are looked for
ROUNDING = 0.01  # seconds that a part is shorter than the window, whatever the sampling rate


def cut_into_parts(utterance: Utterance, folder: Path, window: float) -> list[Utterance]:
    """Replace an utterance, whose audio is in a manifest's folder, by parts that fit a window of so many seconds.

    It is cut in its pauses (:func:`stc.data.silence.segments`). Each part has the whole text.

    Raises:
        InputError: the audio cannot be decoded.
        FileExistsError: another utterance has the audio file of a part.
    """
    from stc.data.audio_file import cut_audio, open_sound_file

    file, cut = folder / utterance.audio, utterance.span
    with open_sound_file(file) as sound:
        found = [part for part, _ in segments(sound.blocks(RATE), RATE, int((window - ROUNDING) * RATE))]
    # Silence has no segments, and is translated too.
    spans = [(part.start / RATE, part.end / RATE) for part in found] or [(0.0, SHORTEST)]
    parts = []
    for number, (start, end) in enumerate(spans, start=1):
        name = f"{utterance.id}-part{number}"
        audio = f"audio/{name}.wav"
        seconds = cut_audio(file, start, end, folder / audio)
        given = {
            "id": name,
            "audio": audio,
            "sha256": file_sha256(folder / audio),
            "duration": seconds,
            "cut_from": Span(sha256=cut.sha256, start=cut.start + start, end=cut.start + end),
            "part_of": utterance.id,
        }
        parts.append(utterance.model_copy(update=given))
    file.unlink()
    return parts
