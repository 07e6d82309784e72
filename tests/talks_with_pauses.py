"""Talks of tones with pauses between them, and the list of their segments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml

RATE = 16_000
SECONDS = 1.5
PAUSE = 0.6


@dataclass(frozen=True)
class Talks:
    """A folder with two talks, ``b.wav`` and ``a.wav``, which FILE_ORDER names in this order.

    Attributes:
        parts: the audio of each segment, in the order of FILE_ORDER.
    """

    folder: Path
    parts: list[np.ndarray]

    @property
    def audio(self) -> list[str]:
        return [str(self.folder / name) for name in ("b.wav", "a.wav")]

    @property
    def listed(self) -> str:
        return str(self.folder / "talks.yaml")

    def write(self, name: str, lines: list[str]) -> str:
        file = self.folder / name
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(file)


def write_talks(folder: Path) -> Talks:
    folder.mkdir()
    parts, segments = [], []
    for name, frequencies in (("b.wav", (200, 500, 350)), ("a.wav", (650, 300))):
        pause = np.zeros(round(PAUSE * RATE))
        audio = [pause]
        for number, frequency in enumerate(frequencies):
            tone = 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(SECONDS * RATE)) / RATE)
            offset = PAUSE + number * (SECONDS + PAUSE)
            segments.append({"wav": name, "offset": round(offset, 3), "duration": SECONDS})
            parts.append(tone)
            audio += [tone, pause]
        soundfile.write(folder / name, np.concatenate(audio), RATE)
    # The list is by name, and FILE_ORDER is not.
    (folder / "talks.yaml").write_text(yaml.safe_dump(segments[3:] + segments[:3]))
    (folder / "FILE_ORDER").write_text("b\na\n")
    return Talks(folder, parts)
