"""Seconds and memory that a large manifest and a long recording take, beside those of plainly reading the same files.

    python benchmarks/data.py                        100,000 lines, and a recording of 3 hours
    python benchmarks/data.py --lines 1000 --hours 0.1

Both are made in a temporary folder: a WAV file of a quarter of a second for each line, and tones with pauses. Each
procedure is a fresh process. Plain is, for the manifest, json, hashlib and soundfile on each line; for the recording,
soundfile alone, block after block. Seconds of the processor are more alike from one time to the next than those of the
clock. Writes data.json with ``--json`` or into the folder OUT.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile

RATE = 16_000


def make_manifest(folder: Path, lines: int) -> None:
    """Write train.jsonl, every second line of which states what there is to state, and its audio."""
    (folder / "audio").mkdir()
    random = np.random.default_rng(0)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for number in range(lines):
            audio = folder / f"audio/{number:06d}.wav"
            soundfile.write(audio, random.integers(-3000, 3000, RATE // 4).astype(np.int16), RATE)
            line: dict[str, Any] = {"audio": f"audio/{audio.name}", "text_en": f"One {number}.", "text_de": "Eins."}
            if number % 2:
                line |= {"duration": 0.25, "sha256": hashlib.sha256(audio.read_bytes()).hexdigest()}
            file.write(json.dumps(line) + "\n")


def make_recording(file: Path, hours: float) -> None:
    """Write tones of 1 to 6 s, with pauses of 0.3 to 1 s between them."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(file, "w", RATE, 1) as written:
        while written.frames < hours * 3600 * RATE:
            tone = 0.3 * np.sin(np.arange(round(random.uniform(1, 6) * RATE)) * 0.1)
            written.write(np.concatenate([tone, np.zeros(round(random.uniform(0.3, 1) * RATE))]))


def read_lines_plainly(folder: Path) -> None:
    with (folder / "train.jsonl").open(encoding="utf-8") as lines:
        for text in lines:
            audio = folder / json.loads(text)["audio"]
            hashlib.sha256(audio.read_bytes()).hexdigest()
            soundfile.info(str(audio))


def identify(folder: Path) -> None:
    _stage(folder).environment(None)


def identify_and_make(folder: Path) -> None:
    stage = _stage(folder)
    stage.environment(None)
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        stage.run({}, Path(out), None)


def _stage(folder: Path) -> Any:
    from stc.config.languages import load_language
    from stc.data.sources import Columns
    from stc.stages.manifest import Manifest

    columns = Columns(audio="audio", source="text_en", target="text_de")
    return Manifest(path=folder, split="train", columns=columns, task=load_language("de").task)


def read_recording_plainly(folder: Path) -> None:
    with soundfile.SoundFile(folder / "talk.wav") as file:
        while len(file.read(2**20, dtype="float32")):
            pass


def cut_recording(folder: Path) -> None:
    from stc.data.audio_file import open_sound_file
    from stc.data.silence import segments

    with open_sound_file(folder / "talk.wav") as sound:
        for _ in segments(sound.blocks(RATE), RATE, 30 * RATE):
            pass


PROCEDURES: dict[str, dict[str, Callable[[Path], None]]] = {
    "manifest": {"plain": read_lines_plainly, "identity": identify, "identity and artifact": identify_and_make},
    "recording": {"plain": read_recording_plainly, "decode and cut": cut_recording},
}


def measured(of: str, name: str, folder: Path) -> dict[str, float]:
    """What a procedure takes, in a process of its own."""
    command = [sys.executable, __file__, "--measure", of, name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return cast(dict[str, float], json.loads(done.stdout))


def measure(of: str, name: str, folder: Path) -> None:
    clock, processor = time.perf_counter(), time.process_time()
    PROCEDURES[of][name](folder)
    taken = {"seconds": time.perf_counter() - clock, "processor": time.process_time() - processor}
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    print(json.dumps({**taken, "peak_bytes": int(peak[1]) * 1024 if peak else 0}))


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        return
    from speed.watch import add_json, table, write_json  # imports torch, of which the processes measured know nothing

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000, help="of the manifest; 100,000")
    parser.add_argument("--hours", type=float, default=3.0, help="of the recording; 3")
    add_json(parser)
    args = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="data_") as temporary:
        folder = Path(temporary, "data")
        folder.mkdir()
        make_manifest(folder, args.lines)
        make_recording(folder / "talk.wav", args.hours)
        for of, procedures in PROCEDURES.items():
            found[of] = {name: measured(of, name, folder) for name in procedures}
    print(table([
        {"of": of, "procedure": name, "seconds": f"{taken['seconds']:.1f}", "processor": f"{taken['processor']:.1f}",
         "of plain": f"{taken['processor'] / found[of]['plain']['processor']:.1f}",
         "peak, MiB": f"{taken['peak_bytes'] / 2**20:.0f}"}
        for of, procedures in found.items() for name, taken in procedures.items()
    ]))  # fmt: skip
    about = {"machine": platform.machine(), "python": platform.python_version(), "lines": args.lines}
    write_json({**about, "hours": args.hours, "measured": found}, args.json, "data")


if __name__ == "__main__":
    main()
