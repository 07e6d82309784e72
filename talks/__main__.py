"""Make the shipped data: ``python -m talks assets/talks``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stc.system.console import progress, run_command
from talks.build import Spoken, requests, speak
from talks.draw import PATTERNS
from talks.engines import require
from talks.grammar import Part
from talks.speech import EngineName

SEED = 1
MAX_SECONDS = 7.5  # shorter than the base model's window, so that slowing down a little cuts nothing off


@dataclass(frozen=True)
class Split:
    """``engines`` are weights, ``noise`` the share of noisy utterances."""

    part: Part
    sentences: int
    engines: Mapping[EngineName, float]
    noise: float


_SEEN: Mapping[EngineName, float] = {"espeak": 0.6, "hibari": 0.2, "flite": 0.2}
SPLITS = (
    Split("train", 800, _SEEN, 0.33),
    Split("dev", 150, _SEEN, 0.33),
    Split("selection", 64, _SEEN, 0.33),
    Split("test", 300, {"espeak": 0.5, "flite": 0.25, "piper": 0.25}, 0.5),
)


def _row(spoken: Spoken) -> dict[str, object]:
    request = spoken.request
    return {
        "id": request.id,
        "audio": spoken.audio,
        "sha256": spoken.sha256,
        "duration": round(spoken.duration, 4),
        "text_en": request.sentence.en,
        "text_de": request.sentence.de,
        "text_zh": request.sentence.zh,
        "pattern": request.sentence.pattern,
        "held_out_pattern": PATTERNS[request.sentence.pattern].held_out,
        "engine": request.voice.engine,
        "voice": str(request.voice),
        "noisy": request.noisy,
        "noise": request.effects.noise,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the data; 0, or 1 where that is not possible here."""
    parser = argparse.ArgumentParser(prog="python -m talks", description="Make the data shipped in assets/talks.")
    parser.add_argument("folder", type=Path, help="where to; its manifests and audio are replaced")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args(arguments)
    return run_command(lambda: _make(options.folder, options.workers))


def _make(folder: Path, workers: int) -> int:
    for split in SPLITS:
        require(split.engines)  # before anything is replaced
    shutil.rmtree(folder / "audio", ignore_errors=True)
    for split in SPLITS:
        with progress(split.part, split.sentences, "utterance") as bar:
            spoken = speak(
                requests(SEED, split.part, split.engines, split.noise),
                split.sentences,
                folder,
                audio_format="ogg",
                max_seconds=MAX_SECONDS,
                workers=workers,
                done=bar.update,
            )
        with (folder / f"{split.part}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(_row(row), ensure_ascii=False) + "\n" for row in spoken)
    return 0


if __name__ == "__main__":
    sys.exit(main())
