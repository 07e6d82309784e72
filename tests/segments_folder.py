"""Talks with a list of their segments, in the layout of MuST-C, as small as they can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import yaml

RATE = 16_000
TALKS = {"talk_10.wav": 3, "talk_9.wav": 2}
"""The number of segments of each talk. FILE_ORDER names them in this order, which is no order of names."""
SPLITS = ("train", "dev", "selection", "test")


def write_segments(folder: Path, seconds: float = 0.5) -> None:
    """Write every split: two talks of different tones, and texts that say the split, the talk and the segment."""
    for place, split in enumerate(SPLITS):
        (folder / split / "txt").mkdir(parents=True)
        (folder / split / "wav").mkdir()
        segments, texts = [], []
        for talk in sorted(TALKS):  # the list is by name
            count = TALKS[talk]
            time = np.arange(round(RATE * seconds * count)) / RATE
            tone = np.sin(2 * np.pi * 100 * (1 + place + count * len(SPLITS)) * time)
            soundfile.write(folder / split / "wav" / talk, (3000 * tone).astype(np.int16), RATE)
            for number in range(count):
                segments.append({"wav": talk, "offset": number * seconds, "duration": seconds, "speaker_id": "a"})
                texts.append(f"{split} {Path(talk).stem} {number}")
        (folder / split / "FILE_ORDER").write_text("".join(f"{Path(talk).stem}\n" for talk in TALKS))
        (folder / split / "txt" / f"{split}.yaml").write_text(yaml.safe_dump(segments))
        for lang in ("en", "de", "zh"):
            content = "".join(f"{lang} {text}\n" for text in texts)
            (folder / split / "txt" / f"{split}.{lang}").write_text(content)
