"""The recipes of the publication at real size: what every stage takes, and what all of it would take.

    python benchmarks/reproduce_7b.py --folder /tmp/reproduce            one GPU of 139 GiB, 60 GB of disk, about 20 min
    python benchmarks/reproduce_7b.py --folder /tmp/reproduce --tiny     the same steps at a small shape on the CPU

Random weights at the shape of Qwen2-Audio-7B, and noise of 3 to 14 s in place of ACL 60/60 (884 segments) and CoVoST 2,
with texts of 20 to 60 tokens, read by the code that reads those. The number of segments that are trained on is stated
(--train, --covost); selection and test have the published 100. Quality means nothing here.

The commands are those of docs/reproduce.md. A second call with the same folder goes on where the first one ended. None
is begun, and the one that runs is stopped, when --budget seconds are over. Writes reproduce_7b.json into the folder
that the environment variable OUT names, or here.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import numpy as np
import torch

RATE = 16_000
ACL = {"dev": 468, "eval": 416}
HELD_OUT = 250  # test, selection and dev of data=acl6060; the rest is trained on
TRAIN, COVOST = sum(ACL.values()) - HELD_OUT, 100_000
TOKENS = 40  # of a translation
ANNOUNCED = re.compile(r"\[ *\d+/\d+\] ([a-z_]\w*)(?: (\d+) of \d+)?  ")  # [18/36] heal  …, [3/36] importance 1 of 8  …
CHARACTERS = string.ascii_letters + string.digits  # each is a token of the stand-in


@dataclass(frozen=True)
class StageCost:
    """What a stage took.

    Attributes:
        seconds: as recorded by the store.
        forecast: seconds with the published number of utterances; as ``seconds`` where it does not depend on it.
        peak_gib: the largest memory in use on the GPU, with what torch had reserved.
    """

    recipe: str
    name: str
    seconds: float
    forecast: float
    peak_gib: float | None


def noise(number: int, shortest: float, longest: float) -> bytes:
    import soundfile

    random = np.random.default_rng(number)
    file = io.BytesIO()
    samples = 0.1 * random.standard_normal(int(random.uniform(shortest, longest) * RATE))
    soundfile.write(file, samples, RATE, format="WAV")
    return file.getvalue()


def text(number: int) -> str:
    random = np.random.default_rng(number)
    return "".join(random.choice(list(CHARACTERS), random.integers(20, 61)))


def write_split(file: Path, columns: Mapping[str, str], first: int, count: int, longest: float) -> None:
    """Write Parquet with ``count`` utterances, their audio inside, as data sets of the hub are."""
    import datasets

    numbers = range(first, first + count)
    table = {
        "audio": [
            {"bytes": noise(number, min(3.0, longest / 2), longest), "path": f"{number}.wav"} for number in numbers
        ],
        **{column: [f"{prefix}{text(number)}" for number in numbers] for column, prefix in columns.items()},
        "id": [f"utterance-{number}" for number in numbers],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    data = datasets.Dataset.from_dict(table).cast_column("audio", datasets.Audio(sampling_rate=RATE))
    data.to_parquet(file)


def make_inputs(folder: Path, covost: int, tiny: bool) -> None:
    """Make the base and both data sets, unless they are there."""
    longest = 14.0
    if not (folder / "acl").exists():
        first = 0
        for split, count in ACL.items():
            columns = {"text_en": "en ", "text_de": "de ", "text_zh": "zh "}
            write_split(folder / "acl" / "data" / f"{split}-00000-of-00001.parquet", columns, first, count, longest)
            first += count
        columns = {"sentence": "en ", "translation": "tr "}
        write_split(folder / "covost" / "data" / "train-00000-of-00001.parquet", columns, 10_000, covost, 8.0)
    if not (folder / "base" / "config.json").exists():
        code = (
            "import sys, torch; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
            "from speed.shapes import random_translator; from stc.models.load_and_save import save\n"
            "device = 'cuda' if torch.cuda.is_available() else 'cpu'\n"
            "save(random_translator(sys.argv[2], device=device, dtype='bfloat16'), Path(sys.argv[3]))"
        )
        shape = "tiny" if tiny else "7b"
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent), shape, str(folder / "base")], check=True
        )


def command(recipe: str, lang: str, given: argparse.Namespace) -> list[str]:
    folder: Path = given.folder
    arguments = [
        f"experiments={recipe}",
        f"lang={lang}",
        f"model.path={folder / 'base'}",
        f"model.max_new_tokens={TOKENS}",
        f"data.source.dataset={folder / 'acl'}",
        f"data.splits.train.stop={HELD_OUT + given.train}",
        f"store.dir={folder / 'store'}",
        "store.keep=final",
        "tracking=none",
        f"hydra.run.dir={folder / 'runs' / f'{recipe}-{lang}'}",
        *given.override,
    ]
    if recipe == "model_a":
        arguments.append("pipeline.outputs=[disjoint,compare,teacher]")  # Model B goes on from it
    if recipe == "model_b":
        arguments += [
            f"data.mix.covost2.source.dataset={folder / 'covost'}",
            "data.mix.covost2.source.config=null",
            f"data.mix.covost2.splits.train.stop={given.covost}",
        ]
    return [sys.executable, "-m", "stc.run", *arguments]


class Watch(threading.Thread):
    """Samples the memory in use on the GPU, and the size of the store, until ``ended`` is set."""

    def __init__(self, store: Path) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.memory: list[tuple[float, float]] = []
        self.store_bytes = 0
        self._store = store
        self._before = gpu_memory_gib() or 0.0  # this process has some, too

    def run(self) -> None:
        rounds = 0
        while not self.ended.wait(0.5):
            if (used := gpu_memory_gib()) is not None:
                self.memory.append((time.time(), used - self._before))
            if rounds % 10 == 0:
                self.store_bytes = max(self.store_bytes, folder_bytes(self._store))
            rounds += 1

    def peak(self, start: float, end: float) -> float | None:
        return max((used for moment, used in self.memory if start <= moment <= end), default=None)


def gpu_memory_gib() -> float | None:
    """Return the memory that all processes have of the GPU; None on the CPU."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**30


def folder_bytes(folder: Path) -> int:
    """Return the size of a folder's files, those with several links once."""
    sizes: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                about = os.stat(os.path.join(place, name))
            except FileNotFoundError:  # deleted meanwhile
                continue
            sizes[about.st_ino] = about.st_size
    return sum(sizes.values())


def records(store: Path) -> dict[str, dict[str, Any]]:
    """Return the records of all results of the store by identity, also of those whose files were dropped."""
    files = [*store.glob("*/*/stc.record.json"), *store.glob("evicted/*/*.json")]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {record["identity"]: record for record in found if "seconds" in record}


def forecast(record: Mapping[str, Any], samples: Mapping[str, float]) -> float:
    """Return the seconds with the published number of utterances.

    A training keeps what it took beside its steps, and its speed. Translating ``train`` is scaled as a whole.
    """
    name, seconds = record["name"], record["seconds"]
    scale = samples.get(name, 1.0)
    if scale == 1.0:
        return float(seconds)
    speeds = [value for _, value in record.get("curves", {}).get("steps_per_second", [])]
    steps = record["facts"].get("steps")
    if not speeds or not steps:
        return float(seconds * scale)
    stepping = steps / harmonic_mean(speeds[1:] or speeds)
    return float(seconds + (scale - 1) * stepping)


def scales(given: argparse.Namespace) -> dict[str, float]:
    """Return by how much each stage's work grows with the published number of utterances."""
    data = TRAIN / given.train
    last = (11 * TRAIN + COVOST) / (11 * given.train + given.covost)
    healed = dict.fromkeys(("teacher", "translations", "heal", "heal_unpruned"), data)
    return {**healed, "recover": last, "recover_unpruned": last}


def run(recipe: str, lang: str, given: argparse.Namespace, deadline: float) -> tuple[list[StageCost], dict[str, Any]]:
    """Run a recipe until the deadline, and return what its stages took, in order, and what the whole took."""
    store = given.folder / "store"
    before = records(store)
    watch = Watch(store)
    watch.start()
    start = time.time()
    process = subprocess.Popen(command(recipe, lang, given), start_new_session=True, stderr=subprocess.PIPE, text=True)
    begun: dict[str, float] = {}  # stage → when it was announced
    reader = threading.Thread(target=echo, args=(process, begun), daemon=True)
    reader.start()
    code: int | None = None
    try:
        code = process.wait(max(1.0, deadline - time.time()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
    reader.join()
    watch.ended.set()
    watch.join()
    made = [record for identity, record in records(store).items() if identity not in before]
    stages = [
        StageCost(
            recipe=f"{recipe} {lang}",
            name=record["name"],
            seconds=record["seconds"],
            forecast=round(forecast(record, scales(given)), 1),
            peak_gib=watch.peak(begun[record["name"]], begun[record["name"]] + record["seconds"]),
        )
        for record in sorted(made, key=lambda record: begun[record["name"]])
    ]
    about = {"recipe": recipe, "lang": lang, "code": code, "seconds": round(time.time() - start, 1)}
    about["store_peak_bytes"], about["store_end_bytes"] = watch.store_bytes, folder_bytes(store)
    return stages, about


def echo(process: subprocess.Popen[str], begun: dict[str, float]) -> None:
    """Pass on what a run prints, and note when it announces a stage."""
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        if announced := ANNOUNCED.match(line):
            name, link = announced.groups()
            begun.setdefault(f"{name}.{link}" if link else name, time.time())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the base, the data and the store")
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the steps without a GPU")
    parser.add_argument("--recipes", nargs="+", default=["model_a", "model_b"])
    parser.add_argument("--lang", nargs="+", default=["de"])
    parser.add_argument("--train", type=int, default=TRAIN, help="segments that are trained on")
    parser.add_argument("--covost", type=int, default=2_000, help="utterances in place of CoVoST 2")
    parser.add_argument("--override", nargs="*", default=[], help="more arguments of stc.run")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds")
    given = parser.parse_args()
    deadline = time.time() + given.budget
    given.folder = given.folder.resolve()
    make_inputs(given.folder, given.covost, given.tiny)
    print(f"base and data: {time.time() + given.budget - deadline:.0f} s", flush=True)
    stages: list[StageCost] = []
    runs: list[dict[str, Any]] = []
    out = Path(os.environ.get("OUT", ".")) / "reproduce_7b.json"
    for lang in given.lang:
        for recipe in given.recipes:
            if time.time() < deadline:
                costs, about = run(recipe, lang, given, deadline)
                stages += costs
                runs.append(about)
                report = {"train": given.train, "covost": given.covost, "runs": runs, "stages": [*map(asdict, stages)]}
                out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(stages, runs))
    return 0 if all(about["code"] == 0 for about in runs) else 1


def table(stages: Sequence[StageCost], runs: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| recipe | stage | seconds | forecast | peak GPU memory |", "| --- | --- | ---: | ---: | ---: |"]
    for cost in stages:
        peak = "–" if cost.peak_gib is None else f"{cost.peak_gib:.1f} GiB"
        lines.append(f"| {cost.recipe} | {cost.name} | {cost.seconds:.1f} | {cost.forecast:.0f} | {peak} |")
    lines += [json.dumps(about) for about in runs]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
